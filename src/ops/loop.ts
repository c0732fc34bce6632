/** @file A loop as an op: what `scan` (scan.ts) and recurrent layers are made of. */
import { Body } from "../body.ts";
import { LockstepError } from "../errors.ts";
import { constantOp, currentGraph, symbolOf, trace } from "../graph.ts";
import type { Attrs, Graph, Lowered, Op } from "../graph.ts";
import * as kernels from "../kernels.ts";
import { withMode } from "../mode.ts";
import { planBody } from "../plan/body.ts";
import { copyCall } from "../plan/copy.ts";
import { base } from "../plan/simplify.ts";
import { runGraph } from "../run.ts";
import type { Tensor } from "../tensor.ts";
import { TRAINING } from "../training.ts";
import { numbers } from "./broadcast.ts";
import { scanGradients } from "./scan-grad.ts";
import { collectedTypes, operandsOf, repeatedBy, Step } from "./step.ts";
import type { Repeated } from "./step.ts";

/** `scanOp` without a gradient, so that what only decodes does without that. */
const repeatOp: Op = {
  name: "scan",
  infer: (_inputs, attrs) => {
    const repeated = repeatedBy(attrs);
    return [...repeated.carried.map(({ shape, dtype }) => ({ shape, dtype })), ...collectedTypes(repeated)];
  },
  vjp: null,
  lower: ({ inputs, outputs, attrs }): readonly Lowered[] => {
    const repeated = repeatedBy(attrs);
    const { body, length, reverse, carried, collected } = repeated;
    return [
      ...carried.map((_, i): Lowered => {
        const [from, to] = [inputs[i], outputs[i]];
        if (from !== null) return copyCall(from, to);
        return { kernel: { name: "fill" }, inputs: [], outputs: [to], attrs: { value: numbers(attrs.fills)[i] } };
      }),
      {
        kernel: kernels.scan,
        inputs: inputs.slice(carried.length),
        outputs,
        required: carried.length,
        attrs: { length, reverse, moves: operandsOf(repeated).map(({ moves }) => moves) },
        body: { graph: body, results: collected.slice(0, outputs.length - carried.length), planBody },
      },
    ];
  },
};

/**
 * (what is carried at the beginning, operands...) -> (what is carried in the end, collected...). A null for what is carried stands for a
 * number, in `fills`.
 */
export const scanOp: Op = Object.assign({}, repeatOp, {
  vjp: TRAINING
    ? (context) =>
        scanGradients(repeatedBy(context.attrs), context, (repeated: Repeated, begin: readonly Tensor[]) =>
          addScan(scanOp, repeated, begin),
        )
    : null,
} satisfies Partial<Op>);

/** Adds a scan to the graph around its body. `begin`: symbols there of what is carried at the beginning. */
function addScan(op: Op, repeated: Repeated, begin: readonly Tensor[]): readonly Tensor[] {
  const constants = begin.map((t) => (base(t).node?.op === constantOp ? (base(t).node?.attrs.value as number) : null));
  const inputs = [...begin.map((t, i) => (constants[i] === null ? t : null)), ...operandsOf(repeated).map(({ tensor }) => tensor)];
  const attrs = { step: new Step(repeated) as unknown as Attrs, fills: constants.map((value) => value ?? 0) };
  return repeated.body.outer.add(op, inputs, attrs);
}

/** A loop over lists of tensors. */
export interface Loop {
  /** What the first step is given. */
  readonly begin: readonly Tensor[];
  /** [length, ...] each, of which a step gets its slices. */
  readonly xs: readonly Tensor[];
  readonly length: number;
  readonly reverse: boolean;
  readonly remat?: boolean;
  /** Gives the random keys of the steps in the graph around, u32[length, 4]. Default: nothing in the loop may draw. */
  readonly keys?: ((outer: Graph) => Tensor) | null;
  /**
   * One step, traced: what it carries on, which has the shapes and dtypes of what it was given, and what it collects. `sliceOf` gives
   * slices of further tensors [length, ...] of the graph around.
   */
  readonly step: (
    carry: readonly Tensor[],
    x: readonly Tensor[],
    sliceOf: (whole: Tensor) => Tensor,
  ) => { next: readonly Tensor[]; ys: readonly Tensor[] };
}

/** What the last step carries on, and what all steps collect, [length, ...] each; outside of any trace the loop runs at once. */
export const loop = (given: Loop): Looped => looped(scanOp, given);

/** A loop that nobody descends through: gradients of it are an error. */
export const repeat = (given: Loop): Looped => looped(repeatOp, given);

interface Looped {
  readonly carry: readonly Tensor[];
  readonly ys: readonly Tensor[];
}

function looped(op: Op, given: Loop): Looped {
  const graph = currentGraph();
  const results = graph === null ? runGraph((own) => traceLoop(op, own, given)) : traceLoop(op, graph, given);
  return { carry: results.slice(0, given.begin.length), ys: results.slice(given.begin.length) };
}

function traceLoop(op: Op, outer: Graph, { begin, xs, length, reverse, remat = false, keys = null, step }: Loop): readonly Tensor[] {
  const body = new Body(outer, length);
  const first = begin.map((t) => symbolOf(outer, t));
  const targets = first.map(({ shape, dtype }) => body.carry(shape, dtype));
  const sliceOf = (whole: Tensor): Tensor => body.slice(symbolOf(outer, whole));
  const slices = xs.map(sliceOf);
  let key: Tensor | null = null;
  const ofStep = keys && ((): Tensor => (key ??= body.slice(trace(outer, () => keys(outer)))));
  const ys = trace(body, () =>
    withMode({ key: ofStep }, () => {
      const made = step(
        targets.map((t) => body.capture(t)),
        slices,
        sliceOf,
      );
      targets.forEach((t, i) => body.carryOn(t, symbolOf(body, made.next[i])));
      return made.ys.map((t) => symbolOf(body, t));
    }),
  );
  const carried = [...body.captures.keys()].filter((t) => body.assigns.has(t));
  // What layers assign goes on from step to step, and out of the loop.
  const assigned = carried.slice(targets.length);
  for (const t of assigned) {
    if (outer.assigns.has(t) && !body.moved.has(t))
      throw new LockstepError(`assign: ${t} is assigned before a loop and in it; carry it through the loop and assign it behind`);
    if (body.moved.has(t)) outer.moved.add(t);
  }
  const held = assigned.map((t) => outer.assigns.get(t) ?? symbolOf(outer, t));
  // One value may be collected twice.
  const collected = [...new Set(ys)];
  const outputs = addScan(op, { body, length, reverse, remat, carried, explicit: targets.length, collected }, [...first, ...held]);
  assigned.forEach((t, i) => outer.assigns.set(t, outputs[targets.length + i]));
  const [who] = body.undecided.values();
  if (who !== undefined) for (const t of outputs) outer.undecided.set(t, who);
  return [...outputs.slice(0, targets.length), ...ys.map((t) => outputs[carried.length + collected.indexOf(t)])];
}

/** @file GPU encoder of reductions (kernels/reduce.wgsl): how outputs and elements are dealt to workgroups, and what a body computes. */
import type { DType } from "../../dtype.ts";
import type { ReduceAttrs, ReduceOp } from "../../plan/kernels.ts";
import type { MapBody, Operand } from "../../plan/plan.ts";
import { collapse } from "../../shape.ts";
import { assert } from "../../assert.ts";
import type { Bound, GpuEncoder, Hooks } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";
import { coordinates, declaration, indexExpression, reinterpret, resultTypes, slotsOf, stepsFunction } from "./body.ts";
import { elementBits, fillWith } from "./move.ts";

/** Invocations of a workgroup, and of a short one: what most small products have, with which they then are one dispatch. */
const THREADS = 256;
const FEW_THREADS = 64;
/** Elements up to which workgroups are short. */
const FEW_ELEMENTS = 2 ** 14;
/** Elements that one invocation adds at most before its part of a long reduction is split further. */
const ELEMENTS_PER_THREAD = 32;
/** Workgroups beyond which splitting gains nothing. */
const ENOUGH_GROUPS = 512;
/** Neighbouring outputs of a column reduction that a workgroup makes: a whole line of memory of each row. */
const COLUMN_LANES = 32;

const COMBINE: { readonly [op in ReduceOp]: string } = {
  sum: "add",
  prod: "mul",
  max: "maximum",
  min: "minimum",
  argmax: "greater",
  argmin: "less",
};
const START: { readonly [op in ReduceOp]: number } = {
  sum: 0,
  prod: 1,
  max: -Infinity,
  min: Infinity,
  argmax: -Infinity,
  argmin: Infinity,
};
const INTEGER_LIMITS: { readonly [limit: string]: number } = { "-Infinity": -(2 ** 31), Infinity: 2 ** 31 - 1 };

const isArg = (op: ReduceOp): boolean => op === "argmax" || op === "argmin";

/** The smallest power of two that is at least n. */
const powerOfTwo = (n: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, n)));

/** How `size` elements for each of `outputs` results are dealt to workgroups: `whole` keeps a result's elements in one. */
function deal(
  outputs: number,
  size: number,
  inner: number,
  whole: boolean,
): { threads: number; lanes: number; parts: number; chunk: number; blocks: number } {
  // Short reductions: an invocation each. Rows: as many invocations as elements, up to all. Columns: a line of them side by side.
  let lanes: number;
  if (inner === 1) lanes = Math.max(1, THREADS / powerOfTwo(Math.ceil(size / 4)));
  else lanes = Math.min(THREADS, powerOfTwo(inner), Math.max(COLUMN_LANES, THREADS / powerOfTwo(Math.ceil(size / 4))));
  const column = THREADS / lanes;
  // Each output has as many invocations as ever, so that the order of additions is the same.
  const threads = outputs * size <= FEW_ELEMENTS && column <= FEW_THREADS ? FEW_THREADS : THREADS;
  lanes = threads / column;
  const blocks = Math.ceil(outputs / lanes);
  const wanted = whole ? 1 : Math.min(Math.ceil(size / (column * ELEMENTS_PER_THREAD)), Math.ceil(ENOUGH_GROUPS / blocks));
  const chunk = Math.ceil(size / wanted);
  return { threads, lanes, parts: Math.ceil(size / chunk), chunk, blocks };
}

/** Hooks of kernels/reduce.wgsl for `op` over elements of `type`. */
function operation(op: ReduceOp, type: DType): Hooks {
  const suffix = type === "f32" ? "" : "_i32";
  if (!isArg(op)) return { combine: "combine_values", merge: `op_${COMBINE[op]}${suffix}`, keep: "keep_value", kept: "kept_value" };
  return {
    combine: "combine_places",
    before: `op_${COMBINE[op]}${suffix}`,
    equals: `op_equal${suffix}`,
    is_nan: type === "f32" ? "f32_isnan" : "never",
    keep: "keep_place",
    kept: "kept_place",
  };
}

/** Elements in memory, or computed by a prologue: the body. */
function sourceOf(body: MapBody, inputs: readonly Operand[]): { text: string; buffers: readonly (Bound | null)[] } {
  const slots = slotsOf(inputs, []);
  const { dims, strides } = collapse(body.space, body.strides);
  const reads = strides.map((s) => indexExpression(dims, s));
  const lines = [
    ...slots.map((s, k) => declaration(k + 1, s, false)),
    stepsFunction(body, inputs),
    "fn element(i: u32, index: u32) -> Accumulator {",
  ];
  if (reads.some((r) => r.strided)) lines.push(...coordinates(dims));
  const values = inputs.map((o, i) => {
    const k = slots.findIndex((s) => s.inputs.includes(i));
    return reinterpret(`b${k + 1}[${reads[i].expression}]`, slots[k].operand.dtype, o.dtype, false);
  });
  lines.push(`  return Accumulator(steps(${values.join(", ")}).r0, index);`, "}");
  return { text: lines.join("\n"), buffers: slots.map((s) => read(s.operand)) };
}

export const reduce: GpuEncoder = (call, out) => {
  const { op, outer, size, inner, body } = call.attrs as unknown as ReduceAttrs;
  const outputs = outer * inner;
  if (outputs === 0) return;
  const [y] = call.outputs as readonly Operand[];
  const inputs = call.inputs as readonly Operand[];
  // Without a prologue the body is that of the elements themselves.
  const prologue: MapBody = body ?? { space: [outputs * size], strides: [[1]], steps: [], results: [0] };
  const [type] = resultTypes(prologue, inputs);
  assert(type === "f32" || type === "i32", () => `reduce of ${type}`);
  if (size === 0) return fillWith(y, START[op], out);
  const start = type === "i32" ? (INTEGER_LIMITS[START[op]] ?? START[op]) : START[op];
  const stage = (
    from: { body?: string; hooks?: Hooks; size: number; inner: number },
    sources: readonly (Bound | null)[],
    target: Bound | null,
    whole: boolean,
  ): void => {
    const { threads, lanes, parts, chunk, blocks } = deal(outputs, from.size, from.inner, whole);
    const { subgroupSize } = out.features;
    // The invocations of an output that is not the last dimension's are no neighbours.
    const inSubgroups = subgroupSize > 0 && from.inner === 1 && lanes < threads;
    out.dispatch(
      {
        file: "reduce",
        body: from.body,
        constants: {
          Element: type,
          START: elementBits(type, start),
          OUTPUTS: outputs,
          SIZE: from.size,
          INNER: from.inner,
          PARTS: parts,
          CHUNK: chunk,
          THREADS: threads,
          LANES: lanes,
          SUBGROUP_SIZE: subgroupSize,
        },
        hooks: {
          ...operation(op, type),
          ...from.hooks,
          join: inSubgroups ? "join_subgroups" : "join_tree",
          store: !isArg(op) ? "store_value" : whole ? "store_index" : "store_place",
        },
      },
      [target, ...sources],
      blocks * parts,
    );
  };
  const source = sourceOf(prologue, inputs);
  const { parts } = deal(outputs, size, inner, false);
  const first = { body: source.text, size, inner };
  if (parts === 1) return stage(first, source.buffers, write(y), true);
  const partial = out.temporary(outputs * parts * (isArg(op) ? 8 : 4));
  stage(first, source.buffers, partial.write, false);
  stage({ hooks: { element: isArg(op) ? "part_place" : "part_value" }, size: parts, inner: 1 }, [partial.read], write(y), true);
};

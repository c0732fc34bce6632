/**
 * @file Recurrent layers of cells: a cell computes one step, `rnn` a loop of such steps. Cells are those of lstm, gru and simpleRnn, several
 * of them stacked, and one's own. For one of the former alone the layer of its name computes the same faster.
 */
import { checkCount, checkNumber, kindOf } from "../check.ts";
import { ArgumentError, ShapeError } from "../errors.ts";
import type { CallOptions } from "../mode.ts";
import { loop } from "../ops/loop.ts";
import { cast, mul } from "../ops/map.ts";
import { matmul } from "../ops/matmul.ts";
import { flip, transpose } from "../ops/move.ts";
import { keysOfSteps } from "../ops/random.ts";
import { keepMasked } from "../ops/recurrent.ts";
import { sameShape, showShape } from "../shape.ts";
import type { Shape } from "../shape.ts";
import { zeros } from "../tensor.ts";
import type { Tensor } from "../tensor.ts";
import { dropoutFactors } from "./dropout.ts";
import { layer } from "./layer.ts";
import type { Config, Layer, LayerDescription } from "./layer.ts";
import { maskOf, masked } from "./masks.ts";
import { activationOf, checkFeatures, checkRank, described, lastOf, layerOf } from "./options.ts";
import type { NameOption } from "./options.ts";
import { biasesOf, checkMore, GRU, LSTM, makeGates, SIMPLE_RNN } from "./recurrent.ts";
import type { GruOptions, LstmOptions, RecurrentKind, RecurrentLayer, RecurrentOptions, SimpleRnnOptions } from "./recurrent.ts";

/** What a step gives. */
export interface CellStep {
  /** [batch, outputSize] */
  readonly output: Tensor;
  /** [batch, size] each, for the next step. */
  readonly states: readonly Tensor[];
}

/** A layer that computes one step of a recurrent one. `call(x, ...states)`: x [batch, ...], states [batch, size] (default: zeros). */
export interface RnnCell extends Layer {
  /** Features of each state. */
  readonly stateSizes: readonly number[];
  /** Features of the output. */
  readonly outputSize: number;
  /** As `call`, with the states for the next step. */
  callWithStates(x: Tensor, ...states: readonly (Tensor | CallOptions | null | undefined)[]): CellStep;
  /** A new cell of the same options with weights of its own. */
  another(): RnnCell;
}

/** Has parts that a cell drops be the same ones at all steps that `fn` computes, of inputs like [batch, features]. */
type Hold = <R>(like: Tensor, batch: number, features: number, fn: () => R) => R;

const holds = new WeakMap<Layer, Hold>();
const holdOf = (cell: Layer): Hold => holds.get(cell) ?? ((_like, _batch, _features, fn) => fn());

/** States that were given, with zeros for those that were not. @throws ArgumentError for too many, ShapeError for other shapes */
function statesFrom(given: readonly (Tensor | null | undefined)[], sizes: readonly number[], batch: number): readonly Tensor[] {
  if (given.length > sizes.length) throw new ArgumentError(`expected at most ${sizes.length} states, got ${given.length} tensors`);
  return sizes.map((size, i) => {
    const state = given[i] ?? zeros([batch, size]);
    if (!sameShape(state.shape, [batch, size]))
      throw new ShapeError(`expected states of ${showShape([batch, size])}, got ${showShape(state.shape)}`);
    return state;
  });
}

/** A layer as a cell; `stepOf` has what it gave with an output. */
function asCell(
  base: Layer,
  stateSizes: readonly number[],
  outputSize: number,
  stepOf: WeakMap<Tensor, CellStep>,
  another: () => RnnCell,
): RnnCell {
  return Object.assign(base, {
    stateSizes,
    outputSize,
    callWithStates: (x: Tensor, ...states: readonly (Tensor | CallOptions | null | undefined)[]): CellStep =>
      stepOf.get(base.call(x, ...states)) as CellStep,
    another,
  });
}

type CellOptions<O> = Omit<O, "returnSequences" | "goBackwards">;

/** Options of `simpleRnnCell`. */
export type SimpleRnnCellOptions = CellOptions<SimpleRnnOptions>;
/** Options of `lstmCell`. */
export type LstmCellOptions = CellOptions<LstmOptions>;
/** Options of `gruCell`. */
export type GruCellOptions = CellOptions<GruOptions>;

/** Factors of the input and of what is read of the state; null where nothing is dropped. */
type Factors = readonly [Tensor | null, Tensor | null];

function ofGates(of: RecurrentKind, units: number, options: CellOptions<Partial<RecurrentOptions>>): RnnCell {
  const kind = `${of.kind}Cell`;
  const { returnSequences, goBackwards, ...defaults } = of.defaults;
  const stepOf = new WeakMap<Tensor, CellStep>();
  const sizes = new Array<number>(of.stateCount).fill(units);
  let held: Factors | null = null;
  let hold: Hold = (_like, _batch, _features, fn) => fn();
  const base = layerOf(kind, { units }, defaults, options, (given) => {
    const o: RecurrentOptions = { ...given, returnSequences, goBackwards };
    checkCount(kind, "units", units);
    checkNumber(kind, "dropout", o.dropout, 0, 1);
    checkNumber(kind, "recurrentDropout", o.recurrentDropout, 0, 1);
    const activation = activationOf(`${kind}: activation`, o.activation);
    const gate = activationOf(`${kind}: recurrentActivation`, o.recurrentActivation ?? null);
    const factors = (like: Tensor, batch: number, features: number): Factors => [
      dropoutFactors(o.dropout, [batch, features], like),
      dropoutFactors(o.recurrentDropout, [batch, units], like),
    ];
    hold = (like, batch, features, fn) => {
      held = factors(like, batch, features);
      try {
        return fn();
      } finally {
        held = null;
      }
    };
    return {
      inputs: Infinity,
      build: (shape, weight) => {
        checkRank(shape, "[batch, features]", 2);
        makeGates(of, units, o, lastOf(shape), weight);
      },
      call: (x, { kernel, recurrentKernel, bias = null }, ...more) => {
        checkRank(x.shape, "[batch, features]", 2);
        checkFeatures(x, kernel.shape[0]);
        const states = statesFrom(more, sizes, x.shape[0]);
        const [input, state] = held ?? factors(x, x.shape[0], x.shape[1]);
        const [inputBias, recurrentBias] = biasesOf(bias);
        const xw = matmul(input === null ? x : mul(x, input), kernel, { bias: inputBias });
        const step = of.cell(recurrentKernel, recurrentBias, activation, gate, o);
        const next = step(xw, state === null ? states[0] : mul(states[0], state), states);
        stepOf.set(next[0], { output: next[0], states: next });
        return next[0];
      },
    };
  });
  holds.set(base, hold);
  return asCell(base, sizes, units, stepOf, () => ofGates(of, units, options));
}

/**
 * A step of `lstm`: x [batch, features], states h and c [batch, units] -> h. Weights as `lstm`'s. As Keras' `LSTMCell`. @throws
 * ArgumentError for units below 1 and unknown options; when called, ShapeError for another rank
 */
export const lstmCell = (units: number, options: LstmCellOptions = {}): RnnCell => ofGates(LSTM, units, options);
/** A step of `gru`: x [batch, features], state [batch, units] -> h. Weights as `gru`'s. As Keras' `GRUCell`. @throws as `lstmCell` */
export const gruCell = (units: number, options: GruCellOptions = {}): RnnCell => ofGates(GRU, units, options);
/**
 * A step of `simpleRnn`: x [batch, features], state [batch, units] -> h. Weights as `simpleRnn`'s. As Keras' `SimpleRNNCell`. @throws as
 * `lstmCell`
 */
export const simpleRnnCell = (units: number, options: SimpleRnnCellOptions = {}): RnnCell => ofGates(SIMPLE_RNN, units, options);

/** What `rnnCell` makes a cell of. */
export interface RnnCellDescription {
  /** What the cell is called in summaries, names and files. */
  readonly kind: string;
  /** Its options as plain data, for files. */
  readonly config: Config;
  /** Features of each state, or of the only one. */
  readonly stateSizes: number | readonly number[];
  /** Features of the output. Default: those of the first state. */
  readonly outputSize?: number;
  /** Makes the weights, as in `layer`; of the shape of one step's input. */
  readonly build?: LayerDescription["build"];
  /** One step: x [batch, ...], weights by name, states [batch, size]. */
  readonly call: (x: Tensor, weights: { readonly [name: string]: Tensor }, ...states: readonly Tensor[]) => CellStep;
}

/**
 * A cell of one's own, for `rnn`.
 * @example const decay = (rate) => rnnCell({ kind: "decay", config: { rate }, stateSizes: 4,
 *   call: (x, _, h) => { const y = add(x, mul(h, rate)); return { output: y, states: [y] }; } });
 * @throws ArgumentError for what is no description; when called, ShapeError for outputs and states of other shapes
 */
export function rnnCell(description: RnnCellDescription): RnnCell {
  const { kind, config, stateSizes, build, call } = Object(description) as RnnCellDescription;
  const sizes = typeof stateSizes === "number" ? [stateSizes] : stateSizes;
  if (typeof call !== "function" || !Array.isArray(sizes) || sizes.length === 0)
    throw new ArgumentError(
      'rnnCell: expected { kind: "...", config: { ... }, stateSizes: 8, call: (x, weights, ...states) => ({ output, states }) }, got ' +
        kindOf(description),
    );
  for (const size of sizes as readonly number[]) checkCount(`rnnCell ${kind}`, "stateSizes", size);
  const outputSize = description.outputSize ?? (sizes[0] as number);
  checkCount(`rnnCell ${kind}`, "outputSize", outputSize);
  const stepOf = new WeakMap<Tensor, CellStep>();
  const base = layer({
    kind,
    config,
    build,
    call: (x, weights, ...more) => {
      const step: unknown = call(x, weights, ...statesFrom(more, sizes as readonly number[], x.shape[0]));
      const { output, states } = Object(step) as Partial<CellStep>;
      if (output === undefined || !Array.isArray(states) || states.length !== sizes.length)
        throw new ArgumentError(`its call must give { output, states }, ${sizes.length} of them, got ${kindOf(step)}`);
      const check = (what: string, t: Tensor, size: number): void => {
        const shape = [x.shape[0], size];
        if (!sameShape((t.shape as Shape | undefined) ?? [], shape))
          throw new ShapeError(`its call must give ${what} of ${showShape(shape)}, got ${kindOf(t)}`);
      };
      check("an output", output, outputSize);
      (states as readonly Tensor[]).forEach((t, i) => check("states", t, (sizes as readonly number[])[i]));
      stepOf.set(output, { output, states: states as readonly Tensor[] });
      return output;
    },
  });
  return asCell(base, sizes as readonly number[], outputSize, stepOf, () => rnnCell(description));
}

const isCell = (value: unknown): value is RnnCell => {
  const { callWithStates, stateSizes } = Object(value) as Partial<RnnCell>;
  return typeof callWithStates === "function" && Array.isArray(stateSizes);
};

/**
 * Several cells as one: each reads what the one before it gives, the last one's output is the output, and states are those of all, the
 * first one's first. Weights: cell0Kernel … As Keras' `StackedRNNCells`. @throws ArgumentError for what is no list of cells
 */
export function stackedRnnCells(cells: readonly RnnCell[], options: NameOption = {}): RnnCell {
  if (!Array.isArray(cells) || cells.length === 0 || !cells.every(isCell))
    throw new ArgumentError(`stackedRnnCells: expected a list of cells, such as [lstmCell(8), lstmCell(8)], got ${kindOf(cells)}`);
  if (new Set(cells).size < cells.length)
    throw new ArgumentError("stackedRnnCells: a cell stands in the list twice; make one for each place");
  const own = cells as readonly RnnCell[];
  const stateSizes = own.flatMap((cell) => cell.stateSizes);
  const { outputSize } = own[own.length - 1];
  const stepOf = new WeakMap<Tensor, CellStep>();
  const base = layerOf("stackedRnnCells", { cells: own.map(described) }, { name: "" }, options, () => ({
    parts: Object.fromEntries(own.map((cell, i) => [`cell${i}`, cell])),
    inputs: Infinity,
    call: (x, _weights, ...more) => {
      const before = statesFrom(more, stateSizes, x.shape[0]);
      let output = x;
      const states: Tensor[] = [];
      for (const cell of own) {
        const step = cell.callWithStates(output, ...before.slice(states.length, states.length + cell.stateSizes.length));
        output = step.output;
        states.push(...step.states);
      }
      stepOf.set(output, { output, states });
      return output;
    },
  }));
  holds.set(base, (like, batch, features, fn) => {
    const inside = <R>(i: number, size: number, run: () => R): R =>
      i === own.length ? run() : holdOf(own[i])(like, batch, size, () => inside(i + 1, own[i].outputSize, run));
    return inside(0, features, fn);
  });
  return asCell(base, stateSizes, outputSize, stepOf, () =>
    stackedRnnCells(
      own.map((cell) => cell.another()),
      options,
    ),
  );
}

/** Options of `rnn`. */
export interface RnnOptions extends NameOption {
  /** Give the output of every step, [batch, time, size], instead of the last one, [batch, size]. Default false. */
  readonly returnSequences?: boolean;
  /** Read from the last step to the first, and give outputs in that order. Default false. */
  readonly goBackwards?: boolean;
}

/**
 * A recurrent layer of a cell, or of several that are stacked: [batch, time, ...] -> [batch, outputSize] or [batch, time, outputSize].
 * `call(x, ...states, mask)`: initial states [batch, size] and mask [batch, time], all optional; a masked step keeps the states and repeats
 * the last output, which is 0 before there is one. What cells of Lockstep drop in training are the same parts at every step. Weights: those
 * of the cell. As Keras' `RNN`.
 * @example rnn([lstmCell(32), lstmCell(16)], { returnSequences: true })
 * @throws ArgumentError unless it is a cell; when called, ShapeError for another rank or no steps
 */
export function rnn(cell: RnnCell | readonly RnnCell[], options: RnnOptions = {}): RecurrentLayer {
  const one: unknown = Array.isArray(cell) ? stackedRnnCells(cell as readonly RnnCell[]) : cell;
  if (!isCell(one)) throw new ArgumentError(`rnn: expected a cell, such as lstmCell(8) or rnnCell({ ... }), got ${kindOf(cell)}`);
  const { stateSizes, outputSize } = one;
  const statesOf = new WeakMap<Tensor, readonly Tensor[]>();
  const defaults: Required<RnnOptions> = { name: "", returnSequences: false, goBackwards: false };
  const base = layerOf("rnn", { cell: described(one) }, defaults, options, ({ returnSequences, goBackwards: reverse }) => ({
    parts: { "": one },
    mask: "use",
    inputs: Infinity,
    call: (x, _weights, ...more) => {
      checkRank(x.shape, "[batch, time, ...]", 3, Infinity);
      checkMore(more, stateSizes.length);
      const [batch, time] = x.shape;
      if (time === 0) throw new ShapeError(`expected at least one step, got ${showShape(x.shape)}`);
      const mask = more[stateSizes.length] ?? maskOf(x);
      if (mask !== null && !sameShape(mask.shape, [batch, time]))
        throw new ShapeError(`expected a mask ${showShape([batch, time])}, got ${showShape(mask.shape)}`);
      const swapped = transpose(x, [1, 0, ...x.shape.slice(2).map((_, i) => i + 2)]);
      const { carry, ys } = holdOf(one)(x, batch, lastOf(x.shape), () =>
        loop({
          begin: [zeros([batch, outputSize]), ...statesFrom(more.slice(0, stateSizes.length), stateSizes, batch)],
          xs: mask === null ? [swapped] : [swapped, transpose(cast(mask, "i32"), [1, 0])],
          length: time,
          reverse,
          keys: keysOfSteps(time),
          step: (before, [step, counts]) => {
            const { output, states } = one.callWithStates(step, ...before.slice(1));
            const now = [output, ...states];
            const next = mask === null ? now : now.map((t, i) => keepMasked(t, before[i], counts));
            return { next, ys: returnSequences ? [next[0]] : [] };
          },
        }),
      );
      const all = returnSequences ? transpose(ys[0], [1, 0, 2]) : carry[0];
      const output = returnSequences && reverse ? flip(all, 1) : all;
      statesOf.set(output, carry.slice(1));
      return returnSequences ? masked(output, mask && cast(mask, "bool")) : output;
    },
  }));
  return Object.assign(base, {
    stateCount: stateSizes.length,
    returnSequences: options.returnSequences ?? false,
    callWithStates(x: Tensor, ...more: readonly (Tensor | CallOptions | null | undefined)[]) {
      const output = base.call(x, ...more);
      return { output, states: statesOf.get(output) as readonly Tensor[] };
    },
    backwards: () => rnn(one.another(), { ...options, goBackwards: !options.goBackwards }),
  });
}

/**
 * @file LSTM, GRU and simple recurrent layers. The inputs' part of all steps is one product; the steps run in the sequence
 * kernels, or a loop of steps where an activation is not one that kernels apply.
 */
import { ArgumentError, ShapeError } from "../errors.ts";
import type { CallOptions } from "../mode.ts";
import { cast, greater, greaterEqual, lessEqual, mul, where } from "../ops/map.ts";
import { matmul } from "../ops/matmul.ts";
import { expandDims, flip, iota, reshape, slice } from "../ops/move.ts";
import { gruSequence, lstmSequence, simpleRnnSequence } from "../ops/recurrent.ts";
import type { RecurrentOptions as SequenceOptions } from "../ops/recurrent.ts";
import { sameShape, showShape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { gruCell, lstmCell, overSteps, simpleRnnCell } from "./cells.ts";
import type { Cell } from "./cells.ts";
import { dropoutFactors } from "./dropout.ts";
import type { Initializer } from "./initializers.ts";
import { initializer, ones } from "./initializers.ts";
import type { Layer } from "./layer.ts";
import { maskOf, masked } from "./masks.ts";
import { activationOf, checkCount, checkFeatures, checkNumber, checkRank, lastOf, layerOf, whole } from "./options.ts";
import type { ActivationOption, InitializerOption, MakeWeight, NameOption, SplitActivation } from "./options.ts";
import type { RegularizerOption } from "./regularizers.ts";
import { TRAINING } from "../training.ts";

/** Options of `simpleRnn`. */
export interface SimpleRnnOptions extends NameOption {
  /** Default tanh. */
  readonly activation?: ActivationOption;
  /** Default true. */
  readonly useBias?: boolean;
  /** Default glorotUniform. */
  readonly kernelInitializer?: InitializerOption;
  /** Default orthogonal. */
  readonly recurrentInitializer?: InitializerOption;
  /** Default zeros. */
  readonly biasInitializer?: InitializerOption;
  /** Default none. */
  readonly kernelRegularizer?: RegularizerOption;
  /** Default none. */
  readonly recurrentRegularizer?: RegularizerOption;
  /** Default none. */
  readonly biasRegularizer?: RegularizerOption;
  /** Give the output of every step, [batch, time, units], instead of the last one, [batch, units]. Default false. */
  readonly returnSequences?: boolean;
  /** Share of the input's features dropped in training, the same ones at every step of a sample. Default 0. */
  readonly dropout?: number;
  /**
   * Share of the state dropped where a step reads it, in training, the same elements at every step and gate (Gal & Ghahramani 2016).
   * Default 0.
   */
  readonly recurrentDropout?: number;
  /** Read from the last step to the first, and give outputs in that order. Default false. */
  readonly goBackwards?: boolean;
}

/** Options of `lstm`. */
export interface LstmOptions extends SimpleRnnOptions {
  /** Of the gates. Default sigmoid. */
  readonly recurrentActivation?: ActivationOption;
  /** Start with a bias of 1 at the forget gate (Jozefowicz et al. 2015). Default true. */
  readonly unitForgetBias?: boolean;
}

/** Options of `gru`. */
export interface GruOptions extends SimpleRnnOptions {
  /** Of the gates. Default sigmoid. */
  readonly recurrentActivation?: ActivationOption;
  /** Apply the reset gate after the product with the state (with a bias of its own), not before. Default true. */
  readonly resetAfter?: boolean;
}

/**
 * A layer over [batch, time, features]. `call(x, ...initial states, mask)`: states [batch, units], mask [batch, time] where 0 (or false)
 * skips the step; each may be null.
 */
export interface RecurrentLayer extends Layer {
  /** Number of states: 2 for LSTM (h, c), otherwise 1. */
  readonly stateCount: number;
  readonly returnSequences: boolean;
  /** As `call`, with the states after the last step read, each [batch, units]. */
  callWithStates(x: Tensor, ...more: readonly (Tensor | CallOptions | null | undefined)[]): { output: Tensor; states: readonly Tensor[] };
  /** A new layer of the same options with weights of its own that reads in the other direction. */
  backwards(): RecurrentLayer;
}

/** The options of all kinds; those that a kind does not have are absent from its defaults, and so refused. */
export interface RecurrentOptions extends Required<SimpleRnnOptions> {
  readonly recurrentActivation?: ActivationOption;
  readonly unitForgetBias?: boolean;
  readonly resetAfter?: boolean;
}

const DEFAULTS: RecurrentOptions = {
  name: "",
  activation: "tanh",
  useBias: true,
  kernelInitializer: "glorotUniform",
  recurrentInitializer: "orthogonal",
  biasInitializer: "zeros",
  kernelRegularizer: null,
  recurrentRegularizer: null,
  biasRegularizer: null,
  returnSequences: false,
  goBackwards: false,
  dropout: 0,
  recurrentDropout: 0,
};

/** What tells one kind of layer from another. */
export interface RecurrentKind {
  readonly kind: string;
  readonly defaults: RecurrentOptions;
  readonly gates: number;
  readonly stateCount: number;
  /** The kernel: all steps of each state, h first. */
  readonly sequence: (
    xw: Tensor,
    wr: Tensor,
    bias: Tensor | null,
    states: readonly (Tensor | null)[],
    options: SequenceOptions,
    o: RecurrentOptions,
  ) => readonly Tensor[];
  readonly cell: (wr: Tensor, bias: Tensor | null, activation: SplitActivation, gate: SplitActivation, o: RecurrentOptions) => Cell;
}

/** @throws ArgumentError for tensors behind the states and the mask */
export function checkMore(more: readonly unknown[], states: number): void {
  if (more.length > states + 1) throw new ArgumentError(`expected at most ${states} initial states and a mask, got ${more.length} tensors`);
}

/** Makes the weights of a layer or a cell that reads so many features. */
export function makeGates(kind: RecurrentKind, units: number, o: RecurrentOptions, features: number, weight: MakeWeight): void {
  const size = kind.gates * units;
  weight("kernel", [features, size]);
  weight("recurrentKernel", [units, size], {}, "recurrent");
  if (!o.useBias) return;
  const forget = TRAINING && o.unitForgetBias ? { init: withForgetBias(units, initializer(o.biasInitializer)) } : {};
  weight("bias", o.resetAfter ? [2, size] : [size], forget);
}

/** What the product with the input adds, and what that with the state does where it has a bias of its own. */
export function biasesOf(bias: Tensor | null): readonly [Tensor | null, Tensor | null] {
  if (bias === null || bias.rank === 1) return [bias, null];
  const row = (i: number): Tensor => reshape(slice(bias, [i, 0], [1, bias.shape[1]]), [bias.shape[1]]);
  return [row(0), row(1)];
}

function recurrent(kind: RecurrentKind, units: number, options: Partial<RecurrentOptions>): RecurrentLayer {
  const who = kind.kind;
  const statesOf = new WeakMap<Tensor, () => readonly Tensor[]>();
  const base = layerOf(who, { units }, kind.defaults, options, (o) => {
    checkCount(who, "units", units);
    checkNumber(who, "dropout", o.dropout, 0, 1);
    checkNumber(who, "recurrentDropout", o.recurrentDropout, 0, 1);
    const activation = activationOf(`${who}: activation`, o.activation);
    const gate = activationOf(`${who}: recurrentActivation`, o.recurrentActivation ?? null);
    const reverse = o.goBackwards;

    const run = (x: Tensor, weights: { readonly [name: string]: Tensor }, more: readonly (Tensor | null | undefined)[]): Tensor => {
      checkRank(x.shape, "[batch, time, features]", 3);
      const [batch, time] = x.shape;
      if (time === 0) throw new ShapeError(`expected at least one step, got ${showShape(x.shape)}`);
      checkFeatures(x, weights.kernel.shape[0]);
      checkMore(more, kind.stateCount);
      const states = Array.from({ length: kind.stateCount }, (_, k) => more[k] ?? null);
      const mask = more[kind.stateCount] ?? maskOf(x);
      for (const s of states)
        if (s !== null && !sameShape(s.shape, [batch, units]))
          throw new ShapeError(`expected initial states ${showShape([batch, units])}, got ${showShape(s.shape)}`);
      if (mask !== null && !sameShape(mask.shape, [batch, time]))
        throw new ShapeError(`expected a mask ${showShape([batch, time])}, got ${showShape(mask.shape)}`);
      const [inputBias, recurrentBias] = biasesOf(weights.bias ?? null);
      const inputFactors = dropoutFactors(o.dropout, [batch, 1, x.shape[2]], x);
      const stateFactors = dropoutFactors(o.recurrentDropout, [batch, units], x);
      const xw = matmul(inputFactors === null ? x : mul(x, inputFactors), weights.kernel, { bias: inputBias });
      const wr = weights.recurrentKernel;

      const last = reverse ? 0 : time - 1;
      let h: Tensor;
      let lastStates: () => readonly Tensor[];
      if (activation.inKernel && gate.inKernel) {
        const options = {
          activation: activation.kernel,
          recurrentActivation: gate.kernel,
          reverse,
          mask,
          h0: states[0],
          factors: stateFactors,
        };
        const sequence = kind.sequence(xw, wr, recurrentBias, states, options, o);
        h = sequence[0];
        lastStates = () => sequence.map((s) => stepOf(s, last));
      } else {
        const steps = overSteps(kind.cell(wr, recurrentBias, activation, gate, o), xw, units, states, {
          mask: mask === null ? null : cast(mask, "i32"),
          reverse,
          factors: stateFactors,
        });
        h = steps.h;
        lastStates = () => steps.states;
      }
      if (mask !== null && states[0] !== null) h = silentUntilRead(h, mask, reverse);
      const output = !o.returnSequences ? stepOf(h, last) : reverse ? flip(h, 1) : h;
      statesOf.set(output, lastStates);
      return o.returnSequences ? masked(output, mask && cast(mask, "bool")) : output;
    };

    return {
      mask: "use",
      build: (shape, weight) => {
        checkRank(shape, "[batch, time, features]", 3);
        makeGates(kind, units, o, lastOf(shape), weight);
      },
      inputs: Infinity,
      call: (x, weights, ...more) => run(x, weights, more),
    };
  });
  return Object.assign(base, {
    stateCount: kind.stateCount,
    returnSequences: options.returnSequences ?? false,
    callWithStates(x: Tensor, ...more: readonly (Tensor | CallOptions | null | undefined)[]) {
      const output = base.call(x, ...more);
      return { output, states: (statesOf.get(output) as () => readonly Tensor[])() };
    },
    backwards: () => recurrent(kind, units, { ...options, goBackwards: !options.goBackwards }),
  });
}

/** x[:, t, :] */
export function stepOf(x: Tensor, t: number): Tensor {
  const [batch, , units] = x.shape;
  return reshape(slice(x, [0, t, 0], [batch, 1, units]), [batch, units]);
}

/**
 * Outputs are 0 until a step has been read: an initial state is no output. The kernel repeats the state, which otherwise starts at 0
 * anyway.
 */
export function silentUntilRead(h: Tensor, mask: Tensor, reverse: boolean): Tensor {
  const time = h.shape[1];
  const [from, to] = [iota([time, time], { axis: 0 }), iota([time, time], { axis: 1 })];
  const earlier = cast(reverse ? greaterEqual(from, to) : lessEqual(from, to), "f32");
  const read = greater(matmul(cast(cast(mask, "bool"), "f32"), earlier), 0);
  return where(expandDims(read, 2), h, 0);
}

/** Options of layers with the gates of an LSTM. */
export const LSTM_DEFAULTS: Required<LstmOptions> = Object.assign(
  { recurrentActivation: "sigmoid", unitForgetBias: true } as const,
  DEFAULTS,
);

export const LSTM: RecurrentKind = {
  kind: "lstm",
  defaults: LSTM_DEFAULTS,
  gates: 4,
  stateCount: 2,
  sequence: (xw, wr, _bias, states, options) => {
    const { h, c } = lstmSequence(xw, wr, { ...options, c0: states[1] });
    return [h, c];
  },
  cell: (wr, _bias, activation, gate) => lstmCell(wr, whole(activation), whole(gate)),
};

/** Of the gates i f c o, each of `units`. */
export function withForgetBias(units: number, init: Initializer): Initializer {
  return (_shape, random) => {
    const bias = new Float32Array(4 * units);
    bias.set(init([units], random), 0);
    bias.set(ones([units], random), units);
    bias.set(init([2 * units], random), 2 * units);
    return bias;
  };
}

export const GRU: RecurrentKind = {
  kind: "gru",
  defaults: Object.assign({ recurrentActivation: "sigmoid", resetAfter: true } as const, DEFAULTS),
  gates: 3,
  stateCount: 1,
  sequence: (xw, wr, recurrentBias, _states, options, o) => [
    gruSequence(xw, wr, { ...options, recurrentBias, resetAfter: o.resetAfter === true }),
  ],
  cell: (wr, recurrentBias, activation, gate, o) => gruCell(wr, recurrentBias, o.resetAfter === true, whole(activation), whole(gate)),
};

export const SIMPLE_RNN: RecurrentKind = {
  kind: "simpleRnn",
  defaults: DEFAULTS,
  gates: 1,
  stateCount: 1,
  sequence: (xw, wr, _bias, _states, options) => [simpleRnnSequence(xw, wr, options)],
  cell: (wr, _bias, activation) => simpleRnnCell(wr, whole(activation)),
};

/**
 * Long short-term memory (Hochreiter & Schmidhuber 1997), gates in the order i f c o: [batch, time, features] -> [batch, units], or
 * [batch, time, units] with `returnSequences`. `call(x, h, c, mask)`: initial states [batch, units] and mask [batch, time] (default: that
 * of x), all optional; a masked step keeps the states and repeats the last output.
 * Weights: kernel [features, 4 units], recurrentKernel [units, 4 units], bias [4 units].
 * @throws ArgumentError for units below 1 and unknown options; when called, ShapeError for another rank or no steps
 */
export const lstm = (units: number, options: LstmOptions = {}): RecurrentLayer => recurrent(LSTM, units, options);

/**
 * Gated recurrent unit (Cho et al. 2014), gates in the order z r h: [batch, time, features] -> [batch, units] or [batch, time, units].
 * `call(x, h, mask)` as in `lstm`. Weights: kernel [features, 3 units], recurrentKernel [units, 3 units], bias [2, 3 units] (input,
 * recurrent), or [3 units] without `resetAfter`.
 * @throws as `lstm`
 */
export const gru = (units: number, options: GruOptions = {}): RecurrentLayer => recurrent(GRU, units, options);

/**
 * Elman's network, h = activation(x kernel + h recurrentKernel + bias): [batch, time, features] -> [batch, units] or [batch, time, units].
 * `call(x, h, mask)` as in `lstm`. Weights: kernel [features, units], recurrentKernel [units, units], bias [units].
 * @throws as `lstm`
 */
export const simpleRnn = (units: number, options: SimpleRnnOptions = {}): RecurrentLayer => recurrent(SIMPLE_RNN, units, options);

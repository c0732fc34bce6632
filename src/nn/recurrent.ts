/**
 * @file LSTM, GRU and simple recurrent layers. The inputs' part of all steps is one product; the steps run in the sequence
 * kernels, or a loop of steps where an activation is not one that kernels apply. Also the bidirectional wrapper.
 */
import { ArgumentError, ShapeError } from "../errors.ts";
import type { CallOptions } from "../mode.ts";
import { add, cast, greater, greaterEqual, lessEqual, mul, where } from "../ops/map.ts";
import { matmul } from "../ops/matmul.ts";
import { concat, expandDims, flip, iota, reshape, slice } from "../ops/move.ts";
import { max } from "../ops/reduce.ts";
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
import {
  activationOf,
  checkCount,
  checkFeatures,
  checkNumber,
  checkOneOf,
  checkRank,
  described,
  lastOf,
  layerOf,
  partOf,
  whole,
} from "./options.ts";
import type { ActivationOption, InitializerOption, ModelAsLayer, NameOption, SplitActivation } from "./options.ts";
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
interface Options extends Required<SimpleRnnOptions> {
  readonly recurrentActivation?: ActivationOption;
  readonly unitForgetBias?: boolean;
  readonly resetAfter?: boolean;
}

const DEFAULTS: Options = {
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
interface Kind {
  readonly kind: string;
  readonly defaults: Options;
  readonly gates: number;
  readonly stateCount: number;
  /** The kernel: all steps of each state, h first. */
  readonly sequence: (
    xw: Tensor,
    wr: Tensor,
    bias: Tensor | null,
    states: readonly (Tensor | null)[],
    options: SequenceOptions,
    o: Options,
  ) => readonly Tensor[];
  readonly cell: (wr: Tensor, bias: Tensor | null, activation: SplitActivation, gate: SplitActivation, o: Options) => Cell;
}

/** @throws ArgumentError for tensors behind the states and the mask */
function checkMore(more: readonly unknown[], states: number): void {
  if (more.length > states + 1) throw new ArgumentError(`expected at most ${states} initial states and a mask, got ${more.length} tensors`);
}

function recurrent(kind: Kind, units: number, options: Partial<Options>): RecurrentLayer {
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
      const row = (i: number): Tensor => reshape(slice(weights.bias, [i, 0], [1, kind.gates * units]), [kind.gates * units]);
      const { bias = null } = weights;
      const [inputBias, recurrentBias] = bias !== null && o.resetAfter ? [row(0), row(1)] : [bias, null];
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
        weight("kernel", [lastOf(shape), kind.gates * units]);
        weight("recurrentKernel", [units, kind.gates * units], {}, "recurrent");
        if (o.useBias)
          weight(
            "bias",
            [...(o.resetAfter ? [2] : []), kind.gates * units],
            TRAINING && o.unitForgetBias ? { init: withForgetBias(units, initializer(o.biasInitializer)) } : {},
          );
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
function stepOf(x: Tensor, t: number): Tensor {
  const [batch, , units] = x.shape;
  return reshape(slice(x, [0, t, 0], [batch, 1, units]), [batch, units]);
}

/**
 * Outputs are 0 until a step has been read: an initial state is no output. The kernel repeats the state, which otherwise starts at 0
 * anyway.
 */
function silentUntilRead(h: Tensor, mask: Tensor, reverse: boolean): Tensor {
  const time = h.shape[1];
  const [from, to] = [iota([time, time], { axis: 0 }), iota([time, time], { axis: 1 })];
  const earlier = cast(reverse ? greaterEqual(from, to) : lessEqual(from, to), "f32");
  const read = greater(matmul(cast(cast(mask, "bool"), "f32"), earlier), 0);
  return where(expandDims(read, 2), h, 0);
}

const LSTM: Kind = {
  kind: "lstm",
  defaults: Object.assign({ recurrentActivation: "sigmoid", unitForgetBias: true } as const, DEFAULTS),
  gates: 4,
  stateCount: 2,
  sequence: (xw, wr, _bias, states, options) => {
    const { h, c } = lstmSequence(xw, wr, { ...options, c0: states[1] });
    return [h, c];
  },
  cell: (wr, _bias, activation, gate) => lstmCell(wr, whole(activation), whole(gate)),
};

function withForgetBias(units: number, init: Initializer): Initializer {
  return (_shape, random) => {
    const bias = new Float32Array(4 * units);
    bias.set(init([units], random), 0);
    bias.set(ones([units], random), units);
    bias.set(init([2 * units], random), 2 * units);
    return bias;
  };
}

const GRU: Kind = {
  kind: "gru",
  defaults: Object.assign({ recurrentActivation: "sigmoid", resetAfter: true } as const, DEFAULTS),
  gates: 3,
  stateCount: 1,
  sequence: (xw, wr, recurrentBias, _states, options, o) => [
    gruSequence(xw, wr, { ...options, recurrentBias, resetAfter: o.resetAfter === true }),
  ],
  cell: (wr, recurrentBias, activation, gate, o) => gruCell(wr, recurrentBias, o.resetAfter === true, whole(activation), whole(gate)),
};

const SIMPLE_RNN: Kind = {
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

/** Options of `bidirectional`. */
export interface BidirectionalOptions extends NameOption {
  /** How the two outputs become one. Default concat. */
  readonly mergeMode?: "concat" | "sum" | "ave" | "mul";
}

const MERGE = {
  concat: (a: Tensor, b: Tensor) => concat([a, b]),
  sum: (a: Tensor, b: Tensor) => add(a, b),
  ave: (a: Tensor, b: Tensor) => mul(add(a, b), 0.5),
  mul: (a: Tensor, b: Tensor) => mul(a, b),
} as const;

/**
 * A recurrent layer and a copy that reads the other way (Schuster & Paliwal 1997), with outputs of the same step merged.
 * `call(x, ...states of the first, ...states of the second, mask)`; with `returnSequences` masked steps give 0. Weights: forwardKernel …
 * backwardBias.
 * @throws ArgumentError unless `inner` is lstm, gru or simpleRnn, and for unknown options
 */
export function bidirectional(inner: RecurrentLayer, options: BidirectionalOptions = {}): Layer {
  if (typeof inner?.backwards !== "function") throw new ArgumentError("bidirectional: expected a layer made by lstm, gru or simpleRnn");
  const n = inner.stateCount;
  return layerOf<Required<BidirectionalOptions>>(
    "bidirectional",
    { layer: described(inner) },
    { name: "", mergeMode: "concat" },
    options,
    ({ mergeMode }) => {
      checkOneOf("bidirectional", "mergeMode", mergeMode, Object.keys(MERGE) as (keyof typeof MERGE)[]);
      const [forward, backward] = [inner, inner.backwards()];
      return {
        parts: { forward, backward },
        mask: "use",
        inputs: Infinity,
        call: (x, _weights, ...more) => {
          checkMore(more, 2 * n);
          const mask = more[2 * n] ?? maskOf(x);
          const [a, b] = [forward, backward].map((part, i) => part.call(x, ...Array.from({ length: n }, (_, k) => more[i * n + k]), mask));
          if (!inner.returnSequences) return MERGE[mergeMode](a, b);
          const counts = mask && cast(mask, "bool");
          // Both halves are 0 at steps that do not count, where one direction alone repeats its last output: Keras' zero_output_for_mask.
          const shown = (h: Tensor): Tensor => (counts === null ? h : where(expandDims(counts, 2), h, 0));
          return masked(MERGE[mergeMode](shown(a), shown(flip(b, 1))), counts);
        },
      };
    },
  );
}

/**
 * Applies `inner` to every step: [batch, time, ...] -> [batch, time, ...]. Weights: those of `inner`. @throws ArgumentError unless `inner`
 * is a layer.
 */
export function timeDistributed(inner: Layer | ModelAsLayer, options: NameOption = {}): Layer {
  const part = partOf("timeDistributed", inner, "dense(10)");
  return layerOf("timeDistributed", { layer: described(part) }, { name: "" }, options, () => ({
    parts: { "": part },
    mask: "use",
    call: (x) => {
      checkRank(x.shape, "[batch, time, ...]", 3, Infinity);
      const [batch, time] = x.shape;
      // A mask of more than steps, of words in sentences, is of what the inner layer reads.
      const mask = maskOf(x);
      const steps = reshape(x, [batch * time, ...x.shape.slice(2)]);
      const y = part.call(masked(steps, mask && reshape(mask, [batch * time, ...mask.shape.slice(2)])));
      const left = maskOf(y);
      const output = reshape(y, [batch, time, ...y.shape.slice(1)]);
      if (mask === null || mask.rank === 2) return masked(output, mask);
      if (left !== null && left.rank > 1) return masked(output, reshape(left, [batch, time, ...left.shape.slice(1)]));
      const inside = mask.shape.slice(2).map((_, i) => i + 2);
      return masked(output, greater(max(cast(mask, "i32"), { axis: inside }), 0));
    },
    anyDtype: true,
  }));
}

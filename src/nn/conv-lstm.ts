/**
 * @file LSTM layers whose products are convolutions (Shi et al. 2015): the inputs' part of all steps is one convolution, the steps are a
 * loop. States are flat in the loop, and images where they are convolved.
 */
import { ArgumentError, ShapeError } from "../errors.ts";
import type { CallOptions } from "../mode.ts";
import { conv2d } from "../ops/conv.ts";
import { add, cast, mul } from "../ops/map.ts";
import { flip, reshape, slice } from "../ops/move.ts";
import { conv3d } from "../ops/volumes.ts";
import type { Three } from "../ops/volumes.ts";
import type { Padding, Pair } from "../ops/window.ts";
import { sameShape, showShape, sizeOf } from "../shape.ts";
import type { Shape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { TRAINING } from "../training.ts";
import { overSteps } from "./cells.ts";
import type { Cell } from "./cells.ts";
import { dropoutFactors } from "./dropout.ts";
import { initializer } from "./initializers.ts";
import { maskOf, masked } from "./masks.ts";
import { activationOf, checkCount, checkFeatures, checkNumber, checkPadding, checkRank, lastOf, layerOf, whole } from "./options.ts";
import { checkMore, LSTM_DEFAULTS, silentUntilRead, stepOf, withForgetBias } from "./recurrent.ts";
import type { LstmOptions, RecurrentLayer } from "./recurrent.ts";
import { sizesOf } from "./sizes.ts";
import type { Triple } from "./sizes.ts";

/** Options of `convLstm1d`, `convLstm2d` and `convLstm3d`; `Sizes` is a number or one for each dimension. */
export interface ConvLstmOptions<Sizes> extends LstmOptions {
  /** Steps of the window over the input; states are of the output's size. Default 1. */
  readonly strides?: Sizes;
  /** Of the convolution of the input; that of the state is always `same`. Default `valid`. */
  readonly padding?: Padding;
  /** Distance of the kernel's elements over the input. Default 1. */
  readonly dilationRate?: Sizes;
}

type AnySizes = number | readonly number[];

interface Moves {
  readonly strides: readonly number[];
  readonly dilation: readonly number[];
  readonly padding: Padding;
}

/** x[batch, ...sizes, channels] with w[...taps, channels, filters]. Of one dimension they are images of one row. */
function convolve(x: Tensor, w: Tensor, { strides, dilation, padding }: Moves, bias: Tensor | null): Tensor {
  if (w.rank === 5) return conv3d(x, w, { strides: strides as unknown as Three, dilation: dilation as unknown as Three, padding, bias });
  if (w.rank === 4) return conv2d(x, w, { strides: strides as unknown as Pair, dilation: dilation as unknown as Pair, padding, bias });
  const [batch, ...rest] = x.shape;
  const y = conv2d(reshape(x, [batch, 1, ...rest]), reshape(w, [1, ...w.shape]), {
    strides: [1, strides[0]],
    dilation: [1, dilation[0]],
    padding,
    bias,
  });
  return reshape(y, [batch, ...y.shape.slice(2)]);
}

const MEANING = ["", "length, ", "height, width, ", "depth, height, width, "];

function convLstm(rank: 1 | 2 | 3, filters: number, kernelSize: AnySizes, options: ConvLstmOptions<AnySizes>): RecurrentLayer {
  const kind = `convLstm${rank}d`;
  const meaning = `[batch, steps, ${MEANING[rank]}channels]`;
  const statesOf = new WeakMap<Tensor, () => readonly Tensor[]>();
  const defaults = { ...LSTM_DEFAULTS, strides: 1 as AnySizes, padding: "valid" as Padding, dilationRate: 1 as AnySizes };
  const base = layerOf(kind, { filters, kernelSize }, defaults, options, ({ padding, useBias, goBackwards: reverse, ...o }) => {
    checkCount(kind, "filters", filters);
    checkNumber(kind, "dropout", o.dropout, 0, 1);
    checkNumber(kind, "recurrentDropout", o.recurrentDropout, 0, 1);
    const size = sizesOf(kind, "kernelSize", kernelSize, rank);
    const strides = sizesOf(kind, "strides", o.strides, rank);
    const dilation = sizesOf(kind, "dilationRate", o.dilationRate, rank);
    checkPadding(kind, padding, ["valid", "same"]);
    if (Math.max(...strides) > 1 && Math.max(...dilation) > 1)
      throw new ArgumentError(`${kind}: strides and dilationRate cannot both be above 1, got ${strides.join()} and ${dilation.join()}`);
    const activation = whole(activationOf(`${kind}: activation`, o.activation));
    const gate = whole(activationOf(`${kind}: recurrentActivation`, o.recurrentActivation ?? null));
    const still: Moves = { strides: size.map(() => 1), dilation: size.map(() => 1), padding: "same" };

    /** Gates i f c o of images of `shape`, which stand in rows: c = f c + i c~, h = o activation(c). */
    const cell = (wr: Tensor, shape: Shape): Cell => {
      const all = [...shape.slice(0, -1), 4 * filters];
      return (xw, read, [, before]) => {
        const z = add(reshape(xw, all), convolve(reshape(read, shape), wr, still, null));
        const block = (k: number): Tensor => slice(z, [...shape.slice(1).map(() => 0), k * filters], shape);
        const [input, forget, candidate, output] = [gate(block(0)), gate(block(1)), activation(block(2)), gate(block(3))];
        const c = add(mul(forget, reshape(before, shape)), mul(input, candidate));
        return [mul(output, activation(c)), c].map((t) => reshape(t, read.shape));
      };
    };

    const run = (x: Tensor, weights: { readonly [name: string]: Tensor }, more: readonly (Tensor | null | undefined)[]): Tensor => {
      checkRank(x.shape, meaning, rank + 3);
      checkFeatures(x, weights.kernel.shape[rank]);
      checkMore(more, 2);
      const [batch, time, ...inside] = x.shape;
      if (time === 0) throw new ShapeError(`expected at least one step, got ${showShape(x.shape)}`);
      const mask = more[2] ?? maskOf(x);
      if (mask !== null && !sameShape(mask.shape, [batch, time]))
        throw new ShapeError(`expected a mask ${showShape([batch, time])}, got ${showShape(mask.shape)}`);
      // As Keras' layers, but alike for the four gates: parts of images, the same ones at every step.
      const dropped = dropoutFactors(o.dropout, [batch, 1, ...inside], x);
      const images = reshape(dropped === null ? x : mul(x, dropped), [batch * time, ...inside]);
      const xw = convolve(images, weights.kernel, { strides, dilation, padding }, weights.bias ?? null);
      const shape = [batch, ...xw.shape.slice(1, -1), filters];
      const units = sizeOf(shape.slice(1));
      const states = [more[0] ?? null, more[1] ?? null].map((s) => {
        if (s !== null && !sameShape(s.shape, shape))
          throw new ShapeError(`expected initial states ${showShape(shape)}, got ${showShape(s.shape)}`);
        return s && reshape(s, [batch, units]);
      });
      const steps = overSteps(cell(weights.recurrentKernel, shape), reshape(xw, [batch, time, 4 * units]), units, states, {
        mask: mask && cast(mask, "i32"),
        reverse,
        factors: dropoutFactors(o.recurrentDropout, [batch, units], x),
      });
      const h = mask !== null && states[0] !== null ? silentUntilRead(steps.h, mask, reverse) : steps.h;
      const output = o.returnSequences
        ? reshape(reverse ? flip(h, 1) : h, [batch, time, ...shape.slice(1)])
        : reshape(stepOf(h, reverse ? 0 : time - 1), shape);
      statesOf.set(output, () => steps.states.map((s) => reshape(s, shape)));
      return o.returnSequences ? masked(output, mask && cast(mask, "bool")) : output;
    };

    return {
      mask: "use",
      build: (shape, weight) => {
        checkRank(shape, meaning, rank + 3);
        weight("kernel", [...size, lastOf(shape), 4 * filters]);
        weight("recurrentKernel", [...size, filters, 4 * filters], {}, "recurrent");
        const forget = TRAINING && o.unitForgetBias ? { init: withForgetBias(filters, initializer(o.biasInitializer)) } : {};
        if (useBias) weight("bias", [4 * filters], forget);
      },
      inputs: Infinity,
      call: (x, weights, ...more) => run(x, weights, more),
    };
  });
  return Object.assign(base, {
    stateCount: 2,
    returnSequences: options.returnSequences ?? false,
    callWithStates(x: Tensor, ...more: readonly (Tensor | CallOptions | null | undefined)[]) {
      const output = base.call(x, ...more);
      return { output, states: (statesOf.get(output) as () => readonly Tensor[])() };
    },
    backwards: () => convLstm(rank, filters, kernelSize, { ...options, goBackwards: !options.goBackwards }),
  });
}

/**
 * LSTM of sequences over time (a spectrogram, say) whose products are convolutions: [batch, steps, length, channels] -> [batch, positions,
 * filters], or [batch, steps, positions, filters] with `returnSequences`. `call(x, h, c, mask)`: initial states [batch, positions,
 * filters] and mask [batch, steps], all optional, as in `lstm`. Weights: kernel [size, channels, 4 filters], recurrentKernel [size,
 * filters, 4 filters], bias [4 filters], gates in the order i f c o. As Keras' `ConvLSTM1D`.
 * @throws ArgumentError for bad options; when called, ShapeError for another rank, no steps and inputs smaller than the kernel
 */
export const convLstm1d = (
  filters: number,
  kernelSize: number | readonly [number],
  options: ConvLstmOptions<number | readonly [number]> = {},
): RecurrentLayer => convLstm(1, filters, kernelSize, options);

/**
 * The same of images over time, such as films: [batch, steps, height, width, channels] -> [batch, rows, columns, filters], or [batch,
 * steps, rows, columns, filters]. Weights: kernel [height, width, channels, 4 filters], recurrentKernel [height, width, filters,
 * 4 filters], bias [4 filters]. As Keras' `ConvLSTM2D`. @throws as `convLstm1d`
 */
export const convLstm2d = (filters: number, kernelSize: Pair, options: ConvLstmOptions<Pair> = {}): RecurrentLayer =>
  convLstm(2, filters, kernelSize, options);

/**
 * The same of volumes over time: [batch, steps, depth, height, width, channels] -> [batch, depths, rows, columns, filters], or [batch, steps,
 * depths, rows, columns, filters]. Weights: kernel [depth, height, width, channels, 4 filters], recurrentKernel [depth, height, width,
 * filters, 4 filters], bias [4 filters]. As Keras' `ConvLSTM3D`. @throws as `convLstm1d`
 */
export const convLstm3d = (filters: number, kernelSize: Triple, options: ConvLstmOptions<Triple> = {}): RecurrentLayer =>
  convLstm(3, filters, kernelSize, options);

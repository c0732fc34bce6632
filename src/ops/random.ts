/**
 * @file Counter-based random numbers (Philox4x32-10, Salmon et al. 2011): a value depends on the key, the op's stream
 * and the position only, so that runs repeat exactly on every backend. Streams are numbered in the order of tracing.
 */
import { apply } from "../apply.ts";
import { checkCount, checkNumber, checkOptions, kindOf } from "../check.ts";
import { checkShape } from "../elements.ts";
import { ArgumentError, DTypeError, ShapeError } from "../errors.ts";
import { asTensor, currentGraph, symbolOf } from "../graph.ts";
import type { Graph, Op, TensorType } from "../graph.ts";
import { keySource } from "../mode.ts";
import { showShape } from "../shape.ts";
import type { Shape } from "../shape.ts";
import { checkDType, Tensor } from "../tensor.ts";
import type { TensorLike } from "../tensor.ts";
import * as kernels from "../kernels.ts";
import { gather } from "./gather.ts";
import { add, cast, less, log, mod, neg } from "./map.ts";
import { expandDims, iota, slice } from "./move.ts";
import { argMax } from "./reduce.ts";

function checkKey(who: string, key: Tensor): void {
  if (!(key instanceof Tensor)) throw new ArgumentError(`${who}: expected a key, a tensor u32[4], got ${kindOf(key)}`);
  if (key.dtype !== "u32" || key.size !== 4)
    throw new DTypeError(`${who}: the key must be u32[4] (seed low, seed high, and two counters), got ${key}`);
}

export const randomOp: Op = {
  name: "random",
  infer: ([key], attrs): readonly TensorType[] => {
    checkKey("random", key as Tensor);
    return [{ shape: attrs.shape as unknown as Shape, dtype: attrs.kind === "bits" ? "u32" : "f32" }];
  },
  vjp: null,
  lower: ({ inputs, outputs, attrs }) => [
    { kernel: kernels.random, inputs, outputs, attrs: { kind: attrs.kind, stream: attrs.stream, count: outputs[0].size } },
  ],
};

export const permutationOp: Op = {
  name: "permutation",
  infer: ([key, start], attrs): readonly TensorType[] => {
    checkKey("permutation", key as Tensor);
    if ((start as Tensor).dtype !== "i32" || (start as Tensor).size !== 1)
      throw new ShapeError(`permutation: start must be one i32, got ${start as Tensor}`);
    return [{ shape: [attrs.count as number], dtype: "i32" }];
  },
  vjp: null,
  lower: kernels.permutation,
};

/** What gives the steps of a loop random keys of their own, u32[length, 4], of the run's; null where nothing random may happen. */
export function keysOfSteps(length: number): ((outer: Graph) => Tensor) | null {
  const source = keySource();
  return source && ((outer) => randomBits(symbolOf(outer, source()), [length, 4]));
}

/** Options of random ops. */
export interface RandomOptions {
  /** Tells apart several uses of one key. Default: a new number for each op while tracing, else 0. */
  readonly stream?: number;
}

const streamOf = ({ stream }: RandomOptions): number => stream ?? currentGraph()?.nextStream() ?? 0;

function draw(kind: "bits" | "uniform" | "normal", key: Tensor, shape: Shape, options: RandomOptions): Tensor {
  checkKey("random", key);
  checkShape("random", shape);
  checkOptions("random", options, ["stream"]);
  return apply(randomOp, [key], { kind, shape, stream: streamOf(options) })[0];
}

/** u32 with all bits random. `key`: u32[4]. */
export const randomBits = (key: Tensor, shape: Shape, options: RandomOptions = {}): Tensor => draw("bits", key, shape, options);
/** f32 in [0, 1), multiples of 2^-24. `key`: u32[4]. */
export const randomUniform = (key: Tensor, shape: Shape, options: RandomOptions = {}): Tensor => draw("uniform", key, shape, options);
/** f32 of mean 0 and variance 1 (Box-Muller). `key`: u32[4]. */
export const randomNormal = (key: Tensor, shape: Shape, options: RandomOptions = {}): Tensor => draw("normal", key, shape, options);
/** 1 with probability `p`, else 0, as f32. `key`: u32[4]. */
export function randomBernoulli(key: Tensor, p: number, shape: Shape, options: RandomOptions = {}): Tensor {
  checkNumber("randomBernoulli", "p", p, 0, 1);
  return cast(less(draw("uniform", key, shape, options), p), "f32");
}

/**
 * Class numbers drawn with the probabilities softmax(logits): logits [..., classes] -> i32 [..., count], by the largest of logits and
 * Gumbel noise (Gumbel 1954).
 * A logit of -Infinity is never drawn. `key`: u32[4]. `count` default 1. @throws DTypeError, ShapeError for logits that are no f32 or
 * have no class
 */
export function randomCategorical(key: Tensor, logits: TensorLike, count = 1, options: RandomOptions = {}): Tensor {
  checkKey("randomCategorical", key);
  checkCount("randomCategorical", "count", count, 0);
  const x = asTensor(logits, "f32", "randomCategorical");
  checkDType("randomCategorical", x, ["f32"]);
  const { shape, rank } = x;
  if (rank === 0 || shape[rank - 1] === 0)
    throw new ShapeError(`randomCategorical: expected logits [..., classes], got ${showShape(shape)}`);
  const each = [...shape.slice(0, -1), count, shape[rank - 1]];
  const noise = neg(log(neg(log(draw("uniform", key, each, options)))));
  return argMax(add(expandDims(x, -2), noise), -1);
}

/**
 * `count` consecutive elements from `start` (i32, one element) of a pseudo-random permutation of 0 .. size-1, as i32[count]. `key`: u32[4].
 */
export function permutation(key: Tensor, size: number, given: { start: TensorLike; count?: number } & RandomOptions): Tensor {
  checkKey("permutation", key);
  checkCount("permutation", "size", size);
  const { count = size, ...options } = checkOptions("permutation", given, ["start", "count", "stream"]);
  checkCount("permutation", "count", count, 0);
  const start = asTensor(options.start, "i32", "permutation: start");
  return apply(permutationOp, [key, start], { size, count, stream: streamOf(options) })[0];
}

/**
 * `count` windows at random places of a row of ids, and for each the ids that follow: ids [n] -> x and y, both [count, length], of which y
 * begins one later. Each place is as likely as any other (but for n / 2^32), and may come more than once. For loops of one's own, inside
 * `compile()`: the ids stay where they are and no window is made on the host; `fit` takes `tokenWindows` of `lockstep/data`.
 * `key`: u32[4]. `ids`: of any dtype, kept as bytes where they were made of bytes.
 * @throws ShapeError unless ids are one-dimensional and more than `length`
 */
export function randomWindows(
  key: Tensor,
  ids: TensorLike,
  count: number,
  length: number,
  options: RandomOptions = {},
): { x: Tensor; y: Tensor } {
  checkKey("randomWindows", key);
  checkCount("randomWindows", "count", count);
  checkCount("randomWindows", "length", length);
  const row = asTensor(ids, "i32", "randomWindows");
  if (row.rank !== 1 || row.size <= length)
    throw new ShapeError(`randomWindows: windows of ${length} and the next one need ids [n], n > ${length}, got ${showShape(row.shape)}`);
  const bits = draw("bits", key, [count], options);
  const starts = cast(mod(bits, asTensor(row.size - length, "u32")), "i32");
  const all = gather(row, add(expandDims(starts, 1), iota([length + 1])));
  return { x: slice(all, [0, 0], [count, length]), y: slice(all, [0, 1], [count, length]) };
}

/** @file Layers of several tensors, which `call` takes one after another: `merge.add().call(a, b)`. Shapes broadcast. */
import { kindOf } from "../check.ts";
import { ArgumentError, ShapeError } from "../errors.ts";
import * as map from "../ops/map.ts";
import { matmul } from "../ops/matmul.ts";
import { concat, reshape, transpose } from "../ops/move.ts";
import { sum } from "../ops/reduce.ts";
import { normalizeAxis, showShape, sizeOf } from "../shape.ts";
import { ones, Tensor } from "../tensor.ts";
import type { Layer } from "./layer.ts";
import { maskOf, masked } from "./masks.ts";
import { lastOf, layerOf } from "./options.ts";
import type { Given, NameOption } from "./options.ts";

function merging<D extends NameOption>(
  kind: string,
  defaults: D,
  options: Given<D>,
  merge: (tensors: readonly Tensor[], o: D) => Tensor,
  exactly: number | null = null,
  maskOfResult: (masks: readonly (Tensor | null)[], tensors: readonly Tensor[], o: D) => Tensor | null = eitherMask,
): Layer {
  return layerOf(kind, {}, defaults, options, (o) => ({
    mask: "use",
    inputs: Infinity,
    call: (x, _weights, ...more) => {
      const tensors = [x, ...more].map((t) => {
        if (!(t instanceof Tensor)) throw new ArgumentError(`expected tensors, got ${kindOf(t)}`);
        return t;
      });
      if (exactly !== null && tensors.length !== exactly) throw new ArgumentError(`expected ${exactly} tensors, got ${tensors.length}`);
      return masked(merge(tensors, o), maskOfResult(tensors.map(maskOf), tensors, o));
    },
    anyDtype: true,
  }));
}

/** A step of a sum or product counts where it counts in one of the inputs; all steps do where one input has no mask. As in Keras 3. */
const eitherMask = (masks: readonly (Tensor | null)[]): Tensor | null =>
  masks.includes(null) ? null : (masks as readonly Tensor[]).reduce((a, b) => map.or(a, b));

const pairwise = (kind: string, op: (a: Tensor, b: Tensor) => Tensor, options: NameOption, exactly: number | null = null): Layer =>
  merging(kind, { name: "" }, options, (tensors) => tensors.reduce(op), exactly);

/** The sum of all inputs. */
export const add = (options: NameOption = {}): Layer => pairwise("add", map.add, options);
/** The first input less the second. */
export const subtract = (options: NameOption = {}): Layer => pairwise("subtract", map.sub, options, 2);
/** The product of all inputs, element by element. */
export const multiply = (options: NameOption = {}): Layer => pairwise("multiply", map.mul, options);
/** The largest of all inputs, element by element. */
export const maximum = (options: NameOption = {}): Layer => pairwise("maximum", map.maximum, options);
/** The smallest of all inputs, element by element. */
export const minimum = (options: NameOption = {}): Layer => pairwise("minimum", map.minimum, options);

/** The mean of all inputs. */
export function average(options: NameOption = {}): Layer {
  return merging("average", { name: "" }, options, (tensors) =>
    map.mul(
      tensors.reduce((a, b) => map.add(a, b)),
      1 / tensors.length,
    ),
  );
}

/** Options of `concatenate`. */
export interface ConcatenateOptions extends NameOption {
  /** Default -1. */
  readonly axis?: number;
}

/**
 * The inputs joined along `axis`. Their masks are joined where that is along time, and all steps of an input without one count. When
 * called, @throws ShapeError when other dimensions differ.
 */
export function concatenate(options: ConcatenateOptions = {}): Layer {
  return merging<Required<ConcatenateOptions>>(
    "concatenate",
    { name: "", axis: -1 },
    options,
    (tensors, { axis }) => concat(tensors, axis),
    null,
    (masks, tensors, { axis }) => {
      const along = normalizeAxis("concatenate", axis, tensors[0].rank);
      const known = masks.find((m) => m !== null);
      if (along !== 1 || tensors[0].rank < 3 || known === undefined) return eitherMask(masks);
      return concat(
        masks.map((m, i) => m ?? map.cast(ones(tensors[i].shape.slice(0, known.rank)), "bool")),
        1,
      );
    },
  );
}

/** Options of `dot`. */
export interface DotOptions extends NameOption {
  /** The dimension of both inputs to sum over, or one for each (the batch is 0). */
  readonly axes: number | readonly [number, number];
  /** Divide by the lengths along the axes first: the cosine. Default false. */
  readonly normalize?: boolean;
}

/**
 * Sums of products along one dimension of each of two inputs, sample by sample: the other dimensions of the first, then those of the
 * second; [batch, 1] when none is left.
 */
export function dot(options: DotOptions): Layer {
  const { axes = -1 } = options ?? {};
  const both = typeof axes === "number" ? [axes, axes] : axes;
  if (!Array.isArray(both) || both.length !== 2 || !both.every(Number.isInteger))
    throw new ArgumentError(`dot: axes must be an integer or two of them, got ${JSON.stringify(axes)}`);
  return merging<Required<DotOptions>>(
    "dot",
    { name: "", axes: -1, normalize: false },
    options,
    ([a, b], { normalize }) => {
      const [left, right] = [a, b].map((x, i) => asMatrices(x, both[i], normalize));
      if (lastOf(left.rows.shape) !== lastOf(right.rows.shape) || a.shape[0] !== b.shape[0])
        throw new ShapeError(`expected inputs of one batch and of one size along axes ${JSON.stringify(both)}, got ${a} and ${b}`);
      const y = matmul(left.rows, right.rows, { transposeB: true });
      const rest = [...left.rest, ...right.rest];
      return reshape(y, [a.shape[0], ...(rest.length === 0 ? [1] : rest)]);
    },
    2,
    () => null,
  );
}

/** Inputs count as if they were at least this long. */
const SMALLEST_LENGTH = 1e-7;

/** x as [batch, other dimensions, axis]. */
function asMatrices(x: Tensor, axis: number, normalize: boolean): { rows: Tensor; rest: readonly number[] } {
  const at = normalizeAxis("dot", axis, x.rank);
  if (at === 0) throw new ShapeError(`dot: the sum cannot be over the batch, dimension 0 of ${showShape(x.shape)}`);
  const others = x.shape.map((_, i) => i).filter((i) => i !== 0 && i !== at);
  const rest = others.map((i) => x.shape[i]);
  const rows = reshape(transpose(x, [0, ...others, at]), [x.shape[0], sizeOf(rest), x.shape[at]]);
  if (!normalize) return { rows, rest };
  const squares = sum(map.square(rows), { axis: -1, keepDims: true });
  return { rows: map.mul(rows, map.rsqrt(map.maximum(squares, SMALLEST_LENGTH ** 2))), rest };
}

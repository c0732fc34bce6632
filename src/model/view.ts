/** @file Samples that overlap, such as the windows of a text: batches are gathered where the elements lie, and no window is ever copied. */
import { checkCount } from "../check.ts";
import { checkShape } from "../elements.ts";
import { ArgumentError, ShapeError } from "../errors.ts";
import type { TypedArray } from "../dtype.ts";
import { pick } from "../ops/gather.ts";
import { add, mul } from "../ops/map.ts";
import { expandDims, iota, reshape } from "../ops/move.ts";
import { toTensor } from "../samples.ts";
import type { Data as OwnData } from "../samples.ts";
import { showShape, sizeOf } from "../shape.ts";
import type { Shape } from "../shape.ts";
import { Tensor, tensor } from "../tensor.ts";
import { TRAINING } from "../training.ts";

/**
 * Samples that lie in one row of elements, in which they may overlap: sample `i` has the elements from `offset + i * stride` on. What
 * `tokenWindows` of `lockstep/data` gives. `fit` and `evaluate` take each batch out of the row where it lies.
 */
export interface OverlappingData {
  readonly data: ArrayBufferView | readonly number[];
  /** [samples, ...sample] */
  readonly shape: Shape;
  /** Elements from the beginning of a sample to that of the next. */
  readonly stride: number;
  /** Where the first sample begins. Default 0. */
  readonly offset?: number;
}

/**
 * A tensor, nested arrays, a typed array, or elements with their shape, such as `trainTestSplit` gives, or samples that overlap in one row
 * of elements, such as `tokenWindows` gives; the first dimension counts the samples.
 */
export type Data = OwnData | OverlappingData;

/** Overlapping samples whose elements are a tensor. */
export class View {
  /** [elements] */
  readonly elements: Tensor;
  readonly shape: Shape;
  readonly stride: number;
  readonly offset: number;

  constructor(elements: Tensor, shape: Shape, stride: number, offset: number) {
    this.elements = elements;
    this.shape = shape;
    this.stride = stride;
    this.offset = offset;
  }

  /** A copy in which every sample has elements of its own. */
  async tensor(): Promise<Tensor> {
    const { elements, shape, stride, offset } = this;
    const host = elements.host ?? (await elements.data());
    const size = sizeOf(shape.slice(1));
    const out = new (host.constructor as new (size: number) => TypedArray)(shape[0] * size);
    for (let i = 0, from = offset; i < shape[0]; i++, from += stride) out.set(host.subarray(from, from + size), i * size);
    return tensor(out, shape, elements.dtype);
  }

  /** Names it among programs: what its batches are gathered by. */
  toString(): string {
    return `${this.elements} as ${showShape(this.shape.slice(1))} from ${this.offset} by ${this.stride}`;
  }
}

/** Samples of a model: each with elements of its own, or overlapping. */
export type Samples = Tensor | View;

/**
 * `data` as a tensor, or, where samples overlap, as a view; `lockstep/inference`, which does not train, takes no such samples.
 * @throws as `toTensor`; ShapeError for samples beyond the elements
 */
export function toSamples(who: string, data: Data): Samples {
  if (data instanceof Tensor || !("stride" in Object(data))) return toTensor(who, data as OwnData);
  if (!TRAINING) throw new ArgumentError(`${who}: lockstep/inference takes no samples that overlap; copy each`);
  const { shape, stride, offset = 0, ...rest } = data as OverlappingData;
  checkShape(who, shape);
  checkCount(who, "stride", stride);
  checkCount(who, "offset", offset, 0);
  const elements = toTensor(who, { ...rest, shape: [(rest.data as ArrayLike<number> | undefined)?.length] } as OwnData);
  const needed = offset + (shape[0] - 1) * stride + sizeOf(shape.slice(1));
  if (shape.length === 0 || (shape[0] > 0 && needed > elements.size))
    throw new ShapeError(`${who}: samples ${showShape(shape)} by ${stride} from ${offset} need ${needed} elements, got ${elements.size}`);
  return new View(elements, shape, stride, offset);
}

/** Samples with elements of their own, by a copy where they overlap. */
export const dense = async (samples: Samples): Promise<Tensor> =>
  TRAINING && samples instanceof View ? samples.tensor() : (samples as Tensor);

/** The tensor that holds the elements. */
export const elementsOf = (samples: Samples): Tensor => (TRAINING && samples instanceof View ? samples.elements : (samples as Tensor));

/** Inside a trace: the samples at `index` (i32 [count]), [count, ...sample]. `elements`: those of `samples` as the program has them. */
export function samplesAt(samples: Samples, elements: Tensor, index: Tensor): Tensor {
  if (!(samples instanceof View)) return pick(elements, index);
  const [, ...sample] = samples.shape;
  const size = sizeOf(sample);
  const starts = expandDims(add(mul(index, samples.stride), samples.offset), 1);
  return reshape(pick(elements, reshape(add(starts, iota([size])), [index.size * size])), [index.size, ...sample]);
}

/**
 * @file What flows along the edges of a graph: elements that are known while a program is made (shapes, axes, sizes), or a tensor.
 *
 * Images are [batch, channels, ...] in ONNX and channels-last in Lockstep's kernels. A value may be held either way; elementwise operators
 * leave it so, and what needs the other order has it transposed once.
 */
import { DTypeError, ShapeError, reshape, tensor, transpose } from "../index.ts";
import type { Shape, Tensor } from "../index.ts";
import { dtypeOf } from "./types.ts";
import type { ElementType } from "./types.ts";
import type { Make } from "./kept.ts";
import { wordsOf } from "./tensors.ts";
import type { Constant } from "./tensors.ts";

/** Asked for by an operator, but known only when the program has run: what was traced so far runs first. */
export class NotYetKnown extends Error {
  readonly value: Value;
  constructor(value: Value) {
    super("elements are not known while tracing");
    this.value = value;
  }
}

/**
 * A value with channel c times scale[c] / sqrt(variance[c] + epsilon), and so shifted that mean[c] becomes bias[c]; null where that costs
 * more than it saves.
 */
export type Scaled = (
  by: { readonly [name in "scale" | "bias" | "mean" | "variance"]: Value } & { readonly epsilon: number },
) => Value | null;

/** How a value is made of weights alone. `key` tells it from what else is made of them. */
export interface Origin {
  readonly key: string;
  readonly weights: readonly Tensor[];
  readonly make: Make;
}

/** What JavaScript computes of elements, where it decides shapes: tensors of elements that it gives. */
export type HostFunction = (elements: readonly Constant[]) => readonly Constant[];

/** An operator has to compute in JavaScript what depends on elements: what was traced so far runs, and its results go into what follows. */
export class HostStep extends Error {
  readonly place: string;
  readonly values: readonly Value[];
  readonly compute: HostFunction;
  constructor(place: string, values: readonly Value[], compute: HostFunction) {
    super("elements are not known while tracing");
    this.place = place;
    this.values = values;
    this.compute = compute;
  }
}

/** The permutation to channels-last, and back. */
export const toLast = (rank: number): number[] => [0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2), 1];
export const toFirst = (rank: number): number[] => [0, rank - 1, ...Array.from({ length: rank - 2 }, (_, i) => i + 1)];

/** The most elements of one tensor. */
const MOST_ELEMENTS = 2 ** 31 - 1;

/** @throws ShapeError for what is no shape, or one of too many elements: before anything is made of that size */
export function checkShape(shape: Shape): Shape {
  if (!shape.every((d) => Number.isInteger(d) && d >= 0) || !(shape.reduce((n, d) => n * d, 1) <= MOST_ELEMENTS))
    throw new ShapeError(`a shape has dimensions of at least 0 and at most ${MOST_ELEMENTS} elements, got [${shape.join()}]`);
  return shape;
}

/** A tensor of known elements. @throws DataError for integers beyond 32 bits, DTypeError for strings */
export function tensorOf(who: string, constant: Constant): Tensor {
  const dtype = dtypeOf(who, constant.type);
  const words = wordsOf(who, constant);
  return dtype === "bool" ? tensor(words, constant.shape, "bool") : tensor(words, constant.shape, dtype);
}

/** A value of the graph: a tensor, or a sequence of tensors. */
export class Value {
  readonly type: ElementType;
  /** As ONNX has it, however the elements lie. */
  readonly shape: Shape;
  #known: Constant | null;
  /** Elements of a small weight, for operators that need them while tracing. */
  #weight: Constant | null = null;
  /** Makes `#last`, for what may turn out not to be read. */
  #later: (() => Tensor) | null = null;
  /** The same with its channels normalized, at less cost than doing it afterwards; null from what cannot. */
  scaled: Scaled | null = null;
  /** Integers as floats, at less cost than exactly; null from what has no such way. */
  floats: (() => Value) | null = null;
  /** Makes `#first`, for what may turn out not to be read. */
  #make: (() => Tensor) | null = null;
  #origin: Origin | null = null;
  #isWeight = false;
  #first: Tensor | null;
  #last: Tensor | null;
  /** Those of a sequence; null for a tensor. */
  #items: readonly Value[] | null = null;
  /** An optional value that is not there. */
  #isNone = false;

  private constructor(type: ElementType, shape: Shape, known: Constant | null, first: Tensor | null, last: Tensor | null) {
    this.type = type;
    this.shape = checkShape(shape);
    this.#known = known;
    this.#first = first;
    this.#last = last;
  }

  /** Elements that are known while tracing. */
  static known(constant: Constant): Value {
    return new Value(constant.type, constant.shape, constant, null, null);
  }

  /** Numbers of one type. */
  static numbers(type: ElementType, elements: ArrayLike<number>, shape: Shape = [elements.length]): Value {
    return Value.known({ type, shape, elements });
  }

  /** A tensor in ONNX's order. */
  static of(type: ElementType, t: Tensor): Value {
    return new Value(type, t.shape, null, t, null);
  }

  /** A tensor that may be trained. `constant`: its elements, where it is small enough to be a size or a scale. */
  static weight(type: ElementType, t: Tensor, constant: Constant | null): Value {
    const value = Value.of(type, t);
    value.#weight = constant;
    value.#isWeight = true;
    return value;
  }

  /** Null for what is not made of weights of the file alone. */
  get origin(): Origin | null {
    return this.#isWeight ? { key: "", weights: [this.tensor], make: (t) => t } : this.#origin;
  }

  /** `t` is [batch, ..., channels]. */
  static channelsLast(type: ElementType, t: Tensor): Value {
    const [batch, ...rest] = t.shape;
    return new Value(type, [batch, rest[rest.length - 1], ...rest.slice(0, -1)], null, null, t);
  }

  /** A value of `shape`, as ONNX has it, that `make` gives channels-last when it is first read. */
  static later(type: ElementType, shape: Shape, make: () => Tensor): Value {
    const value = new Value(type, shape, null, null, null);
    value.#later = make;
    return value;
  }

  /** A value that `make` gives when it is first read; `origin` says how, where that is of weights alone. */
  static lazy(type: ElementType, shape: Shape, make: () => Tensor, origin: Origin | null = null): Value {
    const value = new Value(type, shape, null, null, null);
    value.#make = make;
    value.#origin = origin;
    return value;
  }

  #force(): Tensor | null {
    if (this.#later !== null) this.#last = this.#later();
    this.#later = null;
    return this.#last;
  }

  /** A sequence of tensors of one type. */
  static sequence(type: ElementType, items: readonly Value[]): Value {
    const value = new Value(type, [], null, null, null);
    value.#items = items;
    return value;
  }

  /** An optional value that is not there. One that is there is that value. */
  static none(type: ElementType): Value {
    const value = Value.sequence(type, []);
    value.#isNone = true;
    return value;
  }

  /** Whether it is an optional that has none. */
  get isNone(): boolean {
    return this.#isNone;
  }

  /** What is in a sequence; null for a tensor. */
  get items(): readonly Value[] | null {
    return this.#items;
  }

  /** Dimensions. */
  get rank(): number {
    return this.shape.length;
  }

  /** Elements of all dimensions. */
  get size(): number {
    return this.shape.reduce((n, d) => n * d, 1);
  }

  /** Elements, where they are known without running anything. */
  get known(): Constant | null {
    return this.#known;
  }

  /** Elements as numbers. @throws NotYetKnown */
  get elements(): ArrayLike<number> {
    return this.constant.elements as ArrayLike<number>;
  }

  /** Strings, or numbers. @throws NotYetKnown */
  get constant(): Constant {
    const constant = this.constantOrNull;
    if (constant === null) throw new NotYetKnown(this);
    return constant;
  }

  /** Null where only a run can tell. */
  get constantOrNull(): Constant | null {
    this.#checkTensor();
    return this.#known ?? this.#weight;
  }

  /** The same with elements that have become known. */
  knowing(constant: Constant): Value {
    return new Value(this.type, this.shape, constant, this.#first, this.#force());
  }

  /** It is held channels-last alone. */
  get isChannelsLast(): boolean {
    return this.#first === null && (this.#last !== null || this.#later !== null);
  }

  /** The tensor in ONNX's order. */
  get tensor(): Tensor {
    this.#checkTensor();
    if (this.#first !== null) return this.#first;
    if (this.#make !== null) return (this.#first = this.#make());
    const last = this.#force();
    if (last !== null) return (this.#first = transpose(last, toFirst(this.rank)));
    return (this.#first = tensorOf("a constant", this.#known as Constant));
  }

  /** The tensor with channels last. */
  get last(): Tensor {
    if (this.#force() !== null || this.rank < 3) return (this.#last ??= this.tensor);
    const order = toLast(this.rank);
    // Numbers of channels alone, and the like, lie in the same order either way.
    const isRow = this.shape.filter((d) => d !== 1).length <= 1;
    const first = this.tensor;
    return (this.#last = isRow
      ? reshape(
          first,
          order.map((d) => this.shape[d]),
        )
      : transpose(first, order));
  }

  #checkTensor(): void {
    if (this.#items === null) return;
    throw new DTypeError(`expected a tensor, got ${this.#isNone ? "an optional that has none" : `a sequence of ${this.#items.length}`}`);
  }

  /** For a graph inside: what is made of it there belongs there. */
  copy(): Value {
    const value = this.as(this.type);
    value.#weight = this.#weight;
    value.#isWeight = this.#isWeight;
    value.#items = this.#items?.map((v) => v.copy()) ?? null;
    value.#isNone = this.#isNone;
    return value;
  }

  /** Tensors that a program has to give or to take for it, in the order of `given`: those of elements that are not known. */
  get unknown(): readonly Value[] {
    return this.#items !== null ? this.#items.flatMap((v) => v.unknown) : this.#known !== null ? [] : [this];
  }

  /** Makes the same of other tensors, for what is not known. It holds none of these. */
  like(): (next: () => Tensor) => Value {
    const [type, known, parts] = [this.type, this.#known, this.#items?.map((v) => v.like())];
    if (this.#isNone) return () => Value.none(type);
    if (parts)
      return (next) =>
        Value.sequence(
          type,
          parts.map((part) => part(next)),
        );
    return known === null ? (next) => Value.of(type, next()) : () => Value.known(known);
  }

  /** For another trace: what was made of it in this one belongs to this one. */
  anew(): Value {
    if (this.#isNone) return Value.none(this.type);
    if (this.#items !== null)
      return Value.sequence(
        this.type,
        this.#items.map((v) => v.anew()),
      );
    const value = new Value(this.type, this.shape, this.#known, this.#known === null ? this.#first : null, null);
    value.#weight = this.#weight;
    value.#isWeight = this.#isWeight;
    return value;
  }

  /** The same elements by another type. */
  as(type: ElementType): Value {
    const value = new Value(type, this.shape, this.#known === null ? null : { ...this.#known, type }, this.#first, this.#force());
    value.#make = this.#make;
    value.#origin = this.#origin;
    return value;
  }
}

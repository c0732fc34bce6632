/**
 * @file What flows along the edges of a graph: elements that are known while a program is made (shapes, axes, sizes), or a tensor.
 *
 * Images are [batch, channels, ...] in ONNX and channels-last in Lockstep's kernels. A value may be held either way; elementwise operators
 * leave it so, and what needs the other order has it transposed once.
 */
import { tensor, transpose } from "../index.ts";
import type { Shape, Tensor } from "../index.ts";
import { dtypeOf } from "./types.ts";
import type { ElementType } from "./types.ts";
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

/** The permutation to channels-last, and back. */
export const toLast = (rank: number): number[] => [0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2), 1];
export const toFirst = (rank: number): number[] => [0, rank - 1, ...Array.from({ length: rank - 2 }, (_, i) => i + 1)];

/** A value of the graph. */
export class Value {
  readonly type: ElementType;
  /** As ONNX has it, however the elements lie. */
  readonly shape: Shape;
  #known: Constant | null;
  /** Elements of a small weight, for operators that need them while tracing. */
  #weight: Constant | null = null;
  #first: Tensor | null;
  #last: Tensor | null;

  private constructor(type: ElementType, shape: Shape, known: Constant | null, first: Tensor | null, last: Tensor | null) {
    this.type = type;
    this.shape = shape;
    this.#known = known;
    this.#first = first;
    this.#last = last;
  }

  static known(constant: Constant): Value {
    return new Value(constant.type, constant.shape, constant, null, null);
  }

  /** Numbers of one type. */
  static numbers(type: ElementType, elements: ArrayLike<number>, shape: Shape = [elements.length]): Value {
    return Value.known({ type, shape, elements });
  }

  static of(type: ElementType, t: Tensor): Value {
    return new Value(type, t.shape, null, t, null);
  }

  /** A tensor that may be trained. `constant`: its elements, where it is small enough to be a size or a scale. */
  static weight(type: ElementType, t: Tensor, constant: Constant | null): Value {
    const value = Value.of(type, t);
    value.#weight = constant;
    return value;
  }

  /** `t` is [batch, ..., channels]. */
  static channelsLast(type: ElementType, t: Tensor): Value {
    const [batch, ...rest] = t.shape;
    return new Value(type, [batch, rest[rest.length - 1], ...rest.slice(0, -1)], null, null, t);
  }

  get rank(): number {
    return this.shape.length;
  }

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
    const constant = this.#known ?? this.#weight;
    if (constant === null) throw new NotYetKnown(this);
    return constant;
  }

  /** The same with elements that have become known. */
  knowing(constant: Constant): Value {
    return new Value(this.type, this.shape, constant, this.#first, this.#last);
  }

  /** It is held channels-last alone. */
  get isChannelsLast(): boolean {
    return this.#first === null && this.#last !== null;
  }

  /** The tensor in ONNX's order. */
  get tensor(): Tensor {
    if (this.#first !== null) return this.#first;
    if (this.#last !== null) return (this.#first = transpose(this.#last, toFirst(this.rank)));
    return (this.#first = this.#made());
  }

  /** The tensor with channels last. */
  get last(): Tensor {
    return (this.#last ??= this.rank < 3 ? this.tensor : transpose(this.tensor, toLast(this.rank)));
  }

  #made(): Tensor {
    const known = this.#known as Constant;
    const dtype = dtypeOf("a constant", known.type);
    const words = wordsOf("a constant", known);
    return dtype === "bool" ? tensor(words, this.shape, "bool") : tensor(words, this.shape, dtype);
  }

  /** For another trace: what was made of it in this one belongs to this one. */
  anew(): Value {
    const value = new Value(this.type, this.shape, this.#known, this.#known === null ? this.#first : null, null);
    value.#weight = this.#weight;
    return value;
  }

  /** The same elements by another type. */
  as(type: ElementType): Value {
    return new Value(type, this.shape, this.#known === null ? null : { ...this.#known, type }, this.#first, this.#last);
  }
}

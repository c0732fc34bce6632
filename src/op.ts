/**
 * @file The op record and what it speaks of: attributes, kernels, nodes of a graph. Over T, the type of tensors, so that a tensor can say
 * which node computes it; graph.ts has these types with `Tensor` put in.
 */
import type { DType, Storage } from "./dtype.ts";
import type { Kernel } from "./kernel.ts";
import type { Shape } from "./shape.ts";

export type { Kernel } from "./kernel.ts";

/** Attributes of nodes and calls: plain data, so that plans print and equal nodes compare. */
export type Attr = number | boolean | string | null | readonly Attr[] | { readonly [key: string]: Attr };
/** Attributes by name. */
export type Attrs = { readonly [key: string]: Attr };

/** What a trace knows of a tensor. */
export interface TensorType {
  readonly shape: Shape;
  readonly dtype: DType;
  /** Of inputs and captures alone. */
  readonly storage?: Storage | undefined;
}

/** One kernel call before placement: operands are the tensors of the graph. */
export interface LoweredOf<T> {
  readonly kernel: Kernel;
  readonly inputs: readonly (T | null)[];
  readonly outputs: readonly (T | null)[];
  readonly attrs: Attrs;
  /** How many of the first outputs the kernel writes even where nobody reads them. Default 1. */
  readonly required?: number;
  /** What the kernel repeats (scan in plan/kernels.ts): a traced graph and those of its tensors that the last outputs collect. */
  readonly body?: BodyOf<T>;
}

/** A graph that a kernel runs again and again. */
export interface BodyOf<T> {
  /** A `Graph`, which this file need not know. */
  readonly graph: object;
  readonly results: readonly T[];
  /** `planBody` (plan/body.ts), which only applications with loops hold. */
  readonly planBody: object;
}

/** What a gradient rule sees. Letters follow the kernels: x inputs, y outputs, dy gradients of outputs. */
export interface VjpContextOf<T> {
  /** Gradient of each output; null where the loss does not depend on it. At least one is not null. */
  readonly dy: readonly (T | null)[];
  readonly y: readonly T[];
  readonly x: readonly (T | null)[];
  /** Which inputs' gradients anybody wants; a rule may skip the others. */
  readonly needs: readonly boolean[];
  readonly attrs: Attrs;
}

/** Gradients of the inputs, in order; null where there is none. */
export type VjpOf<T> = (context: VjpContextOf<T>) => readonly (T | null)[];

/**
 * One op: everything the library knows of it. `lower` is "map" for elementwise ops (the fuser builds their bodies), "alias" for ops whose
 * output is the same bytes, "leaf" for graph inputs, a kernel for one call of it with the op's operands and attributes, or a function
 * giving kernel calls.
 */
export interface OpOf<T> {
  readonly name: string;
  /** Shapes and dtypes of the outputs. Throws the error that the user sees. */
  readonly infer: (inputs: readonly (T | null)[], attrs: Attrs) => readonly TensorType[];
  /** The gradient rule; null: not differentiable, gradients stop here. */
  readonly vjp: VjpOf<T> | null;
  /**
   * Of gradients' ops without a rule of their own, whose it is: taking them for something that depends on nothing would lose terms, so
   * gradients through them are refused.
   */
  readonly gradientOf?: string;
  /** How it becomes kernel calls; see above. */
  readonly lower: "map" | "alias" | "leaf" | Kernel | ((node: NodeOf<T>) => readonly LoweredOf<T>[]);
  /**
   * For kernels that take a fused body in the place of their operand: `prologueOf` (plan/prologue.ts), which only applications that reduce
   * hold. Default: they do not.
   */
  readonly prologueOf?: object;
}

/** What computes tensors of a graph. */
export interface NodeOf<T> {
  readonly id: number;
  /** Tells graphs apart. */
  readonly graph: object;
  readonly op: OpOf<T>;
  readonly inputs: readonly (T | null)[];
  readonly attrs: Attrs;
  readonly outputs: readonly T[];
  /** The layer or scope it was traced in. */
  readonly source: string;
  /** Of an alias: the tensor, of no alias, whose bytes its output is. */
  readonly base: T | null;
}

/**
 * @file The graph of a loop's body: traced once, it runs once for each step. What it uses of the graph around it becomes operands of the
 * loop, the same at each step or a slice for each; what it assigns is carried from step to step.
 */
import { once } from "./cache.ts";
import { Graph, symbolOf } from "./graph.ts";
import { packedIn } from "./dtype.ts";
import type { DType } from "./dtype.ts";
import type { Shape } from "./shape.ts";
import { Tensor } from "./tensor.ts";

/** What a body reads: a tensor of the graph around it, whole, or with `moves` a slice along its first axis at each step. */
export interface Operand {
  readonly tensor: Tensor;
  readonly moves: boolean;
}

export class Body extends Graph {
  /** The graph around. */
  readonly outer: Graph;
  /** How often it runs. */
  readonly steps: number;
  /** What its inputs are, in their order. */
  readonly operands: Operand[] = [];
  readonly #whole = new Map<Tensor, Tensor>();
  readonly #slices = new Map<Tensor, Tensor>();

  constructor(outer: Graph, steps: number) {
    super();
    this.outer = outer;
    this.steps = steps;
  }

  /** The symbol here of the slice that `whole` [steps, ...], a symbol of the graph around, has for each step. */
  slice(whole: Tensor): Tensor {
    return once(this.#slices, whole, () => this.#operand(whole, whole.shape.slice(1), true));
  }

  override adopt(t: Tensor): Tensor {
    const own = symbolOf(this.outer, t);
    return once(this.#whole, own, () => this.#operand(own, own.shape, false));
  }

  override capture(tensor: Tensor): Tensor {
    // Bytes become words once, before the loop. What is packed is read as it is at each step.
    return tensor.storage && !packedIn(tensor.storage) ? this.adopt(tensor) : super.capture(tensor);
  }

  /** A tensor that is carried: what `assign`s to it are read at the next step. */
  carry(shape: Shape, dtype: DType): Tensor {
    const target = new Tensor(shape, dtype, null, 0, null);
    this.capture(target);
    return target;
  }

  /** The next step reads `value` where this one reads `target`: as `assign`, which is a training's. */
  carryOn(target: Tensor, value: Tensor): void {
    this.assigns.set(target, value);
  }

  #operand(tensor: Tensor, shape: Shape, moves: boolean): Tensor {
    this.operands.push({ tensor, moves });
    return this.input({ shape, dtype: tensor.dtype });
  }
}

/** @file What a scan repeats, for the op and for its gradient. */
import type { Body } from "../body.ts";
import { symbolOf } from "../graph.ts";
import type { Attrs, TensorType } from "../graph.ts";
import type { Tensor } from "../tensor.ts";

/** What a scan repeats. */
export interface Repeated {
  readonly body: Body;
  readonly length: number;
  readonly reverse: boolean;
  /** Whether the gradient computes again what it needs of each step, in place of keeping it. */
  readonly remat: boolean;
  /** What is assigned in the body and so read at the next step, in the order of its captures. */
  readonly carried: readonly Tensor[];
  /** How many of them, the first ones, the caller carries. The others are what layers assign, which gradients do not descend on. */
  readonly explicit: number;
  /** Symbols of the body that are collected, one value a step. Gradients append what they need. */
  readonly collected: Tensor[];
}

let next = 0;

/** What a scan repeats as an attribute of its node: nodes are equal where they repeat the same. */
export class Step {
  readonly id = next++;
  readonly #repeated: Repeated;

  constructor(repeated: Repeated) {
    this.#repeated = repeated;
  }

  get repeated(): Repeated {
    return this.#repeated;
  }
}

/** What a node of a scan repeats. */
export const repeatedBy = ({ step }: Attrs): Repeated => (step as unknown as Step).repeated;

/** What the body reads but for what is carried: its inputs, then its captures. */
export function operandsOf({ body }: Repeated): readonly { readonly tensor: Tensor; readonly moves: boolean }[] {
  const captured = [...body.captures.keys()].filter((t) => !body.assigns.has(t));
  return [...body.operands, ...captured.map((t) => ({ tensor: symbolOf(body.outer, t), moves: false }))];
}

/** The types of what a step collects, of all steps. */
export const collectedTypes = ({ length, collected }: Repeated, from = 0): TensorType[] =>
  collected.slice(from).map(({ shape, dtype }) => ({ shape: [length, ...shape], dtype }));

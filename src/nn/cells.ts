/**
 * @file One step of each recurrent layer written out in ops, and the loop over such steps: for activations
 * that the sequence kernels do not apply (gelu, one's own functions). The same numbers as the kernels, one op at a time.
 */
import { add, mul } from "../ops/map.ts";
import { matmul } from "../ops/matmul.ts";
import { slice, transpose } from "../ops/move.ts";
import { loop } from "../ops/loop.ts";
import { blend, keepMasked } from "../ops/recurrent.ts";
import { zeros } from "../tensor.ts";
import type { Tensor } from "../tensor.ts";

type Fn = (x: Tensor) => Tensor;

/** New states (h first) from one step of xw [batch, gates * units], what is read of h, and the states before. */
export type Cell = (xw: Tensor, read: Tensor, states: readonly Tensor[]) => readonly Tensor[];

/** Block `k` of `count` blocks of units. */
const block = (x: Tensor, k: number, units: number, count = 1): Tensor => slice(x, [0, k * units], [x.shape[0], count * units]);

/** h = activation(xw + h wr) */
export const simpleRnnCell =
  (wr: Tensor, activation: Fn): Cell =>
  (xw, read) => [activation(add(xw, matmul(read, wr)))];

/** Gates i f c o: c = f c + i c~, h = o activation(c). */
export function lstmCell(wr: Tensor, activation: Fn, gate: Fn): Cell {
  const units = wr.shape[0];
  return (xw, read, [, c]) => {
    const z = add(xw, matmul(read, wr));
    const [input, forget, output] = [0, 1, 3].map((k) => gate(block(z, k, units)));
    const next = add(mul(forget, c), mul(input, activation(block(z, 2, units))));
    return [mul(output, activation(next)), next];
  };
}

/** Gates z r h: h = z h + (1 - z) h~, the reset gate applied after or before the product with h. */
export function gruCell(wr: Tensor, recurrentBias: Tensor | null, resetAfter: boolean, activation: Fn, gate: Fn): Cell {
  const units = wr.shape[0];
  if (resetAfter) {
    return (xw, read, [h]) => {
      const hw = matmul(read, wr, { bias: recurrentBias });
      const [update, reset] = [0, 1].map((k) => gate(add(block(xw, k, units), block(hw, k, units))));
      return [blend(update, h, activation(add(block(xw, 2, units), mul(reset, block(hw, 2, units)))))];
    };
  }
  const [gates, candidate] = [block(wr, 0, units, 2), block(wr, 2, units)];
  return (xw, read, [h]) => {
    const hw = matmul(read, gates);
    const [update, reset] = [0, 1].map((k) => gate(add(block(xw, k, units), block(hw, k, units))));
    return [blend(update, h, activation(add(block(xw, 2, units), matmul(mul(reset, read), candidate))))];
  };
}

/** Options of `overSteps`. */
export interface StepOptions {
  /** i32 [batch, time]: where 0 the states stay. */
  readonly mask: Tensor | null;
  /** From the last step to the first. */
  readonly reverse: boolean;
  /** [batch, units], multiplies what each step reads of h. */
  readonly factors: Tensor | null;
}

/** All steps of `cell` over xw [batch, time, gates * units]: h after each step [batch, time, units] and the last states. */
export function overSteps(
  cell: Cell,
  xw: Tensor,
  units: number,
  states: readonly (Tensor | null)[],
  { mask, reverse, factors }: StepOptions,
): { h: Tensor; states: readonly Tensor[] } {
  const [batch, time] = xw.shape;
  const steps = transpose(xw, [1, 0, 2]);
  const { carry, ys } = loop({
    begin: states.map((s) => s ?? zeros([batch, units])),
    xs: mask === null ? [steps] : [steps, transpose(mask, [1, 0])],
    length: time,
    reverse,
    step: (before, [x, kept]) => {
      const next = cell(x, factors === null ? before[0] : mul(before[0], factors), before);
      const now = mask === null ? next : next.map((s, k) => keepMasked(s, before[k], kept));
      return { next: now, ys: [now[0]] };
    },
  });
  return { h: transpose(ys[0], [1, 0, 2]), states: carry };
}

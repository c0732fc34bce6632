/**
 * @file One step of each recurrent layer written out in ops, and a loop of such steps unrolled in the graph: for activations
 * that the sequence kernels do not apply (gelu, one's own functions) and for recurrent dropout. The same numbers as the kernels, one op at a time.
 */
import { add, mul } from "../ops/map.ts";
import { matmul } from "../ops/matmul.ts";
import { reshape, slice, stack } from "../ops/move.ts";
import { blend, keepMasked } from "../ops/recurrent.ts";
import { zeros } from "../tensor.ts";
import type { Tensor } from "../tensor.ts";

type Fn = (x: Tensor) => Tensor;

/** New states (h first) from one step of xw [batch, gates * units] and the states before. */
export type Cell = (xw: Tensor, states: readonly Tensor[]) => readonly Tensor[];

/** Block `k` of `count` blocks of units. */
const block = (x: Tensor, k: number, units: number, count = 1): Tensor => slice(x, [0, k * units], [x.shape[0], count * units]);

/** h = activation(xw + h wr) */
export const simpleRnnCell = (wr: Tensor, activation: Fn): Cell => (xw, [h]) => [activation(add(xw, matmul(h, wr)))];

/** Gates i f c o: c = f c + i c~, h = o activation(c). */
export function lstmCell(wr: Tensor, activation: Fn, gate: Fn): Cell {
  const units = wr.shape[0];
  return (xw, [h, c]) => {
    const z = add(xw, matmul(h, wr));
    const [input, forget, output] = [0, 1, 3].map((k) => gate(block(z, k, units)));
    const next = add(mul(forget, c), mul(input, activation(block(z, 2, units))));
    return [mul(output, activation(next)), next];
  };
}

/** Gates z r h: h = z h + (1 - z) h~, the reset gate applied after or before the product with h. */
export function gruCell(wr: Tensor, recurrentBias: Tensor | null, resetAfter: boolean, activation: Fn, gate: Fn): Cell {
  const units = wr.shape[0];
  if (resetAfter) {
    return (xw, [h]) => {
      const hw = matmul(h, wr, { bias: recurrentBias });
      const [update, reset] = [0, 1].map((k) => gate(add(block(xw, k, units), block(hw, k, units))));
      return [blend(update, h, activation(add(block(xw, 2, units), mul(reset, block(hw, 2, units)))))];
    };
  }
  const [gates, candidate] = [block(wr, 0, units, 2), block(wr, 2, units)];
  return (xw, [h]) => {
    const hw = matmul(h, gates);
    const [update, reset] = [0, 1].map((k) => gate(add(block(xw, k, units), block(hw, k, units))));
    return [blend(update, h, activation(add(block(xw, 2, units), matmul(mul(reset, h), candidate))))];
  };
}

/** Options of `unroll`. */
export interface UnrollOptions {
  /** i32 [batch, time]: where 0 the states stay. */
  readonly mask: Tensor | null;
  /** From the last step to the first. */
  readonly reverse: boolean;
  /** [batch, units], multiplies what each step reads of h. */
  readonly factors: Tensor | null;
}

/** All steps of `cell` over xw [batch, time, gates * units]: h after each step [batch, time, units] and the last states. */
export function unroll(cell: Cell, xw: Tensor, units: number, states: readonly (Tensor | null)[], { mask, reverse, factors }: UnrollOptions): { h: Tensor; states: readonly Tensor[] } {
  const [batch, time, width] = xw.shape;
  let now: readonly Tensor[] = states.map((s) => s ?? zeros([batch, units]));
  const outputs = new Array<Tensor>(time);
  for (let i = 0; i < time; i++) {
    const t = reverse ? time - 1 - i : i;
    const before = now;
    const read = factors === null ? before : [mul(before[0], factors), ...before.slice(1)];
    const next = cell(reshape(slice(xw, [0, t, 0], [batch, 1, width]), [batch, width]), read);
    const kept = mask === null ? null : reshape(slice(mask, [0, t], [batch, 1]), [batch]);
    now = kept === null ? next : next.map((s, k) => keepMasked(s, before[k], kept));
    outputs[t] = now[0];
  }
  return { h: stack(outputs, 1), states: now };
}

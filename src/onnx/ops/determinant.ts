/** @file Determinants. */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import { sizeOf } from "../call.ts";
import type { Operator, Operators } from "../call.ts";
import { Value } from "../value.ts";

const { reshape } = lockstep;

/** Determinants of [..., n, n], by elimination with the largest pivot of each column. */
function determinants(x: Tensor): Tensor {
  const n = x.shape[x.rank - 1];
  const lead = x.shape.slice(0, -2);
  const count = sizeOf(lead);
  if (n === 0 || count === 0) return lockstep.ones(lead);
  const rows = lockstep.iota([n]);
  const one = (condition: Tensor, axis: number): Tensor => lockstep.expandDims(condition, axis);
  const [{ d }] = lockstep.scan(
    ({ a, d: before }, k) => {
      const column = lockstep.gather(a, k, 2);
      const place = lockstep.argMax(lockstep.where(lockstep.less(rows, k), -1, lockstep.abs(column)), -1);
      const isPivot = lockstep.equal(rows, lockstep.expandDims(place, 1));
      const pivotRow = lockstep.sum(lockstep.where(one(isPivot, 2), a, 0), { axis: 1 });
      const row = lockstep.gather(a, k, 1);
      const other = lockstep.where(one(isPivot, 2), lockstep.expandDims(row, 1), a);
      const isRow = lockstep.reshape(lockstep.equal(rows, k), [1, n, 1]);
      const swapped = lockstep.where(isRow, lockstep.expandDims(pivotRow, 1), other);
      const pivot = lockstep.gather(pivotRow, k, 1);
      const divisor = lockstep.expandDims(lockstep.where(lockstep.equal(pivot, 0), 1, pivot), 1);
      const factor = lockstep.where(lockstep.greater(rows, k), lockstep.div(lockstep.gather(swapped, k, 2), divisor), 0);
      const next = lockstep.sub(swapped, lockstep.mul(one(factor, 2), lockstep.expandDims(pivotRow, 1)));
      const sign = lockstep.where(lockstep.equal(place, k), 1, -1);
      return [{ a: next, d: lockstep.mul(before, lockstep.mul(pivot, lockstep.cast(sign, "f32"))) }, null];
    },
    { a: reshape(x, [count, n, n]), d: lockstep.ones([count]) },
    rows,
  );
  return reshape(d, lead);
}

const Det: Operator = (call) => {
  const x = call.input(0);
  if (x.rank < 2 || x.shape[x.rank - 1] !== x.shape[x.rank - 2]) throw call.mismatch(`expected [..., n, n], got [${x.shape.join()}]`);
  return Value.of(x.type, determinants(x.tensor));
};

export const DETERMINANT: Operators = { Det };

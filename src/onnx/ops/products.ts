/** @file Products of matrices. */
import * as lockstep from "../../index.ts";
import type { Shape, Tensor } from "../../index.ts";
import { sizeOf } from "../call.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { broadcast } from "../known.ts";
import { dtypeOf } from "../types.ts";
import { Value } from "../value.ts";
import { isFloats, product } from "./matrix.ts";

const { reshape } = lockstep;

/** The shape of a product by NumPy's rule; null where there is none. */
export function matmulShape(a: Shape, b: Shape): Shape | null {
  if (a.length === 0 || b.length === 0) return null;
  const [x, y] = [a.length === 1 ? [1, ...a] : a, b.length === 1 ? [...b, 1] : b];
  const lead = broadcast([x.slice(0, -2), y.slice(0, -2)]);
  if (x[x.length - 1] !== y[y.length - 2] || lead === null) return null;
  return [...lead, ...(a.length === 1 ? [] : [x[x.length - 2]]), ...(b.length === 1 ? [] : [y[y.length - 1]])];
}

/** NumPy's rule for operands of one dimension. `multiply` is given matrices. */
export function matmulOf(call: Call, a: Tensor, b: Tensor, multiply: (a: Tensor, b: Tensor) => Tensor): Tensor {
  if (a.rank === 0 || b.rank === 0) throw call.mismatch("operands need at least one dimension");
  const shape = matmulShape(a.shape, b.shape);
  if (shape === null) throw call.mismatch(`[${a.shape.join()}] by [${b.shape.join()}] is no product`);
  const [x, y] = [a.rank === 1 ? reshape(a, [1, a.size]) : a, b.rank === 1 ? reshape(b, [b.size, 1]) : b];
  if (sizeOf(shape) === 0 || x.shape[x.rank - 1] === 0) return lockstep.zeros(shape, a.dtype);
  return reshape(multiply(x, y), shape);
}

/** Operands have one type. */
function checked(call: Call): [Value, Value] {
  const [a, b] = [call.input(0), call.input(1)];
  if (dtypeOf(call.who, a.type) !== dtypeOf(call.who, b.type)) throw call.fault(`operands are of one type, got ${a.type} and ${b.type}`);
  return [a, b];
}

const MatMul: Operator = (call) => {
  const [a, b] = checked(call);
  return Value.of(
    a.type,
    matmulOf(call, a.tensor, b.tensor, (x, y) => product(x, y)),
  );
};

/** alpha A' B' + beta C. */
const Gemm: Operator = (call) => {
  const [a, b] = checked(call);
  const [alpha, beta] = [call.float("alpha", 1), call.float("beta", 1)];
  const [transposeA, transposeB] = [call.flag("transA"), call.flag("transB")];
  const c = call.optional(2);
  if (a.rank !== 2 || b.rank !== 2) throw call.mismatch(`expected matrices, got [${a.shape.join()}] and [${b.shape.join()}]`);
  const [m, k] = transposeA ? [a.shape[1], a.shape[0]] : a.shape;
  const [k2, n] = transposeB ? [b.shape[1], b.shape[0]] : b.shape;
  if (k !== k2) throw call.mismatch(`[${a.shape.join()}] by [${b.shape.join()}] is no product`);
  if (c !== null && broadcast([c.shape, [m, n]])?.join() !== `${m},${n}`)
    throw call.mismatch(`C [${c.shape.join()}] does not broadcast to [${m},${n}]`);
  if (m * n === 0) return Value.of(a.type, lockstep.zeros([m, n], dtypeOf(call.who, a.type)));
  const isBias = alpha === 1 && beta === 1 && c !== null && c.size === n && c.shape[c.rank - 1] === n && isFloats(a.tensor);
  if (isBias) return Value.of(a.type, lockstep.matmul(a.tensor, b.tensor, { transposeA, transposeB, bias: reshape(c.tensor, [n]) }));
  const whole = product(a.tensor, b.tensor, { transposeA, transposeB });
  const scaled = (t: Tensor, by: number): Tensor =>
    by === 1 ? t : isFloats(t) ? lockstep.mul(t, by) : lockstep.cast(lockstep.mul(lockstep.cast(t, "f32"), by), t.dtype);
  const y = scaled(whole, alpha);
  return Value.of(a.type, c === null || beta === 0 ? y : lockstep.add(y, scaled(c.tensor, beta)));
};

/** A product with operands that may be transposed: their last two dimensions, or, `transBatch`, the first and the last but one. */
const FusedMatMul: Operator = (call) => {
  const operand = (value: Value, name: string, batchName: string): { readonly t: Tensor; readonly turned: boolean } => {
    const t = value.tensor;
    const turned = call.flag(name) && t.rank > 1;
    if (!call.flag(batchName)) return { t, turned };
    // [M, batch..., K]: the first dimension goes behind the others of the batch.
    const rest = t.shape.map((_, i) => i).slice(1, -1);
    return { t: lockstep.transpose(t, [...rest, 0, t.rank - 1]), turned };
  };
  const [a, b] = checked(call);
  const [x, y] = [operand(a, "transA", "transBatchA"), operand(b, "transB", "transBatchB")];
  const turn = ({ t, turned }: { readonly t: Tensor; readonly turned: boolean }): Tensor => (turned ? lockstep.ops.matrixTranspose(t) : t);
  const alpha = call.float("alpha", 1);
  const isPlain = x.t.rank > 1 && y.t.rank > 1 && !x.turned;
  const whole = isPlain
    ? lockstep.matmul(x.t, y.t, { transposeB: y.turned })
    : matmulOf(call, turn(x), turn(y), (p, q) => lockstep.matmul(p, q));
  return Value.of(a.type, alpha === 1 ? whole : lockstep.mul(whole, alpha));
};

export const PRODUCTS: Operators = { MatMul, Gemm };
export const PRODUCTS_MICROSOFT: Operators = { FusedMatMul };

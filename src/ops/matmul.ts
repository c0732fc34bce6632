/** @file Matrix product, batched, with transposed operands, bias and activation inside the kernel. */
import { apply } from "../apply.ts";
import { checkOptions } from "../check.ts";
import { ShapeError } from "../errors.ts";
import { asTensor, floats } from "../graph.ts";
import type { Op } from "../graph.ts";
import type { Activation, MatmulAttrs } from "../plan/kernels.ts";
import type { Attrs } from "../op.ts";
import { broadcastShapes, sameShape, showShape, sizeBetween, sizeOf } from "../shape.ts";
import { checkDType } from "../tensor.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import * as kernels from "../kernels.ts";
import { TRAINING } from "../training.ts";
import { activationGrad, checkKernelActivation } from "./activation.ts";
import { asMatrix, broadcastTo, reshape, sumOp, sumTo, withShape } from "./broadcast.ts";
import { transpose } from "./move.ts";
import { promoted } from "./promote.ts";

interface Options {
  transposeA: boolean;
  transposeB: boolean;
  activation: Activation;
}

function geometry(a: Tensor, b: Tensor, { transposeA, transposeB, activation }: Options): MatmulAttrs {
  const [rows, inner] = [a.shape[a.rank - 2], a.shape[a.rank - 1]];
  const [innerB, cols] = [b.shape[b.rank - 2], b.shape[b.rank - 1]];
  const [m, k] = transposeA ? [inner, rows] : [rows, inner];
  const [kb, n] = transposeB ? [cols, innerB] : [innerB, cols];
  if (k !== kb) {
    throw new ShapeError(
      `matmul: inner dimensions differ: a ${showShape(a.shape)}${transposeA ? " transposed" : ""} has ${k}, b ` +
        `${showShape(b.shape)}${transposeB ? " transposed" : ""} has ${kb}`,
    );
  }
  const [batchA, batchB] = [sizeBetween(a.shape, 0, a.rank - 2), sizeBetween(b.shape, 0, b.rank - 2)];
  return {
    batch: Math.max(batchA, batchB) * (batchA === 0 || batchB === 0 ? 0 : 1),
    batchA,
    batchB,
    m,
    k,
    n,
    transposeA,
    transposeB,
    activation,
  };
}

export const matmulOp: Op = {
  name: "matmul",
  infer: (inputs, attrs) => {
    const [a, b, bias] = inputs as readonly (Tensor | null)[] as [Tensor, Tensor, Tensor | null];
    for (const t of [a, b]) {
      checkDType("matmul", t, ["f32"]);
      if (t.rank < 2)
        throw new ShapeError(`matmul: operands need at least 2 dimensions, got ${showShape(t.shape)}; add one with expandDims()`);
    }
    const { m, n } = geometry(a, b, attrs as unknown as Options);
    checkBias("matmul", bias, n);
    return floats([...broadcastShapes("matmul", [a.shape.slice(0, -2), b.shape.slice(0, -2)]), m, n]);
  },
  // With C = A B: dA = dC B^T, dB = A^T dC; transposed operands swap the roles.
  vjp: TRAINING
    ? ({ dy, y, x, needs, attrs }) => {
        const [a, b] = x as readonly Tensor[];
        const { transposeA: ta, transposeB: tb, activation } = attrs as unknown as Options;
        const dz = activationGrad(activation, dy[0] as Tensor, y[0]);
        const da = !needs[0] ? null : ta ? product(b, dz, tb, true) : product(dz, b, false, !tb);
        const db = !needs[1] ? null : productB(a, dz, ta, tb, b);
        return [da && sumTo(da, a.shape), db && sumTo(db, b.shape), needs[2] ? columnSum(dz) : null];
      }
    : null,
  lower: ({ inputs, outputs, attrs }) => {
    const shapes = geometry(inputs[0] as Tensor, inputs[1] as Tensor, attrs as unknown as Options);
    return [{ kernel: kernels.matmul, inputs, outputs, attrs: shapes as unknown as Attrs }];
  },
};

/** Gradient of b. Where b is one shared matrix the batch joins the inner dimension: one product instead of a sum over products. */
function productB(a: Tensor, dz: Tensor, ta: boolean, tb: boolean, b: Tensor): Tensor {
  const shared = b.rank === 2 && a.rank > 2 && !ta;
  const [a2, d2] = shared ? [asMatrix(a), asMatrix(dz)] : [a, dz];
  return tb ? product(d2, a2, true, ta) : product(a2, d2, !ta, false);
}

/** a b where leading dimensions are equal, or one matrix is shared: what the operands of a product and its gradient are. */
export const product = (a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean): Tensor =>
  apply(matmulOp, [a, b, null], { transposeA, transposeB, activation: "linear" })[0];

/** @throws ShapeError unless `bias` is [size] or null. */
export function checkBias(who: string, bias: Tensor | null, size: number): void {
  if (bias !== null && !sameShape(bias.shape, [size]))
    throw new ShapeError(`${who}: expected a bias of shape [${size}], got ${showShape(bias.shape)}`);
}

/** Sum over all dimensions but the last: the gradient of a bias. */
export function columnSum(x: Tensor): Tensor {
  return x.rank === 1 ? x : apply(sumOp, [x], { axis: 0, count: x.rank - 1 })[0];
}

/** Options of `matmul`. */
export interface MatmulOptions {
  /** Read a as its transpose (last two dimensions), without a copy. Default false. */
  readonly transposeA?: boolean;
  /** Read b as its transpose (last two dimensions), without a copy. Default false. */
  readonly transposeB?: boolean;
  /** [N], added to every row. */
  readonly bias?: TensorLike | null;
  /** Applied by the kernel. Default linear. */
  readonly activation?: Activation;
}

/**
 * a[..., M, K] b[..., K, N] -> [..., M, N], f32; leading dimensions broadcast. One operand may be of integers or bools, which become f32.
 * @throws ShapeError when inner or leading dimensions do not fit, DTypeError unless one is f32.
 */
export function matmul(left: TensorLike, right: TensorLike, options: MatmulOptions = {}): Tensor {
  const [a, b] = promoted("matmul", [left, right]);
  checkOptions("matmul", options, ["transposeA", "transposeB", "bias", "activation"]);
  const { transposeA = false, transposeB = false, bias: given = null, activation = "linear" } = options;
  const bias = given === null ? null : asTensor(given, "f32", "matmul: bias");
  checkKernelActivation("matmul", activation);
  const attrs = { transposeA, transposeB, activation };
  if (a.rank < 2 || b.rank < 2) return apply(matmulOp, [a, b, bias], attrs)[0];
  const [leadA, leadB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const lead = broadcastShapes("matmul", [leadA, leadB]);
  if (sizeOf(leadB) === 1 && !transposeA && a.rank > 2)
    return withShape(linear(a, withShape(b, b.shape.slice(-2)), bias, attrs), [
      ...lead,
      a.shape[a.rank - 2],
      transposeB ? b.shape[b.rank - 2] : b.shape[b.rank - 1],
    ]);
  const whole = (t: Tensor, own: readonly number[]): Tensor =>
    sameShape(own, lead) || sizeOf(own) === 1 ? t : broadcastTo(t, [...lead, ...t.shape.slice(-2)]);
  const y = apply(matmulOp, [whole(a, leadA), whole(b, leadB), bias], attrs)[0];
  return withShape(y, [...lead, ...y.shape.slice(-2)]);
}

/** a[..., K] b[K, N] + bias[N], activated: one product of all rows. */
export function linear(
  a: Tensor,
  b: Tensor,
  bias: Tensor | null,
  { transposeA = false, transposeB = false, activation = "linear" }: Partial<Options> = {},
): Tensor {
  const y = apply(matmulOp, [asMatrix(a), b, bias], { transposeA, transposeB, activation })[0];
  return withShape(y, [...a.shape.slice(0, -1), y.shape[1]]);
}

/** The dot product over the last axis of a and the last-but-one of b, as `matmul` for vectors and matrices of any rank >= 1. */
export function dot(left: TensorLike, right: TensorLike): Tensor {
  const [a, b] = promoted("dot", [left, right]);
  if (a.rank === 0 || b.rank === 0) {
    throw new ShapeError(`dot: expected tensors of rank 1 and more, got ${a} and ${b}; for numbers use mul()`);
  }
  const a2 = a.rank === 1 ? reshape(a, [1, a.shape[0]]) : a;
  const b2 = b.rank === 1 ? reshape(b, [b.shape[0], 1]) : b;
  const y = matmul(a2, b2);
  const shape = [...y.shape];
  if (b.rank === 1) shape.pop();
  if (a.rank === 1) shape.splice(shape.length - (b.rank === 1 ? 1 : 2), 1);
  return reshape(y, shape);
}

/** Last two dimensions swapped. */
export function matrixTranspose(x: TensorLike): Tensor {
  const t = asTensor(x, "f32", "matrixTranspose");
  return transpose(t, [...t.shape.map((_, i) => i).slice(0, -2), t.rank - 1, t.rank - 2]);
}

/** @file Layer normalization over the last axis, and its gradient, each one pass over memory. */
import { apply } from "../apply.ts";
import { ShapeError } from "../errors.ts";
import type { Op } from "../graph.ts";
import type { LayerNormAttrs } from "../plan/kernels.ts";
import type { Attrs } from "../op.ts";
import { showShape, sizeBetween } from "../shape.ts";
import { checkDType } from "../tensor.ts";
import type { Tensor } from "../tensor.ts";
import * as kernels from "../kernels.ts";
import { TRAINING } from "../training.ts";
import { mean } from "./composite.ts";
import { add, mul, neg, square, sub } from "./map.ts";
import { columnSum } from "./matmul.ts";
import { broadcastTo, expandDims, reshape } from "./move.ts";
import { sum } from "./reduce.ts";

const attrsOf = (attrs: Attrs): LayerNormAttrs => attrs as unknown as LayerNormAttrs;
const rowMean = (t: Tensor): Tensor => mean(t, { axis: -1, keepDims: true });
const plus = (a: Tensor | null, b: Tensor | null): Tensor | null => (a === null ? b : b === null ? a : add(a, b));
/** [rows] along the columns. */
const along = (t: Tensor): Tensor => expandDims(t, 1);

/** (x[rows, cols], gamma?, beta?) -> y, mean[rows], rstd[rows] */
export const layerNormOp: Op = {
  name: "layerNorm",
  infer: ([x, gamma, beta]) => {
    const t = x as Tensor;
    for (const weight of [gamma, beta]) {
      if (weight && (weight.rank !== 1 || weight.shape[0] !== t.shape[1]))
        throw new ShapeError(`layerNorm: expected gamma and beta of shape [${t.shape[1]}], got ${showShape(weight.shape)}`);
    }
    return [t.shape, [t.shape[0]], [t.shape[0]]].map((shape) => ({ shape, dtype: "f32" }));
  },
  vjp: TRAINING
    ? ({ dy: [dy, dMean, dRstd], y, x: inputs, needs, attrs }) => {
        const [x, gamma] = inputs as [Tensor, Tensor | null];
        const m = along(y[1]);
        const [dxOfY, dGamma, dBeta] = dy ? apply(layerNormGradOp, [dy, x, gamma, y[1], y[2]], attrs) : [null, null, null];
        let dx: Tensor | null = dxOfY;
        // Mean and rstd are results too: the gradient's own gradient comes through them.
        const part = 1 / attrsOf(attrs).cols;
        if (dMean && attrsOf(attrs).centered) dx = plus(dx, broadcastTo(mul(along(dMean), part), x.shape));
        if (dRstd) dx = plus(dx, mul(mul(along(mul(dRstd, mul(y[2], square(y[2])))), -part), sub(x, m)));
        return [dx, needs[1] ? dGamma : null, needs[2] ? dBeta : null];
      }
    : null,
  lower: ({ inputs, outputs, attrs }) => [{ kernel: kernels.layerNorm, inputs, outputs, attrs }],
};

/** (dy, x, gamma?, mean, rstd) -> dx, dgamma, dbeta */
export const layerNormGradOp: Op = {
  name: "layerNormGrad",
  infer: ([dy]) => [(dy as Tensor).shape, [(dy as Tensor).shape[1]], [(dy as Tensor).shape[1]]].map((shape) => ({ shape, dtype: "f32" })),
  vjp: TRAINING
    ? ({ dy: [d, dGamma, dBeta], x: inputs, needs, attrs }) => {
        const [dy1, x, gamma, m1, r1] = inputs as [Tensor, Tensor, Tensor | null, Tensor, Tensor];
        const { centered } = attrsOf(attrs);
        const [m, rstd] = [along(m1), along(r1)];
        const centre = (t: Tensor): Tensor => (centered ? sub(t, rowMean(t)) : t);
        const distance = sub(x, m);
        const z = mul(distance, rstd);
        const rows = (t: Tensor): Tensor => sum(t, { axis: -1 });
        // dgamma = sum of dy z and dbeta = sum of dy, over rows.
        const part = dGamma && mul(dGamma, dy1);
        const dSums = plus(dGamma && mul(dGamma, z), dBeta && broadcastTo(dBeta, dy1.shape));
        const ofSums = [dSums, part && mul(part, rstd), null, part && neg(rows(mul(part, rstd))), part && rows(mul(part, distance))];
        if (!d) return ofSums;
        const g = gamma === null ? dy1 : mul(dy1, gamma);
        const [gz, dz] = [rowMean(mul(g, z)), rowMean(mul(d, z))];
        const toG = mul(rstd, sub(centre(d), mul(z, dz)));
        const toZ = neg(mul(rstd, add(mul(d, gz), mul(dz, g))));
        return [
          gamma === null ? toG : mul(toG, gamma),
          mul(toZ, rstd),
          gamma && needs[2] ? columnSum(mul(toG, dy1)) : null,
          neg(rows(mul(toZ, rstd))),
          rows(add(mul(d, sub(centre(g), mul(z, gz))), mul(toZ, distance))),
        ].map((t, i) => plus(t, ofSums[i]));
      }
    : null,
  lower: ({ inputs, outputs, attrs }) => [{ kernel: kernels.layerNormGrad, inputs, outputs, attrs }],
};

/** Options of `normalizeLast`. */
export interface NormalizeOptions {
  /** Scale, of the shape of the normalized dimensions. Default none. */
  readonly gamma?: Tensor | null;
  /** Shift, of the same shape. Default none. */
  readonly beta?: Tensor | null;
  /** Added to the variance. Default 1e-3. */
  readonly epsilon?: number;
  /** Subtract the mean; without it the root mean square takes the place of the deviation (Zhang & Sennrich 2019). Default true. */
  readonly centered?: boolean;
}

/**
 * Layer normalization (Ba et al. 2016) over the last `count` dimensions of x: (x - mean) / sqrt(variance + epsilon) * gamma + beta. f32.
 * @throws ShapeError when gamma or beta do not have the size of these dimensions, DTypeError unless f32.
 */
export function normalizeLast(
  x: Tensor,
  count: number,
  { gamma = null, beta = null, epsilon = 1e-3, centered = true }: NormalizeOptions = {},
): Tensor {
  checkDType("layerNorm", x, ["f32"]);
  const rows = sizeBetween(x.shape, 0, x.rank - count);
  const cols = sizeBetween(x.shape, x.rank - count, x.rank);
  const flat = (t: Tensor | null): Tensor | null => t && reshape(t, [sizeBetween(t.shape, 0, t.rank)]);
  const attrs: LayerNormAttrs = { rows, cols, epsilon, centered };
  return reshape(apply(layerNormOp, [reshape(x, [rows, cols]), flat(gamma), flat(beta)], attrs as unknown as Attrs)[0], x.shape);
}

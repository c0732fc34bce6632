/** @file Muon: momentum of matrices, made orthogonal, for the inner layers of a network, and adamw for everything else. */
import { checkCount, checkFlag, checkNumber, checkOptions } from "../check.ts";
import { ArgumentError } from "../errors.ts";
import { ownerOf } from "../nn/layer.ts";
import { isStacked } from "../nn/stack.ts";
import { add, div, mul, sqrt, square, sub } from "../ops/map.ts";
import { matmul } from "../ops/matmul.ts";
import { sum } from "../ops/reduce.ts";
import { Tensor } from "../tensor.ts";
import { asGiven, correction, optimizer, towards } from "./optimizer.ts";
import type { Optimizer, OptimizerOptions } from "./optimizer.ts";
import type { Rule } from "./optimizer-state.ts";

/** Options of `muon`. */
export interface MuonOptions extends OptimizerOptions {
  /** Of the momentum of matrices. Default 0.95. */
  readonly momentum?: number;
  /** Look ahead: Nesterov's form of momentum. Default true. */
  readonly nesterov?: boolean;
  /** Steps of the Newton-Schulz iteration. Default 5. */
  readonly nsSteps?: number;
  /** Coefficients of the iteration x = a x + (b x x^T + c (x x^T)^2) x. Defaults 3.4445, -4.775, 2.0315. */
  readonly muonA?: number;
  readonly muonB?: number;
  readonly muonC?: number;
  /**
   * Steps of a matrix [n, m] are scaled by rmsRate * sqrt(max(n, m)), which makes them as large as adamw's, so that learning rate and
   * decay can be the same (Liu et al. 2025). Null: not scaled. Default 0.2.
   */
  readonly rmsRate?: number | null;
  /**
   * Texts; a parameter whose layer/weight name (`head/kernel`) has one of them in it is adamw's: the layer that makes the logits should be
   * named here. Tensors of one's own have the names that they are given under. Default none.
   */
  readonly excludeLayers?: readonly string[];
  /** Embeddings are adamw's. Default true. */
  readonly excludeEmbeddings?: boolean;
  /** The learning rate of adamw is this times that of the matrices. Default 1. */
  readonly adamLrRatio?: number;
  /** Default 0.9. */
  readonly adamBeta1?: number;
  /** Default 0.999. */
  readonly adamBeta2?: number;
  /** Default 0.004. */
  readonly adamWeightDecay?: number | null;
  /** Of adamw. Default 1e-7. */
  readonly epsilon?: number;
}

/** Added to the norm that the iteration begins by dividing by. */
const SMALLEST_NORM = 1e-7;

/** x [n, m] with its singular values brought near to 1 (between 0.7 and 1.2), by products alone. */
function orthogonalized(x: Tensor, steps: number, [a, b, c]: readonly number[]): Tensor {
  const tall = x.shape[0] > x.shape[1];
  let y = div(x, add(sqrt(sum(square(x))), SMALLEST_NORM));
  for (let i = 0; i < steps; i++) {
    // Of the smaller side: of a tall matrix y^T y, which stands behind it.
    const gram = tall ? matmul(y, y, { transposeA: true }) : matmul(y, y, { transposeB: true });
    const polynomial = add(mul(gram, b), mul(matmul(gram, gram), c));
    y = add(mul(y, a), tall ? matmul(y, polynomial) : matmul(polynomial, y));
  }
  return y;
}

/**
 * Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon/), as in Keras 3: m = momentum * m + g, w -= learningRate * rmsRate *
 * sqrt(max(n, m)) * NewtonSchulz(g + momentum * m) for parameters of two dimensions; adamw for all others, for embeddings and for what
 * `excludeLayers` names. Default learning rate 0.001, weight decay 0.004. One tensor of state for each matrix, in the place of adam's two.
 * It is given as `muon()`, not by name, so that only applications that use it, or `loadModel`, hold it.
 * @example muon({ learningRate: 0.02, excludeLayers: ["head"] })
 * @throws ArgumentError for bad options
 */
export function muon(given?: MuonOptions): Optimizer {
  const {
    learningRate = 0.001,
    weightDecay = 0.004,
    momentum = 0.95,
    nesterov = true,
    nsSteps = 5,
    muonA = 3.4445,
    muonB = -4.775,
    muonC = 2.0315,
    rmsRate = 0.2,
    excludeLayers = [],
    excludeEmbeddings = true,
    adamLrRatio = 1,
    adamBeta1 = 0.9,
    adamBeta2 = 0.999,
    adamWeightDecay = 0.004,
    epsilon = 1e-7,
    ...options
  } = checkOptions("muon", given);
  checkNumber("muon", "momentum", momentum, 0, 1);
  checkCount("muon", "nsSteps", nsSteps, 0);
  const coefficients = { muonA, muonB, muonC };
  for (const [name, value] of Object.entries(coefficients)) checkNumber("muon", name, value, -Infinity);
  if (rmsRate !== null) checkNumber("muon", "rmsRate", rmsRate, 0);
  if (adamWeightDecay !== null) checkNumber("muon", "adamWeightDecay", adamWeightDecay, 0);
  checkFlag("muon", "excludeEmbeddings", excludeEmbeddings);
  if (!Array.isArray(excludeLayers) || !excludeLayers.every((text) => typeof text === "string" && text !== ""))
    throw new ArgumentError(`muon: excludeLayers must be a list of parts of names, got ${JSON.stringify(excludeLayers)}`);
  const [first, second] = [correction("muon", "adamBeta1", adamBeta1), correction("muon", "adamBeta2", adamBeta2)];
  const ofMatrix: Rule = {
    slots: ["momentum"],
    initial: 0,
    stepSize: asGiven,
    step: (w, g, [m], rate) => {
      const m1 = add(mul(m, momentum), g);
      const direction = orthogonalized(nesterov ? add(mul(m1, momentum), g) : m1, nsSteps, [muonA, muonB, muonC]);
      return [sub(w, mul(direction, rmsRate === null ? rate : mul(rate, Math.sqrt(Math.max(...w.shape)) * rmsRate))), m1];
    },
  };
  const ofOthers: Rule = {
    slots: ["momentum", "velocity"],
    initial: 0,
    stepSize: (rate, t) => div(mul(rate, mul(sqrt(second(t)), adamLrRatio)), first(t)),
    step: (w, g, [m, v], size) => {
      const m1 = towards(m, g, 1 - adamBeta1);
      const v1 = towards(v, square(g), 1 - adamBeta2);
      return [sub(w, div(mul(m1, size), add(sqrt(v1), epsilon))), m1, v1];
    },
    weightDecay: adamWeightDecay,
  };
  const excluded = (param: Tensor, path: string): boolean => {
    const owner = ownerOf(param);
    const name = owner === null ? path : `${owner.name || owner.kind}/${owner.weights.find((w) => w.tensor === param)?.name}`;
    return (excludeEmbeddings && /embedding/i.test(`${owner?.kind} ${name}`)) || excludeLayers.some((text) => name.includes(text));
  };
  return optimizer(
    "muon",
    { learningRate, weightDecay, ...options },
    { momentum, nesterov, nsSteps, adamLrRatio, adamBeta1, adamBeta2, epsilon },
    {
      all: [ofMatrix, ofOthers],
      of: (param, path) => (param.rank !== 2 || isStacked(param) || excluded(param, path) ? ofOthers : ofMatrix),
    },
    { ...coefficients, rmsRate, excludeLayers: [...excludeLayers], excludeEmbeddings, adamWeightDecay },
  );
}

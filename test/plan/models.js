/** @file Four small models as traced graphs, for snapshots and measures of plans: each makes `{ graph, results }`. */
import { gradients } from "../../build/esm/grad.js";
import { Graph, scope, trace } from "../../build/esm/graph.js";
import { conv2d } from "../../build/esm/ops/conv.js";
import { mean } from "../../build/esm/ops/composite.js";
import { mul, square, sub } from "../../build/esm/ops/map.js";
import { matmul } from "../../build/esm/ops/matmul.js";
import { reshape, slice } from "../../build/esm/ops/move.js";
import { maxPool2d } from "../../build/esm/ops/pool.js";
import { lstmSequence } from "../../build/esm/ops/recurrent.js";
import { softmax, softmaxCrossEntropy } from "../../build/esm/ops/softmax.js";
import { Tensor } from "../../build/esm/tensor.js";

const parameter = (...shape) => new Tensor(shape, "f32", null, 0, null);

/** One step of gradient descent on the loss that `lossOf(...inputs)` gives. */
function trainStep(types, parameters, lossOf) {
  const graph = new Graph();
  const results = trace(graph, () => {
    const loss = lossOf(...types.map((type) => graph.input(type)));
    const symbols = parameters.map((p) => graph.capture(p));
    const grads = gradients(loss, symbols);
    parameters.forEach((p, k) => graph.assign(p, sub(symbols[k], mul(grads[k], 0.1))));
    return [loss];
  });
  return { graph, results };
}

const f32 = (...shape) => ({ shape, dtype: "f32" });
const i32 = (...shape) => ({ shape, dtype: "i32" });

/** 4 -> 8 relu -> 3, mean square error, SGD. */
export function mlp() {
  const [w1, b1, w2, b2] = [parameter(4, 8), parameter(8), parameter(8, 3), parameter(3)];
  return trainStep([f32(16, 4), f32(16, 3)], [w1, b1, w2, b2], (x, y) => {
    const h = scope("hidden", () => matmul(x, w1, { bias: b1, activation: "relu" }));
    const out = scope("output", () => matmul(h, w2, { bias: b2 }));
    return scope("loss", () => mean(square(sub(out, y))));
  });
}

/** Convolution, pooling, dense; softmax cross-entropy, SGD. */
export function convolutional() {
  const [w1, b1, w2] = [parameter(3, 3, 1, 4), parameter(4), parameter(64, 10)];
  return trainStep([f32(2, 8, 8, 1), i32(2)], [w1, b1, w2], (x, y) => {
    const h = scope("conv", () => conv2d(x, w1, { bias: b1, padding: "same", activation: "relu" }));
    const p = scope("pool", () => maxPool2d(h, 2));
    const z = scope("dense", () => matmul(reshape(p, [2, 64]), w2));
    return scope("loss", () => mean(softmaxCrossEntropy(z, y).loss));
  });
}

/** LSTM whose last state predicts a number; SGD. */
export function lstm() {
  const [wx, wr, bias, w] = [parameter(3, 20), parameter(5, 20), parameter(20), parameter(5, 1)];
  return trainStep([f32(4, 6, 3), f32(4, 1)], [wx, wr, bias, w], (x, y) => {
    const h = scope("lstm", () => lstmSequence(matmul(x, wx, { bias }), wr).h);
    const last = reshape(slice(h, [0, 5, 0], [4, 1, 5]), [4, 5]);
    return scope("loss", () => mean(square(sub(matmul(last, w), y))));
  });
}

/** Softmax regression, forward only: probabilities. */
export function classifier() {
  const [w, bias] = [parameter(4, 3), parameter(3)];
  const graph = new Graph();
  const results = trace(graph, () => [softmax(matmul(graph.input(f32(7, 4)), w, { bias }))]);
  return { graph, results };
}

export const MODELS = { mlp, convolutional, lstm, classifier };

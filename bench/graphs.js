/**
 * @file Graphs of any size, for what planning takes (compile.js) and for tests of it: chains, branches that join, and training steps of
 * deep networks.
 * A kind takes a number of steps, branches or layers and gives `{ types, parameters, loss, values? }`: the loss of inputs of these types,
 * whose gradients by the parameters update them by adam.
 */
import { gradients } from "../build/esm/grad.js";
import { assign, Graph, trace } from "../build/esm/graph.js";
import { gelu } from "../build/esm/ops/activation.js";
import { mean } from "../build/esm/ops/composite.js";
import { conv2d } from "../build/esm/ops/conv.js";
import { add, mul, relu, rsqrt, sin, square, sub, tanh } from "../build/esm/ops/map.js";
import { matmul } from "../build/esm/ops/matmul.js";
import { reshape, slice, stopGradient } from "../build/esm/ops/move.js";
import { normalizeLast } from "../build/esm/ops/norm.js";
import { sum } from "../build/esm/ops/reduce.js";
import { softmax } from "../build/esm/ops/softmax.js";
import { Tensor } from "../build/esm/tensor.js";
import { adam } from "../build/esm/train/optimizers.js";

/** Milliseconds that this process has had of the processor, all of its threads: what others do on the machine does not count. */
export function processorTime() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

const f32 = (...shape) => ({ shape, dtype: "f32" });

/** Weights of one of the networks, which are made as they are asked for. */
function weights() {
  const parameters = [];
  const weight = (...shape) => {
    const w = new Tensor(shape, "f32", null, 0, new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.01));
    parameters.push(w);
    return w;
  };
  return { parameters, weight };
}

const blendIn = (average, value) => add(mul(average, 0.99), mul(stopGradient(value), 0.01));

/** As the layer `batchNorm` in training, over all dimensions but the last. */
function batchNorm(x, { gamma, beta, movingMean, movingVariance }) {
  const axis = x.shape.map((_, i) => i).slice(0, -1);
  const average = mean(x, { axis });
  const center = stopGradient(average);
  const centered = sub(x, center);
  const variance = mean(square(centered), { axis });
  const scale = mul(rsqrt(add(variance, 1e-3)), gamma);
  const moved = mul(sub(center, average), scale);
  assign(movingMean, blendIn(movingMean, average));
  assign(movingVariance, blendIn(movingVariance, variance));
  return add(mul(centered, scale), add(moved, beta));
}

const normWeights = (weight, n) => {
  const [gamma, beta] = [weight(n), weight(n)];
  return {
    gamma,
    beta,
    movingMean: new Tensor([n], "f32", null, 0, new Float32Array(n)),
    movingVariance: new Tensor([n], "f32", null, 0, new Float32Array(n).fill(1)),
  };
};

/** What follows from `count` layers that `make(weight, i)` gives weights of and `apply(x, w)` is. */
function stack(count, input, make, apply, finish = (h) => mean(square(h))) {
  const { parameters, weight } = weights();
  const layers = Array.from({ length: count }, (_, i) => make(weight, i));
  return { types: [input], parameters, loss: (x) => finish(layers.reduce(apply, x)) };
}

export const KINDS = {
  "elementwise chain": {
    perSize: 1.5,
    make: (size) => ({
      types: [f32(16)],
      parameters: [],
      values: (x) => {
        let y = x;
        for (let i = 0; i < size; i++) y = i % 2 ? sin(y) : mul(y, 1 + i / size);
        return y;
      },
    }),
  },
  "chain with gradients": {
    perSize: 3.54,
    make: (size) => {
      const { parameters, weight } = weights();
      const w = weight(16);
      return {
        types: [f32(16)],
        parameters,
        loss: (x) => {
          let y = x;
          for (let i = 0; i < size; i++) y = i % 2 ? sin(y) : mul(y, w);
          return sum(y);
        },
      };
    },
  },
  "branches that join": {
    perSize: 4,
    make: (size) => ({
      types: [f32(16)],
      parameters: [],
      values: (x) => {
        let all = Array.from({ length: size }, (_, i) => tanh(mul(x, 1 + i)));
        while (all.length > 1)
          all = Array.from({ length: Math.ceil(all.length / 2) }, (_, i) =>
            2 * i + 1 < all.length ? add(all[2 * i], all[2 * i + 1]) : all[2 * i],
          );
        return all[0];
      },
    }),
  },
  "branches of sums": {
    perSize: 6,
    make: (size) => ({
      types: [f32(4, 16)],
      parameters: [],
      values: (x) => {
        let y = x;
        // Each branch waits for a sum of what comes before and is read by all that come behind.
        for (let i = 0; i < size; i++) y = add(y, mul(sum(sin(mul(y, i + 2)), { axis: 0 }), x));
        return y;
      },
    }),
  },
  "residual MLP, batchNorm": {
    perSize: 104,
    make: (size) =>
      stack(
        size,
        f32(8, 16),
        (weight) => ({ w: weight(16, 16), norm: normWeights(weight, 16) }),
        (h, { w, norm }) => add(h, relu(batchNorm(matmul(h, w), norm))),
      ),
  },
  "convolutions, batchNorm": {
    perSize: 104,
    make: (size) =>
      stack(
        size,
        f32(2, 8, 8, 8),
        (weight) => ({ w: weight(3, 3, 8, 8), norm: normWeights(weight, 8) }),
        (h, { w, norm }) => add(h, relu(batchNorm(conv2d(h, w, { padding: "same" }), norm))),
      ),
  },
  transformer: {
    perSize: 203,
    make: (size) =>
      stack(
        size,
        f32(8, 16),
        (weight) => ({
          q: weight(16, 16),
          k: weight(16, 16),
          v: weight(16, 16),
          o: weight(16, 16),
          g1: weight(16),
          b1: weight(16),
          g2: weight(16),
          b2: weight(16),
          up: weight(16, 32),
          down: weight(32, 16),
        }),
        (x, { q, k, v, o, g1, b1, g2, b2, up, down }) => {
          const h = normalizeLast(x, 1, { gamma: g1, beta: b1, epsilon: 1e-3, centered: true });
          const y = add(x, matmul(matmul(softmax(matmul(matmul(h, q), matmul(h, k), { transposeB: true })), matmul(h, v)), o));
          return add(y, matmul(gelu(matmul(normalizeLast(y, 1, { gamma: g2, beta: b2, epsilon: 1e-3, centered: true }), up)), down));
        },
      ),
  },
  "unrolled RNN, gelu": {
    perSize: 25,
    make: (size) => {
      const { parameters, weight } = weights();
      const [wx, wr, bias] = [weight(4, 8), weight(8, 8), weight(8)];
      return {
        types: [f32(2, size, 4)],
        parameters,
        loss: (x) => {
          const all = matmul(x, wx, { bias });
          let h = gelu(reshape(slice(all, [0, 0, 0], [2, 1, 8]), [2, 8]));
          for (let t = 1; t < size; t++) h = gelu(add(reshape(slice(all, [0, t, 0], [2, 1, 8]), [2, 8]), matmul(h, wr)));
          return mean(square(h));
        },
      };
    },
  },
  "many small parameters": {
    perSize: 21,
    make: (size) => {
      const { parameters, weight } = weights();
      for (let i = 0; i < size; i++) weight(1 + (i % 7));
      return { types: [], parameters, loss: () => parameters.map((w) => sum(square(w))).reduce((a, b) => add(a, b)) };
    },
  },
};

/** The traced graph of a kind of graph, `{ graph, results }`, and how long the parts of it took. */
export function graphOf(name, size) {
  const { types, parameters, loss, values } = KINDS[name].make(size);
  const graph = new Graph();
  const optimizer = adam();
  const times = { trace: 0, gradients: 0 };
  const timed = (phase, fn) => {
    const from = processorTime();
    const made = fn();
    times[phase] += processorTime() - from;
    return made;
  };
  const results = trace(graph, () => {
    const inputs = types.map((type) => graph.input(type));
    if (values !== undefined) return [timed("trace", () => values(...inputs))];
    const value = timed("trace", () => loss(...inputs));
    const grads = timed("gradients", () => gradients(value, parameters));
    timed("trace", () => optimizer.update(parameters, grads));
    return [value];
  });
  return { graph, results, times };
}

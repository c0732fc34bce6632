/**
 * @file What is measured: shapes, networks, weights and data, the same for every library. Numbers come from a hash of their index,
 * so that `torch_peer.py` can make the same ones.
 */

/** `count` uniform numbers in [low, high), the same in every run and language. */
export function noise(count, seed, low = 0, high = 1) {
  const out = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    // lowbias32, https://github.com/skeeto/hash-prospector
    let h = (i + Math.imul(seed, 0x9e3779b1)) >>> 0;
    h = Math.imul(h ^ (h >>> 16), 0x21f0aaad);
    h = Math.imul(h ^ (h >>> 15), 0x735a2d97);
    out[i] = low + ((high - low) * ((h ^ (h >>> 15)) >>> 8)) / 16777216;
  }
  return out;
}

const lstmNet = (activation) => ({
  input: [10, 10],
  samples: 2048,
  loss: "mse",
  layers: [
    { kind: "lstm", units: 100, activation },
    { kind: "dense", units: 50, activation: "relu" },
    { kind: "dense", units: 1, activation: "linear" },
  ],
});

/** Layers as in Keras; images are [H, W, C]; `samples` is the size of the data set. */
export const NETS = {
  FFN: {
    input: [8],
    samples: 8192,
    loss: "binaryCrossentropy",
    layers: [
      { kind: "dense", units: 10, activation: "relu" },
      { kind: "dense", units: 5, activation: "relu" },
      { kind: "dense", units: 1, activation: "sigmoid" },
    ],
  },
  CNN: {
    input: [28, 28, 1],
    samples: 384,
    loss: "categoricalCrossentropy",
    layers: [
      { kind: "conv2d", units: 32, activation: "relu" },
      { kind: "maxPool2d" },
      { kind: "conv2d", units: 64, activation: "relu" },
      { kind: "maxPool2d" },
      { kind: "flatten" },
      { kind: "dense", units: 64, activation: "relu" },
      { kind: "dense", units: 10, activation: "softmax" },
    ],
  },
  LSTM: lstmNet("relu"),
  "LSTM-tanh": lstmNet("tanh"),
};

export const BATCH = 32;
export const ADAM = { learningRate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-7 };
/** Training steps after which what the network predicts is compared with Lockstep's. */
export const CHECKED_STEPS = 4;

/**
 * nanoGPT's recipe for CPUs (https://github.com/karpathy/nanoGPT): no biases, no dropout, the head's weights are the embedding's. AdamW,
 * gradients clipped by their norm.
 */
export const GPTS = {
  GPT: {
    ...{ vocabulary: 65, block: 64, layers: 4, heads: 4, width: 128, batch: 12, windows: 96 },
    ...{ learningRate: 1e-3, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.1, clip: 1 },
  },
};

/** Of a row of ids, in which the windows lie side by side; the last window needs the id behind it. */
export const gptIds = ({ vocabulary, block, windows }) => Uint8Array.from(noise(windows * block + 1, 11), (v) => v * vocabulary);

/**
 * Weights in the order in which the GPT calls its layers: tokens [vocabulary, width], positions [block, width]; of each block scale
 * [width], query, key, value, output [width, width], scale, and the two of the feed-forward block [in, out]; the last scale.
 */
export function gptWeights({ vocabulary, block, layers, width }) {
  const limit = 0.02 * Math.sqrt(3);
  const out = [];
  const matrix = (...shape) => out.push({ shape, data: noise(size(shape), 200 + out.length, -limit, limit) });
  const scale = () => out.push({ shape: [width], data: new Float32Array(width).fill(1) });
  matrix(vocabulary, width);
  matrix(block, width);
  for (let i = 0; i < layers; i++) {
    scale();
    for (let k = 0; k < 4; k++) matrix(width, width);
    scale();
    matrix(width, 4 * width);
    matrix(4 * width, width);
  }
  scale();
  return out;
}

const size = (shape) => shape.reduce((a, b) => a * b, 1);

/**
 * Weights of a network, in Keras' order and layout: dense [in, out], conv [3, 3, in, out], LSTM kernel, recurrent kernel, bias with gates
 * i, f, c, o. `channelsFirst` permutes the rows of the dense layer after `flatten` for libraries whose images are [C, H, W].
 */
export function weightsOf(net, channelsFirst = false) {
  let shape = NETS[net].input;
  let flat = null;
  const out = [];
  const weight = (s, fanIn, fanOut) => {
    const limit = Math.sqrt(6 / (fanIn + fanOut));
    out.push({ shape: s, data: noise(size(s), 100 + out.length, -limit, limit) });
  };
  for (const { kind, units } of NETS[net].layers) {
    if (kind === "dense") {
      weight([shape[0], units], shape[0], units);
      if (flat !== null && channelsFirst) out.at(-1).data = chwRows(out.at(-1).data, flat, units);
      weight([units], units, units);
      [shape, flat] = [[units], null];
    } else if (kind === "conv2d") {
      const [h, w, c] = shape;
      weight([3, 3, c, units], 9 * c, 9 * units);
      weight([units], units, units);
      shape = [h - 2, w - 2, units];
    } else if (kind === "maxPool2d") shape = [shape[0] >> 1, shape[1] >> 1, shape[2]];
    else if (kind === "flatten") [flat, shape] = [shape, [size(shape)]];
    else {
      const [, f] = shape;
      weight([f, 4 * units], f, 4 * units);
      weight([units, 4 * units], units, 4 * units);
      weight([4 * units], 4 * units, 4 * units);
      shape = [units];
    }
  }
  return out;
}

function chwRows(data, [h, w, c], units) {
  const out = new Float32Array(data.length);
  for (let k = 0; k < c; k++)
    for (let i = 0; i < h * w; i++) out.set(data.subarray((i * c + k) * units, (i * c + k + 1) * units), (k * h * w + i) * units);
  return out;
}

/** Training data, and one sample to predict. */
export function dataOf(net) {
  const { input, samples, loss } = NETS[net];
  const x = noise(samples * size(input), 1);
  const one = noise(size(input), 2);
  let y = noise(samples, 3);
  let outputs = 1;
  if (loss === "binaryCrossentropy") y = y.map((v) => Number(v > 0.5));
  if (loss === "categoricalCrossentropy")
    [outputs, y] = [10, Float32Array.from({ length: samples * 10 }, (_, i) => Number(Math.floor(y[Math.floor(i / 10)] * 10) === i % 10))];
  return { x, y, one, samples, input, outputs };
}

/** Products of one unit: chained (each on the last one's result) so that calls and copies hardly count. */
export const PRODUCTS = { 256: 16, 512: 4, 1024: 2 };
/** a, and b scaled so that the chain neither grows nor shrinks. */
export const operands = (n) => ({ a: noise(n * n, 7, -1, 1), b: noise(n * n, 8, -Math.sqrt(3 / n), Math.sqrt(3 / n)) });

/** 3x3 convolutions, stride 1. x is [n, h, w, c], filters are [3, 3, c, f]. */
export const CONVS = {
  "28x28x32-64 same": { n: 32, h: 28, w: 28, c: 32, f: 64, padding: "same" },
  "28x28x1-32 valid": { n: 32, h: 28, w: 28, c: 1, f: 32, padding: "valid" },
  "13x13x32-64 valid": { n: 32, h: 13, w: 13, c: 32, f: 64, padding: "valid" },
};
export const outOf = ({ n, h, w, f, padding }) => (padding === "same" ? [n, h, w, f] : [n, h - 2, w - 2, f]);
export const convFlops = (v) => 2 * size(outOf(v)) * 9 * v.c;
export const convData = ({ n, h, w, c, f }) => ({ x: noise(n * h * w * c, 9, -1, 1), w: noise(9 * c * f, 10, -0.1, 0.1) });

/** [N, H, W, C] -> [N, C, H, W] */
export function nchw(data, [n, h, w, c]) {
  const out = new Float32Array(data.length);
  for (let b = 0, o = 0; b < n; b++) for (let k = 0; k < c; k++) for (let i = 0; i < h * w; i++) out[o++] = data[(b * h * w + i) * c + k];
  return out;
}
/** [N, C, H, W] -> [N, H, W, C] for a `shape` given as [N, H, W, C] */
export const nhwc = (data, [n, h, w, c]) => nchw(data, [n, 1, c, h * w]);
/** [3, 3, C, F] -> [F, C, 3, 3] */
export function oihw(data, [r, s, c, f]) {
  const out = new Float32Array(data.length);
  for (let k = 0, o = 0; k < f; k++) for (let j = 0; j < c; j++) for (let i = 0; i < r * s; i++) out[o++] = data[(i * c + j) * f + k];
  return out;
}

/** Some elements of a large result, spread over it. */
export const spread = (data) => Array.from({ length: Math.min(data.length, 61) }, (_, i) => data[Math.floor((i * data.length) / 61)]);

/** task name -> { kind, of, unit (what a rate counts), tolerance of its result as a part of the largest element } */
export const TASKS = Object.fromEntries([
  ...Object.keys(PRODUCTS).map((n) => [
    `matmul ${n}`,
    { kind: "matmul", of: Number(n), flops: 2 * n ** 3, unit: "GFLOP/s", tolerance: 1e-4 },
  ]),
  ...Object.entries(CONVS).map(([name, v]) => [
    `conv2d ${name}`,
    { kind: "conv2d", of: name, flops: convFlops(v), unit: "GFLOP/s", tolerance: 1e-4 },
  ]),
  // What four steps change in a prediction: rounding in the gradients moves it far more than a forward pass does.
  ...Object.keys(NETS).map((net) => [`train ${net}`, { kind: "train", of: net, unit: "samples/s", tolerance: 5e-2 }]),
  ...Object.keys(GPTS).map((net) => [`train ${net}`, { kind: "gpt", of: net, unit: "tokens/s", tolerance: 5e-2 }]),
  ...Object.keys(NETS).map((net) => [`predict ${net}`, { kind: "predict", of: net, unit: "us", tolerance: 1e-4 }]),
]);

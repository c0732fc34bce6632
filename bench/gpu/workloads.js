/** @file The work that all libraries are measured at, and its data: plain numbers, the same in every run. */
import { classes, noise } from "../data.js";

export const BATCH = 32;

/**
 * Sizes for a GPU, and those that a program in the place of one can do. `target` is a training to a loss: nats a character of what is held
 * back, within so many seconds, looked at each so many steps (nanoGPT's best: 1.47).
 * The convolution has as many filters as channels and an output as
 * large as its input.
 */
export const SIZES = {
  gpu: {
    products: [256, 512, 1024, 2048, 4096],
    image: { count: 32, side: 56, channels: 64, kernel: 3 },
    steps: { FFN: 512, CNN: 48, LSTM: 64 },
    transformer: { batch: 8, tokens: 256, width: 512 },
    weights: { width: 4096, tokens: 256, count: 16, copied: { bytes: 2 ** 27, count: 8 } },
    attention: [
      { batch: 4, heads: 16, tokens: 1024, dim: 64, count: 8 },
      { batch: 1, heads: 16, tokens: 4096, dim: 64, count: 4 },
    ],
    gpt: { vocabulary: 65, block: 256, layers: 6, heads: 6, width: 384, batch: 64, dropout: 0.2, steps: 12 },
    llama: {
      hidden: 2048,
      layers: 28,
      heads: 16,
      keyHeads: 8,
      headDim: 128,
      wide: 6144,
      vocabulary: 151936,
      positions: [16, 4096],
      tokens: 96,
    },
    target: { loss: 1.48, seconds: 300, every: 250, steps: 5000 },
  },
  software: {
    products: [64, 128],
    image: { count: 1, side: 14, channels: 64, kernel: 3 },
    steps: { FFN: 16, CNN: 1, LSTM: 1 },
    transformer: { batch: 1, tokens: 32, width: 64 },
    weights: { width: 256, tokens: 32, count: 4, copied: { bytes: 2 ** 20, count: 4 } },
    attention: [{ batch: 1, heads: 2, tokens: 64, dim: 16, count: 1 }],
    gpt: { vocabulary: 65, block: 16, layers: 2, heads: 2, width: 32, batch: 4, dropout: 0.2, steps: 2 },
    llama: { hidden: 64, layers: 2, heads: 4, keyHeads: 2, headDim: 16, wide: 96, vocabulary: 256, positions: [16, 64], tokens: 8 },
    target: { loss: 3.9, seconds: 30, every: 4, steps: 200 },
  },
};

/**
 * What can be measured by itself. Libraries other than Lockstep have some of it.
 * - copy: memory read and written
 * - products: matmul and conv2d
 * - attention: forward and backward
 * - networks: training steps of three small networks and a transformer block
 * - gpt: training steps of nanoGPT's shakespeare-char
 * - decode: a Llama of 1.7 billion weights in q4, token by token
 * - weights: products with weights in few bits
 * - train: that GPT on a text until its loss is low enough
 */
export const PARTS = ["copy", "products", "attention", "networks", "gpt", "decode", "weights", "train"];

/** How weights lie: those of one row times square matrices, one after another, more than caches hold; and of many rows. */
export const FORMATS = ["f32", "f16", "bf16", "q8", "q4", "q4m"];

/** Products in a row, so that one wait is shared by many. */
export const chain = (n) => (n <= 1024 ? 20 : 8);

/** The three networks: shape of a sample, and targets of n samples. Their layers are in the libraries' own files. */
export const NETS = {
  FFN: { input: [8], outputs: 1, targets: (n) => noise(n, 3).map((v) => Number(v > 0.5)) },
  CNN: { input: [28, 28, 1], outputs: 10, targets: (n) => classes(n, 10) },
  LSTM: { input: [10, 10], outputs: 1, targets: (n) => noise(n, 5) },
};

export function dataOf(net, steps) {
  const { input, outputs, targets } = NETS[net];
  const samples = steps * BATCH;
  return { input, outputs, samples, x: noise(samples * input.reduce((a, b) => a * b, 1), 1), y: targets(samples) };
}

/**
 * Weights of the transformer block: attention of one head without masks, and a feed-forward part of four times the width, each added to its
 * input.
 */
export function blockWeights(width) {
  const weight = (rows, cols) => ({
    shape: [rows, cols],
    data: Float32Array.from({ length: rows * cols }, (_, i) => (((i * 7919) % 1000) / 1000 - 0.5) / Math.sqrt(rows)),
  });
  return {
    q: weight(width, width),
    k: weight(width, width),
    v: weight(width, width),
    o: weight(width, width),
    up: weight(width, 4 * width),
    down: weight(4 * width, width),
  };
}

export const blockInput = ({ batch, tokens, width }) =>
  Float32Array.from({ length: batch * tokens * width }, (_, i) => ((i * 31) % 97) / 97 - 0.5);

/** Operations of attention to all keys: of two products forward, and of five backward, where the scores are made again. */
export const attentionFlops = ({ batch, heads, tokens, dim, count }) => 14 * batch * heads * tokens ** 2 * dim * count;

export const attentionInput = ({ batch, heads, tokens, dim }, seed) =>
  Float32Array.from({ length: batch * tokens * heads * dim }, (_, i) => ((i * 31 + seed * 17) % 97) / 97 - 0.5);

/** @file The three networks of the benchmarks, with data of the right shapes. */
import { adam, conv2d, dense, flatten, lstm, maxPool2d, sequential, sgd, tensor } from "lockstep";
import { tokenWindows } from "lockstep/data";
import { classes, noise } from "./data.js";
import { GPT, gpt, recipe } from "./gpt.js";

/** name -> { make: compiled model, x, y, one: a single sample } */
export const MODELS = {
  FFN: {
    samples: 32 * 512,
    input: [8],
    make: () =>
      sequential([dense(10, { activation: "relu" }), dense(5, { activation: "relu" }), dense(1, { activation: "sigmoid" })], {
        inputShape: [8],
      }),
    compile: { loss: "binaryCrossentropy", optimizer: () => sgd({ learningRate: 0.01 }) },
    target: (n) => ({ data: noise(n, 3).map((v) => Number(v > 0.5)), shape: [n, 1] }),
  },
  CNN: {
    samples: 32 * 12,
    input: [28, 28, 1],
    make: () =>
      sequential(
        [
          conv2d(32, 3, { activation: "relu" }),
          maxPool2d(2),
          conv2d(64, 3, { activation: "relu" }),
          maxPool2d(2),
          flatten(),
          dense(64, { activation: "relu" }),
          dense(10, { activation: "softmax" }),
        ],
        { inputShape: [28, 28, 1] },
      ),
    compile: { loss: "categoricalCrossentropy", optimizer: () => adam() },
    target: (n) => ({ data: classes(n, 10), shape: [n, 10] }),
  },
  LSTM: {
    samples: 32 * 64,
    input: [10, 10],
    make: () => sequential([lstm(100, { activation: "relu" }), dense(50, { activation: "relu" }), dense(1)], { inputShape: [10, 10] }),
    compile: { loss: "mse", optimizer: () => adam() },
    target: (n) => ({ data: noise(n, 5), shape: [n, 1] }),
  },
};

/** A compiled model with its data. */
export async function prepare(name, backend) {
  if (name === "GPT") return prepareGpt(backend);
  const m = MODELS[name];
  const model = m.make();
  await model.compile({ loss: m.compile.loss, optimizer: m.compile.optimizer(), backend });
  const size = m.input.reduce((a, b) => a * b, 1);
  const y = m.target(m.samples);
  return {
    model,
    samples: m.samples,
    x: tensor(noise(m.samples * size, 1), [m.samples, ...m.input]),
    y: tensor(y.data, y.shape),
    one: tensor(noise(size, 2), [1, ...m.input]),
  };
}

/** The same of the GPT, on ids of which nothing can be learned. */
async function prepareGpt(backend) {
  const model = gpt();
  await model.compile({ ...recipe(), backend });
  const ids = Uint8Array.from(noise(GPT.batch * GPT.block * 8 + 1, 1), (v) => v * GPT.vocabulary);
  const { x, y } = tokenWindows(ids, { length: GPT.block, stride: GPT.block });
  return { model, samples: x.shape[0], x, y };
}

export const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

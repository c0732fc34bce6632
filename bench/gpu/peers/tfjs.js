/** @file TensorFlow.js with its WebGPU backend under the contract of measure.js. */
import * as tf from "@tensorflow/tfjs";
import "@tensorflow/tfjs-backend-webgpu";
import { BATCH, blockInput, blockWeights, chain, dataOf, NETS } from "../workloads.js";

const { dense, conv2d, maxPooling2d, flatten, lstm } = tf.layers;

const LAYERS = {
  FFN: (inputShape) => [
    dense({ units: 10, activation: "relu", inputShape }),
    dense({ units: 5, activation: "relu" }),
    dense({ units: 1, activation: "sigmoid" }),
  ],
  CNN: (inputShape) => [
    conv2d({ filters: 32, kernelSize: 3, activation: "relu", inputShape }),
    maxPooling2d({ poolSize: 2 }),
    conv2d({ filters: 64, kernelSize: 3, activation: "relu" }),
    maxPooling2d({ poolSize: 2 }),
    flatten(),
    dense({ units: 64, activation: "relu" }),
    dense({ units: 10, activation: "softmax" }),
  ],
  LSTM: (inputShape) => [
    lstm({ units: 100, activation: "relu", recurrentActivation: "sigmoid", inputShape }),
    dense({ units: 50, activation: "relu" }),
    dense({ units: 1 }),
  ],
};
const COMPILE = {
  FFN: () => ({ loss: "binaryCrossentropy", optimizer: tf.train.sgd(0.01) }),
  CNN: () => ({ loss: "categoricalCrossentropy", optimizer: tf.train.adam() }),
  LSTM: () => ({ loss: "meanSquaredError", optimizer: tf.train.adam() }),
};

export async function start() {
  await tf.setBackend("webgpu");
  await tf.ready();
  if (tf.getBackend() !== "webgpu") throw new Error(`the WebGPU backend did not start; got ${tf.getBackend()}`);
  // What is computed is left to the device until its first element is read.
  const timed = (f, work) => ({
    work,
    run: async () => {
      const y = tf.tidy(f);
      const [value] = await y.data();
      y.dispose();
      return value;
    },
  });
  return {
    version: `TensorFlow.js ${tf.version.tfjs}`,
    close: () => {},

    matmul(n) {
      const [a, b] = [tf.fill([n, n], 0.5), tf.fill([n, n], 1 / n)];
      return timed(() => {
        let y = a;
        for (let i = 0; i < chain(n); i++) y = tf.matMul(y, b);
        return y.slice([0, 0], [1, 1]);
      }, chain(n));
    },

    conv2d({ count, side, channels, kernel }) {
      const [x, w] = [tf.fill([count, side, side, channels], 0.1), tf.fill([kernel, kernel, channels, channels], 0.01)];
      return timed(() => tf.conv2d(x, w, 1, "same").slice([0, 9, 9, 0], [1, 1, 1, 1]), 1);
    },

    train(net, steps) {
      const { samples, input, outputs, x, y } = dataOf(net, steps);
      const model = tf.sequential({ layers: LAYERS[net](NETS[net].input) });
      model.compile(COMPILE[net]());
      const [data, targets] = [tf.tensor(x, [samples, ...input]), tf.tensor(y, [samples, outputs])];
      return {
        work: steps,
        run: async () => (await model.fit(data, targets, { epochs: 1, batchSize: BATCH, verbose: 0, yieldEvery: "never" })).history.loss[0],
      };
    },

    transformer({ batch, tokens, width }) {
      const p = Object.fromEntries(
        Object.entries(blockWeights(width)).map(([name, { data, shape }]) => [name, tf.variable(tf.tensor(data, shape))]),
      );
      const x = tf.tensor(blockInput({ batch, tokens, width }), [batch, tokens, width]);
      const optimizer = tf.train.sgd(1e-3);
      const by = (y, w) => tf.matMul(y.reshape([-1, w.shape[0]]), w).reshape([batch, tokens, w.shape[1]]);
      return {
        work: 1,
        run: async () => {
          const loss = optimizer.minimize(() => {
            const score = tf.softmax(tf.matMul(by(x, p.q), by(x, p.k), false, true).mul(1 / Math.sqrt(width)));
            const attended = x.add(by(tf.matMul(score, by(x, p.v)), p.o));
            const y = attended.add(by(tf.relu(by(attended, p.up)), p.down));
            return tf.mean(tf.square(y.sub(x)));
          }, true);
          const [value] = await loss.data();
          loss.dispose();
          return value;
        },
      };
    },
  };
}

/** @file TensorFlow.js with its WASM backend (XNNPACK; one thread: it has no other in Node) under the contract of `worker.js`. */
import { createRequire } from "node:module";
import { ADAM, BATCH, CHECKED_STEPS, CONVS, convData, dataOf, NETS, operands, PRODUCTS, spread, weightsOf } from "./workloads.js";

// Their Node builds are CommonJS; without an `exports` map `import` of the packages would take the same files through a slower way.
const require = createRequire(import.meta.url);
const tf = require("@tensorflow/tfjs");
const wasm = require("@tensorflow/tfjs-backend-wasm");

const LAYERS = {
  dense: (units, o) => tf.layers.dense({ units, ...o }),
  conv2d: (filters, o) => tf.layers.conv2d({ filters, kernelSize: 3, ...o }),
  maxPool2d: () => tf.layers.maxPooling2d({ poolSize: 2 }),
  flatten: () => tf.layers.flatten(),
  // Its default recurrent activation is hardSigmoid, as in Keras 2.1.
  lstm: (units, o) => tf.layers.lstm({ units, recurrentActivation: "sigmoid", ...o }),
};

function network(net) {
  const model = tf.sequential({
    layers: NETS[net].layers.map(({ kind, units, activation }, i) =>
      LAYERS[kind](units, { ...(activation && { activation }), ...(i === 0 && { inputShape: NETS[net].input }) }),
    ),
  });
  model.setWeights(weightsOf(net).map((w) => tf.tensor(w.data, w.shape)));
  return model;
}

async function open() {
  wasm.setThreadsCount(1);
  await tf.setBackend("wasm");
  await tf.ready();
  if (tf.getBackend() !== "wasm") throw new Error(`the wasm backend did not start; got ${tf.getBackend()}`);
}

export async function start() {
  await open();
  const make = { matmul: product, conv2d: convolution, train, predict };
  return {
    version: `@tensorflow/tfjs ${tf.version.tfjs}, WASM backend, SIMD ${await tf.env().getAsync("WASM_HAS_SIMD_SUPPORT")}`,
    prepare: (kind, of) => make[kind](of),
  };

  async function product(n) {
    const { a, b } = operands(n);
    const [x, w] = [tf.tensor(a, [n, n]), tf.tensor(b, [n, n])];
    const run = () =>
      tf.tidy(() => {
        let y = x;
        for (let i = 0; i < PRODUCTS[n]; i++) y = tf.matMul(y, w);
        return y;
      });
    // Its kernels run while they are called: nothing is left to wait for.
    const y = run();
    const values = spread(await y.data());
    y.dispose();
    return { values, close: () => tf.dispose([x, w]), unit: async () => (run().dispose(), PRODUCTS[n]) };
  }

  async function convolution(name) {
    const v = CONVS[name];
    const data = convData(v);
    const [x, w] = [tf.tensor(data.x, [v.n, v.h, v.w, v.c]), tf.tensor(data.w, [3, 3, v.c, v.f])];
    const y = tf.conv2d(x, w, 1, v.padding);
    const values = spread(await y.data());
    y.dispose();
    return { values, close: () => tf.dispose([x, w]), unit: async () => (tf.conv2d(x, w, 1, v.padding).dispose(), 1) };
  }

  async function train(net) {
    const model = network(net);
    const { x, y, one, samples, input, outputs } = dataOf(net);
    model.compile({
      loss: NETS[net].loss === "mse" ? "meanSquaredError" : NETS[net].loss,
      optimizer: tf.train.adam(ADAM.learningRate, ADAM.beta1, ADAM.beta2, ADAM.epsilon),
    });
    const sample = tf.tensor(one, [1, ...input]);
    const before = (await model.predict(sample).data()).slice();
    const [data, target] = [tf.tensor(x, [samples, ...input]), tf.tensor(y, [samples, outputs])];
    const [batches, targets] = [tf.split(data, samples / BATCH), tf.split(target, samples / BATCH)];
    let next = 0;
    // Its `fit` with `yieldEvery: "never"` takes the same processor time within 4 % (FFN, LSTM).
    const step = async () => {
      await model.trainOnBatch(batches[next % batches.length], targets[next % batches.length]);
      next++;
      return BATCH;
    };
    for (let i = 0; i < CHECKED_STEPS; i++) await step();
    const after = await model.predict(sample).data();
    return {
      values: Array.from(after, (v, i) => v - before[i]),
      close: () => (model.dispose(), tf.dispose([data, target, sample, ...batches, ...targets])),
      unit: step,
    };
  }

  async function predict(net) {
    const model = network(net);
    const { one, input } = dataOf(net);
    const call = async () => {
      const x = tf.tensor(one, [1, ...input]);
      const y = model.predict(x);
      const out = await y.data();
      tf.dispose([x, y]);
      return out;
    };
    return { values: await call(), close: () => model.dispose(), unit: async () => (await call(), 1) };
  }
}

export async function first(mark, x) {
  await open();
  mark("backend");
  const model = network("FFN");
  mark("model");
  return model.predict(tf.tensor(x, [1, 8])).data();
}

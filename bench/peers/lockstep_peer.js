/** @file Lockstep under the contract of `worker.js`. */
import * as lockstep from "../lockstep.js";
import { tokenWindows } from "../lockstep-data.js";
import { gpt } from "../gpt.js";
import {
  ADAM,
  BATCH,
  CHECKED_STEPS,
  CONVS,
  convData,
  dataOf,
  GPTS,
  gptIds,
  gptWeights,
  NETS,
  operands,
  PRODUCTS,
  spread,
  weightsOf,
} from "./workloads.js";

const {
  adam,
  adamw,
  compile,
  conv2d,
  dense,
  flatten,
  lstm,
  matmul,
  maxPool2d,
  open,
  ops,
  sequential,
  sparseCategoricalCrossentropy,
  tensor,
} = lockstep;

const LAYERS = {
  dense,
  conv2d: (units, options) => conv2d(units, 3, options),
  maxPool2d: () => maxPool2d(2),
  flatten: () => flatten(),
  lstm,
};

/** Untrained, with the given weights. */
export function network(net) {
  const model = sequential(
    NETS[net].layers.map(({ kind, units, activation }) => LAYERS[kind](units, { activation })),
    { inputShape: NETS[net].input },
  );
  model.setWeights(weightsOf(net).map((w) => w.data));
  return model;
}

export async function start({ threads = 1, reproducible = false }) {
  const backend = await open("wasm", { threads, reproducible });
  const make = { matmul: product, conv2d: convolution, train, gpt: trainGpt, predict };
  return {
    version: `lockstep, ${backend.simd} SIMD, ${backend.threads} thread${backend.threads > 1 ? "s" : ""}`,
    prepare: (kind, of) => make[kind](of),
  };

  /** Times `fn`, which makes a large result: one element of it is returned, since results are copied out of WASM memory. */
  async function timed(fn, rank, amount) {
    const whole = compile(fn, { backend });
    const values = spread(await (await whole()).data());
    whole.close();
    const run = compile(() => ops.slice(fn(), new Array(rank).fill(0), new Array(rank).fill(1)), { backend });
    await run();
    await backend.warm();
    return { values, close: () => run.close(), unit: async () => ((await run()).dispose(), amount) };
  }

  function product(n) {
    const { a, b } = operands(n);
    const [x, w] = [tensor(a, [n, n]), tensor(b, [n, n])];
    return timed(
      () => {
        let y = x;
        for (let i = 0; i < PRODUCTS[n]; i++) y = matmul(y, w);
        return y;
      },
      2,
      PRODUCTS[n],
    );
  }

  function convolution(name) {
    const v = CONVS[name];
    const { x, w } = convData(v);
    const [image, filter] = [tensor(x, [v.n, v.h, v.w, v.c]), tensor(w, [3, 3, v.c, v.f])];
    return timed(() => ops.conv2d(image, filter, { padding: v.padding }), 4, 1);
  }

  async function train(net) {
    const model = network(net);
    const { x, y, one, samples, input, outputs } = dataOf(net);
    await model.compile({ loss: NETS[net].loss, optimizer: adam({ ...ADAM }), backend });
    const sample = tensor(one, [1, ...input]);
    const before = (await (await model.predict(sample)).data()).slice();
    const n = BATCH * CHECKED_STEPS;
    await model.fit(tensor(x.slice(0, (n * x.length) / samples), [n, ...input]), tensor(y.slice(0, n * outputs), [n, outputs]), {
      epochs: 1,
      batchSize: BATCH,
      shuffle: false,
      verbose: 0,
    });
    const after = await (await model.predict(sample)).data();
    const [data, target] = [tensor(x, [samples, ...input]), tensor(y, [samples, outputs])];
    const unit = async () => (await model.fit(data, target, { epochs: 1, batchSize: BATCH, verbose: 0, seed: 1 }), samples);
    await unit();
    await backend.warm();
    return { values: Array.from(after, (v, i) => v - before[i]), close: () => model.dispose(), unit };
  }

  async function trainGpt(name) {
    const spec = GPTS[name];
    const { block, batch, learningRate, beta1, beta2, epsilon, weightDecay, clip: globalClipNorm } = spec;
    const model = gpt(spec);
    model.setWeights(gptWeights(spec).map((w) => w.data));
    const optimizer = adamw({ learningRate, beta1, beta2, epsilon, weightDecay, globalClipNorm });
    await model.compile({ loss: sparseCategoricalCrossentropy({ fromLogits: true }), optimizer, backend });
    const ids = gptIds(spec);
    const { x, y } = tokenWindows(ids, { length: block, stride: block });
    const sample = tensor(Int32Array.from(ids.subarray(0, block)), [1, block]);
    const before = (await (await model.predict(sample)).data()).slice();
    await model.fit(x, y, { batchSize: batch, stepsPerEpoch: CHECKED_STEPS, shuffle: false, verbose: 0 });
    const after = await (await model.predict(sample)).data();
    const unit = async () => (await model.fit(x, y, { batchSize: batch, stepsPerEpoch: 2, verbose: 0, seed: 1 }), 2 * batch * block);
    await unit();
    await backend.warm();
    return { values: spread(after.map((v, i) => v - before[i])), close: () => model.dispose(), unit };
  }

  async function predict(net) {
    const model = network(net);
    const { one, input } = dataOf(net);
    await model.compile({ loss: NETS[net].loss, backend });
    // From host data to host data.
    const call = async () => (await model.predict(tensor(one, [1, ...input]))).data();
    const values = [...(await call())];
    await backend.warm();
    return { values, close: () => model.dispose(), unit: async () => (await call(), 1) };
  }
}

/** What `first.js` times: `mark` ends a phase, `x` is the sample. */
export async function first(mark, x) {
  const backend = await open("wasm", { threads: 1 });
  mark("backend");
  const model = network("FFN");
  await model.compile({ loss: NETS.FFN.loss, backend });
  mark("model");
  return (await model.predict({ data: x, shape: [1, 8] })).data();
}

/** @file jax-js (WASM device; everything that can be is under one `jit`) under the contract of `worker.js`. */
import { readFileSync } from "node:fs";
import * as jax from "@jax-js/jax";
import {
  ADAM,
  BATCH,
  CHECKED_STEPS,
  CONVS,
  convData,
  dataOf,
  NETS,
  nchw,
  nhwc,
  oihw,
  operands,
  outOf,
  PRODUCTS,
  spread,
  weightsOf,
} from "./workloads.js";

// Arrays are counted: a call consumes its arguments, `.ref` keeps one.
const { jit, lax, nn, numpy: np, tree, valueAndGrad, blockUntilReady } = jax;

const array = (data, shape) => np.array(data, { shape });
const ACTIVATIONS = { relu: nn.relu, tanh: np.tanh, sigmoid: nn.sigmoid, softmax: (z) => nn.softmax(z, -1), linear: (z) => z };

/** [B, T, F] -> [B, units], its time steps unrolled: there is no scan. */
function lstm(x, kernel, recurrent, bias, units, activation) {
  const [batch, steps, features] = x.shape;
  const act = ACTIVATIONS[activation];
  const projected = np.unstack(
    np
      .dot(x.reshape([batch * steps, features]), kernel)
      .add(bias)
      .reshape([batch, steps, 4 * units]),
    1,
  );
  let h = null;
  let c = null;
  for (const z of projected) {
    const [i, f, g, o] = np.split(h === null ? z : z.add(np.dot(h, recurrent.ref)), 4, 1);
    const fresh = nn.sigmoid(i).mul(act(g));
    if (c === null) f.dispose();
    c = c === null ? fresh : nn.sigmoid(f).mul(c).add(fresh);
    h = nn.sigmoid(o).mul(act(c.ref));
  }
  c.dispose();
  recurrent.dispose();
  return h;
}

/** The last layer's activation is left to the caller. */
function logits(net, params, x) {
  const weights = [...params];
  let y = x;
  NETS[net].layers.forEach(({ kind, units, activation }, i) => {
    const [w, b] = kind === "dense" || kind === "conv2d" ? weights.splice(0, 2) : [];
    if (kind === "dense") y = np.dot(y, w).add(b);
    else if (kind === "conv2d") y = lax.conv(y, w, [1, 1], "VALID").add(b.reshape([units, 1, 1]));
    else if (kind === "maxPool2d") {
      // Windows that do not fit are left out, as in the others.
      const [n, c, h, v] = y.shape;
      y = np.max(y.slice([], [], [0, h & ~1], [0, v & ~1]).reshape([n, c, h >> 1, 2, v >> 1, 2]), [3, 5]);
    } else if (kind === "flatten") y = y.reshape([y.shape[0], -1]);
    else y = lstm(y, ...weights.splice(0, 3), units, activation);
    if (kind !== "lstm" && activation && i < NETS[net].layers.length - 1) y = ACTIVATIONS[activation](y);
  });
  return y;
}

const LOSSES = {
  binaryCrossentropy: (z, y) => np.mean(nn.softplus(z.ref).sub(z.mul(y))),
  categoricalCrossentropy: (z, y) => np.mean(np.sum(nn.logSoftmax(z, -1).mul(y), -1)).mul(-1),
  mse: (z, y) => np.mean(np.square(z.sub(y))),
};

const imageShape = (input) => (input.length === 3 ? [input[2], input[0], input[1]] : input);

const parametersOf = (net) =>
  weightsOf(net, true).map(({ data, shape }) =>
    shape.length === 4 ? array(oihw(data, shape), [shape[3], shape[2], 3, 3]) : array(data, shape),
  );

const predictor = (net) => {
  const last = ACTIVATIONS[NETS[net].layers.at(-1).activation];
  return jit((params, x) => last(logits(net, params, x)));
};

async function open() {
  const found = await jax.init("wasm");
  if (!found.includes("wasm")) throw new Error("the wasm device did not start");
  jax.defaultDevice("wasm");
}

export async function start() {
  await open();
  const { version } = JSON.parse(readFileSync(new URL("node_modules/@jax-js/jax/package.json", import.meta.url)));
  const make = { matmul: product, conv2d: convolution, train, predict };
  return { version: `@jax-js/jax ${version}, wasm device`, prepare: (kind, of) => make[kind](of) };

  async function product(n) {
    const { a, b } = operands(n);
    const [x, w] = [array(a, [n, n]), array(b, [n, n])];
    const run = jit((p, q) => {
      let y = p;
      for (let i = 0; i < PRODUCTS[n]; i++) y = np.matmul(y, q.ref);
      q.dispose();
      return y;
    });
    const values = spread(await run(x.ref, w.ref).data());
    const unit = async () => {
      const y = run(x.ref, w.ref);
      await blockUntilReady(y);
      y.dispose();
      return PRODUCTS[n];
    };
    return { values, close: () => run.dispose(), unit };
  }

  async function convolution(name) {
    const v = CONVS[name];
    const data = convData(v);
    const [x, w] = [
      array(nchw(data.x, [v.n, v.h, v.w, v.c]), [v.n, v.c, v.h, v.w]),
      array(oihw(data.w, [3, 3, v.c, v.f]), [v.f, v.c, 3, 3]),
    ];
    const run = jit((p, q) => lax.conv(p, q, [1, 1], v.padding.toUpperCase()));
    const values = spread(nhwc(await run(x.ref, w.ref).data(), outOf(v)));
    const unit = async () => {
      const y = run(x.ref, w.ref);
      await blockUntilReady(y);
      y.dispose();
      return 1;
    };
    return { values, close: () => run.dispose(), unit };
  }

  async function train(net) {
    const { x, y, one, samples, input, outputs } = dataOf(net);
    const shape = imageShape(input);
    const perSample = x.length / samples;
    const batches = Array.from({ length: samples / BATCH }, (_, i) => [
      array(x.slice(i * BATCH * perSample, (i + 1) * BATCH * perSample), [BATCH, ...shape]),
      array(y.slice(i * BATCH * outputs, (i + 1) * BATCH * outputs), [BATCH, outputs]),
    ]);
    const loss = valueAndGrad((params, images, targets) => LOSSES[NETS[net].loss](logits(net, params, images), targets));
    // Loss, gradients and Adam (Kingma & Ba 2015, end of section 2) in one jit.
    const { learningRate, beta1, beta2, epsilon } = ADAM;
    const step = jit(([params, m, v, t], images, targets) => {
      const [value, grads] = loss(tree.ref(params), images, targets);
      const next = t.add(1);
      const [c1, c2] = [beta1, beta2].map((b) =>
        np
          .exp(next.ref.mul(Math.log(b)))
          .mul(-1)
          .add(1),
      );
      const rate = np.sqrt(c2).mul(learningRate).div(c1);
      const out = params.map((p, i) => {
        const g = grads[i];
        const m1 = m[i].mul(beta1).add(g.ref.mul(1 - beta1));
        const v1 = v[i].mul(beta2).add(np.square(g).mul(1 - beta2));
        return [p.sub(rate.ref.mul(m1.ref).div(np.sqrt(v1.ref).add(epsilon))), m1, v1];
      });
      rate.dispose();
      return [[out.map((o) => o[0]), out.map((o) => o[1]), out.map((o) => o[2]), next], value];
    });
    const params = parametersOf(net);
    const predictOne = predictor(net);
    const sample = array(one, [1, ...shape]);
    const before = (await predictOne(tree.ref(params), sample.ref).data()).slice();
    let state = [params, params.map((p) => np.zeros(p.shape)), params.map((p) => np.zeros(p.shape)), np.array(0)];
    let next = 0;
    const run = async () => {
      const [images, targets] = batches[next++ % batches.length];
      const [after, value] = step(state, images.ref, targets.ref);
      state = after;
      await blockUntilReady(state);
      value.dispose();
      return BATCH;
    };
    for (let i = 0; i < CHECKED_STEPS; i++) await run();
    const after = await predictOne(tree.ref(state[0]), sample.ref).data();
    return {
      values: Array.from(after, (v, i) => v - before[i]),
      close: () => (tree.dispose(state), step.dispose(), predictOne.dispose()),
      unit: run,
    };
  }

  async function predict(net) {
    const { one, input } = dataOf(net);
    const params = parametersOf(net);
    const run = predictor(net);
    const call = () => run(tree.ref(params), array(one, [1, ...imageShape(input)])).data();
    return { values: await call(), close: () => (tree.dispose(params), run.dispose()), unit: async () => (await call(), 1) };
  }
}

export async function first(mark, x) {
  await open();
  mark("backend");
  const params = parametersOf("FFN");
  const run = predictor("FFN");
  mark("model");
  return run(tree.ref(params), array(x, [1, 8])).data();
}

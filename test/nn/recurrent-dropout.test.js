/** @file Recurrent dropout: one mask for all steps, in the sequence kernels as in cells written out step by step. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile } from "../../build/esm/compile.js";
import { gradients, valueAndGrad } from "../../build/esm/grad.js";
import { Graph, trace } from "../../build/esm/graph.js";
import { open } from "../../build/esm/init.js";
import * as nn from "../../build/esm/nn/index.js";
import { withMode } from "../../build/esm/mode.js";
import { withContext } from "../../build/esm/nn/layer.js";
import { mul, sigmoid, tanh } from "../../build/esm/ops/map.js";
import { sum } from "../../build/esm/ops/reduce.js";
import { buildPlan } from "../../build/esm/plan/build.js";
import { tensor } from "../../build/esm/tensor.js";

const wasm = await open("wasm");
test.after(() => wasm.close());

const values = (...shape) =>
  tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => ((i * 37 + 11) % 101) / 50 - 1),
    shape,
  );
const key = tensor(Uint32Array.of(5, 0, 0, 0), [4], "u32");
/** Calls `fn` as a training step does. */
const training = (k, fn) => {
  let stream = 0;
  return withMode({ training: true, key: () => k }, () => withContext({ seed: 7, nextStream: () => stream++, called: () => {} }, fn));
};
const build = (layer, ...inputs) => {
  const graph = new Graph();
  return trace(graph, () => training(graph.input(key), () => layer.call(...inputs.map((t) => t && graph.input(t)))));
};

const KINDS = {
  lstm: [(o) => nn.lstm(4, o), 2, { recurrentActivation: (x) => sigmoid(x) }],
  gru: [(o) => nn.gru(4, o), 1, { recurrentActivation: (x) => sigmoid(x) }],
  gruResetBefore: [(o) => nn.gru(4, { ...o, resetAfter: false }), 1, { recurrentActivation: (x) => sigmoid(x) }],
  simpleRnn: [(o) => nn.simpleRnn(4, o), 1, {}],
};

for (const [name, [make, stateCount, gates]] of Object.entries(KINDS)) {
  for (const masked of [false, true]) {
    for (const options of [{ returnSequences: true }, { goBackwards: true }]) {
      test(`${name} ${JSON.stringify(options)}${masked ? " masked" : ""}: all results are those of unrolled steps`, async () => {
        const inputs = [values(9, 5, 2), ...Array.from({ length: stateCount }, () => values(9, 4))];
        const mask = masked
          ? tensor(
              Int32Array.from({ length: 45 }, (_, i) => Number(i % 3 !== 1)),
              [9, 5],
            )
          : null;
        const results = [];
        let weights = null;
        // A function is an activation that no kernel applies.
        for (const extra of [{}, { activation: (x) => tanh(x), ...gates }]) {
          const layer = make({ ...options, recurrentDropout: 0.4, ...extra });
          build(layer, ...inputs, mask);
          if (weights !== null) layer.weights.forEach((w, i) => w.tensor.set(weights[i].tensor.host));
          weights = layer.weights;
          const step = compile((xs, k) => {
            let all;
            const { grads } = valueAndGrad(
              () =>
                training(k, () => {
                  const { output, states } = layer.callWithStates(...xs, mask);
                  all = [output, ...states];
                  return sum(mul(output, output));
                }),
              [...xs, ...layer.weights.map((w) => w.tensor)],
            )();
            return [...all, ...grads];
          });
          results.push(await Promise.all((await step(inputs, key)).map((t) => t.data())));
        }
        results[0].forEach((own, i) => {
          assert.ok(
            own.some((v) => v !== 0),
            `result ${i}`,
          );
          own.forEach((v, j) => assert.ok(Math.abs(v - results[1][i][j]) <= 2e-5, `result ${i}[${j}]: ${v}, unrolled ${results[1][i][j]}`));
        });
      });
    }
  }

  test(`${name}: a step more is no call more, forward or backward`, () => {
    const callsOf = (steps) => {
      const layer = make({ recurrentDropout: 0.1 });
      const x = values(2, steps, 3);
      build(layer, x);
      const graph = new Graph();
      const results = trace(graph, () =>
        training(graph.input(key), () => {
          const loss = sum(layer.call(graph.input(x)));
          return [
            loss,
            ...gradients(
              loss,
              layer.weights.map((w) => w.tensor),
            ),
          ];
        }),
      );
      return buildPlan(graph, results, wasm.limits).calls.map((c) => c.kernel);
    };
    const calls = callsOf(2000);
    assert.equal(calls, callsOf(10));
    assert.ok(calls.length < 40, `${calls.length} calls`);
  });

  test(`${name}: what is dropped is read as zero at every step, and what is not grows by 1 / (1 - rate)`, async () => {
    const single = (o) =>
      name === "lstm" ? nn.lstm(1, o) : name === "simpleRnn" ? nn.simpleRnn(1, o) : nn.gru(1, { ...o, resetAfter: name === "gru" });
    const x = values(64, 6, 2);
    const outputs = [];
    let kernel = null;
    // Halved or nothing of the state read with factors 0 and 2: recurrent weights of 2w and of 0 without factors.
    for (const [rate, scale] of [[0.5, 1], [0, 0], [0, 2]]) {
      const layer = single({ recurrentDropout: rate, returnSequences: true });
      build(layer, x);
      const w = Object.fromEntries(layer.weights.map((each) => [each.name.split(".").at(-1), each.tensor]));
      kernel ??= w.kernel.host.slice();
      w.kernel.set(kernel);
      w.recurrentKernel.set(w.recurrentKernel.host.map((_, i) => scale * (0.5 + 0.25 * i)));
      outputs.push(await (await compile((t, k) => training(k, () => layer.call(t)))(x, key)).array());
    }
    const kinds = outputs[0].map((sample, i) => [1, 2].filter((k) => JSON.stringify(sample) === JSON.stringify(outputs[k][i])));
    assert.ok(
      kinds.every((k) => k.length === 1),
      "each sample is all of the one or all of the other, bit for bit",
    );
    assert.equal(new Set(kinds.flat()).size, 2);
  });
}

test("the share of its state that a GRU keeps is not dropped: over many steps it neither fades nor grows", async () => {
  for (const resetAfter of [true, false]) {
    const layer = nn.gru(3, { resetAfter, recurrentDropout: 0.5, kernelInitializer: "zeros", recurrentInitializer: "zeros" });
    const [x, h0] = [values(8, 300, 2), values(8, 3)];
    build(layer, x, h0);
    // An update gate of sigmoid(30), which is 1 in f32.
    const bias = layer.weights.at(-1).tensor;
    bias.set(bias.host.map((_, i) => (i < 3 ? 30 : 0)));
    assert.equal(await (await compile((t, h, k) => training(k, () => layer.call(t, h)))(x, h0, key)).data(), await h0.data());
  }
});

test.run();

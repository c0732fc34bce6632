/**
 * @file Every `model` case of train/ through Model: predictions, loss and parameter gradients of one training step, gradients
 * of inputs, and states after it.
 */
import { compile } from "../../build/esm/compile.js";
import { gradients } from "../../build/esm/grad.js";
import { assign } from "../../build/esm/graph.js";
import { withContext } from "../../build/esm/nn/layer.js";
import { add } from "../../build/esm/ops/map.js";
import { tensor, zeros } from "../../build/esm/tensor.js";
import { reduceLoss } from "../../build/esm/train/losses.js";
import { slackOf } from "./backends.js";
import { assertClose, cases, tensorOf } from "./case.js";
import { load, lossOf, networkOf } from "./network.js";

/** An optimizer that changes nothing and keeps the gradients. */
function recorder() {
  const recorded = [];
  return {
    kind: "recorder",
    config: {},
    learningRate: 0,
    recorded,
    iterations: tensor(0, [], "i32"),
    update: (params, grads) => grads.forEach((g, i) => assign((recorded[i] ??= zeros(params[i].shape)), g)),
    state: () => ({}),
    load: () => {},
  };
}

export const all = cases("model");

async function check(testCase, backend) {
  const compare = async (t, name) => {
    const expected = tensorOf(testCase, name);
    if (t.shape.join() !== expected.shape.join()) throw new Error(`${name}: shape ${t.shape}, expected ${expected.shape}`);
    assertClose(await t.data(), expected, `${testCase.name}: ${name}`, slackOf(backend));
  };
  const inputs = testCase.inputs.map((name) => load(testCase, `in/${name}`));
  const x = inputs.length === 1 ? inputs[0] : inputs;
  const y = load(testCase, "in/y");
  const sampleWeight = "in/sample_weight" in testCase.tensors ? load(testCase, "in/sample_weight") : undefined;
  const samples = inputs[0].shape[0];
  const { network, call, weightOf } = networkOf(testCase);
  const optimizer = recorder();
  await network.compile({ loss: lossOf(testCase), optimizer, backend });
  const hasStates = testCase.states.length > 0;
  if (!hasStates) {
    // Without batch statistics inference and training are the same function.
    await compare(await network.predict(x), "out/y_pred");
    const { loss } = await network.evaluate(x, y, { sampleWeight });
    assertClose([loss], tensorOf(testCase, "out/loss"), `${testCase.name}: evaluate's loss`, slackOf(backend));
  }
  const before = await network.getWeights();
  const { history } = await network.fit(x, y, { batchSize: samples, shuffle: false, sampleWeight, verbose: 0 });
  assertClose(history.loss, tensorOf(testCase, "out/loss"), `${testCase.name}: fit's loss`, slackOf(backend));
  const order = network.weights.filter((w) => w.trainable).map((w) => w.tensor);
  for (const name of testCase.params) await compare(optimizer.recorded[order.indexOf(weightOf(name))], `grad/param/${name}`);
  for (const name of testCase.states) await compare(weightOf(name), `state_after/${name}`);

  // The same network as a function of its inputs, whose gradients fit() has no use for.
  network.setWeights(before);
  const context = { seed: 0, nextStream: () => 0, called: () => {} };
  const differentiable = inputs.map((t, i) => (t.dtype === "f32" ? i : -1)).filter((i) => i >= 0);
  const run = compile(
    (xs, target, weight) =>
      withContext(context, () => {
        const prediction = call(...xs);
        let loss = reduceLoss(lossOf(testCase).call(target, prediction), weight[0] ?? null);
        for (const w of network.weights) if (w.regularizer !== null) loss = add(loss, w.regularizer(w.tensor));
        return {
          prediction,
          loss,
          grads: gradients(
            loss,
            differentiable.map((i) => xs[i]),
          ),
        };
      }),
    { backend, training: testCase.training },
  );
  const { prediction, loss, grads } = await run(inputs, y, sampleWeight === undefined ? [] : [sampleWeight]);
  await compare(prediction, "out/y_pred");
  await compare(loss, "out/loss");
  for (const [k, i] of differentiable.entries()) await compare(grads[k], `grad/in/${testCase.inputs[i]}`);
  run.close();
  network.dispose();
}

export function modelTests(test, label, backend) {
  for (const testCase of all) test(`${testCase.name} (${label})`, () => check(testCase, backend));
}

/** @file The state of optimizers that versions of Keras keep in other forms. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as L from "../../build/esm/index.js";
import { loadKeras, saveKeras } from "../../build/esm/keras/index.js";
import { slotsOf } from "../../build/esm/keras/slots.js";
import { archive, dense, input, one, refused, row } from "./files.js";

await L.open("wasm", { threads: 1 });

test("the optimizer's state of Keras 2, by names, by order and side by side", async () => {
  const config = { class_name: "Adam", config: { learning_rate: 0.1, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7 } };
  const model = { ...row([input("x", [1]), dense("a", 1), dense("b", 1)]), compile_config: { loss: "mse", optimizer: config } };
  const weights = {};
  for (const name of ["dense", "dense_1"]) Object.assign(weights, { [`layers/${name}/vars/0`]: one(1), [`layers/${name}/vars/1`]: [0] });
  // Keras 2.12 to 2.15: m and v of each side by side, without a learning rate.
  const values = [one(1), one(2), [3], [4], one(5), one(6), [7], [8]];
  weights["optimizer/vars/0"] = 9;
  values.forEach((v, i) => (weights[`optimizer/vars/${i + 1}`] = v));
  const read = async (m, name) => (await m.optimizer.state()[name].data())[0];
  const newer = await loadKeras(archive(model, weights, "2.15.0"));
  assert.equal(await Promise.all(["iterations", "m/0", "v/0", "m/3", "v/3"].map((n) => read(newer, n))), [9, 1, 2, 7, 8]);
  // Keras 3 has the rate behind the steps.
  const shifted = { ...weights };
  values.forEach((v, i) => (shifted[`optimizer/vars/${i + 2}`] = v));
  shifted["optimizer/vars/1"] = 0.25;
  const third = await loadKeras(archive(model, shifted));
  assert.equal(await Promise.all(["iterations", "learningRate", "m/0", "v/3"].map((n) => read(third, n))), [9, 0.25, 1, 8]);
});

test("names of an optimizer's state: of TensorFlow, of the first Keras 2, and what is of no known form", () => {
  const variables = (...list) => list.map(([name, ...shape]) => ({ name: `/optimizer_weights/${name}`, shape }));
  const both = ["a/kernel", "b/kernel"];
  const named = variables(["Adam/iter:0"], ...["m", "v"].flatMap((slot) => both.map((w) => [`Adam/${w}/${slot}:0`, 2, 2])));
  assert.equal(slotsOf("adam", named, 2, []), ["iterations", "m/0", "m/1", "v/0", "v/1"]);
  const momentum = variables(["iter"], ["a/kernel/rms", 2], ["a/kernel/momentum", 2]);
  assert.equal(slotsOf("rmsprop", momentum, 1, []), ["iterations", "velocity/0", "momentum/0"]);
  const nadam = variables(["Nadam/iter:0"], ["Nadam/momentum_cache:0"], ["Nadam/a/m:0", 2], ["Nadam/a/v:0", 2]);
  assert.equal(slotsOf("nadam", nadam, 1, []), ["iterations", "uProduct", "m/0", "v/0"]);
  const first = variables(["Adam/iterations:0"], ...[0, 1, 2, 3].map((i) => [`training/Adam/Variable_${i}:0`, 2]), ["x", 1], ["y", 1]);
  assert.equal(slotsOf("adam", first, 2, []), ["iterations", "m/0", "m/1", "v/0", "v/1", "", ""]);
  assert.is(slotsOf("adam", named.slice(0, 4), 2, []), null, "a list is shorter");
  assert.is(slotsOf("adam", first.slice(0, 4), 2, []), null);
});

test("an optimizer that scales the loss is saved as the one within", async () => {
  const saved = async (optimizer) => {
    const model = L.sequential([L.dense(1)], { inputShape: [2], seed: 1 });
    await model.compile({ loss: "mse", optimizer });
    await model.fit([[1, 2]], [[3]], { epochs: 2, verbose: 0, seed: 1 });
    const again = (await loadKeras(await saveKeras(model))).optimizer;
    return [again.kind, again.config, await Promise.all(Object.values(again.state()).map((t) => t.data()))];
  };
  assert.equal(await saved(L.lossScaleOptimizer(L.adam({ learningRate: 0.1 }))), await saved(L.adam({ learningRate: 0.1 })));
});

test("an optimizer of half precision is the one within, and a weight of the only output is refused", async () => {
  const inner = { class_name: "Adam", config: { learning_rate: 0.25 } };
  const model = (compiled) => ({
    ...row([input("x", [1]), dense("a", 1)]),
    compile_config: { loss: "mse", optimizer: { class_name: "LossScaleOptimizer", config: { inner_optimizer: inner } }, ...compiled },
  });
  const weights = { "layers/dense/vars/0": one(1), "layers/dense/vars/1": [0] };
  const state = (at, first) => Object.fromEntries([first, 0.5, one(1), one(2), [3], [4]].map((v, i) => [`optimizer${at}/vars/${i}`, v]));
  const scaled = { ...weights, "optimizer/vars/0": 1, "optimizer/vars/1": 2, ...state("/inner_optimizer", 9) };
  const { optimizer } = await loadKeras(archive(model({}), scaled));
  assert.is(optimizer.kind, "adam");
  for (const [name, want] of [["iterations", 9], ["m/0", 1], ["v/1", 4]]) assert.is((await optimizer.state()[name].data())[0], want, name);
  await refused(loadKeras(archive(model({ loss_weights: [2] }), weights)), L.FileError, /loss_weights \[2\] of a single output/);
  await refused(loadKeras(archive(model({ loss_weights: { a: 2 } }), weights)), L.FileError, /of a single output/);
  await loadKeras(archive(model({ loss_weights: [1] }), weights));
});

test.run();

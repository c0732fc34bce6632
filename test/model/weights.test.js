/** Weights handed to a model while it is built: no values are made, what does not fit is refused, and the rest is as for other models. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ArgumentError, LockstepError, ShapeError } from "../../build/esm/errors.js";
import { open } from "../../build/esm/init.js";
import { model, sequential } from "../../build/esm/model/model.js";
import * as inference from "../../build/esm/model/inference.js";
import { bidirectional, dense, layerStack, lstm } from "../../build/esm/nn/index.js";
import { tensor } from "../../build/esm/tensor.js";
import { errorOf } from "./helpers.js";

await open("wasm", { reproducible: true });

test("the tensors given are the weights, those of layers within others too", async () => {
  const asked = [];
  const given = new Map();
  const weights = (layer, name, shape) => {
    asked.push(`${layer.name || layer.kind} ${name} ${shape.join("x")}`);
    const t = tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(given.size + 1), shape);
    given.set(t, true);
    return t;
  };
  const m = sequential([bidirectional(lstm(2)), layerStack(dense(4), 3), dense(1, { name: "head" })]);
  m.build([[5, 3]], { weights });
  assert.equal(asked, [
    "lstm kernel 3x8",
    "lstm recurrentKernel 2x8",
    "lstm bias 8",
    "lstm kernel 3x8",
    "lstm recurrentKernel 2x8",
    "lstm bias 8",
    "dense kernel 3x4x4",
    "dense bias 3x4",
    "head kernel 4x1",
    "head bias 1",
  ]);
  assert.equal(
    m.weights.map((w) => given.has(w.tensor)),
    asked.map(() => true),
  );
  // Once built it asks no more.
  m.build([[5, 3]], { weights });
  assert.is(asked.length, 10);
});

test("it predicts, trains and saves with them", async () => {
  const head = dense(1, { name: "head", useBias: false });
  const m = model((x) => head.call(x));
  m.build([[2]], { weights: () => tensor([[2], [3]]) });
  assert.equal(await (await m.predict([[1, 10]])).array(), [[32]]);
  await m.compile({ loss: "mse", optimizer: "sgd" });
  await m.fit([[1, 1]], [[0]], { epochs: 2, verbose: 0 });
  assert.ok((await m.weights[0].tensor.data())[0] < 2);
});

test("null: a weight without elements, which is said where they are needed", async () => {
  for (const make of [sequential, inference.sequential]) {
    const m = make([dense(1)]);
    m.build([[2]], { weights: () => null });
    assert.is(m.weights[0].tensor.host, null);
    assert.instance(await errorOf(() => m.predict([[1, 2]])), LockstepError);
    m.setWeights([[[1], [2]], [3]]);
    assert.equal(await (await m.predict([[1, 2]])).array(), [[8]]);
  }
});

test("what is no weight is refused with the layer's name", () => {
  const built = (weights) => () => sequential([dense(1, { name: "head" })]).build([[2]], { weights });
  const refused = (weights, type, pattern) => assert.throws(built(weights), (e) => e instanceof type && pattern.test(e.message));
  refused(() => tensor([[1, 2]]), ShapeError, /"head".*kernel has the shape \[2, 1\], the tensor given for it \[1, 2\]/);
  refused(() => tensor([[1], [2]], undefined, "i32"), ArgumentError, /"head".*kernel must be a tensor f32\[2, 1\]/);
  refused(() => Float32Array.of(1, 2), ArgumentError, /"head".*Float32Array/);
  assert.throws(() => sequential([dense(1)]).build([[2]], { weight: () => null }), /build: unknown option "weight"/);
});

test.run();

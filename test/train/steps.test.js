/** Steps of optimizers on the CPU backends: see steps.js; and the state of accumulation and averages, saved, resumed and swapped. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile } from "../../build/esm/compile.js";
import { embedding, dense } from "../../build/esm/nn/index.js";
import { sequential } from "../../build/esm/model/model.js";
import { tensor } from "../../build/esm/tensor.js";
import { muon } from "../../build/esm/train/muon.js";
import * as optimizers from "../../build/esm/train/optimizers.js";
import { onCpu } from "../conformance/backends.js";
import { makeGrads, makeParams, normal, saved, SHAPES, snapshot, stepOf } from "./helpers.js";
import { OPTIMIZERS, OPTIONS, stepTests } from "./steps.js";

await onCpu(test, stepTests);

const { adadelta, lion, nadam } = optimizers;
/** Those that are given as what they make. */
const NAMELESS = ["nadam", "adadelta", "lion", "muon"];

test("every optimizer is here", () => {
  assert.equal(Object.keys(OPTIMIZERS).sort(), [...optimizers.OPTIMIZER_NAMES, ...NAMELESS].sort());
});

for (const [kind, [make]] of Object.entries(OPTIMIZERS)) {
  const o = OPTIONS[", accumulating, clipped, overwritten by averages"];
  test(`${kind}: accumulation and averages go on from saved state bit for bit, also in the middle of an update`, async () => {
    const [whole, wholeParams] = [make(o), makeParams()];
    const wholeStep = stepOf(whole, wholeParams);
    for (let t = 0; t < 8; t++) await wholeStep(makeGrads(t));
    const [first, params] = [make(o), makeParams()];
    const firstStep = stepOf(first, params);
    for (let t = 0; t < 3; t++) await firstStep(makeGrads(t));
    const state = await saved(first);
    const fresh = optimizers.optimizerFromConfig(first.kind, JSON.parse(JSON.stringify(first.config)), { nadam, adadelta, lion, muon });
    assert.equal(fresh.config, first.config);
    const freshParams = (await snapshot(params)).map((data, i) => tensor(Float32Array.from(data), SHAPES[i]));
    fresh.load(state);
    assert.equal(await saved(fresh), state);
    const freshStep = stepOf(fresh, freshParams);
    for (let t = 3; t < 8; t++) await freshStep(makeGrads(t));
    assert.equal(await snapshot(freshParams), await snapshot(wholeParams));
    assert.equal(await saved(fresh), await saved(whole));
    // Released, it begins anew.
    fresh.release();
    const again = makeParams();
    const anew = stepOf(fresh, again);
    for (let t = 0; t < 8; t++) await anew(makeGrads(t));
    assert.equal(await snapshot(again), await snapshot(wholeParams));
  });
}

test("averages and parameters change places and come back; finalizing overwrites the parameters", async () => {
  const [optimizer, params] = [optimizers.sgd({ learningRate: 0.5, useEma: true, emaMomentum: 0.5 }), [tensor([1, 2])]];
  await optimizer.swapEmaWeights(false);
  const step = stepOf(optimizer, params);
  // Before the first update there is nothing to swap.
  await optimizer.swapEmaWeights(true);
  assert.equal(await snapshot(params), [[1, 2]]);
  await optimizer.swapEmaWeights(false);
  await step([tensor([1, 0])]);
  await step([tensor([1, 2])]);
  const average = () => optimizer.state()["average/0"];
  assert.equal(await snapshot([...params, average()]), [[0, 1], [0.25, 1.5]]);
  await optimizer.swapEmaWeights(true);
  await optimizer.swapEmaWeights(true);
  assert.equal(await snapshot([...params, average()]), [[0.25, 1.5], [0, 1]]);
  const state = await saved(optimizer);
  assert.equal(Array.from(state.swapped.data), [1]);
  await optimizer.swapEmaWeights(false);
  assert.equal(await snapshot([...params, average()]), [[0, 1], [0.25, 1.5]]);
  await optimizer.finalizeVariableValues();
  assert.equal(await snapshot([...params, average()]), [[0.25, 1.5], [0.25, 1.5]]);

  // Loaded while they were swapped: what trains takes the parameters up again.
  const [other, theirs] = [optimizers.sgd({ learningRate: 0.5, useEma: true, emaMomentum: 0.5 }), [tensor([0.25, 1.5])]];
  other.load(state);
  assert.equal(await saved(other), state);
  await stepOf(other, theirs)([tensor([1, 1])]);
  assert.equal(await snapshot([...theirs, other.state()["average/0"]]), [[-0.5, 0.5], [-0.125, 1]]);
  await other.swapEmaWeights(true);
  await other.finalizeVariableValues();
  assert.equal(await snapshot([...theirs, other.state()["average/0"]]), [[-0.125, 1], [-0.125, 1]]);
  assert.is(optimizers.sgd().swapEmaWeights, undefined);
});

test("muon knows embeddings and the layers that it is told of, in loops of one's own as in fit", async () => {
  const model = sequential([embedding(5, 4), dense(6, { name: "hidden" }), dense(3, { name: "head" })], { inputShape: [2], seed: 1 });
  const slots = (optimizer) =>
    Object.keys(optimizer.state())
      .filter((name) => name.startsWith("velocity/"))
      .map((name) => model.weights[Number(name.split("/")[1])].name);
  const looped = muon({ excludeLayers: ["head"] });
  const step = compile((grads) => looped.update(model.parameters, grads));
  await step(model.parameters.map((p) => tensor(new Float32Array(p.size), p.shape)));
  assert.equal(slots(looped), ["embeddings", "bias", "kernel", "bias"]);
  const fitted = muon({ excludeLayers: ["head"], excludeEmbeddings: false });
  await model.compile({ loss: "mse", optimizer: fitted });
  await model.fit([[0, 1], [2, 3]], [[[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [1, 2, 3]]], { verbose: 0 });
  assert.equal(slots(fitted), ["bias", "kernel", "bias"]);
});

test("muon's direction has singular values near 1", async () => {
  const param = tensor(new Float32Array(64 * 32), [64, 32]);
  const optimizer = muon({ learningRate: 1, rmsRate: null, weightDecay: null });
  await optimizer.apply([param], [normal([64, 32], 3)]);
  const w = await param.data();
  // w^T w is near the identity: its diagonal within the squares of 0.7 and 1.2, and the sum of its squares bounds the rest.
  for (let j = 0; j < 32; j++) {
    let square = 0;
    for (let i = 0; i < 64; i++) square += w[i * 32 + j] ** 2;
    assert.ok(square > 0.4 && square < 1.5, `column ${j}: ${square}`);
  }
});

const refused = (fn, message) => assert.throws(fn, (error) => error.name === "ArgumentError" && message.test(error.message));

test("options that cannot be are refused", () => {
  refused(() => optimizers.adam({ gradientAccumulationSteps: 1 }), /gradientAccumulationSteps must be an integer >= 2/);
  refused(() => optimizers.adam({ emaMomentum: 1.5 }), /emaMomentum must be a number in \[0, 1\]/);
  refused(() => optimizers.adam({ emaOverwriteFrequency: 0 }), /emaOverwriteFrequency must be an integer >= 1/);
  refused(() => optimizers.adam({ useEma: 1 }), /useEma must be true or false/);
  refused(() => optimizers.lion({ beta1: 0 }), /beta1 must be a positive number/);
  refused(() => optimizers.nadam({ beta1: 1 }), /beta1 must be a number in \[0, 1\)/);
  refused(() => optimizers.nadam({ amsgrad: true }), /unknown option "amsgrad"/);
  refused(() => muon({ excludeLayers: "head" }), /excludeLayers must be a list/);
  refused(() => muon({ muonA: NaN }), /muonA must be a number/);
  refused(() => muon({ nsSteps: 1.5 }), /nsSteps must be an integer/);
  refused(() => muon({ momentm: 0.9 }), /unknown option "momentm"; did you mean "momentum"/);
  for (const name of NAMELESS) refused(() => optimizers.optimizerByName(name), new RegExp(`instead of its name give ${name}\\(\\)`));
});

test("state that was loaded for another kind of parameter is refused", async () => {
  const [first, matrix] = [muon(), [normal([2, 2], 1)]];
  await stepOf(first, matrix)([normal([2, 2], 2)]);
  const state = await saved(first);
  const second = muon({ excludeLayers: ["0"] });
  second.load(state);
  await stepOf(
    second,
    matrix,
  )([normal([2, 2], 2)]).then(assert.unreachable, (error) => {
    assert.is(error.name, "FileError");
    assert.match(error.message, "parameter 0 is momentum [2, 2], expected momentum [2, 2], velocity [2, 2]");
  });
  assert.throws(
    () => optimizers.adam({ useEma: true }).load(state),
    (error) => error.name === "FileError",
  );
});

test.run();

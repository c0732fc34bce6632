/**
 * @file Layers that `loadModel` does not bring come back when it is given `extraLayers`: each kind, within other layers and models, with
 * functions in their options, and beside layers of one's own. Without it they are refused, and the error says what to do.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { FileError } from "../../build/esm/errors.js";
import * as L from "../../build/esm/index.js";
import { loadModel as loadInference } from "../../build/esm/model/load.js";
import * as nn from "../../build/esm/nn/index.js";
import { Random } from "../../build/esm/random.js";
import { errorOf } from "./helpers.js";

const backend = await L.open("wasm", { reproducible: true });
test.after(() => backend.close());

const { extraLayers, loadModel, sequential } = L;
const volume = [4, 5, 3, 2];

/** A layer of each kind, with options away from their defaults, and the shape of its input. */
const LAYERS = {
  spatialDropout3d: [L.spatialDropout3d(0.4), volume],
  zeroPadding3d: [L.zeroPadding3d([1, 0, 2]), volume],
  cropping3d: [
    L.cropping3d([
      [1, 0],
      [2, 1],
      [0, 1],
    ]),
    volume,
  ],
  upSampling3d: [L.upSampling3d([1, 2, 3]), volume],
  // Those of texts take numbers for what has been encoded.
  stringLookup: [L.stringLookup({ vocabulary: ["a", "b"], maskToken: "-", outputMode: "multiHot" }), [3]],
  integerLookup: [L.integerLookup({ vocabulary: [1, 0], numOovIndices: 2 }), [3]],
  textVectorization: [L.textVectorization({ vocabulary: ["a", "b"], ngrams: [1, 2], split: "character" }), [3]],
};

const inputOf = (shape) =>
  L.tensor(
    new Random(3).uniform(2 * shape.reduce((a, b) => a * b)).map((v) => 2 * v - 1),
    [2, ...shape],
  );
/** Numbers that no initializer gives. */
const stir = (m) => m.setWeights(m.weights.map(({ tensor }, i) => new Random(i + 7).uniform(tensor.size).map((v) => v - 0.4)));

async function same(copy, m, x) {
  assert.equal(
    copy.layers.map((l) => [l.kind, l.name]),
    m.layers.map((l) => [l.kind, l.name]),
  );
  assert.equal(
    copy.weights.map((w) => w.name),
    m.weights.map((w) => w.name),
  );
  assert.equal(await (await copy.predict(x)).data(), await (await m.predict(x)).data());
}

test("the table here has every kind, and what loadModel brings has none of them", () => {
  assert.equal(Object.keys(LAYERS).sort(), Object.keys(extraLayers).sort());
  for (const kind of Object.keys(extraLayers)) assert.throws(() => nn.layerFromConfig(kind, {}), /kind of layer: unknown/);
});

for (const [kind, [layer, inputShape]] of Object.entries(LAYERS)) {
  test(`${kind} comes back from a file`, async () => {
    assert.is(layer.kind, kind);
    const m = sequential([layer], { inputShape, seed: 2 });
    stir(m);
    const bytes = await m.toBytes();
    for (const load of [loadModel, loadInference]) {
      const error = await errorOf(() => load(bytes));
      assert.instance(error, FileError);
      assert.match(
        error.message,
        `layer "${layer.name}" is of the kind "${kind}", which loadModel does not have by itself; import { extraLayers } from "lockstep"`,
      );
    }
    const copy = await loadModel(bytes, { layers: extraLayers });
    const config = (l) => JSON.parse(JSON.stringify({ ...l.config, name: layer.name }));
    assert.equal(config(copy.layers[0]), config(layer));
    await same(copy, m, inputOf(inputShape));
  });
}

test("within another layer and within a model, alone and with layers of one's own", async () => {
  const double = () => L.layer({ kind: "double", config: {}, call: (x) => L.mul(x, 2) });
  const make = () => [L.timeDistributed(L.zeroPadding3d(1)), double(), L.flatten(), L.dense(2)];
  const { warn } = console;
  console.warn = () => {};
  for (const m of [
    sequential(make(), { inputShape: [2, ...volume], seed: 1 }),
    sequential([sequential(make(), { name: "inner" }), L.dense(3)], { inputShape: [2, ...volume], seed: 1 }),
  ]) {
    const bytes = await m.toBytes();
    const layers = { ...extraLayers, double };
    await same(await loadModel(bytes, { layers }), m, inputOf([2, ...volume]));
    await same(
      await loadModel(bytes, { layers: { zeroPadding3d: { args: ["padding"], make: L.zeroPadding3d }, double } }),
      m,
      inputOf([2, ...volume]),
    );
    assert.match(
      (await errorOf(() => loadModel(bytes, { layers: { double } }))).message,
      /is of the kind "zeroPadding3d", which loadModel/,
    );
    assert.match((await errorOf(() => loadModel(bytes, { layers: extraLayers }))).message, /is of the custom kind "double"; pass layers/);
  }
  console.warn = warn;
});

test("a layer of one's own that has such a kind, or such a name, is no such layer", async () => {
  const own = (kind, name) => L.layer({ kind, config: name === undefined ? {} : { name }, call: (x) => L.mul(x, 3) });
  const { warn } = console;
  console.warn = () => {};
  const x = inputOf(volume);
  const kind = sequential([own("zeroPadding3d"), L.zeroPadding3d(1)], { inputShape: volume });
  assert.match(
    (await errorOf(async () => loadModel(await kind.toBytes(), { layers: extraLayers }))).message,
    /layer "zeroPadding3d" is of the custom kind "zeroPadding3d"; pass layers/,
  );
  const name = sequential([own("triple", "zeroPadding3d"), L.cropping3d()], { inputShape: volume });
  await same(await loadModel(await name.toBytes(), { layers: { ...extraLayers, triple: () => own("triple") } }), name, x);
  console.warn = warn;
});

test.run();

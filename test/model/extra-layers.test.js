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
const image = [5, 6, 2];

/**
 * A layer of each kind, with options away from their defaults, the shape of its input, what `loadModel` needs besides, and the input where
 * not any will do.
 */
const LAYERS = {
  conv3d: [
    L.conv3d(4, [2, 3, 2], { strides: [1, 2, 1], padding: "same", groups: 2, activation: L.mish, kernelRegularizer: "l2" }),
    volume,
    { activations: { mish: L.mish } },
  ],
  conv3dTranspose: [L.conv3dTranspose(3, 2, { strides: [1, 2, 2], padding: "same", useBias: false }), volume],
  convLstm1d: [L.convLstm1d(2, 3, { strides: 2, returnSequences: true, goBackwards: true }), [3, 7, 2]],
  convLstm2d: [L.convLstm2d(2, [3, 2], { padding: "same", unitForgetBias: false }), [3, 4, 5, 1]],
  convLstm3d: [L.convLstm3d(2, 2, { dilationRate: [1, 2, 1], activation: "relu" }), [2, 3, 4, 3, 1]],
  lstmCell: [L.lstmCell(3, { activation: "relu", recurrentDropout: 0.2 }), [4]],
  gruCell: [L.gruCell(3, { resetAfter: false }), [4]],
  simpleRnnCell: [L.simpleRnnCell(3, { useBias: false }), [4]],
  stackedRnnCells: [L.stackedRnnCells([L.gruCell(3, { activation: L.mish }), L.lstmCell(2)]), [4], { activations: { mish: L.mish } }],
  rnn: [L.rnn([L.gruCell(3, { activation: L.mish }), L.lstmCell(2)], { returnSequences: true }), [5, 4], { activations: { mish: L.mish } }],
  maxPool3d: [L.maxPool3d([2, 1, 2], { strides: 1, padding: "same" }), volume],
  avgPool3d: [L.avgPool3d(2), volume],
  globalAvgPool3d: [L.globalAvgPool3d({ keepDims: true }), volume],
  globalMaxPool3d: [L.globalMaxPool3d(), volume],
  adaptiveAvgPool1d: [L.adaptiveAvgPool1d(3), [7, 2]],
  adaptiveAvgPool2d: [L.adaptiveAvgPool2d([2, 3]), [5, 4, 2]],
  adaptiveAvgPool3d: [L.adaptiveAvgPool3d(2), volume],
  adaptiveMaxPool1d: [L.adaptiveMaxPool1d([3]), [7, 2]],
  adaptiveMaxPool2d: [L.adaptiveMaxPool2d(2), [5, 4, 2]],
  adaptiveMaxPool3d: [L.adaptiveMaxPool3d([3, 2, 1]), volume],
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
  resizing: [L.resizing(3, 7, { padToAspectRatio: true, fillValue: 0.5, interpolation: "nearest" }), image],
  centerCrop: [L.centerCrop(3, 7), image],
  randomFlip: [L.randomFlip({ mode: "vertical" }), image],
  randomRotation: [L.randomRotation([-0.1, 0.2], { fillMode: "constant", fillValue: 0.5 }), image],
  randomTranslation: [L.randomTranslation(0.1, [0, 0.2], { interpolation: "nearest" }), image],
  randomZoom: [L.randomZoom(0.3, { widthFactor: [-0.1, 0.2], fillMode: "wrap" }), image],
  randomCrop: [L.randomCrop(3, 7), image],
  randomContrast: [L.randomContrast([0.1, 0.3], { valueRange: [0, 1] }), image],
  randomBrightness: [L.randomBrightness(0.3, { valueRange: [-1, 1] }), image],
  categoryEncoding: [L.categoryEncoding(4, { outputMode: "count" }), [3], {}, L.tensor([0, 3, 1, 2, 2, 2], [2, 3])],
  discretization: [L.discretization({ binBoundaries: [-0.5, 0, 0.3], outputMode: "oneHot" }), [3]],
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

for (const [kind, [layer, inputShape, given = {}, input = inputOf(inputShape)]] of Object.entries(LAYERS)) {
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
    const copy = await loadModel(bytes, { layers: extraLayers, ...given });
    const config = (l) => JSON.parse(JSON.stringify({ ...l.config, name: layer.name }));
    assert.equal(config(copy.layers[0]), config(layer));
    await same(copy, m, input);
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

/** @file Models written as ONNX, run by ONNX Runtime: the numbers are those that `predict` gives. */
import * as ort from "onnxruntime-web";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as lockstep from "../../build/esm/index.js";
import { layerKind } from "../../build/esm/nn/config.js";
import { saveOnnx } from "../../build/esm/onnx/index.js";

const { model, sequential, tensor } = lockstep;
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";
const backend = await lockstep.open("wasm");
test.after(() => backend.close());
/** Kinds of layers that a model here has. */
const seen = new Set();

/** Numbers that look random. */
const noise = (size, seed = 1) => Float32Array.from({ length: size }, (_, i) => Math.sin((i + 1) * 12.9898 * seed) * 0.9);
const sizeOf = (shape) => shape.reduce((n, d) => n * d, 1);

/** What ONNX Runtime and Lockstep give for one batch. `x`: what Lockstep is given where that is something else. */
async function compare(net, inputs, options = {}, x = inputs.map(({ data, shape }) => tensor(data, shape))) {
  const bytes = await saveOnnx(net, options);
  const session = await ort.InferenceSession.create(bytes);
  const isIndex = (i) => session.inputMetadata[i].type === "int32";
  const feeds = Object.fromEntries(
    session.inputNames.map((name, i) => {
      const { data, shape } = inputs[i];
      return [name, isIndex(i) ? new ort.Tensor("int32", Int32Array.from(data), shape) : new ort.Tensor("float32", data, shape)];
    }),
  );
  const got = await session.run(feeds);
  const y = await net.predict(x);
  const wanted = Object.getPrototypeOf(y) === Object.prototype ? Object.values(y) : [y].flat();
  assert.is(session.outputNames.length, wanted.length);
  for (const [i, name] of session.outputNames.entries()) {
    assert.equal(got[name].dims, [...wanted[i].shape]);
    const elements = await wanted[i].data();
    for (let k = 0; k < elements.length; k++)
      assert.ok(
        Math.abs(got[name].data[k] - elements[k]) <= 1e-5 * Math.max(1, Math.abs(elements[k])),
        `${name}[${k}]: ${got[name].data[k]}, expected ${elements[k]}`,
      );
  }
  await session.release();
  return bytes;
}

/** Weights that are not what they begin as, so that none passes for another. */
function stir(net) {
  net.weights.forEach(({ tensor: t, name }, i) => {
    const values = noise(t.size, i + 2);
    t.set(/variance/i.test(name) ? values.map((v) => 1 + v * v) : values.map((v) => v * 0.5));
  });
}

const see = (layers) =>
  layers.forEach((l) => {
    seen.add(l.kind);
    see(l.layers ?? []);
  });

async function check(name, net, shapes, { batches = [1, 3], ints = 0, ...options } = {}) {
  test(`saveOnnx: ${name}`, async () => {
    if (!options.inputShape && !options.inputShapes) net.build(shapes);
    else net.build(options.inputShapes ?? [options.inputShape]);
    see(net.layers);
    stir(net);
    for (const batch of batches) {
      const inputs = shapes.map((shape, i) => {
        const values = noise(batch * sizeOf(shape), i + 1);
        return { data: ints ? values.map((v) => Math.floor(((v + 1) / 2) * ints)) : values, shape: [batch, ...shape] };
      });
      await compare(net, inputs, options);
    }
  });
}

const chain = (name, layers, shape, options) => check(name, sequential(layers), [shape], options);
const L = lockstep;

for (const activation of [
  "linear",
  "relu",
  "tanh",
  "sigmoid",
  "hardSigmoid",
  "softplus",
  "softsign",
  "elu",
  "selu",
  "gelu",
  "silu",
  "softmax",
  "exponential",
  "relu6",
  "mish",
])
  chain(`dense ${activation}`, [L.dense(5, { activation })], [7]);
chain("dense of sequences", [L.dense(5), L.leakyRelu(), L.prelu()], [4, 7]);
chain(
  "convolutions",
  [
    L.conv2d(4, 3, { padding: "same", activation: "relu" }),
    L.batchNorm(),
    L.conv2d(6, 3, { strides: 2, padding: "same" }),
    L.maxPool2d(2),
    L.flatten(),
    L.dense(3),
  ],
  [9, 8, 3],
);
chain(
  "convolutions of other kinds",
  [
    L.conv2d(4, [3, 2], { dilationRate: 2, groups: 2 }),
    L.depthwiseConv2d(3, { depthMultiplier: 2, padding: "same" }),
    L.separableConv2d(5, 3),
    L.avgPool2d(2, { padding: "same" }),
  ],
  [12, 11, 4],
);
chain(
  "transposed convolutions",
  [
    L.conv2dTranspose(3, 3, { strides: 2, padding: "same" }),
    L.conv2dTranspose(2, 2),
    L.upSampling2d(2),
    L.zeroPadding2d(1),
    L.cropping2d(2),
  ],
  [4, 5, 3],
);
chain(
  "one-dimensional",
  [
    L.conv1d(4, 3, { padding: "causal" }),
    L.maxPool1d(2),
    L.conv1dTranspose(3, 3, { strides: 2 }),
    L.avgPool1d(2),
    L.upSampling1d(2),
    L.globalAvgPool1d(),
  ],
  [12, 3],
);
chain(
  "images that change in training, and in size",
  [
    L.randomFlip(),
    L.randomRotation(0.2),
    L.randomTranslation(0.2, 0.1),
    L.randomZoom(0.2),
    L.randomContrast(0.3),
    L.randomBrightness(0.3),
    L.randomCrop(5, 4),
    L.resizing(4, 7, { antialias: true, padToAspectRatio: true, fillValue: 0.5 }),
    L.centerCrop(5, 6),
    L.centerCrop(3, 2),
  ],
  [6, 7, 2],
);
chain(
  "volumes",
  [
    L.zeroPadding3d(1),
    L.conv3d(4, 3, { strides: [1, 2, 1], activation: "relu" }),
    L.spatialDropout3d(0.3),
    L.upSampling3d([2, 1, 1]),
    L.conv3dTranspose(3, 2, { strides: [1, 2, 1] }),
    L.cropping3d([1, 0, 1]),
    L.maxPool3d([2, 1, 1]),
    L.avgPool3d([1, 2, 2]),
  ],
  [4, 6, 5, 2],
);
chain("volumes as one number of each channel", [L.globalAvgPool3d()], [3, 4, 2, 3]);
chain("volumes as the largest of each channel", [L.globalMaxPool3d()], [3, 4, 2, 3]);
chain("adaptive pooling of volumes", [L.adaptiveAvgPool3d([3, 4, 2]), L.adaptiveMaxPool3d([2, 3, 1])], [5, 6, 4, 2]);
chain("adaptive pooling of images", [L.adaptiveAvgPool2d([5, 4]), L.adaptiveMaxPool2d([3, 2])], [7, 9, 2]);
chain("adaptive pooling of sequences", [L.adaptiveAvgPool1d(5), L.adaptiveMaxPool1d(3)], [8, 2]);
chain("convolutions in time", [L.convLstm1d(3, 2, { returnSequences: true }), L.convLstm1d(2, 2)], [4, 6, 2]);
chain("convolutions of images in time", [L.convLstm2d(3, 2, { padding: "same" })], [4, 5, 6, 2]);
chain("convolutions of volumes in time", [L.convLstm3d(2, 2)], [3, 3, 4, 3, 2]);
chain("cells", [L.rnn([L.lstmCell(3), L.gruCell(4)], { returnSequences: true }), L.rnn(L.simpleRnnCell(3))], [5, 2]);
chain("classes", [L.categoryEncoding(11, { outputMode: "count" }), L.dense(2)], [5], { ints: 11 });
chain("bins", [L.discretization({ binBoundaries: [-0.5, 0, 0.25], outputMode: "oneHot" }), L.flatten(), L.dense(2)], [4]);
chain("bins that are looked up", [L.discretization({ binBoundaries: [-0.5, 0, 0.25] }), L.embedding(4, 3), L.flatten()], [4]);
chain("global pooling", [L.globalMaxPool2d(), L.unitNormalization()], [4, 5, 3]);
chain("normalizations", [L.layerNorm(), L.groupNorm(2), L.rmsNorm()], [5, 6]);
chain("lstm", [L.lstm(4, { returnSequences: true }), L.lstm(3)], [6, 5]);
chain("gru", [L.gru(4, { returnSequences: true, goBackwards: true }), L.gru(3, { resetAfter: false })], [6, 5]);
chain("simpleRnn", [L.bidirectional(L.simpleRnn(4, { returnSequences: true })), L.simpleRnn(3, { activation: "relu" })], [6, 5]);
chain("shapes", [L.reshape([3, 4]), L.permute([2, 1]), L.flatten(), L.repeatVector(3), L.timeDistributed(L.dense(2))], [12]);
chain("embedding", [L.embedding(11, 6), L.globalAvgPool1d(), L.dense(2)], [5], { ints: 11 });
chain("attention", [L.transformerEncoder(8, 2), L.transformerDecoder(8, 2)], [5, 6]);
chain("a GPT", [L.tokenAndPositionEmbedding(13, 8, 6), L.transformerDecoder(16, 2), L.layerNorm(), L.dense(13)], [8], { ints: 13 });
chain("a Llama's block", [L.groupedQueryAttention(4, 4, 2, { useCausalMask: true, rotary: {} }), L.swiglu(12)], [6, 8]);

{
  const [a, b] = [L.dense(4), L.dense(4, { activation: "tanh" })];
  check(
    "several inputs and outputs",
    model((x, y) => ({ sum: L.add(a.call(x), b.call(y)), rows: L.concatenate().call(a.call(x), y) })),
    [[3], [5]],
  );
}

chain(
  "images to networks",
  [
    L.rescaling([1, 0.5, 2], { offset: -0.25 }),
    L.resizing(7, 9),
    L.resizing(6, 5, { interpolation: "nearest" }),
    L.centerCrop(4, 5),
    L.randomFlip(),
    L.spatialDropout2d(0.5),
    L.gaussianNoise(0.5),
    L.globalAvgPool2d(),
  ],
  [5, 4, 3],
);
chain(
  "sequences of other kinds",
  [
    L.zeroPadding1d(2),
    L.cropping1d([1, 0]),
    L.depthwiseConv1d(3, { depthMultiplier: 2, padding: "same" }),
    L.separableConv1d(4, 3),
    L.spatialDropout1d(0.5),
    L.gaussianDropout(0.5),
    L.alphaDropout(0.5),
    L.dropout(0.5),
    L.identity(),
    L.globalMaxPool1d(),
  ],
  [8, 3],
);
chain(
  "activations",
  [L.activation("tanh"), L.elu(), L.relu({ maxValue: 0.5 }), L.softmax(), L.normalization({ mean: 0.25, variance: 2 })],
  [7],
);
chain("masked steps", [L.masking(), L.globalAvgPool1d()], [5, 4]);
chain("two attentions", [L.multiHeadAttention(2, 3), L.positionEmbedding(5), L.geglu(7)], [5, 6]);
chain("turned features", [L.rotaryEmbedding()], [5, 2, 6]);
chain("waves", [L.dense(6), L.sinePositionEncoding()], [5, 4]);
{
  const of = [L.add(), L.multiply(), L.average(), L.maximumLayer(), L.minimumLayer(), L.subtract(), L.dot({ axes: 1 })];
  const rows = L.attention();
  check(
    "merged",
    model((x, y) => [...of.map((l) => l.call(x, y)), rows.call(L.expandDims(x, 1), L.expandDims(y, 1))]),
    [[3], [3]],
  );
}
{
  const tokens = L.embedding(11, 6);
  chain("a tied head", [tokens, L.dense(6), L.tiedHead(tokens)], [5], { ints: 11 });
}
chain("a stack of layers", [L.layerStack(L.transformerEncoder(8, 2), 3)], [5, 6]);
chain(
  "a recurrent layer of another activation",
  [L.lstm(4, { activation: "gelu", returnSequences: true }), L.gru(3, { activation: "silu", goBackwards: true })],
  [5, 3],
);
{
  const own = L.layer({
    kind: "decaying",
    config: {},
    call: (x) => {
      const steps = L.ops.transpose(x, [1, 0, 2]);
      const [last, all] = L.scan(
        (h, v) => {
          const next = L.add(L.mul(h, 0.5), v);
          return [next, next];
        },
        L.mul(L.sum(x, { axis: 1 }), 0),
        steps,
        { reverse: true },
      );
      return L.add(L.ops.transpose(all, [1, 0, 2]), L.expandDims(last, 1));
    },
  });
  chain("a loop of one's own", [own], [5, 3]);
}

const refused = async (fn, pattern) => {
  const error = await fn().then(
    () => null,
    (e) => e,
  );
  assert.instance(error, L.ArgumentError);
  assert.match(error.message, pattern);
};

chain("a lookup", [L.integerLookup({ vocabulary: [3, 5, 7] }), L.embedding(4, 2)], [5], { ints: 11 });

test("saveOnnx: models of texts begin with what those become", async () => {
  const vocabulary = ["film", "fine", "bad"];
  const cases = [
    [L.textVectorization({ vocabulary, outputSequenceLength: 4 }), ["a fine film", "bad", ""]],
    [
      L.stringLookup({ vocabulary }),
      [
        ["fine", "film"],
        ["bad", "other"],
      ],
    ],
  ];
  for (const [layer, texts] of cases) {
    const ids = layer.encode(texts);
    const inputShape = ids.shape.slice(1);
    const net = sequential([layer, L.embedding(5, 3), L.globalAvgPool1d(), L.dense(2)], { inputShape });
    see(net.layers);
    stir(net);
    await compare(net, [{ data: await ids.data(), shape: ids.shape }], { inputShape }, texts);
  }
});

test("saveOnnx: every kind of layer is in one of these models", () => {
  const kinds = Object.keys(lockstep).filter((name) => layerKind(name) !== undefined || Object.hasOwn(L.extraLayers, name));
  assert.ok(kinds.length > 70, `${kinds.length} kinds`);
  assert.equal(
    kinds.filter((kind) => !seen.has(kind)),
    [],
  );
});

test("saveOnnx: what cannot be written is named", async () => {
  const own = L.layer({ kind: "thresholds", config: {}, call: (x) => L.ops.massThreshold(x, 2) });
  const net = sequential([own]);
  net.build([[4]]);
  await refused(() => saveOnnx(net), /layer "thresholds.*ONNX has no operator/);
  await refused(() => saveOnnx(sequential([L.dense(2)])), /not built yet/);
  await refused(() => saveOnnx(net, { batch: 0 }), /batch must be an integer/);
});

chain(
  "volumes",
  [
    L.zeroPadding3d([1, 0, 1]),
    L.conv3d(4, [2, 3, 3], { padding: "same", strides: [1, 2, 1], groups: 2, activation: "gelu" }),
    L.maxPool3d([1, 2, 2], { padding: "same" }),
    L.conv3dTranspose(3, [3, 2, 2], { strides: [2, 1, 2], padding: "same", activation: "relu" }),
    L.avgPool3d([2, 1, 2], { strides: [2, 1, 1], padding: "same" }),
    L.conv3d(1, 3, { padding: "same" }),
    L.upSampling3d([1, 2, 1]),
    L.cropping3d([1, 0, 1]),
  ],
  [3, 6, 5, 2],
);
chain(
  "adaptive pooling",
  [L.adaptiveAvgPool3d([2, 3, 3]), L.adaptiveMaxPool3d(2), L.reshape([2, 4, -1]), L.adaptiveAvgPool2d([2, 3]), L.adaptiveMaxPool2d(2)],
  [5, 6, 5, 2],
);
chain("films", [L.convLstm2d(3, [3, 2], { padding: "same", strides: [1, 2], returnSequences: true }), L.convLstm2d(2, 2)], [3, 5, 7, 2]);
chain("cells", [L.rnn([L.lstmCell(4), L.gruCell(3)], { returnSequences: true }), L.rnn(L.simpleRnnCell(2), { goBackwards: true })], [5, 3]);
chain("whole volumes", [L.conv3d(4, 1), L.globalMaxPool3d()], [2, 3, 2, 3]);

test.run();

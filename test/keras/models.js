/** @file Models that have each of the layers that files of Keras hold. */
import * as L from "../../build/esm/index.js";

/** A model of these layers. */
const row = (layers, inputShape) => () => L.sequential(layers(), { inputShape, seed: 3 });

/** By name: how it is made. `keras`: layers that TensorFlow.js has not. */
export const MODELS = {
  dense: row(() => [L.dense(5, { activation: "relu" }), L.dropout(0.3), L.dense(3, { activation: "softmax" })], [4]),
  images: row(
    () => [
      L.conv2d(4, 3, { padding: "same", strides: 2, kernelRegularizer: "l2" }),
      L.batchNorm(),
      L.relu({ maxValue: 6 }),
      L.maxPool2d(2),
      L.depthwiseConv2d(3, { padding: "same" }),
      L.separableConv2d(5, [3, 2], { padding: "same" }),
      L.conv2dTranspose(3, 3, { strides: 2 }),
      L.zeroPadding2d([
        [1, 2],
        [0, 1],
      ]),
      L.cropping2d(1),
      L.upSampling2d(2),
      L.avgPool2d(2, { padding: "same" }),
      L.globalAvgPool2d(),
      L.dense(2, { useBias: false }),
    ],
    [12, 12, 3],
  ),
  sequences: row(
    () => [
      L.embedding(20, 6, { maskZero: true }),
      L.bidirectional(L.lstm(4, { returnSequences: true })),
      L.timeDistributed(L.dense(5)),
      L.gru(3, { resetAfter: false }),
      L.dense(2),
    ],
    [7],
  ),
  steps: row(
    () => [
      L.conv1d(4, 3, { padding: "same", dilationRate: 2 }),
      L.avgPool1d(2),
      L.prelu({ sharedAxes: [1] }),
      L.layerNorm(),
      L.simpleRnn(4, { returnSequences: true, goBackwards: true }),
      L.masking({ maskValue: 7 }),
      L.maxPool1d([2]),
      L.globalMaxPool1d(),
      L.repeatVector(3),
      L.globalAvgPool1d(),
    ],
    [9, 3],
  ),
  elements: row(
    () => [L.reshape([4, -1]), L.permute([2, 1]), L.activation("mish"), L.leakyRelu(), L.elu(), L.softmax(), L.flatten()],
    [24],
  ),
  branches() {
    const [a, b] = [L.dense(4, { activation: "gelu" }), L.dense(4)];
    const inner = L.sequential([L.dense(3), L.batchNorm()], { name: "inner" });
    const [join, add, multiply, average, most, least] = [
      L.concatenate(),
      L.add(),
      L.multiply(),
      L.average(),
      L.maximumLayer(),
      L.minimumLayer(),
    ];
    return L.model(
      (x, y) => {
        const [p, q] = [a.call(x), b.call(a.call(y))];
        return [inner.call(join.call(p, q)), most.call(add.call(p, q), least.call(multiply.call(p, q), average.call(p, q)))];
      },
      { inputShape: [[4], [4]], seed: 1 },
    );
  },
  models() {
    const [a, b] = [L.dense(3, { activation: "tanh" }), L.dense(3)];
    const inner = L.model((x) => b.call(a.call(x)), { name: "inner" });
    const join = L.add();
    return L.model((x, y) => [join.call(inner.call(x), inner.call(y)), inner.call(y)], { inputShape: [[4], [4]], seed: 1 });
  },
  states() {
    const [encoder, decoder, head] = [L.lstm(4), L.lstm(4, { returnSequences: true }), L.dense(2)];
    return L.model(
      (x, y) => {
        const { states } = encoder.callWithStates(x);
        return head.call(decoder.call(y, ...states));
      },
      {
        inputShape: [
          [5, 3],
          [6, 2],
        ],
        seed: 1,
      },
    );
  },
  "keras: rows": row(
    () => [
      L.normalization({ mean: [1, 2, 3], variance: [4, 5, 6] }),
      L.conv1dTranspose(4, 2, { strides: 2 }),
      L.conv1d(4, 3, { padding: "causal", dilationRate: 2 }),
      L.elu({ alpha: 0.7 }),
      L.softmax({ axis: 1 }),
      L.upSampling1d(2),
      L.groupNorm(2),
      L.unitNormalization(),
      L.gru(4, { returnSequences: true, dropout: 0.2 }),
      L.rmsNorm(),
      L.bidirectional(L.gru(2), { mergeMode: "sum" }),
    ],
    [5, 3],
  ),
  disturbed: row(
    () => [
      L.rescaling(0.5, { offset: -0.25 }),
      L.gaussianNoise(0.1),
      L.gaussianDropout(0.2),
      L.alphaDropout(0.3),
      L.spatialDropout1d(0.4),
      L.conv1d(2, 2),
    ],
    [8, 3],
  ),
  "keras: sequences": row(
    () => [
      L.identity(),
      L.zeroPadding1d([1, 2]),
      L.cropping1d([0, 1]),
      L.depthwiseConv1d(3, { depthMultiplier: 2, padding: "same", activation: "relu" }),
      L.separableConv1d(4, [2], { strides: 2, depthMultiplier: 2 }),
      L.reshape([4, 1, -1]),
      L.spatialDropout2d(0.5),
    ],
    [6, 3],
  ),
  volumes: row(
    () => [
      L.conv3d(4, [2, 3, 3], { padding: "same", dilationRate: [2, 1, 1], activation: "relu" }),
      L.maxPool3d([1, 2, 2]),
      L.conv3dTranspose(3, 2, { strides: [2, 1, 2], padding: "same" }),
      L.avgPool3d([2, 1, 2], { strides: [2, 1, 1], padding: "same" }),
    ],
    [3, 6, 5, 2],
  ),
  films: row(
    () => [
      L.convLstm2d(3, [3, 2], { padding: "same", strides: [1, 2], returnSequences: true }),
      L.convLstm2d(2, 2, { dilationRate: 2, goBackwards: true, unitForgetBias: false, dropout: 0.2 }),
    ],
    [3, 5, 7, 2],
  ),
  cells: row(
    () => [
      L.rnn([L.lstmCell(4), L.gruCell(3, { resetAfter: false }), L.lstmCell(2, { useBias: false })], { returnSequences: true }),
      L.rnn(L.stackedRnnCells([L.simpleRnnCell(3, { activation: "relu" })]), { goBackwards: true }),
    ],
    [5, 3],
  ),
  "keras: cells": row(
    () => [
      L.bidirectional(L.rnn([L.gruCell(3, { dropout: 0.2 }), L.lstmCell(2, { unitForgetBias: false })], { returnSequences: true })),
      L.rnn(L.lstmCell(3), { returnSequences: true }),
      L.timeDistributed(L.reshape([3, 1])),
      L.timeDistributed(L.rnn([L.simpleRnnCell(2), L.simpleRnnCell(2)])),
    ],
    [4, 3],
  ),
  "keras: films": row(
    () => [
      L.bidirectional(L.convLstm3d(2, [2, 1, 2], { padding: "same", returnSequences: true })),
      L.reshape([3, 6, 4]),
      L.convLstm1d(2, 3, { activation: "relu", recurrentActivation: "hardSigmoid" }),
    ],
    [3, 1, 2, 3, 2],
  ),
  "keras: sizes": row(
    () => [
      L.conv3d(4, 3, { groups: 2 }),
      L.adaptiveAvgPool3d([2, 3, 2]),
      L.adaptiveMaxPool3d(2),
      L.reshape([2, 4, -1]),
      L.adaptiveAvgPool2d([2, 3]),
      L.adaptiveMaxPool2d(2),
      L.reshape([4, -1]),
      L.adaptiveAvgPool1d(3),
      L.adaptiveMaxPool1d([2]),
    ],
    [5, 6, 5, 2],
  ),
  "keras: whole volumes"() {
    const [mean, most] = [L.globalAvgPool3d({ keepDims: true }), L.globalMaxPool3d({ keepDims: true })];
    const join = L.concatenate();
    return L.model((x) => join.call(mean.call(x), most.call(x)), { inputShape: [2, 3, 2, 4], seed: 1 });
  },
  "keras: frames of volumes": row(
    () => [
      L.zeroPadding3d([
        [1, 0],
        [0, 2],
        [1, 1],
      ]),
      L.spatialDropout3d(0.3),
      L.cropping3d([1, 0, 1]),
      L.upSampling3d([1, 2, 1]),
    ],
    [3, 2, 3, 2],
  ),
  classes: row(() => [L.reshape([4]), L.categoryEncoding(20, { outputMode: "count" }), L.dense(3)], [4]),
  cropped: row(() => [L.reshape([5, 4, 2]), L.centerCrop(3, 4), L.centerCrop(1, 2), L.flatten(), L.dense(2)], [5, 4, 2]),
  "keras: weighted classes"() {
    const [count, oneHot, flat, bins, table, join, head] = [
      L.categoryEncoding(20, { outputMode: "count" }),
      L.categoryEncoding(20, { outputMode: "oneHot" }),
      L.flatten(),
      L.discretization({ binBoundaries: [1.5, 6, 11.25], outputMode: "multiHot" }),
      L.discretization({ binBoundaries: [3, 4] }),
      L.concatenate(),
      L.dense(2),
    ];
    const [embed, pool] = [L.embedding(3, 2), L.globalAvgPool1d()];
    return L.model(
      (x, w) =>
        head.call(
          join.call(count.call(x, w), count.call(x), flat.call(oneHot.call(x)), bins.call(w), pool.call(embed.call(table.call(w)))),
        ),
      { inputShape: [[4], [4]], seed: 1 },
    );
  },
  "keras: changed images": row(
    () => [
      L.randomFlip({ mode: "vertical" }),
      L.randomRotation(0.2, { fillMode: "constant", fillValue: 0.5 }),
      L.randomTranslation(0.1, [-0.2, 0], { interpolation: "nearest" }),
      L.randomZoom([-0.2, 0.1], { widthFactor: 0.3 }),
      L.randomZoom(0.2, { fillMode: "wrap" }),
      L.randomContrast(0.3, { valueRange: [0, 1] }),
      L.randomContrast([0.1, 0.3]),
      L.randomBrightness([-0.1, 0.2], { valueRange: [-1, 1] }),
      L.randomCrop(6, 5),
      L.resizing(4, 7, { cropToAspectRatio: true, antialias: true }),
      L.resizing(5, 5, { padToAspectRatio: true, fillValue: 0.25, interpolation: "nearest" }),
      L.centerCrop(6, 4),
    ],
    [5, 6, 2],
  ),
  "keras: images": row(
    () => [
      L.randomFlip(),
      L.resizing(5, 3),
      L.resizing(4, 7, { interpolation: "nearest" }),
      L.centerCrop(3, 4),
      L.upSampling2d(2, { interpolation: "bilinear" }),
      L.relu({ negativeSlope: 0.1, threshold: 0.2 }),
      L.globalMaxPool2d({ keepDims: true }),
    ],
    [3, 4, 2],
  ),
  "keras: heads"() {
    const [q, heads, grouped, plain, head] = [
      L.dense(8),
      L.multiHeadAttention(2, 4, { valueDim: 3 }),
      L.groupedQueryAttention(4, 4, 2, { useCausalMask: true }),
      L.attention({ useScale: true }),
      L.dense(1),
    ];
    const [subtract, product] = [L.subtract(), L.dot({ axes: [2, 2] })];
    return L.model(
      (x) => {
        const a = heads.call(q.call(x), null, null, { useCausalMask: true });
        const b = plain.call(grouped.call(a), a);
        return product.call(head.call(subtract.call(a, b)), head.call(b));
      },
      { inputShape: [5, 3], seed: 2 },
    );
  },
};

/** Inputs of a model: the same in each run. */
export function inputsOf(name, model) {
  return model.inputShapes.map((shape, k) => {
    const size = shape.reduce((a, b) => a * b, 3);
    return L.tensor(
      Float32Array.from({ length: size }, (_, i) =>
        name === "sequences" || name.endsWith("classes") ? (i * 7) % 20 : ((i * 37 + 11 * k) % 41) / 10 - 2,
      ),
      [3, ...shape],
    );
  });
}

/** What a model gives for its inputs, each output as elements. */
export async function outputsOf(model, inputs) {
  const y = await model.predict(inputs.length === 1 ? inputs[0] : inputs);
  return Promise.all((y instanceof L.Tensor ? [y] : Object.values(y)).map(async (t) => ({ shape: t.shape, data: await t.data() })));
}

/** Moves all weights away from what they begin with. */
export function stir(model) {
  let n = 0;
  for (const { tensor, name } of model.weights)
    tensor.set(
      Float32Array.from({ length: tensor.size }, () => ((n = (n * 61 + 17) % 101) / 101 - (/variance/i.test(name) ? 0 : 0.5)) * 0.8 + 0.01),
    );
}

/**
 * Options of factories: those that are not known and values out of range are errors, since JavaScript would drop or carry on with them
 * silently.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { hint } from "../build/esm/check.js";
import * as data from "../build/esm/data/index.js";
import * as L from "../build/esm/index.js";

/** What an option or name is written as, and what the error must say. */
const CASES = [
  // TensorFlow.js gives all arguments as one object.
  [() => L.dense({ units: 8, activation: "relu" }), /dense: units is no option of a layer; write dense\(units, \{ \.\.\. \}\)/],
  [
    () => L.conv2d({ filters: 8, kernelSize: 3 }),
    /conv2d: filters is no option of a layer; write conv2d\(filters, kernelSize, \{ \.\.\. \}\)/,
  ],
  [() => L.conv2d(8, { kernelSize: 3 }), /conv2d: kernelSize is no option of a layer; write conv2d\(filters, kernelSize, \{ \.\.\. \}\)/],
  [
    () => L.conv2d(8, 3, { kernel_size: 3 }),
    /conv2d: kernel_size is no option of a layer; write conv2d\(filters, kernelSize, \{ \.\.\. \}\)/,
  ],
  [() => L.maxPool2d({ poolSize: 2 }), /maxPool2d: poolSize is no option of a layer; write maxPool2d\(poolSize, \{ \.\.\. \}\)/],
  [() => L.lstm(4, { units: 4 }), /lstm: units is no option of a layer; write lstm\(units, \{ \.\.\. \}\)/],
  [() => L.embedding({ inputDim: 3, outputDim: 4 }), /embedding: inputDim must be an integer >= 1, got \{"inputDim":3,"outputDim":4\}/],
  [
    () => L.embedding(9, 4, { inputLength: 3 }),
    /embedding: inputLength is no option of a layer; write sequential\(\[\.\.\.\], \{ inputShape: /,
  ],
  [() => L.lstm(4, { stateful: true }), /lstm: stateful is no option of a layer; write layer\.callWithStates\(x, \.\.\.states\)/],
  [() => L.gru(4, { return_state: true }), /gru: return_state is no option of a layer; write layer\.callWithStates\(x, \.\.\.states\)/],
  [() => L.simpleRnn(4, { return_sequences: true }), /simpleRnn: unknown option "return_sequences"; did you mean "returnSequences"/],
  [() => L.dense(4, { trainable: false }), /dense: trainable is no option of a layer; write layer\.trainable = false/],
  [() => L.dense(4, { bias: false }), /dense: unknown option "bias"; did you mean "useBias"/],
  [() => L.conv2d(4, 3, { dilation: 2 }), /conv2d: unknown option "dilation"; did you mean "dilationRate"/],
  [() => L.conv2d(4, 3, { stride: 2 }), /conv2d: unknown option "stride"; did you mean "strides"/],
  [() => L.conv2d(1, 8, 3), /conv2d: expected an object of options, got 3; known: /],
  [() => L.conv2d(4, 3, { padding: "SAME" }), /conv2d: padding must be one of "valid", "same", got "SAME"/],
  [() => L.conv2d(4, 3, { padding: 1 }), /conv2d: padding must be "valid" or "same", got 1; the layer zeroPadding2d pads by numbers/],
  [() => L.maxPool2d(2, { padding: 1 }), /maxPool2d: padding must be "valid" or "same", got 1; the layer zeroPadding2d pads by numbers/],
  [
    () => L.dense(4, { activation: L.leakyRelu({ negativeSlope: 0.1 }) }),
    /dense: expected the name of an activation or a function, got a layer: put it behind this one/,
  ],
  [() => L.dense(4, { activation: L.zeros([2]) }), /dense: expected the name of an activation or a function, got f32\[2\]/],
  [
    () => L.sequential([L.dense(4, { kernelInitializer: L.initializers.randomNormal })], { inputShape: [3] }),
    /layer "dense": the initializer of kernel must give a Float32Array of 12 elements, got function; write randomNormal\(\)/,
  ],
  [
    () => L.sequential([L.dense(4, { biasInitializer: () => [0, 0, 0, 0] })], { inputShape: [3] }),
    /layer "dense": the initializer of bias must give a Float32Array of 4 elements, got an array/,
  ],
  [
    () => L.sequential([L.dense(4, { biasInitializer: () => new Float32Array(3) })], { inputShape: [3] }),
    /layer "dense": the initializer of bias must give a Float32Array of 4 elements, got a Float32Array/,
  ],
  [() => L.sequential(), /sequential: expected a list of layers, got undefined; write sequential\(\[layer, layer\]\)/],
  [
    () => L.sequential([L.dense(2)]).add(L.dense(3)),
    /add: a model has its layers from the start; write sequential\(\[\.\.\.model\.layers, layer\]\)/,
  ],
  [() => L.sequential([L.dense(2)]).getLayer("Dense"), /getLayer: unknown layer "Dense"; did you mean "dense"/],
  [() => L.sequential([L.dense(2)]).getLayer(1), /getLayer: unknown layer "1"; known: dense/],
  [() => (L.sequential([L.dense(2)]).trainable = 0), /model: trainable must be true or false, got 0/],
  [() => L.adam({ lr: 0.1 }), /adam: unknown option "lr"; did you mean "learningRate"\? known: learningRate, weightDecay/],
  [() => L.adamw({ weight_decay: 0.1 }), /adamw: unknown option "weight_decay"; did you mean "weightDecay"/],
  [() => L.adam(0.01), /adam: expected an object of options, got 0.01/],
  [() => L.sgd(null), /sgd: expected an object of options, got null/],
  [() => L.adamax({ amsgrad: true }), /adamax: unknown option "amsgrad"/],
  [() => L.adam({ epsilon: NaN }), /adam: epsilon must be a number >= 0, got NaN/],
  [() => L.adam({ epsilon: "1e-7" }), /adam: epsilon must be a number >= 0, got "1e-7"/],
  [() => L.adam({ beta1: "" }), /adam: beta1 must be a number in \[0, 1\), got ""/],
  [() => L.adam({ beta2: 1 }), /adam: beta2 must be a number in \[0, 1\), got 1/],
  [() => L.adam({ amsgrad: "no" }), /adam: amsgrad must be true or false, got "no"/],
  [() => L.adam({ weightDecay: NaN }), /adam: weightDecay must be a number >= 0, got NaN/],
  [() => L.sgd({ weightDecay: -1 }), /sgd: weightDecay must be a number >= 0, got -1/],
  [() => L.sgd({ clipNorm: "5" }), /sgd: clipNorm must be a positive number, got "5"/],
  [() => L.sgd({ clipValue: Infinity }), /sgd: clipValue must be a positive number, got Infinity/],
  [() => L.sgd({ learningRate: { rate: 1 } }), /sgd: learningRate must be a number of at least 0 or a schedule/],
  [() => L.rmsprop({ rho: 2 }), /rmsprop: rho must be a number in \[0, 1\], got 2/],
  [() => L.rmsprop({ momentum: -1 }), /rmsprop: momentum must be a number >= 0, got -1/],
  [() => L.adagrad({ initialAccumulatorValue: -1 }), /adagrad: initialAccumulatorValue must be a number >= 0, got -1/],
  [() => L.binaryCrossentropy({ from_logits: true }), /binaryCrossentropy: unknown option "from_logits"; did you mean "fromLogits"/],
  [() => L.categoricalCrossentropy({ fromLogits: "false" }), /fromLogits must be true or false, got "false"/],
  [() => L.categoricalCrossentropy({ labelSmoothing: 1.5 }), /labelSmoothing must be a number in \[0, 1\], got 1.5/],
  [() => L.sparseCategoricalCrossentropy({ labelSmoothing: 0.1 }), /sparseCategoricalCrossentropy: unknown option "labelSmoothing"/],
  [() => L.huber(2), /huber: expected an object of options, got 2/],
  [() => L.huber({ delta: "1" }), /huber: delta must be a positive number, got "1"/],
  [() => L.f1({ numClasses: 3 }), /f1: unknown option "numClasses"; did you mean "classes"/],
  [() => L.precision({ threshold: NaN }), /precision: threshold must be a number, got NaN/],
  [() => L.topKCategoricalAccuracy({ k: 0 }), /topKCategoricalAccuracy: k must be an integer >= 1, got 0/],
  [() => L.confusionMatrix({ class: 3 }), /confusionMatrix: unknown option "class"/],
  [
    () => L.exponentialDecay({ initialLearningRate: 1, decaySteps: 1, decayRate: 1, stairCase: true }),
    /unknown option "stairCase"; did you mean "staircase"/,
  ],
  [() => L.cosineDecay(), /cosineDecay: decaySteps must be a positive number, got undefined/],
  [() => L.piecewiseConstantDecay({ boundaries: [NaN], values: [1, 2] }), /piecewiseConstantDecay: expected lists of numbers/],
  [() => L.piecewiseConstantDecay({}), /piecewiseConstantDecay: expected lists of numbers.*got boundaries undefined/],
  [
    () => L.earlyStopping({ restore_best_weights: true }),
    /earlyStopping: unknown option "restore_best_weights"; did you mean "restoreBestWeights"/,
  ],
  [() => L.earlyStopping({ minDelta: NaN }), /earlyStopping: minDelta must be a number, got NaN/],
  [() => L.earlyStopping({ baseline: "0.5" }), /earlyStopping: baseline must be a number, got "0.5"/],
  [() => L.earlyStopping({ monitor: 3 }), /earlyStopping: monitor must be the name of a log, got 3/],
  [() => L.modelCheckpoint(), /modelCheckpoint: expected the path of a file, got undefined/],
  [() => L.modelCheckpoint("m", { save_best_only: true }), /modelCheckpoint: unknown option "save_best_only"; did you mean "saveBestOnly"/],
  [() => L.reduceLrOnPlateau({ minLr: NaN }), /reduceLrOnPlateau: minLr must be a number >= 0, got NaN/],
  [() => L.learningRateScheduler(0.1), /learningRateScheduler: expected a function/],
  [() => L.sequential([L.dense(1)], { input_shape: [3] }), /unknown option "input_shape"; did you mean "inputShape"/],
  [() => L.sequential([L.dense(1)], { inputShape: 3 }), /inputShape must be a list of sizes.*got 3/],
  [() => L.sequential([L.dense(1)], { inputShape: "3" }), /inputShape must be a list of sizes.*got "3"/],
  [() => L.sequential([L.dense(1)], { inputShape: [[3], [3]] }), /sequential: expected one input, got 2/],
  [() => L.sequential(L.dense(1), L.dense(2)), /sequential: expected a list of layers, got an? \w+ with kind/],
  [() => L.sequential(null), /sequential: expected a list of layers, got null/],
  [() => L.model([L.dense(1)]), /model: expected a function.*sequential/],
  [() => ((d) => L.sequential([d, d]))(L.dense(3)), /a layer stands in the list twice/],
  [() => L.dense(1, { name: 5 }), /dense: name must be a string, got 5/],
  [() => L.dense(1, { activation: "Relu" }), /unknown activation "Relu"; did you mean "relu"/],
  [() => L.dense(1, { kernelInitializer: "glorot_uniform" }), /did you mean "glorotUniform"/],
  [() => L.tensor(new BigInt64Array(2)), /64-bit integers cannot be kept, got a BigInt64Array/],
  [() => data.parseCsv("a,b\n1,2\n", { sep: ";" }), /csv: unknown option "sep"/],
  [() => data.parseCsv(new TextEncoder().encode("1,2")), /csv: expected the text of the table, got bytes/],
  [() => data.parseCsv("1,2", { header: "yes" }), /csv: header must be true, false or "auto", got "yes"/],
  [() => data.parseCsv("1,2", { columns: "0" }), /csv: columns must be a list/],
  [() => data.parseCsv("age,b\n1,2\n", { columns: ["Age"] }), /csv: no column "Age"; did you mean "age"/],
  [
    () => data.trainTestSplit({ data: new Float32Array(4), shape: [4] }, { data: new Float32Array(4), shape: [4] }, { testSize: 0.5 }),
    /trainTestSplit: unknown option "testSize"/,
  ],
  [() => data.trainTestSplit(L.zeros([4]), L.zeros([4])), /trainTestSplit: x must be \{ data, shape \} with a typed array/],
  [() => data.oneHot(null, 2), /oneHot: expected an array of labels, got null/],
  [() => data.windows(undefined, 2), /windows: expected an array of numbers, got undefined/],
  [() => data.parseIdx("train.idx"), /idx: expected the bytes of a file as a Uint8Array, got String/],
  [() => data.readIdx("train.idx"), /idx: expected the bytes of a file as a Uint8Array, got String/],
  [() => data.gunzip("train.idx.gz"), /gzip: expected the bytes of a file as a Uint8Array, got String/],
];

for (const [act, message] of CASES) {
  test(act.toString().replace("() => ", ""), async () => {
    let error = null;
    try {
      await act();
    } catch (e) {
      error = e;
    }
    assert.instance(error, L.LockstepError);
    assert.match(error.message, message);
  });
}

/** Every layer that has options, with the arguments that come before them. */
const LAYERS = {
  activation: ["relu"],
  attention: [],
  avgPool1d: [2],
  avgPool2d: [2],
  batchNorm: [],
  bidirectional: [L.lstm(2)],
  concatenate: [],
  conv1d: [2, 3],
  conv1dTranspose: [2, 3],
  conv2d: [2, 3],
  conv2dTranspose: [2, 3],
  cropping2d: [1],
  dense: [2],
  depthwiseConv2d: [3],
  dropout: [0.5],
  elu: [],
  embedding: [4, 2],
  flatten: [],
  geglu: [2],
  globalAvgPool1d: [],
  globalAvgPool2d: [],
  globalMaxPool1d: [],
  globalMaxPool2d: [],
  groupedQueryAttention: [2, 2, 1],
  groupNorm: [2],
  gru: [2],
  layerNorm: [],
  leakyRelu: [],
  lstm: [2],
  maxPool1d: [2],
  maxPool2d: [2],
  multiHeadAttention: [2, 2],
  normalization: [],
  permute: [[1]],
  positionEmbedding: [2],
  prelu: [],
  relu: [],
  repeatVector: [2],
  reshape: [[2]],
  rmsNorm: [],
  rotaryEmbedding: [],
  separableConv2d: [2, 3],
  simpleRnn: [2],
  sinePositionEncoding: [],
  softmax: [],
  swiglu: [2],
  tiedHead: [L.embedding(4, 2)],
  timeDistributed: [L.dense(2)],
  tokenAndPositionEmbedding: [4, 2, 2],
  transformerDecoder: [4, 2],
  transformerEncoder: [4, 2],
  upSampling2d: [2],
  zeroPadding2d: [1],
};

for (const [kind, args] of Object.entries(LAYERS)) {
  test(`${kind}: the shape of the input is the model's, however it is written`, () => {
    assert.is(L[kind](...args).kind, kind);
    for (const option of ["inputShape", "input_shape", "batchInputShape", "batch_input_shape", "inputDim"]) {
      const own = kind === "embedding" && option === "inputDim";
      const place = own ? /write embedding\(inputDim, outputDim, / : /write sequential\(\[\.\.\.\], \{ inputShape: \[\.\.\.\] \}\)/;
      assert.throws(
        () => L[kind](...args, { [option]: [3] }),
        (e) =>
          e instanceof L.ArgumentError && e.message.startsWith(`${kind}: ${option} is no option of a layer; `) && place.test(e.message),
      );
    }
  });
}

const FLAT = /, got \[1, 4\]; a recurrent layer before it needs returnSequences: true/;
for (const [name, second] of Object.entries({
  lstm: () => L.lstm(3),
  gru: () => L.gru(3),
  simpleRnn: () => L.simpleRnn(3),
  bidirectional: () => L.bidirectional(L.lstm(3)),
  timeDistributed: () => L.timeDistributed(L.dense(3)),
  conv1d: () => L.conv1d(3, 2),
  maxPool1d: () => L.maxPool1d(),
  globalAvgPool1d: () => L.globalAvgPool1d(),
})) {
  test(`a recurrent layer that gives its last step only, before ${name}: the error names the option`, () => {
    assert.throws(
      () => L.sequential([L.lstm(4), L.dropout(0.1), second()], { inputShape: [5, 2] }),
      (e) => e instanceof L.ShapeError && FLAT.test(e.message),
    );
    assert.is(L.sequential([L.lstm(4, { returnSequences: true }), L.dropout(0.1), second()], { inputShape: [5, 2] }).layers.length, 3);
  });
}

test("activations by Keras' names: those of JavaScript's spelling are taken, others lead there", () => {
  for (const name of "linear relu relu6 elu selu gelu tanh sigmoid softplus softsign softmax silu swish mish exponential".split(" "))
    assert.is(L.dense(2, { activation: name }).config.activation, name);
  for (const [name, meant] of Object.entries({
    leaky_relu: "leakyRelu",
    hard_sigmoid: "hardSigmoid",
    hard_silu: "hardSilu",
    hard_swish: "hardSwish",
    log_softmax: "logSoftmax",
    ReLU: "relu",
    LogSoftmax: "logSoftmax",
  })) {
    assert.throws(() => L.dense(2, { activation: name }), `did you mean "${meant}"`);
  }
});

test("options that are undefined count as not given", () => {
  assert.is(L.adam({ learningRate: undefined, clipNorm: undefined }).learningRate, 0.001);
  assert.equal(L.huber({ delta: undefined }).config, { delta: 1 });
  assert.ok(L.earlyStopping(undefined));
});

test("hints: spelling of other libraries, swapped and missing letters, initials; none for what is not near", () => {
  const known = ["accuracy", "meanSquaredError", "learningRate", "f1", "mae", "mse"];
  for (const [name, meant] of [
    ["acuracy", "accuracy"],
    ["Accuracy", "accuracy"],
    ["accurcay", "accuracy"],
    ["mean_squared_error", "meanSquaredError"],
    ["lr", "learningRate"],
    ["F1", "f1"],
    ["learning_rat", "learningRate"],
  ]) {
    assert.is(hint(name, known), `did you mean "${meant}"? `, name);
  }
  for (const name of ["", "x", "precision", "a".repeat(1e5)]) assert.is(hint(name, known), "", name.slice(0, 20));
});

test.run();

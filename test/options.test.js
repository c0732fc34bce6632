/** Options of factories: those that are not known and values out of range are errors, since JavaScript would drop or carry on with them silently. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { hint } from "../build/esm/check.js";
import * as data from "../build/esm/data/index.js";
import * as L from "../build/esm/index.js";

/** What an option or name is written as, and what the error must say. */
const CASES = [
  [() => L.dense({ units: 8, activation: "relu" }), /dense: units must be an integer >= 1, got \{"units":8,"activation":"relu"\}/],
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
  [() => L.exponentialDecay({ initialLearningRate: 1, decaySteps: 1, decayRate: 1, stairCase: true }), /unknown option "stairCase"; did you mean "staircase"/],
  [() => L.cosineDecay(), /cosineDecay: decaySteps must be a positive number, got undefined/],
  [() => L.piecewiseConstantDecay({ boundaries: [NaN], values: [1, 2] }), /piecewiseConstantDecay: expected lists of numbers/],
  [() => L.piecewiseConstantDecay({}), /piecewiseConstantDecay: expected lists of numbers.*got boundaries undefined/],
  [() => L.earlyStopping({ restore_best_weights: true }), /earlyStopping: unknown option "restore_best_weights"; did you mean "restoreBestWeights"/],
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
  [() => L.sequential(L.dense(1), L.dense(2)), /sequential: expected a list of layers, got object/],
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
  [() => data.trainTestSplit({ data: new Float32Array(4), shape: [4] }, { data: new Float32Array(4), shape: [4] }, { testSize: 0.5 }), /trainTestSplit: unknown option "testSize"/],
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

test("options that are undefined count as not given", () => {
  assert.is(L.adam({ learningRate: undefined, clipNorm: undefined }).learningRate, 0.001);
  assert.equal(L.huber({ delta: undefined }).config, { delta: 1 });
  assert.ok(L.earlyStopping(undefined));
});

test("hints: spelling of other libraries, swapped and missing letters, initials; none for what is not near", () => {
  const known = ["accuracy", "meanSquaredError", "learningRate", "f1", "mae", "mse"];
  for (const [name, meant] of [["acuracy", "accuracy"], ["Accuracy", "accuracy"], ["accurcay", "accuracy"], ["mean_squared_error", "meanSquaredError"], ["lr", "learningRate"], ["F1", "f1"], ["learning_rat", "learningRate"]]) {
    assert.is(hint(name, known), `did you mean "${meant}"? `, name);
  }
  for (const name of ["", "x", "precision", "a".repeat(1e5)]) assert.is(hint(name, known), "", name.slice(0, 20));
});

test.run();

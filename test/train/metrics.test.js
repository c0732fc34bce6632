/** Metrics against naive counting, over epochs of unequal batches. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile } from "../../build/esm/compile.js";
import { assign } from "../../build/esm/graph.js";
import { sequential } from "../../build/esm/model/model.js";
import { dense } from "../../build/esm/nn/index.js";
import { Random } from "../../build/esm/random.js";
import { abs, sub } from "../../build/esm/ops/map.js";
import { tensor, zeros } from "../../build/esm/tensor.js";
import { lossByName, lossFromConfig } from "../../build/esm/train/losses.js";
import * as metrics from "../../build/esm/train/metrics.js";
import { perplexity } from "../../build/esm/train/perplexity.js";

const { metricByName } = metrics;

/** The metric after `batches` of [yTrue, yPred]. */
async function epoch(metric, batches) {
  const state = metric.state.map((s) => zeros(s.shape, s.dtype));
  const step = compile((y, p) => metric.update(y, p, state).forEach((next, i) => assign(state[i], next)));
  for (const [y, p] of batches) await step(y, p);
  const result = metric.result(await Promise.all(state.map((s) => s.data())));
  step.close();
  return result;
}

const SIZES = [7, 7, 3, 1];
const CLASSES = 4;
const random = new Random(5);
/** Rows of scores, with ties, and true classes that the scores favour; class 3 is never true. */
const data = SIZES.map((n) => {
  const scores = Array.from(random.uniform(n * CLASSES), (v) => Math.round(v * 8) / 8);
  const labels = Array.from(random.uniform(n), (v) => Math.floor(v * 3));
  labels.forEach((c, i) => (scores[i * CLASSES + c] += i % 2 ? 0.5 : 0));
  return { n, scores, labels };
});
const argmax = (row) => row.indexOf(Math.max(...row));
const pairs = data.flatMap(({ n, scores, labels }) =>
  labels.map((label, i) => [label, argmax(scores.slice(i * CLASSES, (i + 1) * CLASSES)), scores.slice(i * CLASSES, (i + 1) * CLASSES)]),
);
const predictions = ({ n, scores }) => tensor(Float32Array.from(scores), [n, CLASSES]);
const sparse = data.map((d) => [tensor(Int32Array.from(d.labels)), predictions(d)]);
const oneHot = data.map((d) => [
  tensor(
    Float32Array.from({ length: d.n * CLASSES }, (_, i) => Number(d.labels[Math.floor(i / CLASSES)] === i % CLASSES)),
    [d.n, CLASSES],
  ),
  predictions(d),
]);
const count = (fn) => pairs.filter(fn).length;

test("the data tell the metrics apart", () => {
  const right = count(([t, p]) => t === p);
  assert.ok(right > 3 && right < pairs.length - 3);
  assert.ok(count(([, p]) => p === 3) > 0);
});

test("categorical accuracies, by class numbers and one-hot", async () => {
  const want = count(([t, p]) => t === p) / pairs.length;
  assert.is(await epoch(metrics.sparseCategoricalAccuracy(), sparse), want);
  assert.is(
    await epoch(
      metrics.sparseCategoricalAccuracy(),
      sparse.map(([y, p]) => [tensor(y.host, [y.size, 1]), p]),
    ),
    want,
  );
  assert.is(await epoch(metrics.categoricalAccuracy(), oneHot), want);
});

test("top-k accuracy", async () => {
  for (const k of [1, 2, 3]) {
    const want = count(([t, , row]) => row.filter((v) => v > row[t]).length < k) / pairs.length;
    assert.is(await epoch(metrics.topKCategoricalAccuracy({ k }), sparse), want);
    assert.is(await epoch(metrics.topKCategoricalAccuracy({ k }), oneHot), want);
  }
  assert.throws(() => metrics.topKCategoricalAccuracy({ k: 0 }), /k must be/);
});

const scoresOf = (tp, predicted, actual) => ({
  precision: predicted ? tp / predicted : 0,
  recall: actual ? tp / actual : 0,
  f1: predicted + actual ? (2 * tp) / (predicted + actual) : 0,
});
const perClass = Array.from({ length: CLASSES }, (_, c) => [
  count(([t, p]) => t === c && p === c),
  count(([, p]) => p === c),
  count(([t]) => t === c),
]);
for (const name of ["precision", "recall", "f1"]) {
  test(`${name} of several classes`, async () => {
    const each = perClass.map((counts) => scoresOf(...counts)[name]);
    const total = perClass.reduce((a, b) => a.map((v, i) => v + b[i]));
    const want = {
      macro: each.reduce((a, b) => a + b) / CLASSES,
      weighted: each.reduce((a, v, c) => a + v * perClass[c][2], 0) / pairs.length,
      micro: scoresOf(...total)[name],
    };
    for (const [average, value] of Object.entries(want)) {
      for (const batches of [sparse, oneHot]) {
        const got = await epoch(metrics[name]({ classes: CLASSES, average }), batches);
        assert.ok(Math.abs(got - value) < 1e-12, `${average}: ${got}, expected ${value}`);
      }
    }
    assert.equal(await epoch(metrics[name]({ classes: CLASSES, average: null }), sparse), [each]);
    assert.ok(Math.abs((await epoch(metrics[name]({ classes: CLASSES }), sparse)) - want.macro) < 1e-12, "macro by default");
  });
}

test("several outputs, each with its own threshold decision", async () => {
  const y = tensor([[1, 0, 1], [0, 0, 1]]);
  const p = tensor([[0.9, 0.8, 0.2], [0.1, 0.2, 0.7]]);
  assert.equal(await epoch(metrics.precision({ classes: 3, threshold: 0.5, average: null }), [[y, p]]), [[1, 0, 1]]);
  assert.equal(await epoch(metrics.recall({ classes: 3, threshold: 0.5, average: null }), [[y, p]]), [[1, 0, 0.5]]);
});

/** Rows of which any number of three labels are true. Behind a threshold of 0.5: 5 of 8 predictions are true, of 7 that should be made. */
const labelRows = [[1, 0, 1], [0, 1, 1], [0, 0, 1], [1, 1, 0]];
const outputRows = [[0.9, 0.7, 0.6], [0.4, 0.8, 0.3], [0.6, 0.65, 0.2], [0.7, 0.9, 0.4]];
const multiLabel = [
  [tensor(labelRows.slice(0, 3)), tensor(outputRows.slice(0, 3))],
  [tensor(labelRows.slice(3)), tensor(outputRows.slice(3))],
];
const bce = { loss: lossByName("binaryCrossentropy"), outputShape: [3] };
const near = (got, want, what = "") =>
  [got].flat(2).forEach((v, i) => assert.ok(Math.abs(v - [want].flat(2)[i]) < 1e-12, `${what}: ${got}, expected ${want}`));

test("outputs of their own count by threshold 0.5 over all elements, as Keras' Precision and Recall, by name and as objects", async () => {
  const want = { precision: 5 / 8, recall: 5 / 7, f1: 10 / 15, accuracy: 7 / 12, acc: 7 / 12, binaryAccuracy: 7 / 12 };
  for (const [name, value] of Object.entries(want)) near(await epoch(metricByName(name, bce), multiLabel), value, name);
  for (const name of ["precision", "recall", "f1"]) {
    near(await epoch(metrics[name](), multiLabel), want[name], `${name}() alone`);
    near(await epoch(metricByName(metrics[name](), bce), multiLabel), want[name], `${name}()`);
    near(await epoch(metricByName(metrics[name]({ classes: 3 }), bce), multiLabel), want[name], `${name}({ classes })`);
    for (const loss of [lossByName("mse"), lossByName((_y, p) => p)])
      near(await epoch(metricByName(name, { loss, outputShape: [3] }), multiLabel), want[name], loss.name);
  }
});

test("averages over outputs of their own are those of scikit-learn's multilabel form", async () => {
  const each = { precision: [2 / 3, 1 / 2, 1], recall: [1, 1, 1 / 3], f1: [4 / 5, 4 / 6, 2 / 4] };
  const support = [2, 2, 3];
  for (const [name, values] of Object.entries(each)) {
    const of = (options) => epoch(metricByName(metrics[name](options), bce), multiLabel);
    assert.equal((await of({ average: null })).length, 1);
    near(await of({ average: null }), values, name);
    near(await of({ average: "macro" }), values.reduce((a, b) => a + b) / 3, name);
    near(await of({ average: "weighted" }), values.reduce((a, v, i) => a + v * support[i], 0) / 7, name);
    for (const [classId, value] of values.entries()) near(await of({ classId }), value, name);
  }
});

test("threshold, topK and classId as in Keras' Precision and Recall", async () => {
  const of = async (options) =>
    Promise.all(["precision", "recall"].map((name) => epoch(metricByName(metrics[name](options), bce), multiLabel)));
  // Above 0.6, which f32 rounds up to more than 0.6: 0.9 0.7, 0.8, 0.65, 0.7 0.9, and both 0.6, which are not above themselves.
  near(await of({ threshold: Math.fround(0.6) }), [4 / 6, 4 / 7]);
  near(await of({ topK: 1 }), [3 / 4, 3 / 7]);
  near(await of({ topK: 2 }), [4 / 8, 4 / 7]);
  near(await of({ topK: 2, threshold: 0.5 }), [4 / 7, 4 / 7]);
  near(await of({ topK: 3 }), [7 / 12, 1]);
  near(await of({ topK: 1, classId: 0 }), [1, 1 / 2]);
  near(
    await epoch(metrics.precision({ topK: 1 }), [[tensor([[0, 1, 0], [1, 0, 0]]), tensor([[0.5, 0.5, 0.5], [0.2, 0.2, 0.1]])]]),
    1 / 2,
    "of equals the first",
  );
  // Class numbers: the true class is among the two largest.
  const want =
    count(([t, , row]) =>
      [...row.keys()]
        .sort((a, b) => row[b] - row[a] || a - b)
        .slice(0, 2)
        .includes(t),
    ) / pairs.length;
  near(
    await epoch(
      metricByName(metrics.recall({ topK: 2, average: "micro" }), {
        loss: lossByName("sparseCategoricalCrossentropy"),
        outputShape: [CLASSES],
      }),
      sparse,
    ),
    want,
  );
  for (const [options, text] of [
    [{ topK: 0 }, /topK must be an integer >= 1/],
    [{ classId: -1 }, /classId must be an integer >= 0/],
    [{ classId: 3 }, /classId must be a number in \[0, 2\], got 3/],
  ]) {
    assert.throws(
      () => metricByName(metrics.precision(options), bce),
      (error) => error.name === "ArgumentError" && text.test(error.message),
      JSON.stringify(options),
    );
  }
  await epoch(metrics.precision({ classId: 1 }), multiLabel).then(assert.unreachable, (error) =>
    assert.match(error.message, /made for 1 output, the model has 3; set classes: 3/),
  );
});

test("classes that exclude each other are averaged over, by name and as objects, for class numbers and one-hot rows", async () => {
  for (const [loss, batches] of [["sparseCategoricalCrossentropy", sparse], ["categoricalCrossentropy", oneHot]]) {
    const context = { loss: lossByName(loss), outputShape: [CLASSES] };
    for (const name of ["precision", "recall", "f1"]) {
      const each = perClass.map((counts) => scoresOf(...counts)[name]);
      const macro = each.reduce((a, b) => a + b) / CLASSES;
      near(await epoch(metricByName(name, context), batches), macro, name);
      near(await epoch(metricByName(metrics[name](), context), batches), macro, name);
      near(await epoch(metricByName(metrics[name]({ average: null }), context), batches), [each], name);
      near(await epoch(metricByName(metrics[name]({ classId: 1 }), context), batches), each[1], name);
      near(
        await epoch(metricByName(metrics[name]({ average: "micro" }), context), batches),
        count(([t, p]) => t === p) / pairs.length,
        name,
      );
    }
    assert.equal(
      await epoch(metricByName("confusionMatrix", context), batches),
      await epoch(metricByName(metrics.confusionMatrix(), context), batches),
    );
  }
  // Class numbers without a model would be compared with nothing.
  await epoch(metrics.precision(), sparse).then(assert.unreachable, (error) =>
    assert.match(error.message, /precision: expected targets of the predictions' shape/),
  );
});

test("a confusion matrix has no meaning where several labels may be true", () => {
  for (const metric of ["confusionMatrix", metrics.confusionMatrix(), metrics.confusionMatrix({ classes: 3 })]) {
    assert.throws(
      () => metricByName(metric, bce),
      (error) => error.name === "ArgumentError" && /confusionMatrix.*binaryCrossentropy.*3 outputs/.test(error.message),
    );
  }
  assert.is(metricByName("confusionMatrix", { ...bce, outputShape: [1] }).state[0].shape.join(), "2,2");
});

test("auc of several labels: of all elements, or the mean of the labels' areas", async () => {
  const right = (scores, labels) => {
    const [yes, no] = [1, 0].map((l) => scores.filter((_, i) => labels[i] === l));
    return yes.flatMap((a) => no.map((b) => (a > b ? 1 : a === b ? 0.5 : 0))).reduce((a, b) => a + b) / (yes.length * no.length);
  };
  near(await epoch(metricByName(metrics.auc(), bce), multiLabel), right(outputRows.flat(), labelRows.flat()));
  // Label 2: of the pairs (0.6, 0.4), (0.3, 0.4), (0.2, 0.4) one is in order; the other labels are perfect.
  for (const metric of [metricByName(metrics.auc({ multiLabel: true }), bce), metrics.auc({ multiLabel: true, numLabels: 3 })])
    near(await epoch(metric, multiLabel), (1 + 1 + 1 / 3) / 3);
  await epoch(metrics.auc({ multiLabel: true, numLabels: 2 }), multiLabel).then(assert.unreachable, (error) =>
    assert.match(error.message, /auc: made for 2 labels, the model has 3 outputs/),
  );
});

test("perfect predictions of a model with several labels score 1, with sample weights too", async () => {
  const m = sequential([dense(3, { activation: "sigmoid" })], { inputShape: [3] });
  m.setWeights([[[20, 0, 0], [0, 20, 0], [0, 0, 20]], [-10, -10, -10]]);
  const names = ["accuracy", "precision", "recall", "f1", "binaryAccuracy"];
  await m.compile({ loss: "binaryCrossentropy", metrics: [...names, metrics.auc({ multiLabel: true })] });
  const y = [[1, 0, 1], [0, 1, 1], [0, 0, 0], [1, 1, 1]];
  for (const options of [{}, { sampleWeight: [1, 0, 2, 0.5] }]) {
    const logs = await m.evaluate(y, y, options);
    for (const name of [...names, "auc"]) assert.is(logs[name], 1, name);
  }
  const { precision, recall } = await m.evaluate(y, [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]);
  assert.equal([precision, recall], [0, 0], "0 / 0 is 0");
});

test("one output", async () => {
  const batches = [
    [tensor([[1], [0], [1], [1]]), tensor([[0.9], [0.6], [0.5], [0.4]])],
    [tensor([[0], [1]]), tensor([[0.1], [0.7]])],
  ];
  // By threshold 0.5, which 0.5 itself does not pass: TP 2, FP 1, FN 2, TN 1.
  assert.is(await epoch(metrics.binaryAccuracy(), batches), 3 / 6);
  assert.is(await epoch(metrics.binaryAccuracy({ threshold: 0.3 }), batches), 5 / 6);
  assert.is(await epoch(metrics.precision(), batches), 2 / 3);
  assert.is(await epoch(metrics.recall(), batches), 2 / 4);
  assert.is(await epoch(metrics.f1(), batches), 4 / 7);
  assert.is(await epoch(metrics.recall({ threshold: 0.3 }), batches), 1);
  assert.equal(await epoch(metrics.confusionMatrix(), batches), [[1, 1], [2, 2]]);
  assert.is(
    await epoch(
      metrics.binaryAccuracy(),
      batches.map(([y, p]) => [tensor(y.host, [y.size]), p]),
    ),
    3 / 6,
  );
});

test("confusion matrix: rows true, columns predicted", async () => {
  const want = Array.from({ length: CLASSES }, (_, t) => Array.from({ length: CLASSES }, (_, p) => count(([a, b]) => a === t && b === p)));
  assert.equal(await epoch(metrics.confusionMatrix({ classes: CLASSES }), sparse), want);
  assert.equal(await epoch(metrics.confusionMatrix({ classes: CLASSES }), oneHot), want);
});

/**
 * Area under a curve from the definition: every prediction is compared with every threshold, in float64. PR between two points is
 * integrated numerically.
 */
function areaOf(labels, scores, { numThresholds = 200, curve = "ROC", summationMethod = "interpolation" } = {}) {
  const thresholds = Array.from({ length: numThresholds }, (_, i) =>
    i === 0 ? -1e-7 : i === numThresholds - 1 ? 1 + 1e-7 : i / (numThresholds - 1),
  );
  const above = (threshold, label) => scores.filter((s, i) => labels[i] === label && s > threshold).length;
  const [positives, negatives] = [1, 0].map((label) => labels.filter((l) => l === label).length);
  const points = thresholds.map((t) => [above(t, 1), above(t, 0)]).reverse();
  let area = 0;
  for (let k = 1; k < points.length; k++) {
    const [[tp0, fp0], [tp1, fp1]] = [points[k - 1], points[k]];
    const at = (t) => [tp0 + t * (tp1 - tp0), fp0 + t * (fp1 - fp0)];
    const xy = ([tp, fp]) => (curve === "ROC" ? [fp / negatives, tp / positives] : [tp / positives, tp + fp > 0 ? tp / (tp + fp) : 0]);
    const [[x0, y0], [x1, y1]] = [xy(at(0)), xy(at(1))];
    if (summationMethod !== "interpolation") area += (x1 - x0) * (summationMethod === "minoring" ? Math.min(y0, y1) : Math.max(y0, y1));
    else {
      const slices = 400;
      for (let i = 0; i < slices; i++) area += ((x1 - x0) / slices) * xy(at((i + 0.5) / slices))[1];
    }
  }
  return area;
}

const binary = [37, 37, 20, 1].map((n, k) => {
  const labels = Array.from(random.uniform(n), (v) => Number(v < 0.2));
  const scores = Array.from(random.uniform(n), (v, i) => Math.fround([v, v * 0.6 + labels[i] * 0.4, Number(v > 0.5), 0.5][k]));
  return { labels, scores };
});
const [binaryLabels, binaryScores] = [binary.flatMap((b) => b.labels), binary.flatMap((b) => b.scores)];
const binaryBatches = binary.map(({ labels, scores }) => [
  tensor(labels, [labels.length, 1]),
  tensor(Float32Array.from(scores), [scores.length, 1]),
]);

for (const curve of ["ROC", "PR"]) {
  for (const summationMethod of ["interpolation", "minoring", "majoring"]) {
    for (const numThresholds of [3, 7, 50, 200]) {
      test(`auc of ${curve} by ${summationMethod} with ${numThresholds} thresholds`, async () => {
        const options = { curve, summationMethod, numThresholds };
        const want = areaOf(binaryLabels, binaryScores, options);
        const got = await epoch(metrics.auc(options), binaryBatches);
        assert.ok(want > 0.05 && Math.abs(got - want) < (curve === "PR" ? 1e-5 : 1e-12), `${got}, expected ${want}`);
      });
    }
  }
}

test("auc of ROC is the share of pairs in the right order, where thresholds tell all scores apart", async () => {
  const scores = Array.from(random.uniform(60), (v) => Math.fround(Math.round(v * 40) / 40));
  const labels = scores.map((s, i) => Number(s + (i % 5) / 5 > 1));
  let right = 0;
  for (const [i, a] of scores.entries())
    for (const [j, b] of scores.entries()) if (labels[i] === 1 && labels[j] === 0) right += a > b ? 1 : a === b ? 0.5 : 0;
  const pairsOfBoth = labels.filter((l) => l === 1).length * labels.filter((l) => l === 0).length;
  const got = await epoch(metrics.auc(), [[tensor(labels), tensor(Float32Array.from(scores))]]);
  assert.ok(Math.abs(got - right / pairsOfBoth) < 1e-12, `${got}, expected ${right / pairsOfBoth}`);
  // Logits of the same probabilities, moved off the thresholds.
  const logits = scores.map((s) => Math.log((s + 0.002) / (1.012 - s)));
  const want = areaOf(
    labels,
    logits.map((z) => 1 / (1 + Math.exp(-Math.fround(z)))),
  );
  assert.ok(
    Math.abs(
      (await epoch(metrics.auc({ fromLogits: true }), [[tensor(labels, [60, 1]), tensor(Float32Array.from(logits), [60, 1])]])) - want,
    ) < 1e-12,
  );
});

test("auc as in Keras' documentation", async () => {
  // keras.io: AUC(num_thresholds=3) of [0, 0, 1, 1] and [0, 0.5, 0.3, 0.9] is 0.75.
  assert.is(await epoch(metrics.auc({ numThresholds: 3 }), [[tensor([0, 0, 1, 1]), tensor([0, 0.5, 0.3, 0.9])]]), 0.75);
});

test("auc at the ends: all one class, perfect, reversed, predictions outside of [0, 1] and not numbers", async () => {
  const of = (labels, scores, options) => epoch(metrics.auc(options), [[tensor(labels), tensor(Float32Array.from(scores))]]);
  assert.is(await of([1, 1], [0.2, 0.9]), 0);
  assert.is(await of([0, 0], [0.2, 0.9], { curve: "PR" }), 0);
  assert.is(await of([0, 0, 1, 1], [0, 0.1, 0.9, 1]), 1);
  assert.is(await of([0, 0, 1, 1], [0, 0.1, 0.9, 1], { curve: "PR" }), 1);
  assert.is(await of([1, 1, 0, 0], [0, 0.1, 0.9, 1]), 0);
  assert.is(await of([0, 0, 1, 1], [-5, -0.1, 1.1, 300]), 1);
  assert.ok(Number.isFinite(await of([0, 1, 0, 1], [NaN, NaN, 0.1, 0.9])));
  assert.is(metrics.auc().result([new Int32Array(398)]), 0);
});

test("both curves of one model have names", () => {
  assert.equal(
    [metrics.auc(), metrics.auc({ curve: "PR", name: "prAuc" })].map((m) => [m.name, m.config.curve]),
    [["auc", "ROC"], ["prAuc", "PR"]],
  );
});

test("a copy of a metric keeps what it has of its own when the model tells it the number of outputs", () => {
  const context = { loss: lossByName("sparseCategoricalCrossentropy"), outputShape: [3] };
  for (const make of [metrics.precision, metrics.f1, metrics.confusionMatrix, () => metrics.auc({ multiLabel: true })]) {
    const first = make();
    assert.is(metricByName(first, context).name, first.name);
    const copy = metricByName({ ...first, name: "renamed", result: () => 7 }, context);
    assert.is(copy.name, "renamed");
    assert.is(copy.result([]), 7);
    assert.equal(copy.state, metricByName(first, context).state);
    assert.is(copy.state[0].shape[0] % 3, 0, first.name);
    const update = () => [];
    assert.is(metricByName({ ...first, update }, context).update, update);
  }
});

test("auc is a function, not a name", async () => {
  const context = { loss: lossByName("bce"), outputShape: [1] };
  for (const name of ["auc", "AUC"])
    assert.throws(
      () => metricByName(name, context),
      (error) => error.name === "ArgumentError" && /give auc\(\)/.test(error.message),
    );
  await epoch(metricByName(metrics.auc, context), binaryBatches).then(assert.unreachable, (error) =>
    assert.match(error.message, "write auc()"),
  );
  assert.throws(() => metrics.auc({ num_thresholds: 3 }), /did you mean "numThresholds"/);
  assert.throws(() => metrics.auc({ numThresholds: 1 }), /numThresholds must be an integer >= 2/);
  assert.throws(() => metrics.auc({ curve: "roc" }), /curve must be one of "ROC", "PR"/);
  await epoch(metrics.auc(), [[tensor([0, 1]), tensor([[0.1, 0.9], [0.4, 0.6]])]]).then(assert.unreachable, (error) =>
    assert.match(error.message, /auc: expected targets of the predictions' shape/),
  );
});

test("nothing counted gives 0", () => {
  const context = { loss: lossByName("mse"), outputShape: [3] };
  for (const name of metrics.METRIC_NAMES) {
    const metric = metricByName(name, context);
    const result = metric.result(
      metric.state.map((s) =>
        s.dtype === "f32" ? new Float32Array(s.shape.reduce((a, b) => a * b, 1)) : new Int32Array(s.shape.reduce((a, b) => a * b, 1)),
      ),
    );
    assert.equal(result, name === "confusionMatrix" ? [[0, 0, 0], [0, 0, 0], [0, 0, 0]] : 0, name);
    if (metric.state[0].shape.length === 1 && name !== "confusionMatrix")
      assert.equal(metrics[name]({ classes: 3, average: null }).result(metric.state.map(() => new Int32Array(3))), [[0, 0, 0]]);
  }
});

test("mean errors do not lose digits over an epoch", async () => {
  // Each batch adds 1/3 to a sum that a plain f32 addition would stop at 2^23.
  const large = [tensor([[0]]), tensor([[2 ** 23]])];
  const third = Math.fround(1 / 3);
  const batches = [large, ...Array.from({ length: 300 }, () => [tensor([[0]]), tensor([[third]])])];
  const mean = (2 ** 23 + 300 * third) / 301;
  const got = await epoch(metrics.meanAbsoluteError(), batches);
  assert.ok(Math.abs(got / mean - 1) < 1e-9, `${got}, expected ${mean}`);
});

test("regression metrics, also by several columns", async () => {
  const batches = [[tensor([[1, 2], [3, 4]]), tensor([[2, 2], [3, 8]])], [tensor([[0, 0]]), tensor([[1, -1]])]];
  const squares = (1 + 16 + 1 + 1) / 6;
  assert.ok(Math.abs((await epoch(metrics.meanSquaredError(), batches)) - squares) < 1e-6);
  assert.ok(Math.abs((await epoch(metrics.rootMeanSquaredError(), batches)) - Math.sqrt(squares)) < 1e-6);
  assert.ok(Math.abs((await epoch(metrics.meanAbsoluteError(), batches)) - (1 + 4 + 1 + 1) / 6) < 1e-6);
});

test("accuracy by loss and output, names in logs", () => {
  const resolve = (name, loss, outputShape) => metricByName(name, { loss: lossByName(loss), outputShape });
  assert.equal(resolve("accuracy", "bce", [null, 1]).config, { threshold: 0.5 });
  assert.is(resolve("accuracy", "bce", [1]).name, "accuracy");
  assert.is(resolve("mae", "mse", [1]).name, "mae");
  assert.is(resolve("rmse", "mse", [1]).name, "rmse");
  assert.is(resolve("huber", "mse", [1]).name, "huber");
  assert.is(resolve("accuracy", "bce", [null, 3]).state.length, 2);
  assert.equal(resolve("f1", "bce", [10]).state[0].shape, [1]);
  assert.equal(resolve("f1", "sparseCategoricalCrossentropy", [10]).state[0].shape, [10]);
  assert.throws(
    () => resolve("f1", "sparseCategoricalCrossentropy", [5, null]),
    (error) => error.name === "ShapeError" && /f1: expected a fixed number of outputs, got \[5, null\]/.test(error.message),
  );
  assert.throws(
    () => resolve("sharpness", "mse", [1]),
    (error) => error.name === "ArgumentError" && metrics.METRIC_NAMES.every((n) => error.message.includes(n)),
  );
  assert.throws(() => metrics.f1({ classes: 3, average: "mean" }), /average must be/);
  assert.throws(() => metrics.f1({ classes: 0 }), /classes must be/);
});

test("accuracy counts by class numbers for a sparse loss, by one-hot targets for others", async () => {
  const want = count(([t, p]) => t === p) / pairs.length;
  const context = (loss) => ({ loss: lossByName(loss), outputShape: [CLASSES] });
  assert.is(await epoch(metricByName("accuracy", context("sparseCategoricalCrossentropy")), sparse), want);
  assert.is(await epoch(metricByName("acc", context("categoricalCrossentropy")), oneHot), want);
  await epoch(metricByName("accuracy", context("categoricalCrossentropy")), sparse).then(assert.unreachable, (error) =>
    assert.match(error.message, "categoricalAccuracy"),
  );
});

test("a function's mean, and a metric of one's own", async () => {
  const context = { loss: lossByName("mse"), outputShape: [1] };
  const distance = (y, p) => abs(sub(y, p));
  const metric = metricByName(distance, context);
  assert.is(metric.name, "distance");
  assert.is(await epoch(metric, [[tensor([[1], [2]]), tensor([[2], [4]])], [tensor([[0]]), tensor([[3]])]]), 2);
  assert.is(metricByName(metric, context), metric);
  assert.throws(() => metricByName(null, context), /expected a name/);
});

test("wrong shapes are refused", async () => {
  const p = tensor([[0.1, 0.9], [0.5, 0.5]]);
  for (const [metric, y] of [
    [metrics.precision({ classes: 3 }), tensor([[1, 0], [0, 1]])],
    [metrics.binaryAccuracy(), tensor([[1], [0]])],
    [metrics.sparseCategoricalAccuracy(), tensor([1, 2, 3], undefined, "i32")],
  ]) {
    await epoch(metric, [[y, p]]).then(assert.unreachable, (error) => assert.is(error.name, "ShapeError"));
  }
});

test("cosineSimilarity as a metric is 1 where both point the same way, as in Keras; as a loss it is -1", async () => {
  const pairs = [[tensor([[1, 0], [0, 2]]), tensor([[3, 0], [0, 1]])]];
  const context = { loss: lossByName("mse"), outputShape: [2] };
  assert.ok(Math.abs((await epoch(metricByName("cosineSimilarity", context), pairs)) - 1) < 1e-6);
  assert.ok(Math.abs((await epoch(metricByName(lossByName("cosineSimilarity").call, context), pairs)) + 1) < 1e-6);
});

test("metrics that would count something else than they say are refused", async () => {
  const context = { loss: lossByName("mse"), outputShape: [CLASSES] };
  assert.throws(() => metricByName(metrics.precision, context), /precision makes a metric: write precision\(\) or "precision"/);
  await epoch(
    metricByName(() => 5, context),
    sparse,
  ).then(assert.unreachable, (error) => assert.match(error.message, /expected a function that returns an f32 tensor.*got 5/));
  assert.throws(() => metricByName(metrics.f1({ classes: 1 }), context), /f1: made for 1 output, the model has 4; set classes: 4/);
  for (const metric of [metrics.f1({ average: "weighted" }), metrics.precision({ average: null }), metrics.confusionMatrix()]) {
    await epoch(metric, oneHot).then(assert.unreachable, (error) =>
      assert.match(error.message, /made for 1 output, the model has 4; set classes: 4/),
    );
  }
});

test("perplexity is e to the mean cross-entropy of all tokens, whatever the batches", async () => {
  const want = Math.exp(
    pairs.reduce((sum, [t, , row]) => sum + Math.log(row.reduce((a, v) => a + Math.exp(v), 0)) - row[t], 0) / pairs.length,
  );
  const close = (got, value) => assert.ok(Math.abs(got / value - 1) < 2e-6, `${got}, expected ${value}`);
  close(await epoch(perplexity({ fromLogits: true }), sparse), want);
  const whole = [
    tensor(Int32Array.from(data.flatMap((d) => d.labels))),
    tensor(Float32Array.from(data.flatMap((d) => d.scores)), [18, CLASSES]),
  ];
  close(await epoch(perplexity({ fromLogits: true }), [whole]), want);
  // Sequences of probabilities, one of whose tokens is padding.
  const y = tensor([[1, 0, 3], [2, 2, 3]], undefined, "i32");
  const shares = Array.from({ length: 6 }, (_, i) => [0.1, 0.2, 0.3, 0.4].map((v, k) => (i === 4 && k === 2 ? 0.3 : v)));
  const p = tensor(shares.flat(), [2, 3, CLASSES], "f32");
  const of = (list) => Math.exp(-list.reduce((a, v) => a + Math.log(v), 0) / list.length);
  close(await epoch(perplexity(), [[y, p]]), of([0.2, 0.1, 0.4, 0.3, 0.3, 0.4]));
  close(await epoch(perplexity({ maskTokenId: 3 }), [[y, p]]), of([0.2, 0.1, 0.3, 0.3]));
  assert.is(
    await epoch(perplexity({ maskTokenId: 0 }), [[tensor([[0, 0, 0]], undefined, "i32"), tensor(new Float32Array(12), [1, 3, 4])]]),
    0,
  );
  assert.is(await epoch(perplexity(), []), 0);
});

test("perplexity takes from the model's loss whether there are logits, unless told", () => {
  const context = (fromLogits) => ({ loss: lossFromConfig("sparseCategoricalCrossentropy", { fromLogits }), outputShape: [3, CLASSES] });
  for (const logits of [true, false]) {
    assert.is(metricByName(perplexity(), context(logits)).config.fromLogits, logits);
    assert.is(metricByName({ ...perplexity(), name: "ppl" }, context(logits)).name, "ppl");
  }
  assert.is(metricByName(perplexity({ fromLogits: false }), context(true)).config.fromLogits, false);
  for (const name of ["perplexity", "Perplexity", "auc"])
    assert.throws(() => metricByName(name, context(true)), /instead of its name give (perplexity|auc)\(\)/);
  assert.throws(() => perplexity({ maskTokenId: 0.5 }), /maskTokenId must be an integer/);
  assert.throws(() => perplexity({ fromLogit: true }), /unknown option "fromLogit"/);
});

test.run();

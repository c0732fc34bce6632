/** @file plotModel, modelToMermaid, plotHistory, classificationReport: graphs of models, drawings, and numbers of classes. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as L from "../../build/esm/index.js";
import { classificationReport, modelToMermaid, plotConfusionMatrix, plotHistory, plotModel } from "../../build/esm/inspect/index.js";
import { Drawing } from "../../build/esm/inspect/drawing.js";
import { ticksOf } from "../../build/esm/inspect/plot-history.js";
import { topology } from "../../build/esm/inspect/topology.js";
import { errorOf } from "../model/helpers.js";

await L.open("wasm", { reproducible: true });

/** Edges as `name > name`. */
async function edgesOf(model) {
  const { nodes, edges } = await topology("test", model);
  const name = (id) => nodes.find((n) => n.id === id).name;
  return edges.map(([from, to]) => `${name(from)} > ${name(to)}`);
}

/** Well-formed, as an XML reader would have it: tags in pairs, and no character that means something. */
function checkSvg(text) {
  assert.match(text, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" width="\d+" height="\d+" viewBox="0 0 \d+ \d+"/);
  const open = [];
  for (const [, close, name, attributes, alone] of text.matchAll(/<(\/?)(\w+)((?:\s+[\w:-]+="[^"<>]*")*)\s*(\/?)>/g)) {
    if (close) assert.is(open.pop(), name);
    else if (!alone) open.push(name);
    assert.not.match(attributes, /NaN|undefined|Infinity/);
  }
  assert.equal(open, []);
  assert.not.match(text.replace(/<(\/?)(\w+)((?:\s+[\w:-]+="[^"<>]*")*)\s*(\/?)>/g, ""), /[<>]|&(?!amp;|lt;|gt;|quot;)/);
}

test("graph: layers in a row, those that change nothing among them", async () => {
  const model = L.sequential([L.dense(4), L.dropout(0.5), L.activation("linear"), L.dense(2)], { inputShape: [3] });
  assert.equal(await edgesOf(model), [
    "input > dense",
    "dense > dropout",
    "dropout > activation",
    "activation > dense_1",
    "dense_1 > output",
  ]);
  const { nodes } = await topology("test", model);
  assert.equal(
    nodes.map((n) => [n.id, n.type, n.kind, n.shape, n.parameters]),
    [
      ["i0", "input", "input", [3], 0],
      ["l0", "layer", "dense", [4], 16],
      ["l1", "layer", "dropout", [4], 0],
      ["l2", "layer", "activation", [4], 0],
      ["l3", "layer", "dense", [2], 10],
      ["o0", "output", "output", [2], 0],
    ],
  );
});

test("graph: branches, shared layers, functions between layers, several inputs and outputs, models within", async () => {
  const [first, second, shared, drop] = [L.dense(8), L.dense(8), L.dense(4, { name: "shared" }), L.dropout(0.5)];
  const inner = L.sequential([L.dense(3), L.relu()], { name: "inner" });
  const model = L.model(
    (a, b) => {
      const h = first.call(a);
      const k = L.add(drop.call(h), second.call(b));
      return { label: inner.call(shared.call(L.add(h, k))), size: L.mul(shared.call(k), 2) };
    },
    { inputShape: [[4], [5]] },
  );
  assert.equal((await edgesOf(model)).sort(), [
    "add > add",
    "add > shared",
    "add > shared",
    "dense > add",
    "dense > dropout",
    "dense_1 > add",
    "dropout > add",
    "inner > label",
    "input 0 > dense",
    "input 1 > dense_1",
    "mul > size",
    "shared > inner",
    "shared > mul",
  ]);
  // The model is as it was.
  assert.equal((await model.predict([L.zeros([2, 4]), L.zeros([2, 5])])).label.shape, [2, 3]);
  checkSvg((await plotModel(model)).toSvg());
});

test("graph: two layers that change nothing, of one tensor, stay two", async () => {
  const [a, b] = [L.dropout(0.1, { name: "a" }), L.dropout(0.1, { name: "b" })];
  const dense = L.dense(4);
  const both = L.concatenate({ name: "both" });
  const model = L.model(
    (x) => {
      const h = dense.call(x);
      return both.call(a.call(h), L.add(b.call(h), h));
    },
    { inputShape: [4] },
  );
  assert.equal((await edgesOf(model)).sort(), [
    "a > both",
    "add > both",
    "b > add",
    "both > output",
    "dense > a",
    "dense > add",
    "dense > b",
    "input > dense",
  ]);
});

test("graph: a layer that reads itself, and sizes that data decide", async () => {
  const step = L.dense(4);
  const loop = L.model((x) => step.call(L.relu(step.call(x))), { inputShape: [4] });
  assert.equal((await edgesOf(loop)).sort(), ["dense > output", "dense > relu", "input > dense", "relu > dense"]);
  const drawing = await plotModel(loop);
  checkSvg(drawing.toSvg());
  // The way back passes all boxes, of which it would else seem to come.
  const boxes = drawing.marks.filter((m) => m.type === "rect").slice(1);
  const back = drawing.marks.find((m) => m.type === "line" && m.points.length === 6);
  for (const [i, [x, y]] of back.points.slice(1).entries()) {
    const [x0, y0] = back.points[i];
    for (const b of boxes) {
      const apart =
        Math.max(x, x0) <= b.x || Math.min(x, x0) >= b.x + b.width || Math.max(y, y0) <= b.y || Math.min(y, y0) >= b.y + b.height;
      assert.ok(apart, `${[x0, y0, x, y]} goes through ${[b.x, b.y, b.width, b.height]}`);
    }
  }
  const model = L.sequential([L.embedding(10, 4), L.lstm(5), L.dense(1)], { inputShape: [null] });
  const { nodes } = await topology("test", model);
  assert.equal(
    nodes.map((n) => n.shape),
    [[null], [null, 4], [5], [1], [1]],
  );
  assert.match(await modelToMermaid(model), /l0\["embedding<br>any x 4, 40 parameters"\]/);
});

test("graph: long chains of functions and many layers", async () => {
  const dense = L.dense(2);
  const model = L.model(
    (x) => {
      let h = dense.call(x);
      for (let i = 0; i < 3000; i++) h = L.add(h, i + 1);
      return h;
    },
    { inputShape: [2] },
  );
  const { nodes } = await topology("test", model);
  assert.is(nodes.length, 3003);
  checkSvg(
    (
      await plotModel(
        L.sequential(
          Array.from({ length: 60 }, () => L.dense(2)),
          { inputShape: [2] },
        ),
      )
    ).toSvg(),
  );
});

test("modelToMermaid: a flowchart, with what means something to it as entities", async () => {
  const model = L.sequential([L.dense(2, { name: 'say "hi" <b>' }), L.relu()], { inputShape: [3], name: "m" });
  assert.is(
    await modelToMermaid(model),
    `flowchart TB
  i0(["input<br>3"])
  l0["say #34;hi#34; #60;b#62; (dense)<br>2, 8 parameters"]
  l1["relu<br>2"]
  o0(["output<br>2"])
  i0 --> l0
  l0 --> l1
  l1 --> o0
`,
  );
  assert.match(
    await modelToMermaid(model, { showShapes: false, showParameters: false, rankdir: "LR" }),
    /^flowchart LR\n {2}i0\(\["input"\]\)/,
  );
  checkSvg((await plotModel(model)).toSvg());
  assert.match((await plotModel(model)).toSvg(), /say &quot;hi&quot; &lt;b&gt; \(dense\)/);
});

test("graph: boxes of one rank do not overlap, and each stands under what it reads", async () => {
  const parts = Array.from({ length: 4 }, (_, i) => L.dense(3, { name: `part number ${i}` }));
  const join = L.concatenate({ name: "join" });
  const model = L.model((x) => join.call(...parts.map((p) => p.call(x)), x), { inputShape: [2] });
  const drawing = await plotModel(model);
  const boxes = drawing.marks.slice(1).filter((m) => m.type === "rect");
  assert.is(boxes.length, 7);
  for (const [i, a] of boxes.entries()) {
    assert.ok(a.x >= 0 && a.x + a.width <= drawing.width && a.y + a.height <= drawing.height);
    for (const b of boxes.slice(0, i))
      assert.ok(a.x >= b.x + b.width || b.x >= a.x + a.width || a.y >= b.y + b.height || b.y >= a.y + a.height, "boxes overlap");
  }
  for (const { points } of drawing.marks.filter((m) => m.type === "line"))
    for (let i = 1; i < points.length; i++) assert.ok(points[i][1] >= points[i - 1][1], "an edge leads up");
});

test("graph: what is no model or not built yet", async () => {
  assert.instance(await errorOf(() => plotModel({})), L.ArgumentError);
  assert.instance(await errorOf(() => plotModel(L.sequential([L.dense(1)]))), L.LockstepError);
  assert.instance(await errorOf(() => modelToMermaid(L.sequential([L.dense(1)], { inputShape: [1] }), { shapes: true })), L.ArgumentError);
});

const history = {
  epoch: [0, 1, 2, 3],
  history: { loss: [4, 2, 1, 0.5], accuracy: [0.1, 0.2, 0.3, 0.4], valLoss: [5, 3, 2, 1.5], confusionMatrix: [[[1]], [[1]], [[1]], [[1]]] },
};
const texts = (drawing) => drawing.marks.filter((m) => m.type === "text").map((m) => m.text);
const lines = (drawing, color) =>
  drawing.marks.filter((m) => m.type === "line" && m.width === 2 && m.stroke === color).map((m) => m.points);

test("plotHistory: a panel for each log, with validation in it, to scale", () => {
  const drawing = plotHistory(history);
  checkSvg(drawing.toSvg());
  assert.equal([drawing.width, drawing.height], [640, 480]);
  assert.equal(
    texts(drawing).filter((t) => /^[a-z]/i.test(t)),
    ["loss", "epoch", "validation", "training", "accuracy", "epoch", "training"],
  );
  const [[loss], [accuracy]] = [lines(drawing, "#1f6feb").slice(0, 1), lines(drawing, "#1f6feb").slice(1)];
  const [valLoss] = lines(drawing, "#d9480f");
  // From left to right over the panel, epochs at even distances.
  assert.equal(
    loss.map(([x]) => x),
    [64, 64 + 560 / 3, 64 + 1120 / 3, 624],
  );
  // The distance between losses is in proportion.
  const gap = (points, i, j) => points[j][1] - points[i][1];
  assert.ok(Math.abs(gap(loss, 0, 1) / gap(loss, 1, 2) - 2) < 1e-9);
  assert.ok(Math.abs(gap(valLoss, 0, 1) - gap(loss, 0, 1)) < 1e-9, "one scale for both");
  assert.ok(accuracy.every(([, y]) => y >= 240 && y <= 480));
});

test("plotHistory: powers of ten at even distances", () => {
  const values = { epoch: [0, 1, 2], history: { loss: [100, 1, 0.01] } };
  const drawing = plotHistory(values, { logScale: true, width: 300, height: 100 });
  const [[a, b, c]] = lines(drawing, "#1f6feb");
  assert.ok(Math.abs(b[1] - a[1] - (c[1] - b[1])) < 1e-9);
  for (const tick of ["0.01", "1", "100"]) assert.ok(texts(drawing).includes(tick), tick);
  const large = plotHistory({ epoch: [0, 1], history: { loss: [1e9, 3e9] } });
  assert.ok(texts(large).includes("2e+9") && texts(large).every((t) => t.length < 12 || /[a-z]{3}/.test(t)), texts(large).join());
  const negative = plotHistory({ epoch: [0, 1], history: { loss: [-1, 1] } }, { logScale: true });
  checkSvg(negative.toSvg());
});

test("plotHistory: one epoch is a dot, what is not finite a gap, validation of every other epoch stands at its own", () => {
  const one = plotHistory({ epoch: [7], history: { loss: [3] } });
  assert.equal(one.marks.filter((m) => m.type === "dot").length, 1);
  checkSvg(one.toSvg());
  const gap = plotHistory({ epoch: [0, 1, 2, 3, 4], history: { loss: [1, 2, NaN, 3, 4] } });
  assert.equal(
    lines(gap, "#1f6feb").map((points) => points.length),
    [2, 2],
  );
  checkSvg(plotHistory({ epoch: [0], history: { loss: [Infinity] } }).toSvg());
  const some = plotHistory({ epoch: [0, 1, 2, 3], history: { loss: [1, 2, 3, 4], valLoss: [5, 6] } });
  const [training, validation] = [lines(some, "#1f6feb")[0], lines(some, "#d9480f")[0]];
  assert.equal(
    validation.map(([x]) => x),
    [training[1][0], training[3][0]],
  );
  // A training that went on has more of them than it has epochs.
  checkSvg(plotHistory({ epoch: [2], history: { loss: [1], valLoss: [5, 6] } }).toSvg());
});

test("plotHistory: ticks are round numbers around the values", () => {
  assert.equal(ticksOf(0, 1, 5), [0, 0.5, 1]);
  assert.equal(ticksOf(0.13, 0.87, 5), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  assert.equal(ticksOf(3, 3, 5), [3, 4]);
  assert.equal(ticksOf(-250, 1000, 5), [-500, 0, 500, 1000]);
  assert.equal(ticksOf(0.1, 0.3, 5), [0.1, 0.15, 0.2, 0.25, 0.3]);
});

test("plotHistory: what is refused", () => {
  assert.throws(() => plotHistory({}), /plotHistory: expected what fit\(\) gave/);
  assert.throws(() => plotHistory(null), /expected what fit/);
  assert.throws(() => plotHistory({ epoch: [], history: {} }), /has no epoch/);
  assert.throws(() => plotHistory(history, { logs: ["los"] }), /unknown log "los"; did you mean "loss"/);
  assert.throws(() => plotHistory(history, { logs: ["confusionMatrix"] }), /unknown log "confusionMatrix"/);
  assert.throws(() => plotHistory(history, { width: 10 }), /width must be an integer >= 120/);
  assert.throws(() => plotHistory({ epoch: [0], history: { c: [[[1]]] } }), /no log that is one number/);
});

/** A canvas that writes down what is drawn on it. */
function canvasLike() {
  const calls = [];
  const context = new Proxy(
    {},
    {
      get:
        (_, name) =>
        (...args) =>
          void calls.push([name, ...args]),
      set: (_, name, value) => {
        calls.push([name, value]);
        return true;
      },
    },
  );
  return { width: 1, height: 1, getContext: (type) => (type === "2d" ? context : null), calls };
}

test("drawings: on a canvas as in SVG, which takes their size", () => {
  const canvas = canvasLike();
  const drawing = plotHistory(history, { logs: ["loss"] });
  drawing.draw(canvas, 2);
  assert.equal([canvas.width, canvas.height], [1280, 480]);
  assert.equal(canvas.calls[0], ["scale", 2, 2]);
  const drawn = canvas.calls.filter(([name]) => name === "fillText").map(([, text]) => text);
  assert.equal(drawn, texts(drawing));
  assert.is(canvas.calls.filter(([name]) => name === "save").length, canvas.calls.filter(([name]) => name === "restore").length);
  for (const call of canvas.calls)
    for (const arg of call.slice(1)) assert.ok(typeof arg !== "number" || Number.isFinite(arg), String(call));
  assert.throws(() => drawing.draw({}), /draw: expected a canvas that gives a 2d context, got an object/);
  assert.throws(() => drawing.draw({ getContext: () => null }), /expected a canvas/);
});

test("drawings: lines with arrows, dashes, texts that stand upright", () => {
  assert.not.match(new Drawing("a\u0000b\u001b", 10, 10, []).toSvg(), /[\u0000\u001b]/, "what XML has no place for");
  const drawing = new Drawing('a "b" & c', 10, 10, [
    { type: "line", points: [[0, 0], [10, 0]], stroke: "red", arrow: true, dashed: true },
    { type: "text", x: 1, y: 2, text: "<&>", upward: true, bold: true, anchor: "end" },
    { type: "dot", x: 1, y: 1, fill: "red" },
  ]);
  checkSvg(drawing.toSvg());
  assert.match(drawing.toSvg(), /<title>a &quot;b&quot; &amp; c<\/title>/);
  assert.match(drawing.toSvg(), /<polygon points="10,0 4,3 4,-3" fill="red"\/>/);
  const canvas = canvasLike();
  drawing.draw(canvas);
  for (const name of ["setLineDash", "rotate", "arc", "fill"])
    assert.ok(
      canvas.calls.some((c) => c[0] === name),
      name,
    );
});

// What sklearn.metrics.classification_report documents: y_true = [0, 1, 2, 2, 2], y_pred = [0, 0, 2, 2, 1].
test("classificationReport: the example of scikit-learn's page", async () => {
  const report = await classificationReport([0, 1, 2, 2, 2], [0, 0, 2, 2, 1], { labels: ["class 0", "class 1", "class 2"], digits: 2 });
  const rounded = ({ precision, recall, f1, support }) => [precision, recall, f1].map((v) => Number(v.toFixed(2))).concat(support);
  assert.equal(report.classes.map(rounded), [[0.5, 1, 0.67, 1], [0, 0, 0, 1], [1, 0.67, 0.8, 3]]);
  assert.equal([rounded(report.macro), rounded(report.weighted)], [[0.5, 0.56, 0.49, 5], [0.7, 0.6, 0.61, 5]]);
  assert.is(report.accuracy, 0.6);
  assert.equal(report.matrix, [[1, 0, 0], [1, 0, 0], [0, 1, 2]]);
  assert.is(
    String(report),
    `┌──────────────────┬───────────┬────────┬──────┬─────────┐
│ Class            │ Precision │ Recall │   F1 │ Support │
├──────────────────┼───────────┼────────┼──────┼─────────┤
│ class 0          │      0.50 │   1.00 │ 0.67 │       1 │
│ class 1          │      0.00 │   0.00 │ 0.00 │       1 │
│ class 2          │      1.00 │   0.67 │ 0.80 │       3 │
├──────────────────┼───────────┼────────┼──────┼─────────┤
│ accuracy         │           │        │ 0.60 │       5 │
│ macro average    │      0.50 │   0.56 │ 0.49 │       5 │
│ weighted average │      0.70 │   0.60 │ 0.61 │       5 │
└──────────────────┴───────────┴────────┴──────┴─────────┘`,
  );
  assert.match(report.matrixText(), /│ class 2 +│ +0 │ +1 │ +2 │/);
  const drawing = report.plot();
  checkSvg(drawing.toSvg());
  assert.equal(
    texts(drawing).filter((t) => /^\d+$/.test(t)),
    ["1", "0", "0", "1", "0", "0", "0", "1", "2"],
  );
});

test("classificationReport: probabilities, one-hot rows, tensors, one probability, labels that nothing is of", async () => {
  const rows = [[0.1, 0.9], [0.8, 0.2], [0.4, 0.6]];
  const expected = [[1, 1], [0, 1]];
  for (const predicted of [
    rows,
    L.tensor(rows),
    [1, 0, 1],
    L.tensor([[0.7], [0.2], [0.5]]),
    Float32Array.of(0.7, 0.2, 0.5),
    [true, false, true].map(Number),
  ])
    assert.equal((await classificationReport([1, 0, 0], predicted)).matrix, expected);
  assert.equal((await classificationReport(L.tensor([[0, 1], [1, 0], [1, 0]]), rows)).matrix, expected);
  assert.equal((await classificationReport([1, 0, 0], [0.7, 0.2, 0.5], { threshold: 0.6 })).matrix, [[2, 0], [0, 1]]);
  // Logits, some of them whole numbers.
  assert.equal((await classificationReport([1, 0, 0], [2, -0.5, 0], { threshold: 0 })).matrix, [[1, 1], [0, 1]]);
  assert.equal((await classificationReport([1, 0], [1, 0.3], { threshold: 0.2 })).matrix, [[0, 1], [0, 1]]);
  const more = await classificationReport([0], [0], { labels: ["a", "b"] });
  assert.equal(more.classes[1], { precision: 0, recall: 0, f1: 0, support: 0 });
});

// y_true = [0, 0, 2, 2, 2, 4], y_pred = [0, 2, 2, 2, 4, 2] by scikit-learn 1.9, whose labels are 0, 2 and 4.
test("classificationReport: classes that do not occur are not in the macro average, as in scikit-learn", async () => {
  const { macro, weighted, classes } = await classificationReport([0, 0, 2, 2, 2, 4], [0, 2, 2, 2, 4, 2], { labels: [..."abcdef"] });
  const close = (got, wanted) => got.forEach((v, i) => assert.ok(Math.abs(v - wanted[i]) < 1e-12, `${got}, expected ${wanted}`));
  close([macro.precision, macro.recall, macro.f1], [1 / 2, 7 / 18, 0.4126984126984127]);
  close([weighted.precision, weighted.recall, weighted.f1], [7 / 12, 1 / 2, 0.5079365079365079]);
  assert.equal(classes[1], { precision: 0, recall: 0, f1: 0, support: 0 });
});

test("classificationReport: of more samples than a call has arguments", async () => {
  const many = Int32Array.from({ length: 200_000 }, (_, i) => i % 3);
  assert.is((await classificationReport(many, many)).accuracy, 1);
});

test("classificationReport: what is refused", async () => {
  const refused = async (args, pattern, type = L.DataError) => {
    const error = await errorOf(() => classificationReport(...args));
    assert.instance(error, type, error.stack);
    assert.match(error.message, pattern);
  };
  await refused([[0, 1], [0]], /yTrue has 2 samples, yPred 1/);
  await refused([[], []], /there are no samples/);
  await refused([[-1], [0]], /yTrue\[0\] must be a class number of at least 0, got -1/);
  await refused([[0, NaN], [0, 0]], /yTrue\[1\] must be numbers, got NaN/);
  await refused([[[0, 1], [1]], [0, 0]], /rows of yTrue must be equally long, got 2 and, in row 1, 1/, L.ShapeError);
  await refused([[0, 2], [0, 1], { labels: ["a", "b"] }], /classes up to 2, and 2 labels/);
  await refused([Promise.resolve([0]), [0]], /yTrue must be class numbers.*await it first/, L.ArgumentError);
  await refused([[1e9], [0]], /are these class numbers/);
  await refused([[1, 0], [3.5, 0.2]], /yPred\[0\] must be a class number or a probability from 0 to 1, got 3.5; give threshold/);
  await refused([[0], [0], { digits: 101 }], /digits must be at most 100, got 101/, L.ArgumentError);
  await refused([[0], [0.5], { threshold: "0" }], /threshold must be a number/, L.ArgumentError);
  await refused([[0], [0], { label: [] }], /unknown option "label"/, L.ArgumentError);
  await refused([L.zeros([2, 2, 2]), [0, 0]], /must be \[samples\] or \[samples, classes\]/, L.ShapeError);
});

test("plotConfusionMatrix: what is no matrix", () => {
  for (const wrong of [[], [[1, 2]], [[1, -1], [0, 0]], [[NaN]], [[Infinity]], 7])
    assert.throws(() => plotConfusionMatrix(wrong), /expected a square matrix/);
  assert.throws(() => plotConfusionMatrix([[1]], { labels: ["a", "b"] }), /expected 1 labels, got 2/);
});

test.run();

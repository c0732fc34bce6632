/** @file Random numbers of graphs: their distribution, seeds, and Dropout. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open, tensor } from "../../build/esm/index.js";
import { loadOnnx } from "../../build/esm/onnx/index.js";
import { f32, makeModel, makeNode, t } from "./make.js";
import { ours } from "./ort.js";

const backend = await open("wasm");
test.after(() => backend.close());

const moments = (list) => {
  const mean = list.reduce((a, b) => a + b, 0) / list.length;
  return [mean, Math.sqrt(list.reduce((a, b) => a + (b - mean) ** 2, 0) / list.length)];
};
const near = (a, b, by) => assert.ok(Math.abs(a - b) < by, `${a}, expected ${b}`);
const runs = async (bytes, count, inputs = {}) => {
  const net = await loadOnnx(bytes, { backend });
  const all = [];
  for (let i = 0; i < count; i++) all.push([...(await (await net.run(inputs)).y0.data())]);
  net.dispose();
  return all;
};

test("RandomNormal and RandomUniform: mean and deviation; each run draws others, each loading the same", async () => {
  const normal = makeNode("RandomNormal", [], { attributes: { shape: [100, 100], mean: { float: 3 }, scale: { float: 2 } } });
  const [first, second] = await runs(normal, 2);
  const [mean, deviation] = moments(first);
  near(mean, 3, 0.1);
  near(deviation, 2, 0.05);
  assert.not.equal(first, second);
  assert.equal((await runs(normal, 1))[0], first);
  const uniform = makeNode("RandomUniform", [], { attributes: { shape: [10000], low: { float: -1 }, high: { float: 5 } } });
  const [drawn] = await runs(uniform, 1);
  assert.ok(drawn.every((x) => x >= -1 && x < 5));
  near(moments(drawn)[0], 2, 0.1);
});

test("a seed tells the numbers of two nodes apart, or makes them the same", async () => {
  const two = (a, b) =>
    makeModel({
      outputs: [{ name: "a" }, { name: "b" }],
      nodes: [
        ["RandomNormal", [], ["a"], { shape: [50], ...a }],
        ["RandomNormal", [], ["b"], { shape: [50], ...b }],
      ],
    });
  const of = async (a, b) => ours(two(a, b), {}, backend);
  const [one, other] = [{ seed: { float: 7 } }, { seed: { float: 8 } }];
  const same = await of(one, one);
  assert.equal(same.a.data, same.b.data);
  for (const pair of [await of(one, other), await of({}, {})]) assert.not.equal(pair.a.data, pair.b.data);
});

test("Like forms, Bernoulli and Multinomial", async () => {
  const x = f32([4, 2500], new Array(10000).fill(0.25));
  for (const op of ["RandomNormalLike", "RandomUniformLike"]) {
    const { y0 } = await ours(makeNode(op, [x]), { x0: x }, backend);
    assert.equal(y0.shape, [4, 2500]);
  }
  const { y0: ones } = await ours(makeNode("Bernoulli", [x], { attributes: { dtype: 6 } }), { x0: x }, backend);
  assert.ok(ones.data.every((v) => v === 0 || v === 1));
  near(moments(ones.data)[0], 0.25, 0.02);
  const logs = f32([2, 3], [0.1, 0.2, 0.7, 0.6, 0.3, 0.1].map(Math.log).map(Math.fround));
  const { y0: classes } = await ours(makeNode("Multinomial", [logs], { attributes: { sample_size: 5000 } }), { x0: logs }, backend);
  assert.equal(classes.shape, [2, 5000]);
  [0.1, 0.2, 0.7].forEach((p, c) => near(classes.data.slice(0, 5000).filter((v) => v === c).length / 5000, p, 0.03));
  [0.6, 0.3, 0.1].forEach((p, c) => near(classes.data.slice(5000).filter((v) => v === c).length / 5000, p, 0.03));
});

test("Dropout: what is kept grows, the mask says what; outside of training nothing happens", async () => {
  const x = f32([10000], new Array(10000).fill(2));
  const flag = (on) => t("bool", [], [on]);
  const bytes = makeNode("Dropout", [x, f32([], [0.3]), flag(1)], { opset: 13, outputs: 2, known: ["x1", "x2"] });
  const { y0, y1 } = await ours(bytes, { x0: x }, backend);
  y0.data.forEach((v, i) => assert.is(v, y1.data[i] ? Math.fround(2 * Math.fround(1 / 0.7)) : 0));
  near(moments(y1.data)[0], 0.7, 0.02);
  const off = makeNode("Dropout", [x, f32([], [0.3]), flag(0)], { opset: 13, outputs: 2, known: ["x1", "x2"] });
  const plain = await ours(off, { x0: x }, backend);
  assert.equal([plain.y0.data, plain.y1.data], [x.elements, new Array(10000).fill(1)]);
  const old = makeNode("Dropout", [x], { opset: 7, attributes: { ratio: 0.5 } });
  assert.equal((await ours(old, { x0: x }, backend)).y0.data, x.elements);
});

test("Dropout: whether it trains is an input", async () => {
  const x = tensor(new Float32Array(100).fill(1));
  const bytes = makeNode("Dropout", [f32([100], []), f32([], []), t("bool", [], [])], { opset: 13 });
  const net = await loadOnnx(bytes, { backend });
  const zeros = async (trains) => {
    const { y0 } = await net.run({ x0: x, x1: tensor([0.5], []), x2: tensor([trains], [], "bool") });
    return (await y0.data()).filter((v) => v === 0).length;
  };
  assert.is(await zeros(false), 0);
  assert.ok((await zeros(true)) > 20);
  net.dispose();
});

test.run();

/**
 * @file What is folded while a program is made is what the backend computes, for all types: two implementations of one operator. And
 * numbers worked out by hand where integers of few bits wrap around.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open } from "../../build/esm/index.js";
import { f32, i64, makeModel, makeNode, t } from "./make.js";
import { ours } from "./ort.js";

const backend = await open("wasm");
test.after(() => backend.close());

const RANGES = {
  float32: [-9, 9],
  int8: [-128, 127],
  uint8: [0, 255],
  int16: [-3000, 3000],
  uint16: [0, 6000],
  int32: [-40000, 40000],
  uint32: [0, 40000],
  int64: [-40000, 40000],
  uint64: [0, 40000],
  bool: [0, 1],
};
const NUMBERS = Object.keys(RANGES).filter((type) => type !== "bool");
let state = 3;
function int([least, most]) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return least + Math.floor((state / 2 ** 32) * (most - least + 1));
}
const some = (type, shape) =>
  t(
    type,
    shape,
    Array.from({ length: shape.reduce((n, d) => n * d, 1) }, () => int(RANGES[type])),
  );

/** All inputs constants of the file, and none. Returns what both are. */
async function bothWays(op, inputs, options = {}) {
  const names = inputs.map((_, i) => `x${i}`);
  const fed = Object.fromEntries(inputs.map((v, i) => [`x${i}`, v]));
  const folded = await ours(makeNode(op, inputs, { ...options, known: names }), {}, backend);
  const computed = await ours(makeNode(op, inputs, { ...options, known: options.known ?? [] }), fed, backend);
  const what = `${op} of ${inputs.map((v) => `${v.type}[${v.shape}]`).join(" and ")}`;
  assert.equal(computed.y0.shape, folded.y0.shape, what);
  computed.y0.data.forEach((c, i) => {
    const f = folded.y0.data[i];
    const isSame = Number.isNaN(f)
      ? Number.isNaN(c)
      : Math.abs(f - c) <= (inputs[0].type === "float32" ? 1e-5 * Math.max(1, Math.abs(f)) : 0);
    assert.ok(isSame, `${what}: ${i} is ${c}, folded ${f}`);
  });
  return computed.y0.data;
}

test("ONNX: arithmetic and comparisons of all types", async () => {
  for (const type of NUMBERS) {
    // Differences of uint64 below 0 have no place in 32 bits.
    const ops = ["Add", "Mul", "Max", "Min", "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Mean", "Sum"];
    if (type !== "uint64") ops.push("Sub");
    for (const op of ops) await bothWays(op, [some(type, [3, 4]), some(type, [4])]);
    const divisor = some(type, [4]);
    divisor.elements = divisor.elements.map((v) => v || 7);
    if (type !== "float32") await bothWays("Div", [some(type, [3, 4]), divisor]);
    for (const fmod of type === "float32" ? [1] : [0, 1]) await bothWays("Mod", [some(type, [3, 4]), divisor], { attributes: { fmod } });
    for (const op of type.startsWith("u") ? ["Sign", "Abs"] : ["Sign", "Abs", "Neg"]) await bothWays(op, [some(type, [20])]);
    if (type !== "float32")
      for (const op of ["BitwiseAnd", "BitwiseOr", "BitwiseXor"]) await bothWays(op, [some(type, [3, 4]), some(type, [4])]);
    if (/^uint(8|16|32)$/.test(type))
      for (const direction of ["LEFT", "RIGHT"]) {
        const by = t(type, [6], [0, 1, 5, 7, 9, 60]);
        await bothWays("BitShift", [some(type, [6]), by], { attributes: { direction } });
      }
  }
});

test("ONNX: reductions of all types", async () => {
  const ops = ["Sum", "Prod", "Max", "Min", "Mean", "L1", "SumSquare"].map((name) => `Reduce${name}`);
  for (const type of NUMBERS) {
    for (const op of ops) {
      const x = some(type, [2, 3, 4]);
      // Products and sums that 32 bits hold: those of 64 bits that do not are not computed.
      x.elements = x.elements.map((v) => v % 7);
      for (const axes of [[0], [1], [-1], [0, 2], [0, 1, 2]]) await bothWays(op, [x, i64(axes)], { opset: 18, known: ["x1"] });
    }
  }
  for (const op of ["ReduceMax", "ReduceMin"]) await bothWays(op, [some("bool", [3, 4]), i64([1])], { opset: 20, known: ["x1"] });
});

test("ONNX: integers of few bits wrap around", async () => {
  const of = (type, list) => t(type, [list.length], list);
  assert.equal(await bothWays("Add", [of("int8", [100, -100]), of("int8", [100, -100])]), [-56, 56]);
  assert.equal(await bothWays("Add", [of("uint8", [200]), of("uint8", [100])]), [44]);
  assert.equal(await bothWays("Sub", [of("uint16", [1]), of("uint16", [2])]), [65535]);
  assert.equal(await bothWays("Mul", [of("int16", [300]), of("int16", [300])]), [24464]);
  assert.equal(await bothWays("Mul", [of("uint16", [65535]), of("uint16", [65535])]), [1]);
  assert.equal(await bothWays("Neg", [of("int8", [-128])]), [-128]);
  assert.equal(await bothWays("Add", [of("uint32", [2 ** 32 - 1]), of("uint32", [2])]), [1]);
  assert.equal(await bothWays("Max", [of("uint32", [2 ** 32 - 1]), of("uint32", [2])]), [2 ** 32 - 1]);
  assert.equal(await bothWays("Less", [of("uint32", [2]), of("uint32", [2 ** 32 - 1])]), [1]);
  assert.equal(await bothWays("ReduceMax", [of("uint32", [7, 2 ** 32 - 1, 3]), i64([0])], { opset: 18, known: ["x1"] }), [2 ** 32 - 1]);
  assert.equal(await bothWays("Div", [of("int8", [-7, 7]), of("int8", [2, -2])]), [-3, -3]);
  assert.equal(await bothWays("Mod", [of("int8", [-7, 7]), of("int8", [2, -2])]), [1, -1]);
  assert.equal(await bothWays("Mod", [of("int8", [-7, 7]), of("int8", [2, -2])], { attributes: { fmod: 1 } }), [-1, 1]);
  assert.equal(await bothWays("ReduceMean", [of("int32", [-3, -4]), i64([0])], { opset: 18, known: ["x1"] }), [-3]);
});

test("ONNX: powers of integers, and of floats by integers", async () => {
  const of = (type, list) => t(type, [list.length], list);
  assert.equal(await bothWays("Pow", [of("int32", [2, 3, -3, 0, 7]), of("int32", [10, 4, 3, 0, 1])]), [1024, 81, -27, 1, 7]);
  assert.equal(await bothWays("Pow", [of("int32", [2, 1, -1, -1]), of("int32", [-1, -5, -2, -3])]), [0, 1, 1, -1]);
  assert.equal(await bothWays("Pow", [of("int32", [9, 2]), of("float32", [0.5, 1.5])]), [3, 2]);
  const [a, b] = await bothWays("Pow", [f32([2], [2, -2]), of("int64", [-1, 3])]);
  assert.equal([a, b], [0.5, -8]);
});

test("ONNX: casts, and bits as another type", async () => {
  const codes = { float32: 1, uint8: 2, int8: 3, uint16: 4, int16: 5, int32: 6, int64: 7, bool: 9, uint32: 12 };
  for (const from of Object.keys(codes))
    for (const [to, code] of Object.entries(codes)) {
      // From floats what the type holds: beyond, no rule says what comes out.
      const x = from === "float32" ? f32([6], [0, 1.9, 2.5, 100.99, 0.2, 77]) : some(from, [12]);
      await bothWays("Cast", [x], { attributes: { to: code }, outputs: 1, what: to });
    }
  const bits = await bothWays("BitCast", [f32([3], [1, -2, 0.5])], { opset: 26, attributes: { to: 6 } });
  assert.equal(bits, [0x3f800000, 0xc0000000 | 0, 0x3f000000]);
  assert.equal(await bothWays("BitCast", [t("int32", [2], [0x3f800000, 0])], { opset: 26, attributes: { to: 1 } }), [1, 0]);
  assert.equal(await bothWays("BitCast", [t("uint8", [2], [255, 1])], { opset: 26, attributes: { to: 3 } }), [-1, 1]);
  assert.equal(await bothWays("BitCast", [t("int16", [2], [0x3c00, -16384])], { opset: 26, attributes: { to: 10 } }), [1, -2]);
});

test("ONNX: strings that are known are compared, chosen, moved and read as numbers", async () => {
  const bytes = makeModel({
    opset: 19,
    constants: { a: t("string", [3], ["1.5", "-inf", "x"]), b: t("string", [], ["x"]), two: i64([2]), zero: i64([0]) },
    outputs: ["same", "count", "numbers"].map((name) => ({ name })),
    nodes: [
      ["Equal", ["a", "b"], ["same"]],
      ["Shape", ["a"], ["count"]],
      ["Slice", ["a", "zero", "two"], ["front"]],
      ["Cast", ["front"], ["numbers"], { to: 1 }],
    ],
  });
  const { same, count, numbers } = await ours(bytes, {}, backend);
  assert.equal([same.data, count.data, numbers.data], [[0, 0, 1], [3], [1.5, -Infinity]]);
});

test("ONNX: empty tensors and single numbers", async () => {
  const empty = f32([2, 0, 3], []);
  const reduced = async (op) => (await ours(makeNode(op, [empty, i64([1])], { opset: 20, known: ["x1"] }), { x0: empty }, backend)).y0;
  for (const [op, value] of [
    ["ReduceSum", 0],
    ["ReduceProd", 1],
    ["ReduceMax", -Infinity],
    ["ReduceMin", Infinity],
    ["ReduceMean", NaN],
    ["ReduceL1", 0],
    ["ReduceL2", 0],
    ["ReduceSumSquare", 0],
    ["ReduceLogSum", -Infinity],
    ["ReduceLogSumExp", -Infinity],
  ])
    assert.equal(await reduced(op), { shape: [2, 1, 3], data: new Array(6).fill(value) }, op);
  const nothing = t("int32", [0], []);
  const least = await ours(makeNode("ReduceMax", [nothing], { opset: 20, attributes: { keepdims: 0 } }), { x0: nothing }, backend);
  assert.equal(least.y0.data, [-(2 ** 31)]);
  const one = f32([], [5]);
  const places = await ours(makeNode("NonZero", [one]), { x0: one }, backend);
  assert.equal(places.y0.shape, [0, 1]);
  const softmax = await ours(makeNode("Softmax", [f32([2, 0], [])], { opset: 13 }), { x0: f32([2, 0], []) }, backend);
  assert.equal(softmax.y0.shape, [2, 0]);
});

test.run();

/**
 * @file Forms of operators that neither ONNX's backend tests nor ONNX Runtime show here: signed shifts, remainders of floats, floats of 8
 * and 4 bits, regions, attention with graphs inside, and what an index outside becomes. Wanted numbers are worked out here.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open } from "../../build/esm/index.js";
import { decoded } from "../../build/esm/onnx/tensors.js";
import { f32, i64, makeNode, t } from "./make.js";
import { close, noise, places } from "./nodes.js";
import { ours, sameAsRuntime } from "./ort.js";

const backend = await open("wasm");
test.after(() => backend.close());

/** Outputs of a node whose inputs are fed, and are constants of the file. */
async function both(op, inputs, options = {}) {
  const names = inputs.map((_, i) => `x${i}`);
  const fed = Object.fromEntries(inputs.map((v, i) => [names[i], v]));
  const results = [];
  for (const known of [[], names]) results.push(Object.values(await ours(makeNode(op, inputs, { ...options, known }), fed, backend)));
  return results;
}

async function gives(op, inputs, wanted, options = {}) {
  for (const [y] of await both(op, inputs, options)) assert.equal(y.data.map(Number), wanted, `${op} ${JSON.stringify(options)}`);
}

const refused = (op, inputs, pattern, options = {}) =>
  both(op, inputs, options).then(
    () => assert.unreachable(`${op} is computed`),
    (error) => assert.match(error.message, pattern),
  );

test("ONNX: shifts of integers with a sign", async () => {
  for (const [type, bits] of [
    ["int8", 8],
    ["int16", 16],
    ["int32", 32],
    ["int64", 64],
  ]) {
    const [x, by] = [
      [5, -5, -1, 100, -100, 1, -128, 127, 7, -7, -7],
      [1, 1, 3, 2, 2, 0, 7, 6, bits, bits + 1, -1],
    ];
    const [a, b] = [x, by].map((list) => t(type, [x.length], list));
    const right = x.map((v, i) => (by[i] < 0 || by[i] >= bits ? Number(v < 0) * -1 : Math.floor(v / 2 ** by[i])));
    await gives("BitShift", [a, b], right, { opset: 28, attributes: { direction: "RIGHT" } });
    const kept = Math.min(bits, 32);
    const left = x.map((v, i) => (by[i] < 0 || by[i] >= bits ? 0 : Number(BigInt.asIntN(kept, BigInt(v) << BigInt(by[i])))));
    await gives("BitShift", [a, b], left, { opset: 28, attributes: { direction: "LEFT" } });
  }
  const least = t("int32", [3], [-(2 ** 31), 2 ** 31 - 1, -3]);
  await gives("BitShift", [least, t("int32", [3], [31, 30, 31])], [-1, 1, -1], { opset: 28, attributes: { direction: "RIGHT" } });
});

test("ONNX: the complement of 64 bits without a sign is refused", async () => {
  await refused("BitwiseNot", [t("uint64", [1], [5])], /beyond 32 bits/, { opset: 18 });
  await gives("BitwiseNot", [t("uint32", [2], [5, 0])], [2 ** 32 - 6, 2 ** 32 - 1], { opset: 18 });
});

test("ONNX: remainders of floats by quotients that are rounded down", async () => {
  const x = [5.5, -5.5, 5.5, -5.5, 0, -0, 3, -3, 3, Infinity, NaN, 2];
  const y = [2, 2, -2, -2, 3, -3, Infinity, Infinity, -Infinity, 2, 1, 0];
  const wanted = [1.5, 0.5, -0.5, -1.5, 0, -0, 3, Infinity, -Infinity, NaN, NaN, NaN];
  await gives("Mod", [f32([12], x), f32([12], y)], wanted, { opset: 28 });
  for (const type of ["int32", "int64"]) {
    const [a, b] = [
      [7, -7, 7, -7, 6],
      [3, 3, -3, -3, -3],
    ];
    await gives("Mod", [t(type, [5], a), t(type, [5], b)], [1, 2, -2, -1, 0], { opset: 13 });
  }
});

test("ONNX: integers divided by 0 are 0, where they are known too", async () => {
  const [x, zero] = [t("int64", [3], [7, -7, 0]), t("int64", [1], [0])];
  await gives("Div", [x, zero], [0, 0, 0], { opset: 14 });
  await gives("Mod", [x, zero], [0, 0, 0], { opset: 13 });
});

test("ONNX: powers of one integer, slices backwards from before the first element", async () => {
  await gives("Pow", [t("int32", [], [-3]), t("int64", [], [3])], [-27], { opset: 15 });
  // A start is within the axis, whichever way it goes (ONNX clamps it to [0, size - 1]).
  const x = t("int32", [3], [1, 2, 3]);
  await gives("Slice", [x, i64([-9]), i64([-99]), i64([0]), i64([-1])], [1], { opset: 13 });
  await gives("Slice", [x, i64([9]), i64([-99]), i64([0]), i64([-2])], [3, 1], { opset: 13 });
});

test("ONNX: integer reductions of what is whole but for rounding", async () => {
  await gives("ReduceL2", [t("int32", [2, 2], [3, 4, 20, 21]), i64([1])], [5, 29], { opset: 18, attributes: { keepdims: 0 } });
});

test("ONNX: a transposed convolution whose result is smaller than its filter", async () => {
  const [x, w] = [noise(2, 2, 1), noise(2, 3, 3)];
  for (const auto_pad of ["SAME_UPPER", "SAME_LOWER"]) {
    const attributes = { strides: [2], group: 2, auto_pad };
    for (const [y] of await both("ConvTranspose", [x, w], { attributes })) {
      // One element becomes three, of which two stay: those in front, or those behind.
      const from = auto_pad === "SAME_UPPER" ? 0 : 1;
      const wanted = Array.from(places([2, 6, 2]), ([b, c, i]) => {
        const [g, k] = [Math.floor(c / 3), c % 3];
        return x.elements[b * 2 + g] * w.elements[(g * 3 + k) * 3 + from + i];
      });
      close(y, [2, 6, 2], wanted, auto_pad);
    }
  }
});

test("ONNX: blocks of pixels as channels, in either order", async () => {
  const x = f32(
    [1, 2, 4, 4],
    Array.from({ length: 32 }, (_, i) => i),
  );
  for (const mode of ["DCR", "CRD"]) {
    const wanted = Array.from(places([8, 2, 2]), ([channel, h, w]) => {
      const [c, block] = mode === "DCR" ? [channel % 2, Math.floor(channel / 2)] : [Math.floor(channel / 4), channel % 4];
      return c * 16 + (h * 2 + Math.floor(block / 2)) * 4 + w * 2 + (block % 2);
    });
    await gives("SpaceToDepth", [x], wanted, { opset: 28, attributes: { blocksize: 2, mode } });
  }
});

test("ONNX beside ONNX Runtime: MaxRoiPool", async () => {
  const x = noise(2, 3, 6, 7);
  const rois = f32([4, 5], [0, 0, 0, 6, 5, 1, 1.5, 2, 4, 4.5, 1, 5, 4, 9, 9, 0, -2, -2, 0, 0]);
  for (const spatial of [1, 0.5])
    for (const known of [[], ["x1"]]) {
      const attributes = { pooled_shape: [2, 3], spatial_scale: { float: spatial } };
      await sameAsRuntime("MaxRoiPool", makeNode("MaxRoiPool", [x, rois], { attributes, known }), { x0: x, x1: rois }, backend);
    }
  await refused("MaxRoiPool", [x, f32([1, 5], [2, 0, 0, 1, 1])], /image 2, there are 2/, { attributes: { pooled_shape: [1, 1] } });
});

test("ONNX: attention with graphs for scores and weights", async () => {
  const [q, k, v] = [noise(2, 4, 3, 5), noise(2, 2, 6, 5), noise(2, 2, 6, 2)];
  const graph = (op, by) => ({
    nodes: [[op, ["a", "by"], ["b"], {}]],
    constants: { by: f32([], [by]) },
    inputs: [{ name: "a", type: "float32", shape: [2, 4, 3, 6] }],
    outputs: [{ name: "b", type: "float32", shape: [2, 4, 3, 6] }],
  });
  for (const [score_mod, prob_mod, scale] of [
    [null, null, null],
    [2, null, 0.5],
    [null, 3, null],
    [0.5, 2, 1],
  ]) {
    const attributes = {
      ...(score_mod === null ? {} : { score_mod: graph("Mul", score_mod) }),
      ...(prob_mod === null ? {} : { prob_mod: graph("Mul", prob_mod) }),
      ...(scale === null ? {} : { scale: { float: scale } }),
    };
    const factor = (scale ?? 1 / Math.sqrt(5)) * (score_mod ?? 1);
    const wanted = Array.from(places([2, 4, 3, 2]), ([b, h, i, d]) => {
      const g = Math.floor(h / 2);
      const scores = Array.from({ length: 6 }, (_, j) =>
        Math.exp(
          factor *
            Array.from(
              { length: 5 },
              (_u, e) => q.elements[((b * 4 + h) * 3 + i) * 5 + e] * k.elements[((b * 2 + g) * 6 + j) * 5 + e],
            ).reduce((x, y) => x + y),
        ),
      );
      const sum = scores.reduce((x, y) => x + y);
      return scores.reduce((y, s, j) => y + (s / sum) * (prob_mod ?? 1) * v.elements[((b * 2 + g) * 6 + j) * 2 + d], 0);
    });
    for (const [y] of await both("FlexAttention", [q, k, v], { attributes, domain: "ai.onnx.preview" }))
      close(y, [2, 4, 3, 2], wanted, `${score_mod} ${prob_mod}`);
  }
  await refused("FlexAttention", [q, k, noise(2, 2, 5, 2)], /expected \[batch, heads, time, features\]/, { domain: "ai.onnx.preview" });
});

const SMALL = { float8e4m3fn: 17, float8e4m3fnuz: 18, float8e5m2: 19, float8e5m2fnuz: 20, float4e2m1: 23 };
/** All numbers of a type, read from their bits. */
const allOf = (type) => {
  const count = type === "float4e2m1" ? 16 : 256;
  const bytes =
    count === 16 ? Uint8Array.from({ length: 8 }, (_, i) => 2 * i + 16 * (2 * i + 1)) : Uint8Array.from({ length: 256 }, (_, i) => i);
  return Array.from(decoded(type, bytes, count));
};

test("ONNX: floats of 8 and 4 bits are read from their bits", () => {
  // Written out by hand: sign, exponent, fraction.
  assert.equal(allOf("float4e2m1"), [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6]);
  const at = (type, code) => allOf(type)[code];
  assert.equal(
    [0x01, 0x08, 0x38, 0x7e, 0x7f, 0xb8].map((c) => at("float8e4m3fn", c)),
    [2 ** -9, 2 ** -6, 1, 448, NaN, -1],
  );
  assert.equal(
    [0x01, 0x08, 0x40, 0x7f, 0x80].map((c) => at("float8e4m3fnuz", c)),
    [2 ** -10, 2 ** -7, 1, 240, NaN],
  );
  assert.equal(
    [0x01, 0x3c, 0x7b, 0x7c, 0xfc, 0x7d].map((c) => at("float8e5m2", c)),
    [2 ** -16, 1, 57344, Infinity, -Infinity, NaN],
  );
  assert.equal(
    [0x01, 0x40, 0x7f, 0x80].map((c) => at("float8e5m2fnuz", c)),
    [2 ** -17, 1, 57344, NaN],
  );
  assert.equal(Array.from(decoded("float8e8m0", Uint8Array.of(127, 130, 120, 255), 4)), [1, 8, 2 ** -7, NaN]);
});

for (const [type, code] of Object.entries(SMALL)) {
  test(`ONNX: Cast to ${type} takes the nearest of its numbers, of two the even one`, async () => {
    const numbers = [...new Set(allOf(type).filter(Number.isFinite))].sort((a, b) => a - b);
    const most = numbers.at(-1);
    // The numbers, what lies between, and a little beside that.
    const x = numbers.flatMap((a, i) => [a, (a + (numbers[i + 1] ?? a)) / 2, a + ((numbers[i + 1] ?? a) - a) * 0.51]).map(Math.fround);
    const even = allOf(type);
    const nearest = (v) => {
      const [a, b] = [...numbers].sort((p, r) => Math.abs(p - v) - Math.abs(r - v) || 0);
      if (Math.abs(a - v) < Math.abs(b - v)) return a;
      // Neighbours differ in the last bit.
      return even.findIndex((n) => n === Math.abs(a)) % 2 === 0 ? a : b;
    };
    await gives("Cast", [f32([x.length], x)], x.map(nearest), { attributes: { to: code }, opset: 25 });
    const large = f32([4], [most * 3, -most * 3, Infinity, -Infinity]);
    await gives("Cast", [large], [most, -most, most, -most], { attributes: { to: code }, opset: 25 });
    if (type === "float4e2m1") return;
    const over = type === "float8e5m2" ? [Infinity, -Infinity, Infinity, -Infinity] : [NaN, NaN, NaN, NaN];
    await gives("Cast", [large], over, { attributes: { to: code, saturate: 0 }, opset: 25 });
  });
}

test("ONNX: floats are quantized to 8 bits, and back", async () => {
  const x = f32([4], [1.06, -3, 2000, 0.001]);
  const options = { attributes: { output_dtype: 17 }, opset: 23 };
  // Divided by 2: 0.53 lies between 0.5 and 0.5625, 1.5 is one, 1000 is beyond 448, 0.0005 is less than half of the least.
  await gives("QuantizeLinear", [x, f32([], [2])], [0.5, -1.5, 448, 0], options);
});

test("ONNX: an index outside that only a run can tell shows as NaN; a known one is an error", async () => {
  const x = f32([3, 2], [1, 2, 3, 4, 5, 6]);
  const run = async (op, inputs, options = {}) => {
    const fed = Object.fromEntries(inputs.map((v, i) => [`x${i}`, v]));
    return Object.values(await ours(makeNode(op, inputs, options), fed, backend))[0].data;
  };
  assert.equal(await run("Gather", [x, i64([0, 3, -4])]), [1, 2, NaN, NaN, NaN, NaN]);
  assert.equal(await run("Gather", [x, i64([1, 2])], { attributes: { axis: 1 } }), [2, NaN, 4, NaN, 6, NaN]);
  assert.equal(await run("GatherElements", [x, i64([2, 3], [1, 2])]), [5, NaN]);
  assert.equal(await run("GatherND", [x, i64([0, 1, 0, 2], [2, 2])]), [2, NaN]);
  const updates = f32([2, 2], [10, 20, 30, 40]);
  assert.equal(await run("ScatterND", [x, i64([1, 7], [2, 1]), updates]), [1, 2, 10, 20, NaN, NaN]);
  for (const [reduction, first] of [
    ["add", [1, 2, 13, 24]],
    ["max", [1, 2, 10, 20]],
  ])
    assert.equal(await run("ScatterND", [x, i64([1, 7], [2, 1]), updates], { opset: 18, attributes: { reduction } }), [...first, NaN, NaN]);
  const losses = [f32([3, 2], [1, 2, 3, 4, 5, 6]), i64([0, 1, 2])];
  assert.equal(await run("NegativeLogLikelihoodLoss", losses, { attributes: { reduction: "none" } }), [-1, -4, NaN]);
  await refused("Gather", [x, i64([3])], /index 3 is none of 3/);
});

test.run();

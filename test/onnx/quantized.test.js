/** @file Graphs of 8-bit integers whose sums are beyond what floats hold exactly: as integers they are exact, and as floats rounded. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open } from "../../build/esm/index.js";
import { loadOnnx } from "../../build/esm/onnx/index.js";
import { f32, makeModel, t } from "./make.js";
import { build, bytes, close, convolution, element, fed, noise } from "./nodes.js";

const backend = await open("wasm");
test.after(() => backend.close());

/** Runs a graph of constants and of inputs by name. */
async function run(nodes, constants, inputs, outputs, opset = 21) {
  const names = Object.entries(inputs).map(([name, { type, shape }]) => ({ name, type, shape }));
  const net = await loadOnnx(makeModel({ nodes, constants, inputs: names, outputs: outputs.map((name) => ({ name })), opset }), {
    backend,
  });
  const given = Object.fromEntries(Object.entries(inputs).map(([name, v]) => [name, fed(v)]));
  const results = [];
  // The second run takes what the first has made of weights.
  for (let i = 0; i < 2; i++) {
    const out = await net.run(given);
    for (const name of outputs) results[outputs.indexOf(name)] = { shape: [...out[name].shape], data: Array.from(await out[name].data()) };
  }
  net.dispose();
  return results;
}

const less = ({ type, shape, elements }, zero) =>
  t(
    type,
    shape,
    Array.from(elements, (v, i) => v - zero(i)),
  );
const moves = { strides: [1, 1], dilations: [1, 1], pads: [1, 1, 1, 1] };

test("ConvInteger of long sums: integers are exact, and floats that a Cast reads alone are within their rounding", async () => {
  const [x, w] = [bytes("uint8", [1, 40, 5, 6], 128, 255), bytes("uint8", [16, 40, 3, 3], 128, 255)];
  const [zx, zw] = [t("uint8", [], [3]), t("uint8", [], [1])];
  const attributes = { pads: moves.pads };
  const conv = ["ConvInteger", ["x", "w", "zx", "zw"], ["i"], attributes];
  const wanted = convolution(
    less(x, () => 3),
    less(w, () => 1),
    moves,
  );
  assert.ok(
    wanted.data.some((v) => Math.abs(v) > 2 ** 22),
    "sums are long",
  );
  const [integers] = await run([conv], { w, zx, zw }, { x }, ["i"]);
  assert.equal(integers, wanted);
  const [floats] = await run([conv, ["Cast", ["i"], ["y"], { to: 1 }]], { w, zx, zw }, { x }, ["y"]);
  close(floats, wanted.shape, wanted.data, "Cast", 3e-6);
  // Where something else reads them too they are what it reads.
  const both = await run([conv, ["Cast", ["i"], ["y"], { to: 1 }], ["Neg", ["i"], ["n"]]], { w, zx, zw }, { x }, ["y", "n"]);
  assert.equal(both[0].data, wanted.data.map(Math.fround));
  assert.equal(
    both[1].data,
    wanted.data.map((v) => -v),
  );
});

test("MatMulInteger of long sums, of vectors too", async () => {
  for (const [a, b] of [
    [
      [3, 600],
      [600, 8],
    ],
    [[600], [600, 8]],
    [[2, 3, 600], [600]],
  ]) {
    const [x, w] = [bytes("uint8", a, 0, 255), bytes("int8", b, -128, 127)];
    const zx = t("uint8", [], [200]);
    const rows = a.length === 1 ? [[]] : a.length === 2 ? [[0], [1], [2]] : [0, 1].flatMap((i) => [0, 1, 2].map((j) => [i, j]));
    const columns = b.length === 1 ? [[]] : Array.from({ length: 8 }, (_, i) => [i]);
    const data = rows.flatMap((r) =>
      columns.map((c) => {
        let y = 0;
        for (let k = 0; k < 600; k++) y += (element(x, [...r, k]) - 200) * element(w, [k, ...c]);
        return y;
      }),
    );
    const shape = [...a.slice(0, -1), ...b.slice(1)];
    const product = ["MatMulInteger", ["x", "w", "zx"], ["i"]];
    assert.equal(await run([product], { w, zx }, { x }, ["i"]), [{ shape, data }]);
    const [floats] = await run([product, ["Cast", ["i"], ["y"], { to: 1 }]], { w, zx }, { x }, ["y"]);
    close(floats, shape, data, "Cast", 3e-6);
  }
});

test("QLinearConv of long sums is off by one step at most, where it lies between two", async () => {
  const [x, w, bias] = [bytes("uint8", [2, 40, 5, 5], 0, 255), bytes("int8", [8, 40, 3, 3], -128, 127), bytes("int32", [8], -9000, 9000)];
  const scales = f32(
    [8],
    noise(8).elements.map((v) => 0.01 + Math.abs(v) / 100),
  );
  const constants = { w, bias, sx: f32([], [0.02]), zx: t("uint8", [], [128]), sw: scales, zw: t("int8", [8], new Array(8).fill(0)) };
  const more = { sy: f32([], [2]), zy: t("uint8", [], [128]) };
  const node = ["QLinearConv", ["x", "sx", "zx", "w", "sw", "zw", "sy", "zy", "bias"], ["y"], { pads: moves.pads }];
  const [got] = await run([node], { ...constants, ...more }, { x }, ["y"]);
  const sums = convolution(
    less(x, () => 128),
    w,
    moves,
    bias,
  );
  sums.data.forEach((v, i) => {
    const exact = (v * 0.02 * scales.elements[Math.floor(i / 25) % 8]) / 2 + 128;
    const kept = Math.min(255, Math.max(0, exact));
    assert.ok(Math.abs(got.data[i] - kept) <= 0.5 + 1e-3, `${i}: ${got.data[i]}, expected about ${kept}`);
  });
});

test("DequantizeLinear of weights: made once, per channel and in blocks, for a convolution, a product and another reader", async () => {
  const w = bytes("int8", [16, 40, 3, 3], -128, 127);
  const scale = f32(
    [16],
    noise(16).elements.map((v) => 0.001 + Math.abs(v) / 1000),
  );
  const floats = t(
    "float32",
    w.shape,
    w.elements.map((v, i) => Math.fround(v * Math.fround(scale.elements[Math.floor(i / 360)]))),
  );
  const x = noise(1, 40, 5, 6);
  const wide = bytes("uint8", [128, 48], 0, 255);
  const [blocks, zeros] = [noise(4, 48), bytes("uint8", [4, 48], 0, 255)];
  const matrix = build([128, 48], ([i, j]) =>
    Math.fround((element(wide, [i, j]) - element(zeros, [i >> 5, j])) * Math.fround(element(blocks, [i >> 5, j]))),
  );
  const a = noise(2, 128);
  const [y, own, z] = await run(
    [
      ["DequantizeLinear", ["w", "scale"], ["f"], { axis: 0 }],
      ["Conv", ["x", "f"], ["y"], { pads: moves.pads }],
      ["Neg", ["f"], ["own"]],
      ["DequantizeLinear", ["wide", "blocks", "zeros"], ["m"], { axis: 0, block_size: 32 }],
      ["MatMul", ["a", "m"], ["z"]],
    ],
    { w, scale, wide, blocks, zeros },
    { x, a },
    ["y", "own", "z"],
  );
  const wanted = convolution(x, floats, moves);
  close(y, wanted.shape, wanted.data, "Conv");
  close(
    own,
    floats.shape,
    floats.elements.map((v) => -v),
    "Neg",
    1e-7,
  );
  const product = build([2, 48], ([i, j]) => {
    let sum = 0;
    for (let k = 0; k < 128; k++) sum += element(a, [i, k]) * matrix[k * 48 + j];
    return sum;
  });
  close(z, [2, 48], product, "MatMul");
});

test("DynamicQuantizeLSTM is the LSTM of its weights as floats", async () => {
  const [steps, batch, k, hidden] = [5, 2, 24, 32];
  const x = noise(steps, batch, k);
  const [w, r] = [bytes("int8", [2, k, 4 * hidden], -128, 127), bytes("int8", [2, hidden, 4 * hidden], -128, 127)];
  const scales = (size) =>
    f32(
      [size],
      noise(size).elements.map((v) => 0.002 + Math.abs(v) / 1000),
    );
  for (const each of [2, 8 * hidden]) {
    const shape = each === 2 ? [2] : [2, 4 * hidden];
    const [sw, sr] = [scales(each), scales(each)].map((s) => ({ ...s, shape }));
    const [zw, zr] = [bytes("int8", shape, -3, 3), bytes("int8", shape, -3, 3)];
    const bias = noise(2, 8 * hidden);
    const turned = (q, s, z) =>
      f32(
        [2, q.shape[2], q.shape[1]],
        build([2, q.shape[2], q.shape[1]], ([d, g, i]) => {
          const at = each === 2 ? d : d * 4 * hidden + g;
          return (element(q, [d, i, g]) - z.elements[at]) * s.elements[at];
        }),
      );
    const attributes = { hidden_size: hidden, direction: "bidirectional" };
    const outputs = ["y", "h", "c"];
    const got = await run(
      [["DynamicQuantizeLSTM", ["x", "w", "r", "b", "", "", "", "", "sw", "zw", "sr", "zr"], outputs, attributes, "com.microsoft"]],
      { w, r, b: bias, sw, zw, sr, zr },
      { x },
      outputs,
    );
    const wanted = await run(
      [["LSTM", ["x", "w", "r", "b"], outputs, attributes]],
      { w: turned(w, sw, zw), r: turned(r, sr, zr), b: bias },
      { x },
      outputs,
    );
    wanted.forEach((v, i) => close(got[i], v.shape, v.data, outputs[i], 1e-5));
  }
});

test.run();

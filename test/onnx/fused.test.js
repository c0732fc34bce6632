/** @file What ONNX Runtime's optimizer puts in the place of several operators, beside ONNX Runtime, or as its documentation defines it. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open } from "../../build/esm/index.js";
import { f32, i64, makeNode, t } from "./make.js";
import { build, bytes, close, element, noise } from "./nodes.js";
import { ours, sameAsRuntime } from "./ort.js";

const backend = await open("wasm");
test.after(() => backend.close());

const domain = "com.microsoft";
const fedOf = (inputs) => Object.fromEntries(inputs.flatMap((v, i) => (v === null ? [] : [[`x${i}`, v]])));

/** With all inputs fed, and with all but the first as constants of the file. */
async function check(op, inputs, options = {}) {
  for (const known of [[], inputs.map((_, i) => `x${i}`).slice(1)])
    await sameAsRuntime(op, makeNode(op, inputs, { ...options, domain, known }), fedOf(inputs), backend, 1e-4);
}

async function outputs(op, inputs, options = {}) {
  return Object.values(await ours(makeNode(op, inputs, { ...options, domain }), fedOf(inputs), backend));
}

test("ONNX beside ONNX Runtime: words with positions and segments", async () => {
  const ids = (most, ...shape) => bytes("int32", shape, 0, most - 1);
  const [words, places, kinds, gamma, beta] = [noise(11, 8), noise(6, 8), noise(2, 8), noise(8), noise(8)];
  const mask = t("int32", [2, 4], [1, 1, 1, 0, 1, 0, 0, 0]);
  await check("EmbedLayerNormalization", [ids(11, 2, 4), ids(2, 2, 4), words, places, kinds, gamma, beta, mask], { outputs: 2 });
  await check("EmbedLayerNormalization", [ids(11, 2, 4), null, words, places, null, gamma, beta], {
    outputs: 2,
    attributes: { epsilon: { float: 0.1 } },
  });
  await check("EmbedLayerNormalization", [ids(11, 2, 4), null, words, places, null, gamma, beta, null, ids(6, 2, 4)], { outputs: 2 });
});

test("ONNX beside ONNX Runtime: a product with an activation, softmax with a bias", async () => {
  for (const attributes of [
    { activation: "Relu" },
    { activation: "LeakyRelu", activation_alpha: { float: 0.3 } },
    { activation: "Sigmoid", alpha: { float: 0.5 }, beta: { float: 2 } },
    { activation: "Tanh", transB: 1 },
  ])
    await check("FusedGemm", [noise(3, 4), attributes.transB ? noise(5, 4) : noise(4, 5), noise(5)], { attributes });
  for (const [axis, shape, of, inner] of [
    [3, [2, 3, 4, 5], [2, 1, 1, 5], 1],
    [2, [2, 3, 4], [1, 3, 4], 0],
  ]) {
    const [x, bias] = [noise(...shape), noise(...of)];
    const sum = build(
      shape,
      (at) =>
        element(x, at) +
        element(
          bias,
          at.map((a, i) => (of[i] === 1 ? 0 : a)),
        ),
    );
    const size = shape.slice(axis).reduce((n, d) => n * d, 1);
    const wanted = sum.map((v, i) => {
      const row = sum.slice(Math.floor(i / size) * size, (Math.floor(i / size) + 1) * size);
      return Math.exp(v) / row.reduce((n, d) => n + Math.exp(d), 0);
    });
    const [y] = await outputs("BiasSoftmax", [x, bias], { attributes: { axis, is_inner_broadcast: inner } });
    close(y, shape, wanted, `BiasSoftmax along ${axis}`);
  }
});

test("ONNX: biases, and gelu of a half", async () => {
  const [x, bias, skip] = [noise(2, 3, 4), noise(4), noise(2, 3, 4)];
  const [y] = await outputs("BiasAdd", [x, bias, skip]);
  close(
    y,
    [2, 3, 4],
    build([2, 3, 4], (at) => element(x, at) + bias.elements[at[2]] + element(skip, at)),
    "BiasAdd",
  );
  // Abramowitz and Stegun 7.1.26, within 1.5e-7.
  const erf = (v) => {
    const u = 1 / (1 + 0.3275911 * Math.abs(v));
    const p = ((((1.061405429 * u - 1.453152027) * u + 1.421413741) * u - 0.284496736) * u + 0.254829592) * u;
    return Math.sign(v) * (1 - p * Math.exp(-v * v));
  };
  const gelu = (v) => 0.5 * v * (1 + erf(v / Math.SQRT2));
  const [z] = await outputs("BiasSplitGelu", [x, bias]);
  const at = (b, i, c) => element(x, [b, i, c]) + bias.elements[c];
  close(
    z,
    [2, 3, 2],
    build([2, 3, 2], ([b, i, c]) => at(b, i, c) * gelu(at(b, i, c + 2))),
    "BiasSplitGelu",
  );
});

test("ONNX: groups of channels that lie last, normalized, with an addition and silu", async () => {
  const shape = [2, 3, 2, 6];
  const [x, gamma, beta, bias] = [noise(...shape), noise(6), noise(6), noise(6)];
  const normalized = (sum, groups, activation) => {
    const each = 6 / groups;
    return build(shape, ([b, h, w, c]) => {
      const g = Math.floor(c / each);
      const list = build([3, 2, each], ([i, j, k]) => sum[((b * 3 + i) * 2 + j) * 6 + g * each + k]);
      const mean = list.reduce((n, v) => n + v) / list.length;
      const variance = list.reduce((n, v) => n + (v - mean) ** 2, 0) / list.length;
      const v = ((sum[((b * 3 + h) * 2 + w) * 6 + c] - mean) / Math.sqrt(variance + 1e-5)) * gamma.elements[c] + beta.elements[c];
      return activation ? v / (1 + Math.exp(-v)) : v;
    });
  };
  for (const [groups, activation] of [
    [1, 0],
    [3, 1],
  ]) {
    const attributes = { groups, activation, channels_last: 1 };
    const [y] = await outputs("GroupNorm", [x, gamma, beta], { attributes });
    close(y, shape, normalized(x.elements, groups, activation), "GroupNorm");
    for (const skip of [noise(...shape), noise(2, 6), noise(2, 1, 1, 6)]) {
      const places = skip.shape.length === 2 ? f32([2, 1, 1, 6], skip.elements) : skip;
      const sum = build(
        shape,
        (at) =>
          element(x, at) +
          element(
            places,
            at.map((a, i) => (places.shape[i] === 1 ? 0 : a)),
          ) +
          bias.elements[at[3]],
      );
      const [z, s] = await outputs("SkipGroupNorm", [x, gamma, beta, skip, bias], { attributes, outputs: 2 });
      close(s, shape, sum, "SkipGroupNorm: the sum");
      close(z, shape, normalized(sum, groups, activation), "SkipGroupNorm");
    }
  }
});

test("ONNX beside ONNX Runtime: pooling of quantized pictures, channels first and last", async () => {
  for (const type of ["uint8", "int8"]) {
    const low = type === "int8" ? -128 : 0;
    const point = (v) => t(type, [], [v]);
    const attributes = { kernel_shape: [2, 3], strides: [1, 2], pads: [0, 1, 1, 0] };
    await check("NhwcMaxPool", [bytes(type, [2, 4, 5, 3], low, low + 255)], { attributes });
    const scales = [f32([], [0.5]), f32([], [0.4123713])];
    for (const last of [0, 1])
      await check(
        "QLinearAveragePool",
        [bytes(type, last ? [2, 4, 5, 3] : [2, 3, 4, 5], low, low + 255), scales[0], point(3), scales[1], point(7)],
        {
          attributes: { ...attributes, channels_last: last, count_include_pad: last },
        },
      );
  }
});

test("ONNX beside ONNX Runtime: rows of few bits are gathered", async () => {
  const index = i64([1, 4, 0, 2], [2, 2]);
  for (const [type, least] of [
    ["uint4", 0],
    ["int4", -8],
  ])
    for (const zero of [false, true]) {
      const [data, scales] = [bytes(type, [5, 40], least, least + 15), noise(5, 3)];
      const inputs = [data, index, scales, ...(zero ? [bytes(type, [5, 3], least, least + 15)] : [])];
      const attributes = { gather_axis: 0, quantize_axis: 1, block_size: 16 };
      const names = inputs.map((_, i) => `x${i}`).filter((name) => name !== "x1");
      const options = { attributes, domain, known: names };
      await sameAsRuntime("GatherBlockQuantized", makeNode("GatherBlockQuantized", inputs, options), { x1: index }, backend, 1e-4);
    }
  for (const bits of [4, 8]) {
    const columns = bits === 4 ? 20 : 40;
    const [data, scales] = [bytes("uint8", [5, columns], 0, 255), noise(5, 3)];
    const zeros = bits === 4 ? bytes("uint8", [5, 2], 0, 255) : bytes("uint8", [5, 3], 0, 255);
    for (const more of [[], [zeros]]) {
      const attributes = { gather_axis: 0, quantize_axis: 1, block_size: 16, bits };
      const [y] = await outputs("GatherBlockQuantized", [data, index, scales, ...more], { attributes });
      const number = (v, r, c) => (bits === 8 ? element(v, [r, c]) : (element(v, [r, c >> 1]) >> (4 * (c & 1))) & 15);
      const wanted = build([2, 2, 40], ([i, j, c]) => {
        const r = index.elements[2 * i + j];
        const zero = more.length === 0 ? 2 ** (bits - 1) : number(zeros, r, c >> 4);
        return (number(data, r, c) - zero) * element(scales, [r, c >> 4]);
      });
      close(y, [2, 2, 40], wanted, `${bits} bits`);
    }
  }
  const error = await outputs("GatherBlockQuantized", [bytes("uint8", [5, 20], 0, 255), index, noise(5, 2)]).catch((e) => e);
  assert.match(error.message, /scales of blocks of 128 along axis 1 of \[5,40\] are \[5,1\], got \[5,2\]/);
});

test("ONNX beside ONNX Runtime: a new axis, triangles, samples of grids", async () => {
  await check("ExpandDims", [noise(2, 3), t("int32", [], [-1])]);
  await check("ExpandDims", [noise(2, 3), t("int32", [], [1])]);
  await check("Trilu", [noise(2, 3, 4), i64([1], [])], { attributes: { upper: 0 } });
  const attributes = { mode: "bilinear", padding_mode: "border", align_corners: 1 };
  await check("GridSample", [noise(1, 2, 4, 4), noise(1, 3, 3, 2)], { attributes });
});

test.run();

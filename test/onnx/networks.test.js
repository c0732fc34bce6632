/** @file Operators of networks where their definitions say more than ONNX's own cases show, beside naive loops in float64. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open } from "../../build/esm/index.js";
import { f32, i64, t } from "./make.js";
import { build, bytes, close, convolution, element, noise, offset, places, runOn, sizeOf } from "./nodes.js";

const backend = await open("wasm");
test.after(() => backend.close());

const run = runOn(backend);

const CONVOLUTIONS = [
  [[2, 4, 7], [6, 2, 3], { strides: [2], dilations: [2], pads: [1, 3], group: 2 }],
  [[1, 3, 6, 7], [4, 3, 2, 3], { strides: [2, 1], dilations: [1, 2], pads: [0, 3, 2, 1] }],
  [[2, 6, 5, 6], [6, 1, 3, 3], { strides: [1, 1], dilations: [1, 1], pads: [2, 0, 0, 2], group: 6 }],
  [[1, 4, 4, 5, 6], [4, 2, 3, 2, 3], { strides: [1, 2, 2], dilations: [2, 1, 1], pads: [2, 0, 1, 2, 1, 0], group: 2 }],
];
test("Conv: dimensions, groups, dilations and padding on one side, with filters that are fed and that the file holds", async () => {
  for (const [x, w, attributes] of CONVOLUTIONS) {
    const [image, filters, bias] = [noise(...x), noise(...w), noise(w[0])];
    const { shape, data } = convolution(image, filters, attributes, bias);
    for (const known of [[], ["x1", "x2"]]) {
      const [got] = await run("Conv", [image, filters, bias], { attributes, known });
      close(got, shape, data, `Conv [${x}] by [${w}] ${known}`);
    }
  }
});

test("Conv: auto_pad puts the odd element at the end or at the beginning", async () => {
  const [x, w] = [noise(1, 1, 5, 6), noise(1, 1, 2, 4)];
  // Strides of 2: 3 rows of 5 need 2 * 2 + 2 - 5 = 1 more; 3 columns of 6 need 2 * 2 + 4 - 6 = 2 more.
  for (const [auto_pad, pads] of [
    ["SAME_UPPER", [0, 1, 1, 1]],
    ["SAME_LOWER", [1, 1, 0, 1]],
    ["VALID", [0, 0, 0, 0]],
  ]) {
    const [got] = await run("Conv", [x, w], { attributes: { auto_pad, strides: [2, 2] } });
    const { shape, data } = convolution(x, w, { strides: [2, 2], dilations: [1, 1], pads });
    close(got, shape, data, auto_pad);
  }
});

test("ConvTranspose: each element of x adds its filters where they reach", async () => {
  const cases = [
    [[1, 4, 3], [4, 2, 3], { strides: [2], dilations: [2], pads: [1, 2], output_padding: [1], group: 2 }],
    [[2, 2, 3, 4], [2, 3, 3, 2], { strides: [2, 3], dilations: [1, 2], pads: [1, 0, 0, 1], output_padding: [0, 2] }],
    [[1, 4, 2, 3, 2], [4, 1, 2, 2, 3], { strides: [2, 1, 2], dilations: [1, 2, 1], pads: [0, 1, 1, 1, 0, 1], group: 4 }],
  ];
  for (const [xs, ws, attributes] of cases) {
    const [x, w] = [noise(...xs), noise(...ws)];
    const { strides, dilations, pads, output_padding: more = strides.map(() => 0), group = 1 } = attributes;
    const n = strides.length;
    const size = strides.map((s, i) => s * (xs[i + 2] - 1) + more[i] + (ws[i + 2] - 1) * dilations[i] + 1 - pads[i] - pads[n + i]);
    const shape = [xs[0], ws[1] * group, ...size];
    const data = new Array(sizeOf(shape)).fill(0);
    for (const [b, c, ...p] of places(xs)) {
      for (const [f, ...r] of places(ws.slice(1))) {
        const at = r.map((k, i) => p[i] * strides[i] - pads[i] + k * dilations[i]);
        const place = [b, Math.floor(c / (xs[1] / group)) * ws[1] + f, ...at];
        if (at.every((a, i) => a >= 0 && a < size[i])) data[offset(shape, place)] += element(x, [b, c, ...p]) * element(w, [c, f, ...r]);
      }
    }
    const [got] = await run("ConvTranspose", [x, w], { attributes });
    close(got, shape, data, `ConvTranspose [${xs}] by [${ws}]`);
  }
});

test("pooling: windows of ceil_mode, dilations, padding that counts, and places by rows or by columns", async () => {
  const attributes = { kernel_shape: [3, 2], strides: [2, 2], pads: [1, 0, 1, 1], ceil_mode: 1, dilations: [1, 2] };
  const x = noise(2, 3, 6, 5);
  // (6 + 2 - 3) / 2 and (5 + 1 - 3) / 2, both rounded up, and one.
  const [rows, columns] = [4, 3];
  const shape = [2, 3, rows, columns];
  const windowAt = (p, q) => Array.from({ length: 6 }, (_, k) => [p * 2 - 1 + Math.floor(k / 2), q * 2 + (k % 2) * 2]);
  const inside = ([h, w]) => h >= 0 && h < 6 && w >= 0 && w < 5;
  const best = build(shape, ([n, c, p, q]) => {
    const taps = windowAt(p, q).filter(inside);
    return taps.reduce((a, b) => (element(x, [n, c, ...b]) > element(x, [n, c, ...a]) ? b : a));
  });
  const all = [...places(shape)];
  for (const storage_order of [0, 1]) {
    const [y, index] = await run("MaxPool", [x], { attributes: { ...attributes, storage_order }, outputs: 2, types: ["float32", "int64"] });
    close(
      y,
      shape,
      all.map(([n, c], i) => element(x, [n, c, ...best[i]])),
      "MaxPool",
    );
    const wanted = all.map(([n, c], i) => (n * 3 + c) * 30 + (storage_order ? best[i][1] * 6 + best[i][0] : best[i][0] * 5 + best[i][1]));
    assert.equal(index.data, wanted);
  }
  for (const count_include_pad of [0, 1]) {
    const [y] = await run("AveragePool", [x], { attributes: { ...attributes, count_include_pad } });
    const wanted = build(shape, ([n, c, p, q]) => {
      const taps = windowAt(p, q);
      const counted = taps.filter(([h, w]) => (count_include_pad ? h >= -1 && h < 7 && w < 6 : inside([h, w])));
      return taps.filter(inside).reduce((a, b) => a + element(x, [n, c, ...b]), 0) / counted.length;
    });
    close(y, shape, wanted, `AveragePool, count_include_pad ${count_include_pad}`);
  }
});

test("products of bytes are exact where sums are beyond what f32 holds", async () => {
  const [a, b] = [bytes("uint8", [2, 3000], 200, 255), bytes("int8", [3000, 3], -128, 127)];
  const [za, zb] = [t("uint8", [], [1]), t("int8", [3], [-3, 0, 100])];
  const [got] = await run("MatMulInteger", [a, b, za, zb], { opset: 10, types: ["int32"] });
  const wanted = build([2, 3], ([i, j]) => {
    let y = 0;
    for (let k = 0; k < 3000; k++) y += (element(a, [i, k]) - 1) * (element(b, [k, j]) - zb.elements[j]);
    return y;
  });
  assert.ok(wanted.some((v) => Math.abs(v) > 2 ** 24));
  assert.equal(got.data, wanted);
  const [x, w] = [bytes("uint8", [1, 600, 4, 3], 128, 255), bytes("uint8", [2, 600, 3, 3], 100, 255)];
  const attributes = { strides: [1, 1], dilations: [1, 1], pads: [1, 0, 1, 1] };
  const [conv] = await run("ConvInteger", [x, w, t("uint8", [], [3])], { opset: 10, attributes, types: ["int32"] });
  const less = { ...x, elements: x.elements.map((v) => v - 3) };
  const { shape, data } = convolution(less, w, attributes);
  assert.ok(Math.max(...data) > 2 ** 24);
  assert.equal(conv, { shape, data });
});

test("MatMul and Gemm of integers wrap around, as integers do", async () => {
  const big = 2 ** 30 + 1;
  const [got] = await run("MatMul", [t("int32", [1, 2], [big, 3]), t("int32", [2, 1], [5, 7])], { types: ["int32"] });
  assert.equal(got.data, [(Math.imul(big, 5) + 21) | 0]);
});

test("Einsum: diagonals, labels that are summed away, an ellipsis that broadcasts, three operands", async () => {
  const cases = [
    ["iij->ij", [[3, 3, 2]], [3, 2], ([x], [i, j]) => element(x, [i, i, j])],
    [
      "...ij,jk->...ik",
      [[2, 1, 3, 2], [2, 4]],
      [2, 1, 3, 4],
      ([a, b], [n, m, i, k]) => [0, 1].reduce((s, j) => s + element(a, [n, m, i, j]) * element(b, [j, k]), 0),
    ],
    ["a...,...->a...", [[3, 2, 2], [1, 2]], [3, 2, 2], ([a, b], [n, i, j]) => element(a, [n, i, j]) * element(b, [0, j])],
    [
      "ab,cd,bd->ca",
      [[2, 3], [4, 2], [3, 2]],
      [4, 2],
      ([x, y, z], [c, a]) => [...places([3, 2])].reduce((s, [b, d]) => s + element(x, [a, b]) * element(y, [c, d]) * element(z, [b, d]), 0),
    ],
    ["ba,bc", [[3, 2], [3, 4]], [2, 4], ([x, y], [a, c]) => [0, 1, 2].reduce((s, b) => s + element(x, [b, a]) * element(y, [b, c]), 0)],
  ];
  for (const [equation, shapes, shape, fn] of cases) {
    const inputs = shapes.map((s) => noise(...s));
    const [got] = await run("Einsum", inputs, { attributes: { equation } });
    close(
      got,
      shape,
      build(shape, (at) => fn(inputs, at)),
      equation,
    );
  }
});

/** One direction of an LSTM by its equations. */
function lstm(x, w, r, b, p, length, { reverse, clip }) {
  const [steps, , inputs] = x.shape;
  const hidden = r.shape[2];
  const sigmoid = (v) => 1 / (1 + Math.exp(-v));
  const limit = (v) => Math.max(-clip, Math.min(clip, v));
  const y = Array.from({ length: steps }, () => new Array(hidden).fill(0));
  return (n, d) => {
    let [h, c] = [new Array(hidden).fill(0), new Array(hidden).fill(0)];
    for (let s = 0; s < length; s++) {
      const time = reverse ? length - 1 - s : s;
      const gate = (g, u) => {
        let v = element(b, [d, g * hidden + u]) + element(b, [d, (4 + g) * hidden + u]);
        for (let i = 0; i < inputs; i++) v += element(x, [time, n, i]) * element(w, [d, g * hidden + u, i]);
        for (let i = 0; i < hidden; i++) v += h[i] * element(r, [d, g * hidden + u, i]);
        return v;
      };
      const peephole = (g, u, cell) => element(p, [d, g * hidden + u]) * cell;
      const next = h.map((_, u) => {
        const i = sigmoid(limit(gate(0, u) + peephole(0, u, c[u])));
        const f = sigmoid(limit(gate(2, u) + peephole(2, u, c[u])));
        const cell = f * c[u] + i * Math.tanh(limit(gate(3, u)));
        return [cell, sigmoid(limit(gate(1, u) + peephole(1, u, cell))) * Math.tanh(cell)];
      });
      [c, h] = [next.map(([cell]) => cell), next.map(([, out]) => out)];
      y[time] = h;
    }
    return { y, h, c };
  };
}

test("LSTM: both directions, sequences of different lengths, peepholes and a limit of what activations are given", async () => {
  const [steps, batch, inputs, hidden] = [4, 2, 3, 2];
  const [x, w, r] = [noise(steps, batch, inputs), noise(2, 4 * hidden, inputs), noise(2, 4 * hidden, hidden)];
  const lengths = [4, 2];
  for (const withPeepholes of [true, false]) {
    const b = noise(2, 8 * hidden);
    const p = withPeepholes ? noise(2, 3 * hidden) : f32([2, 3 * hidden], new Array(6 * hidden).fill(0));
    const attributes = { direction: "bidirectional", hidden_size: hidden, ...(withPeepholes ? { clip: { float: 0.7 } } : {}) };
    const given = [x, w, r, b, t("int32", [2], lengths), null, null, ...(withPeepholes ? [p] : [])];
    const [y, yh, yc] = await run("LSTM", given, { attributes, outputs: 3, known: ["x1", "x2", "x3"] });
    const clip = withPeepholes ? 0.7 : Infinity;
    const of = (n, d) => lstm(x, w, r, b, p, lengths[n], { reverse: d === 1, clip })(n, d);
    const states = build([2, batch], ([d, n]) => of(n, d));
    close(
      y,
      [steps, 2, batch, hidden],
      build([steps, 2, batch, hidden], ([s, d, n, u]) => states[d * batch + n].y[s][u]),
      "Y",
    );
    close(
      yh,
      [2, batch, hidden],
      states.flatMap(({ h }) => h),
      "Y_h",
    );
    close(
      yc,
      [2, batch, hidden],
      states.flatMap(({ c }) => c),
      "Y_c",
    );
  }
});

test("Attention: a cache outside, a window that is not the same on both sides, a soft cap, and who sees nothing", async () => {
  const [batch, heads, kvHeads, tq, tk, dim] = [2, 4, 2, 3, 5, 4];
  const [q, k, v] = [noise(batch, heads, tq, dim), noise(batch, kvHeads, tk, dim), noise(batch, kvHeads, tk, dim)];
  const lengths = [5, 2];
  for (const attributes of [{ is_causal: 1 }, { left_window_size: 1, right_window_size: 2, softcap: { float: 1.5 } }]) {
    const { is_causal: causal = 0, left_window_size: left = Infinity, right_window_size: right = Infinity, softcap } = attributes;
    const [got] = await run("Attention", [q, k, v, null, null, null, i64(lengths)], { opset: 25, attributes });
    const wanted = build([batch, heads, tq, dim], ([b, h, i, d]) => {
      const own = lengths[b] - tq + i;
      const weights = Array.from({ length: tk }, (_, j) => {
        const sees = j < lengths[b] && (!causal || j <= own) && own - j <= left && j - own <= right;
        if (!sees) return 0;
        let score = 0;
        for (let e = 0; e < dim; e++) score += element(q, [b, h, i, e]) * element(k, [b, h >> 1, j, e]);
        score /= Math.sqrt(dim);
        return Math.exp(softcap ? softcap.float * Math.tanh(score / softcap.float) : score);
      });
      const total = weights.reduce((a, w) => a + w, 0);
      return total === 0 ? 0 : weights.reduce((a, w, j) => a + (w / total) * element(v, [b, h >> 1, j, d]), 0);
    });
    close(got, [batch, heads, tq, dim], wanted, JSON.stringify(attributes));
  }
});

test("what is not computed is refused by its name", async () => {
  const refused = async (op, inputs, options, pattern) => {
    try {
      await run(op, inputs, options);
    } catch (error) {
      assert.match(error.message, pattern);
      return;
    }
    assert.unreachable(`${op} was computed`);
  };
  await refused("Conv", [noise(1, 1, 2, 2, 2, 2), noise(1, 1, 1, 1, 1, 1)], {}, /1 to 3 dimensions/);
  await refused("Conv", [noise(1, 3, 4, 4), noise(2, 2, 3, 3)], {}, /Conv "y0": \[1,3,4,4\] with filters \[2,2,3,3\] in 1 group/);
  await refused(
    "RNN",
    [noise(1, 1, 2), noise(1, 2, 2), noise(1, 2, 2)],
    { attributes: { activations: ["Cosine"] } },
    /"Cosine" is not known/,
  );
  await refused("Resize", [noise(1, 1, 2, 2), null, f32([4], [1, 1, 2, 2])], { attributes: { mode: "sinc" } }, /mode must be one of/);
});

test.run();

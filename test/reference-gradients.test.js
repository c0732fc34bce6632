/**
 * Tests of the reference's gradient kernels: each equals central finite differences of its forward kernel; recurrent
 * kernels also give the values of the conformance cases where those are at hand (test/conformance/train).
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "uvu";
import { ACTIVATION_NAMES } from "./reference/activation.js";
import { KERNELS } from "./reference/index.js";
import { assertNear, numbers, numericGradient, zeros } from "./reference/numeric.js";

const WINDOWS = [
  { h: 5, w: 4, p: 3, q: 2, r: 3, s: 3, strideH: 1, strideW: 1, dilationH: 1, dilationW: 1, padTop: 0, padLeft: 0 },
  { h: 5, w: 6, p: 3, q: 3, r: 3, s: 2, strideH: 2, strideW: 2, dilationH: 1, dilationW: 1, padTop: 1, padLeft: 0 },
  { h: 4, w: 7, p: 4, q: 3, r: 2, s: 4, strideH: 1, strideW: 3, dilationH: 1, dilationW: 1, padTop: 0, padLeft: 1 },
  { h: 3, w: 3, p: 1, q: 1, r: 1, s: 1, strideH: 3, strideW: 3, dilationH: 1, dilationW: 1, padTop: 0, padLeft: 0 },
];
const DILATED = [
  { h: 7, w: 6, p: 3, q: 4, r: 3, s: 2, strideH: 1, strideW: 1, dilationH: 2, dilationW: 2, padTop: 0, padLeft: 0 },
  { h: 6, w: 5, p: 3, q: 3, r: 2, s: 3, strideH: 2, strideW: 2, dilationH: 3, dilationW: 2, padTop: 1, padLeft: 2 },
];

for (const [i, window] of [...WINDOWS, ...DILATED].entries()) {
  for (const [c, f, groups] of [[3, 2, 1], [4, 6, 2], [3, 6, 3]]) {
    test(`conv2d gradients: window ${i}, ${c} -> ${f} channels in ${groups} groups`, () => {
      const attrs = { n: 2, ...window, c, f, groups, activation: "linear" };
      const random = numbers(i + 1);
      const x = random(2, window.h, window.w, c);
      const w = random(window.r, window.s, c / groups, f);
      const dy = random(2, window.p, window.q, f);
      const forward = () => {
        const y = zeros(dy.length);
        KERNELS.conv2d(attrs, [x, w, null], [y]);
        return y;
      };
      const dx = zeros(x.length);
      const dw = zeros(w.length);
      KERNELS.conv2dInputGrad(attrs, [dy, w], [dx]);
      KERNELS.conv2dFilterGrad(attrs, [x, dy], [dw]);
      assertNear(dx, numericGradient(forward, x, dy), "dx");
      assertNear(dw, numericGradient(forward, w, dy), "dw");
    });
  }
}

for (const [i, window] of WINDOWS.entries()) {
  test(`pooling gradients: window ${i}`, () => {
    const attrs = { n: 2, ...window, c: 3 };
    const random = numbers(i + 50);
    const x = random(2, window.h, window.w, 3);
    const dy = random(2, window.p, window.q, 3);
    const index = zeros(dy.length);
    const forward = (kernel) => () => {
      const y = zeros(dy.length);
      kernel(attrs, [x], [y, index]);
      return y;
    };
    const dx = zeros(x.length);
    const expectedMax = numericGradient(forward(KERNELS.maxPool), x, dy);
    forward(KERNELS.maxPool)();
    KERNELS.maxPoolGrad(attrs, [dy, index], [dx]);
    assertNear(dx, expectedMax, "maxPool dx");
    KERNELS.avgPoolGrad(attrs, [dy], [dx]);
    assertNear(dx, numericGradient(forward(KERNELS.avgPool), x, dy), "avgPool dx");
  });
}

for (const name of ["softmax", "logSoftmax"]) {
  test(`${name} gradient`, () => {
    const attrs = { rows: 3, cols: 5 };
    const random = numbers(7);
    const x = random(3, 5);
    const dy = random(3, 5);
    const forward = () => {
      const y = zeros(15);
      KERNELS[name](attrs, [x], [y]);
      return y;
    };
    const dx = zeros(15);
    KERNELS[`${name}Grad`](attrs, [dy, forward()], [dx]);
    assertNear(dx, numericGradient(forward, x, dy), "dx");
  });
}

test("softmaxCrossEntropy: probs give the gradient; sparse labels equal one-hot ones", () => {
  const [rows, cols] = [3, 4];
  const random = numbers(8);
  const logits = random(rows, cols);
  const dense = Float64Array.of(0, 1, 0, 0, 0, 0, 0, 1, 0.2, 0.3, 0.1, 0.4);
  const loss = (labels, sparse) => () => {
    const y = zeros(rows);
    KERNELS.softmaxCrossEntropy({ rows, cols, sparse }, [logits, labels], [y, null]);
    return y;
  };
  const probs = zeros(rows, cols);
  KERNELS.softmaxCrossEntropy({ rows, cols, sparse: false }, [logits, dense], [zeros(rows), probs]);
  const expected = numericGradient(loss(dense, false), logits, [1, 1, 1]);
  assertNear(
    probs.map((p, i) => p - dense[i]),
    expected,
    "probs - labels",
  );
  assertNear(loss(Float64Array.of(1, 3, 0), true)().slice(0, 2), loss(dense, false)().slice(0, 2), "sparse", 1e-14);
});

test("scatterAdd is the gradient of gather, clamped and repeated indices included", () => {
  const attrs = { outer: 2, size: 4, inner: 3, count: 6 };
  const random = numbers(9);
  const x = random(2, 4, 3);
  const index = Float64Array.of(3, 0, 0, -2, 9, 1);
  const dy = random(2, 6, 3);
  const forward = () => {
    const y = zeros(2, 6, 3);
    KERNELS.gather(attrs, [x, index], [y]);
    return y;
  };
  const dx = zeros(2, 4, 3);
  KERNELS.scatterAdd(attrs, [dy, index], [dx]);
  assertNear(dx, numericGradient(forward, x, dy), "dx");
});

/** A recurrent case: random operands, with or without initial states and mask. */
function recurrentCase(gates, { seed, reverse, withStates, withMask, ...rest }) {
  const random = numbers(seed);
  const [b, t, u] = [2, 4, 3];
  // Unbounded activations stay small enough for finite differences.
  const small = (...shape) => random(...shape).map((x) => 0.5 * x);
  const mask = withMask ? Float64Array.of(0, 1, 0, 1, 1, 1, 1, 0) : null;
  return {
    attrs: { b, t, u, reverse, resetAfter: true, activation: "tanh", recurrentActivation: "sigmoid", ...rest },
    xw: small(b, t, gates, u),
    wr: small(u, gates, u),
    bias2: random(gates, u),
    mask,
    h0: withStates ? random(b, u) : null,
    c0: withStates ? random(b, u) : null,
    dh: random(b, t, u),
    dcLast: random(b, u),
    rows: b * t,
    states: b * u,
  };
}

/** Row of the last computed step of each sequence. */
const lastRows = ({ b, t, reverse }) => Array.from({ length: b }, (_, i) => i * t + (reverse ? 0 : t - 1));

/** sum over rows of h_prev (outer) dz for units: the gradient of recurrent weights, as the graph computes it. */
function weightGradient({ attrs: { b, t, u, reverse }, h0 }, h, dz, gates) {
  const dw = zeros(u, gates, u);
  for (let row = 0; row < b * t; row++) {
    const first = row % t === (reverse ? t - 1 : 0);
    const previous = reverse ? row + 1 : row - 1;
    for (let k = 0; k < u; k++) {
      const hPrevious = first ? (h0 ? h0[Math.floor(row / t) * u + k] : 0) : h[previous * u + k];
      for (let j = 0; j < gates * u; j++) dw[k * gates * u + j] += hPrevious * dz[row * gates * u + j];
    }
  }
  return dw;
}

function checkLstm(c) {
  const { attrs, xw, wr, h0, c0, mask, dh, dcLast, rows } = c;
  const last = lastRows(attrs);
  const forward = () => {
    const y = { h: zeros(rows, 3), c: zeros(rows, 3), gates: zeros(rows, 12) };
    KERNELS.lstm(attrs, [xw, wr, h0, c0, mask], [y.h, y.c, y.gates]);
    return y;
  };
  const outputs = () => {
    const y = forward();
    return Float64Array.from([...y.h, ...last.flatMap((row) => [...y.c.subarray(row * 3, row * 3 + 3)])]);
  };
  const y = forward();
  const [dgates, dh0, dc0] = [zeros(rows, 12), zeros(2, 3), zeros(2, 3)];
  KERNELS.lstmGrad(attrs, [dh, dcLast, wr, y.c, y.gates, h0, c0, mask], [dgates, dh0, dc0]);
  const cotangent = [...dh, ...dcLast];
  assertNear(dgates, numericGradient(outputs, xw, cotangent), "dgates");
  assertNear(weightGradient(c, y.h, dgates, 4), numericGradient(outputs, wr, cotangent), "dwr");
  if (h0) assertNear(dh0, numericGradient(outputs, h0, cotangent), "dh0");
  if (c0) assertNear(dc0, numericGradient(outputs, c0, cotangent), "dc0");
}

function checkGru(c) {
  const { attrs, xw, wr, h0, mask, dh, rows } = c;
  const bias2 = attrs.resetAfter ? c.bias2 : null;
  const forward = () => {
    const y = { h: zeros(rows, 3), gates: zeros(rows, 12) };
    KERNELS.gru(attrs, [xw, wr, bias2, h0, mask], [y.h, y.gates]);
    return y;
  };
  const outputs = () => forward().h;
  const y = forward();
  const [dxw, dhw, dh0] = [zeros(rows, 9), zeros(rows, 9), zeros(2, 3)];
  KERNELS.gruGrad(attrs, [dh, wr, y.h, y.gates, h0, mask], [dxw, dhw, dh0]);
  assertNear(dxw, numericGradient(outputs, xw, dh), "dxw");
  if (h0) assertNear(dh0, numericGradient(outputs, h0, dh), "dh0");
  const dwr = weightGradient(c, y.h, dhw, 3);
  const expected = numericGradient(outputs, wr, dh);
  // Without resetAfter the candidate's weights multiply r * h_prev, the fourth saved part.
  const compared = (_, i) => attrs.resetAfter || i % 9 < 6;
  assertNear(dwr.filter(compared), expected.filter(compared), "dwr");
  if (!attrs.resetAfter) {
    const candidate = dwr.map((_, i) => {
      const [k, j] = [Math.floor(i / 9), i % 9];
      return Array.from({ length: rows }, (_row, row) => y.gates[(row * 4 + 3) * 3 + k] * dhw[row * 9 + j]).reduce((a, b) => a + b, 0);
    });
    const rest = (_, i) => i % 9 >= 6;
    assertNear(candidate.filter(rest), expected.filter(rest), "dwr of the candidate");
  }
  if (bias2) {
    const db = zeros(9).map((_, j) => dhw.reduce((a, x, i) => (i % 9 === j ? a + x : a), 0));
    assertNear(db, numericGradient(outputs, bias2, dh), "dbias2");
  }
}

function checkSimpleRnn(c) {
  const { attrs, xw, wr, h0, mask, dh, rows } = c;
  const forward = () => {
    const h = zeros(rows, 3);
    KERNELS.simpleRnn(attrs, [xw, wr, h0, mask], [h]);
    return h;
  };
  const [dxw, dh0] = [zeros(rows, 3), zeros(2, 3)];
  const h = forward();
  KERNELS.simpleRnnGrad(attrs, [dh, wr, h, h0, mask], [dxw, dh0]);
  assertNear(dxw, numericGradient(forward, xw, dh), "dxw");
  assertNear(weightGradient(c, h, dxw, 1), numericGradient(forward, wr, dh), "dwr");
  if (h0) assertNear(dh0, numericGradient(forward, h0, dh), "dh0");
}

for (const [variant, options] of Object.entries({
  plain: {},
  "states and mask": { withStates: true, withMask: true },
  "reverse with mask": { reverse: true, withMask: true },
  "reverse with states": { reverse: true, withStates: true, resetAfter: false },
  "reset before, states and mask": { withStates: true, withMask: true, resetAfter: false },
})) {
  const settings = { seed: 21, reverse: false, withStates: false, withMask: false, ...options };
  test(`lstm gradients: ${variant}`, () => checkLstm(recurrentCase(4, settings)));
  test(`gru gradients: ${variant}`, () => checkGru(recurrentCase(3, settings)));
  test(`simpleRnn gradients: ${variant}`, () => checkSimpleRnn(recurrentCase(1, settings)));
}

for (const name of ACTIVATION_NAMES) {
  test(`recurrent gradients: ${name}`, () => {
    const settings = { seed: 31, reverse: false, withStates: true, withMask: true };
    checkLstm(recurrentCase(4, { ...settings, activation: name }));
    checkLstm(recurrentCase(4, { ...settings, recurrentActivation: name }));
    checkGru(recurrentCase(3, { ...settings, activation: name, recurrentActivation: "hardSigmoid" }));
    checkSimpleRnn(recurrentCase(1, { ...settings, activation: name }));
  });
}

const CASES = new URL("conformance/train/", import.meta.url);

/** The tensors of a case: `{ shape, data, atol }` by name. */
function readTensors(tensors) {
  const elements = ({ dtype, data, b64 }) => {
    if (data) return data;
    const bytes = new Uint8Array(Buffer.from(b64, "base64")).buffer;
    return dtype === "int32" ? new Int32Array(bytes) : new Float32Array(bytes);
  };
  return Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, { ...t, data: Float64Array.from(elements(t)) }]));
}

function multiply(a, b, m, k, n, options = {}) {
  const y = zeros(m, n);
  const { bias = null, transposeA = false, transposeB = false } = options;
  KERNELS.matmul({ batch: 1, batchA: 1, batchB: 1, m, k, n, transposeA, transposeB, activation: "linear" }, [a, b, bias], [y]);
  return y;
}

const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());

function caseAttrs(config, [b, t]) {
  const {
    units: u,
    activation = "tanh",
    recurrent_activation: gate = "sigmoid",
    go_backwards: reverse = false,
    reset_after: resetAfter = true,
  } = config;
  return { b, t, u, activation: camel(activation), recurrentActivation: camel(gate), reverse, resetAfter };
}

/** The forward kernel of a layer and, given the gradients of its outputs, that of xw and of the initial states. */
const LAYERS = {
  LSTM: (attrs, { xw, wr, states: [h0, c0], mask }) => {
    const [h, c, gates, dgates] = [1, 1, 4, 4].map((g) => zeros(attrs.b, attrs.t, g, attrs.u));
    const [dh0, dc0] = [zeros(attrs.b, attrs.u), zeros(attrs.b, attrs.u)];
    KERNELS.lstm(attrs, [xw, wr, h0, c0, mask], [h, c, gates]);
    return {
      outputs: [h, c],
      backward: (dh, dc) => {
        KERNELS.lstmGrad(attrs, [dh, dc, wr, c, gates, h0, c0, mask], [dgates, dh0, dc0]);
        return { dxw: dgates, states: [dh0, dc0] };
      },
    };
  },
  GRU: (attrs, { xw, wr, bias2, states: [h0], mask }) => {
    const [h, gates, dxw] = [1, 4, 3].map((g) => zeros(attrs.b, attrs.t, g, attrs.u));
    const dh0 = zeros(attrs.b, attrs.u);
    KERNELS.gru(attrs, [xw, wr, bias2, h0, mask], [h, gates]);
    return {
      outputs: [h],
      backward: (dh) => {
        KERNELS.gruGrad(attrs, [dh, wr, h, gates, h0, mask], [dxw, null, dh0]);
        return { dxw, states: [dh0] };
      },
    };
  },
  SimpleRNN: (attrs, { xw, wr, states: [h0], mask }) => {
    const [h, dxw] = [1, 1].map((g) => zeros(attrs.b, attrs.t, g, attrs.u));
    const dh0 = zeros(attrs.b, attrs.u);
    KERNELS.simpleRnn(attrs, [xw, wr, h0, mask], [h]);
    return {
      outputs: [h],
      backward: (dh) => {
        KERNELS.simpleRnnGrad(attrs, [dh, wr, h, h0, mask], [dxw, dh0]);
        return { dxw, states: [dh0] };
      },
    };
  },
};

function checkCase({ layer: { class_name: kind, config }, tensors }) {
  const named = readTensors(tensors);
  const data = (name) => named[name]?.data ?? null;
  const attrs = caseAttrs(config, named["in/x"].shape);
  const { b, t, u } = attrs;
  const features = named["in/x"].shape[2];
  const columns = named["param/kernel"].shape[1];
  const bias = data("param/bias");
  const xw = multiply(data("in/x"), data("param/kernel"), b * t, features, columns, { bias: bias?.subarray(0, columns) });
  const bias2 = bias && bias.length > columns ? bias.subarray(columns) : null;
  const states = [0, 1].map((k) => data(`in/initial_state_${k}`));
  const { outputs, backward } = LAYERS[kind](attrs, { xw, wr: data("param/recurrent_kernel"), bias2, states, mask: data("in/mask") });
  // The layer gives steps in the order of computation; kernels store each where it was read.
  const order = Array.from({ length: b * t }, (_, row) => (attrs.reverse ? row - (row % t) + t - 1 - (row % t) : row));
  const last = lastRows(attrs);
  const pick = (x, rows) => Float64Array.from(rows.flatMap((row) => [...x.subarray(row * u, row * u + u)]));
  const near = (got, name) =>
    named[name] && assertNear(got, named[name].data, name, named[name].atol / Math.max(1, ...named[name].data.map(Math.abs)));
  const rows = config.return_sequences ? order : last;
  near(pick(outputs[0], rows), "out/y");
  outputs.forEach((state, k) => near(pick(state, last), `out/state_${k}`));
  const dh = zeros(b * t, u);
  const spread = (dy, to) => dy?.forEach((d, i) => (dh[to[Math.floor(i / u)] * u + (i % u)] += d));
  spread(data("cotangent/y"), rows);
  spread(data("cotangent/state_0"), last);
  const gradients = backward(dh, data("cotangent/state_1"));
  near(multiply(gradients.dxw, data("param/kernel"), b * t, columns, features, { transposeB: true }), "grad/in/x");
  near(multiply(data("in/x"), gradients.dxw, features, b * t, columns, { transposeA: true }), "grad/param/kernel");
  gradients.states.forEach((d, k) => near(d, `grad/in/initial_state_${k}`));
}

const files = existsSync(CASES) ? readdirSync(CASES).filter((f) => /^(lstm|gru|rnn)_.*\.json$/.test(f)) : [];
for (const file of files) test(`conformance: ${file}`, () => checkCase(JSON.parse(readFileSync(new URL(file, CASES), "utf8"))));

test.run();

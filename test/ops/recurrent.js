/** @file Cases of recurrent sequences. Gradients reach h of all steps and c of the last computed step. */
import { apply } from "../../build/esm/apply.js";
import { mul } from "../../build/esm/ops/map.js";
import { reshape, slice } from "../../build/esm/ops/move.js";
import * as r from "../../build/esm/ops/recurrent.js";
import { ULP, b, f, fixed, i, values } from "./harness.js";

// Batch, steps, units.
const SIZES = [[1, 1, 1], [2, 3, 4], [3, 4, 5], [1, 5, 3], [4, 2, 8], [5, 3, 7], [2, 2, 17], [7, 1, 9], [9, 5, 33]];
const title = ([batch, steps, units]) => `B ${batch} T ${steps} U ${units}`;
const close = { scale: 1, tolerance: 64 * ULP, gradTolerance: 2e-5 };
const small = ([batch, steps, units]) => batch * steps * units < 300;

/** c is differentiated only where gradients reach it. */
function lastCell(c, reverse) {
  const [batch, steps, units] = c.shape;
  return reshape(slice(c, [0, reverse ? 0 : steps - 1, 0], [batch, 1, units]), [batch, units]);
}

/** Factors of recurrent dropout: some are zero. */
const some = (shape) =>
  values(
    Array.from({ length: shape[0] * shape[1] }, (_, k) => [1.25, 0, 0.75, 2][((k * 7) % 11) % 4]),
    "f32",
    shape,
  );

function lstm(name, [batch, steps, units], { state = false, mask = null, factors = null, ...options }) {
  const inputs = [f([batch, steps, 4 * units], -1.5, 1.5), f([units, 4 * units], -0.6, 0.6)];
  if (state) inputs.push(f([batch, units], -1, 1), f([batch, units], -1, 1));
  if (factors) inputs.push(factors([batch, units]));
  if (mask) inputs.push(mask([batch, steps], 0, 1));
  const fn = (xw, wr, ...rest) => {
    const [h0, c0] = state ? rest.splice(0, 2) : [null, null];
    const dropped = factors ? rest.shift() : null;
    const { h, c } = r.lstmSequence(xw, wr, { h0, c0, factors: dropped, mask: rest[0] ?? null, ...options });
    return [h, lastCell(c, options.reverse)];
  };
  return { op: "lstm", name: `${title([batch, steps, units])} ${name}`, inputs, fn, ...close, grad: small([batch, steps, units]) };
}

function gru(name, [batch, steps, units], { state = false, bias = false, mask = null, factors = null, ...options }) {
  const inputs = [f([batch, steps, 3 * units], -1.5, 1.5), f([units, 3 * units], -0.6, 0.6)];
  if (bias) inputs.push(f([3 * units], -0.5, 0.5));
  if (state) inputs.push(f([batch, units], -1, 1));
  if (factors) inputs.push(factors([batch, units]));
  if (mask) inputs.push(mask([batch, steps], 0, 1));
  const fn = (xw, wr, ...rest) => {
    const recurrentBias = bias ? rest.shift() : null;
    const h0 = state ? rest.shift() : null;
    const dropped = factors ? rest.shift() : null;
    return r.gruSequence(xw, wr, { recurrentBias, h0, factors: dropped, mask: rest[0] ?? null, ...options });
  };
  return { op: "gru", name: `${title([batch, steps, units])} ${name}`, inputs, fn, ...close, grad: small([batch, steps, units]) };
}

function simpleRnn(name, [batch, steps, units], { state = false, mask = null, factors = null, ...options }) {
  const inputs = [f([batch, steps, units], -1.5, 1.5), f([units, units], -0.6, 0.6)];
  if (state) inputs.push(f([batch, units], -1, 1));
  if (factors) inputs.push(factors([batch, units]));
  if (mask) inputs.push(mask([batch, steps], 0, 1));
  const fn = (xw, wr, ...rest) => {
    const h0 = state ? rest.shift() : null;
    const dropped = factors ? rest.shift() : null;
    return r.simpleRnnSequence(xw, wr, { h0, factors: dropped, mask: rest[0] ?? null, ...options });
  };
  return { op: "simpleRnn", name: `${title([batch, steps, units])} ${name}`, inputs, fn, ...close, grad: small([batch, steps, units]) };
}

const VARIANTS = [
  ["plain", {}],
  ["state", { state: true }],
  ["reverse", { reverse: true, state: true }],
  ["mask", { mask: i }],
  ["bool mask, reverse", { mask: b, reverse: true, state: true }],
  ["hardSigmoid gates", { recurrentActivation: "hardSigmoid" }],
  ["softsign", { activation: "softsign", state: true }],
  ["factors", { factors: some }],
  ["factors, state", { factors: some, state: true }],
  ["factors, mask, reverse", { factors: some, mask: i, reverse: true, state: true }],
  ["factors not differentiated, state", { factors: (shape) => fixed(some(shape)), state: true }],
];
const MAKERS = [lstm, gru, simpleRnn];

/** The gradient kernels called as ops: what comes in need not be a forward pass's. */
const gradOps = SIZES.flatMap(([batch, steps, units]) => {
  const attrs = { b: batch, t: steps, u: units, activation: "tanh", recurrentActivation: "sigmoid", reverse: false, resetAfter: true };
  const h = f([batch, steps, units], -0.9, 0.9);
  const gates = f([batch, steps, 4 * units], 0.1, 0.9);
  const state = f([batch, units], -0.9, 0.9);
  const name = title([batch, steps, units]);
  return [
    {
      op: "lstmGrad",
      name: `${name} factors`,
      ...close,
      scale: 4,
      inputs: [h, state, f([units, 4 * units], -0.6, 0.6), h, gates, state, state, some([batch, units])],
      fn: (dh, dc, wr, c, g, h0, c0, factors) => apply(r.lstmGradOp, [dh, dc, wr, c, g, h0, c0, null, factors], attrs),
    },
    {
      op: "gruGrad",
      name: `${name} factors`,
      ...close,
      scale: 4,
      inputs: [h, f([units, 3 * units], -0.6, 0.6), h, gates, state, some([batch, units])],
      fn: (dh, wr, y, g, h0, factors) => apply(r.gruGradOp, [dh, wr, y, g, h0, null, factors], attrs),
    },
    {
      op: "simpleRnnGrad",
      name: `${name} factors`,
      ...close,
      scale: 4,
      inputs: [h, f([units, units], -0.6, 0.6), h, state, some([batch, units])],
      fn: (dh, wr, y, h0, factors) => apply(r.simpleRnnGradOp, [dh, wr, y, h0, null, factors], attrs),
    },
    {
      op: "lstmGrad",
      name,
      inputs: [h, state, f([units, 4 * units], -0.6, 0.6), h, gates, state, state],
      fn: (dh, dc, wr, c, g, h0, c0) => apply(r.lstmGradOp, [dh, dc, wr, c, g, h0, c0, null, null], attrs),
      ...close,
      scale: 4,
    },
    {
      op: "gruGrad",
      name,
      inputs: [h, f([units, 3 * units], -0.6, 0.6), h, gates, state],
      fn: (dh, wr, y, g, h0) => apply(r.gruGradOp, [dh, wr, y, g, h0, null, null], attrs),
      ...close,
      scale: 4,
    },
    {
      op: "simpleRnnGrad",
      name,
      inputs: [h, f([units, units], -0.6, 0.6), h, state],
      fn: (dh, wr, y, h0) => apply(r.simpleRnnGradOp, [dh, wr, y, h0, null, null], attrs),
      ...close,
      scale: 4,
    },
  ];
});

export const cases = [
  ...MAKERS.flatMap((make) => SIZES.map((size) => make("", size, {}))),
  ...MAKERS.flatMap((make) => VARIANTS.map(([name, options]) => make(name, [3, 4, 5], options))),
  ...SIZES.map((size) => gru("bias", size, { bias: true, state: true })),
  gru("resetAfter false", [3, 4, 5], { resetAfter: false }),
  gru("resetAfter false, state, mask", [2, 5, 3], { resetAfter: false, state: true, mask: i }),
  gru("resetAfter false, 17 units", [3, 3, 17], { resetAfter: false, state: true }),
  gru("resetAfter false, factors", [3, 4, 5], { resetAfter: false, factors: some }),
  gru("resetAfter false, factors, state, mask, reverse", [6, 3, 7], {
    resetAfter: false,
    factors: some,
    state: true,
    mask: i,
    reverse: true,
  }),
  gru("bias, factors, state", [2, 5, 3], { bias: true, factors: some, state: true }),
  ...MAKERS.flatMap((make) => [[4, 2, 8], [9, 5, 33], [1, 3, 1]].map((size) => make("factors", size, { factors: some, state: true }))),
  gru("resetAfter false, factors", [9, 5, 33], { resetAfter: false, factors: some, state: true }),
  gru("bias, mask, reverse", [2, 5, 3], { bias: true, mask: i, reverse: true }),
  simpleRnn("relu", [2, 3, 4], { activation: "relu" }),
  { ...lstm("only the last cell state is used", [2, 3, 4], {}), fn: (xw, wr) => lastCell(r.lstmSequence(xw, wr).c, false) },
  {
    op: "lstm",
    name: "weights not differentiated",
    inputs: [f([2, 3, 8], -1, 1), fixed(f([2, 8], -0.6, 0.6))],
    fn: (xw, wr) => mul(r.lstmSequence(xw, wr).h, 2),
    ...close,
  },
  ...gradOps,
];

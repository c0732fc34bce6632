/**
 * @file What src/plan/kernels.ts says about each kernel's operands, in a form that can be checked: for given attributes,
 * the number of elements and the dtype of every input and output, and conditions on the attributes themselves.
 * map and reduce with a body are checked in body.js.
 */
import { bindingsOf } from "./scan.js";

const product = (...sizes) => sizes.reduce((a, b) => a * b, 1);

const operand = (name, size, dtype) => ({ name, size, dtype, optional: false });
const f32 = (name, ...sizes) => operand(name, product(...sizes), ["f32"]);
const i32 = (name, ...sizes) => operand(name, product(...sizes), ["i32"]);
const u32 = (name, ...sizes) => operand(name, product(...sizes), ["u32"]);
const anyType = (name, ...sizes) => operand(name, product(...sizes), ["f32", "i32", "u32", "bool"]);
const anySize = (spec) => ({ ...spec, size: null });
const maybe = (spec) => ({ ...spec, optional: true });

/** The dtype of a call's first input, as the only one allowed. */
const typeOfFirst = (call) => [call.inputs[0]?.dtype];

const windowInput = ({ n, h, w, c }) => [n, h, w, c];
const windowOutput = ({ n, p, q }, channels) => [n, p, q, channels];
const filterSizes = ({ r, s, c, f, groups }) => [r, s, c / groups, f];

/** Least and greatest element that strided access reaches, null when it reaches none. */
export function strideRange(shape, offset, strides) {
  if (shape.includes(0)) return null;
  const reach = shape.map((d, i) => (d - 1) * strides[i]);
  const sum = (list) => list.reduce((a, b) => a + b, offset);
  return { first: sum(reach.filter((x) => x < 0)), last: sum(reach.filter((x) => x > 0)) };
}

/** Complains when strided access leaves [0, size). */
export function inside(name, size, shape, offset, strides) {
  if (strides.length !== shape.length) return `${name} has ${strides.length} strides for ${shape.length} dimensions`;
  const range = strideRange(shape, offset, strides);
  if (range === null || (range.first >= 0 && range.last < size)) return null;
  return `${name} is accessed at elements ${range.first} to ${range.last} of ${size}`;
}

const sizeOf = (o) => product(...o.shape);

function checkMatmul({ batch, batchA, batchB }) {
  const fits = [batchA, batchB].every((b) => b === 1 || b === batch);
  return fits ? null : `batchA ${batchA} and batchB ${batchB} must be 1 or batch ${batch}`;
}

function checkGroups({ c, f, groups }) {
  return c % groups === 0 && f % groups === 0 ? null : `${groups} groups must divide C ${c} and F ${f}`;
}

function checkPool({ dilationH, dilationW }) {
  return dilationH === 1 && dilationW === 1 ? null : "pooling has dilation 1";
}

function checkGather({ size, count }) {
  return size > 0 || count === 0 ? null : `${count} elements are indexed in an axis of size 0`;
}

function checkCopy({ shape, xOffset, xStrides, yOffset, yStrides }, call) {
  if (shape.length > 6) return `rank ${shape.length} is above 6`;
  return inside("x", sizeOf(call.inputs[0]), shape, xOffset, xStrides) ?? inside("y", sizeOf(call.outputs[0]), shape, yOffset, yStrides);
}

function checkReduce({ op, size, outer, inner }) {
  if (!["sum", "max", "min", "prod", "argmax", "argmin"].includes(op)) return `no reduction "${op}"`;
  return size > 0 || outer * inner === 0 || op === "sum" || op === "prod" ? null : `${op} of no elements`;
}

function checkRange({ size, count }, call) {
  if (call.kernel === "permutation" && count > 0 && size < 1) return `a permutation of ${size} elements`;
  if (call.kernel === "iota" && sizeOf(call.outputs[0]) > 0 && size < 1) return `iota of size ${size}`;
  return null;
}

/** Operands against the bindings of the body, of which what moves has one for each step. */
function checkScan({ length, moves }, { inputs, outputs, body }) {
  const roles = bindingsOf(body);
  const of = (role) => roles.filter((r) => r.role === role);
  const all = [...of("carried"), ...of("collected")];
  if (inputs.length !== of("operand").length || moves.length !== inputs.length)
    return `${inputs.length} operands, of which ${moves.length} may move, for ${of("operand").length}`;
  if (outputs.length !== all.length + body.slots.length)
    return `${outputs.length} outputs for ${all.length} and ${body.slots.length} slots`;
  const wrong = [...of("operand"), ...all].find(({ role, at, size }) => {
    const steps = role === "collected" || (role === "operand" && moves[at]) ? length : 1;
    const operand = role === "operand" ? inputs[at] : outputs[role === "carried" ? at : of("carried").length + at];
    return operand === null || sizeOf(operand) !== steps * size;
  });
  return wrong === undefined ? null : `${wrong.role} ${wrong.at} does not have ${wrong.size} elements a step`;
}

function checkAttention(a, call) {
  if (a.heads % a.kvHeads !== 0) return `${a.kvHeads} heads of keys must divide ${a.heads}`;
  const mask = call.inputs[call.kernel === "attention" ? 3 : 6];
  return mask ? inside("mask", sizeOf(mask), [a.b, a.heads, a.tq, a.tk], 0, a.maskStrides) : null;
}

const attentionQueries = (name, a, dim = a.dim) => f32(name, a.b, a.tq, a.heads, dim);
const attentionKeys = (name, a, dim = a.dim) =>
  a.halves ? u32(name, a.b, a.tk, a.kvHeads, dim / 2) : f32(name, a.b, a.tk, a.kvHeads, dim);
/** Operands that say who sees what, in both kernels. */
const attentionRules = (a) => [
  maybe(anySize(operand("mask", 0, ["f32", "bool"]))),
  maybe(i32("offset", a.b)),
  maybe(i32("lengths", a.b)),
  maybe(u32("key", 4)),
];

const pool = (inputs, outputs) => ({ check: checkPool, inputs, outputs });
const rows = (inputs, outputs) => ({
  inputs: (a) => inputs.map((n) => f32(n, a.rows, a.cols)),
  outputs: (a) => outputs.map((n) => f32(n, a.rows, a.cols)),
});
const initial = (name, a) => maybe(f32(name, a.b, a.u));
const mask = (a) => maybe(i32("mask", a.b, a.t));
const sequence = (name, a, gates) => f32(name, a.b, a.t, gates, a.u);

/** Whether a call changes a part of what its outputs hold, which it therefore must. */
export const updates = ({ kernel, attrs }) => kernel === "scatterUpdate" || (kernel === "copy" && attrs.partial);

/** By kernel: `inputs(attrs, call)` and `outputs(attrs, call)` in order, and `check(attrs, call)`, which gives a complaint or null. */
export const CONTRACT = {
  map: { inputs: null, outputs: null },
  reduce: {
    check: checkReduce,
    inputs: (a) => (a.body ? null : [operand("x", product(a.outer, a.size, a.inner), ["f32", "i32"])]),
    outputs: (a, call) => {
      const index = a.op === "argmax" || a.op === "argmin";
      return [operand("y", a.outer * a.inner, index ? ["i32"] : a.body ? ["f32", "i32"] : typeOfFirst(call))];
    },
  },
  rotary: {
    check: ({ dim, half }) => (2 * half <= dim ? null : `half ${half} is more than half of ${dim}`),
    inputs: (a) => [f32("x", a.outer, a.time, a.heads, a.dim), f32("cos", a.time, a.half), f32("sin", a.time, a.half)],
    outputs: (a) => [f32("y", a.outer, a.time, a.heads, a.dim)],
  },
  scan: { check: checkScan, inputs: () => null, outputs: () => null },
  scatterUpdate: {
    inputs: (a, call) => [
      i32("index", a.count),
      a.halves ? f32("updates", a.count, 2 * a.inner) : operand("updates", a.count * a.inner, [call.outputs[0].dtype]),
    ],
    outputs: (a) => [a.halves ? u32("y", a.size, a.inner) : anyType("y", a.size, a.inner)],
  },
  massThreshold: {
    check: ({ cols }) => (cols > 0 ? null : "rows of no elements"),
    inputs: (a) => [f32("x", a.rows, a.cols), maybe(f32("weights", a.rows, a.cols)), f32("mass", a.shared ? 1 : a.rows)],
    outputs: (a) => [f32("y", a.rows)],
  },
  attention: {
    check: checkAttention,
    inputs: (a) => [attentionQueries("q", a), attentionKeys("k", a), attentionKeys("v", a, a.valueDim), ...attentionRules(a)],
    outputs: (a) => [attentionQueries("y", a, a.valueDim), maybe(f32("lse", a.b, a.heads, a.tq))],
  },
  attentionGrad: {
    check: checkAttention,
    inputs: (a) => [
      attentionQueries("dy", a, a.valueDim),
      attentionQueries("q", a),
      attentionKeys("k", a),
      attentionKeys("v", a, a.valueDim),
      attentionQueries("delta", a, 1),
      f32("lse", a.b, a.heads, a.tq),
      ...attentionRules(a),
    ],
    outputs: (a) => [
      attentionQueries("dq", a),
      attentionKeys("dk", a),
      attentionKeys("dv", a, a.valueDim),
      maybe(f32("dscore", a.b, a.heads, a.tq, a.tk)),
    ],
  },
  matmul: {
    check: checkMatmul,
    inputs: (a) => [f32("a", a.batchA, a.m, a.k), f32("b", a.batchB, a.k, a.n), maybe(f32("bias", a.n))],
    outputs: (a) => [f32("y", a.batch, a.m, a.n)],
  },
  conv2d: {
    check: checkGroups,
    inputs: (a) => [f32("x", ...windowInput(a)), f32("w", ...filterSizes(a)), maybe(f32("bias", a.f))],
    outputs: (a) => [f32("y", ...windowOutput(a, a.f))],
  },
  conv2dInputGrad: {
    check: checkGroups,
    inputs: (a) => [f32("dy", ...windowOutput(a, a.f)), f32("w", ...filterSizes(a))],
    outputs: (a) => [f32("dx", ...windowInput(a))],
  },
  conv2dFilterGrad: {
    check: checkGroups,
    inputs: (a) => [f32("x", ...windowInput(a)), f32("dy", ...windowOutput(a, a.f))],
    outputs: (a) => [f32("dw", ...filterSizes(a))],
  },
  maxPool: pool(
    (a) => [f32("x", ...windowInput(a))],
    (a) => [f32("y", ...windowOutput(a, a.c)), maybe(i32("index", ...windowOutput(a, a.c)))],
  ),
  maxPoolGrad: pool(
    (a) => [f32("dy", ...windowOutput(a, a.c)), i32("index", ...windowOutput(a, a.c))],
    (a) => [f32("dx", ...windowInput(a))],
  ),
  avgPool: pool(
    (a) => [f32("x", ...windowInput(a))],
    (a) => [f32("y", ...windowOutput(a, a.c))],
  ),
  avgPoolGrad: pool(
    (a) => [f32("dy", ...windowOutput(a, a.c))],
    (a) => [f32("dx", ...windowInput(a))],
  ),
  softmax: rows(["x"], ["y"]),
  logSoftmax: rows(["x"], ["y"]),
  softmaxGrad: rows(["dy", "y"], ["dx"]),
  logSoftmaxGrad: rows(["dy", "y"], ["dx"]),
  softmaxCrossEntropy: {
    inputs: (a) => [f32("logits", a.rows, a.cols), a.sparse ? i32("labels", a.rows) : f32("labels", a.rows, a.cols)],
    outputs: (a) => [f32("loss", a.rows), maybe(f32("probs", a.rows, a.cols))],
  },
  layerNorm: {
    inputs: (a) => [f32("x", a.rows, a.cols), maybe(f32("gamma", a.cols)), maybe(f32("beta", a.cols))],
    outputs: (a) => [f32("y", a.rows, a.cols), maybe(f32("mean", a.rows)), maybe(f32("rstd", a.rows))],
  },
  layerNormGrad: {
    inputs: (a) => [
      f32("dy", a.rows, a.cols),
      f32("x", a.rows, a.cols),
      maybe(f32("gamma", a.cols)),
      f32("mean", a.rows),
      f32("rstd", a.rows),
    ],
    outputs: (a) => [f32("dx", a.rows, a.cols), maybe(f32("dgamma", a.cols)), maybe(f32("dbeta", a.cols))],
  },
  gather: {
    check: checkGather,
    inputs: (a) => [anyType("x", a.outer, a.size, a.inner), i32("index", a.count)],
    outputs: (a, call) => [operand("y", product(a.outer, a.count, a.inner), typeOfFirst(call))],
  },
  packedMatmul: {
    inputs: (a) => [f32("a", a.m, a.k), f32("b", a.n, a.k), maybe(f32("bias", a.n))],
    outputs: (a) => [f32("y", a.m, a.n)],
  },
  packedRows: {
    check: ({ rows, count }) => checkGather({ size: rows, count }),
    inputs: (a) => [f32("x", a.rows, a.k), i32("index", a.count)],
    outputs: (a) => [f32("y", a.count, a.k)],
  },
  unpack: { inputs: (a) => [f32("x", a.rows, a.k)], outputs: (a) => [f32("y", a.rows, a.k)] },
  scatterAdd: {
    check: checkGather,
    inputs: (a) => [f32("updates", a.outer, a.count, a.inner), i32("index", a.count)],
    outputs: (a) => [f32("y", a.outer, a.size, a.inner)],
  },
  copy: {
    check: checkCopy,
    inputs: () => [anySize(anyType("x"))],
    outputs: (_a, call) => [anySize(operand("y", 0, typeOfFirst(call)))],
  },
  fill: { inputs: () => [], outputs: () => [anySize(anyType("y"))] },
  iota: { check: checkRange, inputs: () => [], outputs: () => [anySize(anyType("y"))] },
  random: {
    inputs: () => [u32("key", 4)],
    outputs: (a) => [a.kind === "bits" ? u32("y", a.count) : f32("y", a.count)],
  },
  permutation: {
    check: checkRange,
    inputs: () => [u32("key", 4), i32("start", 1)],
    outputs: (a) => [i32("y", a.count)],
  },
  lstm: {
    inputs: (a) => [sequence("xw", a, 4), f32("wr", a.u, 4 * a.u), initial("h0", a), initial("c0", a), mask(a), initial("factors", a)],
    outputs: (a) => [sequence("h", a, 1), sequence("c", a, 1), maybe(sequence("gates", a, 4))],
  },
  lstmGrad: {
    inputs: (a) => [
      maybe(sequence("dh", a, 1)),
      initial("dcLast", a),
      f32("wr", a.u, 4 * a.u),
      sequence("c", a, 1),
      sequence("gates", a, 4),
      initial("h0", a),
      initial("c0", a),
      mask(a),
      initial("factors", a),
    ],
    outputs: (a) => [sequence("dgates", a, 4), initial("dh0", a), initial("dc0", a)],
  },
  gru: {
    check: (a, call) => (call.inputs[2] && !a.resetAfter ? "bias2 is only for resetAfter" : null),
    inputs: (a) => [
      sequence("xw", a, 3),
      f32("wr", a.u, 3 * a.u),
      maybe(f32("bias2", 3 * a.u)),
      initial("h0", a),
      mask(a),
      initial("factors", a),
    ],
    outputs: (a) => [sequence("h", a, 1), maybe(sequence("gates", a, 4))],
  },
  gruGrad: {
    inputs: (a) => [
      maybe(sequence("dh", a, 1)),
      f32("wr", a.u, 3 * a.u),
      sequence("h", a, 1),
      sequence("gates", a, 4),
      initial("h0", a),
      mask(a),
      initial("factors", a),
    ],
    outputs: (a) => [sequence("dxw", a, 3), maybe(sequence("dhw", a, 3)), initial("dh0", a)],
  },
  simpleRnn: {
    inputs: (a) => [sequence("xw", a, 1), f32("wr", a.u, a.u), initial("h0", a), mask(a), initial("factors", a)],
    outputs: (a) => [sequence("h", a, 1)],
  },
  simpleRnnGrad: {
    inputs: (a) => [
      maybe(sequence("dh", a, 1)),
      f32("wr", a.u, a.u),
      sequence("h", a, 1),
      initial("h0", a),
      mask(a),
      initial("factors", a),
    ],
    outputs: (a) => [sequence("dxw", a, 1), initial("dh0", a)],
  },
};

/**
 * @file The work of a kernel call, known from its plan alone: floating-point operations and the least bytes that it moves. A multiply-add
 * is two operations, as datasheets count; any other function of an element is one, whatever it costs.
 */
import { bytesOf } from "../dtype.ts";
import { internal } from "../errors.ts";
import type { AttentionAttrs } from "../plan/kernels.ts";
import type { Call, MapBody, Operand } from "../plan/plan.ts";
import { sizeOf } from "../shape.ts";

/** What calls do. */
export interface Work {
  /** Floating-point operations. */
  readonly flops: number;
  /** Bytes read and written where every operand goes to or from memory once. */
  readonly bytes: number;
}

type Numbers = { readonly [name: string]: number };

const mapSteps = (body: MapBody): number => body.steps.filter((s) => s.op !== "const").length;

const activated = (activation: unknown): number => (activation === "linear" ? 0 : 1);

/** Bias and activation of each element of the output. */
const finished = ({ inputs, attrs }: Call, bias: number): number => (inputs[bias] ? 1 : 0) + activated(attrs.activation);

/** Pairs of a query and a key that it sees; those that depend on elements (offset, lengths) count as seen. */
function visiblePairs({ b, tq, tk, heads, causal, window, offset }: AttentionAttrs, known: boolean): number {
  let pairs = 0;
  for (let i = 0; i < tq; i++) {
    const at = offset + i;
    const end = causal && known ? Math.min(tk, at + 1) : window > 0 && known ? Math.min(tk, at + window) : tk;
    const begin = window > 0 && known ? Math.max(0, at - window + 1) : 0;
    pairs += Math.max(0, end - begin);
  }
  return b * heads * pairs;
}

const attention = ({ attrs, inputs }: Call, offsetAt: number, perPair: number): number =>
  visiblePairs(attrs as unknown as AttentionAttrs, inputs[offsetAt] === null || inputs[offsetAt] === undefined) * perPair;

const convolution = (a: Numbers): number => (2 * a.n * a.p * a.q * a.f * a.r * a.s * a.c) / a.groups;
const outputs = (a: Numbers): number => a.n * a.p * a.q * a.f;
const pooled = (a: Numbers): number => a.n * a.p * a.q * a.c;
const cells = (a: Numbers): number => a.rows * a.cols;
/** The product of each step with the recurrent weights, and what follows for each unit. */
const recurrent = (gates: number, perUnit: number) => (a: Numbers) => a.b * a.t * a.u * (2 * gates * a.u + perUnit);

/** Operations of one call, by kernel (plan/kernels.ts). Moving, drawing and choosing elements is none. */
const FLOPS: { readonly [kernel: string]: (a: Numbers, call: Call) => number } = {
  map: (_a, { attrs }) => {
    const body = attrs.body as unknown as MapBody;
    return sizeOf(body.space) * mapSteps(body);
  },
  fill: () => 0,
  copy: () => 0,
  iota: () => 0,
  gather: () => 0,
  scatterAdd: (a) => a.outer * a.count * a.inner,
  scatterUpdate: () => 0,
  reduce: (a, { attrs }) => a.outer * a.size * a.inner * (1 + (attrs.body ? mapSteps(attrs.body as unknown as MapBody) : 0)),
  matmul: (a, call) => a.batch * a.m * a.n * (2 * a.k + finished(call, 2)),
  packedMatmul: (a, call) => a.m * a.n * (2 * a.k + finished(call, 2)),
  packedRows: (a) => a.count * a.k,
  unpack: (a) => a.rows * a.k,
  conv2d: (a, call) => convolution(a) + outputs(a) * finished(call, 2),
  conv2dInputGrad: convolution,
  conv2dFilterGrad: convolution,
  maxPool: (a) => pooled(a) * a.r * a.s,
  maxPoolGrad: pooled,
  avgPool: (a) => pooled(a) * (a.r * a.s + 1),
  avgPoolGrad: (a) => pooled(a) * (a.r * a.s + 1),
  softmax: (a) => 5 * cells(a),
  softmaxGrad: (a) => 4 * cells(a),
  logSoftmax: (a) => 5 * cells(a),
  logSoftmaxGrad: (a) => 4 * cells(a),
  softmaxCrossEntropy: (a) => 7 * cells(a),
  massThreshold: () => 0,
  layerNorm: (a, { inputs, attrs }) => cells(a) * (3 + (attrs.centered ? 2 : 0) + (inputs[1] ? 1 : 0) + (inputs[2] ? 1 : 0)),
  layerNormGrad: (a, { attrs, outputs: out }) => cells(a) * (8 + (attrs.centered ? 2 : 0) + (out[1] ? 2 : 0) + (out[2] ? 1 : 0)),
  rotary: (a) => 6 * a.outer * a.time * a.heads * a.half,
  attention: (a, call) => attention(call, 4, 2 * (a.dim + a.valueDim) + 5),
  attentionGrad: (a, call) => attention(call, 7, 6 * a.dim + 4 * a.valueDim + 7),
  random: () => 0,
  permutation: () => 0,
  lstm: recurrent(4, 13),
  lstmGrad: recurrent(4, 26),
  gru: recurrent(3, 13),
  gruGrad: recurrent(3, 26),
  simpleRnn: recurrent(1, 2),
  simpleRnnGrad: recurrent(1, 4),
  scan: (a, { body }) => a.length * (body?.calls ?? []).reduce((sum, call) => sum + workOf(call).flops, 0),
};

/** Kernels whose work is known. */
export const KNOWN_WORK = Object.keys(FLOPS);

const operandBytes = (o: Operand | null): number => (o === null ? 0 : bytesOf(sizeOf(o.shape), o.storage));

/** Rows that are chosen of the first input are read alone, and rows that are updated written alone. */
function moved({ kernel, inputs, outputs: out, attrs, body }: Call): number {
  const sum = (list: readonly (Operand | null)[]): number => list.reduce((n, o) => n + operandBytes(o), 0);
  const a = attrs as Numbers;
  if (kernel === "scan" && body !== undefined) return a.length * body.calls.reduce((n, call) => n + workOf(call).bytes, 0);
  if (kernel === "gather") {
    const part = a.size === 0 ? 0 : Math.min(1, a.count / a.size);
    return part * operandBytes(inputs[0]) + sum(inputs.slice(1)) + sum(out);
  }
  if (kernel === "packedRows")
    return (a.rows === 0 ? 0 : Math.min(1, a.count / a.rows) * operandBytes(inputs[0])) + sum(inputs.slice(1)) + sum(out);
  if (kernel === "scatterUpdate") return 2 * sum(inputs.slice(1)) + operandBytes(inputs[0]);
  return sum(inputs) + sum(out);
}

/** The work of one call. */
export function workOf(call: Call): Work {
  if (!Object.hasOwn(FLOPS, call.kernel)) throw internal(`profile: nobody has said what work the kernel "${call.kernel}" is`);
  return { flops: FLOPS[call.kernel](call.attrs as Numbers, call), bytes: Math.round(moved(call)) };
}

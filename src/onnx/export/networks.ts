/** @file Products, convolutions, pooling and normalization as nodes of ONNX, where images have channels first. */
import type { ConvAttrs, LayerNormAttrs, MatmulAttrs, PoolAttrs } from "../../plan/kernels.ts";
import type { WriteNode, Writing } from "./context.ts";
import { activated } from "./elementwise.ts";

const CHANNELS_FIRST = [0, 3, 1, 2];
const CHANNELS_LAST = [0, 2, 3, 1];

const swapped = (rank: number): number[] => Array.from({ length: rank }, (_, i) => (i < rank - 2 ? i : 2 * rank - 3 - i));

const matmul: WriteNode = (w) => {
  const { writer, inputs, node } = w;
  const { transposeA, transposeB, activation } = w.attrs<MatmulAttrs>();
  const [a, b, bias] = inputs;
  const [ranks] = [[0, 1].map((i) => w.input(i).rank)];
  let y: string;
  if (ranks[0] === 2 && ranks[1] === 2) {
    const attributes = { transA: Number(transposeA), transB: Number(transposeB) };
    y = writer.node("Gemm", node.inputs[2] ? [a, b, bias] : [a, b], attributes);
  } else {
    const turned = (x: string, rank: number, isTurned: boolean): string => (isTurned ? writer.transpose(x, swapped(rank)) : x);
    y = writer.node("MatMul", [turned(a, ranks[0], transposeA), turned(b, ranks[1], transposeB)]);
    if (node.inputs[2]) y = writer.node("Add", [y, bias]);
  }
  return activated(writer, activation, y);
};

/** Paddings at the beginnings and ends; what is negative at an end is cut. */
function paddings({ h, w, p, q, r, s, strideH, strideW, dilationH, dilationW, padTop, padLeft }: PoolAttrs): number[] {
  const bottom = (p - 1) * strideH + (r - 1) * dilationH + 1 - h - padTop;
  const right = (q - 1) * strideW + (s - 1) * dilationW + 1 - w - padLeft;
  return [padTop, padLeft, Math.max(0, bottom), Math.max(0, right)];
}

const windowOf = (a: PoolAttrs): { kernel_shape: number[]; strides: number[]; pads: number[] } => ({
  kernel_shape: [a.r, a.s],
  strides: [a.strideH, a.strideW],
  pads: paddings(a),
});

const first = (w: Writing, i = 0): string => w.writer.transpose(w.inputs[i], CHANNELS_FIRST);
const last = (w: Writing, y: string): string => w.writer.transpose(y, CHANNELS_LAST);

const conv2d: WriteNode = (w) => {
  const { writer, inputs, node } = w;
  const a = w.attrs<ConvAttrs>();
  const filters = writer.transpose(inputs[1], [3, 2, 0, 1]);
  const operands = node.inputs[2] ? [first(w), filters, inputs[2]] : [first(w), filters];
  const y = writer.node("Conv", operands, { ...windowOf(a), dilations: [a.dilationH, a.dilationW], group: a.groups });
  return last(w, activated(writer, a.activation, y));
};

/** Its outputs' size is told by paddings, and by what is added at the end where these would be negative. */
const conv2dInputGrad: WriteNode = (w) => {
  const a = w.attrs<ConvAttrs>();
  const { writer } = w;
  if (a.groups !== 1) throw w.fault("groups cannot be written");
  const along = (size: number, out: number, stride: number, kernel: number, dilation: number, before: number): number =>
    (size - 1) * stride + (kernel - 1) * dilation + 1 - before - out;
  const bottom = along(a.p, a.h, a.strideH, a.r, a.dilationH, a.padTop);
  const right = along(a.q, a.w, a.strideW, a.s, a.dilationW, a.padLeft);
  const filters = writer.transpose(w.inputs[1], [3, 2, 0, 1]);
  const y = writer.node("ConvTranspose", [first(w), filters], {
    kernel_shape: [a.r, a.s],
    strides: [a.strideH, a.strideW],
    dilations: [a.dilationH, a.dilationW],
    pads: [a.padTop, a.padLeft, Math.max(0, bottom), Math.max(0, right)],
    output_padding: [Math.max(0, -bottom), Math.max(0, -right)],
  });
  return last(w, y);
};

const maxPool: WriteNode = (w) => {
  if (w.readers(1).length > 0) throw w.fault("places of the greatest elements cannot be written");
  return [last(w, w.writer.node("MaxPool", [first(w)], windowOf(w.attrs<PoolAttrs>()))), ""];
};

const avgPool: WriteNode = (w) => last(w, w.writer.node("AveragePool", [first(w)], windowOf(w.attrs<PoolAttrs>())));

const layerNorm: WriteNode = (w) => {
  const { writer, inputs, node } = w;
  const { cols, epsilon, centered } = w.attrs<LayerNormAttrs>();
  const [x, gamma, beta] = inputs;
  const rows = w.shape(1);
  if (centered) {
    const scale = node.inputs[1] ? gamma : writer.constant("float32", new Array<number>(cols).fill(1));
    const operands = node.inputs[2] ? [x, scale, beta] : [x, scale];
    const [y, mean, rstd] = writer.nodes("LayerNormalization", operands, { axis: -1, epsilon: { float: epsilon } }, 3);
    return [y, w.reshape(mean, rows), w.reshape(rstd, rows)];
  }
  const squares = writer.node("ReduceMean", [writer.node("Mul", [x, x]), writer.ints([1])], { keepdims: 1 });
  const rstd = writer.node("Reciprocal", [writer.node("Sqrt", [writer.node("Add", [squares, writer.scalar(epsilon)])])]);
  let y = writer.node("Mul", [x, rstd]);
  if (node.inputs[1]) y = writer.node("Mul", [y, gamma]);
  if (node.inputs[2]) y = writer.node("Add", [y, beta]);
  return [y, writer.node("Mul", [w.reshape(rstd, rows), writer.scalar(0)]), w.reshape(rstd, rows)];
};

export const NETWORKS: { readonly [op: string]: WriteNode } = {
  matmul,
  conv2d,
  conv2dInputGrad,
  maxPool,
  avgPool,
  softmax: (w) => w.writer.node("Softmax", w.inputs, { axis: -1 }),
  logSoftmax: (w) => w.writer.node("LogSoftmax", w.inputs, { axis: -1 }),
  layerNorm,
};

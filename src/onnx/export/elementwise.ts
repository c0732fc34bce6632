/** @file Elementwise ops, sums, and what moves elements, as nodes of ONNX. */
import { TYPES } from "./context.ts";
import type { Dim, WriteNode, Writing } from "./context.ts";
import { codeOf } from "../types.ts";
import { TO_THE_END } from "./writer.ts";
import type { GraphWriter } from "./writer.ts";

const plain =
  (op: string): WriteNode =>
  ({ writer, inputs }) =>
    writer.node(op, inputs);

/** One operator for bools, another for integers, bit by bit. */
const logical =
  (op: string): WriteNode =>
  (w) =>
    w.writer.node(w.input(0).dtype === "bool" ? op : `Bitwise${op}`, w.inputs);

const negated =
  (op: string): WriteNode =>
  ({ writer, inputs }) =>
    writer.node("Not", [writer.node(op, inputs)]);

/** a - floor(a / b) b: ONNX's Mod of floats has the other sign. */
const mod: WriteNode = (w) => {
  const { writer, inputs } = w;
  if (w.input(0).dtype !== "f32") return writer.node("Mod", inputs);
  const whole = writer.node("Floor", [writer.node("Div", inputs)]);
  return writer.node("Sub", [inputs[0], writer.node("Mul", [whole, inputs[1]])]);
};

const isFinite: WriteNode = ({ writer, inputs }) =>
  writer.node("Not", [writer.node("Or", [writer.node("IsNaN", inputs), writer.node("IsInf", inputs)])]);

/** Activations that kernels apply. */
export function activated(writer: GraphWriter, activation: string, x: string): string {
  const float = (value: number): { readonly float: number } => ({ float: value });
  switch (activation) {
    case "linear":
      return x;
    case "hardSigmoid":
      return writer.node("HardSigmoid", [x], { alpha: float(1 / 6), beta: float(0.5) });
    case "leakyRelu":
      return writer.node("LeakyRelu", [x], { alpha: float(0.2) });
    case "relu6":
      return writer.node("Clip", [x, writer.scalar(0), writer.scalar(6)]);
    case "exponential":
      return writer.node("Exp", [x]);
    default:
      return writer.node(activation[0].toUpperCase() + activation.slice(1), [x]);
  }
}

const one = (w: Writing): string => w.writer.scalar(1);

const reduction =
  (op: string): WriteNode =>
  ({ writer, inputs, node }) => {
    const { axis, count } = node.attrs as unknown as { axis: number; count: number };
    const axes = Array.from({ length: count }, (_, i) => axis + i);
    return writer.node(op, [inputs[0], writer.ints(axes)], { keepdims: 0 });
  };

const arg =
  (op: string): WriteNode =>
  ({ writer, inputs, node }) => {
    const index = writer.node(op, inputs, { axis: node.attrs.axis as number, keepdims: 0 });
    return writer.node("Cast", [index], { to: codeOf("int32") });
  };

const slice: WriteNode = (w) => {
  const { writer, inputs, node } = w;
  const [from, to] = [w.inputShape(0), w.shape()];
  const [start, step] = [w.list("start"), w.fixed("step")];
  const axes: number[] = [];
  const [starts, ends]: [number[], number[]] = [[], []];
  for (const [i, size] of to.entries()) {
    const begin = start[i];
    const isOpen = typeof size !== "number" || typeof from[i] !== "number";
    const isWhole = begin === 0 && step[i] === 1 && node.outputs[0].shape[i] === w.input(0).shape[i];
    if (isWhole) continue;
    axes.push(i);
    if (step[i] < 0) {
      // Backwards, mostly all of it.
      const last = typeof begin === "number" && typeof size === "number" && !isOpen ? begin + size * step[i] : -1;
      if (isOpen && node.outputs[0].shape[i] !== w.input(0).shape[i]) throw w.fault("it takes a part along the batch, backwards");
      starts.push(isOpen ? TO_THE_END : (begin as number));
      ends.push(last < 0 ? -TO_THE_END : last);
    } else {
      if (typeof begin !== "number") throw w.fault("where it begins depends on the batch");
      starts.push(begin);
      if (typeof size === "number") ends.push(begin + (size - 1) * step[i] + 1);
      else {
        // As much as there is.
        const count = node.outputs[0].shape[i];
        if (begin + (count - 1) * step[i] + step[i] < w.input(0).shape[i]) throw w.fault("it takes a part along the batch");
        ends.push(TO_THE_END);
      }
    }
  }
  if (axes.length === 0) return inputs[0];
  const steps = axes.map((axis) => step[axis]);
  return writer.node("Slice", [inputs[0], writer.ints(starts), writer.ints(ends), writer.ints(axes), writer.ints(steps)]);
};

const place: WriteNode = (w) => {
  const { writer, inputs, node } = w;
  if (w.fixed("step").some((s) => s !== 1)) throw w.fault("elements with gaps between them cannot be written");
  const start = w.fixed("start");
  const [from, to] = [w.input(0).shape, node.outputs[0].shape];
  const value = writer.scalar((node.attrs.value as number | undefined) ?? 0, w.dtype());
  return writer.node("Pad", [inputs[0], writer.ints([...start, ...to.map((d, i) => d - start[i] - from[i])]), value]);
};

const iota: WriteNode = (w) => {
  const { writer, node } = w;
  const { axis } = w.attrs<{ axis: number }>();
  const shape = w.shape();
  const size = shape[axis];
  const zero = writer.scalar(0, "int64");
  const count = typeof size === "number" ? writer.scalar(size, "int64") : writer.node("Squeeze", [w.shapeOf([size])]);
  const list = writer.node("Cast", [writer.node("Range", [zero, count, writer.scalar(1, "int64")])], { to: codeOf(w.dtype()) });
  const along = w.reshape(
    list,
    shape.map((d, i) => (i === axis ? d : 1)),
  );
  return node.outputs[0].size === node.outputs[0].shape[axis] ? along : writer.node("Expand", [along, w.shapeOf(shape)]);
};

const constant: WriteNode = (w) => {
  const value = w.writer.scalar(w.node.attrs.value as number, w.dtype());
  const shape: Dim[] = w.shape();
  return shape.length === 0 ? value : w.writer.node("Expand", [value, w.shapeOf(shape)]);
};

export const ELEMENTWISE: { readonly [op: string]: WriteNode } = {
  add: plain("Add"),
  sub: plain("Sub"),
  mul: plain("Mul"),
  div: plain("Div"),
  pow: plain("Pow"),
  maximum: plain("Max"),
  minimum: plain("Min"),
  mod,
  neg: plain("Neg"),
  abs: plain("Abs"),
  sign: plain("Sign"),
  floor: plain("Floor"),
  ceil: plain("Ceil"),
  round: plain("Round"),
  exp: plain("Exp"),
  log: plain("Log"),
  expm1: (w) => w.writer.node("Sub", [w.writer.node("Exp", w.inputs), one(w)]),
  log1p: (w) => w.writer.node("Log", [w.writer.node("Add", [w.inputs[0], one(w)])]),
  sqrt: plain("Sqrt"),
  rsqrt: ({ writer, inputs }) => writer.node("Reciprocal", [writer.node("Sqrt", inputs)]),
  square: ({ writer, inputs: [x] }) => writer.node("Mul", [x, x]),
  reciprocal: plain("Reciprocal"),
  sin: plain("Sin"),
  cos: plain("Cos"),
  tanh: plain("Tanh"),
  sigmoid: plain("Sigmoid"),
  erf: plain("Erf"),
  erfc: (w) => w.writer.node("Sub", [one(w), w.writer.node("Erf", w.inputs)]),
  relu: plain("Relu"),
  equal: plain("Equal"),
  notEqual: negated("Equal"),
  less: plain("Less"),
  lessEqual: plain("LessOrEqual"),
  greater: plain("Greater"),
  greaterEqual: plain("GreaterOrEqual"),
  and: logical("And"),
  or: logical("Or"),
  xor: logical("Xor"),
  not: logical("Not"),
  where: plain("Where"),
  isFinite,
  cast: (w) => w.writer.node("Cast", w.inputs, { to: codeOf(TYPES[w.node.outputs[0].dtype]) }),
  sum: reduction("ReduceSum"),
  max: reduction("ReduceMax"),
  min: reduction("ReduceMin"),
  prod: reduction("ReduceProd"),
  argmax: arg("ArgMax"),
  argmin: arg("ArgMin"),
  reshape: (w) => w.reshape(w.inputs[0], w.shape()),
  broadcastTo: (w) => w.writer.node("Expand", [w.inputs[0], w.shapeOf(w.shape())]),
  transpose: (w) => w.writer.transpose(w.inputs[0], w.node.attrs.perm as unknown as number[]),
  slice,
  place,
  concat: (w) => w.writer.node("Concat", w.inputs, { axis: w.node.attrs.axis as number }),
  gather: (w) => w.writer.node("Gather", w.inputs, { axis: w.node.attrs.axis as number }),
  iota,
  constant,
  stopGradient: (w) => w.inputs[0],
  sloped: (w) => w.inputs[0],
};

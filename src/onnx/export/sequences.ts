/** @file Recurrent layers and attention as nodes of ONNX. */
import type { AttentionAttrs, RecurrentAttrs, RotaryAttrs } from "../../plan/kernels.ts";
import type { Dim, WriteNode, Writing } from "./context.ts";
import type { NodeAttributes } from "./writer.ts";

/** ONNX's names of activations inside recurrent operators, with the numbers that they take. */
const ACTIVATIONS: { readonly [name: string]: readonly [string, number, number] } = {
  linear: ["Affine", 1, 0],
  relu: ["Relu", 0, 0],
  tanh: ["Tanh", 0, 0],
  sigmoid: ["Sigmoid", 0, 0],
  hardSigmoid: ["HardSigmoid", 1 / 6, 0.5],
  softplus: ["Softplus", 0, 0],
  softsign: ["Softsign", 0, 0],
  elu: ["Elu", 1, 0],
  leakyRelu: ["LeakyRelu", 0.2, 0],
};

interface Gates {
  readonly op: "LSTM" | "GRU" | "RNN";
  /** Place in ONNX's order of each gate here. */
  readonly order: readonly number[];
  readonly names: readonly string[];
}

/** Blocks of [gates * units] rows in ONNX's order. */
const blocksOf = (units: number, order: readonly number[]): number[] =>
  order.flatMap((gate) => Array.from({ length: units }, (_, i) => gate * units + i));

/**
 * What a layer makes of its inputs for all steps, xw, comes from a product of its own; ONNX's operators multiply inside. So they get xw,
 * and in place of weights what puts gates in ONNX's order.
 */
function recurrent(w: Writing, { op, order, names }: Gates, state: readonly string[], bias: string | null): string[] {
  const { writer, inputs } = w;
  const { u, reverse, resetAfter } = w.attrs<RecurrentAttrs>();
  const unknown = names.find((name) => !Object.hasOwn(ACTIVATIONS, name));
  if (unknown !== undefined) throw w.fault(`the activation ${unknown} is none that ONNX's ${op} has`);
  const rows = blocksOf(u, order);
  const size = rows.length;
  const select = new Float32Array(size * size);
  rows.forEach((from, to) => (select[to * size + from] = 1));
  const weights = writer.tensor("gates", "float32", [1, size, size], select);
  const kernel = writer.node("Gather", [writer.transpose(inputs[1], [1, 0]), writer.ints(rows)], { axis: 0 });
  const steps = writer.transpose(inputs[0], [1, 0, 2]);
  const kinds = names.map((name) => ACTIVATIONS[name]);
  const attributes: NodeAttributes = {
    hidden_size: u,
    direction: reverse ? "reverse" : "forward",
    ...(op === "GRU" && { linear_before_reset: Number(resetAfter) }),
  };
  const isDefault = names.every((name) => ["tanh", "sigmoid"].includes(name));
  const activations = { activations: kinds.map(([name]) => name) };
  const numbers: NodeAttributes = isDefault
    ? {}
    : { activation_alpha: { floats: kinds.map(([, alpha]) => alpha) }, activation_beta: { floats: kinds.map(([, , beta]) => beta) } };
  const first = writer.node("Unsqueeze", [kernel, writer.ints([0])]);
  const initial = state.map((name) => (name === "" ? "" : writer.node("Unsqueeze", [name, writer.ints([0])])));
  return writer.nodes(
    op,
    [steps, weights, first, bias ?? "", "", ...initial],
    { ...attributes, ...activations, ...numbers },
    op === "LSTM" ? 3 : 2,
  );
}

/** [time, 1, batch, units] as [batch, time, units]. */
const sequenceOf = (w: Writing, y: string): string => w.writer.transpose(w.writer.node("Squeeze", [y, w.writer.ints([1])]), [1, 0, 2]);

function checkOperands(w: Writing, mask: number, factors: number): void {
  if (w.node.inputs[mask]) throw w.fault("a mask of steps cannot be written; pad sequences that are of one length");
  if (w.node.inputs[factors]) throw w.fault("recurrent dropout cannot be written");
}

const given = (w: Writing, ...places: number[]): string[] => places.map((i) => (w.node.inputs[i] ? w.inputs[i] : ""));

const lstm: WriteNode = (w) => {
  checkOperands(w, 4, 5);
  const { activation, recurrentActivation, t, reverse } = w.attrs<RecurrentAttrs>();
  const names = [recurrentActivation, activation, activation];
  const [h, , c] = recurrent(w, { op: "LSTM", order: [0, 3, 1, 2], names }, given(w, 2, 3), null);
  const lastStep = reverse ? 0 : t - 1;
  // Of the cells' states ONNX gives the last.
  const isLast = w
    .readers(1)
    .every((n) => n.op.name === "slice" && (n.attrs.start as number[])[1] === lastStep && n.outputs[0].shape[1] === 1);
  if (!isLast) throw w.fault("states of cells at all steps cannot be written");
  const cells = w.writer.node("Expand", [w.writer.transpose(c, [1, 0, 2]), w.shapeOf(w.shape(1))]);
  return [sequenceOf(w, h), cells, ""];
};

const gru: WriteNode = (w) => {
  checkOperands(w, 4, 5);
  const { activation, recurrentActivation, u } = w.attrs<RecurrentAttrs>();
  const { writer, node, inputs } = w;
  let bias: string | null = null;
  if (node.inputs[2]) {
    const zeros = writer.constant("float32", new Array<number>(3 * u).fill(0));
    bias = writer.node("Unsqueeze", [writer.node("Concat", [zeros, inputs[2]], { axis: 0 }), writer.ints([0])]);
  }
  const [h] = recurrent(w, { op: "GRU", order: [0, 1, 2], names: [recurrentActivation, activation] }, given(w, 3), bias);
  return [sequenceOf(w, h), ""];
};

const simpleRnn: WriteNode = (w) => {
  checkOperands(w, 3, 4);
  const [h] = recurrent(w, { op: "RNN", order: [0], names: [w.attrs<RecurrentAttrs>().activation] }, given(w, 2), null);
  return sequenceOf(w, h);
};

/** Less than any score, and finite: a row of these alone has a softmax. */
const HIDDEN = -3e38;

/** Which keys a query sees by its place: [tq, tk] of 1 and 0; null where it sees all. */
function visible({ tq, tk, causal, window, offset }: AttentionAttrs): number[] | null {
  if (!causal && window === 0) return null;
  const sees = (i: number, j: number): boolean => {
    const behind = offset + i - j;
    return (!causal || behind >= 0) && (window === 0 || (behind < window && (causal || -behind < window)));
  };
  return Array.from({ length: tq * tk }, (_, at) => Number(sees(Math.floor(at / tk), at % tk)));
}

const attention: WriteNode = (w) => {
  const { writer, node, inputs } = w;
  const a = w.attrs<AttentionAttrs>();
  if (node.inputs[4] || node.inputs[5]) throw w.fault("offsets and lengths that are tensors cannot be written");
  if (node.inputs[6]) throw w.fault("dropout cannot be written");
  if (w.readers(1).length > 0) throw w.fault("the logarithms of sums cannot be written");
  const [batch, , , dim] = w.inputShape(0);
  const perHead = a.heads / a.kvHeads;
  const headsOf = (x: string, features: Dim): string => {
    const first = writer.transpose(x, [0, 2, 1, 3]);
    if (perHead === 1) return first;
    const grouped = w.reshape(first, [batch, a.kvHeads, 1, a.tk, features]);
    const all = writer.node("Expand", [grouped, writer.ints([1, 1, perHead, 1, 1])]);
    return w.reshape(all, [batch, a.heads, a.tk, features]);
  };
  const q = writer.node("Mul", [writer.transpose(inputs[0], [0, 2, 1, 3]), writer.scalar(a.scale)]);
  const keys = writer.transpose(headsOf(inputs[1], dim), [0, 1, 3, 2]);
  let scores = writer.node("MatMul", [q, keys]);
  const shown = visible(a);
  let sees = shown === null ? null : writer.constant("bool", shown, [a.tq, a.tk]);
  if (node.inputs[3] && w.input(3).dtype === "bool") sees = sees === null ? inputs[3] : writer.node("And", [sees, inputs[3]]);
  else if (node.inputs[3]) scores = writer.node("Add", [scores, inputs[3]]);
  if (sees !== null) scores = writer.node("Where", [sees, scores, writer.scalar(HIDDEN)]);
  let weights = writer.node("Softmax", [scores], { axis: -1 });
  // Rows that see nothing are 0.
  if (sees !== null) weights = writer.node("Where", [sees, weights, writer.scalar(0)]);
  const y = writer.node("MatMul", [weights, headsOf(inputs[2], a.valueDim)]);
  return [writer.transpose(y, [0, 2, 1, 3]), ""];
};

const rotary: WriteNode = (w) => {
  const { writer, inputs } = w;
  const { half, dim, neighbours, back } = w.attrs<RotaryAttrs>();
  const [outer, time, heads] = w.inputShape(0);
  const part = (begin: number, end: number, step = 1): string =>
    writer.node("Slice", [inputs[0], writer.ints([begin]), writer.ints([end]), writer.ints([3]), writer.ints([step])]);
  const [a, b] = neighbours ? [part(0, 2 * half, 2), part(1, 2 * half, 2)] : [part(0, half), part(half, 2 * half)];
  const [cos, turned] = [1, 2].map((i) => w.reshape(inputs[i], [time, 1, half]));
  const sin = back ? writer.node("Neg", [turned]) : turned;
  const product = (x: string, y: string): string => writer.node("Mul", [x, y]);
  const one = writer.node("Sub", [product(a, cos), product(b, sin)]);
  const other = writer.node("Add", [product(b, cos), product(a, sin)]);
  let y: string;
  if (neighbours) {
    const pairs = [one, other].map((x) => writer.node("Unsqueeze", [x, writer.ints([4])]));
    y = w.reshape(writer.node("Concat", pairs, { axis: 4 }), [outer, time, heads, 2 * half]);
  } else y = writer.node("Concat", [one, other], { axis: 3 });
  return 2 * half === dim ? y : writer.node("Concat", [y, part(2 * half, dim)], { axis: 3 });
};

export const SEQUENCES: { readonly [op: string]: WriteNode } = { lstm, gru, simpleRnn, attention, rotary };

/**
 * @file Operators behind a convolution, whose result lies channels last: they compute it as it lies, or turn it, and ONNX Runtime gives the
 * same.
 */
import { test } from "uvu";
import { open } from "../../build/esm/index.js";
import { f32, i64, makeModel, t } from "./make.js";
import { sameAsRuntime } from "./ort.js";

const backend = await open("wasm");
test.after(() => backend.close());

let seed = 0;
const noise = (shape, scale = 1) => {
  const from = ++seed * 1000;
  const size = shape.reduce((n, d) => n * d, 1);
  return f32(
    shape,
    Array.from({ length: size }, (_, i) => Math.fround(Math.sin((from + i) * 12.9898) * scale)),
  );
};
const v = (name, type, shape) => ({ name, type, shape });

/** c [2, 4, 6, 6] is what the convolution gives. */
const CONSTANTS = {
  filter: noise([4, 4, 3, 3], 0.3),
  rounds: i64([10], []),
  pads: i64([0, 0, 1, 1, 0, 0, 0, 2]),
  channelPads: i64([0, 1, 1, 1, 0, 2, 0, 2]),
  places: i64([2, 3]),
  one: i64([1]),
  first: i64([1], []),
  rows: i64([2]),
  ends: i64([0, 3]),
  begin: i64([-1, 1]),
  end: i64([-9, 99]),
  axes: i64([2, 3]),
  steps: i64([-2, 2]),
  three: i64([3]),
  index: i64([0, -1, 2]),
  slope: noise([4, 1, 1]),
  columns: noise([6]),
  mask: noise([1, 1, 6, 6]),
  zero: f32([], [0]),
  half: f32([], [0.5]),
  two: f32([], [2]),
  scales: f32([4], [0.01, 0.02, 0.03, 0.04]),
  points: t("int8", [4], [1, 2, -3, 4]),
  repeats: i64([1, 2, 1, 3]),
  couple: i64([2]),
  shape: i64([0, -1, 3]),
  larger: i64([2, 2, 4, 6, 6]),
  yes: t("bool", [], [1]),
  chosen: t("bool", [4], [1, 0, 1, 1]),
  targets: t(
    "int64",
    [2, 1, 3, 3],
    Array.from({ length: 18 }, (_, i) => (7 * i) % 4),
  ),
  updates: noise([2, 1, 3, 3]),
};

const body = (nodes) => ({
  inputs: [v("i", "int64", []), v("cin", "bool", []), v("s", "float32")],
  outputs: [v("cout", "bool", []), v("n", "float32")],
  nodes: [["Identity", ["cin"], ["cout"]], ...nodes],
});
const branch = (op) => ({ nodes: [[op, ["c"], ["r"]]], outputs: [v("r", "float32")] });

const CHAINS = {
  "Split of channels": [
    ["Split", ["c"], ["a", "b"], { axis: 1, num_outputs: 2 }],
    ["Mul", ["a", "b"], ["y"]],
  ],
  "Split of rows, Concat": [
    ["Split", ["c"], ["a", "b", "d"], { axis: 2, num_outputs: 3 }],
    ["Concat", ["b", "d", "a"], ["y"], { axis: 2 }],
  ],
  "Concat with a tensor in ONNX's order": [
    ["Identity", ["other"], ["o"]],
    ["Concat", ["c", "o"], ["y"], { axis: 1 }],
  ],
  Pad: [["Pad", ["c", "pads"], ["y"]]],
  "Pad by reflection": [["Pad", ["c", "pads"], ["y"], { mode: "reflect" }]],
  "Pad of channels": [["Pad", ["c", "channelPads"], ["y"], { mode: "edge" }]],
  "ReduceMean of places, kept": [["ReduceMean", ["c", "places"], ["y"], { keepdims: 1 }]],
  "ReduceMean of places": [["ReduceMean", ["c", "places"], ["y"], { keepdims: 0 }]],
  "ReduceMax of channels": [["ReduceMax", ["c", "one"], ["y"], { keepdims: 0 }]],
  "ReduceMax of channels, kept": [["ReduceMax", ["c", "one"], ["y"], { keepdims: 1 }]],
  "ReduceSum of rows": [["ReduceSum", ["c", "rows"], ["y"], { keepdims: 0 }]],
  "ReduceSum of batch and columns": [["ReduceSum", ["c", "ends"], ["y"], { keepdims: 0 }]],
  "Softmax of channels": [["Softmax", ["c"], ["y"], { axis: 1 }]],
  "Softmax of columns": [["Softmax", ["c"], ["y"], { axis: -1 }]],
  "Hardmax of channels": [["Hardmax", ["c"], ["y"], { axis: 1 }]],
  "ArgMax of channels": [["ArgMax", ["c"], ["y"], { axis: 1, keepdims: 0 }]],
  "ArgMin of rows": [["ArgMin", ["c"], ["y"], { axis: 2, keepdims: 0, select_last_index: 1 }]],
  "Slice of places": [["Slice", ["c", "begin", "end", "axes", "steps"], ["y"]]],
  "Slice of channels": [["Slice", ["c", "one", "three", "one"], ["y"]]],
  "Gather of rows": [["Gather", ["c", "index"], ["y"], { axis: 2 }]],
  "Gather of one channel": [["Gather", ["c", "first"], ["y"], { axis: 1 }]],
  PRelu: [["PRelu", ["c", "slope"], ["y"]]],
  "Add of columns": [["Add", ["c", "columns"], ["y"]]],
  "Mul by a mask": [["Mul", ["c", "mask"], ["y"]]],
  Where: [
    ["Greater", ["c", "zero"], ["g"]],
    ["Where", ["g", "c", "slope"], ["y"]],
  ],
  Clip: [["Clip", ["c", "zero", "half"], ["y"]]],
  "QuantizeLinear and back, by channels": [
    ["QuantizeLinear", ["c", "scales", "points"], ["q"], { axis: 1 }],
    ["DequantizeLinear", ["q", "scales", "points"], ["y"], { axis: 1 }],
  ],
  "DynamicQuantizeLinear and back": [
    ["DynamicQuantizeLinear", ["c"], ["q", "s", "z"]],
    ["DequantizeLinear", ["q", "s", "z"], ["y"]],
  ],
  Tile: [["Tile", ["c", "repeats"], ["y"]]],
  Cast: [
    ["Cast", ["c"], ["i"], { to: 6 }],
    ["Cast", ["i"], ["y"], { to: 1 }],
  ],
  "TopK of channels": [["TopK", ["c", "couple"], ["values", "y"], { axis: 1 }]],
  CumSum: [["CumSum", ["c", "first"], ["y"]]],
  Trilu: [["Trilu", ["c"], ["y"]]],
  NonZero: [
    ["Relu", ["c"], ["r"]],
    ["NonZero", ["r"], ["y"]],
  ],
  Reshape: [["Reshape", ["c", "shape"], ["y"]]],
  Expand: [["Expand", ["c", "larger"], ["y"]]],
  "a gate": [
    ["Sigmoid", ["c"], ["sg"]],
    ["Mul", ["sg", "c"], ["m"]],
    ["ReduceMean", ["m", "places"], ["p"]],
    ["Mul", ["m", "p"], ["y"]],
  ],
  Pow: [["Pow", ["c", "two"], ["y"]]],
  ScatterElements: [["ScatterElements", ["c", "targets", "updates"], ["y"], { axis: 1, reduction: "add" }]],
  Compress: [["Compress", ["c", "chosen"], ["y"], { axis: 1 }]],
  If: [["If", ["yes"], ["y"], { then_branch: branch("Neg"), else_branch: branch("Identity") }]],
  "a sequence": [
    ["SplitToSequence", ["c", "first"], ["s"], { axis: 1 }],
    ["SequenceAt", ["s", "first"], ["a"]],
    ["Concat", ["a", "a"], ["y"], { axis: 1 }],
  ],
  "Loop that reads it": [
    [
      "Loop",
      ["rounds", "", "c"],
      ["y"],
      {
        body: body([
          ["Mul", ["s", "half"], ["h"]],
          ["Mul", ["c", "slope"], ["cs"]],
          ["Add", ["h", "cs"], ["n"]],
        ]),
      },
    ],
  ],
  "Loop of convolutions": [
    [
      "Loop",
      ["rounds", "", "c"],
      ["y"],
      {
        body: body([
          ["Conv", ["s", "filter"], ["n0"], { pads: [1, 1, 1, 1] }],
          ["Conv", ["c", "filter"], ["n1"], { pads: [1, 1, 1, 1] }],
          ["Add", ["n0", "n1"], ["n2"]],
          ["Tanh", ["n2"], ["n"]],
        ]),
      },
    ],
  ],
};

for (const [name, nodes] of Object.entries(CHAINS)) {
  test(`ONNX behind a convolution: ${name}`, async () => {
    const text = JSON.stringify(nodes);
    const constants = Object.fromEntries(Object.entries(CONSTANTS).filter(([key]) => text.includes(`"${key}"`)));
    const hasOther = text.includes('"other"');
    const bytes = makeModel({
      opset: 18,
      inputs: [v("x", "float32", [2, 3, 8, 8]), ...(hasOther ? [v("other", "float32", [2, 2, 6, 6])] : [])],
      constants: { W: noise([4, 3, 3, 3], 0.5), ...constants },
      outputs: [v("y")],
      nodes: [["Conv", ["x", "W"], ["c"]], ...nodes],
    });
    const inputs = { x: noise([2, 3, 8, 8], 3), ...(hasOther ? { other: noise([2, 2, 6, 6]) } : {}) };
    await sameAsRuntime(name, bytes, inputs, backend, 1e-4);
  });
}

test.run();

/** @file Graphs inside of graphs, sequences and optional values: as ONNX Runtime computes them, and numbers worked out by hand. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile, gradients, open, sum, tensor } from "../../build/esm/index.js";
import { loadOnnx } from "../../build/esm/onnx/index.js";
import { f32, i64, makeModel, t } from "./make.js";
import { ours, sameAsRuntime } from "./ort.js";

const backend = await open("wasm");
test.after(() => backend.close());

const v = (name, type, shape) => ({ name, type, shape });
const yes = t("bool", [], [1]);
const noise = (shape, seed = 1) =>
  f32(
    shape,
    Array.from({ length: shape.reduce((n, d) => n * d, 1) }, (_, i) => Math.fround(Math.sin((i + 1) * 12.9898 * seed))),
  );

const branch = (nodes, shape) => ({ nodes, outputs: [v("r", "float32", shape)] });
const chosen = (inputs, constants, more = []) =>
  makeModel({
    inputs,
    constants,
    outputs: [v("y", "float32")],
    nodes: [
      ...more,
      [
        "If",
        ["c"],
        ["y"],
        {
          then_branch: branch([["Add", ["x", "x"], ["r"]]], [3]),
          else_branch: branch([["Neg", ["x"], ["r"]]], [3]),
        },
      ],
    ],
  });

test("If: conditions that are constants, inputs, and computed", async () => {
  const x = noise([3]);
  for (const c of [0, 1]) {
    await sameAsRuntime("constant", chosen([v("x", "float32", [3])], { c: t("bool", [], [c]) }), { x }, backend);
    await sameAsRuntime("input", chosen([v("x", "float32", [3]), v("c", "bool", [])], {}), { x, c: t("bool", [], [c]) }, backend);
    const computed = [
      ["ReduceSum", ["x"], ["s"], { keepdims: 0 }],
      ["Greater", ["s", "limit"], ["c"]],
    ];
    const limit = f32([], [c === 0 ? 100 : -100]);
    await sameAsRuntime("computed", chosen([v("x", "float32", [3])], { limit }, computed), { x }, backend);
  }
});

test("If: one loaded model takes both ways, as its input says", async () => {
  const net = await loadOnnx(chosen([v("x", "float32", [3]), v("c", "bool", [])], {}), { backend });
  for (const c of [true, false, true]) {
    const { y } = await net.run({ x: tensor([1, 2, 3]), c: tensor([c], [], "bool") });
    assert.equal([...(await y.data())], c ? [2, 4, 6] : [-1, -2, -3]);
  }
  net.dispose();
});

/** s = s w + i for each i, and all of them collected; goes on while the sum is below a limit. */
const loop = ({ trips, limit = null, shape = [2], constants = {}, inputs = [] }) =>
  makeModel({
    opset: 16,
    inputs: [v("s0", "float32", shape), ...inputs],
    constants: { w: f32([], [0.5]), ...(trips === null ? {} : { M: i64([trips], []) }), yes, ...constants },
    outputs: [v("s", "float32"), v("all", "float32")],
    nodes: [
      [
        "Loop",
        [trips === null ? "" : "M", "yes", "s0"],
        ["s", "all"],
        {
          body: {
            inputs: [v("i", "int64", []), v("cin", "bool", []), v("before", "float32", shape)],
            outputs: [v("cout", "bool", []), v("after", "float32", shape), v("each", "float32", shape)],
            nodes: [
              ["Cast", ["i"], ["f"], { to: 1 }],
              ["Mul", ["before", "w"], ["half"]],
              ["Add", ["half", "f"], ["after"]],
              ["Neg", ["after"], ["each"]],
              ...(limit === null
                ? [["Identity", ["cin"], ["cout"]]]
                : [
                    ["Constant", [], ["limit"], { value: f32([], [limit]) }],
                    ["ReduceSum", ["after"], ["sum"], { keepdims: 0 }],
                    ["Less", ["sum", "limit"], ["cout"]],
                  ]),
            ],
          },
        },
      ],
    ],
  });

test("Loop: a few rounds, many, none, and as many as elements decide", async () => {
  for (const trips of [0, 1, 5, 8, 100]) await sameAsRuntime(`${trips} rounds`, loop({ trips }), { s0: noise([2]) }, backend);
  for (const limit of [-10, 3, 12]) {
    await sameAsRuntime(`until ${limit}`, loop({ trips: null, limit }), { s0: noise([2]) }, backend);
    await sameAsRuntime(`until ${limit}, at most 4`, loop({ trips: 4, limit }), { s0: noise([2]) }, backend);
  }
});

test("Loop: how many rounds is an input", async () => {
  const net = await loadOnnx(
    makeModel({
      opset: 16,
      inputs: [v("n", "int64", []), v("x", "float32", [])],
      outputs: [v("y", "float32")],
      nodes: [
        [
          "Loop",
          ["n", "", "x"],
          ["y"],
          {
            body: {
              inputs: [v("i", "int64", []), v("cin", "bool", []), v("a", "float32", [])],
              outputs: [v("cout", "bool", []), v("b", "float32", [])],
              nodes: [
                ["Add", ["a", "a"], ["b"]],
                ["Identity", ["cin"], ["cout"]],
              ],
            },
          },
        ],
      ],
    }),
    { backend },
  );
  for (const n of [3, 0, 10]) {
    const { y } = await net.run({ n: tensor([n], [], "i32"), x: tensor([1.5], []) });
    assert.is((await y.data())[0], 1.5 * 2 ** n);
  }
  net.dispose();
});

test("Loop: what is carried grows, which a loop of fixed shapes could not carry", async () => {
  const growing = makeModel({
    opset: 16,
    inputs: [v("x", "float32", [1])],
    constants: { M: i64([12], []) },
    outputs: [v("y", "float32")],
    nodes: [
      [
        "Loop",
        ["M", "", "x"],
        ["y"],
        {
          body: {
            inputs: [v("i", "int64", []), v("cin", "bool", []), v("a", "float32", ["n"])],
            outputs: [v("cout", "bool", []), v("b", "float32", ["m"])],
            nodes: [
              ["Cast", ["i"], ["f"], { to: 1 }],
              ["Unsqueeze", ["f", "zero"], ["row"]],
              ["Concat", ["a", "row"], ["b"], { axis: 0 }],
              ["Identity", ["cin"], ["cout"]],
              ["Constant", [], ["zero"], { value: i64([0]) }],
            ],
          },
        },
      ],
    ],
  });
  const { y } = await ours(growing, { x: f32([1], [-1]) }, backend);
  assert.equal(y.data, [-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
});

test("Loop: gradients go through the rounds", async () => {
  const net = await loadOnnx(loop({ trips: 10 }), { backend });
  const step = compile((x) => gradients(sum(net.call({ s0: x }).s), [x])[0], { backend });
  assert.equal([...(await (await step(tensor([1, 2]))).data())], [2 ** -10, 2 ** -10]);
  net.dispose();
});

/** A running sum, and twice each of its states. */
const sums = (attributes, xShape, stateShape, sliceShape) =>
  makeModel({
    opset: 11,
    inputs: [v("s0", "float32", stateShape), v("x", "float32", xShape)],
    outputs: [v("s", "float32"), v("ys", "float32")],
    nodes: [
      [
        "Scan",
        ["s0", "x"],
        ["s", "ys"],
        {
          num_scan_inputs: 1,
          body: {
            inputs: [v("a", "float32", stateShape), v("row", "float32", sliceShape)],
            outputs: [v("b", "float32", stateShape), v("y", "float32", stateShape)],
            nodes: [
              ["Add", ["a", "row"], ["b"]],
              ["Add", ["b", "b"], ["y"]],
            ],
          },
          ...attributes,
        },
      ],
    ],
  });

test("Scan: directions and axes, of few steps and of many", async () => {
  for (const length of [1, 4, 20]) {
    for (const directions of [{}, { scan_input_directions: [1] }, { scan_output_directions: [1] }]) {
      const x = noise([length, 3]);
      await sameAsRuntime(`${length}`, sums(directions, [length, 3], [3], [3]), { s0: noise([3], 2), x }, backend);
    }
    const across = sums({ scan_input_axes: [1], scan_output_axes: [-1] }, [3, length], [3], [3]);
    await sameAsRuntime(`axes, ${length}`, across, { s0: noise([3], 2), x: noise([3, length]) }, backend);
  }
});

test("sequences: made, changed, read, split and joined", async () => {
  const x = noise([4, 6]);
  const bytes = makeModel({
    opset: 17,
    inputs: [v("x", "float32", [4, 6])],
    constants: { two: i64([2], []), minus: i64([-1], []), one: i64([1], []), parts: i64([1, 3]) },
    outputs: ["a", "b", "n", "joined", "stacked", "each"].map((name) => v(name, name === "n" ? "int64" : "float32")),
    nodes: [
      ["SplitToSequence", ["x", "two"], ["pairs"], { axis: 1 }],
      ["SequenceAt", ["pairs", "minus"], ["a"]],
      ["SequenceConstruct", ["a", "a"], ["s1"]],
      ["Neg", ["a"], ["na"]],
      ["SequenceInsert", ["s1", "na", "one"], ["s2"]],
      ["SequenceErase", ["s2", "minus"], ["s3"]],
      ["SequenceInsert", ["s3", "a"], ["s4"]],
      ["SequenceLength", ["s4"], ["n"]],
      ["SequenceAt", ["s4", "one"], ["b"]],
      ["ConcatFromSequence", ["s4"], ["joined"], { axis: -1 }],
      ["ConcatFromSequence", ["s4"], ["stacked"], { axis: 1, new_axis: 1 }],
      ["SplitToSequence", ["x", "parts"], ["uneven"], { axis: 0 }],
      ["SequenceAt", ["uneven", "one"], ["each"]],
    ],
  });
  await sameAsRuntime("sequences", bytes, { x }, backend);
});

test("sequences go through stages, and through the rounds of a Loop", async () => {
  const bytes = makeModel({
    opset: 16,
    inputs: [v("x", "float32", [3]), v("n", "int64", [])],
    outputs: [v("y", "float32")],
    nodes: [
      ["SequenceConstruct", ["x"], ["s0"]],
      [
        "Loop",
        ["n", "", "s0"],
        ["s"],
        {
          body: {
            inputs: [v("i", "int64", []), v("cin", "bool", []), v("before")],
            outputs: [v("cout", "bool", []), v("after")],
            nodes: [
              ["Identity", ["cin"], ["cout"]],
              ["Cast", ["i"], ["f"], { to: 1 }],
              ["Add", ["x", "f"], ["more"]],
              ["SequenceInsert", ["before", "more"], ["after"]],
            ],
          },
        },
      ],
      ["ConcatFromSequence", ["s"], ["y"], { axis: 0, new_axis: 1 }],
    ],
  });
  const { y } = await ours(bytes, { x: f32([3], [1, 2, 3]), n: i64([2], []) }, backend);
  assert.equal(y, { shape: [3, 3], data: [1, 2, 3, 1, 2, 3, 2, 3, 4] });
});

test("a graph takes and gives no sequences, which is said when it is loaded", async () => {
  const bytes = makeModel({
    opset: 17,
    inputs: [v("x", "float32", [4])],
    outputs: [{ ...v("s", "float32", [4]), isSequence: true }],
    nodes: [["SequenceConstruct", ["x"], ["s"]]],
  });
  const error = await loadOnnx(bytes, { backend }).catch((e) => e);
  assert.match(error.message, /"s" is a sequence, a map or an optional value/);
});

test("optional values", async () => {
  const bytes = makeModel({
    opset: 18,
    inputs: [v("x", "float32", [2])],
    outputs: [v("y", "float32"), v("has", "bool"), v("none", "bool")],
    nodes: [
      ["Optional", ["x"], ["o"]],
      ["OptionalHasElement", ["o"], ["has"]],
      ["OptionalGetElement", ["o"], ["y"]],
      ["OptionalHasElement", [""], ["none"]],
    ],
  });
  const { y, has, none } = await ours(bytes, { x: f32([2], [1, 2]) }, backend);
  assert.equal([y.data, has.data, none.data], [[1, 2], [1], [0]]);
});

test("SequenceMap: a graph for each tensor", async () => {
  const bytes = makeModel({
    opset: 17,
    inputs: [v("x", "float32", [4]), v("w", "float32", [])],
    outputs: [v("y", "float32")],
    nodes: [
      ["SplitToSequence", ["x"], ["s"], { keepdims: 0 }],
      [
        "SequenceMap",
        ["s", "w"],
        ["m"],
        {
          body: {
            inputs: [v("a", "float32", []), v("b", "float32", [])],
            outputs: [v("c", "float32", [])],
            nodes: [["Mul", ["a", "b"], ["c"]]],
          },
        },
      ],
      ["ConcatFromSequence", ["m"], ["y"], { axis: 0, new_axis: 1 }],
    ],
  });
  const { y } = await ours(bytes, { x: f32([4], [1, 2, 3, 4]), w: f32([], [3]) }, backend);
  assert.equal(y, { shape: [4], data: [3, 6, 9, 12] });
});

test.run();

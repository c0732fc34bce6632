/** @file Functions between the layers of files: of Keras 3, and of TensorFlow in files of Keras 2. The numbers are worked out here. */
import { test } from "uvu";
import * as L from "../../build/esm/index.js";
import { loadKeras } from "../../build/esm/keras/index.js";
import { archive, call, from, functional, input, layer, near, predict, refused } from "./files.js";

await L.open("wasm", { threads: 1 });

const ops = "keras.src.ops.numpy";
const fn = (className, config, args, kwargs, module = ops) => layer(className, "f", config, [call(args, kwargs)], module);
const slice = (start, stop, step = null) => ({ class_name: "__slice__", config: { start, stop, step } });
const X = [
  [1, -2, 3],
  [4, 5, -6],
];

for (const [what, node, want] of [
  [
    "Add of a constant tensor",
    fn("Add", {}, [from("x"), { class_name: "__tensor__", config: { value: [1, 2, 3], dtype: "float32" } }]),
    [2, 0, 6, 5, 7, -3],
  ],
  ["Divide of two tensors", fn("Divide", {}, [from("x"), from("x")]), [1, 1, 1, 1, 1, 1]],
  ["Power", fn("Power", {}, [from("x"), 2]), [1, 4, 9, 16, 25, 36]],
  ["Maximum with a number", fn("Maximum", {}, [from("x"), 0]), [1, 0, 3, 4, 5, 0]],
  ["a number less a tensor", fn("Subtract", {}, [1, from("x")]), [0, 3, -2, -3, -4, 7]],
  ["GetItem", fn("GetItem", {}, [from("x"), [slice(null, null), 1]]), [-2, 5]],
  ["GetItem from the end", fn("GetItem", {}, [from("x"), [{ class_name: "__ellipsis__", config: {} }, slice(-2, null)]]), [-2, 3, 5, -6]],
  ["GetItem with a new dimension and steps", fn("GetItem", {}, [from("x"), [slice(null, null), null, slice(0, 3, 2)]]), [1, 3, 4, -6]],
  ["Mean", fn("Mean", { axis: [1], keepdims: true }, [from("x")]), [2 / 3, 1]],
  ["Max along the last", fn("Max", { axis: -1, keepdims: false, initial: null }, [from("x")]), [3, 5]],
  ["Std", fn("Std", { axis: [1], keepdims: false }, [from("x")]), [2.0548046676563256, 4.96655480858378]],
  ["Relu", fn("Relu", {}, [from("x")], {}, "keras.src.ops.nn"), [1, 0, 3, 4, 5, 0]],
  ["LeakyRelu", fn("LeakyRelu", { negative_slope: 0.5 }, [from("x")], {}, "keras.src.ops.nn"), [1, -1, 3, 4, 5, -3]],
  [
    "Gelu is approximate",
    fn("Gelu", {}, [from("x")], {}, "keras.src.ops.nn"),
    X.flat().map((v) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)))),
  ],
  ["Round", fn("Round", { decimals: 0 }, [from("x")]), X.flat()],
  ["Clip", fn("Clip", { x_min: -1, x_max: 4 }, [from("x")]), [1, -1, 3, 4, 4, -1]],
  ["Reshape", fn("Reshape", { newshape: [null, 3, 1] }, [from("x")]), X.flat()],
  ["ExpandDims and others by name", fn("ExpandDims", { axis: 1 }, [], { x: from("x") }), X.flat()],
  ["Concatenate", fn("Concatenate", { axis: -1 }, [[from("x"), from("x")]]), [...X[0], ...X[0], ...X[1], ...X[1]]],
  ["Where", fn("Where", {}, [from("x"), from("x"), 0]), [1, -2, 3, 4, 5, -6]],
  ["Flip", fn("Flip", { axis: 1 }, [from("x")]), [3, -2, 1, -6, 5, 4]],
])
  test(`a function between layers: ${what}`, async () => {
    const model = functional([input("x", [3]), node, layer("Identity", "y", {}, [call([from("f")])])], [["x", 0, 0]], [["y", 0, 0]]);
    near(await predict(await loadKeras(archive(model, {})), L.tensor(X)), want);
  });

test("functions of several outputs, of two layers' tensors, and what is wrong with them", async () => {
  const split = functional(
    [
      input("x", [3]),
      layer("Split", "f", { indices_or_sections: [1], axis: 1 }, [call([from("x")])], ops),
      layer(
        "Matmul",
        "g",
        {},
        [call([from("f", 0, 1), { class_name: "__numpy__", config: { value: [[1], [10]], dtype: "float32" } }])],
        ops,
      ),
      layer("Add", "y", {}, [call([[from("f"), from("g")]])]),
    ],
    [["x", 0, 0]],
    [["y", 0, 0]],
  );
  near(await predict(await loadKeras(archive(split, {})), L.tensor(X)), [1 - 2 + 30, 4 + 5 - 60]);
  const wrong = (node, pattern) =>
    refused(loadKeras(archive(functional([input("x", [3]), node], [["x", 0, 0]], [["f", 0, 0]]), {})), L.FileError, pattern);
  await wrong(fn("Mean", { axis: 1, where: true }, [from("x")]), /option where = true is not known/);
  await wrong(fn("GetItem", {}, [from("x"), [slice(null, null), 5]]), /"f": there is no element 5 of 3/);
  await wrong(fn("Round", { decimals: 1 }, [from("x")]), /decimals must be 0/);
  // All elements, those of other samples among them.
  await wrong(fn("Softmax", { axis: null }, [from("x")], {}, "keras.src.ops.nn"), /axis must be a number/);
  await wrong(fn("Concatenate", { axis: null }, [[from("x"), from("x")]]), /axis must be a number/);
  await wrong(fn("Softmax", { axis: "x" }, [from("x")]), /axis must be a number/);
  await wrong(fn("Matmul", {}, [from("x")]), /called without its x2/);
  await wrong(layer("Add", "f", {}, [call([[from("x"), 2]])]), /called with 2, which is no tensor/);
});

test("functions of TensorFlow in files of Keras 2", async () => {
  const lambda = (name, calls, className = "TFOpLambda") => ({
    class_name: className,
    config: { name: "f", trainable: true, dtype: "float32", function: name },
    name: "f",
    inbound_nodes: calls,
  });
  const model = (node) => ({
    class_name: "Functional",
    config: {
      name: "m",
      layers: [
        { class_name: "InputLayer", config: { batch_input_shape: [null, 3], dtype: "float32", name: "x" }, name: "x", inbound_nodes: [] },
        node,
        { class_name: "Activation", config: { name: "y", activation: "linear" }, name: "y", inbound_nodes: [[["f", 0, 0, {}]]] },
      ],
      input_layers: [["x", 0, 0]],
      output_layers: [["y", 0, 0]],
    },
  });
  for (const [node, want] of [
    [lambda("math.multiply", [["x", 0, 0, { y: ["x", 0, 0], name: null }]]), [1, 4, 9, 16, 25, 36]],
    [lambda("math.multiply", [["_CONSTANT_VALUE", -1, 2, { y: ["x", 0, 0] }]]), [2, -4, 6, 8, 10, -12]],
    [lambda("math.multiply", [["_CONSTANT_VALUE", -1, [1, 2, 3], { y: ["x", 0, 0] }]]), [1, -4, 9, 4, 10, -18]],
    [lambda("math.multiply", [["x", 0, 0, { y: [1, 2, 3] }]]), [1, -4, 9, 4, 10, -18]],
    [lambda("math.reduce_mean", [["x", 0, 0, { axis: 1, keepdims: true }]]), [2 / 3, 1]],
    [lambda("nn.relu", [["x", 0, 0, {}]]), [1, 0, 3, 4, 5, 0]],
    [lambda("concat", [[["x", 0, 0, { axis: -1 }], ["x", 0, 0, { axis: -1 }]]]), [...X[0], ...X[0], ...X[1], ...X[1]]],
    [
      lambda(
        "__operators__.getitem",
        [["x", 0, 0, { slice_spec: [{ start: null, stop: null, step: null }, { start: 1, stop: null, step: null }] }]],
        "SlicingOpLambda",
      ),
      [-2, 3, 5, -6],
    ],
  ]) {
    const nodes = { ...node, inbound_nodes: node.inbound_nodes.map((n) => (typeof n[0] === "string" ? [n] : n)) };
    near(await predict(await loadKeras(archive(model(nodes), {}, "2.15.0")), L.tensor(X)), want, node.config.function);
  }
});

test.run();

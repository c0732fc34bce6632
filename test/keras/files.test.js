/** Files as Keras writes them, part by part, of which the numbers are worked out here: what versions of Keras do differently, above all. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as L from "../../build/esm/index.js";
import { loadKeras, saveKeras } from "../../build/esm/keras/index.js";
import { readHdf5 } from "../../build/esm/keras/hdf5.js";
import { slotsOf } from "../../build/esm/keras/slots.js";
import { storeOfNames } from "../../build/esm/keras/stores.js";
import { readZip } from "../../build/esm/keras/zip.js";
import { archive, call, from, functional, input, json, layer, row, weightsFile } from "./files.js";

await L.open("wasm", { threads: 1 });

const predict = async (model, ...inputs) => {
  const y = await model.predict(inputs.length === 1 ? inputs[0] : inputs);
  const read = async (t) => Array.from(await t.data());
  return y instanceof L.Tensor
    ? read(y)
    : Object.fromEntries(await Promise.all(Object.entries(y).map(async ([k, t]) => [k, await read(t)])));
};
const near = (got, want, what = "") => {
  assert.is(got.length, want.length, what);
  for (const [i, w] of want.entries()) assert.ok(Math.abs(got[i] - w) <= 1e-5 * (1 + Math.abs(w)), `${what} ${i}: ${got[i]} is not ${w}`);
};
const dense = (name, units, calls, more = {}) => layer("Dense", name, { units, ...more }, calls);
const one = (value) => [[value]];

test("groups of weights are numbered in Keras' order of layers, not in that of calls", async () => {
  const [a, b, add] = [L.dense(1), L.dense(1), L.add()];
  // A walk from the output meets the second argument's layer last.
  const model = L.model(
    (x) => {
      const [p, q] = [a.call(x), b.call(x)];
      return add.call(q, p);
    },
    { inputShape: [1] },
  );
  a.weights[0].tensor.set([[3]]);
  b.weights[0].tensor.set([[5]]);
  const file = readZip("", await saveKeras(model));
  const weights = readHdf5("", await file.read("model.weights.h5"));
  const at = async (path) => new Float32Array((await weights.get(path).dataset.bytes()).slice().buffer)[0];
  assert.is(await at("/layers/dense/vars/0"), 5, "the layer that the walk meets first");
  assert.is(await at("/layers/dense_1/vars/0"), 3);
  const { config } = JSON.parse(new TextDecoder().decode(await file.read("config.json")));
  assert.equal(
    config.layers.map(({ name }) => name),
    ["input_layer", "dense_1", "dense", "add"],
  );
  assert.equal(await predict(await loadKeras(await saveKeras(model)), L.tensor([[2]])), [16]);
});

test("a deeper branch comes first, whatever was called first", async () => {
  const [near_, far, farther, add] = [L.dense(1), L.dense(1), L.dense(1), L.add()];
  const model = L.model((x) => add.call(near_.call(x), farther.call(far.call(x))), { inputShape: [1] });
  for (const [i, l] of [near_, far, farther].entries()) l.weights[0].tensor.set([[i + 2]]);
  const { config } = JSON.parse(new TextDecoder().decode(await readZip("", await saveKeras(model)).read("config.json")));
  assert.equal(
    config.layers.map(({ name }) => name),
    ["input_layer", "dense_1", "dense", "dense_2", "add"],
  );
  const into = L.model((x) => add.call(near_.call(x), farther.call(far.call(x))), { inputShape: [1] });
  const weights = await readZip("", await saveKeras(model)).read("model.weights.h5");
  for (const l of [near_, far, farther]) l.weights[0].tensor.set([[0]]);
  await loadKeras(weights, { model: into });
  assert.equal(await predict(into, L.tensor([[1]])), [2 + 12]);
});

test("calls that lead nowhere are left out, also of layers that are called elsewhere", async () => {
  const [a, b] = [L.dense(1), L.dense(1)];
  const model = L.model(
    (x) => {
      const y = a.call(x);
      a.call(b.call(y));
      return a.call(y);
    },
    { inputShape: [1] },
  );
  a.weights[0].tensor.set([[3]]);
  const { config } = JSON.parse(new TextDecoder().decode(await readZip("", await saveKeras(model)).read("config.json")));
  assert.equal(
    config.layers.map((l) => [l.name, l.inbound_nodes.length]),
    [
      ["input_layer", 0],
      ["dense", 2],
    ],
  );
  assert.equal(await predict(await loadKeras(await saveKeras(model)), L.tensor([[2]])), [18]);
});

test("outputs by name keep their names; those of models within are counted in the order of names", async () => {
  const [a, b] = [L.dense(1), L.dense(1)];
  const model = L.model((x) => ({ z: a.call(x), y: b.call(x) }), { inputShape: [1] });
  a.weights[0].tensor.set([[2]]);
  b.weights[0].tensor.set([[3]]);
  assert.equal(await predict(await loadKeras(await saveKeras(model)), L.tensor([[1]])), { z: [2], y: [3] });
  const inner = functional(
    [input("i", [1]), dense("a", 1, [call([from("i")])]), dense("b", 1, [call([from("i")])])],
    [["i", 0, 0]],
    { z: ["a", 0, 0], y: ["b", 0, 0] },
    "inner",
  );
  const outer = functional(
    [
      input("x", [1]),
      { ...inner, name: "inner", inbound_nodes: [call([from("x")])] },
      layer("Subtract", "sub", {}, [call([[from("inner", 0, 0), from("inner", 0, 1)]])]),
    ],
    [["x", 0, 0]],
    [["sub", 0, 0]],
  );
  const weights = {
    "layers/functional/layers/dense/vars/0": one(2),
    "layers/functional/layers/dense/vars/1": [0],
    "layers/functional/layers/dense_1/vars/0": one(7),
    "layers/functional/layers/dense_1/vars/1": [0],
  };
  // Output 0 is y.
  assert.equal(await predict(await loadKeras(archive(outer, weights)), L.tensor([[1]])), [7 - 2]);
});

test("a model that takes its inputs by name is called with them by name", async () => {
  const inner = functional(
    [input("p", [1]), input("q", [1]), layer("Subtract", "d", {}, [call([[from("q"), from("p")]])])],
    { q: ["q", 0, 0], p: ["p", 0, 0] },
    [["d", 0, 0]],
    "inner",
  );
  const outer = functional(
    [
      input("x", [1]),
      input("y", [1]),
      { ...inner, name: "inner", inbound_nodes: [call([{ q: from("x"), p: from("y") }])] },
      dense("head", 1, [call([from("inner")])]),
    ],
    { y: ["y", 0, 0], x: ["x", 0, 0] },
    [["head", 0, 0]],
  );
  const file = archive(outer, { "layers/dense/vars/0": one(1), "layers/dense/vars/1": [0] });
  const model = await loadKeras(file);
  // x, then y: sorted.
  assert.equal(await predict(model, L.tensor([[5]]), L.tensor([[3]])), [2]);
});

test("Keras 2.12 to 2.14 count layers with weights twice, and mean another hard sigmoid", async () => {
  const model = row([
    input("x", [1]),
    dense("a", 1, undefined),
    layer("Dropout", "d", { rate: 0.5 }),
    dense("b", 1, undefined, { activation: "hard_sigmoid" }),
    layer("Sequential", "inner", { layers: [dense("c", 1), dense("e", 1)] }, undefined, "keras"),
  ]);
  const at = "_layer_checkpoint_dependencies";
  const weights = {};
  for (const [path, value] of [
    ["dense", 2],
    ["dense_2", 1],
    [`sequential/${at}/dense`, 3],
    [`sequential/${at}/dense_2`, 5],
  ]) {
    weights[`${at}/${path}/vars/0`] = one(value);
    weights[`${at}/${path}/vars/1`] = [0];
  }
  near(await predict(await loadKeras(archive(model, weights, "2.13.1")), L.tensor([[0.5]])), [0.7 * 15]);
  const plain = row([input("x", [1]), dense("a", 1, undefined, { activation: "hard_sigmoid" })]);
  const own = { "layers/dense/vars/0": one(1), "layers/dense/vars/1": [0] };
  near(await predict(await loadKeras(archive(plain, own, "2.15.0")), L.tensor([[1]])), [0.7]);
  near(await predict(await loadKeras(archive(plain, own, "3.0.0")), L.tensor([[1]])), [4 / 6]);
});

test("one layer in two models is one", async () => {
  const shared = { ...dense("s", 1), shared_object_id: 7 };
  const within = (name) => layer("Sequential", name, { layers: [shared] }, [call([from("x")])], "keras");
  const model = functional(
    [input("x", [1]), within("one"), within("two"), layer("Add", "sum", {}, [call([[from("one"), from("two")]])])],
    [["x", 0, 0]],
    [["sum", 0, 0]],
  );
  const file = archive(model, { "layers/sequential/layers/dense/vars/0": one(4), "layers/sequential/layers/dense/vars/1": [1] });
  const read = await loadKeras(file);
  assert.equal(await predict(read, L.tensor([[1]])), [10]);
  assert.is(read.parameters.filter((t, i, all) => all.indexOf(t) === i).length, 2);
});

const sequences = (merge, config = {}) =>
  functional(
    [
      input("i", [3]),
      layer("Embedding", "a", { input_dim: 4, output_dim: 1, mask_zero: true }, [call([from("i")])]),
      layer("Embedding", "b", { input_dim: 4, output_dim: 1, mask_zero: false }, [call([from("i")])]),
      layer(merge, "m", config, [call([[from("a"), from("b")]])]),
      layer("GlobalAveragePooling1D", "p", {}, [call([from("m")])]),
    ],
    [["i", 0, 0]],
    [["p", 0, 0]],
  );
const tables = {
  "layers/embedding/vars/0": [[9], [1], [2], [3]],
  "layers/embedding_1/vars/0": [[9], [10], [20], [30]],
};

test("steps that count behind sums: by one mask in Keras 2, by all in Keras 3; masks are joined along time", async () => {
  const x = L.tensor([[1, 2, 0]]);
  near(await predict(await loadKeras(archive(sequences("Add"), tables, "2.15.0")), x), [(11 + 22) / 2], "Keras 2");
  near(await predict(await loadKeras(archive(sequences("Add"), tables)), x), [(11 + 22 + 18) / 3], "Keras 3");
  near(
    await predict(await loadKeras(archive(sequences("Concatenate", { axis: 1 }), tables)), x),
    [(1 + 2 + 10 + 20 + 9) / 5],
    "along time",
  );
});

test("calls with training are obeyed where the version does", async () => {
  const model = functional(
    [
      input("x", [1]),
      layer("BatchNormalization", "n", { epsilon: 0, momentum: 0.5 }, [call([from("x")], { training: true })]),
      dense("d", 1, [call([from("n")])]),
    ],
    [["x", 0, 0]],
    [["d", 0, 0]],
  );
  const vars = [1, 0, 10, 4];
  const weights = Object.fromEntries(vars.map((v, i) => [`layers/batch_normalization/vars/${i}`, [v]]));
  Object.assign(weights, { "layers/dense/vars/0": one(1), "layers/dense/vars/1": [0] });
  const x = L.tensor([[12], [14]]);
  near(await predict(await loadKeras(archive(model, weights, "3.15.1")), x), [1, 2], "Keras 3.15: as the model");
  near(await predict(await loadKeras(archive(model, weights, "3.16.0")), x), [-1, 1], "Keras 3.16: as the call");
  const again = await loadKeras(await saveKeras(await loadKeras(archive(model, weights))));
  near(await predict(again, x), [-1, 1], "written again");
});

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
  const wrong = async (node, pattern) => {
    const model = functional([input("x", [3]), node], [["x", 0, 0]], [["f", 0, 0]]);
    await loadKeras(archive(model, {})).then(assert.unreachable, (error) => {
      assert.instance(error, L.FileError);
      assert.match(error.message, pattern);
    });
  };
  await wrong(fn("Mean", { axis: 1, where: true }, [from("x")]), /option where = true is not known/);
  await wrong(fn("GetItem", {}, [from("x"), [slice(null, null), 5]]), /"f": there is no element 5 of 3/);
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

test("names of weights: those of a layer that a model within has too, and names of several parts", () => {
  const named = [
    ["inner", "dense/kernel"],
    ["dense", "dense/kernel"],
    ["block/conv", "block/conv/kernel"],
    ["two", "two/forward_gru/gru_cell/kernel"],
    ["two", "two/backward_gru/gru_cell/kernel"],
  ].map(([group, name]) => ({ group, segments: name.split("/"), variable: { name: `${group}/${name}` } }));
  const store = storeOfNames("x", named);
  const take = (...names) => store.take({ names, group: "", groups: "", className: "Dense" }, { name: "" }, "kernel", 0).name;
  assert.is(take("dense"), "dense/dense/kernel");
  assert.is(take("inner", "dense"), "inner/dense/kernel");
  assert.is(take("block/conv"), "block/conv/block/conv/kernel");
  assert.is(take("two", "backward"), "two/two/backward_gru/gru_cell/kernel");
  assert.throws(() => store.finish(), /variables that no layer takes: two\/two\/forward_gru/);
});

test("a folder that Keras wrote, by names of files", async () => {
  const members = readZip(
    "",
    archive(row([input("x", [1]), dense("d", 1)]), { "layers/dense/vars/0": one(4), "layers/dense/vars/1": [1] }),
  );
  const files = Object.fromEntries(await Promise.all(members.names.map(async (name) => [name, await members.read(name)])));
  assert.equal(await predict(await loadKeras(files), L.tensor([[2]])), [9]);
});

test("weights in several files, by name", async () => {
  const model = L.sequential([L.dense(2), L.dense(1)], { inputShape: [1] });
  const index = {
    metadata: { total_size: 28 },
    weight_map: { "/layers/dense/vars": ["m_00000.weights.h5", "m_00001.weights.h5"], "/layers/dense_1/vars": "m_00001.weights.h5" },
  };
  const files = {
    "m.weights.json": json(index),
    "m_00000.weights.h5": weightsFile({ "layers/dense/vars/0": [[2, 3]] }),
    "m_00001.weights.h5": weightsFile({
      "layers/dense/vars/1": [1, 1],
      "layers/dense_1/vars/0": [[1], [10]],
      "layers/dense_1/vars/1": [5],
    }),
  };
  assert.is(await loadKeras(files, { model }), model);
  near(await predict(model, L.tensor([[1]])), [3 + 40 + 5]);
  await loadKeras({ ...files, "m_00001.weights.h5": undefined }, { model }).then(assert.unreachable, (e) =>
    assert.instance(e, L.LockstepError),
  );
  await loadKeras({ "m.weights.json": json({ weight_map: { a: "../x.h5" } }) }, { model }).then(assert.unreachable, (e) =>
    assert.match(e.message, /is not beside it, and is not opened/),
  );
});

test("channels first: the same numbers as with channels last", async () => {
  const conv = (name, calls, more = {}) =>
    layer("Conv2D", name, { filters: 2, kernel_size: [2, 2], padding: "same", data_format: "channels_first", ...more }, calls);
  const graph = functional(
    [
      input("x", [2, 3, 4]),
      conv("a", [call([from("x")])]),
      layer("BatchNormalization", "n", { axis: 1 }, [call([from("a")])]),
      conv("b", [call([from("n")])], { strides: 2 }),
      layer("MaxPooling2D", "p", { pool_size: 2, data_format: "channels_first", padding: "same" }, [call([from("b")])]),
      layer("Flatten", "f", { data_format: "channels_first" }, [call([from("p")])]),
      layer("Flatten", "g", { data_format: "channels_last" }, [call([from("b")])]),
      layer("Concatenate", "c", {}, [call([[from("f"), from("g")]])]),
    ],
    [["x", 0, 0]],
    [["c", 0, 0]],
  );
  const kernel = (k) => Array.from({ length: 2 }, (_, i) => Array.from({ length: 2 }, (_, j) => [[i - j + k, 2], [j, i + k]]));
  const weights = {
    "layers/conv2d/vars/0": kernel(1),
    "layers/conv2d/vars/1": [1, 2],
    "layers/conv2d_1/vars/0": kernel(2),
    "layers/conv2d_1/vars/1": [0, 1],
  };
  [[1, 2], [0, 1], [0.5, 1], [1, 2]].forEach((v, i) => (weights[`layers/batch_normalization/vars/${i}`] = v));
  const got = await predict(
    await loadKeras(archive(graph, weights)),
    L.tensor(
      Float32Array.from({ length: 24 }, (_, i) => (i % 7) - 3),
      [1, 2, 3, 4],
    ),
  );
  // The same in order, one loop after another.
  const x = (c, i, j) => ((c * 12 + i * 4 + j) % 7) - 3;
  const convolve = (at, k, bias, rows, columns, step) => (o, r, s) => {
    // Padding behind: kernels of 2.
    let sum = bias[o];
    for (let i = 0; i < 2; i++)
      for (let j = 0; j < 2; j++)
        for (let c = 0; c < 2; c++) {
          const [u, v] = [r * step + i - (step === 2 ? 0 : 0), s * step + j];
          if (u < rows && v < columns) sum += at(c, u, v) * k[i][j][c][o];
        }
    return sum;
  };
  const a = convolve(x, kernel(1), [1, 2], 3, 4, 1);
  const n = (c, i, j) => ((a(c, i, j) - [0.5, 1][c]) / Math.sqrt([1, 2][c] + 1e-3)) * [1, 2][c] + [0, 1][c];
  const b = convolve(n, kernel(2), [0, 1], 3, 4, 2);
  const all = (c) => [b(c, 0, 0), b(c, 0, 1), b(c, 1, 0), b(c, 1, 1)];
  near(got, [Math.max(...all(0)), Math.max(...all(1)), ...all(0), ...all(1)]);
  const rowed = row([
    input("x", [2, 5]),
    layer("Conv1D", "a", { filters: 1, kernel_size: 1, data_format: "channels_first" }),
    layer("Activation", "t", { activation: "relu" }),
    layer("UpSampling1D", "u", { size: 2 }),
  ]);
  const file = archive(rowed, { "layers/conv1d/vars/0": [[[1], [2]]], "layers/conv1d/vars/1": [0] });
  near(await predict(await loadKeras(file), L.tensor([[[1, 2, 3, 4, 5], [0, 0, 0, 0, -9]]])), [1, 2, 3, 4, 0, 1, 2, 3, 4, 0]);
});

test("the optimizer's state of Keras 2, by names, by order and side by side", async () => {
  const config = { class_name: "Adam", config: { learning_rate: 0.1, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7 } };
  const model = { ...row([input("x", [1]), dense("a", 1), dense("b", 1)]), compile_config: { loss: "mse", optimizer: config } };
  const weights = {};
  for (const name of ["dense", "dense_1"]) Object.assign(weights, { [`layers/${name}/vars/0`]: one(1), [`layers/${name}/vars/1`]: [0] });
  // Keras 2.12 to 2.15: m and v of each side by side, without a learning rate.
  const values = [one(1), one(2), [3], [4], one(5), one(6), [7], [8]];
  weights["optimizer/vars/0"] = 9;
  values.forEach((v, i) => (weights[`optimizer/vars/${i + 1}`] = v));
  const read = async (m, name) => (await m.optimizer.state()[name].data())[0];
  const newer = await loadKeras(archive(model, weights, "2.15.0"));
  assert.equal(await Promise.all(["iterations", "m/0", "v/0", "m/3", "v/3"].map((n) => read(newer, n))), [9, 1, 2, 7, 8]);
  // Keras 3 has the rate behind the steps.
  const shifted = { ...weights };
  values.forEach((v, i) => (shifted[`optimizer/vars/${i + 2}`] = v));
  shifted["optimizer/vars/1"] = 0.25;
  const third = await loadKeras(archive(model, shifted));
  assert.equal(await Promise.all(["iterations", "learningRate", "m/0", "v/3"].map((n) => read(third, n))), [9, 0.25, 1, 8]);
});

test("names of an optimizer's state: of TensorFlow, of the first Keras 2, and what is of no known form", () => {
  const variables = (...list) => list.map(([name, ...shape]) => ({ name: `/optimizer_weights/${name}`, shape }));
  const both = ["a/kernel", "b/kernel"];
  const named = variables(["Adam/iter:0"], ...["m", "v"].flatMap((slot) => both.map((w) => [`Adam/${w}/${slot}:0`, 2, 2])));
  assert.equal(slotsOf("adam", named, 2, []), ["iterations", "m/0", "m/1", "v/0", "v/1"]);
  const momentum = variables(["iter"], ["a/kernel/rms", 2], ["a/kernel/momentum", 2]);
  assert.equal(slotsOf("rmsprop", momentum, 1, []), ["iterations", "velocity/0", "momentum/0"]);
  const nadam = variables(["Nadam/iter:0"], ["Nadam/momentum_cache:0"], ["Nadam/a/m:0", 2], ["Nadam/a/v:0", 2]);
  assert.equal(slotsOf("nadam", nadam, 1, []), ["iterations", "uProduct", "m/0", "v/0"]);
  const first = variables(["Adam/iterations:0"], ...[0, 1, 2, 3].map((i) => [`training/Adam/Variable_${i}:0`, 2]), ["x", 1], ["y", 1]);
  assert.equal(slotsOf("adam", first, 2, []), ["iterations", "m/0", "m/1", "v/0", "v/1", "", ""]);
  assert.is(slotsOf("adam", named.slice(0, 4), 2, []), null, "a list is shorter");
  assert.is(slotsOf("adam", first.slice(0, 4), 2, []), null);
});

test.run();

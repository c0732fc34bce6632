/** Files as Keras writes them, part by part, of which the numbers are worked out here: what versions of Keras do differently, above all. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as L from "../../build/esm/index.js";
import { loadKeras, saveKeras } from "../../build/esm/keras/index.js";
import { readHdf5 } from "../../build/esm/keras/hdf5.js";
import { storeOfNames } from "../../build/esm/keras/stores.js";
import { readZip } from "../../build/esm/keras/zip.js";
import { archive, call, dense, from, functional, input, json, layer, near, one, predict, refused, row, weightsFile } from "./files.js";

await L.open("wasm", { threads: 1 });

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

test("layers of a model with named outputs are written in the order of these names, as Keras finds them", async () => {
  const [a, b] = [L.dense(1), L.dense(1)];
  const model = L.model((x) => ({ z: a.call(x), y: b.call(x) }), { inputShape: [1] });
  b.weights[0].tensor.set([[3]]);
  const weights = readHdf5("", await readZip("", await saveKeras(model)).read("model.weights.h5"));
  const bytes = await weights.get("/layers/dense/vars/0").dataset.bytes();
  assert.is(new Float32Array(bytes.slice().buffer)[0], 3, "y comes first");
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

test("a call that is not of training stays so in a row of layers", async () => {
  const model = functional(
    [
      input("x", [1]),
      layer("BatchNormalization", "n", { epsilon: 0, momentum: 0.5 }, [call([from("x")], { training: false })]),
      dense("d", 1, [call([from("n")])]),
    ],
    [["x", 0, 0]],
    [["d", 0, 0]],
  );
  const weights = { "layers/dense/vars/0": one(1), "layers/dense/vars/1": [0] };
  [1, 0, 10, 4].forEach((v, i) => (weights[`layers/batch_normalization/vars/${i}`] = [v]));
  const meanAfterFit = async (version) => {
    const read = await loadKeras(archive(model, weights, version));
    await read.compile({ loss: "meanSquaredError", optimizer: "sgd" });
    await read.fit(L.tensor([[12], [14]]), L.tensor([[0], [0]]), { verbose: 0 });
    return (await (await read.getWeights())[2].data())[0];
  };
  assert.is(await meanAfterFit("3.16.0"), 10, "Keras 3.16: as the call");
  assert.is(await meanAfterFit("3.15.1"), 11.5, "Keras 3.15: as the model");
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
  const twice = { ...files, "m_00001.weights.h5": files["m_00000.weights.h5"] };
  await refused(loadKeras(twice, { model }), L.FileError, /is in two of its files/);
  await loadKeras({ "m.weights.json": json({ weight_map: { a: "../x.h5" } }) }, { model }).then(assert.unreachable, (e) =>
    assert.match(e.message, /is not beside it, and is not opened/),
  );
});

test.run();

/** What is refused, and how: every error names the file, the layer and what of it is not known. */
import { deflateRawSync } from "node:zlib";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as L from "../../build/esm/index.js";
import { loadKeras, loadTfjs, saveKeras, saveTfjs } from "../../build/esm/keras/index.js";
import { readHdf5 } from "../../build/esm/keras/hdf5.js";
import { writeHdf5 } from "../../build/esm/keras/hdf5-write.js";
import { crc32, readZip, writeZip } from "../../build/esm/keras/zip.js";
import { refused } from "./files.js";

await L.open("wasm", { threads: 1 });

const encode = (value) => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));

/** An archive of a model with another configuration. */
async function changed(model, change) {
  const archive = readZip("", await saveKeras(model));
  const config = JSON.parse(new TextDecoder().decode(await archive.read("config.json")));
  change(config);
  return writeZip([
    ["config.json", encode(config)],
    ["model.weights.h5", await archive.read("model.weights.h5")],
  ]);
}
const row = (layers, inputShape = [4, 3]) => L.sequential(layers, { inputShape });

test("a cell of one's own in a layer of cells is made by its class, and what is no cell is refused", async () => {
  const model = row([L.rnn(L.simpleRnnCell(2), { returnSequences: true, goBackwards: true })]);
  const mine = (c) => {
    c.layers[1].config.cell.class_name = "Elman";
    c.layers[1].config.cell.config = { name: "mine", units: 2 };
  };
  const file = await changed(model, (c) => mine(c.config));
  const elman = ({ units }) =>
    L.rnnCell({
      kind: "elman",
      config: { units },
      stateSizes: units,
      build: ([, features], weight) => {
        for (const [name, shape] of Object.entries({ kernel: [features, units], recurrent: [units, units], bias: [units] }))
          weight(name, shape, { init: "zeros" });
      },
      call: (x, { kernel, recurrent, bias }, h) => {
        const y = L.tanh(L.add(L.add(L.matmul(x, kernel), L.matmul(h, recurrent)), bias));
        return { output: y, states: [y] };
      },
    });
  const x = L.ones([1, 4, 3]);
  const want = await (await model.predict(x)).data();
  const got = await (await (await loadKeras(file, { layers: { Elman: elman } })).predict(x)).data();
  for (const [i, v] of want.entries()) assert.ok(Math.abs(got[i] - v) < 1e-6);
  await refused(loadKeras(file), L.FileError, /Elman "mine": this class of layers is not known/);
  await refused(loadKeras(file, { layers: { Elman: L.extraLayers.rnn } }), L.ArgumentError, /layers.Elman must be a function of the/);
  await refused(
    loadKeras(file, { layers: { Elman: () => L.dense(2) } }),
    L.FileError,
    /RNN "rnn": "mine" is no cell; make those of one's own by rnnCell/,
  );
  await refused(saveKeras(row([L.rnn(elman({ units: 2 }))])), L.ArgumentError, /saving elman.*Keras has no such layer/);
  const gru = await changed(row([L.rnn([L.gruCell(2)])]), (c) => (c.config.layers[1].config.stateful = true));
  await refused(loadKeras(gru), L.FileError, /RNN "rnn": stateful must be false.*found true/);
});

test("what Lockstep has not is named", async () => {
  const cases = [
    [() => L.dense(2), (c) => (c.layers[1].class_name = "Denze"), /Denze "dense": this class of layers is not known.*Dense, /],
    [
      () => L.dense(2),
      (c) => (c.layers[1].config.kernel_constraint = { class_name: "MaxNorm", config: {} }),
      /Dense "dense": kernel_constraint/,
    ],
    [
      () => L.dense(2),
      (c) => (c.layers[1].config.activation = "sparsemax"),
      /Dense "dense": activation "sparsemax" is not known; known are linear/,
    ],
    [
      () => L.dense(2),
      (c) => (c.layers[1].config.kernel_initializer = { class_name: "Mine", config: {} }),
      /kernel_initializer: initializer "mine"/,
    ],
    [
      () => L.dense(2),
      (c) => (c.layers[1].config.kernel_regularizer = { class_name: "Orthogonal", config: {} }),
      /regularizer "Orthogonal"/,
    ],
    [() => L.dense(2), (c) => (c.layers[1].config.speed = 3), /Dense "dense": option speed = 3 is not known; known are activation/],
    [() => L.dense(2), (c) => (c.layers[1].config.units = "2"), /units must be an integer >= 1, found "2"/],
    [() => L.dense(2), (c) => (c.layers[1].config.dtype = { class_name: "QuantizedDTypePolicy", config: {} }), /QuantizedDTypePolicy/],
    [
      () => L.conv1d(2, 2),
      (c) => (c.layers[1].config.data_format = "channels_middle"),
      /Conv1D "conv1d": data_format must be "channels_last"/,
    ],
    [() => L.dense(2), (c) => (c.layers[1].module = "mine"), /Dense "dense": a layer of one's own \(mine\)/],
    [() => L.dense(2), (c) => (c.layers[1].registered_name = "mine>Dense"), /Dense "dense": a layer of one's own/],
    [
      () => L.dense(2),
      (c) => (c.layers[1].config.activation = { module: "mine", class_name: "function", config: "relu", registered_name: "relu" }),
      /activation: "relu" is not Keras' own: it is code of mine/,
    ],
    [() => L.rescaling(2), (c) => (c.layers[1].config.dtype = "uint8"), /it computes in uint8/],
    [
      () => L.bidirectional(L.gru(2)),
      (c) => (c.layers[1].config.backward_layer.config.go_backwards = false),
      /both of its layers read in one direction/,
    ],
    [() => L.lstm(2), (c) => (c.layers[1].config.stateful = true), /LSTM "lstm": stateful must be false/],
    [() => L.lstm(2), (c) => (c.layers[1].config.return_state = true), /gives its states/],
    [() => L.bidirectional(L.gru(2)), (c) => (c.layers[1].config.merge_mode = null), /merge_mode must be concat/],
    [() => L.bidirectional(L.gru(2)), (c) => (c.layers[1].config.backward_layer.config.units = 3), /its two layers have different options/],
    [() => L.batchNorm(), (c) => (c.layers[1].config.renorm = true), /renorm must be false/],
    [() => L.softmax(), (c) => (c.layers[1].config.axis = [1, 2]), /axis must be one dimension/],
    [() => L.dropout(0.5), (c) => (c.layers[1].config.noise_shape = [1, 3]), /noise_shape must be absent/],
    [() => L.dense(2), (c) => (c.layers[0].config.sparse = true), /not dense/],
    [() => L.dense(2), (c) => (c.layers = []), /it has no layers/],
    [() => L.dense(2), (c) => (c.layers[1].module = "keras.src.ops.numpy"), /a function between layers/],
    [
      () => L.dense(2),
      (c) => c.layers.push({ class_name: "Lambda", config: { name: "code" } }),
      /Lambda "code".*holds code.*layers: \{ code:/,
    ],
  ];
  for (const [make, change, pattern] of cases)
    await refused(loadKeras(await changed(row([make()]), (c) => change(c.config))), L.FileError, pattern);
});

test("a Lambda that is given is used", async () => {
  const model = row([L.dense(2)], [3]);
  const file = await changed(model, (c) => c.config.layers.push({ class_name: "Lambda", config: { name: "twice", code: "x" } }));
  const byFunction = await loadKeras(file, { layers: { Lambda: () => (x) => L.mul(x, 2) } });
  assert.is(byFunction.layers[1].name, "twice");
  const again = await loadKeras(file, { layers: { twice: () => L.layer({ kind: "twice", config: {}, call: (x) => L.mul(x, 2) }) } });
  const x = L.tensor([[1, 2, 3]]);
  const [one, two] = [await (await model.predict(x)).data(), await (await again.predict(x)).data()];
  assert.equal(
    [...two],
    [...one].map((v) => v * 2),
  );
  assert.equal(await (await byFunction.predict(x)).data(), two);
});

test("sums, differences, products and quotients between layers", async () => {
  const [d, sum, again] = [L.dense(3), L.add(), L.add()];
  const model = L.model((x) => again.call(d.call(sum.call(x, x)), x), { inputShape: [3], seed: 5 });
  const x = L.tensor([[1, 2, 3]]);
  const kernel = await d.weights[0].tensor.data();
  const dense = (v) => [0, 1, 2].map((j) => v.reduce((s, value, i) => s + value * kernel[3 * i + j], 0));
  for (const [className, args, of] of [
    ["Add", (t) => [t, 2], (v) => v + 2],
    ["Subtract", (t) => [2, t], (v) => 2 - v],
    ["Multiply", (t) => [-3, t], (v) => -3 * v],
    ["TrueDivide", (t) => [t, 4], (v) => v / 4],
    ["Maximum", (t) => [t, t], (v) => v],
  ]) {
    const file = await changed(model, ({ config }) => {
      const found = config.layers.find((l) => l.name === "add");
      const [node] = found.inbound_nodes;
      node.args = args(node.args[0][0]);
      Object.assign(found, { module: "keras.src.ops.numpy", class_name: className });
      // A layer no more: it has no place among them.
    });
    const got = await (await (await loadKeras(file)).predict(x)).data();
    dense([1, 2, 3].map(of)).forEach((w, i) => assert.ok(Math.abs(got[i] - (w + i + 1)) < 1e-5, className));
  }
  const file = await changed(model, ({ config }) => {
    const found = config.layers.find((l) => l.name === "add");
    Object.assign(found, { module: "keras.src.ops.numpy", class_name: "Einsum" });
  });
  await refused(loadKeras(file), L.FileError, /Einsum between layers is not known: known are Abs/);
});

test("what a file was compiled with is named, and can be left out", async () => {
  const model = row([L.dense(2)], [3]);
  await model.compile({ loss: "meanSquaredError", optimizer: "adam" });
  for (const [change, pattern] of [
    [(c) => (c.loss = "mine"), /loss "mine" is not known; known are BinaryCrossentropy/],
    [(c) => (c.optimizer.class_name = "Ftrl"), /optimizer "Ftrl" is not known; known are SGD/],
    [(c) => (c.optimizer.config.loss_scale_factor = 2), /loss_scale_factor/],
    [(c) => (c.metrics = ["fog"]), /metric "fog" is not known/],
    [(c) => (c.weighted_metrics = ["mae"]), /weighted_metrics/],
    [(c) => (c.loss = { class_name: "Huber", config: { reduction: "sum" } }), /reduction must be "sum_over_batch_size"/],
  ]) {
    const file = await changed(model, (c) => change(c.compile_config));
    await refused(loadKeras(file), L.FileError, pattern);
    assert.is((await loadKeras(file, { compile: false })).optimizer, null);
  }
});

test("weights that are missing, left over or of another shape", async () => {
  const change = async (fn) => {
    const archive = readZip("", await saveKeras(row([L.dense(2)], [3])));
    const data = new Map();
    for (const [path, { dataset }] of readHdf5("", await archive.read("model.weights.h5")))
      if (dataset) data.set(path, { shape: dataset.shape, data: new Float32Array((await dataset.bytes()).slice().buffer) });
    fn(data);
    return writeZip([
      ["config.json", await archive.read("config.json")],
      ["model.weights.h5", writeHdf5(data)],
    ]);
  };
  await refused(
    loadKeras(await change((d) => d.delete("/layers/dense/vars/1"))),
    L.FileError,
    /no "\/layers\/dense\/vars\/1", the bias of Dense/,
  );
  await refused(
    loadKeras(await change((d) => d.set("/layers/dense/vars/1", { shape: [3], data: new Float32Array(3) }))),
    L.FileError,
    /has shape \[3\], Dense dense needs \[2\] for its bias/,
  );
  await refused(
    loadKeras(await change((d) => d.set("/layers/dense_1/vars/0", { shape: [3], data: new Float32Array(3) }))),
    L.FileError,
    /variables that no layer takes: \/layers\/dense_1/,
  );
});

test("archives that are no models, or made to fill the memory", async () => {
  await refused(loadKeras(encode("hello")), L.FileError, /neither a \.keras archive nor an HDF5 file/);
  await refused(loadKeras(writeZip([["a.txt", encode("a")]])), L.FileError, /not a model of Keras: the archive has a\.txt/);
  await refused(
    loadKeras(
      writeZip([
        ["config.json", encode({})],
        ["model.weights.npz", encode("")],
      ]),
    ),
    L.FileError,
    /pickled/,
  );
  // A member of 3 KB that says it is 3 GB, and one that is 64 MB of zeros.
  const bomb = (size, raw, real) => {
    const out = writeZip([["config.json", raw]]);
    const view = new DataView(out.buffer, out.byteOffset);
    const directory = out.length - 22 - 46 - "config.json".length;
    view.setUint16(directory + 10, 8, true);
    view.setUint32(directory + 16, crc32(real), true);
    view.setUint32(directory + 24, size, true);
    return out;
  };
  const zeros = new Uint8Array(2 ** 20);
  const small = deflateRawSync(zeros);
  await refused(loadKeras(bomb(3e9, small, zeros)), L.FileError, /no such file is read/);
  await refused(loadKeras(bomb(1000, small, zeros)), L.FileError, /more than the 1000 bytes/);
  await refused(loadKeras(bomb(2 ** 20 - 1, small, zeros)), L.FileError, /more than/);
  await refused(loadKeras(bomb(2 ** 20, deflateRawSync(zeros.subarray(1)), zeros)), L.FileError, /bytes were compressed/);
  assert.is(crc32(encode("123456789")), 0xcbf43926, "the check value of CRC-32");
  // One bit of the weights.
  const file = await saveKeras(row([L.dense(2)], [3]));
  file[file.length - 600] ^= 1;
  await refused(loadKeras(file), L.FileError, /checksum/);
});

test("links in HDF5 files are not followed, and circles end", async () => {
  const bytes = writeHdf5(new Map([["a/b", { shape: [1], data: new Float32Array(1) }]]));
  const text = Buffer.from(bytes).toString("latin1");
  const table = text.lastIndexOf("SNOD");
  const link = bytes.slice();
  link[table + 8 + 16] = 2;
  await refused((async () => readHdf5("x", link))(), L.FileError, /"\/a" is a link to elsewhere/);
  // The root as its own member.
  const circle = bytes.slice();
  circle.set(bytes.subarray(64, 72), table + 8 + 8);
  await refused((async () => readHdf5("x", circle))(), L.FileError, /referred to twice/);
});

test("files of TensorFlow.js: graphs, and weights that are not beside them", async () => {
  const files = await saveTfjs(row([L.dense(2)], [3]));
  const json = JSON.parse(new TextDecoder().decode(files["model.json"]));
  const read = (change) => {
    const own = structuredClone(json);
    change(own);
    return loadTfjs({ ...files, "model.json": encode(own) });
  };
  await refused(
    read((j) => (j.format = "graph-model")),
    L.FileError,
    /a graph model, which has TensorFlow's operations/,
  );
  await refused(
    read((j) => (j.modelTopology = { node: [] })),
    L.FileError,
    /a graph model/,
  );
  for (const path of ["../weights.bin", "/etc/passwd", "http://x.org/w", "a/../../b", "file:///x", "C:\\x", "w.bin?x"])
    await refused(
      read((j) => (j.weightsManifest[0].paths = [path])),
      L.FileError,
      /is not beside it, and is not opened/,
    );
  await refused(
    read((j) => (j.weightsManifest[0].paths = ["other.bin"])),
    L.FileError,
    /"other\.bin" was not given/,
  );
  await refused(
    read((j) => (j.weightsManifest[0].weights[0].shape = [1e9, 1e9])),
    L.FileError,
    /shape|truncated/,
  );
  await refused(
    read((j) => (j.weightsManifest[0].weights[0].dtype = "string")),
    L.FileError,
    /holds "string"/,
  );
  await refused(loadTfjs(encode(json)), L.FileError, /give loadTfjs both by name/);
  await refused(
    loadTfjs(encode(json.weightsManifest)),
    L.FileError,
    /a list, such as a manifest of weights, which does not say what layers/,
  );
});

test("objects in files change no others, and lie in each other only so deep", async () => {
  const deep = `${"[".repeat(5000)}${"]".repeat(5000)}`;
  await refused(loadKeras(writeZip([["config.json", encode(`{"a":${deep}}`)]])), L.FileError, /more than 200 deep/);
  const text =
    '{"class_name":"Sequential","config":{"__proto__":{"polluted":1},' +
    '"layers":[{"class_name":"Dense","config":{"__proto__":{"units":1}}}]}}';
  await refused(
    loadKeras(
      writeZip([
        ["config.json", encode(text)],
        ["model.weights.h5", writeHdf5(new Map([["a", { shape: [1], data: new Float32Array(1) }]]))],
      ]),
    ),
    L.FileError,
    /units|__proto__/,
  );
  assert.is({}.polluted, undefined);
});

test("what Keras and TensorFlow.js have not is not written", async () => {
  const cases = [
    [saveKeras, row([L.swiglu(4)]), /saving swiglu "swiglu": Keras has no such layer/],
    [saveKeras, row([L.dense(2, { activation: (x) => L.mul(x, x) })]), /no activation like/],
    [saveKeras, row([L.dense(2), (x) => L.mul(x, 2)]), /Keras has no/],
    [saveKeras, L.model((x) => L.mul(x, 2), { inputShape: [3] }), /what a model computes between its layers is code/],
    [saveTfjs, row([L.gru(2)]), /resetAfter: false alone/],
    [saveTfjs, row([L.groupNorm(1)]), /TensorFlow\.js has no such layer/],
    [saveTfjs, row([L.dense(2, { activation: "hardSigmoid" })]), /TensorFlow\.js has no activation like "hardSigmoid"/],
    [saveTfjs, row([L.conv1d(2, 2, { padding: "causal" })]), /causal/],
  ];
  for (const [save, model, pattern] of cases) await refused(save(model), L.ArgumentError, pattern);
  const shared = L.dense(2);
  const [one, two] = [L.sequential([shared]), L.sequential([shared])];
  const both = L.model((x) => two.call(one.call(x)), { inputShape: [2] });
  await refused(saveKeras(both), L.ArgumentError, /layer "dense" is in two models at once/);
  const counted = row([L.dense(2)], [3]);
  await counted.compile({ loss: "categoricalCrossentropy", metrics: [L.precision({ average: "macro" })] });
  await refused(saveKeras(counted), L.ArgumentError, /Keras' Precision has no option average like that of precision/);
  const told = L.dense(2);
  const training = L.model((x) => told.call(x, { training: true }), { inputShape: [2] });
  await refused(saveTfjs(training), L.ArgumentError, /TensorFlow\.js calls all layers alike/);
  await refused(saveTfjs(row([L.resizing(2, 2)], [4, 4, 1])), L.ArgumentError, /from the corners of pixels/);
  await refused(saveKeras(L.sequential([L.dense(2)])), L.LockstepError, /is not built yet/);
  await refused(saveKeras(row([L.dense(2)]), { optimizer: true }), L.ArgumentError, /compiled/);
});

test.run();

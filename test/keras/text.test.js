/** Files of models that begin with texts or integers of a vocabulary: those of Keras, what is written for Keras, and what is refused. */
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as L from "../../build/esm/index.js";
import { loadKeras, loadTfjs, saveKeras, saveTfjs } from "../../build/esm/keras/index.js";
import { readZip, writeZip } from "../../build/esm/keras/zip.js";
import { hashBucket } from "../../build/esm/nn/farmhash.js";
import { loadOnnx, saveOnnx } from "../../build/esm/onnx/index.js";
import { json, modelPath } from "../models/index.js";
import { refused } from "./files.js";

await L.open("wasm", { threads: 1 });

const path = (name) => modelPath(`keras-text/${name}`);
const EXPECTED = json(path("expected.json"));
const TEXTS = ["a good film", "what a bad film", "good fun", "bad and dull", "good, good!", "so dull"];

/** That a model gives what Keras' did for the same texts. */
async function agrees(model, name) {
  const { inputs, outputs } = EXPECTED[name];
  const got = await (await model.predict(inputs.length === 1 ? inputs[0] : inputs)).array();
  assert.is(got.length, outputs.length);
  for (const [i, row] of outputs.entries())
    for (const [k, value] of row.entries()) assert.ok(Math.abs(got[i][k] - value) < 1e-6, `${name}: ${got[i][k]} is not ${value}`);
}

const encode = (value) => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
const decode = (bytes) => new TextDecoder().decode(bytes);

/** An archive with other members: `change` takes the configuration and the members, each by its name. */
async function changed(bytes, change) {
  const archive = readZip("", bytes);
  const members = new Map();
  for (const name of archive.names) members.set(name, await archive.read(name));
  const config = JSON.parse(decode(members.get("config.json")));
  change(config, members);
  members.set("config.json", encode(config));
  return writeZip([...members]);
}

test("texts without an index are hashed as TensorFlow hashes them, at every length", () => {
  EXPECTED.buckets.forEach((bucket, n) => assert.is(hashBucket("x".repeat(n), 2 ** 31 - 1), bucket, `${n} letters`));
});

for (const name of ["grams.keras", "tfidf.keras", "mixed.keras", "nested.keras", "given.h5"])
  test(`${name} gives of texts what Keras gives, and so does what is written of it`, async () => {
    const model = await loadKeras(path(name));
    await agrees(model, name);
    const written = await saveKeras(model);
    const again = await loadKeras(written);
    await agrees(again, name);
    assert.ok(Buffer.from(await saveKeras(again)).equals(written), "the same file");
    if (model.isSequential) await agrees(await L.loadModel(await model.toBytes(), { layers: L.extraLayers }), name);
  });

test("shapes of inputs are those of what is encoded, and archives have those of texts", async () => {
  const shapes = {};
  const inputs = {};
  for (const name of ["grams.keras", "tfidf.keras", "mixed.keras", "nested.keras"]) {
    const model = await loadKeras(path(name));
    shapes[name] = model.inputShapes;
    const config = JSON.parse(decode(await readZip("", await saveKeras(model)).read("config.json")));
    const layers = config.config.layers.filter((l) => l.class_name === "InputLayer");
    inputs[name] = layers.map((l) => [l.config.batch_shape, l.config.dtype]);
  }
  const text = [[null, 1], "string"];
  assert.equal(shapes, { "grams.keras": [[null]], "tfidf.keras": [[12]], "mixed.keras": [[1], [1], [2], [3]], "nested.keras": [[3]] });
  assert.equal(inputs, {
    "grams.keras": [text],
    "tfidf.keras": [text],
    "mixed.keras": [text, [[null, 1], "int64"], [[null, 2], "float32"], [[null, null], "string"]],
    "nested.keras": [text],
  });
});

test("a learned vocabulary that a file does not have is told, and can be given", async () => {
  await refused(
    loadKeras(path("learned.h5")),
    L.FileError,
    /"text_vectorization": its vocabulary is not in the file .*give layers: \{ text_vectorization: \(\) => textVectorization/,
  );
  const vectorize = L.textVectorization();
  await vectorize.adapt(EXPECTED["learned.h5"].inputs[0]);
  const layers = { TextVectorization: () => vectorize };
  await agrees(await loadKeras(path("learned.h5"), { layers }), "learned.h5");
  // What is given for a layer of an archive is told the vocabulary.
  const own = await loadKeras(path("grams.keras"), {
    layers: { TextVectorization: (c) => L.textVectorization({ vocabulary: c.vocabulary, ngrams: 2 }) },
  });
  await agrees(own, "grams.keras");
});

test("every option is written and read again", async () => {
  const cases = [
    () => L.textVectorization({ outputSequenceLength: 3, maxTokens: 6 }),
    () => L.textVectorization({ standardize: null, split: "character", ngrams: [2, 3] }),
    () => L.textVectorization({ standardize: "lower", split: null }),
    () => L.textVectorization({ standardize: "stripPunctuation", outputMode: "count", maxTokens: 20, padToMaxTokens: true }),
    () => L.textVectorization({ outputMode: "tfIdf", maxTokens: 20, padToMaxTokens: true }),
    () => L.stringLookup({ numOovIndices: 2, maskToken: "a good film", oovToken: "?" }),
    () => L.stringLookup({ outputMode: "oneHot" }),
    () => L.stringLookup({ outputMode: "multiHot", maskToken: "-" }),
    () => L.stringLookup({ outputMode: "tfIdf" }),
  ];
  for (const make of cases) {
    const layer = make();
    await layer.adapt(TEXTS);
    const vectors = layer.config.outputMode === "int" ? [L.embedding(90, 3)] : [];
    const model = L.sequential([
      layer,
      ...vectors,
      ...(layer.kind === "textVectorization" && vectors.length > 0 ? [L.globalAvgPool1d()] : []),
      L.dense(2),
    ]);
    const want = await (await model.predict(TEXTS)).data();
    const again = await loadKeras(await saveKeras(model));
    const own = await L.loadModel(await model.toBytes(), { layers: L.extraLayers });
    for (const other of [again, own]) {
      assert.equal({ ...other.layers[0].config, name: "" }, { ...layer.config, name: "" });
      assert.equal(other.layers[0].getVocabulary(), layer.getVocabulary());
      assert.equal(await (await other.predict(TEXTS)).data(), want, JSON.stringify(layer.config));
    }
  }
  const integers = L.integerLookup({ maskToken: 0, numOovIndices: 3, outputMode: "count" });
  await integers.adapt([5, -7, 5, 0, 9]);
  const model = L.sequential([integers, L.dense(2)], { inputShape: [3] });
  const x = [
    [5, 0, 1],
    [-7, 2, 9],
  ];
  const want = await (await model.predict(x)).data();
  assert.equal(await (await (await loadKeras(await saveKeras(model))).predict(x)).data(), want);
  assert.equal(await (await (await L.loadModel(await model.toBytes(), { layers: L.extraLayers })).predict(x)).data(), want);
});

test("a function of one's own is named in a file, and given again", async () => {
  const loud = (text) => text.toUpperCase();
  const vectorize = L.textVectorization({ standardize: loud, vocabulary: ["GOOD", "BAD"] });
  const model = L.sequential([vectorize, L.embedding(4, 2), L.globalAvgPool1d()]);
  const want = await (await model.predict(TEXTS)).data();
  const bytes = await model.toBytes();
  await refused(L.loadModel(bytes, { layers: L.extraLayers }), L.FileError, /its standardize "loud" is a function/);
  const layers = { textVectorization: (config) => L.textVectorization({ ...config, standardize: loud }) };
  assert.equal(await (await (await L.loadModel(bytes, { layers })).predict(TEXTS)).data(), want);
  await refused(saveKeras(model), L.ArgumentError, /saving textVectorization .*a function of one's own/);
  await refused(L.loadModel(bytes), L.FileError, /of the kind "textVectorization", which loadModel does not have by itself/);
});

test("a model of texts is exported to ONNX behind them", async () => {
  const vectorize = L.textVectorization({ vocabulary: ["good", "bad", "film"] });
  const model = L.sequential([vectorize, L.embedding(5, 3), L.globalAvgPool1d(), L.dense(1)], { inputShape: [null] });
  const ids = vectorize.encode(TEXTS);
  await refused(saveOnnx(model), L.ArgumentError, /has a dimension of any size; give inputShape/);
  const net = await loadOnnx(await saveOnnx(model, { inputShape: ids.shape.slice(1) }));
  assert.equal(net.inputs, [{ name: "input", dtype: "int32", shape: [null, 4] }]);
  const { output } = await net.run({ input: ids });
  const want = await (await model.predict(TEXTS)).data();
  (await output.data()).forEach((v, i) => assert.ok(Math.abs(v - want[i]) < 1e-6));
  const lookup = L.integerLookup({ vocabulary: [30, 10, 20], numOovIndices: 2 });
  const numbers = L.sequential([lookup, L.embedding(5, 1)], { inputShape: [3] });
  const x = L.tensor([[10, 20, 30], [11, 12, -1]], undefined, "i32");
  const other = await loadOnnx(await saveOnnx(numbers));
  const [given] = other.inputs;
  const got = Object.values(await other.run({ [given.name]: given.dtype === "int32" ? x : L.cast(x, "f32") }))[0];
  assert.equal(await got.data(), await (await numbers.predict(x)).data());
});

test("what is damaged, and what there is nothing for, is refused by name", async () => {
  const grams = readFileSync(path("grams.keras"));
  const mixed = readFileSync(path("mixed.keras"));
  const text = (config) => config.config.layers.find((l) => l.class_name === "TextVectorization").config;
  const vocabulary = "assets/layers/text_vectorization/vocabulary.txt";
  const cases = [
    [(c) => (text(c).ragged = true), /ragged must be false/],
    [(c) => (text(c).sparse = true), /sparse must be false/],
    [(c) => (text(c).encoding = "latin-1"), /encoding must be "utf-8"/],
    [(c) => (text(c).split = { class_name: "function", config: "by_words" }), /split is a function, "by_words", and code in a file/],
    [(c) => (text(c).standardize = "upper"), /standardize must be one of "lowerAndStripPunctuation"/],
    [(c) => (text(c).ngrams = [0]), /ngrams must be a number or a list/],
    [(c) => (text(c).output_mode = "one_hot"), /outputMode must be one of/],
    [(c) => (text(c).vocabulary = [1, 2]), /vocabulary must be a list of texts/],
    [(c) => (text(c).vocabulary = ["a", "a"]), /vocabulary has "a" twice/],
    [(c) => (text(c).vocabulary_size = 99), /vocabulary.txt has \d+ tokens, the configuration says 99/],
    [(_, members) => members.set(vocabulary, encode("\n[UNK]\na\na")), /vocabulary.txt has 4 tokens/],
    [(_, members) => members.set(vocabulary, new Uint8Array([0xff, 0xfe])), /vocabulary.txt/],
    [(_, members) => members.delete(vocabulary), /its vocabulary is not in the file/],
    [(c) => c.config.layers.splice(1, 1), /its input is text, which no layer reads/],
    [
      (c) => c.config.layers.splice(1, 0, { class_name: "Dropout", config: { name: "d", rate: 0.1 } }),
      /its input is text, which no layer reads/,
    ],
  ];
  for (const [change, pattern] of cases) await refused(loadKeras(await changed(grams, change)), L.FileError, pattern);
  const lookup = (c) => c.config.layers.find((l) => l.class_name === "IntegerLookup").config;
  const others = [
    [(c) => (lookup(c).oov_method = "farmhash"), /oov_method must be "floormod"/],
    [(c) => (lookup(c).vocabulary = [2 ** 40]), /integers of 32 bits/],
    [(_, members) => members.set("assets/layers/integer_lookup/vocabulary.txt", encode("-1\nx\n7\n9")), /must have integers, found "x"/],
    [(c) => (c.config.layers.find((l) => l.name === "city").config.dtype = "float32"), null],
    [(c) => (c.config.layers.find((l) => l.name === "f").config.dtype = "string"), /"f": its input is text/],
  ];
  for (const [change, pattern] of others) {
    const bytes = await changed(mixed, change);
    if (pattern === null) await agrees(await loadKeras(bytes), "mixed.keras");
    else await refused(loadKeras(bytes), L.FileError, pattern);
  }
  // Ends of lines of other systems, and one at the end of the file.
  const windows = await changed(grams, (_, members) => {
    members.set(vocabulary, encode(`${decode(members.get(vocabulary)).replace(/\n/g, "\r\n")}\r\n`));
  });
  await agrees(await loadKeras(windows), "grams.keras");
  const model = L.sequential([L.textVectorization({ vocabulary: ["a"], outputSequenceLength: 4 }), L.embedding(3, 2)], { inputShape: [4] });
  await refused(saveTfjs(model), L.ArgumentError, /saving textVectorization .*TensorFlow.js has no such layer/);
  const none = L.sequential([L.textVectorization(), L.embedding(3, 2)], { inputShape: [4] });
  await refused(saveKeras(none), L.ArgumentError, /it has no vocabulary: await layer.adapt\(data\) first/);
  // What TensorFlow's converter writes of Keras' files, which TensorFlow.js itself does not open.
  const config = JSON.parse(decode(await readZip("", await saveKeras(model)).read("config.json")));
  const [kernel] = await model.getWeights();
  const topology = {
    class_name: "Sequential",
    config: { ...config.config, layers: config.config.layers.map(({ class_name, config: c }) => ({ class_name, config: c })) },
  };
  const weights = [{ name: "embedding/embeddings", shape: kernel.shape, dtype: "float32" }];
  const files = {
    "model.json": encode({ modelTopology: { model_config: topology }, weightsManifest: [{ paths: ["w.bin"], weights }] }),
    "w.bin": new Uint8Array((await kernel.data()).buffer.slice(0)),
  };
  const read = await loadTfjs(files);
  assert.equal(await (await read.predict(["a b"])).data(), await (await model.predict(["a b"])).data());
});

test.run();

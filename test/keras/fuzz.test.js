/**
 * Damaged files, the same in every run: each is an error of Lockstep's or a model whose weights are read. LOCKSTEP_MUTATIONS says how many
 * of each kind of file; files that Keras itself wrote are among them with LOCKSTEP_SHARED.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { dense, LockstepError, open, sequential } from "../../build/esm/index.js";
import { readHdf5 } from "../../build/esm/keras/hdf5.js";
import { loadKeras, loadTfjs, saveKeras, saveTfjs } from "../../build/esm/keras/index.js";
import { readZip, writeZip } from "../../build/esm/keras/zip.js";
import { archive, call, from, functional, input, json, layer, weightsFile } from "./files.js";
import { modelPath } from "../models/index.js";
import { MODELS } from "./models.js";
import { COUNT, damages } from "../damage.js";

/** Loading takes 2 to 20 ms; what takes this long hangs. Of the processor: others may use the machine too. */
const MOST_MS = 5000;
const processorMs = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
/** The largest of the files has 170 KB. */
const MOST_BYTES = 1e8;

const { below, pick, damaged, damagedText } = damages(20);

await open("wasm", { threads: 1 });
const archives = await Promise.all(["dense", "sequences", "branches", "states"].map((name) => saveKeras(MODELS[name]())));
const membersOf = async (bytes) => {
  const archive = readZip("", bytes);
  return Promise.all(archive.names.map(async (name) => [name, await archive.read(name)]));
};
const members = await Promise.all(archives.map(membersOf));
const texts = await Promise.all(["grams", "tfidf", "mixed"].map((name) => membersOf(readFileSync(modelPath(`keras-text/${name}.keras`)))));
const files = await Promise.all(["dense", "sequences", "branches"].map((name) => saveTfjs(MODELS[name]())));

/** A model with all that files of Keras have and Lockstep's do not: functions between layers, channels first, names, shared layers. */
const written = archive(
  functional(
    [
      input("x", [2, 3, 4]),
      layer("Conv2D", "c", { filters: 2, kernel_size: 2, data_format: "channels_first" }, [call([from("x")])]),
      layer("Mean", "m", { axis: [2], keepdims: false }, [call([from("c")])], "keras.src.ops.numpy"),
      layer("GetItem", "g", {}, [call([from("m"), [{ class_name: "__ellipsis__", config: {} }, 1]])], "keras.src.ops.numpy"),
      layer("Dense", "d", { units: 2 }, [call([from("g")], { training: false })]),
      layer("Add", "y", {}, [call([[from("d"), { class_name: "__numpy__", config: { value: [1, 2], dtype: "float32" } }]])]),
    ],
    { x: ["x", 0, 0] },
    { y: ["y", 0, 0] },
  ),
  {
    "layers/conv2d/vars/0": [1, 2].map(() => [3, 4].map(() => [[1, 2], [3, 4]])),
    "layers/conv2d/vars/1": [1, 2],
    "layers/dense/vars/0": [[1, 2], [3, 4]],
    "layers/dense/vars/1": [1, 2],
  },
);
members.push(await membersOf(written));
const parts = {
  "w.weights.json": json({ weight_map: { "/layers/dense/vars": ["a.h5", "b.h5"] } }),
  "a.h5": weightsFile({ "layers/dense/vars/0": [[1, 2]] }),
  "b.h5": weightsFile({ "layers/dense/vars/1": [1, 2] }),
};

/** Files that are damaged, and how they are read. */
const KINDS = {
  "an archive": async () => loadKeras(damaged(pick(archives), 400), { compile: false }),
  "the end of an archive": async () => {
    const bytes = pick(archives);
    return loadKeras(damaged(bytes.slice().reverse(), 300).reverse(), { compile: false });
  },
  "a configuration in an archive": async () =>
    loadKeras(writeZip(pick(members).map(([name, bytes]) => [name, name === "config.json" ? damagedText(bytes) : bytes]))),
  "weights in an archive": async () =>
    loadKeras(writeZip(pick(members).map(([name, bytes]) => [name, name.endsWith(".h5") ? damaged(bytes, bytes.length) : bytes]))),
  "an archive of texts": async () => {
    const all = pick(texts);
    const hit = pick(all.filter(([name]) => name !== "metadata.json"))[0];
    const change = (name, bytes) => (name === "config.json" ? damagedText(bytes) : damaged(bytes, bytes.length));
    return loadKeras(writeZip(all.map(([name, bytes]) => [name, name === hit ? change(name, bytes) : bytes])));
  },
  "model.json": async () => {
    const own = pick(files);
    return loadTfjs({ ...own, "model.json": below(3) > 0 ? damagedText(own["model.json"]) : damaged(own["model.json"], 3000) });
  },
  "weights in several files": async () => {
    const name = pick(Object.keys(parts));
    const bytes = parts[name];
    const own = { ...parts, [name]: name.endsWith(".json") && below(2) ? damagedText(bytes) : damaged(bytes) };
    return loadKeras(own, { model: sequential([dense(2)], { inputShape: [1] }) });
  },
};

const shared = join(process.env.LOCKSTEP_SHARED ?? "", "models");
const legacy = ["keras/cnn-k315-h5", "keras/two_in_out-k315-h5", "keras/gru-k315-h5"]
  .map((name) => join(shared, name, "model.h5"))
  .filter(existsSync);
if (process.env.LOCKSTEP_SHARED && legacy.length > 0) {
  const older = legacy.map((path) => new Uint8Array(readFileSync(path)));
  KINDS["an .h5 file of Keras"] = async () => {
    const bytes = pick(older);
    return loadKeras(damaged(bytes, bytes.length));
  };
  const containers = ["gzip", "strings", "attrs", "contiguous_latest"].map(
    (name) => new Uint8Array(readFileSync(join(shared, `../conformance/containers/hdf5/${name}.h5`))),
  );
  KINDS["an HDF5 file"] = async () => {
    const bytes = pick(containers);
    for (const { dataset } of readHdf5("x", damaged(bytes, bytes.length)).values())
      if (dataset !== null) await (dataset.dtype === "string" ? dataset.strings() : dataset.bytes());
    return { dispose() {} };
  };
}

console.warn = () => {};

for (const [what, make] of Object.entries(KINDS))
  test(`${what}: ${COUNT} damaged ones`, async () => {
    const outcomes = { loaded: 0, refused: 0 };
    for (let i = 0; i < COUNT; i++) {
      const start = processorMs();
      try {
        (await make()).dispose();
        outcomes.loaded++;
      } catch (error) {
        assert.instance(error, LockstepError, `${what} ${i}: ${error?.stack}`);
        assert.ok(error.message.length < 3000, `${what} ${i}: an error of ${error.message.length} characters`);
        outcomes.refused++;
      }
      assert.ok(processorMs() - start < MOST_MS, `${what} ${i} took ${processorMs() - start} ms`);
      assert.ok(process.memoryUsage().arrayBuffers < MOST_BYTES, `${what} ${i}: ${process.memoryUsage().arrayBuffers} bytes are held`);
      assert.is({}.polluted ?? Object.keys(Object.prototype).length, 0);
    }
    assert.ok(outcomes.refused > 0 && (outcomes.loaded > 0 || what === "the end of an archive"), JSON.stringify(outcomes));
  });

test.run();

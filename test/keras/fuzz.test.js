/**
 * Damaged files, the same in every run: each is an error of Lockstep's or a model whose weights are read. LOCKSTEP_MUTATIONS says how many
 * of each kind of file; files that Keras itself wrote are among them with LOCKSTEP_SHARED.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { LockstepError, open } from "../../build/esm/index.js";
import { Random } from "../../build/esm/random.js";
import { readHdf5 } from "../../build/esm/keras/hdf5.js";
import { loadKeras, loadTfjs, saveKeras, saveTfjs } from "../../build/esm/keras/index.js";
import { readZip, writeZip } from "../../build/esm/keras/zip.js";
import { modelPath } from "../models/index.js";
import { MODELS } from "./models.js";

const COUNT = Number(process.env.LOCKSTEP_MUTATIONS ?? 150);
/** Loading takes 2 to 20 ms; what takes this long hangs. */
const MOST_MS = 5000;
/** The largest of the files has 170 KB. */
const MOST_BYTES = 1e8;

const random = new Random(20);
const below = (n) => Math.min(n - 1, Math.floor(random.uniform(1)[0] * n));
const pick = (list) => list[below(list.length)];

const TEXTS = [
  "-1",
  "0",
  "1e308",
  "9007199254740991",
  "1073741824",
  "null",
  "[]",
  "{}",
  '""',
  "true",
  "0.5",
  '"F64"',
  '"__proto__"',
  "[[",
  "}",
  '"',
  ",",
  "2",
  "33",
  "\\u0000",
  '"../../x"',
  "[[[1]]]",
  '{"class_name":"Dense","config":{}}',
  '"constructor"',
];

/** `bytes` with a number of bits turned, a part left out, doubled or of other bytes; most of them in the first `head`. */
function damaged(bytes, head) {
  const at = below(below(3) > 0 ? Math.min(head, bytes.length) : bytes.length);
  const kind = below(6);
  if (kind === 0) return bytes.slice(0, at);
  const out = bytes.slice();
  if (kind < 3) {
    for (let n = 1 + below(3); n > 0; n--) out[Math.min(out.length - 1, at + below(8))] ^= 1 << below(8);
    return out;
  }
  const length = 1 + below(16);
  if (kind === 3) return Uint8Array.from([...out.subarray(0, at), ...out.subarray(at + length)]);
  if (kind === 4) return Uint8Array.from([...out.subarray(0, at), ...out.subarray(at, at + length), ...out.subarray(at)]);
  out.set([pick([0, 1, 127, 128, 255]), pick([0, 1, 255]), 0, pick([0, 0x40, 0xff])].slice(0, Math.min(4, out.length - at)), at);
  return out;
}

/** JSON with one value, or piece of text, in the place of another. */
function damagedText(bytes) {
  const text = new TextDecoder().decode(bytes);
  const places = [...text.matchAll(/[:,[]\s*("(?:[^"\\]|\\.)*"|[-\d.e]+|true|false|null)/g)];
  const { index, 0: found, 1: value } = pick(places);
  const from = below(4) === 0 ? below(text.length) : index + found.length - value.length;
  return new TextEncoder().encode(text.slice(0, from) + pick(TEXTS) + text.slice(from + (below(3) > 0 ? value.length : below(3))));
}

await open("wasm", { threads: 1 });
const archives = await Promise.all(["dense", "sequences", "branches", "states"].map((name) => saveKeras(MODELS[name]())));
const membersOf = async (bytes) => {
  const archive = readZip("", bytes);
  return Promise.all(archive.names.map(async (name) => [name, await archive.read(name)]));
};
const members = await Promise.all(archives.map(membersOf));
const texts = await Promise.all(["grams", "tfidf", "mixed"].map((name) => membersOf(readFileSync(modelPath(`keras-text/${name}.keras`)))));
const files = await Promise.all(["dense", "sequences", "branches"].map((name) => saveTfjs(MODELS[name]())));

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
};

const shared = join(process.env.LOCKSTEP_SHARED ?? "", "models");
const legacy = ["keras/cnn-k315-h5", "keras/two_in_out-k315-h5", "keras/gru-k315-h5"]
  .map((name) => join(shared, name, "model.h5"))
  .filter(existsSync);
if (process.env.LOCKSTEP_SHARED && legacy.length > 0) {
  const written = legacy.map((path) => new Uint8Array(readFileSync(path)));
  KINDS["an .h5 file of Keras"] = async () => {
    const bytes = pick(written);
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
      const start = performance.now();
      try {
        (await make()).dispose();
        outcomes.loaded++;
      } catch (error) {
        assert.instance(error, LockstepError, `${what} ${i}: ${error?.stack}`);
        assert.ok(error.message.length < 3000, `${what} ${i}: an error of ${error.message.length} characters`);
        outcomes.refused++;
      }
      assert.ok(performance.now() - start < MOST_MS, `${what} ${i} took ${performance.now() - start} ms`);
      assert.ok(process.memoryUsage().arrayBuffers < MOST_BYTES, `${what} ${i}: ${process.memoryUsage().arrayBuffers} bytes are held`);
      assert.is({}.polluted ?? Object.keys(Object.prototype).length, 0);
    }
    assert.ok(outcomes.refused > 0 && (outcomes.loaded > 0 || what === "the end of an archive"), JSON.stringify(outcomes));
  });

test.run();

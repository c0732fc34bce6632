/**
 * Thousands of damaged files, the same in every run: each is a FileError or a sound file, and none makes memory that no bytes stand
 * behind.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { DTypeError, FileError } from "../../build/esm/errors.js";
import { open } from "../../build/esm/init.js";
import { checksum } from "../../build/esm/io/checksum.js";
import { decodeSafetensors } from "../../build/esm/io/safetensors.js";
import { loadModel as loadInference, loadWeights } from "../../build/esm/model/load.js";
import { sequential } from "../../build/esm/model/model.js";
import { loadModel } from "../../build/esm/model/resume.js";
import * as nn from "../../build/esm/nn/index.js";
import { openSafetensors, readSafetensors, writeSafetensors } from "../../build/esm/safetensors/index.js";
import { auc, precision } from "../../build/esm/train/metrics.js";
import { adam } from "../../build/esm/train/optimizers.js";
import { cosineDecay } from "../../build/esm/train/schedules.js";
import { damages } from "../damage.js";

const { below, pick } = damages(20);

const HOSTILE_TEXT = [
  "18446744073709551615",
  "9007199254740991",
  "-1",
  "1e308",
  "1e400",
  "null",
  "[]",
  "{}",
  '""',
  "true",
  "0.5",
  '"F64"',
  '"F4"',
  '"C64"',
  '"__proto__"',
  "[[[[",
  "}",
  "]",
  '"',
  "\\",
  ",",
  ":",
  "\u0000",
  '"__metadata__":{}',
  '"__metadata__":',
  "[".repeat(3000),
  `${'{"a":'.repeat(3000)}1${"}".repeat(3000)}`,
  " ".repeat(100),
  "\\ud800",
  "99999999999",
];

/** `bytes` damaged in one of many ways. */
function damaged(bytes) {
  const header = 8 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const kind = below(7);
  if (kind === 0) return bytes.slice(0, below(bytes.length));
  if (kind === 1) return Uint8Array.from([...bytes, ...new Uint8Array(1 + below(9))]);
  const out = bytes.slice();
  if (kind === 2) {
    new DataView(out.buffer).setBigUint64(
      0,
      pick([0n, 1n, 2n, BigInt(header), BigInt(bytes.length), 100000001n, 2n ** 63n, 2n ** 64n - 1n, BigInt(below(header))]),
      true,
    );
    return out;
  }
  if (kind < 5) {
    for (let n = 1 + below(3); n > 0; n--) out[below(kind === 3 ? header : out.length)] ^= 1 << below(8);
    return out;
  }
  // Another piece of text in the header, with the length that goes with it.
  const text = new TextDecoder().decode(bytes.subarray(8, header));
  const from = below(text.length);
  const to = kind === 5 ? from : Math.min(text.length, from + 1 + below(6));
  const changed = new TextEncoder().encode(text.slice(0, from) + pick(HOSTILE_TEXT) + text.slice(to));
  const file = new Uint8Array(8 + changed.length + bytes.length - header);
  new DataView(file.buffer).setUint32(0, changed.length, true);
  file.set(changed, 8);
  file.set(bytes.subarray(header), 8 + changed.length);
  return file;
}

const sample = await writeSafetensors(
  {
    "a/kernel": { shape: [2, 3], data: Float32Array.of(1, -2.5, 3e-40, NaN, Infinity, -0) },
    __proto__: { shape: [1], data: BigInt64Array.of(7n) },
    half: { shape: [3], data: Float32Array.of(1, 2, 3), dtype: "F16" },
    '"quoted" ü': { shape: [], data: Float64Array.of(0.5) },
    empty: { shape: [0, 7], data: new Float32Array(0) },
    flags: { shape: [3], data: Uint8Array.of(0, 1, 1), dtype: "BOOL" },
    tiny: { dtype: "F8_E4M3", shape: [4], bytes: Uint8Array.of(1, 2, 3, 255) },
    packed: { dtype: "F4", shape: [4], bytes: Uint8Array.of(1, 2) },
  },
  { format: "pt", note: 'a "text" with {braces}, [brackets] and \\' },
);

test("readSafetensors and openSafetensors: a FileError, or tensors that are as large as the bytes of the file", async () => {
  let [read, refused] = [0, 0];
  for (let i = 0; i < 2500; i++) {
    const bytes = damaged(sample);
    for (const go of [
      () => readSafetensors(bytes, { raw: true }),
      () => readSafetensors(bytes),
      () => openSafetensors(new Blob([bytes])),
    ]) {
      try {
        const { tensors } = await go();
        read++;
        let total = 0;
        for (const [name, t] of tensors) {
          assert.type(name, "string");
          total += t.byteLength ?? t.bytes?.length ?? 0;
          if (t.data)
            assert.is(
              t.data.length,
              t.shape.reduce((a, b) => a * b, 1),
            );
        }
        assert.ok(total <= bytes.length);
      } catch (error) {
        // What the format allows and no tensor holds has an error of its own.
        assert.ok(
          error instanceof FileError || (error instanceof DTypeError && /F4|F6|C64/.test(error.message)),
          `case ${i}: ${error.stack}`,
        );
        assert.ok(error.message.length < 2000, `case ${i}: an error of ${error.message.length} characters`);
        refused++;
      }
    }
  }
  assert.ok(read > 100 && refused > 1000, `${read} read, ${refused} refused`);
});

const backend = await open("wasm", { reproducible: true, threads: 1 });
test.after(() => backend.close());
const net = sequential(
  [
    nn.conv1d(3, 2, { activation: "relu" }),
    nn.bidirectional(nn.lstm(2)),
    nn.normalization({ mean: [1, 2, 3, 4], variance: [1, 1, 1, 2] }),
    nn.dense(2, { kernelRegularizer: { l2: 0.1 }, activation: "softmax" }),
  ],
  { inputShape: [4, 2] },
);
await net.compile({
  loss: "categoricalCrossentropy",
  optimizer: adam({ learningRate: cosineDecay({ initialLearningRate: 0.1, decaySteps: 9 }) }),
  metrics: [precision({ classes: 2 }), auc(), "acc"],
  backend,
});
await net.fit({ data: new Float32Array(16).fill(0.5), shape: [2, 4, 2] }, [[1, 0], [0, 1]], { verbose: 0 });
const modelFile = await net.toBytes();

test("loadModel and loadWeights: a damaged file is a FileError, and changes no weight", async () => {
  const before = (await net.getWeights()).map((w) => [...w.host]);
  for (let i = 0; i < 600; i++) {
    const bytes = damaged(modelFile);
    for (const load of [() => loadModel(bytes, { backend }), () => loadInference(bytes), () => loadWeights(net, bytes)]) {
      try {
        await load();
        // Spaces where spaces may be, for one.
        const { tensors, metadata } = await readSafetensors(bytes, { raw: true });
        assert.is(
          checksum(
            metadata,
            Array.from(tensors, ([name, t]) => [name, t, t.bytes]),
          ),
          metadata.checksum,
          `case ${i}`,
        );
      } catch (error) {
        assert.instance(error, FileError, `case ${i}: ${error.stack}`);
        assert.ok(error.message.length < 2000);
      }
    }
  }
  assert.equal(
    (await net.getWeights()).map((w) => [...w.host]),
    before,
  );
});

const HOSTILE = [
  null,
  true,
  -1,
  0,
  0.5,
  2 ** 31,
  2 ** 40,
  2 ** 53,
  1e308,
  "",
  "x",
  "constructor",
  "__proto__",
  "relu",
  [],
  [1],
  [[]],
  [2 ** 31, 2 ** 31],
  {},
  { custom: true },
  { custom: true, name: "f" },
  { own: true },
  { kind: "dense", config: { units: 2 ** 30 } },
];

/** One value anywhere within `value` replaced, left out, or put in twice. */
function changed(value) {
  if (typeof value !== "object" || value === null || Object.keys(value).length === 0 || below(5) === 0) return pick(HOSTILE);
  const copy = structuredClone(value);
  const key = pick(Object.keys(copy));
  const kind = below(12);
  if (kind === 0) Array.isArray(copy) ? copy.splice(Number(key), 1) : delete copy[key];
  else if (kind === 1 && Array.isArray(copy)) copy.push(copy[key]);
  else if (kind === 2 && !Array.isArray(copy))
    copy[pick(["units", "kernelSize", "extra", "layer", "own", "custom", "state", "kind"])] = pick(HOSTILE);
  else copy[key] = changed(copy[key]);
  return copy;
}

test("loadModel: another configuration under a sum that is right is a FileError or a model, no larger than the file", async () => {
  const { metadata, tensors } = await readSafetensors(modelFile, { raw: true });
  const list = [...tensors];
  const elements = decodeSafetensors(modelFile).data.length / 4;
  let [read, refused] = [0, 0];
  for (let i = 0; i < 800; i++) {
    const key = pick(["lockstep", "lockstep", "training"]);
    const next = { ...metadata, [key]: JSON.stringify(changed(JSON.parse(metadata[key]))) };
    const bytes = await writeSafetensors(list, {
      ...next,
      checksum: checksum(
        next,
        list.map(([name, t]) => [name, t, t.bytes]),
      ),
    });
    for (const load of [(b) => loadModel(b, { backend }), loadInference]) {
      try {
        const model = await load(bytes);
        assert.ok(model.weights.reduce((n, w) => n + w.tensor.size, 0) <= elements);
        model.dispose();
        read++;
      } catch (error) {
        assert.instance(error, FileError, `case ${i}: ${next[key]} ${error.stack}`);
        refused++;
      }
    }
  }
  assert.ok(read > 100 && refused > 500, `${read} read, ${refused} refused`);
});

/** A whole file from the text of a header and a number of bytes behind it. */
function fileOf(text, size = 0) {
  const header = new TextEncoder().encode(text);
  const file = new Uint8Array(8 + header.length + size);
  new DataView(file.buffer).setUint32(0, header.length, true);
  file.set(header, 8);
  return file;
}

test("headers and configurations that are nested deep are FileErrors", async () => {
  for (const depth of [100, 3000, 20000, 300000]) {
    const [lists, objects] = [`${"[".repeat(depth)}${"]".repeat(depth)}`, `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`];
    const headers = [lists, objects].flatMap((deep) => [
      `{"t":${deep}}`,
      `{"t":{"dtype":${deep},"shape":[],"data_offsets":[0,0]}}`,
      `{"t":{"dtype":"F32","shape":${deep},"data_offsets":[0,0]}}`,
      `{"t":{"dtype":"F32","shape":[0],"data_offsets":${deep}}}`,
      `{"__metadata__":${deep}}`,
      `{"__metadata__":{"lockstep":${deep}}}`,
      `{"t":${deep}`,
      ...["x", "{}"].map((rest) => `{"t":${deep}${rest}}`),
    ]);
    const sealed = ["lockstep", "training"].flatMap((key) =>
      [lists, objects].flatMap((deep) =>
        [
          deep,
          `{"format":${deep}}`,
          `{"format":"lockstep","version":${deep}}`,
          `{"format":"lockstep","version":1,"sequential":false,"name":${deep},"layers":[],"inputShapes":[]}`,
          `{"format":"lockstep","version":1,"sequential":true,"name":"m","layers":[{"kind":"dense","name":"d",` +
            `"config":{"units":${deep}}}],"inputShapes":[[1]]}`,
          `{"format":"lockstep","version":1,"sequential":true,"name":${deep},"layers":[{"kind":"flatten","name":"d","config":{}}],` +
            `"inputShapes":${deep}}`,
        ].map((text) => {
          const metadata = { lockstep: "{}", [key]: text };
          return writeSafetensors([], { ...metadata, checksum: checksum(metadata, []) });
        }),
      ),
    );
    for (const bytes of [...headers.map((text) => fileOf(text)), ...(await Promise.all(sealed))]) {
      for (const load of [loadModel, loadInference]) {
        const error = await load(bytes).then(
          () => null,
          (e) => e,
        );
        assert.instance(error, FileError, `depth ${depth}: ${error?.stack?.slice(0, 300)}`);
        assert.ok(error.message.length < 2000, `${error.message.length} characters`);
      }
    }
    for (const text of headers)
      assert.instance(
        await readSafetensors(fileOf(text)).then(
          () => null,
          (e) => e,
        ),
        FileError,
      );
  }
});

test("layers whose weights are together more than the file are refused before they are made", async () => {
  // Each of the layers needs what the file has in all: 400 MB for 100 of them.
  const layers = Array.from({ length: 100 }, (_, i) => ({ kind: "embedding", name: `e${i}`, config: { inputDim: 1000, outputDim: 1000 } }));
  const lockstep = JSON.stringify({
    format: "lockstep",
    version: 1,
    name: "m",
    seed: 0,
    sequential: true,
    inputShapes: [[1]],
    layers: [
      { kind: "dense", name: "d", config: { units: 1000000 } },
      ...layers.map((l) => ({ ...l, kind: "dense", config: { units: 1000000 } })),
    ],
  });
  const tensors = [["d/kernel", { shape: [1000000], data: new Float32Array(1000000) }]];
  const raw = [["d/kernel", { dtype: "F32", shape: [1000000] }, new Uint8Array(4000000)]];
  const before = process.memoryUsage().arrayBuffers;
  const error = await loadModel(await writeSafetensors(tensors, { lockstep, checksum: checksum({ lockstep }, raw) })).then(
    () => null,
    (e) => e,
  );
  assert.instance(error, FileError);
  assert.match(error.message, /elements, of 1000000 in the file 0 are left/);
  assert.ok(process.memoryUsage().arrayBuffers - before < 1e8);
});

test("a million tensors: the time goes with their number", async () => {
  const count = 1_000_000;
  const parts = Array.from(
    { length: count },
    (_, i) => `"layer_${i}/kernel":{"dtype":"F32","shape":[1],"data_offsets":[${4 * i},${4 * i + 4}]}`,
  );
  const bytes = fileOf(`{${parts.join(",")}}`, 4 * count);
  const model = sequential([nn.dense(1, { name: "layer_7", useBias: false })], { inputShape: [1] });
  const names = { "layer_7/kernel": "layer_999999/kernel" };
  new DataView(bytes.buffer).setFloat32(bytes.length - 4, 2.5, true);
  const error = await loadWeights(model, bytes, { names }).then(
    () => null,
    (e) => e,
  );
  assert.match(error.message, /"layer_999999\/kernel" has shape \[1\], the layer needs \[1, 1\]/);
  const { tensors } = await readSafetensors(bytes, { names: ["layer_999999/kernel"] });
  assert.is(tensors.get("layer_999999/kernel").data[0], 2.5);
});

test.run();

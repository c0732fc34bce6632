/** The sum of model files: XXH32 as others compute it, over all that a file says, and no damage of one or two bits passes. */
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { FileError } from "../../build/esm/errors.js";
import { checksum, olderChecksum, xxh32 } from "../../build/esm/io/checksum.js";
import { open } from "../../build/esm/init.js";
import { loadModel } from "../../build/esm/model/resume.js";
import { sequential } from "../../build/esm/model/model.js";
import { dense } from "../../build/esm/nn/index.js";
import { readSafetensors, writeSafetensors } from "../../build/esm/safetensors/index.js";

/** The bytes that xxHash's own tests sum: the upper bits of a product of primes, in 64 bits. */
function sanity(length) {
  const out = new Uint8Array(length);
  let generator = 2654435761n;
  for (let i = 0; i < length; i++) {
    out[i] = Number(generator >> 56n);
    generator = (generator * 11400714785074694797n) & (2n ** 64n - 1n);
  }
  return out;
}

/** XXH32 as its specification says it, in integers of any size. */
function specified(bytes, seed = 0) {
  const [P1, P2, P3, P4, P5] = [0x9e3779b1n, 0x85ebca77n, 0xc2b2ae3dn, 0x27d4eb2fn, 0x165667b1n];
  const u32 = (x) => x & 0xffffffffn;
  const rotate = (x, by) => u32((x << by) | (x >> (32n - by)));
  const word = (at) => BigInt(new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true));
  let at = 0;
  let sum = u32(BigInt(seed) + P5);
  if (bytes.length >= 16) {
    const lanes = [P1 + P2, P2, 0n, -P1].map((x) => u32(BigInt(seed) + x));
    for (; at + 16 <= bytes.length; at += 16)
      lanes.forEach((lane, i) => (lanes[i] = u32(rotate(u32(lane + word(at + 4 * i) * P2), 13n) * P1)));
    sum = u32(lanes.map((lane, i) => rotate(lane, [1n, 7n, 12n, 18n][i])).reduce((a, b) => a + b));
  }
  sum = u32(sum + BigInt(bytes.length));
  for (; at + 4 <= bytes.length; at += 4) sum = u32(rotate(u32(sum + word(at) * P3), 17n) * P4);
  for (; at < bytes.length; at++) sum = u32(rotate(u32(sum + BigInt(bytes[at]) * P5), 11n) * P1);
  sum = u32((sum ^ (sum >> 15n)) * P2);
  sum = u32((sum ^ (sum >> 13n)) * P3);
  return Number(sum ^ (sum >> 16n));
}

test("XXH32 as published", () => {
  const text = (s, seed) => xxh32(new TextEncoder().encode(s), seed);
  assert.is(text(""), 0x02cc5d05);
  assert.is(text("abc"), 0x32d153ff);
  assert.is(text("Nobody inspects the spammish repetition"), 0xe2293b2f);
  assert.is(text("", 2654435761), 0x36b78ae7);
});

test("XXH32 of any length, seed and place in memory is what its specification says", () => {
  const all = sanity(300);
  for (let length = 0; length < 200; length++) {
    for (const [offset, seed] of [[0, 0], [1, 2654435761], [2, 0xffffffff], [3, length]]) {
      const bytes = all.subarray(offset, offset + length);
      assert.is(xxh32(bytes, seed), specified(bytes, seed), `${length} bytes from ${offset}, seed ${seed}`);
    }
  }
  const shared = new Uint8Array(new SharedArrayBuffer(41), 1);
  shared.set(all.subarray(0, 40));
  assert.is(xxh32(shared), specified(all.subarray(0, 40)));
});

/** A model's file with weights, counters, metadata of others and a second tensor of every size of element. */
const net = sequential([dense(3), dense(2)], { inputShape: [4], seed: 3 });
await net.compile({ loss: "mse", optimizer: "adam" });
await net.fit([[1, 2, 3, 4]], [[1, 2]], { verbose: 0 });
const bytes = await net.toBytes();
const file = await readSafetensors(bytes, { raw: true });
const parts = (tensors) => Array.from(tensors, ([name, t]) => [name, t, t.bytes]);
const sum = checksum(file.metadata, parts(file.tensors));

test("the file says the sum of its content, whatever the order of tensors and metadata", async () => {
  assert.is(file.metadata.checksum, sum);
  assert.match(sum, /^xxh32:[0-9a-f]{8}$/);
  assert.is(checksum(Object.fromEntries(Object.entries(file.metadata).reverse()), parts([...file.tensors].reverse())), sum);
  // As another program writes it again: other spaces, another order of the header and of the data.
  const names = [...file.tensors.keys()].reverse();
  let at = 0;
  const header = { __metadata__: file.metadata };
  for (const name of names) {
    const {
      dtype,
      shape,
      bytes: { length },
    } = file.tensors.get(name);
    header[name] = { dtype, shape, data_offsets: [at, (at += length)] };
  }
  const text = Buffer.from(JSON.stringify(header, null, 1));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const again = Buffer.concat([length, text, ...names.map((name) => file.tensors.get(name).bytes)]);
  const [a, b] = [await loadModel(bytes), await loadModel(again)];
  assert.equal(
    (await a.getWeights()).map((w) => [...w.host]),
    (await b.getWeights()).map((w) => [...w.host]),
  );
});

test("no pair of changed bits in one tensor, or in two, passes", () => {
  const kernel = file.tensors.get("dense/kernel").bytes;
  const other = file.tensors.get("optimizer/iterations").bytes;
  const changed = (view, bit) => (view[bit >> 3] ^= 1 << (bit & 7));
  const tensors = parts(file.tensors);
  const bits = 8 * kernel.length;
  for (let a = 0; a < bits; a++) {
    changed(kernel, a);
    for (let b = a; b < bits; b++) {
      // With b = a one bit alone is changed.
      if (b > a) changed(kernel, b);
      assert.is.not(checksum(file.metadata, tensors), sum, `bits ${a} and ${b}`);
      if (b > a) changed(kernel, b);
    }
    for (let b = 0; b < 8 * other.length; b += 3) {
      changed(other, b);
      assert.is.not(checksum(file.metadata, tensors), sum, `bit ${a} of the kernel and ${b} of the counter`);
      changed(other, b);
    }
    changed(kernel, a);
  }
  assert.is(checksum(file.metadata, tensors), sum);
});

test("two flipped signs, which the older sum cannot see, are damage", async () => {
  const damaged = bytes.slice();
  const header = 8 + new DataView(damaged.buffer).getUint32(0, true);
  const { dtype } = file.tensors.get("dense/kernel");
  assert.is(dtype, "F32");
  for (const at of [3, 7]) damaged[header + at] ^= 0x80;
  const error = await loadModel(damaged).then(
    () => null,
    (e) => e,
  );
  assert.instance(error, FileError);
  assert.match(error.message, /model file: damaged: it has the checksum xxh32:.*, the file says xxh32:/);
  const [first] = file.tensors.values();
  const two = parts([["a", { ...first, bytes: first.bytes.slice() }]]);
  const older = olderChecksum(file.metadata, two);
  for (const at of [3, 7]) two[0][2][at] ^= 0x80;
  assert.is(olderChecksum(file.metadata, two), older);
});

test("names, dtypes, shapes and all metadata are summed", () => {
  const all = [...file.tensors];
  const differs = (metadata, tensors, what) => assert.is.not(checksum(metadata, parts(tensors)), sum, what);
  for (const [i, [name, t]] of all.entries()) {
    const put = (entry) => all.map((e, k) => (k === i ? entry : e));
    differs(file.metadata, put([`${name}x`, t]), "name");
    differs(file.metadata, put([name, { ...t, dtype: t.dtype === "F32" ? "I32" : "F32" }]), "dtype");
    differs(file.metadata, put([name, { ...t, shape: [1, ...t.shape] }]), "shape");
    if (t.shape.length > 1) differs(file.metadata, put([name, { ...t, shape: [...t.shape].reverse() }]), "dimensions in another order");
    differs(
      file.metadata,
      all.filter((_, k) => k !== i),
      "one tensor less",
    );
  }
  for (const [key, text] of Object.entries(file.metadata).filter(([k]) => k !== "checksum")) {
    for (let at = 0; at < text.length; at++) {
      const changed = `${text.slice(0, at)}${String.fromCharCode(text.charCodeAt(at) ^ 1)}${text.slice(at + 1)}`;
      differs({ ...file.metadata, [key]: changed }, all, `${key} at ${at}`);
    }
  }
  differs({ ...file.metadata, note: "" }, all, "an entry more");
  assert.is(checksum({ ...file.metadata, checksum: "other" }, parts(all)), sum);
});

test("files with the older sum load, and damage that it sees is told", async () => {
  const { checksum: _, ...metadata } = file.metadata;
  const older = await writeSafetensors(file.tensors, { ...metadata, checksum: olderChecksum(metadata, parts(file.tensors)) });
  const model = await loadModel(older);
  assert.equal(
    (await model.getWeights()).map((w) => [...w.host]),
    (await net.getWeights()).map((w) => [...w.host]),
  );
  older[older.length - 1] ^= 1;
  const error = await loadModel(older).then(
    () => null,
    (e) => e,
  );
  assert.instance(error, FileError);
  assert.match(error.message, /damaged: it has the checksum [0-9a-f]{8}, the file says [0-9a-f]{8}/);
});

test("a file that version 0.1 wrote loads, goes on, and is damaged where a byte is", async () => {
  const older = new Uint8Array(readFileSync(new URL("older.safetensors", import.meta.url)));
  const backend = await open("wasm", { reproducible: true, threads: 1 });
  const model = await loadModel(older, { backend });
  const [x, y] = [[[1, 2, 3], [0, 1, 0]], [[1], [0]]];
  // What that version said of it.
  const near = async (expected) =>
    (await (await model.predict(x)).data()).forEach((p, i) => assert.ok(Math.abs(p - expected[i]) < 1e-6, `${p}, expected ${expected[i]}`));
  await near([0.5304835438728333, 0.5791493654251099]);
  await model.fit(x, y, { verbose: 0, epochs: 4, initialEpoch: 3 });
  await near([0.5371053814888, 0.5635640621185303]);
  backend.close();
  older[older.length - 5] ^= 1;
  assert.match(
    (
      await loadModel(older).then(
        () => null,
        (e) => e,
      )
    ).message,
    /damaged/,
  );
});

test.run();

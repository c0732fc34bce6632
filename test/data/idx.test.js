import { test } from "uvu";
import * as assert from "uvu/assert";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { FileError } from "../../build/esm/errors.js";
import { gunzip, parseIdx, readIdx } from "../../build/esm/data/idx.js";

/** An IDX file from its parts; `bytes` are the elements as they stand in the file. */
function file(code, shape, bytes) {
  const header = new Uint8Array(4 + 4 * shape.length);
  const view = new DataView(header.buffer);
  header.set([0, 0, code, shape.length]);
  shape.forEach((d, i) => view.setUint32(4 + 4 * i, d));
  return Uint8Array.from([...header, ...bytes]);
}

/** Asserts a FileError whose message holds every part, thrown or rejected. */
async function refuses(action, ...parts) {
  try {
    await action();
  } catch (error) {
    assert.instance(error, FileError, error.stack);
    for (const part of parts) assert.ok(error.message.includes(part), `"${error.message}" lacks "${part}"`);
    return;
  }
  assert.unreachable(`accepted a file that lacks: ${parts}`);
}

test("every type code, big-endian", () => {
  const cases = [
    [0x08, [1, 255], Uint8Array.of(1, 255)],
    [0x09, [1, 255], Int8Array.of(1, -1)],
    [0x0b, [1, 2, 255, 254], Int16Array.of(258, -2)],
    [0x0c, [1, 2, 3, 4, 255, 255, 255, 253], Int32Array.of(0x01020304, -3)],
    [0x0d, [0x3f, 0xc0, 0, 0, 0xff, 0x80, 0, 0], Float32Array.of(1.5, -Infinity)],
    [0x0e, [0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0], Float64Array.of(1.5, -2)],
  ];
  for (const [code, bytes, expected] of cases) {
    const { shape, data } = parseIdx(file(code, [2], bytes));
    assert.equal(shape, [2]);
    assert.is(data.constructor, expected.constructor);
    assert.equal(Array.from(data), Array.from(expected));
  }
});

test("shapes, views, copies", () => {
  assert.equal(parseIdx(file(8, [2, 1, 3], [1, 2, 3, 4, 5, 6])).shape, [2, 1, 3]);
  assert.equal(parseIdx(file(8, [0, 28, 28], [])), { shape: [0, 28, 28], data: new Uint8Array(0) });
  assert.equal(parseIdx(file(8, [], [7])), { shape: [], data: Uint8Array.of(7) });
  const shifted = Uint8Array.from([9, ...file(0x0b, [1], [1, 0])]).subarray(1);
  const { data } = parseIdx(shifted);
  shifted.fill(0);
  assert.is(data[0], 256);
});

test("faults", async () => {
  const good = file(0x0c, [2, 1], [0, 0, 0, 1, 0, 0, 0, 2]);
  assert.equal(Array.from(parseIdx(good).data), [1, 2]);
  for (let length = 0; length < good.length; length++) await refuses(() => parseIdx(good.subarray(0, length), "digits.idx"), "digits.idx");
  await refuses(() => parseIdx(Uint8Array.from([...good, 0])), "needs 8 bytes", "found 9");
  await refuses(() => parseIdx(file(0x0a, [1], [0])), "type code", "0x0a");
  await refuses(() => parseIdx(Uint8Array.of(1, 0, 8, 0, 0)), "two zero bytes", "0x01 0x00 0x08 0x00");
  await refuses(() => parseIdx(new Uint8Array(0)), "nothing");
  await refuses(() => parseIdx(file(8, [2 ** 32 - 1, 2 ** 32 - 1, 2 ** 32 - 1], [1])), "found 1");
  await refuses(() => parseIdx(file(8, Array(255).fill(2 ** 32 - 1), [])), "needs Infinity");
});

test("gunzip gives back what was compressed, however long", async () => {
  for (const size of [0, 1, 1000, 1_000_000]) {
    const bytes = Uint8Array.from({ length: size }, (_, i) => (i * i) >> 3);
    assert.equal(await gunzip(gzipSync(bytes)), bytes);
  }
});

test("gunzip refuses damage and excess", async () => {
  const zipped = new Uint8Array(gzipSync(new TextEncoder().encode("lockstep ".repeat(20))));
  for (let length = 0; length < zipped.length; length++) await refuses(() => gunzip(zipped.subarray(0, length), { who: "x.gz" }), "x.gz");
  for (const at of [0, 1, 2, zipped.length - 1, zipped.length - 5]) {
    const broken = zipped.slice();
    broken[at] ^= 0xff;
    await refuses(() => gunzip(broken), "gzip");
  }
  const bomb = gzipSync(new Uint8Array(50_000_000));
  await refuses(() => gunzip(bomb, { maxBytes: 1_000_000 }), "1000000");
});

test("readIdx stops unpacking where the header says it ends, and at once for what is not IDX", async () => {
  const small = file(0x08, [2], [1, 2]);
  const bomb = gzipSync(Uint8Array.from([...small, ...new Uint8Array(1e6)]));
  await refuses(() => readIdx(bomb, "a.gz"), "a.gz: the gzip data unpacks to more than the 10 bytes that its header speaks of");
  await refuses(() => readIdx(gzipSync(new Uint8Array(2e6).fill(7)), "b.gz"), "b.gz", "two zero bytes");
  await refuses(() => readIdx(gzipSync(Uint8Array.of(0, 0, 8)), "c.gz"), "c.gz");
  const rank = file(0x08, new Array(200).fill(1), [9]);
  assert.is((await readIdx(gzipSync(rank))).shape.length, 200);
});

test("readIdx takes plain and compressed files", async () => {
  const plain = file(8, [3], [1, 2, 3]);
  assert.equal(await readIdx(plain), { shape: [3], data: Uint8Array.of(1, 2, 3) });
  assert.equal(await readIdx(gzipSync(plain)), { shape: [3], data: Uint8Array.of(1, 2, 3) });
  await refuses(() => readIdx(gzipSync(plain.subarray(0, 9)), "labels.gz"), "labels.gz", "found 1");
  await refuses(() => readIdx(gzipSync(plain).subarray(0, 20), "labels.gz"), "labels.gz", "gzip");
});

const mnist = join(process.env.LOCKSTEP_SHARED ?? fileURLToPath(new URL("../../../shared", import.meta.url)), "data/mnist");

if (existsSync(mnist)) {
  test("data: the MNIST test set", async () => {
    const images = await readIdx(readFileSync(join(mnist, "t10k-images-idx3-ubyte.gz")));
    const labels = await readIdx(readFileSync(join(mnist, "t10k-labels-idx1-ubyte.gz")));
    assert.equal(images.shape, [10000, 28, 28]);
    assert.equal(labels.shape, [10000]);
    assert.equal(Array.from(labels.data.slice(0, 10)), [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
    assert.equal([Math.min(...images.data.slice(0, 784)), Math.max(...images.data.slice(0, 784))], [0, 255]);
  });
}

test.run();

/** lockstep/safetensors: every dtype to its nearest and back, parts of files without the rest, and files of any names. */
import { createReadStream, existsSync, mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ArgumentError, DTypeError, FileError, ShapeError } from "../../build/esm/errors.js";
import { open } from "../../build/esm/init.js";
import { add } from "../../build/esm/ops/map.js";
import { openSafetensors, readSafetensors, writeSafetensors } from "../../build/esm/safetensors/index.js";
import { tensor } from "../../build/esm/tensor.js";

const folder = mkdtempSync(join(tmpdir(), "lockstep-safetensors-"));
test.after(() => rmSync(folder, { recursive: true }));

const bytesOf = (data) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
const raw = (dtype, shape, data) => ({ dtype, shape, bytes: bytesOf(data) });

async function refused(action, type, ...parts) {
  const error = await action().then(
    () => null,
    (e) => e,
  );
  assert.instance(error, type, String(error?.stack));
  for (const part of parts) assert.ok(error.message.includes(part), `"${error.message}" lacks "${part}"`);
}

/** One element of each dtype that has one, as bytes, and what it reads as. */
const DTYPES = {
  BOOL: [Uint8Array.of(1, 0), Uint32Array.of(1, 0)],
  U8: [Uint8Array.of(0, 255), Int32Array.of(0, 255)],
  I8: [Int8Array.of(-128, 127), Int32Array.of(-128, 127)],
  U16: [Uint16Array.of(0, 65535), Int32Array.of(0, 65535)],
  I16: [Int16Array.of(-32768, 7), Int32Array.of(-32768, 7)],
  U32: [Uint32Array.of(4294967295, 1), Uint32Array.of(4294967295, 1)],
  I32: [Int32Array.of(-2147483648, 1), Int32Array.of(-2147483648, 1)],
  U64: [BigUint64Array.of(0n, 4294967295n), Uint32Array.of(0, 4294967295)],
  I64: [BigInt64Array.of(-2147483648n, 2147483647n), Int32Array.of(-2147483648, 2147483647)],
  F16: [Uint16Array.of(0x3c00, 0xfbff), Float32Array.of(1, -65504)],
  BF16: [Uint16Array.of(0x3f80, 0xc000), Float32Array.of(1, -2)],
  F32: [Float32Array.of(0.1, -0), Float32Array.of(0.1, -0)],
  F64: [Float64Array.of(0.1, -1e-300), Float32Array.of(0.1, -0)],
  F8_E4M3: [Uint8Array.of(0x38, 0xfe), Float32Array.of(1, -448)],
  F8_E5M2: [Uint8Array.of(0x3c, 0xfb), Float32Array.of(1, -57344)],
  F8_E8M0: [Uint8Array.of(127, 0), Float32Array.of(1, 2 ** -127)],
  F8_E4M3FNUZ: [Uint8Array.of(0x40, 0xff), Float32Array.of(1, -240)],
  F8_E5M2FNUZ: [Uint8Array.of(0x40, 0xff), Float32Array.of(1, -57344)],
};

test("every dtype reads as its nearest, from any place in memory, and as its bytes", async () => {
  const all = Object.entries(DTYPES).map(([dtype, [data]]) => [dtype, raw(dtype, [2], data)]);
  const file = await writeSafetensors(all, { of: "all" });
  for (const shift of [0, 1, 2, 4]) {
    const moved = new Uint8Array(file.length + shift).subarray(shift);
    moved.set(file);
    const { metadata, tensors } = await readSafetensors(moved);
    assert.equal(metadata, { of: "all" });
    for (const [dtype, [data, expected]] of Object.entries(DTYPES)) {
      const t = tensors.get(dtype);
      assert.equal([t.dtype, t.shape], [dtype, [2]]);
      assert.is(t.data.constructor, expected.constructor, dtype);
      assert.ok(
        expected.every((v, i) => Object.is(v, t.data[i])),
        `${dtype}: ${t.data}`,
      );
      assert.not(t.data.buffer === moved.buffer, "a copy");
      const bytes = (await readSafetensors(moved, { raw: true, names: [dtype] })).tensors.get(dtype);
      assert.equal(bytes, raw(dtype, [2], data));
      assert.not(bytes.bytes.buffer === moved.buffer, "a copy");
    }
  }
});

/** The value of a float of few bits, by its definition. */
function small(bits, size, exponents, bias) {
  const sign = bits & 0x80 ? -1 : 1;
  const exponent = (bits >> size) & (2 ** exponents - 1);
  const fraction = bits & (2 ** size - 1);
  return exponent === 0 ? sign * fraction * 2 ** (1 - bias - size) : sign * (2 ** size + fraction) * 2 ** (exponent - bias - size);
}

test("all floats of eight bits", async () => {
  const every = Uint8Array.from({ length: 256 }, (_, i) => i);
  const nan = {
    F8_E4M3: (b) => (b & 127) === 127,
    F8_E5M2: (b) => (b & 127) > 124,
    F8_E4M3FNUZ: (b) => b === 128,
    F8_E5M2FNUZ: (b) => b === 128,
    F8_E8M0: (b) => b === 255,
  };
  const value = {
    F8_E4M3: (b) => small(b, 3, 4, 7),
    F8_E5M2: (b) => ((b & 127) === 124 ? (b > 127 ? -Infinity : Infinity) : small(b, 2, 5, 15)),
    F8_E4M3FNUZ: (b) => small(b, 3, 4, 8),
    F8_E5M2FNUZ: (b) => small(b, 2, 5, 16),
    F8_E8M0: (b) => 2 ** (b - 127),
  };
  for (const dtype of Object.keys(value)) {
    const { data } = (await readSafetensors(await writeSafetensors({ t: raw(dtype, [256], every) }))).tensors.get("t");
    every.forEach((b) => assert.ok(Object.is(data[b], nan[dtype](b) ? NaN : value[dtype](b)), `${dtype} 0x${b.toString(16)}: ${data[b]}`));
  }
});

test("what no tensor holds is read as bytes: packed floats, complex numbers, elements out of range", async () => {
  const tensors = {
    F4: raw("F4", [3, 2], Uint8Array.of(1, 2, 3)),
    F6_E2M3: raw("F6_E2M3", [4], Uint8Array.of(1, 2, 3)),
    F6_E3M2: raw("F6_E3M2", [8], new Uint8Array(6)),
    C64: raw("C64", [1], Float32Array.of(1, 2)),
  };
  const file = await writeSafetensors(tensors);
  for (const name of Object.keys(tensors)) {
    await refused(
      () => readSafetensors(file, { names: [name] }),
      DTypeError,
      `tensor "${name}": no dtype of a tensor holds ${name}; read its bytes, with raw: true or readRaw()`,
    );
    assert.equal((await readSafetensors(file, { raw: true })).tensors.get(name), tensors[name]);
  }
  const large = await writeSafetensors({
    i: { shape: [2], data: BigInt64Array.of(1n, 2n ** 31n) },
    u: { shape: [1], data: BigUint64Array.of(2n ** 32n) },
    d: { shape: [1], data: Float64Array.of(1e39) },
    b: raw("BOOL", [1], Uint8Array.of(2)),
  });
  await refused(
    () => readSafetensors(large, { names: ["i"] }),
    FileError,
    'tensor "i": elements must be in [-2^31, 2^31), found 2147483648 at 1',
  );
  await refused(() => readSafetensors(large, { names: ["u"] }), FileError, "below 2^32, found 4294967296");
  await refused(() => readSafetensors(large, { names: ["d"] }), FileError, "in the range of f32, found 1e+39");
  await refused(() => readSafetensors(large, { names: ["b"] }), FileError, "0 or 1, found 2");
  assert.is((await readSafetensors(large, { raw: true })).tensors.size, 4);
  await refused(() => writeSafetensors({ t: raw("F4", [3], Uint8Array.of(1)) }), ShapeError, '"t" of shape [3]', "1.5 bytes of F4");
});

test("typed arrays are written as what they hold", async () => {
  const arrays = {
    F32: Float32Array.of(1.5),
    F64: Float64Array.of(0.1),
    I8: Int8Array.of(-1),
    U8: Uint8Array.of(255),
    I16: Int16Array.of(-300),
    U16: Uint16Array.of(65535),
    I32: Int32Array.of(-1),
    U32: Uint32Array.of(7),
    I64: BigInt64Array.of(-(2n ** 60n)),
    U64: BigUint64Array.of(2n ** 63n),
  };
  const file = await writeSafetensors(new Map(Object.entries(arrays).map(([name, data]) => [name, { shape: [1], data }])));
  const { tensors } = await readSafetensors(file, { raw: true });
  for (const [dtype, data] of Object.entries(arrays)) assert.equal(tensors.get(dtype), raw(dtype, [1], data));
  const clamped = await readSafetensors(await writeSafetensors({ t: { shape: [2], data: Uint8ClampedArray.of(300, -1) } }));
  assert.equal([clamped.tensors.get("t").dtype, [...clamped.tensors.get("t").data]], ["U8", [255, 0]]);
  // Larger elements first, so that all are aligned.
  const sizes = [...tensors.values()].map((t) => t.bytes.length);
  assert.equal(
    sizes,
    [...sizes].sort((a, b) => b - a),
  );
});

/** The nearest number of `digits` binary digits whose last is worth at least 2^low, of two the even one. In float64 all steps are exact. */
function nearest(x, digits, low) {
  const exponent = Math.max(Math.floor(Math.log2(Math.abs(x))) - digits + 1, low);
  const unit = 2 ** exponent;
  const whole = Math.floor(Math.abs(x) / unit);
  const rest = Math.abs(x) / unit - whole;
  return Math.sign(x) * (whole + Number(rest > 0.5 || (rest === 0.5 && whole % 2 === 1))) * unit;
}

test("f32 becomes the nearest F16 and BF16, of two the even one", async () => {
  const values = [
    1,
    -1,
    1 + 2 ** -11,
    1 + 3 * 2 ** -11,
    2 ** -14,
    2 ** -24,
    2 ** -25,
    1.5 * 2 ** -25,
    2 ** -26,
    65504,
    65519,
    3e-8,
    -6.1e-5,
    6.0976e-5,
    1023.5 * 2 ** -24,
    0.1,
    1 / 3,
    1 + 2 ** -8,
    1 + 3 * 2 ** -8,
    3.3e38,
    2 ** -126,
    2 ** -133,
    2 ** -134,
    1.5 * 2 ** -134,
  ];
  for (let i = 0; i < 3000; i++) values.push((((i * 7919) % 10007) - 5000) * 2 ** ((i % 60) - 40));
  const float = new Float32Array(values);
  for (const [dtype, digits, low, most] of [["F16", 11, -24, 65520], ["BF16", 8, -133, Infinity]]) {
    const data = float.filter((v) => Math.abs(v) < most && v !== 0);
    const back = (await readSafetensors(await writeSafetensors({ t: { shape: [data.length], data, dtype } }))).tensors.get("t");
    assert.is(back.dtype, dtype);
    data.forEach((v, i) => assert.is(back.data[i], nearest(v, digits, low) || back.data[i] * 0, `${v} as ${dtype}`));
    const edges = Float32Array.of(0, -0, Infinity, -Infinity, NaN);
    const same = (await readSafetensors(await writeSafetensors({ t: { shape: [5], data: edges, dtype } }))).tensors.get("t");
    assert.ok(
      edges.every((v, i) => Object.is(v, same.data[i])),
      `${dtype}: ${same.data}`,
    );
  }
  for (const large of [65536, 1e5, -1e10, 3e38])
    await refused(
      () => writeSafetensors({ t: { shape: [1], data: Float32Array.of(large), dtype: "F16" } }),
      ArgumentError,
      "out of the range of F16",
    );
  await refused(
    () => writeSafetensors({ t: { shape: [2], data: Float32Array.of(1, 65520), dtype: "F16" } }),
    ArgumentError,
    'tensor "t": 65520 at 1 is out of the range of F16',
  );
  await refused(
    () => writeSafetensors({ t: { shape: [1], data: Float32Array.of(3.4e38), dtype: "BF16" } }),
    ArgumentError,
    "out of the range of BF16",
  );
});

test("what was read is written again as it was", async () => {
  for (const [dtype, [data]] of Object.entries(DTYPES).filter(([d]) => !d.startsWith("F8") && d !== "F64")) {
    const file = await writeSafetensors({ t: raw(dtype, [2, 1], data) });
    assert.equal(await writeSafetensors((await readSafetensors(file)).tensors), file, dtype);
    assert.equal(await writeSafetensors((await readSafetensors(file, { raw: true })).tensors), file, dtype);
  }
});

test("integers are written as others that hold them, floats as wider ones", async () => {
  const one = async (data, dtype) =>
    (await readSafetensors(await writeSafetensors({ t: { shape: [data.length], data, dtype } }), { raw: true })).tensors.get("t");
  assert.equal(await one(Int32Array.of(-1, 5), "I64"), raw("I64", [2], BigInt64Array.of(-1n, 5n)));
  assert.equal(await one(BigInt64Array.of(0n, 255n), "U8"), raw("U8", [2], Uint8Array.of(0, 255)));
  assert.equal(await one(Uint8Array.of(0, 1), "BOOL"), raw("BOOL", [2], Uint8Array.of(0, 1)));
  assert.equal(await one(Float32Array.of(0.1), "F64"), raw("F64", [1], Float64Array.of(Math.fround(0.1))));
  assert.equal(await one(Float64Array.of(0.1), "F32"), raw("F32", [1], Float32Array.of(0.1)));
  for (const [data, dtype, type, text] of [
    [Int32Array.of(3, -1), "U8", ArgumentError, "-1 at 1 is out of the range of U8"],
    [Int32Array.of(-1), "U64", ArgumentError, "-1 at 0 is out of the range of U64"],
    [Uint8Array.of(2), "BOOL", ArgumentError, "2 at 0 is out of the range of BOOL"],
    [BigUint64Array.of(2n ** 53n + 1n), "I32", ArgumentError, "out of the range of I32"],
    [Float64Array.of(1e300), "F32", ArgumentError, "1e+300 at 0 is out of the range of F32"],
    [Float32Array.of(1), "I32", DTypeError, "a Float32Array is written as F32, F16, BF16, F64, got dtype I32"],
    [Float32Array.of(1), "F8_E4M3", DTypeError, "give other dtypes as { dtype, shape, bytes }"],
    [Int32Array.of(1), "F32", DTypeError, "got dtype F32"],
  ])
    await refused(() => one(data, dtype), type, 'tensor "t": ', text);
});

test("tensors of Lockstep are written, wherever their elements are, and made of what was read", async () => {
  const backend = await open("wasm", { threads: 1 });
  const sum = add(tensor([[1, 2], [3, 4]]), tensor([10, 20]));
  const file = await writeSafetensors({ sum, yes: tensor([true, false]), i: tensor([1, -2], undefined, "i32"), scalar: tensor(7) });
  const { tensors } = await readSafetensors(file);
  assert.equal([...tensors].map(([name, t]) => [name, t.dtype, t.shape]).sort(), [
    ["i", "I32", [2]],
    ["scalar", "F32", []],
    ["sum", "F32", [2, 2]],
    ["yes", "BOOL", [2]],
  ]);
  assert.equal(await tensor(tensors.get("sum").data, tensors.get("sum").shape).array(), [[11, 22], [13, 24]]);
  assert.equal(await tensor(tensors.get("yes").data, [2], "bool").array(), await tensor([true, false]).array());
  backend.close();
});

test("any names, and metadata of any texts", async () => {
  const names = ["", "__proto__", "constructor", "0", "10", "9", "a.b/c", '"\\\n\0', "ü 層 🙂", "\ud800", "n".repeat(1e5), "{}:,[]"];
  const metadata = Object.fromEntries(names.map((name) => [name, `text of ${name}`]));
  const file = await writeSafetensors(
    names.map((name, i) => [name, { shape: [1], data: Int32Array.of(i) }]),
    metadata,
  );
  const back = await readSafetensors(file);
  assert.equal(back.metadata, metadata);
  assert.equal([...back.tensors.keys()].sort(), [...names].sort());
  names.forEach((name, i) => assert.is(back.tensors.get(name).data[0], i));
  assert.equal([...(await readSafetensors(file, { names })).tensors.keys()], [...back.tensors.keys()], "in the order of the header");
});

test("what cannot be written says which tensor and why", async () => {
  const t = { shape: [1], data: Float32Array.of(1) };
  await refused(() => writeSafetensors({ __metadata__: t }), ArgumentError, "reserved");
  await refused(() => writeSafetensors([["a", t], ["a", t]]), ArgumentError, 'two tensors are named "a"');
  await refused(() => writeSafetensors({ a: t }, { k: 1 }), ArgumentError, 'metadata "k" must be a string, got number');
  await refused(
    () => writeSafetensors({ a: [1, 2] }),
    ArgumentError,
    'tensor "a" must be a tensor, { shape, data } or { dtype, shape, bytes }, got an array',
  );
  await refused(() => writeSafetensors({ a: null }), ArgumentError, "got null");
  await refused(() => writeSafetensors({ a: { shape: [1], data: [1] } }), DTypeError, "typed array, got Array");
  await refused(() => writeSafetensors({ a: { ...t, shape: [2] } }), ShapeError, '"a" of shape [2] must have 8 bytes of F32, got 4');
  await refused(() => writeSafetensors({ a: { ...t, shape: [-1, -1] } }), ShapeError, '"a"');
  await refused(
    () => writeSafetensors({ a: { dtype: "F31", shape: [], bytes: new Uint8Array(4) } }),
    ArgumentError,
    "dtype must be one of",
    "got F31",
  );
  await refused(() => writeSafetensors({ a: { dtype: "toString", shape: [], bytes: new Uint8Array(4) } }), ArgumentError, "got toString");
  await refused(() => writeSafetensors(undefined), ArgumentError, "expected tensors by name");
  await refused(() => writeSafetensors({ a: t }, "pt"), ArgumentError, "metadata");
  assert.equal((await readSafetensors(await writeSafetensors({}))).tensors.size, 0);
});

/** A file of some megabytes: a large header, a small tensor, a large one, and others. */
const many = Object.fromEntries(
  Array.from({ length: 2000 }, (_, i) => [`block.${i}.weight`, { shape: [4], data: Float32Array.of(i, 1, 2, 3) }]),
);
const file = await writeSafetensors(
  {
    ...many,
    large: { shape: [1000, 1000], data: Float32Array.from({ length: 1e6 }, (_, i) => i) },
    tail: { shape: [1], data: Int8Array.of(-5) },
  },
  { format: "pt" },
);
const path = join(folder, "large.safetensors");
writeFileSync(path, file);

const served = [];
const server = createServer((request, response) => {
  const { range } = request.headers;
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
  if (request.url === "/whole" || from === undefined) {
    served.push(file.length);
    return response.end(file);
  }
  const part = file.subarray(Number(from), Number(to) + 1);
  served.push(part.length);
  const headers = {
    etag: request.url === "/changing" ? `"${served.length}"` : '"1"',
    ...(request.url !== "/silent" && { "content-range": `bytes ${from}-${Number(from) + part.length - 1}/${file.length}` }),
  };
  if (request.url === "/wrong") headers["content-range"] = `bytes ${Number(from) + 1}-${to}/${file.length}`;
  if (request.url === "/short" && served.length > 2) return response.writeHead(206, headers).end(part.subarray(1));
  return response.writeHead(part.length === 0 ? 416 : 206, headers).end(part);
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const origin = `http://127.0.0.1:${server.address().port}`;
test.after(() => {
  server.close();
  server.closeAllConnections();
});

test("a part of a file needs no more than its bytes: disk, HTTP, blobs", async () => {
  let sliced = 0;
  class Counting extends Blob {
    slice(begin, end) {
      sliced += end - begin;
      return super.slice(begin, end);
    }
    arrayBuffer() {
      throw new Error("all of it was asked for");
    }
  }
  for (const source of [path, new URL(`file://${path}`), `${origin}/a`, `${origin}/silent`, new Counting([file])]) {
    served.length = 0;
    const opened = await openSafetensors(source);
    assert.equal(opened.metadata, { format: "pt" });
    assert.is(opened.tensors.size, 2002);
    assert.equal(opened.tensors.get("large"), { dtype: "F32", shape: [1000, 1000], byteLength: 4e6 });
    assert.equal([...(await opened.read("block.7.weight")).data], [7, 1, 2, 3]);
    assert.equal(await opened.readRaw("tail"), raw("I8", [1], Int8Array.of(-5)));
    const { tensors } = await readSafetensors(source, { names: (name) => /^block\.1\d?\./.test(name) || name === "tail" });
    assert.equal([...tensors.keys()].length, 12);
    assert.equal([...tensors.get("block.19.weight").data], [19, 1, 2, 3]);
    assert.ok(served.reduce((a, b) => a + b, 0) < 7e5, `${served}`);
    assert.is((await opened.read("large")).data[999999], 999999);
  }
  assert.ok(sliced < 4e6 + 7e5 && sliced > 4e6, `${sliced} bytes of the blob`);
});

test("rows of a tensor, of a source of one's own too", async () => {
  const reads = [];
  const read = (begin, end) => (reads.push(end - begin), file.subarray(begin, end));
  for (const source of [path, { name: "mine", size: file.length, read }]) {
    const opened = await openSafetensors(source);
    const bytes = await opened.readBytes("large", 4 * 999998, 4 * 1000000);
    assert.equal([...new Float32Array(new Uint8Array(bytes).buffer)], [999998, 999999]);
    assert.is((await opened.readBytes("large", 8, 8)).length, 0);
    await refused(() => opened.readBytes("large", 0, 4e6 + 1), ArgumentError, "4000000 bytes");
    await refused(() => opened.readBytes("none", 0, 1), FileError, '"none"');
  }
  assert.ok(reads.reduce((a, b) => a + b, 0) < 5e5, `${reads}`);
  await refused(() => openSafetensors({ name: "mine", size: -1, read }), FileError, "mine", "size");
  await refused(() => openSafetensors({ name: "mine", size: 100, read: () => new Uint8Array(3) }), FileError, "mine", "gave 3 bytes");
});

test("tensors that follow one another are one request", async () => {
  served.length = 0;
  await readSafetensors(`${origin}/a`, { names: (name) => name.startsWith("block.") });
  // The beginning, the rest of the header, and all blocks; those lie in the order of their names.
  assert.is(served.length, 3);
});

test("a server that gives no ranges gives all, once", async () => {
  served.length = 0;
  const opened = await openSafetensors(`${origin}/whole`);
  assert.equal([...(await opened.read("block.3.weight")).data], [3, 1, 2, 3]);
  assert.equal(served, [file.length]);
});

test("answers that do not fit are refused", async () => {
  await refused(() => openSafetensors(`${origin}/changing`), FileError, "has changed since its header was read");
  await refused(() => openSafetensors(`${origin}/wrong`), FileError, "asked for bytes 0 to 65535, the server sent 65536 bytes from 1 on");
  served.length = 0;
  await refused(async () => (await openSafetensors(`${origin}/short`)).read("large"), FileError, "truncated");
});

test("a file that another takes the place of while it is read is an error", async () => {
  const place = join(folder, "moving");
  writeFileSync(place, file);
  const opened = await openSafetensors(place);
  await opened.read("tail");
  const { atimeMs, mtimeMs } = statSync(place);
  utimesSync(place, atimeMs / 1000, mtimeMs / 1000 + 10);
  await refused(() => opened.read("tail"), FileError, place, "has changed");
});

test("names that are not there, and options that are none", async () => {
  await refused(
    () => readSafetensors(path, { names: ["block.1.wieght"] }),
    FileError,
    `${path}: no tensor "block.1.wieght"; did you mean "block.1.weight"?`,
  );
  await refused(async () => (await openSafetensors(path)).read("none"), FileError, 'no tensor "none"', "and 1994 more");
  await refused(async () => (await openSafetensors(path)).readRaw("__proto__"), FileError, "no tensor");
  await refused(() => readSafetensors(path, { name: [] }), ArgumentError, 'unknown option "name"');
  await refused(() => readSafetensors(path, { names: "large" }), ArgumentError, 'names must be a list or a function, got "large"');
  assert.is((await readSafetensors(createReadStream(path), { names: ["large", "large"] })).tensors.size, 1);
});

test("a header that is cut, or longer than the file, is refused by every way to read", async () => {
  for (const length of [0, 7, 8, 9, 100, 70000, file.length - 1]) {
    const cut = join(folder, "cut");
    writeFileSync(cut, file.subarray(0, length));
    for (const source of [cut, file.slice(0, length), new Blob([file.subarray(0, length)])]) {
      await refused(() => readSafetensors(source), FileError);
      await refused(() => openSafetensors(source), FileError);
    }
  }
});

const shared = process.env.LOCKSTEP_SHARED ?? fileURLToPath(new URL("../../../shared", import.meta.url));
const manifest = join(shared, "conformance/containers/manifest.json");
if (existsSync(manifest)) {
  const cases = JSON.parse(readFileSync(manifest, "utf8")).cases.filter((c) => c.file.endsWith(".safetensors"));
  for (const { file: name, expect } of cases) {
    test(`conformance: ${name}, by every way to read`, async () => {
      const place = join(shared, "conformance/containers", name);
      const sources = [place, readFileSync(place), new Blob([readFileSync(place)])];
      for (const source of sources) {
        if (expect === "error") {
          await refused(() => readSafetensors(source), FileError);
          await refused(() => openSafetensors(source), FileError);
          continue;
        }
        const { metadata, tensors } = JSON.parse(readFileSync(join(shared, "conformance/containers", expect), "utf8"));
        const opened = await openSafetensors(source);
        assert.equal(opened.metadata, metadata ?? {});
        for (const [key, { dtype, shape, first, sum }] of Object.entries(tensors)) {
          const t = await opened.read(key);
          assert.equal([t.dtype, t.shape, [...t.data.slice(0, first.length)]], [dtype, shape, first]);
          const total = t.data.reduce((a, b) => a + b, 0);
          if (sum !== undefined) assert.ok(Math.abs(total - sum) <= 1e-6 * Math.max(1, Math.abs(sum)), `${total}, expected ${sum}`);
        }
      }
    });
  }
}

test.run();

import { test } from "uvu";
import * as assert from "uvu/assert";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ArgumentError, DTypeError, FileError, ShapeError } from "../../build/esm/errors.js";
import { decodeSafetensors as decodeHeader, encodeRaw, encodeSafetensors } from "../../build/esm/io/safetensors.js";
import { naming } from "../../build/esm/naming.js";
import { readBytes } from "../../build/esm/node/files.js";
import { converted } from "../../build/esm/safetensors/dtypes.js";
import { readSafetensors } from "../../build/esm/safetensors/index.js";

/** A file with the elements of all tensors. */
function decodeSafetensors(bytes, who = "safetensors") {
  const { metadata, tensors, data } = decodeHeader(bytes, who);
  return {
    metadata,
    tensors: new Map(
      Array.from(tensors, ([name, t]) => [
        name,
        { ...t, data: naming(who, () => converted(name, t.dtype, data.subarray(t.begin, t.end))) },
      ]),
    ),
  };
}

/** A file from a header (object or text) and body bytes, right or wrong. */
function file(header, body = new Uint8Array(0)) {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + body.byteLength);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(new Uint8Array(body.buffer, body.byteOffset, body.byteLength), 8 + text.length);
  return bytes;
}

/** Asserts a FileError whose message holds every part. */
function refuses(bytes, ...parts) {
  try {
    decodeSafetensors(bytes, "model.safetensors");
  } catch (error) {
    assert.instance(error, FileError);
    for (const part of ["model.safetensors", ...parts]) assert.ok(error.message.includes(part), `"${error.message}" lacks "${part}"`);
    return;
  }
  assert.unreachable(`accepted a file that lacks: ${parts}`);
}

function one(dtype, shape, body) {
  return file({ t: { dtype, shape, data_offsets: [0, body.byteLength] } }, body);
}

function decodeOne(dtype, shape, body) {
  return decodeSafetensors(one(dtype, shape, body)).tensors.get("t");
}

const sample = {
  "dense/kernel": { shape: [2, 3], data: Float32Array.of(1, -2.5, 3e-40, NaN, Infinity, -0) },
  "dense/bias": { shape: [3], data: Int32Array.of(-1, 0, 2147483647) },
  step: { shape: [], data: Uint32Array.of(4294967295) },
  empty: { shape: [0, 7], data: new Float32Array(0) },
};

test("what was written is read back, bit for bit", () => {
  const metadata = { format: "lockstep", note: 'naïve "quoted" 🙂' };
  const back = decodeSafetensors(encodeSafetensors(sample, metadata));
  assert.equal(back.metadata, metadata);
  assert.equal([...back.tensors.keys()], ["dense/bias", "dense/kernel", "empty", "step"]);
  for (const [name, { shape, data }] of Object.entries(sample)) {
    const tensor = back.tensors.get(name);
    assert.equal(tensor.shape, shape);
    assert.is(tensor.data.constructor, data.constructor);
    assert.equal(new Uint8Array(tensor.data.buffer), new Uint8Array(data.buffer));
  }
});

test("header and data are aligned, and equal contents give equal bytes", () => {
  for (let pad = 0; pad < 9; pad++) {
    const bytes = encodeSafetensors({ ["n".repeat(pad + 1)]: { shape: [1], data: Float32Array.of(1) } });
    const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    assert.is(length % 8, 0);
    assert.is(bytes.length, 8 + length + 4);
    assert.is(bytes[8], "{".charCodeAt(0));
  }
  const reversed = Object.fromEntries(Object.entries(sample).reverse());
  assert.equal(encodeSafetensors(reversed), encodeSafetensors(sample));
});

test("a view into a larger buffer is written and read as the view", () => {
  const all = Float32Array.of(9, 1, 2, 9);
  const bytes = encodeSafetensors({ a: { shape: [2], data: all.subarray(1, 3) } });
  const shifted = new Uint8Array(bytes.length + 3).subarray(3);
  shifted.set(bytes);
  const { data } = decodeSafetensors(shifted).tensors.get("a");
  assert.equal(data, Float32Array.of(1, 2));
  shifted.fill(0);
  assert.equal(data, Float32Array.of(1, 2), "data is a copy");
});

test("names that are special in JavaScript survive", () => {
  const tensors = Object.fromEntries([["__proto__", sample.step], ["10", sample.step], ["9", sample.empty], ["constructor", sample.step]]);
  assert.equal([...decodeSafetensors(encodeSafetensors(tensors)).tensors.keys()].sort(), ["10", "9", "__proto__", "constructor"]);
  const plain = decodeSafetensors(encodeSafetensors({}, Object.fromEntries([["__proto__", "x"]])));
  assert.ok(Object.hasOwn(plain.metadata, "__proto__"));
});

test("encode names the tensor that does not fit", () => {
  const data = Float32Array.of(1, 2);
  const throws = (tensors, metadata, type, text) =>
    assert.throws(
      () => encodeSafetensors(tensors, metadata),
      (e) => e instanceof type && e.message.includes(text),
    );
  throws({ w: { shape: [3], data } }, {}, ShapeError, '"w" of shape [3] must have 3 elements, got 2');
  throws({ w: { shape: [-1, -2], data } }, {}, ShapeError, '"w"');
  throws({ w: { shape: [2], data: Float64Array.of(1, 2) } }, {}, DTypeError, "Float64Array");
  throws({ __metadata__: { shape: [2], data } }, {}, ArgumentError, "reserved");
  throws({}, { epoch: 3 }, ArgumentError, '"epoch" must be a string, got number');
});

test("every dtype reads as its nearest", () => {
  const cases = [
    ["BOOL", Uint8Array.of(1, 0, 1), Uint32Array.of(1, 0, 1)],
    ["U8", Uint8Array.of(0, 255), Int32Array.of(0, 255)],
    ["I8", Int8Array.of(-128, 127), Int32Array.of(-128, 127)],
    ["U16", Uint16Array.of(0, 65535), Int32Array.of(0, 65535)],
    ["I16", Int16Array.of(-32768, 7), Int32Array.of(-32768, 7)],
    ["U32", Uint32Array.of(4294967295), Uint32Array.of(4294967295)],
    ["I32", Int32Array.of(-2147483648), Int32Array.of(-2147483648)],
    ["F32", Float32Array.of(0.1, -Infinity), Float32Array.of(0.1, -Infinity)],
    ["F64", Float64Array.of(0.1, 1e-300, NaN, Infinity), Float32Array.of(0.1, 0, NaN, Infinity)],
    ["I64", BigInt64Array.of(-2147483648n, 2147483647n), Int32Array.of(-2147483648, 2147483647)],
    ["U64", BigUint64Array.of(0n, 4294967295n), Uint32Array.of(0, 4294967295)],
    ["BF16", Uint16Array.of(0x3f80, 0xc000, 0x7f80, 0x0001), Float32Array.of(1, -2, Infinity, 9.183549615799121e-41)],
    ["F16", Uint16Array.of(0x3c00, 0xc000, 0x7bff, 0xfc00), Float32Array.of(1, -2, 65504, -Infinity)],
  ];
  for (const [dtype, body, expected] of cases) {
    const tensor = decodeOne(dtype, [body.length], body);
    assert.is(tensor.dtype, dtype);
    assert.is(tensor.data.constructor, expected.constructor, dtype);
    assert.equal(Array.from(tensor.data), Array.from(expected), dtype);
  }
});

test("all 65536 halves", () => {
  const { data } = decodeOne(
    "F16",
    [65536],
    Uint16Array.from({ length: 65536 }, (_, i) => i),
  );
  for (let bits = 0; bits < 65536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    const expected =
      exponent === 31
        ? fraction
          ? NaN
          : sign * Infinity
        : exponent === 0
          ? sign * fraction * 2 ** -24
          : sign * (1024 + fraction) * 2 ** (exponent - 25);
    assert.ok(Object.is(data[bits], expected), `0x${bits.toString(16)}: ${data[bits]}, expected ${expected}`);
  }
});

test("elements that do not fit are refused, not rounded away", () => {
  refuses(one("I64", [2], BigInt64Array.of(1n, 2147483648n)), '"t"', "[-2^31, 2^31)", "2147483648 at 1");
  refuses(one("U64", [1], BigUint64Array.of(4294967296n)), '"t"', "4294967296");
  refuses(one("F64", [1], Float64Array.of(1e39)), '"t"', "1e+39");
  refuses(one("BOOL", [1], Uint8Array.of(2)), '"t"', "0 or 1", "2 at 0");
});

test("faults of the header", () => {
  refuses(new Uint8Array(0), "0 bytes");
  refuses(new Uint8Array(7), "7 bytes");
  const huge = new Uint8Array(16).fill(255);
  refuses(huge, "truncated or not safetensors", 'begins with "ÿÿÿÿÿÿÿÿ"');
  refuses(file(""), "empty header");
  refuses(file("[1]"), "must start with");
  refuses(file(" {}"), "must start with");
  refuses(file("{"), "JSON");
  for (const text of [
    '{"a"}',
    '{"a":}',
    '{"a":1',
    '{"a":1,}',
    "{,}",
    '{"a":1}}',
    "{a:1}",
    '{"a" 1}',
    '{"a":1]',
    "{}{}",
    '{"a',
    '{"a\\"',
    '{"a":{"b":1}',
    '{"a":"b}',
  ])
    refuses(file(text));
  refuses(file('{"a\xff":1}'.replace("\xff", "\u0001")), "JSON");
  const notUtf8 = file('{"aa":1}');
  notUtf8[10] = 0xff;
  refuses(notUtf8, "UTF-8");
  refuses(file("{} x"), "JSON");
  refuses(file(`{"a":${"[".repeat(200000)}`), "JSON");
});

test("faults of a tensor", () => {
  const body = new Uint8Array(8);
  const good = { dtype: "F32", shape: [2], data_offsets: [0, 8] };
  assert.is(decodeSafetensors(file({ t: good }, body)).tensors.size, 1);
  const bad = (change, ...parts) => refuses(file({ t: { ...good, ...change } }, body), '"t"', ...parts);
  bad({ dtype: "F31" }, "F32", "found F31");
  bad({ dtype: "toString" }, "found toString");
  bad({ dtype: undefined }, "dtype", "nothing");
  bad({ shape: [3] }, "needs 12 bytes", "8 bytes");
  bad({ shape: [-2] }, "shape", "[-2]");
  bad({ shape: [1.5] }, "shape", "[1.5]");
  bad({ shape: ["2"] }, "shape");
  bad({ shape: 2 }, "shape", "found 2");
  bad({ shape: [2 ** 53 - 1, 2 ** 53 - 1, 2 ** 53 - 1] }, "needs");
  bad({ shape: Array(400).fill(2 ** 53 - 1) }, "needs Infinity");
  bad({ data_offsets: [8, 0] }, "ordered", "[8,0]");
  bad({ data_offsets: [0, 9] }, "needs 8 bytes", "[0,9]");
  bad({ data_offsets: [0, -8] }, "data_offsets");
  bad({ data_offsets: [0] }, "data_offsets");
  bad({ data_offsets: [0, 4, 8] }, "data_offsets");
  refuses(file({ t: 1 }), '"t"', "found 1");
  refuses(file({ t: null }), '"t"', "found null");
});

test("tensors must tile the data", () => {
  const at = (begin, end) => ({ dtype: "U8", shape: [end - begin], data_offsets: [begin, end] });
  const body = new Uint8Array(8);
  assert.is(decodeSafetensors(file({ b: at(4, 8), e: at(4, 4), a: at(0, 4) }, body)).tensors.size, 3);
  refuses(file({ a: at(0, 4), b: at(5, 8) }, body), '"b"', "byte 4", "found 5", "hole");
  refuses(file({ a: at(0, 5), b: at(4, 8) }, body), '"b"', "byte 5", "found 4", "overlap");
  refuses(file({ a: at(1, 8) }, body), '"a"', "byte 0", "hole");
  refuses(file({ a: at(0, 7) }, body), "promises 7 bytes", "there are 8");
  refuses(file({ a: at(0, 9) }, body), "promises 9 bytes", "there are 8", "truncated");
  refuses(file({}, body), "promises 0 bytes", "there are 8");
  refuses(file({ a: at(0, 8), b: at(0, 8) }, body), "overlap");
});

test("keys are unique, metadata is text", () => {
  refuses(
    file('{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"\\u0061":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'),
    '"a" twice',
  );
  refuses(file('{"a":{"dtype":"F32","dtype":"I32","shape":[0],"data_offsets":[0,0]}}'), '"dtype" twice');
  refuses(file('{"__metadata__":{"k":"1","k" :"2"}}'), '"k" twice');
  refuses(file({ __metadata__: { k: 1 } }), '"k"', "found 1");
  refuses(file({ __metadata__: ["k"] }), "__metadata__", '["k"]');
  refuses(file({ __metadata__: null }), "__metadata__", "null");
  const repeatedValue = decodeSafetensors(file('{"__metadata__":{"a":"b","b":"b","c":"\\"a\\":{}\\\\"}}'));
  assert.equal(repeatedValue.metadata, { a: "b", b: "b", c: '"a":{}\\' });
});

const small = encodeSafetensors(
  { a: { shape: [2], data: Float32Array.of(1, 2) }, b: { shape: [1, 1], data: Int32Array.of(3) } },
  { k: "v" },
);

test("a file cut anywhere is refused", () => {
  for (let length = 0; length < small.length; length++) refuses(small.subarray(0, length));
  const longer = new Uint8Array(small.length + 1);
  longer.set(small);
  refuses(longer, "promises 12 bytes", "there are 13");
});

test("any changed byte gives a FileError or a sound decode", () => {
  const dataStart = small.length - 12;
  for (let at = 0; at < small.length; at++) {
    for (let xor = 1; xor < 256; xor++) {
      const bytes = small.slice();
      bytes[at] ^= xor;
      let decoded;
      try {
        decoded = decodeSafetensors(bytes);
      } catch (error) {
        assert.instance(error, FileError, `byte ${at} ^ ${xor}: ${error.stack}`);
        assert.ok(at < dataStart, "a changed element is still an element");
        continue;
      }
      let elements = 0;
      for (const { shape, data } of decoded.tensors.values()) {
        assert.is(
          data.length,
          shape.reduce((a, b) => a * b, 1),
        );
        elements += data.length;
      }
      assert.ok(elements <= 12, "no more elements than bytes");
    }
  }
});

const shared = process.env.LOCKSTEP_SHARED ?? fileURLToPath(new URL("../../../shared", import.meta.url));
const manifest = join(shared, "conformance/containers/manifest.json");

/** The elements as they stand in the file, so that they can be hashed. */
function fileBytes({ dtype, data }) {
  return new Uint8Array(dtype === "I64" ? BigInt64Array.from(data, BigInt).buffer : data.buffer);
}

if (existsSync(manifest)) {
  const folder = join(shared, "conformance/containers");
  const cases = JSON.parse(readFileSync(manifest, "utf8")).cases.filter((c) => c.file.endsWith(".safetensors"));
  test("the conformance manifest has safetensors cases", () => assert.ok(cases.length > 0));
  for (const { file: path, expect } of cases) {
    test(`conformance: ${path}`, async () => {
      const bytes = await readBytes(join(folder, path));
      if (expect === "error")
        return assert.throws(
          () => decodeSafetensors(bytes, path),
          (e) => e instanceof FileError,
        );
      const expected = JSON.parse(readFileSync(join(folder, expect), "utf8"));
      const { metadata, tensors } = decodeSafetensors(bytes, path);
      const raw = await readSafetensors(join(folder, path), { raw: true });
      assert.equal(metadata, expected.metadata ?? {});
      assert.equal([...tensors.keys()].sort(), Object.keys(expected.tensors).sort());
      for (const [name, want] of Object.entries(expected.tensors)) {
        const got = tensors.get(name);
        assert.is(got.dtype, want.dtype);
        assert.equal(got.shape, want.shape);
        assert.is(createHash("sha256").update(fileBytes(got)).digest("hex"), want.sha256, name);
        assert.is(createHash("sha256").update(raw.tensors.get(name).bytes).digest("hex"), want.sha256, name);
        assert.equal(Array.from(got.data.slice(0, want.first.length)), want.first);
      }
    });
  }
}

test.run();

/** lockstep/gguf: every kind of metadata, every type of elements against its definition, and files that are none. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ArgumentError, DTypeError, FileError } from "../../build/esm/errors.js";
import { dequantize, openGguf } from "../../build/esm/gguf/index.js";
import { Random } from "../../build/esm/random.js";
import { writeGguf } from "./writer.js";

async function refused(action, type, ...parts) {
  const error = await Promise.resolve()
    .then(action)
    .then(
      () => null,
      (e) => e,
    );
  assert.instance(error, type, String(error?.stack));
  for (const part of parts) assert.ok(error.message.includes(part), `"${error.message}" lacks "${part}"`);
}

const floats = (...values) => new Uint8Array(Float32Array.from(values).buffer);
const one = { name: "a", type: 0, shape: [2, 3], bytes: floats(1, 2, 3, 4, 5, 6) };

test("metadata of every kind, tensors in any order, with padding between them", async () => {
  const metadata = [
    ["u8", ["u8", 200]],
    ["i8", ["i8", -3]],
    ["u16", ["u16", 60000]],
    ["i16", ["i16", -30000]],
    ["u32", ["u32", 4e9]],
    ["i32", ["i32", -2e9]],
    ["f32", ["f32", 0.5]],
    ["bool", ["bool", true]],
    ["string", ["string", "grüße"]],
    ["u64", ["u64", 2n ** 60n]],
    ["i64", ["i64", -5]],
    ["f64", ["f64", Math.PI]],
    ["list", ["array", ["a", "", "b"], "string"]],
    ["numbers", ["array", [1, 2, 3], "i32"]],
    ["none", ["array", [], "f32"]],
    ["lists", ["array", [["array", [1], "u8"], ["array", [2, 3], "u8"]], "array"]],
  ];
  const file = await openGguf(writeGguf(metadata, [one, { name: "b", type: 1, shape: [1], bytes: Uint8Array.of(0, 0x3c) }]));
  assert.is(file.version, 3);
  const want = [
    200,
    -3,
    60000,
    -30000,
    4e9,
    -2e9,
    0.5,
    true,
    "grüße",
    2n ** 60n,
    -5,
    Math.PI,
    ["a", "", "b"],
    [1, 2, 3],
    [],
    [[1], [2, 3]],
  ];
  assert.equal([...file.metadata.values()], want);
  assert.equal(await file.read("a"), { type: "F32", shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) });
  assert.equal((await file.read("b")).data, Float32Array.of(1));
  assert.equal([...(await file.readBytes("a", 4, 8))], [...floats(2)]);
  await refused(() => file.read("c"), FileError, '"c"');
  await refused(() => file.readBytes("a", 4, 25), ArgumentError, "24 bytes");
});

test("metadata larger than what is read at first, and of a source of one's own", async () => {
  const many = Array.from({ length: 40000 }, (_, i) => `token ${i}`);
  const bytes = writeGguf([["tokens", ["array", many, "string"]]], [one]);
  const source = { name: "mine", size: bytes.length, read: async (a, b) => bytes.subarray(a, b) };
  for (const given of [bytes, source]) {
    const file = await openGguf(given);
    assert.equal(file.metadata.get("tokens"), many);
    assert.equal([...(await file.read("a")).data], [1, 2, 3, 4, 5, 6]);
  }
});

/** A half as a number. */
function half(bytes, at) {
  const bits = bytes[at] | (bytes[at + 1] << 8);
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}
const int8 = (b) => (b > 127 ? b - 256 : b);
/** 6 bits each of scale and minimum, as the format defines them. */
const scales = (b, j) =>
  j < 4 ? [b[j] & 63, b[j + 4] & 63] : [(b[j + 4] & 15) | ((b[j - 4] >> 6) << 4), (b[j + 4] >> 4) | ((b[j] >> 6) << 4)];

/** Element i of a block, in double, by the definition of its type. */
const DEFINED = {
  Q4_0: [32, 18, (b, i) => (((i < 16 ? b[2 + i] : b[2 + i - 16] >> 4) & 15) - 8) * half(b, 0)],
  Q4_1: [32, 20, (b, i) => ((i < 16 ? b[4 + i] : b[4 + i - 16] >> 4) & 15) * half(b, 0) + half(b, 2)],
  Q8_0: [32, 34, (b, i) => int8(b[2 + i]) * half(b, 0)],
  Q4_K: [
    256,
    144,
    (b, i) => {
      const [scale, least] = scales(b.subarray(4, 16), Math.floor(i / 32));
      const byte = b[16 + Math.floor(i / 64) * 32 + (i % 32)];
      return half(b, 0) * scale * (i % 64 < 32 ? byte & 15 : byte >> 4) - half(b, 2) * least;
    },
  ],
  Q5_K: [
    256,
    176,
    (b, i) => {
      const [scale, least] = scales(b.subarray(4, 16), Math.floor(i / 32));
      const byte = b[48 + Math.floor(i / 64) * 32 + (i % 32)];
      const high = (b[16 + (i % 32)] >> Math.floor(i / 32)) & 1;
      return half(b, 0) * scale * ((i % 64 < 32 ? byte & 15 : byte >> 4) + 16 * high) - half(b, 2) * least;
    },
  ],
  Q6_K: [
    256,
    210,
    (b, i) => {
      const [part, within] = [Math.floor(i / 128), i % 128];
      const byte = b[part * 64 + (within % 64)];
      const low = within < 64 ? byte & 15 : byte >> 4;
      const high = (b[128 + part * 32 + (within % 32)] >> (2 * Math.floor(within / 32))) & 3;
      return half(b, 208) * int8(b[192 + Math.floor(i / 16)]) * (low + 16 * high - 32);
    },
  ],
};

for (const [type, [size, bytes, element]] of Object.entries(DEFINED))
  test(`${type}: blocks as their definition`, () => {
    const blocks = Uint8Array.from(new Random(5).uniform(bytes * 40), (v) => Math.floor(v * 256));
    // Scales that are numbers.
    const halves = { Q4_1: [0, 2], Q4_K: [0, 2], Q5_K: [0, 2], Q6_K: [208] }[type] ?? [0];
    for (let b = 0; b < 40; b++) for (const at of halves) blocks[b * bytes + at + 1] &= 0xbb;
    const got = dequantize(type, blocks);
    assert.is(got.length, 40 * size);
    got.forEach((v, i) => {
      const want = element(blocks.subarray(Math.floor(i / size) * bytes), i % size);
      // What is subtracted may be larger than what is left.
      const least = /^(Q4_1|Q4_K|Q5_K)$/.test(type) ? 64 * Math.abs(half(blocks, Math.floor(i / size) * bytes + 2)) : 0;
      assert.ok(Math.abs(v - want) <= 3e-7 * Math.abs(want) + 2e-7 * least, `${type} ${i}: ${v}, expected ${want}`);
    });
    const out = new Float32Array(40 * size + 5);
    assert.is(dequantize(type, blocks, out), out);
    assert.equal(out.subarray(0, got.length), got);
  });

test("halves, and what is no number of a type", async () => {
  assert.equal([...dequantize("F16", Uint8Array.of(0, 0xc0, 1, 0, 0, 0x7c))], [-2, 2 ** -24, Infinity]);
  assert.equal([...dequantize("BF16", Uint8Array.of(0x80, 0x3f, 0x20, 0xc1))], [1, -10]);
  await refused(() => dequantize("Q2_K", new Uint8Array(84)), DTypeError, "Q2_K");
  await refused(() => dequantize("Q8_0", new Uint8Array(33)), ArgumentError, "whole blocks");
  await refused(() => dequantize("Q8_0", new Uint8Array(34), new Float32Array(31)), ArgumentError, "32");
  const file = await openGguf(writeGguf([], [{ name: "q", type: 10, shape: [256], bytes: new Uint8Array(84) }]));
  assert.is(file.tensors.get("q").type, "Q2_K");
  await refused(() => file.read("q"), DTypeError, "Q2_K");
  assert.is((await file.readBytes("q")).length, 84);
});

const long = { ...one, name: "b" };
const REFUSED = [
  ["another beginning", writeGguf([], [one], { magic: "GGML" }), "GGUF"],
  ["another version", writeGguf([], [one], { version: 1 }), "version 1"],
  ["a big-endian file", writeGguf([], [one], { version: 0x3000000 }), "big-endian"],
  ["a key that stands there twice", writeGguf([["a", ["u8", 1]], ["a", ["u8", 2]]], []), '"a"', "twice"],
  ["a tensor that stands there twice", writeGguf([], [one, one]), '"a"', "twice"],
  ["tensors that overlap", writeGguf([], [one, { ...long, offset: 0 }]), '"b"', "within"],
  ["a tensor that is not aligned", writeGguf([], [one, { ...long, offset: 33 }]), "aligned"],
  ["a tensor behind the end", writeGguf([], [one, { ...long, offset: 64 }]), "truncated"],
  ["a type that is not known", writeGguf([], [{ ...one, type: 77 }]), "type 77"],
  ["five dimensions", writeGguf([], [{ ...one, shape: [1, 1, 1, 2, 3] }]), "5 dimensions"],
  ["rows that are no whole blocks", writeGguf([], [{ ...one, type: 8, shape: [2, 48] }]), "whole blocks"],
  ["a shape larger than numbers", writeGguf([], [{ ...one, shape: [2n ** 40n, 2n ** 40n] }]), "shape"],
  ["an alignment that is none", writeGguf([["general.alignment", ["u32", 7]]], [one]), "general.alignment"],
  ["nothing", new Uint8Array(0), "truncated"],
];
for (const [what, bytes, ...parts] of REFUSED) test(`refused: ${what}`, () => refused(() => openGguf(bytes), FileError, ...parts));

test("every beginning of a file is refused", async () => {
  const bytes = writeGguf([["list", ["array", ["a", "b"], "string"]], ["n", ["f64", 1]]], [one]);
  for (let n = 0; n < bytes.length - 8; n++) await refused(() => openGguf(bytes.subarray(0, n)), FileError);
});

test.run();

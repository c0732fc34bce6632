/** Tests of tensors: making them, reading them, replacing elements, giving them back, and the errors that say what is wrong. */
import { inspect } from "node:util";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open } from "../build/esm/init.js";
import { add, cast, mul } from "../build/esm/ops/map.js";
import { emptyOn } from "../build/esm/empty.js";
import { compile } from "../build/esm/compile.js";
import { broadcastTo, iota, reshape, transpose } from "../build/esm/ops/move.js";
import { randomNormal } from "../build/esm/ops/random.js";
import { oneHot } from "../build/esm/ops/softmax.js";
import { matmul } from "../build/esm/ops/matmul.js";
import { sum } from "../build/esm/ops/reduce.js";
import { Tensor, full, ones, tensor, zeros } from "../build/esm/tensor.js";

const backend = await open("wasm");

async function rejects(promise, name, pattern) {
  try {
    await promise;
  } catch (error) {
    assert.is(error.name, name);
    assert.match(error.message, pattern);
    return;
  }
  assert.unreachable("nothing was thrown");
}

test("shape and dtype come from the data", async () => {
  for (const [data, shape, dtype] of [
    [5, [], "f32"],
    [true, [], "bool"],
    [[], [0], "f32"],
    [[1, 2, 3], [3], "f32"],
    [[[1, 2], [3, 4], [5, 6]], [3, 2], "f32"],
    [[[[1]]], [1, 1, 1], "f32"],
    [[[], []], [2, 0], "f32"],
    [[true, false], [2], "bool"],
    [Float32Array.of(1, 2), [2], "f32"],
    [Int32Array.of(1), [1], "i32"],
    [Uint32Array.of(1), [1], "u32"],
    [Uint8Array.of(1, 255), [2], "i32"],
    [Float64Array.of(0.5), [1], "f32"],
  ]) {
    const t = tensor(data);
    assert.equal(t.shape, shape);
    assert.is(t.dtype, dtype);
    assert.is(
      t.size,
      shape.reduce((a, d) => a * d, 1),
    );
    assert.is(t.rank, shape.length);
  }
  assert.equal(await tensor([[1, 2], [3, 4]]).array(), [[1, 2], [3, 4]]);
  assert.is(await tensor(7).array(), 7);
  assert.equal(await tensor([[], []]).array(), [[], []]);
});

test("a shape and a dtype can be given", async () => {
  assert.equal(await tensor(Float32Array.of(1, 2, 3, 4), [2, 2]).array(), [[1, 2], [3, 4]]);
  assert.equal(await tensor([1, 2, 3, 4], [2, 2]).array(), [[1, 2], [3, 4]]);
  assert.equal([...(await tensor([1.9, -1.9], undefined, "i32").data())], [1, -1]);
  assert.equal([...(await tensor(Float32Array.of(0, 2, NaN), undefined, "bool").data())], [0, 1, 1]);
  assert.equal([...(await tensor([1, 2]).data())], [1, 2]);
  assert.ok((await tensor([1], undefined, "u32").data()) instanceof Uint32Array);
});

test("a typed array of the dtype is not copied", async () => {
  const data = Float32Array.of(1, 2);
  assert.is(await tensor(data).data(), data);
});

test("bytes are i32 elements that take one byte each: on the host, on a device, and under another shape", async () => {
  for (const data of [Uint8Array.of(9, 0, 255, 128, 1, 2).subarray(1), Uint8ClampedArray.of(0, 255, 128, 1, 2)]) {
    const t = tensor(data, [5, 1]);
    assert.is(t.dtype, "i32");
    assert.is(String(t), "i32:u8[5, 1]");
    assert.equal(await t.data(), Int32Array.of(0, 255, 128, 1, 2));
    assert.equal(await t.array(), [[0], [255], [128], [1], [2]]);
    assert.is(t.host.buffer, data.buffer, "not copied");
    const before = backend.memory().bytes;
    const buffer = t.upload(backend);
    assert.is(buffer.bytes, 8);
    const used = backend.memory().bytes - before;
    assert.ok(used <= 64);
    assert.equal([...new Uint8Array(await backend.read(buffer, 0, 8))].slice(0, 5), [0, 255, 128, 1, 2]);
    // Where it is has no say in what is computed.
    assert.equal([...(await add(t, 1).data())], [1, 256, 129, 2, 3]);
    assert.equal(await cast(reshape(t, [5]), "f32").data(), Float32Array.of(0, 255, 128, 1, 2));
    assert.equal([...(await sum(t).data())], [386]);
    const held = backend.memory().bytes;
    t.dispose();
    assert.is(held - backend.memory().bytes, used);
  }
  assert.is(await tensor(Uint8Array.of(7)).item(), 7);
  // Another dtype has words, as other arrays have.
  assert.is(String(tensor(Uint8Array.of(1, 2), undefined, "f32")), "f32[2]");
  assert.is(String(tensor(Uint8Array.of(0, 2), undefined, "bool")), "bool[2]");
  assert.is(String(tensor(Int8Array.of(-1))), "i32[1]");
});

test("set keeps bytes bytes and words words", async () => {
  const bytes = tensor(Uint8Array.of(1, 2, 3));
  const words = tensor(Int32Array.of(1, 2, 3));
  for (const t of [bytes, words]) {
    const own = String(t);
    t.upload(backend);
    for (const [data, want] of [[Uint8Array.of(4, 5, 255), [4, 5, 255]], [Int32Array.of(7, 0, 9), [7, 0, 9]], [[1, 2, 250], [1, 2, 250]]]) {
      t.set(data);
      assert.is(String(t), own);
      assert.equal(await t.data(), Int32Array.from(want));
      assert.equal(
        [...(await mul(t, 2).data())],
        want.map((v) => 2 * v),
        own,
      );
    }
  }
  words.set(Int32Array.of(-1, 256, 3));
  for (const wrong of [Int32Array.of(1, 256, 3), [1, -1, 3]])
    assert.throws(
      () => bytes.set(wrong),
      (e) => e.name === "DataError" && /holds 0 to 255, got (256|-1) in element 1/.test(e.message),
    );
  assert.equal([...(await bytes.data())], [1, 2, 250], "nothing has changed");
});

test("what cannot be a tensor says why", () => {
  for (const [make, name, pattern] of [
    [() => tensor([[1, 2], [3]]), "ShapeError", /equally long: expected 2 items at \[1\], got 1/],
    [() => tensor([[1, 2], 3]), "ShapeError", /got number/],
    [() => tensor([1, [2]]), "DataError", /expected a number at \[1\], got an array/],
    [() => tensor([1, "2"]), "DataError", /got "2"/],
    [() => tensor([1, undefined]), "DataError", /got undefined/],
    [() => tensor(null), "ArgumentError", /got null/],
    [() => tensor("text"), "ArgumentError", /got "text"/],
    [() => tensor({ length: 2 }), "ArgumentError", /got an object with length/],
    [() => tensor(Float32Array.of(1, 2, 3), [2, 2]), "ShapeError", /\[2, 2\] has 4 elements, the data has 3/],
    [() => tensor([1, 2, 3], [2, 2]), "ShapeError", /\[2, 2\] has 4 elements, the data has 3/],
    [() => tensor(Float32Array.of(1), [-1]), "ShapeError", /non-negative integer, got \[-1\]/],
    [() => zeros([1.5]), "ShapeError", /non-negative integer/],
    [() => tensor(new DataView(new ArrayBuffer(4))), "ArgumentError", /got a DataView/],
  ]) {
    assert.throws(make, (e) => e.name === name && pattern.test(e.message), String(make));
  }
});

test("full, zeros, ones, iota", async () => {
  assert.equal(await full([2, 2], 3).array(), [[3, 3], [3, 3]]);
  assert.equal([...(await zeros([3], "i32").data())], [0, 0, 0]);
  assert.equal(await ones([]).array(), 1);
  assert.equal(await iota([2, 3]).array(), [[0, 1, 2], [0, 1, 2]]);
  assert.equal(await iota([2, 3], { axis: 0, dtype: "f32" }).array(), [[0, 0, 0], [1, 1, 1]]);
});

test("item", async () => {
  assert.is(await tensor([[5]]).item(), 5);
  await rejects(tensor([1, 2]).item(), "ShapeError", /one element, got \[2\]; use data\(\)/);
});

test("a tensor is no number and no condition", () => {
  const t = tensor([1, 2]);
  assert.is(String(t), "f32[2]");
  assert.is(`${t}`, "f32[2]");
  for (const use of [() => +t, () => t * 2, () => t > 0, () => t + 1, () => `${t - 1}`])
    assert.throws(use, (e) => e.name === "LockstepError" && /used as a JavaScript number/.test(e.message));
});

test("ops outside of a compiled function run at once and can be chained", async () => {
  const x = tensor([[1, 2], [3, 4]]);
  const y = add(matmul(x, transpose(x)), 1);
  assert.equal(y.shape, [2, 2]);
  assert.equal(await y.array(), [[6, 12], [12, 26]]);
  assert.is(await sum(reshape(y, [4])).item(), 56);
  assert.equal([...(await cast(mul(x, 1.5), "i32").data())], [1, 3, 4, 6]);
});

test("ops outside of a compiled function take operands of every dtype and size 0", async () => {
  assert.equal([...(await add(tensor(Int32Array.of(1, 2)), 3).data())], [4, 5]);
  assert.equal((await add(zeros([0, 3]), 1).data()).length, 0);
});

test("errors of ops are thrown where the op is called", () => {
  assert.throws(
    () => add(tensor([1, 2]), tensor([1, 2, 3])),
    (e) => e.name === "ShapeError" && /add: shapes \[2\] and \[3\] do not broadcast/.test(e.message),
  );
  assert.throws(
    () => add(tensor(Uint32Array.of(1)), tensor(Int32Array.of(1))),
    (e) => e.name === "DTypeError" && /no common dtype of 32 bits, got u32\[1\] and i32\[1\]/.test(e.message),
  );
});

test("set replaces elements on the host and on the device", async () => {
  const t = tensor([1, 2, 3]);
  t.upload(backend);
  t.set([4, 5, 6]);
  assert.equal(await t.array(), [4, 5, 6]);
  assert.equal([...new Float32Array(await backend.read(t.on(backend), 0, 12))], [4, 5, 6]);
  t.set(Float32Array.of(7, 8, 9));
  assert.equal(await t.array(), [7, 8, 9]);
  const m = zeros([2, 2]);
  m.set(Float32Array.of(1, 2, 3, 4));
  assert.equal(await m.array(), [[1, 2], [3, 4]]);
  assert.throws(
    () => t.set([1, 2]),
    (e) => e.name === "ShapeError" && /expected \[3\], got \[2\]/.test(e.message),
  );
  assert.throws(() => m.set([1, 2, 3, 4]), /expected \[2, 2\], got \[4\]/);
  const n = zeros([2], "i32");
  n.set([1.7, -1.7]);
  assert.equal([...(await n.data())], [1, -1]);
  t.dispose();
});

test("set of a part writes from an offset on, on the host and on the device", async () => {
  const t = tensor([1, 2, 3, 4, 5, 6], [2, 3]);
  const read = await t.data();
  t.set(Float32Array.of(7, 8), 2);
  assert.equal([...(await t.data())], [1, 2, 7, 8, 5, 6]);
  assert.equal([...read], [1, 2, 3, 4, 5, 6], "what was read stays");
  const y = compile((x) => add(x, 1));
  assert.equal([...(await (await y(t)).data())], [2, 3, 8, 9, 6, 7]);
  t.set(Float32Array.of(0), 5);
  assert.equal([...(await (await y(t)).data())], [2, 3, 8, 9, 6, 1]);
  t.set(new Float32Array(0), 6);
  assert.throws(() => t.set(Float32Array.of(1, 2), 5), /2 elements from 5 on are more than the 6/);
  assert.throws(() => t.set(Int32Array.of(1), 0), /set: part of f32\[2, 3\] is set from an array of its own kind/);
  assert.throws(() => t.set([1], 0), /its own kind/);
  assert.throws(() => t.set(Float32Array.of(1), -1), /offset/);
  assert.throws(() => tensor(Uint8Array.of(1, 2)).set(Int32Array.of(1), 0), /its own kind/);
});

test("emptyOn: elements come piece by piece, and are on the backend alone", async () => {
  const backend = await open("wasm", { threads: 1 });
  const before = backend.memory().bytes;
  const t = await emptyOn(backend, [2, 2], "i32");
  assert.is(t.toString(), "i32[2, 2]");
  t.set(Int32Array.of(3, 4), 2);
  t.set(Int32Array.of(1, 2), 0);
  assert.is(t.host, null);
  assert.equal([...(await t.data())], [1, 2, 3, 4]);
  t.dispose();
  assert.is(backend.memory().bytes, before);
  await rejects(emptyOn(backend, [-1]), "ShapeError", /emptyOn/);
  await rejects(emptyOn(backend, [2 ** 29, 2 ** 2]), "ShapeError", /emptyOn/);
  const kept = await emptyOn(backend, [1]);
  kept.set(Float32Array.of(5), 0);
  await backend.close();
  assert.is(await kept.item(), 5);
});

test("set while an op outside of a compiled function is still computing the old elements", async () => {
  const t = add(tensor([1, 2]), 1);
  t.set([9, 9]);
  assert.equal(await t.array(), [9, 9]);
});

test("upload once; dispose gives the bytes back; both are harmless when repeated", async () => {
  const before = backend.memory();
  const t = tensor([1, 2, 3]);
  assert.is(t.upload(backend), t.upload(backend));
  assert.is(backend.memory().buffers, before.buffers + 1);
  t.dispose();
  t.dispose();
  assert.equal(backend.memory(), before);
  await rejects(t.data(), "LockstepError", /was disposed/);
  assert.throws(() => t.set([1, 2, 3]), /was disposed/);
  assert.throws(() => t.upload(backend), /was disposed/);
});

test("[Symbol.dispose] is dispose, for `using`", async () => {
  const t = tensor([1]);
  t.upload(backend);
  t[Symbol.dispose]();
  await rejects(t.item(), "LockstepError", /disposed/);
});

test("two backends: a tensor moves when its elements are on the host", async () => {
  const other = await open("wasm");
  const t = tensor([1, 2]);
  t.upload(backend);
  const live = backend.memory().buffers;
  assert.ok(t.upload(other));
  assert.is(t.on(backend), null);
  assert.is(backend.memory().buffers, live - 1, "the old copy is given back");
  t.markDeviceNewer();
  assert.throws(
    () => t.upload(backend),
    (e) => e.name === "LockstepError" && /on the backend "wasm"; await data\(\)/.test(e.message),
  );
  assert.equal(await t.array(), [1, 2]);
  assert.ok(t.upload(backend));
});

test("elements that are gone are an error", async () => {
  await rejects(new Tensor([2], "f32", null, 0, null).data(), "LockstepError", /elements are gone/);
});

test("integers in nested arrays are kept or refused, never changed", async () => {
  for (const data of [
    16777217,
    [16777217],
    [[1, -16777217]],
    [2147483647],
    [123456789, 0],
    Float64Array.of(16777217),
    [Float64Array.of(1, 16777217)],
  ]) {
    assert.throws(
      () => tensor(data),
      (e) => e.name === "DataError" && /^tensor: the integer -?\d+ would become -?\d+ as f32; give the dtype/.test(e.message),
      String(data),
    );
    const exact = tensor(data, undefined, "i32");
    assert.equal(
      [...(await exact.data())],
      [data].flat(2).flatMap((x) => (typeof x === "number" ? [x] : [...x])),
    );
    assert.is(tensor(data, undefined, "f32").dtype, "f32", "f32 was asked for");
  }
  assert.throws(() => full([2], 16777217), /^DataError|would become 16777216/);
  assert.equal([...(await tensor([4294967295], undefined, "u32").data())], [4294967295]);
  // What f32 holds, numbers with fractions among them, and what no integer is exact in.
  assert.equal([...(await tensor([16777216, 33554432, 2 ** 40, 1e30]).data())], [16777216, 33554432, 2 ** 40, Math.fround(1e30)]);
  assert.equal([...(await tensor([16777217, 0.5]).data())], [16777216, 0.5]);
});

test("numbers out of a dtype's range are refused, never wrapped", async () => {
  for (const [data, dtype] of [
    [[3e9], "i32"],
    [[-2147483649], "i32"],
    [[2147483648], "i32"],
    [[NaN], "i32"],
    [[Infinity], "i32"],
    [[-1], "u32"],
    [[4294967296], "u32"],
    [[NaN], "u32"],
    [Uint32Array.of(4294967295), "i32"],
    [Int32Array.of(-1), "u32"],
    [Float32Array.of(3e9), "i32"],
    [Float64Array.of(NaN), "u32"],
    [Float64Array.of(1e300), "i32"],
  ]) {
    const refused = (e) => e.name === "DataError" && /out of the range of [iu]32, -?\d+ to \d+/.test(e.message);
    assert.throws(() => tensor(data, undefined, dtype), refused, `${data} ${dtype}`);
    assert.throws(() => zeros([1], dtype).set(data), refused, `set ${data} ${dtype}`);
    if (Array.isArray(data)) assert.throws(() => full([1], data[0], dtype), refused, `full ${data} ${dtype}`);
  }
  assert.equal([...(await tensor([2147483647, -2147483648, -0.5, 1.9], undefined, "i32").data())], [2147483647, -2147483648, 0, 1]);
  assert.equal([...(await tensor([4294967295.9, -0.9], undefined, "u32").data())], [4294967295, 0]);
});

test("bools are 0 and 1 whatever they came from, and bools alone", async () => {
  for (const [data, dtype, values] of [
    [[2, 0.5, 0, -1], "bool", [1, 1, 0, 1]],
    [Uint32Array.of(5, 0), "bool", [1, 0]],
    [Uint8Array.of(255, 0), "bool", [1, 0]],
    [[true, 2], undefined, [1, 2]],
    [[2, true], undefined, [2, 1]],
    [true, "i32", [1]],
  ]) {
    const t = tensor(data, undefined, dtype);
    assert.equal([...(await t.data())], values);
    assert.is(t.dtype, dtype ?? "f32");
  }
  const same = Uint32Array.of(0, 1);
  assert.is(await tensor(same, undefined, "bool").data(), same);
  assert.is(full([1], true).dtype, "bool");
});

test("rows may be typed arrays; half floats are f32; 64-bit integers are refused", async () => {
  assert.equal(await tensor([Float32Array.of(1, 2), Float32Array.of(3, 4)]).array(), [[1, 2], [3, 4]]);
  assert.equal(await tensor([[Uint8Array.of(1)], [Uint8Array.of(255)]]).array(), [[[1]], [[255]]]);
  assert.throws(
    () => tensor([Float32Array.of(1, 2), Float32Array.of(3)]),
    (e) => e.name === "ShapeError" && /expected 2 items at \[1\], got 1/.test(e.message),
  );
  if (globalThis.Float16Array) assert.equal([...(await tensor(globalThis.Float16Array.of(0.5, -1)).data())], [0.5, -1]);
  for (const data of [BigInt64Array.of(1n), [BigInt64Array.of(1n)], [1n], 1n])
    assert.throws(
      () => tensor(data),
      (e) => /^(DType|Data|Argument)Error$/.test(e.name),
    );
});

test("arrays that hold themselves or are too deep are an error", () => {
  const first = [];
  first.push(first);
  const later = [1];
  later.push(later);
  let deep = 1;
  for (let i = 0; i < 1e5; i++) deep = [deep];
  let wide = [1, 1];
  for (let i = 0; i < 60; i++) wide = [wide, wide];
  for (const [data, name, pattern] of [
    [first, "DataError", /nested more than 64 deep; one may hold itself/],
    [deep, "DataError", /more than 64 deep/],
    [later, "DataError", /got an array/],
    [wide, "ShapeError", /a tensor has at most/],
  ]) {
    assert.throws(
      () => tensor(data),
      (e) => e.name === name && pattern.test(e.message),
    );
    assert.throws(
      () => add(data, 1),
      (e) => e.name === name && e.message.startsWith("add: "),
    );
    assert.throws(
      () => zeros([1]).set(data),
      (e) => e.name === name && e.message.startsWith("set: "),
    );
  }
  assert.is(tensor(Array.from({ length: 64 }).reduce((x) => [x], 1)).rank, 64);
});

test("what no backend can hold is refused with numbers, before any memory is taken", () => {
  const key = tensor(Uint32Array.of(1, 2, 3, 4));
  for (const [make, who] of [
    [() => zeros([2 ** 32]), "zeros"],
    [() => ones([2 ** 16, 2 ** 16]), "ones"],
    [() => full([2 ** 32], 1, "i32"), "full"],
    [() => tensor([1], [2 ** 32]), "tensor"],
    [() => iota([2 ** 32]), "iota"],
    [() => broadcastTo(1, [2 ** 32]), "broadcastTo"],
    [() => randomNormal(key, [2 ** 32]), "random"],
    [() => oneHot(iota([2 ** 16]), 2 ** 16), "equal"],
    [() => add(zeros([2 ** 16, 1]), zeros([2 ** 16])), "add"],
    [() => matmul(zeros([2 ** 16, 1]), zeros([1, 2 ** 16])), "matmul"],
  ]) {
    assert.throws(
      make,
      (e) =>
        e.name === "ShapeError" &&
        e.message.startsWith(`${who}: [`) &&
        /has 4294967296 elements, a tensor has at most 1073741823 \(4 GiB\)/.test(e.message),
      who,
    );
  }
  for (const shape of [5, "2", null, [-1], [NaN], [1.5], ["2"]]) {
    for (const make of [zeros, ones, (s) => full(s, 1), (s) => iota(s), (s) => broadcastTo(1, s), (s) => randomNormal(key, s)])
      assert.throws(
        () => make(shape),
        (e) => e.name === "ShapeError",
        String(shape),
      );
  }
  for (const use of [
    () => zeros([1], "float32"),
    () => full([1], "1"),
    () => full([1], null),
    () => tensor([1], [1], "f64"),
    () => iota([1], { dtype: "f64" }),
    () => cast(tensor([1]), "int"),
  ]) {
    assert.throws(use, (e) => e.name === "ArgumentError", String(use));
  }
  assert.throws(() => iota([1], { type: "f32" }), /iota: unknown option "type"/);
});

test("console.log shows dtype, shape and elements; print brings them", async () => {
  for (const [t, text] of [
    [tensor([[1, 2.5], [0.1, 1e-7]]), "Tensor f32[2, 2]\n[[1, 2.5],\n [0.1, 1e-7]]"],
    [tensor(3), "Tensor f32[] 3"],
    [tensor([true, false]), "Tensor bool[2] [true, false]"],
    [tensor(Int32Array.of(2147483647, -5)), "Tensor i32[2] [2147483647, -5]"],
    [tensor([16777216, 1 / 3, NaN, Infinity, -0]), "Tensor f32[5] [16777216, 0.33333334, NaN, Infinity, 0]"],
    [tensor([[[1], [2]], [[3], [4]]]), "Tensor f32[2, 2, 1]\n[[[1],\n  [2]],\n\n [[3],\n  [4]]]"],
    [zeros([0]), "Tensor f32[0] []"],
    [iota([1001]), "Tensor i32[1001] [0, 1, 2, ..., 998, 999, 1000]"],
    [iota([1000]), `Tensor i32[1000] [${Array.from({ length: 1000 }, (_, k) => k).join(", ")}]`],
    [
      iota([7, 200], { axis: 0 }),
      "Tensor i32[7, " +
        `200]\n[${[0, 1, 2, "...", 4, 5, 6].map((r) => (r === "..." ? r : `[${r}, ${r}, ${r}, ..., ${r}, ${r}, ${r}]`)).join(",\n ")}]`,
    ],
    [iota([2, 600]), "Tensor i32[2, 600]\n[[0, 1, 2, ..., 597, 598, 599],\n [0, 1, 2, ..., 597, 598, 599]]"],
  ])
    assert.is(inspect(t), text);
  assert.match(inspect({ t: tensor([1, 2]) }), /t: Tensor f32\[2\] \[1, 2\]/);
  const later = add(tensor([1, 2]), 1);
  assert.is(inspect(later), "Tensor f32[2] (await print() shows its elements)");
  const { log } = console;
  const lines = [];
  console.log = (...args) => lines.push(args.join(" "));
  try {
    await later.print();
  } finally {
    console.log = log;
  }
  assert.equal(lines, ["Tensor f32[2] [2, 3]"]);
  let traced = "";
  await compile((x) => {
    traced = inspect(x);
    return x;
  })(tensor([1]));
  assert.is(traced, "Tensor f32[1] (traced)");
  const gone = tensor([1]);
  gone.dispose();
  assert.match(inspect(gone), /^Tensor f32\[1\] /);
  assert.throws(
    () => JSON.stringify({ weights: later }),
    (e) => e.name === "LockstepError" && /await array\(\)/.test(e.message),
  );
});

test.run();

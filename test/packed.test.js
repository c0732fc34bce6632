/** @file Tests of packed weights: what is stored, what tensors that are packed can do, and what is refused. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ArgumentError, DataError, DTypeError, LockstepError, ShapeError } from "../build/esm/errors.js";
import { assign, compile, gradients, matmul, mul, ops, pack, Packer, sum, tensor, useBackend } from "../build/esm/index.js";
import { Graph, trace } from "../build/esm/graph.js";
import { buildPlan } from "../build/esm/plan/build.js";
import { FORMATS, fromHalf, isHalves, toBfloat, toHalf } from "../build/esm/packed/layout.js";
import { element, isPacked } from "./reference/packed.js";
import { referenceBackend } from "./reference/index.js";

const { reshape } = ops;

useBackend(referenceBackend());

const wave = (n, step) => Float32Array.from({ length: n }, (_, i) => Math.sin(i * step) * 3);

async function rejects(promise, type, pattern) {
  try {
    await promise();
  } catch (error) {
    assert.instance(error, type, error.message);
    assert.match(error.message, pattern);
    return;
  }
  assert.unreachable("it was accepted");
}

/** Largest error relative to the largest element, by format. */
const WITHIN = { f16: 2 ** -11, bf16: 2 ** -8, q8: 0.5 / 127 + 0.002, q4: 0.08, q4m: 0.07 };

for (const format of FORMATS)
  test(`${format}: elements come back, and the file's bytes say the same`, async () => {
    const x = tensor(wave(64 * 7, 1.3), [64, 7]);
    for (const axis of [0, 1]) {
      const whole = axis === 0 ? x : tensor(wave(7 * 64, 0.7), [7, 64]);
      const packed = await pack(whole, format, { axis });
      const [got, want] = [await packed.data(), await whole.data()];
      want.forEach((v, i) => assert.ok(Math.abs(v - got[i]) <= 3 * WITHIN[format], `${i}: ${got[i]}, ${v}`));
      assert.is(packed.dtype, "f32");
      assert.equal(packed.shape, whole.shape);
      assert.ok(isPacked(packed.storage));
      assert.is(String(packed), `f32:${format}${axis === 0 ? ".T" : ""}[${whole.shape.join(", ")}]`);
      const packer = new Packer(format, 7, 64);
      const row = (r) => Float32Array.from({ length: 64 }, (_, i) => (axis === 0 ? want[i * 7 + r] : want[r * 64 + i]));
      for (let r = 6; r >= 0; r--) packer.row(r, row(r));
      for (let r = 0; r < 7; r++)
        for (let i = 0; i < 64; i++)
          assert.is(Math.fround(element(packer.bytes, { format, rows: 7, k: 64 }, r, i)), got[axis === 0 ? i * 7 + r : r * 64 + i]);
    }
  });

test("halves round to the nearest, ties to even, and come back", () => {
  for (let h = 0; h < 0x7c00; h++) assert.is(toHalf("", fromHalf(h)), h);
  assert.is(toHalf("", -2), 0xc000);
  assert.is(toHalf("", 1 + 2 ** -11), 0x3c00);
  assert.is(toHalf("", 1 + 3 * 2 ** -11), 0x3c02);
  assert.is(toHalf("", 65519), 0x7bff);
  assert.is(toHalf("", 2 ** -25), 0);
  assert.is(toHalf("", 3 * 2 ** -26), 1);
  assert.is(toBfloat("", 1 + 2 ** -8), 0x3f80);
  assert.is(toBfloat("", 1 + 3 * 2 ** -8), 0x3f82);
  assert.throws(() => toHalf("pack", 65520), /beyond f16/);
  assert.throws(() => toBfloat("pack", Infinity), /beyond bf16/);
});

test("blocks of other files are kept as they are", async () => {
  const q = Int8Array.from({ length: 32 }, (_, i) => i * 8 - 127);
  const packer = new Packer("q8", 2, 32);
  packer.block(0, 0, q, 0x3800);
  packer.block(1, 0, q.slice().reverse(), 0xb400);
  const all = await packer.tensor().data();
  assert.equal(
    [...all.slice(0, 32)],
    Array.from(q, (v) => v / 2),
  );
  assert.equal(
    [...all.slice(32)],
    Array.from(q.slice().reverse(), (v) => -v / 4),
  );
  const four = new Packer("q4m", 1, 32);
  four.block(0, 0, new Int8Array(32).fill(15), 0x3c00, 0x4000);
  four.block(
    0,
    0,
    Int8Array.from({ length: 32 }, (_, i) => i % 16),
    0x3c00,
    0x4000,
  );
  assert.equal(
    [...(await four.tensor().data())],
    Array.from({ length: 32 }, (_, i) => (i % 16) + 2),
  );
  const bits = Uint16Array.from({ length: 5 }, (_, i) => 0x3f80 + i);
  const halves = new Packer("bf16", 1, 5);
  halves.halves(0, bits);
  assert.equal([...(await halves.tensor().data())], [1, 1.0078125, 1.015625, 1.0234375, 1.03125]);
});

test("products, and gradients through packed weights, are those of what they hold", async () => {
  const x = tensor(wave(3 * 64, 0.3), [3, 64]);
  const packed = await pack(tensor(wave(64 * 5, 1.1), [64, 5]), "q8");
  const same = tensor(await packed.data(), [64, 5]);
  assert.equal(await matmul(x, packed).data(), await matmul(x, same).data());
  const slope = compile((x, w) => {
    const y = matmul(x, w);
    return gradients(sum(mul(y, y)), [x])[0];
  });
  assert.equal(await (await slope(x, packed)).data(), await (await slope(x, same)).data());
  // Packed the other way, the same shape is another program.
  const square = tensor(wave(32 * 32, 0.9), [32, 32]);
  const product = compile((x, w) => matmul(x, w));
  const left = tensor(wave(32, 0.2), [1, 32]);
  for (const axis of [0, 1]) {
    const w = await pack(square, "q4", { axis });
    const want = await product(left, tensor(await w.data(), [32, 32]));
    assert.equal(await (await product(left, w)).data(), await want.data());
  }
});

test("kernels of more dimensions are read as they are packed", async () => {
  const packer = new Packer("q8", 12, 32);
  for (let r = 0; r < 12; r++) packer.row(r, wave(32, r + 0.5));
  const heads = packer.tensor({ transposed: true, shape: [32, 3, 4] });
  assert.equal(heads.shape, [32, 3, 4]);
  const project = compile((x, w) => matmul(x, reshape(w, [32, 12])));
  const x = tensor(wave(64, 0.3), [2, 32]);
  const want = await matmul(x, tensor(await heads.data(), [32, 12])).data();
  assert.equal(await (await project(x, heads)).data(), want);
  const graph = new Graph();
  const results = trace(graph, () => [matmul(x, reshape(heads, [32, 12]))]);
  assert.equal(
    buildPlan(graph, results, referenceBackend().limits).calls.map(({ kernel }) => kernel),
    ["packedMatmul"],
  );
  await rejects(async () => packer.tensor({ shape: [5, 5] }), ShapeError, /12 rows of 32 elements are no \[5, 5\]/);
});

test("the host keeps no copy of what a device has", async () => {
  const packed = await pack(tensor(wave(64 * 4, 1.1), [64, 4]), "q8");
  const before = await packed.data();
  const x = tensor(wave(64, 0.3), [1, 64]);
  const [backend, next] = [referenceBackend(), referenceBackend()];
  useBackend(backend);
  const y = await matmul(x, packed).data();
  assert.equal(await packed.data(), before);
  assert.ok(packed.on(backend));
  // To another backend it goes by way of the host.
  useBackend(next);
  assert.equal(await matmul(x, packed).data(), y);
  assert.ok(packed.on(next) && !packed.on(backend));
  const floats = tensor(Float32Array.of(1, 2, 3));
  assert.is(floats.moveTo(next), floats);
  assert.is(floats.host, null);
  assert.equal([...(await floats.data())], [1, 2, 3]);
});

test("set packs other numbers, wherever the tensor is", async () => {
  const backend = referenceBackend();
  useBackend(backend);
  for (const axis of [0, 1]) {
    const packed = await pack(tensor(wave(64 * 32, 1.1), [64, 32]), "q8", { axis });
    const x = tensor(wave(axis === 0 ? 64 : 32, 0.3), [1, axis === 0 ? 64 : 32]);
    await matmul(x, packed, { transposeB: axis === 1 }).data();
    const other = tensor(wave(64 * 32, 0.7), [64, 32]);
    packed.set(await other.data());
    const want = await pack(other, "q8", { axis });
    assert.equal(await packed.data(), await want.data());
    const product = (w) => matmul(x, w, { transposeB: axis === 1 }).data();
    assert.equal(await product(packed), await product(want));
  }
});

test("numbers that a packed tensor holds are packed into the same ones, so that a model that was saved comes back as it was", async () => {
  for (const format of FORMATS) {
    const values = wave(512 * 32, 1.37).map((v, i) => v / (1 + (i % 7)));
    const packed = await pack(tensor(values, [512, 32]), format, { axis: 1 });
    const held = await packed.data();
    packed.set(held);
    assert.equal(await packed.data(), held);
  }
});

test("blocks of a row come in order, and none may be missing; rows may alternate", async () => {
  const q = new Int8Array(32).fill(1);
  for (const backend of [undefined, referenceBackend()]) {
    const packer = new Packer("q8", 4, 96, backend && { backend });
    await rejects(() => packer.block(0, 1, q, 0x3c00), ArgumentError, /row 0: blocks come in order, expected block 0, got 1/);
    packer.block(0, 0, q, 0x3c00);
    await rejects(() => packer.block(0, 2, q, 0x3c00), ArgumentError, /expected block 1, got 2/);
    await rejects(() => packer.tensor(), ArgumentError, /block 1 of row 0 of 4 is missing/);
    for (let b = 0; b < 3; b++) for (let r = 0; r < 4; r++) if (b > 0 || r > 0) packer.block(r, b, q, 0x3c00);
    packer.block(3, 0, q, 0x3c00);
    await rejects(() => packer.tensor(), ArgumentError, /block 1 of row 3 of 4 is missing/);
    for (const b of [1, 2]) packer.block(3, b, q, 0x3c00);
    assert.equal([...(await packer.tensor().data())], Array(384).fill(1));
  }
});

test("parts of rows come in columns, into memory that is used again, as whole rows do", async () => {
  const memory = new ArrayBuffer(2 ** 16);
  for (const format of FORMATS) {
    const [rows, k] = [7, isHalves(format) ? 77 : 96];
    const values = wave(rows * k, 1.3);
    const part = (r, b) => values.slice(r * k + 32 * b, r * k + Math.min(k, 32 * b + 32));
    const packer = new Packer(format, rows, k, { backend: referenceBackend(), memory });
    const whole = new Packer(format, rows, k);
    await rejects(() => packer.part(0, 1, part(0, 1)), ArgumentError, /expected block 0, got 1/);
    await rejects(() => packer.part(0, 0, part(0, 0).slice(1)), ShapeError, /expected 32 elements, got 31/);
    await rejects(() => packer.part(0, 3, part(0, 0)), ShapeError, /has 3 blocks, got 3/);
    for (let b = 0; b < 3; b++) for (let r = 0; r < rows; r++) packer.part(r, b, part(r, b));
    for (let r = 0; r < rows; r++) whole.row(r, values.slice(r * k, (r + 1) * k));
    assert.equal(await packer.tensor().data(), await whole.tensor().data());
  }
  await rejects(() => new Packer("q8", 1, 32, { memory: [] }), ArgumentError, /memory must be an ArrayBuffer/);
});

test("what cannot be is refused", async () => {
  const x = tensor(wave(64 * 4, 1.1), [64, 4]);
  await rejects(() => pack(x, "q5"), ArgumentError, /pack: unknown format "q5"; .*f16, bf16, q8, q4, q4m/);
  await rejects(() => pack(x, "q8", { axis: 1 }), ArgumentError, /q8 has blocks of 32 elements, and 4 along the axis/);
  await rejects(() => pack(x, "q8", { axes: 1 }), ArgumentError, /axis/);
  await rejects(() => pack([1, 2], "q8"), ArgumentError, /expected a tensor/);
  await rejects(() => pack(tensor([1, 2]), "q8"), ShapeError, /expected a matrix of f32/);
  await rejects(() => pack(tensor(new Float32Array(64).fill(NaN), [64, 1]), "q4"), DataError, /NaN cannot be packed/);
  await rejects(() => pack(tensor(new Float32Array(64).fill(1e9), [64, 1]), "q4"), DataError, /beyond f16/);
  await rejects(() => pack(tensor(new Float32Array(64).fill(1e9), [64, 1]), "f16"), DataError, /beyond f16/);
  const packed = await pack(x, "q8");
  await rejects(() => packed.set(new Float32Array(255)), ShapeError, /255/);
  await rejects(() => packed.set(new Float32Array(256).fill(Infinity)), DataError, /Infinity cannot be packed/);
  await rejects(() => compile(() => assign(packed, mul(packed, 2)))(), DTypeError, /kept in fewer bits, which programs do not write/);
  const packer = new Packer("q4", 3, 32);
  packer.row(0, new Float32Array(32));
  await rejects(() => packer.tensor(), ArgumentError, /row 1 of 3 is missing/);
  await rejects(() => packer.row(3, new Float32Array(32)), ShapeError, /expected a row of \[3, 32\], got 3/);
  await rejects(() => packer.row(1, new Float32Array(31)), ShapeError, /expected 32 elements, got 31/);
  await rejects(() => packer.block(1, 1, new Int8Array(32), 0), ShapeError, /has 1 blocks, got 1/);
  await rejects(() => packer.halves(1, new Uint16Array(32)), ArgumentError, /for f16 and bf16/);
  await rejects(() => packer.block(1, 0, new Int8Array(32).fill(16), 0), DataError, /4 bits hold 0 to 15, got 16/);
  await rejects(() => packer.row(1, new Array(32).fill(1)), ArgumentError, /must be a Float32Array/);
  packer.row(1, new Float32Array(32));
  packer.row(2, new Float32Array(32));
  packer.tensor();
  await rejects(() => packer.row(1, new Float32Array(32)), ArgumentError, /it was made a tensor/);
  const onBackend = new Packer("q4", 1, 32, { backend: referenceBackend() });
  onBackend.row(0, new Float32Array(32));
  onBackend.tensor();
  await rejects(() => onBackend.tensor(), ArgumentError, /it was made a tensor/);
});

test.run();

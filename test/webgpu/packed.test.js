/**
 * @file Tests of packed weights on WebGPU beyond the op table: every way that a product goes, at whole and partial tiles, as on a GPU and
 * on an adapter that has no more than any must have; numbers that are none; and what is stored as such.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile, gather, matmul, mul, ops, Packer, scan, tensor } from "../../build/esm/index.js";
import { Graph, trace } from "../../build/esm/graph.js";
import { FORMATS, isHalves } from "../../build/esm/packed/layout.js";
import { buildPlan } from "../../build/esm/plan/build.js";
import { kernelsFor } from "../../build/esm/webgpu/commands.js";
import { encode } from "../../build/esm/webgpu/program.js";
import { f, packed, traceForward } from "../ops/harness.js";
import { byReciprocals } from "./devices.js";
import { LEAST, openGpu, openMasked } from "./gpu.js";

const INTEGERS = "packed_4x8_integer_dot_product";
const GPUS = {
  "the adapter": await openGpu(),
  "as a GPU": await openMasked({ software: false, maker: "nvidia" }),
  "as the least of GPUs": await openMasked({ software: false, limits: LEAST, without: ["subgroups", INTEGERS] }),
};
const gpus = Object.values(GPUS);
const [own] = gpus;

/** Noise in [-1, 1). */
const noise = (n, seed) => Float32Array.from({ length: n }, (_, i) => (((i + 1) * 2654435761 + seed * 40503) % 4093) / 2046.5 - 1);

function packedOf(format, rows, k, transposed = false) {
  const packer = new Packer(format, rows, k);
  for (let r = 0; r < rows; r++) packer.row(r, noise(k, r + 1));
  return packer.tensor({ transposed });
}

/** a b^T + bias in f64, of b's rows. */
function productOf(a, b, bias, [m, k, n]) {
  return Float64Array.from({ length: m * n }, (_, i) => {
    const [row, column] = [Math.floor(i / n), i % n];
    let sum = bias[column];
    for (let j = 0; j < k; j++) sum += a[row * k + j] * b[column * k + j];
    return sum;
  });
}

const run = async (backend, fn) => (await compile(fn, { backend })()).data();

/** Whether the shader language of `backend` has products of integers. */
const hasIntegers = (backend) => Boolean(backend.features.language?.has(INTEGERS));

/** What sums of k products of about 1/3 may be off by: of numbers rounded to 16 bits of the greatest, or not. */
const boundOf = (format, backend, m, k) =>
  2e-6 * Math.max(k, 32) + (m > 8 && !isHalves(format) && hasIntegers(backend) ? 5e-5 * Math.sqrt(k) : 0);

async function checkProduct(backend, format, [m, k, n], what) {
  const [a, bias] = [noise(m * k, 9), noise(n, 8)];
  const b = packedOf(format, n, k);
  const got = await run(backend, () => matmul(tensor(a, [m, k]), b, { bias: tensor(bias, [n]), transposeB: true }));
  const want = productOf(a, await b.data(), bias, [m, k, n]);
  b.dispose();
  const bound = boundOf(format, backend, m, k);
  want.forEach((v, i) => assert.ok(Math.abs(got[i] - v) <= bound, `${what} ${format} ${m}x${k}x${n} [${i}]: got ${got[i]}, expected ${v}`));
}

/** Rows, k and columns: of few rows, and beside the tiles of 32, 64 and 128 rows and of 32 and 64 columns; k is cut into parts twice. */
const SIZES = [
  [1, 32, 1],
  [1, 1024, 9],
  [1, 4096, 6],
  [2, 608, 7],
  [4, 64, 4],
  [7, 96, 5],
  [8, 320, 66],
  [9, 32, 1],
  [31, 64, 33],
  [32, 96, 64],
  [33, 1024, 5],
  [64, 32, 68],
  [65, 64, 65],
  [130, 576, 31],
];
/** Halves need no whole blocks, vectors or words. */
const ODD = [
  [1, 1, 1],
  [1, 7, 3],
  [3, 37, 6],
  [8, 12, 9],
  [8, 44, 4],
  [9, 3, 2],
  [35, 21, 19],
];

// On the adapter itself the op table has products by every format.
for (const [name, backend] of Object.entries(GPUS).slice(1)) {
  for (const format of FORMATS) {
    test(`${name}: products by ${format}`, async () => {
      for (const size of [...SIZES, ...(isHalves(format) ? ODD : [])]) await checkProduct(backend, format, size, name);
    });
  }
}

test("subgroups, tiles and integers are where they should be", async () => {
  const entries = async (backend, m, format, without = "", features = {}) => {
    const { graph, results } = traceForward({ inputs: [f([m, 1024]), packed([1024, 64], format)], fn: (x, w) => matmul(x, w) });
    const plan = buildPlan(graph, results, backend.limits);
    const { dispatches } = encode(plan, { ...backend.features, ...features }, await kernelsFor(plan));
    for (const d of dispatches) {
      assert.ok(d.declared.length <= 8, d.label);
      if (without) assert.not.match(d.text, new RegExp(without));
    }
    return dispatches.map((d) => `${d.label}${/enable subgroups/.test(d.text) ? " by subgroups" : ""}`);
  };
  const [, gpu, least] = gpus;
  const joined = gpu.features.subgroupSize > 0 ? " by subgroups" : "";
  const many = ["packed-blocks.quantize", "packed-blocks.blocks", "epilogue.vectors"];
  for (const format of FORMATS) {
    assert.equal(await entries(gpu, 8, format), [`packed.few${joined}`]);
    assert.equal(await entries(least, 8, format, "subgroup[A-Z]"), ["packed.few"]);
    assert.equal(await entries(least, 9, format, "dot4I8Packed"), ["packed.main", "epilogue.vectors"]);
    const whole = isHalves(format) || !hasIntegers(gpu);
    assert.equal(await entries(gpu, 9, format), whole ? ["packed.main", "epilogue.vectors"] : many);
    // Where it is many instructions, or a program on the CPU, it gains nothing.
    for (const features of [{ vendor: "apple" }, { vendor: "" }, { software: true }])
      assert.ok(!(await entries(gpu, 9, format, "dot4I8Packed", features)).includes("packed-blocks.blocks"));
  }
});

test("NaN and infinity: their row is not finite, and no other is touched", async () => {
  for (const backend of gpus) {
    for (const format of FORMATS) {
      for (const m of [4, 40]) {
        const [k, n] = [64, 9];
        const b = packedOf(format, n, k);
        const a = noise(m * k, 3);
        const special = a.slice();
        special.set([NaN], 1 * k + 40);
        special.set([Infinity], 2 * k + 1);
        special.set([-Infinity, NaN], (m - 1) * k + 62);
        const [whole, got] = await Promise.all(
          [a, special].map((x) => run(backend, () => matmul(tensor(x, [m, k]), b, { transposeB: true }))),
        );
        for (let row = 0; row < m; row++) {
          const [is, was] = [got, whole].map((y) => y.slice(row * n, (row + 1) * n));
          if ([1, 2, m - 1].includes(row)) assert.ok(!is.some(Number.isFinite), `${format}, row ${row} of ${m}: ${is}`);
          else assert.equal(is, was);
        }
        b.dispose();
      }
    }
  }
});

test("great and small numbers keep their precision, each block of 32 by itself", async () => {
  const [m, k, n] = [12, 64, 5];
  const sizes = [1e-33, 1e-30, 1e-20, 1e-3, 1, 1e6, 1e18, 1e30, 1e36, 0, 1e-12, 3];
  const a = noise(m * k, 5).map((v, i) => v * sizes[Math.floor(i / k)]);
  for (const backend of gpus) {
    for (const format of FORMATS) {
      const b = packedOf(format, n, k);
      const got = await run(backend, () => matmul(tensor(a, [m, k]), b, { transposeB: true }));
      const want = productOf(a, await b.data(), new Float64Array(n), [m, k, n]);
      const bound = boundOf(format, backend, m, k);
      want.forEach((v, i) => {
        const size = sizes[Math.floor(i / n)];
        assert.ok(Math.abs(got[i] - v) <= bound * size + k * 2 ** -126, `${format}, of ${size}: got ${got[i]}, expected ${v}`);
      });
      b.dispose();
    }
  }
});

test("activations next to overflow, on a device that divides by multiplying with a reciprocal", async () => {
  const gpu = await openMasked({
    software: false,
    maker: "nvidia",
    onDevice(device) {
      const create = device.createShaderModule.bind(device);
      device.createShaderModule = (descriptor) => create({ ...descriptor, code: byReciprocals(descriptor.code) });
    },
  });
  const [m, k, n] = [12, 64, 5];
  const a = noise(m * k, 5).map((v, i) => (i % 32 === 3 ? (i % 64 === 3 ? 3e38 : 1.5e38) : v * 1e30));
  const b = packedOf("q8", n, k);
  const half = (await b.data()).map((v) => v / 4);
  const packer = new Packer("q8", n, k);
  for (let r = 0; r < n; r++) packer.row(r, half.slice(r * k, (r + 1) * k));
  const w = packer.tensor();
  const got = await run(gpu, () => matmul(tensor(a, [m, k]), w, { transposeB: true }));
  const want = productOf(a, await w.data(), new Float64Array(n), [m, k, n]);
  want.forEach((v, i) => assert.ok(Math.abs(got[i] - v) <= 3e38 * 1e-3, `[${i}]: got ${got[i]}, expected ${v}`));
  await gpu.close();
});

/** All bits that a half can have, 256 rows of 256. */
function everyHalf(format) {
  const packer = new Packer(format, 256, 256);
  for (let r = 0; r < 256; r++)
    packer.halves(
      r,
      Uint16Array.from({ length: 256 }, (_, i) => r * 256 + i),
    );
  return packer;
}

/** Same numbers; NaN is NaN, and what is subnormal in f32 may be zero. */
function same(got, want, what) {
  assert.is(got.length, want.length);
  want.forEach((v, i) => {
    const flushed = Math.abs(v) < 2 ** -126 && got[i] === 0;
    assert.ok(flushed || Object.is(got[i], v), `${what}[${i}]: got ${got[i]}, expected ${v}`);
  });
}

for (const format of ["f16", "bf16"]) {
  test(`every ${format}: as elements, as rows and in products`, async () => {
    const packer = everyHalf(format);
    const [rows, columns] = [packer.tensor(), packer.tensor({ transposed: true })];
    const [byRows, byColumns] = [await rows.data(), await columns.data()];
    const index = Int32Array.from([255, 0, 124, -3, 300, 4, 252]);
    const wanted = [255, 0, 124, 0, 255, 4, 252].flatMap((r) => [...byRows.slice(r * 256, (r + 1) * 256)]);
    for (const backend of gpus) {
      same(await run(backend, () => mul(rows, 1)), byRows, "elements");
      same(await run(backend, () => mul(columns, 1)), byColumns, "elements, transposed");
      same(await run(backend, () => gather(rows, tensor(index))), wanted, "rows");
      // Each row of the product picks one column of what is stored. Rows that hold NaN or infinity, and others where it is multiplied by 0,
      // are NaN, as in IEEE 754.
      for (const m of [8, 16]) {
        const one = new Float32Array(m * 256);
        for (let r = 0; r < m; r++) one[r * 256 + 13 * r] = 1;
        const got = await run(backend, () => matmul(tensor(one, [m, 256]), columns));
        const infinite = Array.from({ length: 256 }, (_, r) => byRows.slice(r * 256, (r + 1) * 256).some((v) => !Number.isFinite(v)));
        const want = Array.from({ length: m * 256 }, (_, i) => {
          const [picked, r] = [13 * Math.floor(i / 256), i % 256];
          return infinite[r] ? NaN : byRows[r * 256 + picked] + 0;
        });
        want.forEach((v, i) => {
          if (Number.isNaN(v)) assert.not(Number.isFinite(got[i]), `${m} rows, [${i}]: ${got[i]}`);
          else assert.ok(Math.abs(got[i] - v) <= 1e-6 * Math.abs(v) + 2 ** -126, `${m} rows, [${i}]: got ${got[i]}, expected ${v}`);
        });
      }
    }
  });
}

test("scales and minimums of f16 that are subnormal, zero, infinite or NaN", async () => {
  const bits = [0x0001, 0x03ff, 0x8001, 0x0400, 0, 0x7bff, 0x7c00, 0x7e00];
  const q = Int8Array.from({ length: 32 }, (_, i) => (i % 15) + 1);
  for (const format of ["q8", "q4", "q4m"]) {
    const packer = new Packer(format, bits.length, 32);
    bits.forEach((scale, r) => packer.block(r, 0, q, scale, bits[(r + 3) % 6]));
    const b = packer.tensor();
    const values = await b.data();
    for (const backend of gpus) {
      same(await run(backend, () => mul(b, 1)), values, format);
      for (const m of [3, 20]) {
        const a = noise(m * 32, 2).map((v) => v + 2);
        const got = await run(backend, () => matmul(tensor(a, [m, 32]), b, { transposeB: true }));
        const want = productOf(a, values, new Float64Array(bits.length), [m, 32, bits.length]);
        want.forEach((v, i) => {
          if (!Number.isFinite(v)) return assert.not(Number.isFinite(got[i]), `${format} [${i}]: ${got[i]}`);
          const size = Math.max(...values.slice((i % bits.length) * 32, (i % bits.length) * 32 + 32).map(Math.abs));
          assert.ok(Math.abs(got[i] - v) <= 96 * size * (m > 8 ? 5e-5 : 1e-6), `${format} [${i}]: got ${got[i]}, expected ${v}`);
        });
      }
    }
    b.dispose();
  }
});

test("no rows", async () => {
  for (const backend of gpus) {
    for (const format of FORMATS) {
      const b = packedOf(format, 6, 32);
      assert.is((await run(backend, () => matmul(tensor(new Float32Array(0), [0, 32]), b, { transposeB: true }))).length, 0);
      assert.is((await run(backend, () => gather(b, tensor(new Int32Array(0))))).length, 0);
    }
  }
});

test("the body of a loop reads packed weights as they are", async () => {
  const b = packedOf("q8", 32, 32, true);
  const values = await b.data();
  const x = noise(4 * 32, 6);
  const [last] = [await run(own, () => scan((h) => [ops.tanh(matmul(h, b)), h], tensor(x, [4, 32]), null, { length: 3 })[0])];
  let want = Float64Array.from(x);
  const turned = Float64Array.from(values, (_, i) => values[(i % 32) * 32 + Math.floor(i / 32)]);
  for (let step = 0; step < 3; step++) want = productOf(want, turned, new Float64Array(32), [4, 32, 32]).map(Math.tanh);
  want.forEach((v, i) => assert.ok(Math.abs(last[i] - v) < 1e-4, `[${i}]: got ${last[i]}, expected ${v}`));
});

test("a matrix that one binding cannot hold is refused, with its bytes, before anything runs", async () => {
  const graph = new Graph();
  const results = trace(graph, () => [matmul(graph.input(f([1, 4096])), graph.input(packed([4096, 65536], "q8")))]);
  const least = gpus[2];
  const error = await least.compile(buildPlan(graph, results, least.limits)).catch((e) => e);
  assert.is(error.name, "BackendError");
  assert.match(error.message, /f32\[4096, 65536\] \(input\) needs 285212672 bytes, this adapter binds at most 134217728 at once/);
});

test.after(() => gpus.forEach((backend) => backend.close()));
test.run();

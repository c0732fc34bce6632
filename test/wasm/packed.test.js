/** @file Products with packed weights on WebAssembly: every way that their encoder takes, at the edges of its tiles, pieces and numbers. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile, gather, matmul, open, ops, Packer, tensor } from "../../build/esm/index.js";
import { FORMATS, fromHalf } from "../../build/esm/packed/layout.js";
import { randomSource, wasms } from "../ops/harness.js";
import { element } from "../reference/packed.js";

const INTEGERS = FORMATS.filter((format) => format.startsWith("q"));
const ONE = 0x3c00;

/** `rows` rows of `k` numbers around 0, packed. */
function weights(format, rows, k, seed = 1) {
  const random = randomSource(seed);
  const packer = new Packer(format, rows, k);
  for (let r = 0; r < rows; r++)
    packer.row(
      r,
      Float32Array.from({ length: k }, () => random() - 0.5),
    );
  return packer;
}

/** Packed integers, with a scale of 1 and minimums of 1. */
function integers(format, rows, k) {
  const random = randomSource(rows + k);
  const packer = new Packer(format, rows, k);
  const [low, span] = format === "q8" ? [-127, 255] : [0, 16];
  for (let r = 0; r < rows; r++) {
    for (let b = 0; b < k / 32; b++)
      packer.block(
        r,
        b,
        Int8Array.from({ length: 32 }, () => low + Math.floor(random() * span)),
        ONE,
        ONE,
      );
  }
  return packer;
}

const decoded = ({ format, rows, k, bytes }) =>
  Float64Array.from({ length: rows * k }, (_, i) => element(bytes, { format, rows, k }, Math.floor(i / k), i % k));

/** Elements of a W^T on `backend`. */
async function product(backend, a, m, packer, options = {}) {
  const w = packer.tensor();
  const x = tensor(a, [m, packer.k]);
  const run = compile((x) => matmul(x, w, { transposeB: true, ...options }), { backend });
  return (await run(x)).data();
}

/** The same numbers, NaN among them. */
function same(got, want, what = "") {
  assert.is(got.length, want.length);
  const at = want.findIndex((v, i) => !Object.is(got[i], v));
  assert.ok(at < 0, `${what} element ${at}: ${got[at]}, expected ${want[at]}`);
}

test("there are both builds where the engine has relaxed SIMD", () => {
  assert.ok(wasms.some(({ simd }) => simd === "plain"));
  if (Number(process.versions.node.split(".")[0]) >= 22) assert.ok(wasms.some(({ simd }) => simd === "relaxed"));
});

for (const format of FORMATS) {
  test(`${format}: any number of rows and columns`, async () => {
    for (const [n, k] of [[1, 32], [3, 64], [6, 96], [9, 32], [18, 288], [37, 64]]) {
      const packer = weights(format, n, k);
      const w = decoded(packer);
      for (const m of [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 16, 17, 24, 39, 40]) {
        const random = randomSource(m);
        const a = Float32Array.from({ length: m * k }, () => (random() - 0.5) * 4 ** Math.floor(random() * 6));
        for (const backend of wasms) {
          const y = await product(backend, a, m, packer);
          assert.is(y.length, m * n);
          // Roundings of a are of the greatest of a block.
          const step = format.endsWith("16")
            ? 2 ** -22
            : m > 8 && backend.simd === "relaxed"
              ? format === "q8"
                ? 1 / 63
                : 1 / 127
              : 1 / 32767;
          for (let i = 0; i < m; i++) {
            for (let c = 0; c < n; c++) {
              let [want, allowed] = [0, 0];
              for (let b = 0; b < k; b += 32) {
                let [most, sum] = [0, 0];
                for (let j = b; j < b + 32; j++) {
                  want += a[i * k + j] * w[c * k + j];
                  most = Math.max(most, Math.abs(a[i * k + j]));
                  sum += Math.abs(w[c * k + j]);
                }
                allowed += (step / 2 + 2 ** -20) * most * sum;
              }
              const got = y[i * n + c];
              assert.ok(
                Math.abs(got - want) <= allowed,
                `${backend.simd} ${m}x${k}x${n}, ${i}, ${c}: ${got}, expected ${want} within ${allowed}`,
              );
            }
          }
        }
      }
    }
  });
}

for (const format of INTEGERS) {
  test(`${format}: sums of integers are exact`, async () => {
    const [n, k] = [10, 96];
    const packer = integers(format, n, k);
    const w = decoded(packer);
    for (const m of [1, 2, 4, 7, 8, 9, 20]) {
      for (const backend of wasms) {
        // The greatest of each block is what integers of a end with, so that scales are 1.
        const most = m <= 8 || backend.simd === "plain" ? 32639 : format === "q8" ? 63 : 127;
        const random = randomSource(m);
        const a = Float32Array.from({ length: m * k }, (_, i) =>
          i % 32 === 5 ? (i % 64 === 5 ? most : -most) : Math.floor((random() - 0.5) * Math.min(most, 2000)),
        );
        const y = await product(backend, a, m, packer);
        for (let i = 0; i < m; i++) {
          for (let c = 0; c < n; c++) {
            let want = 0;
            for (let j = 0; j < k; j++) want += a[i * k + j] * w[c * k + j];
            assert.is(y[i * n + c], Math.fround(want), `${backend.simd}, ${m} rows, ${i}, ${c}`);
          }
        }
      }
    }
  });

  test(`${format}: rows with NaN or infinity are not numbers, and leave the others alone`, async () => {
    const [n, k] = [5, 64];
    const packer = weights(format, n, k);
    for (const m of [1, 2, 3, 5, 8, 9, 17]) {
      for (const bad of [NaN, Infinity, -Infinity]) {
        for (const backend of wasms) {
          const random = randomSource(m);
          const a = Float32Array.from({ length: m * k }, () => random() - 0.5);
          const whole = await product(backend, a, m, packer);
          const row = m >> 1;
          a[row * k + 37] = bad;
          const y = await product(backend, a, m, packer);
          y.forEach((v, i) => {
            if (Math.floor(i / n) === row) assert.not.ok(Number.isFinite(v), `${v}`);
            else assert.is(v, whole[i]);
          });
        }
      }
    }
  });

  test(`${format}: nothing, the smallest and the greatest activations`, async () => {
    const [n, k] = [4, 32];
    const packer = weights(format, n, k);
    const w = decoded(packer);
    for (const m of [1, 4, 9]) {
      for (const [size, within] of [[0, 0], [1e-45, 2e-36], [1e-38, 2e-36], [1e-30, 3e-32], [3e38, 3e36]]) {
        const a = new Float32Array(m * k);
        for (let i = 0; i < m; i++) a[i * k + 7] = size;
        for (const backend of wasms) {
          const y = await product(backend, a, m, packer);
          y.forEach((v, i) => {
            const want = size * w[(i % n) * k + 7];
            assert.ok(Math.abs(v - want) <= within, `${backend.simd}, ${m} rows of ${size}: ${v}, expected ${want}`);
          });
        }
      }
    }
  });
}

test("every f16 and bf16 is what it is", async () => {
  for (const format of ["f16", "bf16"]) {
    const packer = new Packer(format, 256, 256);
    for (let r = 0; r < 256; r++)
      packer.halves(
        r,
        Uint16Array.from({ length: 256 }, (_, i) => r * 256 + i),
      );
    const want = Float32Array.from(decoded(packer));
    const w = packer.tensor();
    const order = tensor(Int32Array.from({ length: 256 }, (_, i) => 255 - i));
    for (const backend of wasms) {
      const run = compile((index) => [ops.reshape(w, [65536]), gather(w, index)], { backend });
      const [all, rows] = await Promise.all((await run(order)).map((y) => y.data()));
      same(all, want);
      for (let r = 0; r < 256; r++) same(rows.subarray((255 - r) * 256, (256 - r) * 256), want.subarray(r * 256, (r + 1) * 256));
      // One row takes each out on its own: times 1.
      const one = new Float32Array(256).fill(0);
      for (const at of [0, 131, 255]) {
        const y = await product(
          backend,
          one.map((_, i) => Number(i === at)),
          1,
          packer,
        );
        y.forEach((v, r) => {
          const row = want.subarray(r * 256, (r + 1) * 256);
          if (row.every(Number.isFinite)) assert.ok(v === row[at], `${v}, expected ${row[at]}`);
          else assert.ok(Number.isNaN(v), `${v}`);
        });
      }
    }
  }
});

test("scales of weights: below the normal f16, negative, 0", async () => {
  for (const format of INTEGERS) {
    const packer = new Packer(format, 8, 32);
    const scales = [1, 0x3ff, 0x400, 0x8001, 0xbc00, 0, 0x8000, 0x7bff];
    scales.forEach((scale, r) =>
      packer.block(
        r,
        0,
        Int8Array.from({ length: 32 }, (_, i) => i & 15),
        scale,
        scale,
      ),
    );
    const w = decoded(packer);
    for (const m of [1, 3, 12]) {
      const a = new Float32Array(m * 32).fill(1);
      for (const backend of wasms) {
        const y = await product(backend, a, m, packer);
        y.forEach((v, i) => {
          const want = w.subarray((i % 8) * 32, (i % 8) * 32 + 32).reduce((x, z) => x + z, 0);
          assert.ok(Math.abs(v - want) <= 1e-5 * Math.abs(fromHalf(scales[i % 8])) * 512, `${format}, ${m} rows: ${v}, expected ${want}`);
        });
      }
    }
  }
});

test("bias and activations, at columns of part of a group", async () => {
  const [n, k] = [7, 64];
  for (const format of FORMATS) {
    const packer = weights(format, n, k);
    const bias = tensor(Float32Array.from({ length: n }, (_, i) => i - 3));
    for (const m of [1, 2, 6, 10]) {
      const random = randomSource(m);
      const a = Float32Array.from({ length: m * k }, () => random() - 0.5);
      for (const backend of wasms) {
        const plain = await product(backend, a, m, packer);
        const relu = await product(backend, a, m, packer, { bias, activation: "relu" });
        relu.forEach((v, i) => assert.ok(Math.abs(v - Math.max(0, plain[i] + (i % n) - 3)) < 1e-5, `${format}, ${m} rows, ${i}: ${v}`));
        const tanh = await product(backend, a, m, packer, { activation: "tanh" });
        tanh.forEach((v, i) => assert.ok(Math.abs(v - Math.tanh(plain[i])) < 1e-6));
      }
    }
  }
});

test("weights of 16 bits for many rows: columns in several chunks", async () => {
  const [k, n] = [2048, 1037];
  const packer = weights("f16", n, k);
  const w = tensor(Float32Array.from(decoded(packer)), [n, k]);
  const random = randomSource(3);
  const bias = tensor(Float32Array.from({ length: n }, (_, i) => i / 100));
  for (const m of [9, 40]) {
    const a = Float32Array.from({ length: m * k }, () => random() - 0.5);
    for (const backend of wasms) {
      const got = await product(backend, a, m, packer, { bias });
      const want = await (await compile((x) => matmul(x, w, { transposeB: true, bias }), { backend })(tensor(a, [m, k]))).data();
      got.forEach((v, i) => assert.ok(Math.abs(v - want[i]) < 1e-3, `${i}: ${v}, expected ${want[i]}`));
    }
  }
});

test("weights of 16 bits for few rows: any k, normal numbers and others, in several chunks", async () => {
  const specials = [0, 0x8000, 1, 0x8001, 0x3ff, 0x83ff, 0x400, 0x8400];
  for (const format of ["f16", "bf16"]) {
    for (const [n, k] of [[1, 1], [3, 5], [5, 45], [6, 1036], [3, 2051]]) {
      const random = randomSource(k);
      const packer = weights(format, n, k);
      for (let r = 0; r < n; r++) {
        const row = Uint16Array.from({ length: k }, () =>
          random() < 0.1 ? specials[Math.floor(random() * 8)] : (Math.floor(random() * 2) << 15) | (0x2c00 + Math.floor(random() * 0xc00)),
        );
        packer.halves(r, row);
      }
      const w = decoded(packer);
      for (const m of [1, 2, 3, 8]) {
        const a = Float32Array.from({ length: m * k }, () => random() - 0.5);
        for (const backend of wasms) {
          const y = await product(backend, a, m, packer);
          for (let i = 0; i < m; i++) {
            for (let c = 0; c < n; c++) {
              let [want, size] = [0, 0];
              for (let j = 0; j < k; j++) {
                want += a[i * k + j] * w[c * k + j];
                size += Math.abs(a[i * k + j] * w[c * k + j]);
              }
              const got = y[i * n + c];
              assert.ok(
                Math.abs(got - want) <= 1e-6 * size,
                `${format} ${backend.simd} ${m}x${k}x${n}, ${i}, ${c}: ${got}, expected ${want}`,
              );
            }
          }
        }
      }
    }
  }
  // Of zeros alone it is zero, and infinity and NaN stay with their column, in either half of a vector.
  for (const at of [2, 1029]) {
    const packer = new Packer("f16", 3, 1030);
    packer.halves(0, new Uint16Array(1030));
    packer.halves(
      1,
      new Uint16Array(1030).map((_, j) => (j === at ? 0xfc00 : ONE)),
    );
    packer.halves(
      2,
      new Uint16Array(1030).map((_, j) => (j === at ? 0x7e00 : ONE)),
    );
    for (const m of [1, 2, 5]) {
      for (const backend of wasms)
        same(
          await product(backend, new Float32Array(1030 * m).fill(1), m, packer),
          Array.from({ length: m }, () => [0, -Infinity, NaN]).flat(),
        );
    }
  }
});

test("rows longer than scratch has room for the scales of", async () => {
  const [m, k, n] = [2, 131072 + 32, 3];
  const packer = weights("q8", n, k);
  const a = new Float32Array(m * k);
  a[k - 1] = 1;
  a[k] = 2;
  const w = decoded(packer);
  const y = await product(wasms[0], a, m, packer);
  for (let c = 0; c < n; c++) {
    assert.ok(Math.abs(y[c] - w[c * k + k - 1]) < 1e-6);
    assert.ok(Math.abs(y[n + c] - 2 * w[c * k]) < 1e-6);
  }
});

test("unpacked, either way round", async () => {
  for (const format of FORMATS) {
    for (const [rows, k] of [[1, 32], [5, 64], [8, 1056], [19, 2080], [70, 32]]) {
      const packer = weights(format, rows, k);
      const want = Float32Array.from(decoded(packer));
      const plain = packer.tensor();
      const turned = packer.tensor({ transposed: true });
      for (const backend of wasms) {
        const run = compile(() => [ops.add(plain, 0), ops.add(turned, 0)], { backend });
        const [got, across] = await Promise.all((await run()).map((y) => y.data()));
        assert.equal(got, want, `${format} ${rows}x${k}`);
        want.forEach((v, i) => {
          if (across[(i % k) * rows + Math.floor(i / k)] !== v) assert.unreachable(`${format} ${rows}x${k} transposed, ${i}`);
        });
      }
    }
  }
});

for (const reproducible of [true, false]) {
  test(`the same bits with 1, 2 and 3 threads${reproducible ? ", reproducible" : ""}`, async () => {
    const [n, k] = [1100, 544];
    const all = [];
    for (const threads of [1, 2, 3]) {
      const backend = await open("wasm", { threads, reproducible });
      const results = [];
      for (const format of FORMATS) {
        const w = weights(format, n, k).tensor();
        for (const m of [1, 2, 7, 70]) {
          const random = randomSource(m);
          const x = tensor(
            Float32Array.from({ length: m * k }, () => random() - 0.5),
            [m, k],
          );
          const run = compile((x) => [matmul(x, w, { transposeB: true }), ops.add(w, 0)], { backend });
          await run(x);
          await backend.warm();
          for (const y of await run(x)) results.push(Buffer.from((await y.data()).buffer).toString("base64"));
        }
      }
      all.push(results.join());
      backend.close();
    }
    assert.ok(all[1] === all[0]);
    assert.ok(all[2] === all[0]);
  });
}

test.run();

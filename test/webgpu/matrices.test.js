/**
 * @file Products by subgroup matrices, and by tiles that lie in f16. The software adapter has neither: shaders are checked as they are by
 * Dawn without a backend, and run as half-products.js rewrites them.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open } from "../../build/esm/init.js";
import { conv2d } from "../../build/esm/ops/conv.js";
import { sum } from "../../build/esm/ops/reduce.js";
import { mul } from "../../build/esm/ops/map.js";
import { matmul } from "../../build/esm/ops/matmul.js";
import { buildPlan } from "../../build/esm/plan/build.js";
import { kernelsFor } from "../../build/esm/webgpu/commands.js";
import { TILES } from "../../build/esm/webgpu/parts/matrices.js";
import { encode } from "../../build/esm/webgpu/program.js";
import { assertClose, magnitudes, reference, runOnce, traceForward, traceGradient, ULP } from "../ops/harness.js";
import { EXPERIMENTAL, nullDevice, pretended } from "./half-products.js";

/** Unit roundoff of f16. */
const ROUNDING = 2 ** -11;
/** Of adapters: NVIDIA's, and Apple's, whose results in f16 are of no use here. */
const NVIDIA = [["f16", "f32", 16, 16, 16], ["f16", "f16", 16, 16, 16], ["f16", "f32", 16, 8, 16], ["f16", "f32", 16, 8, 8]];
const APPLE = [["f32", "f32", 8, 8, 8], ["f16", "f16", 8, 8, 8]];

const shaders = [];
const openPretended = (options, more = {}) =>
  open("webgpu", { precision: "mixed", ...more, gpu: pretended({ onShader: (code) => shaders.push(code), ...options }) });

const matrices = await openPretended({ configs: [["f16", "f32", 8, 8, 8]] });
// Subgroups of the size that is said, which the others have not.
const square = await openPretended({ configs: NVIDIA, most: 4 });
const oblong = await openPretended({ configs: [["f16", "f32", 16, 8, 8]] });
const apple = await openPretended({ configs: APPLE });
const tiles = await openPretended({ more: ["shader-f16"] });
const strict = await nullDevice();

// Small, since all that a GPU does at once the software adapter does one after another.
const SMALL = { down: 2, across: 1, m: 16, n: 16, k: 16, speed: 1 };
for (const backend of [matrices, oblong, apple]) backend.features.matrices.tile = { ...SMALL, m: 16, n: 8 };
square.features.matrices.tile = SMALL;

/** 64ths between -2 and 2: f16 numbers. */
const exact = (shape, seed = 1) => ({
  shape,
  dtype: "f32",
  list: Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => ((((i * 2654435761 + seed * 40503) >>> 8) % 257) - 128) / 64),
});
/** Numbers that f16 rounds. */
const inexact = (shape, seed = 1) => ({ ...exact(shape, seed), list: exact(shape, seed).list.map((v, i) => v * (1 + Math.sin(i + seed))) });

/** What a case becomes; by default as a backend has its features. */
async function dispatchesOf(backend, { graph, results }, features = backend.features) {
  const plan = buildPlan(graph, results, backend.limits);
  return encode(plan, features, await kernelsFor(plan, features)).dispatches;
}

/** Runs a case on a backend and compares it with float64; every dispatch that is a product must be `entry`. */
async function check(backend, c, entry, tolerance = 40 * ULP) {
  const traced = (c.gradient ? traceGradient : traceForward)(c);
  const products = (await dispatchesOf(backend, traced)).filter((d) => /^(matmul|conv)\./.test(d.label));
  assert.ok(products.length > 0);
  for (const { label } of products) assert.match(label, new RegExp(`\\.(${entry})$`));
  const got = await runOnce(backend, traced);
  const want = await runOnce(reference, traced);
  const scale = c.gradient ? want.map((w) => Math.max(...w.map(Math.abs))) : (await runOnce(reference, magnitudes(traced)))[0];
  got.forEach((g, i) => assertClose(g, want[i], "f32", { tolerance, scale: c.gradient ? scale[i] : scale }));
}

/** Rows, columns and depth around the tile (32 x 16 or 8, 16 deep), transposed in every way; batches, a split k, bias and activation. */
const CASES = {
  "33 x 17 x 19": { inputs: [exact([33, 19]), exact([19, 17], 2)], fn: (a, b) => matmul(a, b) },
  "vectors: 32 x 20 x 24": { inputs: [exact([32, 24]), exact([24, 20], 2)], fn: (a, b) => matmul(a, b) },
  "A transposed": { inputs: [exact([19, 33]), exact([19, 17], 2)], fn: (a, b) => matmul(a, b, { transposeA: true }) },
  "A transposed, vectors": { inputs: [exact([16, 36]), exact([16, 16], 2)], fn: (a, b) => matmul(a, b, { transposeA: true }) },
  "B transposed": { inputs: [exact([33, 19]), exact([17, 19], 2)], fn: (a, b) => matmul(a, b, { transposeB: true }) },
  "both transposed": {
    inputs: [exact([20, 40]), exact([12, 20], 2)],
    fn: (a, b) => matmul(a, b, { transposeA: true, transposeB: true }),
  },
  batches: { inputs: [exact([3, 9, 17]), exact([3, 17, 10], 2)], fn: (a, b) => matmul(a, b) },
  "bias and activation": {
    inputs: [exact([35, 18]), exact([18, 13], 2), exact([13], 3)],
    fn: (a, b, bias) => matmul(a, b, { bias, activation: "relu" }),
  },
};

for (const [name, c] of Object.entries(CASES)) test(`8 x 8 x 8, ${name}`, () => check(matrices, c, "matrices"));
for (const [what, backend] of [["16 x 16 x 16", square], ["16 x 8 x 8", oblong], ["8 x 8 x 8 in f32", apple]])
  for (const name of ["33 x 17 x 19", "both transposed", "bias and activation"])
    test(`${what}, ${name}`, () => check(backend, CASES[name], "matrices"));

test("k in parts, which are added up", () =>
  check(
    matrices,
    { inputs: [exact([8, 1030]), exact([1030, 8], 2), exact([8], 3)], fn: (a, b, bias) => matmul(a, b, { bias }) },
    "matrices",
    200 * ULP,
  ));

const CONVOLUTION = {
  inputs: [exact([1, 7, 6, 3]), exact([3, 2, 3, 9], 2)],
  fn: (x, w) => conv2d(x, w, { strides: [2, 1], padding: "same" }),
};
test("conv2d", () => check(matrices, CONVOLUTION, "matrices"));
test("conv2d and its gradients", () =>
  check(
    matrices,
    {
      inputs: [exact([1, 9, 9, 8]), exact([3, 3, 8, 8], 2)],
      fn: (x, w) => sum(mul(conv2d(x, w, { strides: 2, padding: "same" }), 1 / 8)),
      gradient: true,
    },
    "matrices",
    // Gradients are no f16 numbers.
    2 * ROUNDING,
  ));

test("operands are rounded to 11 bits and sums are not", async () => {
  const c = { inputs: [inexact([40, 300]), inexact([300, 24], 2)], fn: (a, b) => matmul(a, b) };
  for (const [backend, entry] of [[matrices, "matrices"], [tiles, "main"]]) {
    await check(backend, c, entry, 2 * ROUNDING);
    const traced = traceForward(c);
    const [[want], [got]] = [await runOnce(reference, traced), await runOnce(backend, traced)];
    assert.ok(
      got.some((v, i) => Math.abs(v - want[i]) > 2 ** -18 * Math.abs(want[i])),
      "nothing was rounded",
    );
    // What is left is what rounding the operands does.
    const round = (v) =>
      v && Math.round(v / 2 ** (Math.floor(Math.log2(Math.abs(v))) - 10)) * 2 ** (Math.floor(Math.log2(Math.abs(v))) - 10);
    const rounded = { ...c, inputs: c.inputs.map((t) => ({ ...t, list: t.list.map((v) => round(Math.fround(v))) })) };
    const same = traceForward(rounded);
    const [[exactly], [scale]] = [await runOnce(reference, same), await runOnce(reference, magnitudes(same))];
    assertClose(got, exactly, "f32", { tolerance: 100 * ULP, scale });
  }
  await check(apple, c, "matrices", 40 * ULP);
});

test("beyond 65504 an operand is infinite, and what is too small vanishes", async () => {
  const x = { shape: [16, 16], dtype: "f32", list: Array.from({ length: 256 }, (_, i) => (i < 16 ? 7e4 : i < 32 ? 1e-9 : 1)) };
  const traced = traceForward({ inputs: [x, { ...x, list: x.list.map(() => 1) }], fn: (a, b) => matmul(a, b) });
  for (const backend of [matrices, tiles]) {
    const [got] = await runOnce(backend, traced);
    assert.equal([got[0], got[16], got[32]], [Infinity, 0, 16]);
  }
});

test("an operand that many tiles read becomes f16 once, with the same result", async () => {
  const { features } = matrices;
  const c = { inputs: [inexact([1040, 64]), inexact([64, 72], 2)], fn: (a, b) => matmul(a, b) };
  const traced = traceForward(c);
  const labels = async () => (await dispatchesOf(matrices, traced)).map((d) => d.label);
  assert.equal(await labels(), ["matmul.matrices"]);
  const [before] = await runOnce(matrices, traced);
  features.matrices.halvedFrom = 9;
  assert.equal(await labels(), ["matmul.halve", "matmul.matrices"]);
  const [after] = await runOnce(matrices, traced);
  delete features.matrices.halvedFrom;
  assert.equal(after, before);
});

/** Every tile with each adapter's matrices, as the driver would get it. */
for (const [name, configs] of [...NVIDIA.filter(([, result]) => result === "f32").map((c) => [c.join(" "), [c]]), ["Apple", APPLE]]) {
  test(`WGSL is right: ${name}`, async () => {
    const backend = await openPretended({ configs });
    const [{ tile: _, ...unit }, own] = [backend.features.matrices, backend.features];
    const features = { ...own, matrices: { ...unit, directives: unit.directives }, maxWorkgroupBytes: 49152 };
    let seen = 0;
    for (const tile of TILES) {
      Object.assign(features.matrices, { tile, halvedFrom: 2 });
      for (const c of [CASES["33 x 17 x 19"], CASES["both transposed"], CASES["bias and activation"], CONVOLUTION]) {
        for (const { text, entry } of (await dispatchesOf(matrices, traceForward(c), features)).filter((d) => d.entry === "matrices")) {
          seen++;
          const errors = await strict.errors(text, entry);
          // Nothing runs on this device, so that it promises no more than 16 KiB.
          const bytes = errors.map((e) => /^The total use of workgroup storage \((\d+) bytes\) is larger/.exec(e)?.[1]);
          assert.ok(errors.length === 0 || (errors.length === 1 && bytes[0] <= 49152), errors.join("\n"));
        }
      }
    }
    // Workgroup memory has no room for the largest tile in f32.
    assert.is(seen, 4 * (name === "Apple" ? TILES.length - 1 : TILES.length));
    backend.close();
  });
}

test("WGSL is right: tiles in f16, and copies to f16", async () => {
  const features = { ...matrices.features, matrices: { ...matrices.features.matrices, halvedFrom: 1 } };
  const traced = traceForward({ inputs: [exact([300, 300]), exact([300, 300], 2)], fn: (a, b) => matmul(a, b) });
  for (const f of [tiles.features, features])
    for (const { text, entry } of await dispatchesOf(matrices, traced, f))
      if (entry !== "matrices") assert.equal(await strict.errors(text, entry), []);
});

test("without subgroup matrices tiles lie in f16", async () => {
  assert.is(tiles.features.matrices, null);
  assert.is(tiles.features.half, true);
  const [{ text }] = await dispatchesOf(tiles, traceForward(CASES["vectors: 32 x 20 x 24"]));
  assert.match(text, /^enable f16;$/m);
  assert.match(text, /var<workgroup>\s*tile_a:\s*array<vec4<f16>,/);
  for (const name of ["33 x 17 x 19", "both transposed", "bias and activation", "batches"]) await check(tiles, CASES[name], "main");
  await check(tiles, CONVOLUTION, "main");
});

test("the standard's name of the feature is taken before Dawn's", async () => {
  for (const [more, extension] of [
    [["shader-f16", EXPERIMENTAL, "subgroup-matrix"], "enable subgroup_matrix"],
    [["shader-f16", EXPERIMENTAL], "enable chromium_experimental_subgroup_matrix"],
  ]) {
    const backend = await openPretended({ more, configs: NVIDIA });
    assert.is(backend.features.matrices.directives[1], extension);
    assert.equal([backend.features.matrices.m, backend.features.matrices.n, backend.features.matrices.k], [16, 16, 16]);
    backend.close();
  }
});

test("kernels ask for the size of a subgroup where the adapter does not know it", async () => {
  for (const backend of [square, matrices]) {
    const [{ text }] = await dispatchesOf(backend, traceForward(CASES["33 x 17 x 19"]));
    const exact = backend === square;
    assert.is(backend.features.matrices.exact, exact);
    assert.is(/part < PARTS/.test(text.slice(text.indexOf("@compute"))), !exact);
    assert.is(/let lanes = 4u;/.test(text), exact);
  }
});

test("small products and vectors stay what they are", async () => {
  for (const c of [
    { inputs: [exact([4, 64]), exact([64, 64], 2)], fn: (a, b) => matmul(a, b) },
    { inputs: [exact([64, 4]), exact([4, 64], 2)], fn: (a, b) => matmul(a, b) },
  ])
    await check(matrices, c, "main|small");
  await check(matrices, { inputs: [exact([1, 64]), exact([64, 64], 2)], fn: (a, b) => matmul(a, b) }, "columns");
});

test('precision: "f32", the default, asks for no matrices and rounds nothing', async () => {
  const backend = await openPretended({ configs: NVIDIA }, { precision: undefined });
  assert.is(backend.features.matrices, null);
  assert.is(backend.features.half, false);
  assert.is(backend.limits.halfProducts, undefined);
  assert.is(backend.limits.halves, undefined);
  assert.not(backend.device.asked.includes(EXPERIMENTAL));
  assert.ok(square.device.asked.includes(EXPERIMENTAL));
  await check(backend, { inputs: [inexact([33, 19]), inexact([19, 17], 2)], fn: (a, b) => matmul(a, b) }, "main");
  backend.close();
});

test("where an adapter has neither, products are those of f32, and storage is f16", async () => {
  const backend = await openPretended({ more: [] });
  assert.is(backend.features.matrices, null);
  assert.is(backend.features.half, false);
  assert.is(backend.limits.halfProducts, undefined);
  assert.type(backend.limits.halves, "function");
  await check(backend, { inputs: [inexact([33, 19]), inexact([19, 17], 2)], fn: (a, b) => matmul(a, b) }, "main");
  backend.close();
  const single = await openPretended({ more: [] }, { storage: "f32" });
  assert.is(single.limits.halves, undefined);
  single.close();
});

test("another precision is refused", async () => {
  try {
    await open("webgpu", { precision: "half" });
  } catch (error) {
    assert.match(error.message, /unknown precision "half".*"f32".*"mixed"/);
    return;
  }
  assert.unreachable("it did not throw");
});

test.after(() => {
  for (const backend of [matrices, square, oblong, apple, tiles]) backend.close();
  strict.close();
});
test.run();

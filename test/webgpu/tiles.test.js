/**
 * @file Products by every tile that a GPU gets, which a software adapter has no need of: it passes for a GPU here, without subgroups. Tiles
 * are taken one by one, over sizes that they divide and others; then the choice among them.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { matmul } from "../../build/esm/ops/matmul.js";
import { TILES, tileOf, tilesLike } from "../../build/esm/webgpu/encode/tiles.js";
import { encode } from "../../build/esm/webgpu/program.js";
import { allCases, assertClose, f, magnitudes, prepare, reference, runOnce, traceForward, ULP } from "../ops/harness.js";
import { openMasked } from "./gpu.js";
import { checkForward } from "./ops.js";

const gpu = await openMasked({ software: false, maker: "nvidia", without: ["subgroups"] });

const nameOf = (t) => `${t.rows}x${t.columns} by ${t.x}x${t.y}, ${t.k}`;
const constant = (text, name) => Number(new RegExp(`\\b${name}\\s*(?::\\s*u32)?\\s*=\\s*(\\d+)`).exec(text)[1]);
const tileIn = ({ text }) =>
  nameOf({
    ...Object.fromEntries(
      [["rows", "ROWS"], ["columns", "COLUMNS"], ["x", "THREADS_X"], ["y", "THREADS_Y"], ["k", "TILE_K"]].map(([key, name]) => [
        key,
        constant(text, name),
      ]),
    ),
  });

/** What `run` gives while `tile` is the only one there is. */
async function withOnly(tile, run) {
  const all = TILES.splice(0, TILES.length, tile);
  try {
    return await run();
  } finally {
    TILES.splice(0, 1, ...all);
  }
}

/** The result of a product, whose tile is looked at, and how its k was cut. */
async function multiply(c, tile) {
  const traced = traceForward(c);
  const program = await prepare(gpu, traced.graph, traced.results);
  const [product] = encode(program.plan, gpu.features).dispatches;
  assert.is(tileIn(product), nameOf(tile));
  const [got] = await program.run(traced.data);
  program.close();
  return { got, traced, splits: constant(product.text, "SPLITS"), text: product.text };
}

async function check(c, tile) {
  const made = await multiply(c, tile);
  const [[want], [scale]] = [await runOnce(reference, made.traced), await runOnce(reference, magnitudes(made.traced))];
  assertClose(made.got, want, "f32", { tolerance: 40 * ULP, scale });
  return made;
}

const product = (m, k, n, transposeA, transposeB, options = {}) => ({
  inputs: [f(transposeA ? [k, m] : [m, k]), f(transposeB ? [n, k] : [k, n])],
  fn: (a, b) => matmul(a, b, { transposeA, transposeB, ...options }),
});

TILES.forEach((tile, i) => {
  const [m, n] = [tile.y * tile.rows, tile.x * tile.columns];
  const name = nameOf(tile);
  const turned = i % 2 === 1;
  test(`${name}: sizes of which none is a multiple of four`, () =>
    withOnly(tile, () => check(product(m + 1, 17, n > 4 ? n - 3 : 5, turned, turned), tile)));
  test(`${name}: vectors, of which some are beyond the end`, () =>
    withOnly(tile, () => check(product(m + 4, 20, n + 4, !turned, !turned), tile)));
  test(`${name}: whole tiles, a split k, bias and activation`, () =>
    withOnly(tile, async () => {
      const { inputs } = product(m, 272, n, false, true);
      const fn = (a, b, bias) => matmul(a, b, { transposeB: true, bias, activation: "relu" });
      const { splits } = await check({ inputs: [...inputs, f([n])], fn }, tile);
      assert.ok(splits > 1);
    }));
});

test("bias as vectors and not, of batches", async () => {
  for (const columns of [8, 7]) {
    const inputs = [f([3, 5, 9]), f([3, 9, columns]), f([columns])];
    const { text } = await check({ inputs, fn: (a, b, bias) => matmul(a, b, { bias }) }, TILES[1]);
    assert.is(/\bbias_vectors\[/.test(text), columns === 8);
  }
});

test("which tile made a product is not to be seen in its bits", async () => {
  const c = product(70, 48, 66, false, true);
  let first = null;
  for (const tile of TILES.slice()) {
    const { got } = await withOnly(tile, () => multiply(c, tile));
    first ??= got;
    assert.equal(got, first, nameOf(tile));
  }
});

const cases = await allCases();
const convolutions = [...(cases.conv2d ?? []), ...(cases.conv ?? [])].filter(({ op }) => /^conv2d/.test(op));
for (const op of ["conv2d", "conv2dInputGrad", "conv2dFilterGrad"]) {
  const own = convolutions.filter((c) => c.op === op);
  for (const c of [own[0], own[own.length >> 1]])
    test(`${op} by the largest tile: ${c.name}`, () => withOnly(TILES[TILES.length - 1], () => checkForward(gpu, c)));
}

const LIMITS = { software: false, maxWorkgroupSize: 256, maxWorkgroupBytes: 16384 };
const planned = (vendor, batch, m, k, n, limits = {}) =>
  tileOf({ file: "matmul", batch, m, n, k, sizeY: batch * m * n }, { ...LIMITS, vendor, ...limits });

/** Vendor, then batch, rows, k and columns of a product, and its tile with the parts of k. */
const CHOICES = [
  ["nvidia", [1, 4096, 4096, 4096], "16x8 by 16x8, 16", 1],
  ["nvidia", [1, 2048, 2048, 2048], "16x8 by 16x8, 16", 1],
  ["nvidia", [1, 1024, 1024, 1024], "8x8 by 16x16, 16", 2],
  ["nvidia", [1, 128, 128, 128], "4x4 by 8x8, 16", 1],
  ["nvidia", [1, 32, 1024, 1024], "4x4 by 8x8, 16", 8],
  ["nvidia", [384, 256, 64, 256], "16x8 by 16x8, 16", 1],
  ["nvidia", [10000, 4, 4, 4], "4x4 by 1x1, 4", 1],
  ["nvidia", [1000, 16, 16, 16], "4x4 by 1x1, 4", 1],
  ["4318", [1, 4096, 4096, 4096], "16x8 by 16x8, 16", 1],
  ["amd", [1, 4096, 4096, 4096], "8x8 by 16x16, 16", 1],
  ["", [1, 4096, 4096, 4096], "8x8 by 16x16, 16", 1],
  ["apple", [1, 4096, 4096, 4096], "8x4 by 16x8, 16", 1],
  ["apple", [1, 1024, 1024, 1024], "8x4 by 16x8, 16", 1],
  ["intel", [1, 1024, 1024, 1024], "8x8 by 16x16, 16", 1],
];
for (const [vendor, sizes, name, splits] of CHOICES) {
  test(`${sizes.join(" x ")} on ${vendor || "a GPU of which nothing is known"}: ${name}`, () => {
    const tile = planned(vendor, ...sizes);
    assert.is(nameOf(tile), name);
    assert.is(tile.splits, splits);
    assert.ok(tile.splits * tile.chunk >= sizes[2] && (tile.splits - 1) * tile.chunk < sizes[2]);
  });
}

test("tiles are of what the adapter's limits allow", () => {
  assert.is(nameOf(planned("nvidia", 1, 4096, 4096, 4096, { maxWorkgroupBytes: 16383 })), "8x8 by 8x16, 16");
  assert.is(nameOf(planned("amd", 1, 4096, 4096, 4096, { maxWorkgroupSize: 128 })), "8x8 by 8x16, 16");
  for (const t of TILES) assert.ok(t.x * t.y <= 256 && 4 * t.k * (t.x * t.columns + t.y * t.rows) <= 16384);
});

test("tiles that may stand for the usual one have its split and its zeros behind k", () => {
  for (const [m, k, n] of [[1024, 1024, 1024], [4096, 4096, 4096], [333, 777, 555], [8, 4096, 8]]) {
    const [wanted, features] = [{ file: "matmul", batch: 1, m, n, k, sizeY: m * n }, { ...LIMITS, vendor: "nvidia" }];
    const usual = tileOf(wanted, features);
    const [first, ...others] = tilesLike(usual, wanted, features);
    assert.equal(first, usual);
    assert.ok(others.length > 0);
    for (const t of others) {
      assert.equal([t.splits, t.chunk], [usual.splits, usual.chunk]);
      assert.is(t.chunk % t.k, 0);
      assert.is(k % t.k === 0, k % usual.k === 0);
      assert.is.not(nameOf(t), nameOf(usual));
    }
  }
});

test.after(() => gpu.close());
test.run();

/**
 * @file Attention by subgroup matrices, as half-products.js makes a device that has them of the software adapter; shaders are checked as
 * they are by Dawn without a backend.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open } from "../../build/esm/init.js";
import { withMode } from "../../build/esm/mode.js";
import { attention, attentionToHalves } from "../../build/esm/ops/attention.js";
import { sizeOf } from "../../build/esm/shape.js";
import { buildPlan } from "../../build/esm/plan/build.js";
import { kernelsFor } from "../../build/esm/webgpu/commands.js";
import { ATTENTION_TILES } from "../../build/esm/webgpu/encode/attention-matrices.js";
import { encode } from "../../build/esm/webgpu/program.js";
import { assertClose, fixed, maxAbs, randomSource, reference, runOnce, traceForward, traceGradient, values } from "../ops/harness.js";
import { toHalves } from "../reference/halves.js";
import { nullDevice, pretended } from "./half-products.js";

/** Unit roundoff of f16. */
const ROUNDING = 2 ** -11;
/** Of adapters: NVIDIA's, and Apple's. */
const NVIDIA = [["f16", "f32", 16, 16, 16]];
const APPLE = [["f32", "f32", 8, 8, 8]];

/** A device with subgroups of 4. Tiles are small, since all that a GPU does at once the software adapter does one after another. */
const opened = async (configs, tile, more = {}) => {
  const backend = await open("webgpu", { precision: "mixed", gpu: pretended({ configs, most: 4 }) });
  Object.assign(backend.features.matrices, { attention: tile, ...more });
  return backend;
};
const small = { subgroups: 2, rows: 8, columns: 16 };
const single = await opened(APPLE, small);
const half = await opened([["f16", "f32", 8, 8, 8]], small);
const square = await opened(NVIDIA, { subgroups: 2, rows: 16, columns: 16 });
// Kernels say how many invocations work on what a subgroup has: so many that several share a query.
const wide = await opened([["f16", "f32", 8, 8, 8]], small, { subgroupSize: 32 });
const strict = await nullDevice();

/** f16 numbers: 64ths between -2 and 2. */
function exact(shape, seed) {
  const random = randomSource(seed);
  return values(
    Array.from({ length: sizeOf(shape) }, () => Math.round(256 * random() - 128) / 64),
    "f32",
    shape,
  );
}

/** A case of as many options as functions of further inputs have. */
const caseOf = ({ batch = 1, tq, tk, heads = 1, kvHeads = heads, dim = 8, valueDim = dim }, options = {}, more = [], given = {}) => ({
  op: "attention",
  inputs: [exact([batch, tq, heads, dim], 1), exact([batch, tk, kvHeads, dim], 2), exact([batch, tk, kvHeads, valueDim], 3), ...more],
  fn: (q, k, v, ...rest) => {
    const { key, ...own } = typeof options === "function" ? options(...rest) : options;
    return withMode({ training: true, key: () => key }, () => attention(q, k, v, own));
  },
  ...given,
});

async function dispatchesOf(backend, { graph, results }, features = backend.features) {
  const plan = buildPlan(graph, results, backend.limits);
  return encode(plan, features, await kernelsFor(plan, features)).dispatches;
}

/** The entry points that make scores. */
const entriesOf = async (backend, traced) =>
  (await dispatchesOf(backend, traced))
    .filter(({ label }) => /^attention/.test(label))
    .map(({ entry }) => entry)
    .filter((entry) => ["matrices", "forward", "queries", "keys", "few"].includes(entry));

/** Compares y with float64, and unless `grad` is false the gradients of all inputs, of which two factors are rounded; returns y. */
async function check(backend, c, error) {
  let y;
  for (const [traced, tolerance] of [[traceForward(c), error], ...(c.grad === false ? [] : [[traceGradient(c), 2 * error]])]) {
    const entries = await entriesOf(backend, traced);
    assert.ok(entries.length > 0 && entries.every((entry) => entry === "matrices"), `${entries}`);
    const [got, want] = [await runOnce(backend, traced), await runOnce(reference, traced)];
    y ??= got[0];
    got.forEach((x, i) => {
      const scale = Math.max(1e-3, maxAbs(want[i].filter(Number.isFinite)));
      assertClose(x, want[i], "f32", { tolerance, scale, what: `result ${i}` });
    });
  }
  return y;
}

const key = values([12, 345, 6, 1], "u32");

test("partial tiles, grouped heads, a mask and its gradient, offsets, lengths, a window and dropout at once", () =>
  check(
    single,
    caseOf(
      { batch: 2, tq: 19, tk: 37, heads: 4, kvHeads: 2, dim: 9, valueDim: 20 },
      (mask, offset, lengths, key) => ({ mask, offset, lengths, key, causal: true, window: 25, dropout: 0.3 }),
      [exact([4, 19, 37], 4), values([18, 3], "i32"), values([37, 20], "i32"), key],
    ),
    2e-5,
  ));

test("a prompt over a cache in f16", () => {
  const c = caseOf({ tq: 19, tk: 37, heads: 4, kvHeads: 2, dim: 12 }, {}, [], { grad: false });
  const [q, ...kept] = c.inputs;
  const words = kept.map(({ list, shape }) => values([...toHalves(list)], "u32", [...shape.slice(0, -1), shape.at(-1) / 2]));
  const fn = (q, k, v, offset, lengths) => attentionToHalves(q, k, v, { causal: true, offset, lengths });
  return check(single, { ...c, inputs: [q, ...words, values([18], "i32"), values([37], "i32")], fn }, 2e-5);
});

test("features of keys' and values' gradients in parts, matrices of 16 x 16", () =>
  check(square, caseOf({ tq: 18, tk: 17, dim: 8, valueDim: 65 }, { causal: true }), 2 * ROUNDING));

test("scores that grow from tile to tile, keys in parts, invocations that share a query", async () => {
  const rising = caseOf({ tq: 16, tk: 300 }, { scale: 1 / 8 }, [], { grad: false });
  const keys = rising.inputs[1];
  rising.inputs[0] = { ...rising.inputs[0], list: rising.inputs[0].list.map((v) => Math.abs(v) + 1) };
  rising.inputs[1] = { ...keys, list: keys.list.map((v, i) => v + Math.floor(i / (8 * 16)) / 2) };
  await check(wide, rising, 8 * ROUNDING);
});

test("queries that see nothing, infinities and NaN, and NaN in what nobody sees; beyond 65504 an operand is infinite", async () => {
  const [tq, tk] = [16, 48];
  const mask = new Array(tq * tk).fill(0);
  mask.fill(-Infinity, 0, tk);
  mask.fill(-Infinity, tk, 2 * tk - 1);
  mask[2 * tk + 5] = NaN;
  mask[3 * tk + 20] = Infinity;
  mask.fill(-1e30, 4 * tk, 4 * tk + 30);
  const c = caseOf({ tq, tk }, (mask, lengths) => ({ mask, lengths }), [fixed(values(mask, "f32", [tq, tk])), values([41], "i32")], {
    grad: false,
  });
  for (const i of [1, 2]) c.inputs[i].list.fill(NaN, 41 * 8);
  const y = await check(half, c, 2 * ROUNDING);
  assert.equal(
    [0, 1, 2, 3, 4].map((row) => y[8 * row]).map((v) => (Number.isNaN(v) ? NaN : v === 0)),
    [true, true, NaN, NaN, false],
  );
  const [want] = await runOnce(reference, traceForward(c));
  assert.ok(
    y.some((v, i) => Math.abs(v - want[i]) > 2 ** -18 * Math.abs(want[i])),
    "nothing was rounded",
  );
  c.inputs[2].list[40 * 8] = 7e4;
  const [infinite] = await runOnce(half, traceForward(c));
  assert.equal([...infinite.subarray(8 * 15, 8 * 16)].map(Number.isFinite), [false, true, true, true, true, true, true, true]);
});

test("few queries or keys, small and large heads stay what they are", async () => {
  for (const [given, entries] of [
    [{ tq: 1, tk: 64 }, ["few"]],
    [{ tq: 15, tk: 64 }, ["forward"]],
    [{ tq: 16, tk: 15 }, ["forward"]],
    [{ tq: 16, tk: 16, dim: 7 }, ["forward"]],
    [{ tq: 16, tk: 16, valueDim: 129 }, ["forward"]],
    [{ tq: 4, tk: 16, heads: 4, kvHeads: 1 }, ["matrices"]],
  ])
    assert.equal(await entriesOf(half, traceForward(caseOf(given))), entries, JSON.stringify(given));
  // What no workgroup memory has room for.
  const features = { ...half.features, maxWorkgroupBytes: 4096 };
  const gradient = traceGradient(caseOf({ tq: 16, tk: 16, dim: 64 }));
  const labels = (await dispatchesOf(half, gradient, features)).map((d) => d.label);
  for (const label of ["attention.forward", "attention-grad.queries", "attention-grad.keys"]) assert.ok(labels.includes(label), label);
});

/** Every tile with each adapter's matrices, as the driver would get it. */
for (const [name, configs] of Object.entries({ NVIDIA, APPLE, oblong: [["f16", "f32", 16, 8, 8]] }))
  test(`WGSL is right: ${name}`, async () => {
    const backend = await open("webgpu", { precision: "mixed", gpu: pretended({ configs }) });
    let seen = 0;
    for (const attention of ATTENTION_TILES.filter(({ subgroups }) => subgroups >= 4))
      for (const dim of [64, 120]) {
        const features = { ...backend.features, matrices: { ...backend.features.matrices, attention }, maxWorkgroupBytes: 49152 };
        const traced = traceGradient(caseOf({ tq: 300, tk: 300, dim }, (key) => ({ key, dropout: 0.5, causal: true }), [key]));
        for (const { text, entry } of await dispatchesOf(backend, traced, features)) {
          if (entry !== "matrices") continue;
          seen++;
          const errors = await strict.errors(text, entry);
          // Nothing runs on this device, so that it promises no more than 16 KiB.
          const bytes = errors.map((e) => /^The total use of workgroup storage \((\d+) bytes\) is larger/.exec(e)?.[1]);
          assert.ok(errors.length === 0 || (errors.length === 1 && bytes[0] <= 49152), errors.join("\n"));
        }
      }
    assert.ok(seen >= 6, `${seen}`);
    backend.close();
  });

test.after(() => {
  for (const backend of [single, half, square, wide]) backend.close();
  strict.close();
});
test.run();

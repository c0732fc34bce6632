/**
 * @file Every tile of products on this adapter, in Node, in a process of its own: how fast each is for a few products, with k whole and
 * split, beside the one that a product gets. What `src/webgpu/encode/tiles.ts` takes for granted can be read off this table. Arguments:
 * size. The table is what is printed.
 */
import { globals } from "webgpu";
import { openWebGpu } from "../../build/esm/webgpu/index.js";
import { Pending } from "../../build/esm/webgpu/adapter.js";
import { Buffers } from "../../build/esm/webgpu/buffers.js";
import { CORE } from "../../build/esm/webgpu/commands.js";
import { encodeTiled, productOf } from "../../build/esm/webgpu/encode/matmul.js";
import { nameOf, TILES, tileOf } from "../../build/esm/webgpu/encode/tiles.js";
import { prepared } from "../../build/esm/webgpu/parts/tuner.js";
import { encode, GpuProgram, Pipelines } from "../../build/esm/webgpu/program.js";

Object.assign(globalThis, globals);
const [size] = process.argv.slice(2);

/** batch, m, k, n; B transposed where `turned`. */
const PRODUCTS = {
  software: [[1, 64, 64, 64]],
  gpu: [
    [1, 256, 256, 256],
    [1, 512, 512, 512],
    [1, 1024, 1024, 1024],
    [1, 2048, 2048, 2048],
    [1, 4096, 4096, 4096],
    // A dense layer, a transformer's products forward and of its weights' gradients, and those of attention.
    [1, 32, 1024, 1024],
    [1, 2048, 512, 2048],
    [1, 512, 2048, 2048],
    [1, 16384, 384, 1536],
    [1, 384, 16384, 1536],
    [384, 256, 64, 256, true],
    [384, 256, 256, 64],
    [10000, 16, 16, 16],
  ],
};
const ROUNDS = 5;
/** The fastest ways that are shown. */
const SHOWN = 8;
/** Least k of a part. */
const LEAST_CHUNK = 64;
/** Multiply-adds between two looks at the clock. */
const WORK = size === "gpu" ? 2 ** 34 : 2 ** 18;

const backend = await openWebGpu({ tune: false });
const { device, features } = backend;
const pending = new Pending();
const buffers = new Buffers(device, backend.limits.maxBytes, () => {});
const pipelines = new Pipelines(device, pending);
const compile = (plan, encoder) =>
  GpuProgram.create(plan, device, buffers, pipelines, encode(plan, features, { encoders: { timed: encoder }, shaders: CORE.shaders }));
const machine = { device, pending, buffers, closed: () => false, compile };

/** GFLOP/s of a product by `tile`, median. */
async function rateOf(product, operands, tile) {
  const work = product.batch * product.m * product.n * product.k;
  const repeats = Math.max(1, Math.min(64, Math.ceil(WORK / work)));
  const bindings = operands.map(({ bytes, access }) => ({ kind: "input", shape: [], dtype: "f32", bytes, written: access === "write" }));
  const calls = Array.from({ length: repeats }, () => ({ kernel: "timed", inputs: [], outputs: [], attrs: {}, source: "" }));
  const timed = await prepared(machine, { bindings, slots: [], calls, kernels: {} }, (_, out) => encodeTiled(out, product, tile));
  await timed.time();
  const times = [];
  for (let round = 0; round < ROUNDS; round++) times.push(await timed.time());
  timed.close();
  return (2 * work * repeats) / times.sort((s, t) => s - t)[ROUNDS >> 1] / 1e6;
}

const show = (rate) => (rate >= 1e4 ? `${(rate / 1e3).toFixed(1)}` : `${(rate / 1e3).toPrecision(3)}`);
console.log(`## Tiles on ${backend.adapter} (${features.vendor || "no vendor"})\n`);
console.log("TFLOP/s: rows x columns of an invocation by invocations, step of k; parts of k where there are several.\n");
for (const [batch, m, k, n, turned = false] of PRODUCTS[size]) {
  const bound = (index, elements, access) => ({ place: { space: "binding", index, offset: 0 }, bytes: 4 * elements, access });
  const operands = [bound(0, batch * m * k, "read"), bound(1, batch * k * n, "read"), bound(2, batch * m * n, "write")];
  const [a, b, y] = operands;
  const stridesB = turned ? { batch: k * n, along: k, k: 1 } : { batch: k * n, along: 1, k: n };
  const product = productOf({
    batch,
    m,
    k,
    n,
    a,
    b,
    y,
    bias: null,
    activation: "linear",
    stridesA: { batch: m * k, along: k, k: 1 },
    stridesB,
  });
  const { splits, ...usual } = tileOf(product, features);
  const rates = [];
  for (const tile of TILES) {
    for (const parts of new Set([1, 2, 4, 8, ...(nameOf(tile) === nameOf(usual) ? [splits] : [])])) {
      if (parts > 1 && k / parts < LEAST_CHUNK) continue;
      const chunk = Math.ceil(k / parts / tile.k) * tile.k;
      const planned = { ...tile, splits: Math.ceil(k / chunk), chunk };
      if (planned.splits !== parts) continue;
      const rate = await rateOf(product, operands, planned).catch((error) => void console.error(`${nameOf(tile)}: ${error.message}`));
      const taken = nameOf(tile) === nameOf(usual) && parts === splits;
      if (rate !== undefined) rates.push({ rate, name: `${nameOf(tile)}${parts > 1 ? `; ${parts}` : ""}`, taken });
    }
  }
  rates.sort((s, t) => t.rate - s.rate);
  const taken = rates.find((r) => r.taken);
  console.log(`- **${batch > 1 ? `${batch} x ` : ""}${m} x ${k} x ${n}${turned ? ", B transposed" : ""}**: takes ${taken?.name ?? "?"}: `);
  console.log(
    `  ${rates
      .slice(0, SHOWN)
      .map((r) => `${r.name}: ${r.taken ? `**${show(r.rate)}**` : show(r.rate)}`)
      .join(" · ")}`,
  );
  if (taken !== undefined && rates.indexOf(taken) >= SHOWN) console.log(`  (what it takes: **${show(taken.rate)}**)`);
}
await backend.close();
process.exit(0);

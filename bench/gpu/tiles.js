/**
 * @file Every tile of products on this adapter, in Node, in a process of its own: how fast each is for a few products, with k whole and
 * split, beside the one that a product gets; then convolutions by 3x3 filters, as products of windows and by Winograd's tiles. What
 * `src/webgpu/encode/tiles.ts` and `parts/winograd.ts` take for granted can be read off these tables. Arguments: size. They are what is
 * printed.
 */
import { globals } from "webgpu";
import { openWebGpu } from "../../build/esm/webgpu/index.js";
import { Pending } from "../../build/esm/webgpu/adapter.js";
import { Buffers } from "../../build/esm/webgpu/buffers.js";
import { CORE } from "../../build/esm/webgpu/commands.js";
import { encodeTiled, productOf } from "../../build/esm/webgpu/encode/matmul.js";
import { nameOf, TILES, tileOf } from "../../build/esm/webgpu/encode/tiles.js";
import { prepared } from "../../build/esm/webgpu/parts/tuner.js";
import * as winograd from "../../build/esm/webgpu/parts/winograd.js";
import { sizeOf } from "../../build/esm/shape.js";
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
/** Images, rows and columns, channels and filters; those of the table of benchmarks first, then of ResNet-50, few and small ones. */
const CONVOLUTIONS = {
  software: [[1, 14, 14, 32, 32]],
  gpu: [
    [32, 56, 56, 64, 64],
    [32, 28, 28, 128, 128],
    [32, 14, 14, 256, 256],
    [32, 7, 7, 512, 512],
    [32, 56, 56, 32, 32],
    [32, 112, 112, 32, 64],
    [1, 56, 56, 64, 64],
    [4, 28, 28, 128, 128],
  ],
};
/** Bytes of tiles at a time. */
const PARTS = [2 ** 23, 2 ** 24, 2 ** 25, 2 ** 26, 2 ** 27];
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
const kernels = { encoders: CORE.encoders, shaders: { ...CORE.shaders, ...winograd.shaders } };
const compile = (plan, encoder) =>
  GpuProgram.create(
    plan,
    device,
    buffers,
    pipelines,
    encode(plan, features, { ...kernels, encoders: { ...kernels.encoders, timed: encoder } }),
  );
const machine = { device, pending, buffers, closed: () => false, compile };

/** Milliseconds of what `encoder` writes over `operands`, median; `work`: its multiply-adds. */
async function timeOf(operands, work, encoder) {
  const repeats = Math.max(1, Math.min(64, Math.ceil(WORK / work)));
  const bindings = operands.map(({ bytes, access }) => ({ kind: "input", shape: [], dtype: "f32", bytes, written: access === "write" }));
  const calls = Array.from({ length: repeats }, () => ({ kernel: "timed", inputs: [], outputs: [], attrs: {}, source: "" }));
  const timed = await prepared(machine, { bindings, slots: [], calls, kernels: {} }, (_, out) => encoder(out));
  await timed.time();
  const times = [];
  for (let round = 0; round < ROUNDS; round++) times.push(await timed.time());
  timed.close();
  return times.sort((s, t) => s - t)[ROUNDS >> 1] / repeats;
}

/** GFLOP/s of a product by `tile`. */
async function rateOf(product, operands, tile) {
  const work = product.batch * product.m * product.n * product.k;
  return (2 * work) / (await timeOf(operands, work, (out) => encodeTiled(out, product, tile))) / 1e6;
}

const bound = (index, elements, access) => ({ place: { space: "binding", index, offset: 0 }, bytes: 4 * elements, access });
const show = (rate) => (rate >= 1e4 ? `${(rate / 1e3).toFixed(1)}` : `${(rate / 1e3).toPrecision(3)}`);
console.log(`## Tiles on ${backend.adapter} (${features.vendor || "no vendor"})\n`);
console.log("TFLOP/s: rows x columns of an invocation by invocations, step of k; parts of k where there are several.\n");
for (const [batch, m, k, n, turned = false] of PRODUCTS[size]) {
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

console.log("\n## Convolutions by 3x3 filters\n");
console.log("Milliseconds, tuner off: by windows, then by tiles, with so many MiB of them at a time; what is taken is **bold**.\n");
const encoders = winograd.encodersWith(CORE.encoders);
for (const [n, h, w, c, f] of CONVOLUTIONS[size]) {
  const attrs = { n, h, w, c, p: h, q: w, r: 3, s: 3, f, groups: 1, activation: "linear", padTop: 1, padLeft: 1 };
  Object.assign(attrs, { strideH: 1, strideW: 1, dilationH: 1, dilationW: 1 });
  const [x, filters, y] = [[n, h, w, c], [3, 3, c, f], [n, h, w, f]];
  for (const [kernel, shapes] of Object.entries({
    conv2d: [x, filters, y],
    conv2dInputGrad: [y, filters, x],
    conv2dFilterGrad: [x, y, filters],
  })) {
    const places = shapes.map((shape, i) => bound(i, sizeOf(shape), i === 2 ? "write" : "read"));
    const [a, b, result] = shapes.map((shape, i) => ({ place: places[i].place, shape, dtype: "f32" }));
    const call = { kernel, inputs: [a, b], outputs: [result], attrs, source: "" };
    features.winograd = undefined;
    const usual = encode({ bindings: [], slots: [], calls: [call], kernels: {} }, features, {
      ...kernels,
      encoders: { ...kernels.encoders, ...encoders },
    });
    const takes = usual.dispatches.some(({ label }) => /winograd/.test(label));
    const found = [];
    for (const partBytes of [0, ...PARTS]) {
      features.winograd = { used: partBytes > 0, partBytes };
      const ms = await timeOf(places, 9 * n * h * w * c * f, (out) => encoders[kernel](call, out)).catch(
        (e) => void console.error(e.message),
      );
      if (ms === undefined) continue;
      const taken = partBytes > 0 ? takes && partBytes === winograd.PART_BYTES : !takes;
      found.push(`${partBytes > 0 ? `${partBytes / 2 ** 20}: ` : ""}${taken ? `**${ms.toFixed(3)}**` : ms.toFixed(3)}`);
    }
    console.log(`- ${kernel} ${n} x ${h} x ${w} x ${c}, ${f} filters: ${found.join(" · ")}`);
  }
}
await backend.close();
process.exit(0);

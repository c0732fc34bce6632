/**
 * @file `npm run bench:gpu -- --matrices`: square products in f32, with operands in f16 and by subgroup matrices, by each candidate for a
 * tile, and attention in f32 and by matrices likewise, in Node (Dawn, in whose adapters these are an experiment). Every line is measured on
 * one adapter in one process, in turns; what is printed is the median, and how far results are from those of f32. Arguments: software
 * (small sizes) or gpu, and `attention` or `products` for those alone.
 */
import { globals } from "webgpu";
import { add, compile, gradients, matmul, open, ops, tensor } from "lockstep";
import { ATTENTION_TILES } from "../../build/esm/webgpu/encode/attention-matrices.js";
import { fits, TILES } from "../../build/esm/webgpu/parts/matrices.js";
import { noise } from "../data.js";
import { chain, SIZES as WORK } from "./workloads.js";

Object.assign(globalThis, globals);
const F16 = "vulkan_enable_f16_on_nvidia";
const WITH_F16 = [`enable-dawn-features=${F16}`];
const WITH_MATRICES = [`enable-dawn-features=allow_unsafe_apis,${F16}`];
const [, , where, only] = process.argv;
const SIZES = where === "gpu" ? [512, 1024, 2048, 4096] : [64, 128];
const ROUNDS = 7;
/** Beside those that are chosen from: deeper steps, four subgroups with large parts, eight with wide ones. */
const MORE = [
  { down: 2, across: 4, m: 64, n: 32, k: 64, speed: 1 },
  { down: 2, across: 2, m: 64, n: 64, k: 32, speed: 1 },
  { down: 4, across: 2, m: 32, n: 64, k: 32, speed: 1 },
  { down: 2, across: 4, m: 64, n: 64, k: 32, speed: 1 },
];

/** Tiles of attention beside those that are chosen from: more rows for each subgroup, and more columns at once. */
const MORE_ATTENTION = [
  { subgroups: 4, rows: 32, columns: 32 },
  { subgroups: 2, rows: 32, columns: 32 },
  { subgroups: 4, rows: 16, columns: 64 },
  { subgroups: 8, rows: 16, columns: 16 },
];

/** Variants of products: a name, what opens it, and what the backend is told. Each opens a device of its own. */
async function variants() {
  const list = [{ name: "f32", options: {} }];
  const probe = await open("webgpu", { precision: "mixed", dawn: WITH_MATRICES });
  const { half, matrices } = probe.features;
  console.log(
    `${probe.adapter}: f16 ${half}, matrices ${matrices === null ? "none" : [matrices.type, matrices.m, matrices.n, matrices.k].join(" ")}`,
  );
  const kept = [...TILES, ...MORE].filter((tile) => matrices !== null && fits(tile, matrices, probe.features));
  await probe.close();
  if (half) {
    list.push({ name: "f16 tiles", options: { precision: "mixed", dawn: WITH_F16 } });
    list.push({ name: "f16 tiles, f32 storage", options: { precision: "mixed", storage: "f32", dawn: WITH_F16 } });
  }
  if (matrices !== null) {
    list.push({ name: "matrices, chosen", options: { precision: "mixed", dawn: WITH_MATRICES } });
    list.push({ name: "matrices, chosen, f32 storage", options: { precision: "mixed", storage: "f32", dawn: WITH_MATRICES } });
    for (const tile of kept)
      for (const halvedFrom of [1, Infinity])
        list.push({
          name: nameOf(tile, halvedFrom === 1),
          options: { precision: "mixed", storage: "f32", dawn: WITH_MATRICES },
          told: { tile, halvedFrom },
        });
  }
  return list;
}

const nameOf = ({ down, across, m, n, k }, halved) => `${down * m} x ${across * n}, parts ${m} x ${n}, k ${k}${halved ? ", halved" : ""}`;

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

/** The median time of a run, of those after the first. */
async function timeOf(run) {
  const times = [];
  for (let i = 0; i < ROUNDS; i++) {
    const from = performance.now();
    await (await run()).data();
    if (i > 0) times.push(performance.now() - from);
  }
  return median(times);
}

/** The largest difference, as a part of the largest of what should be. */
const errorOf = (got, want) => Math.max(...got.map((v, i) => Math.abs(v - want[i]))) / Math.max(...want.map(Math.abs));

async function products() {
  const all = await variants();
  for (const n of SIZES) {
    const rows = noise(n * n, 3).map((v) => v - 0.5);
    const columns = noise(n * n, 5).map((v) => (v - 0.5) / Math.sqrt(n / 12));
    let want = null;
    console.log(`\n${n} x ${n} x ${n}`);
    for (const { name, options, told } of all) {
      const backend = await open("webgpu", options);
      if (told) Object.assign(backend.features.matrices, told);
      const [a, b] = [tensor(rows, [n, n]), tensor(columns, [n, n])];
      const once = await compile(() => ops.slice(matmul(a, b), [n >> 1, 0], [1, n]), { backend });
      const got = await (await once()).data();
      want ??= got;
      const error = errorOf(got, want);
      const timed = await compile(
        () => {
          let y = a;
          for (let i = 0; i < chain(n); i++) y = matmul(y, b);
          return ops.slice(y, [0, 0], [1, 1]);
        },
        { backend },
      );
      const ms = (await timeOf(timed)) / chain(n);
      const rate = ((2 * n ** 3) / ms / 1e9).toFixed(1).padStart(7);
      console.log(`  ${name.padEnd(52)} ${ms.toFixed(3).padStart(9)} ms ${rate} TFLOP/s, off by ${error.toExponential(1)}`);
      await backend.close();
    }
  }
}

/**
 * Attention forward, and forward and backward, `count` times, each of queries that the one before has changed; operations are those of two
 * products and of seven (scores are made again in the backward pass).
 */
async function attention() {
  const mixed = { precision: "mixed", dawn: WITH_MATRICES };
  const variants = [
    { name: "f32", options: {} },
    { name: "mixed, chosen", options: mixed },
    ...[...ATTENTION_TILES, ...MORE_ATTENTION].map((tile) => ({
      name: `mixed, ${tile.subgroups} x ${tile.rows} rows, ${tile.columns} columns`,
      options: mixed,
      tile,
    })),
  ];
  for (const sizes of WORK[where === "gpu" ? "gpu" : "software"].attention) {
    const { batch, heads, tokens, dim, count } = sizes;
    const shape = [batch, tokens, heads, dim];
    const product = 2 * batch * heads * tokens ** 2 * dim;
    const data = [3, 5, 7, 11].map((seed) => noise(batch * tokens * heads * dim, seed).map((x) => 2 * x - 1));
    const wanted = [];
    console.log(`\nattention, ${batch} x ${heads} heads of ${dim}, ${tokens} tokens`);
    for (const { name, options, tile } of variants) {
      const backend = await open("webgpu", options);
      if (tile && backend.features.matrices === null) {
        await backend.close();
        continue;
      }
      if (tile) backend.features.matrices.attention = tile;
      const [q, k, v, d] = data.map((x) => tensor(x, shape));
      const forward = (x) => ops.attention(x, k, v);
      const backward = (x) => {
        const [dq, dk, dv] = gradients(ops.sum(ops.mul(forward(x), d)), [x, k, v]);
        return add(x, add(add(dq, dk), dv));
      };
      const line = [];
      for (const [step, works] of [[forward, 2], [backward, 7]]) {
        const once = await compile(() => ops.slice(step(q), [batch - 1, tokens >> 1, 0, 0], [1, 1, heads, dim]), { backend });
        const got = await (await once()).data();
        wanted[works] ??= got;
        const timed = await compile(
          () => {
            let x = q;
            for (let i = 0; i < count; i++) x = step(x);
            return ops.slice(x, [0, 0, 0, 0], [1, 1, 1, 1]);
          },
          { backend },
        );
        const ms = (await timeOf(timed)) / count;
        const rate = ((works * product) / ms / 1e9).toFixed(1).padStart(6);
        line.push(`${ms.toFixed(3).padStart(8)} ms ${rate} TFLOP/s, off by ${errorOf(got, wanted[works]).toExponential(1)}`);
      }
      console.log(`  ${name.padEnd(38)} forward ${line[0]}; both ${line[1]}`);
      await backend.close();
    }
  }
}

if (only !== "attention") await products();
if (only !== "products") await attention();
process.exit(0);

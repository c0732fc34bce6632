/**
 * @file `npm run bench:gpu -- --matrices`: square products in f32, with operands in f16 and by subgroup matrices, by each candidate for a
 * tile, in Node (Dawn, in whose adapters these are an experiment). Every column is measured on one adapter in one process, in turns; what
 * is printed is the median, and how far results are from those of f32. Argument: software (small sizes) or gpu.
 */
import { globals } from "webgpu";
import { compile, matmul, open, ops, tensor } from "lockstep";
import { fits, TILES } from "../../build/esm/webgpu/parts/matrices.js";
import { noise } from "../data.js";
import { chain } from "./workloads.js";

Object.assign(globalThis, globals);
const F16 = "vulkan_enable_f16_on_nvidia";
const WITH_F16 = [`enable-dawn-features=${F16}`];
const WITH_MATRICES = [`enable-dawn-features=allow_unsafe_apis,${F16}`];
const SIZES = process.argv[2] === "gpu" ? [512, 1024, 2048, 4096] : [64, 128];
const ROUNDS = 7;
/** Beside those that are chosen from: deeper steps, four subgroups with large parts, eight with wide ones. */
const MORE = [
  { down: 2, across: 4, m: 64, n: 32, k: 64, speed: 1 },
  { down: 2, across: 2, m: 64, n: 64, k: 32, speed: 1 },
  { down: 4, across: 2, m: 32, n: 64, k: 32, speed: 1 },
  { down: 2, across: 4, m: 64, n: 64, k: 32, speed: 1 },
];

/** Variants: a name, what opens it, and what the backend is told. Each opens a device of its own. */
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
    const scale = Math.max(...want.map(Math.abs));
    const error = Math.max(...got.map((v, i) => Math.abs(v - want[i]))) / scale;
    const timed = await compile(
      () => {
        let y = a;
        for (let i = 0; i < chain(n); i++) y = matmul(y, b);
        return ops.slice(y, [0, 0], [1, 1]);
      },
      { backend },
    );
    const times = [];
    for (let i = 0; i < ROUNDS; i++) {
      const from = performance.now();
      await (await timed()).data();
      if (i > 0) times.push((performance.now() - from) / chain(n));
    }
    const ms = median(times);
    const rate = ((2 * n ** 3) / ms / 1e9).toFixed(1).padStart(7);
    console.log(`  ${name.padEnd(52)} ${ms.toFixed(3).padStart(9)} ms ${rate} TFLOP/s, off by ${error.toExponential(1)}`);
    await backend.close();
  }
}
process.exit(0);

/** @file Samples per second of `fit`, batch 32, everything included. */
import { open } from "lockstep";
import { median, MODELS, prepare } from "./models.js";

const ROUNDS = 9;

export async function training() {
  const rows = [];
  for (const { threads, reproducible } of [
    { threads: 1, reproducible: false },
    { threads: 1, reproducible: true },
    { threads: "auto", reproducible: false },
  ]) {
    const backend = await open("wasm", { threads, reproducible });
    const runs = await Promise.all(Object.keys(MODELS).map(async (name) => ({ name, rates: [], ...(await prepare(name, backend)) })));
    const options = { epochs: 1, batchSize: 32, verbose: 0, seed: 1 };
    for (const r of runs) for (let i = 0; i < 2; i++) await r.model.fit(r.x, r.y, options);
    await backend.warm();
    for (let round = 0; round < ROUNDS; round++) {
      for (const r of runs) {
        const from = performance.now();
        await r.model.fit(r.x, r.y, options);
        r.rates.push((1000 * r.samples) / (performance.now() - from));
      }
    }
    for (const r of runs)
      rows.push([
        `${r.name} training, ${backend.threads} thread${backend.threads > 1 ? "s" : ""} ` +
          `(${backend.simd}${reproducible ? ", reproducible" : ""})`,
        `${Math.round(median(r.rates)).toLocaleString("en-US")} samples/s`,
      ]);
  }
  return rows;
}

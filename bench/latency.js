/** @file Time of one `predict` of one sample, from host data to host data. */
import { open } from "lockstep";
import { median, MODELS, prepare } from "./models.js";

const CALLS = 2000;

export async function latency() {
  const backend = await open("wasm", { threads: 1 });
  const rows = [];
  for (const name of Object.keys(MODELS)) {
    const { model, one } = await prepare(name, backend);
    const times = [];
    for (let i = 0; i < CALLS; i++) {
      const from = performance.now();
      await model.predict(one);
      times.push(performance.now() - from);
    }
    rows.push([`${name} predict, batch 1, 1 thread (${backend.simd})`, `${(1000 * median(times.slice(CALLS / 4))).toFixed(1)} us`]);
  }
  return rows;
}

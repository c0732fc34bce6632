/** @file The choice that `backend: "auto"` makes: the compiled training step, timed on each backend, on this data. */
import type { Backend } from "../backend.ts";

/** Longest time and most steps that one backend is timed for. */
const PROBE_MS = 60;
const PROBE_STEPS = 20;

export interface Timing {
  readonly backend: Backend;
  /** Milliseconds of a step. */
  readonly perStep: number;
}

/** Times `step` on `backend`: one step to warm up, then as many as fit, waiting for the device at the end. */
export async function time(backend: Backend, step: () => void): Promise<Timing> {
  step();
  await backend.sync();
  const from = performance.now();
  let steps = 0;
  do {
    step();
    steps++;
    // A device runs behind: without waiting now and then the clock would only see the encoding.
    if (steps % 4 === 0) await backend.sync();
  } while (steps < PROBE_STEPS && performance.now() - from < PROBE_MS);
  await backend.sync();
  return { backend, perStep: (performance.now() - from) / steps };
}

/** `backend: wasm (0.61 ms a step; webgpu 14.20 ms)` */
export function describe(timings: readonly Timing[], best: Timing): string {
  const others = timings.filter((t) => t !== best).map((t) => `; ${t.backend.name} ${t.perStep.toFixed(2)} ms`);
  return `backend: ${best.backend.name} (${best.perStep.toFixed(2)} ms a step${others.join("")})`;
}

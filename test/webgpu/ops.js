/** @file Cases of the op table on WebGPU against the float64 reference, within ten times the tolerance that the CPU kernels keep. */
import { assertClose, magnitudes, maxAbs, reference, runOnce, targetsOf, traceForward, traceGradient, ULP } from "../ops/harness.js";

const SLACK = 10;
/** WGSL allows devices to flush subnormal numbers to zero: so do the inputs here, and results that small may be zero. */
const SMALLEST_NORMAL = 2 ** -126;
const flushed = (traced) => ({ ...traced, data: traced.data.map((x) => (x instanceof Float64Array ? x.map((v) => (Math.abs(v) < SMALLEST_NORMAL ? 0 * v : v)) : x)) });

export async function checkForward(gpu, c) {
  const traced = flushed(traceForward(c));
  const want = await runOnce(reference, traced);
  const scale = c.accumulates ? await runOnce(reference, magnitudes(traced)) : null;
  const got = await runOnce(gpu, traced);
  got.forEach((y, k) => assertClose(y, want[k], traced.results[k].dtype, { tolerance: SLACK * (c.tolerance ?? 8 * ULP), scale: scale?.[k] ?? c.scale ?? null, what: `result ${k}`, smallest: SMALLEST_NORMAL }));
}

export async function checkGradient(gpu, c) {
  const traced = traceGradient(c);
  const [, ...want] = await runOnce(reference, traced);
  const [, ...got] = await runOnce(gpu, traced);
  got.forEach((g, k) => assertClose(g, want[k], "f32", { tolerance: SLACK * (c.gradTolerance ?? 5e-6), scale: Math.max(1e-3, maxAbs(want[k])), what: `gradient of input ${targetsOf(c)[k]}` }));
}

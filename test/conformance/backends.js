/**
 * @file The backends that conformance cases run on: all of the CPU's here; test/webgpu/conformance.test.js runs the same
 * cases on the GPU, within ten times their `atol`.
 */
import { open } from "../../build/esm/init.js";
import { referenceBackend } from "../reference/index.js";

/** By the name that stands in a test's name. */
export async function cpuBackends() {
  return { wasm: await open("wasm"), reproducible: await open("wasm", { reproducible: true }), float64: referenceBackend() };
}

/** How many times a case's `atol` a backend may be off. */
export const slackOf = (backend) => (backend.name === "webgpu" ? 10 : 1);

/** Registers `register(test, label, backend)` for each CPU backend and closes them after the tests. */
export async function onCpu(test, register) {
  const backends = await cpuBackends();
  for (const [label, backend] of Object.entries(backends)) register(test, label, backend);
  test.after(() => Object.values(backends).forEach((b) => b.close()));
}

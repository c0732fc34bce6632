/** @file What tests of joined dispatches share: adapters, and what dispatches do. */
import { kernelsFor } from "../../build/esm/webgpu/commands.js";
import { encode } from "../../build/esm/webgpu/program.js";
import { openGpu, openMasked } from "./gpu.js";

/** What WebGPU promises of every adapter. */
const LEAST = { maxStorageBuffersPerShaderStage: 8, maxComputeWorkgroupStorageSize: 16384, maxComputeInvocationsPerWorkgroup: 256 };
export const gpus = async () => ({
  "the adapter": await openGpu(),
  "as the least of GPUs": await openMasked({ software: false, limits: LEAST, without: ["subgroups"] }),
});

/** What dispatches do; some do several things that need nothing of each other. */
export const partsOf = ({ dispatches }) => dispatches.flatMap((d) => d.label.split("+"));
export const labelsOf = async (plan, features) => partsOf(encode(plan, features, await kernelsFor(plan)));

/** Plans that a backend compiles while `work` runs; with `only` it compiles none, and the work ends there. */
export async function plansOf(backend, work, only = false) {
  const { compile: own } = backend;
  const plans = [];
  backend.compile = (plan, ...more) => {
    plans.push(plan);
    if (only) throw new Error("enough");
    return own.call(backend, plan, ...more);
  };
  try {
    await work();
  } catch (error) {
    if (error.message !== "enough") throw error;
  } finally {
    delete backend.compile;
  }
  return plans;
}

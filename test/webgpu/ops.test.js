/** @file Tests of every op on WebGPU: each case and its gradients. */
import { test } from "uvu";
import { allCases, hasGradient } from "../ops/harness.js";
import { openGpu } from "./gpu.js";
import { checkForward, checkGradient } from "./ops.js";

const gpu = await openGpu();

for (const [family, cases] of Object.entries(await allCases())) {
  for (const c of cases) {
    test(`${family}: ${c.op}: ${c.name}`, () => checkForward(gpu, c));
    if (hasGradient(c)) test(`${family}: gradient of ${c.op}: ${c.name}`, () => checkGradient(gpu, c));
  }
}

test.after(() => gpu.close());
test.run();

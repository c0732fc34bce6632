/** @file The backend as it is shipped: cases of all kernels. */
import { test } from "uvu";
import { openWebGpu } from "../../build/webgpu.js";
import { allCases, hasGradient } from "../ops/harness.js";
import { DAWN } from "./gpu.js";
import { checkForward, checkGradient } from "./ops.js";

const gpu = await openWebGpu({ dawn: DAWN });
/** Of each family every so many cases: the others differ in sizes. */
const EVERY = 8;

for (const [family, cases] of Object.entries(await allCases())) {
  cases
    .filter((_, i) => i % EVERY === 0)
    .forEach((c) => {
      test(`${family}: ${c.op}: ${c.name}`, () => checkForward(gpu, c));
      if (hasGradient(c)) test(`${family}: gradient of ${c.op}: ${c.name}`, () => checkGradient(gpu, c));
    });
}

test.after(() => gpu.close());
test.run();

/** @file Tests of every op on WebGPU: each case and its gradients. */
import { test } from "uvu";
import { openGpu } from "./gpu.js";
import { wholeTable } from "./ops.js";

const gpu = await openGpu();

for (const { name, check } of await wholeTable()) test(name, () => check(gpu));

test.after(() => gpu.close());
test.run();

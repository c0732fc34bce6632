/**
 * @file Tests of every op on WebGPU: each case and its gradients. A software adapter takes ten minutes for all of them: there the sample
 * that has all that is computed, and a fifth of the others, unless LOCKSTEP_WHOLE=1.
 */
import { test } from "uvu";
import { openGpu } from "./gpu.js";
import { sampleOf, wholeTable } from "./ops.js";

const gpu = await openGpu();
const table = await wholeTable();
const isWhole = process.env.LOCKSTEP_WHOLE === "1" || !gpu.features.software;
const sample = new Set(isWhole ? table : (await sampleOf(table, gpu)).entries);

for (const [i, entry] of table.entries()) if (sample.has(entry) || i % 5 === 0) test(entry.name, () => entry.check(gpu));

test.after(() => gpu.close());
test.run();

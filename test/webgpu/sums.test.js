/** @file Sums of many elements on WebGPU: fewer than on the CPU, since the adapter is software. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { sumCases } from "../ops/sums.js";
import { openGpu } from "./gpu.js";

const gpu = await openGpu();

for (const c of sumCases(1e6)) {
  test(c.name, async () => {
    const error = await c.error(gpu);
    assert.ok(error <= c.tolerance, String(error));
  });
}

test.after(() => gpu.close());
test.run();

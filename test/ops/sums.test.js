/** @file Sums of ten million elements with the plain kernels and with relaxed SIMD. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { wasms } from "./harness.js";
import { sumCases } from "./sums.js";

/** Ten million of all that is one long sum, the rest of one million: that takes long enough. */
const LONG = /^(all: sum|rows: sum|10 columns: sum|2 columns in 4 parts: sum|softmax) of/;

for (const c of [...sumCases(1e7).filter(({ name }) => LONG.test(name)), ...sumCases(1e6).filter(({ name }) => !LONG.test(name))]) {
  test(c.name, async () => {
    for (const [k, wasm] of wasms.entries()) {
      const error = await c.error(wasm);
      assert.ok(error <= c.tolerance, `${["plain", "relaxed"][k]}: ${error}`);
    }
  });
}

test.after(() => wasms.forEach((wasm) => wasm.close()));
test.run();

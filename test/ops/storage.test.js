/**
 * Tests that storage changes no result: every case of every op that takes i32 gives the same bits for elements that are stored as bytes.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { allCases, reference, runOnce, traceForward, wasms } from "./harness.js";

/** The case with its i32 inputs as numbers that are bytes. */
const asBytes = (spec) =>
  spec.dtype === "i32" && !spec.storage && !spec.list
    ? { ...spec, storage: "u8", low: Math.max(0, spec.low), high: Math.min(255, Math.max(0, spec.high)) }
    : spec;

let tried = 0;
for (const [family, cases] of Object.entries(await allCases())) {
  test(`${family}: bytes and words give the same`, async () => {
    for (const c of cases) {
      const inputs = c.inputs.map(asBytes);
      if (inputs.every((spec, k) => spec === c.inputs[k])) continue;
      tried++;
      const stored = traceForward({ ...c, inputs });
      const words = traceForward({ ...c, inputs: inputs.map(({ storage, ...spec }) => (storage === "u8" ? spec : { ...spec, storage })) });
      for (const backend of [reference, ...wasms])
        assert.equal(await runOnce(backend, stored), await runOnce(backend, words), `${c.op}, ${c.name}`);
    }
  });
}

test("there are such cases", () => assert.ok(tried > 100, `${tried}`));

test.run();

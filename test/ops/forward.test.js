/** Tests of every op's values: each case on both WASM builds against the float64 reference. */
import { test } from "uvu";
import { allCases, assertClose, magnitudes, reference, runOnce, traceForward, wasms } from "./harness.js";

for (const [family, cases] of Object.entries(await allCases())) {
  for (const c of cases) {
    test(`${family}: ${c.op}: ${c.name}`, async () => {
      const traced = traceForward(c);
      const want = await runOnce(reference, traced);
      const scale = c.accumulates ? await runOnce(reference, magnitudes(traced)) : null;
      for (const wasm of wasms) {
        const got = await runOnce(wasm, traced);
        got.forEach((y, k) =>
          assertClose(y, want[k], traced.results[k].dtype, {
            tolerance: c.tolerance,
            scale: scale?.[k] ?? c.scale ?? null,
            what: `${wasm.simd} result ${k}`,
          }),
        );
      }
    });
  }
}

test.run();

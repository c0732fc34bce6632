/** @file The backend as it is shipped: cases of all kernels. */
import { cpSync, mkdirSync, rmSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
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

test("a part of the kernels that is not there is an error that says where it belongs, and only for programs that need it", async () => {
  const folder = new URL("../../build/without-parts/", import.meta.url);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  for (const file of ["webgpu.js", "base.js"]) cpSync(new URL(`../${file}`, folder), new URL(file, folder));
  const backend = await (await import(new URL("webgpu.js", folder))).openWebGpu({ dawn: DAWN });
  const calling = (kernel, body) => ({ kernel, inputs: [], outputs: [], attrs: { length: 0 }, source: "", body });
  const planOf = (call) => ({ bindings: [], slots: [], calls: [call], kernels: {} });
  (await backend.compile(planOf(calling("scan", planOf(calling("copy")))))).close();
  for (const [kernel, part] of [["rotary", "attention"], ["unpack", "packed"], ["packedMatmul", "packed"]]) {
    for (const call of [calling(kernel), calling("scan", planOf(calling(kernel)))]) {
      const error = await backend.compile(planOf(call)).catch((e) => e);
      assert.is(error.name, "BackendError");
      const message = new RegExp(`^webgpu: cannot load a part of the kernels: .*webgpu-${part}\\.js.*; it is a file beside webgpu\\.js$`);
      assert.match(error.message, message);
    }
  }
  backend.close();
});

test.after(() => gpu.close());
test.run();

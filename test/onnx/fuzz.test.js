/**
 * @file Damaged files of ONNX: an error of the library, or a model that loads and runs or says why not; nothing else is thrown, nothing
 * hangs, and nothing is left on the backend. LOCKSTEP_MUTATIONS: how many (150).
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as lockstep from "../../build/esm/index.js";
import { loadOnnx, saveOnnx } from "../../build/esm/onnx/index.js";
import { COUNT, damages } from "../damage.js";
import { ownCases } from "./cases.js";

/** What takes this long hangs. */
const MOST_MS = 10_000;
const backend = await lockstep.open("wasm");
test.after(() => backend.close());

const { damaged, pick } = damages(7);

const net = lockstep.sequential([lockstep.conv2d(4, 3), lockstep.flatten(), lockstep.dense(3)]);
net.build([[6, 6, 2]]);
const loop = lockstep.sequential([lockstep.gru(3, { activation: "silu" })]);
loop.build([[5, 3]]);
const files = [await saveOnnx(net), await saveOnnx(loop), ...ownCases().map((c) => c.read("model.onnx"))];

/** Inputs as the file declares them; null for what is too large. */
function inputsOf(model) {
  const inputs = {};
  for (const { name, dtype, shape } of model.inputs) {
    const sizes = (shape ?? [2]).map((d) => d ?? 2);
    if (sizes.reduce((n, d) => n * d, 1) > 1e5 || dtype === "string") return null;
    const type = dtype === "bool" ? "bool" : dtype === null || /float/.test(dtype) ? "f32" : /^uint(32|64)/.test(dtype) ? "u32" : "i32";
    inputs[name] = lockstep.zeros(sizes, type);
  }
  return inputs;
}

test(`ONNX: ${COUNT} damaged files`, async () => {
  let loaded = 0;
  const wrong = new Set();
  for (let i = 0; i < COUNT; i++) {
    const bytes = damaged(pick(files), Infinity, files);
    let model = null;
    const begin = performance.now();
    try {
      model = await loadOnnx(bytes, { backend });
      loaded++;
      const inputs = inputsOf(model);
      if (inputs !== null) for (const t of Object.values(await model.run(inputs))) t.dispose();
    } catch (error) {
      if (!(error instanceof lockstep.LockstepError)) wrong.add(`mutation ${i}: ${String(error?.stack).split("\n").slice(0, 3).join()}`);
    } finally {
      model?.dispose();
    }
    const ms = performance.now() - begin;
    if (ms > MOST_MS) wrong.add(`mutation ${i} took ${ms.toFixed(0)} ms`);
  }
  assert.equal([...wrong].slice(0, 12), []);
  assert.ok(loaded > 0);
});

test.run();

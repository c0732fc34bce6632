/**
 * @file Models of ONNX on WebGPU: of ONNX's backend tests the first of each operator and opset, and the networks that PyTorch exported;
 * LOCKSTEP_WHOLE=1: all cases.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { allCases, ownCases, runCase } from "../onnx/cases.js";
import { EXCEPTIONS } from "../onnx/exceptions.js";
import { modelTests } from "../onnx/models.js";
import { openGpu } from "./gpu.js";

const gpu = await openGpu();
test.after(() => gpu.close());

const whole = process.env.LOCKSTEP_WHOLE !== undefined;
const all = (whole ? allCases() : ownCases()).filter((c) => EXCEPTIONS[c.name] === undefined);
const seen = new Set();
const cases = whole ? all : all.filter((c) => !seen.has(c.main_op) && seen.add(c.main_op));
test(`webgpu: ${cases.length} cases of ONNX`, async () => {
  const wrong = [];
  for (const entry of cases) {
    await runCase(entry, gpu).catch((error) => wrong.push(`${entry.name}: ${error.message}`));
  }
  assert.equal(wrong, []);
});

modelTests(test, gpu, ["onnx-pytorch"]);
test.run();

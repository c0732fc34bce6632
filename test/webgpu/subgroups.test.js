/**
 * @file Subgroups of every size that there is, from 4 invocations to 128, where the adapter says the least or only that. Those of the
 * adapter here have four, so that shaders exchange what they have through workgroup memory instead (devices.js).
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { matmul } from "../../build/esm/ops/matmul.js";
import { normalizeLast } from "../../build/esm/ops/norm.js";
import { max, sum } from "../../build/esm/ops/reduce.js";
import { argMax } from "../../build/esm/ops/public.js";
import { scatterUpdate } from "../../build/esm/ops/scatter.js";
import { softmax } from "../../build/esm/ops/softmax.js";
import { massThreshold } from "../../build/esm/ops/threshold.js";
import { f, packed, values } from "../ops/harness.js";
import { onDevice } from "./devices.js";
import { openMasked } from "./gpu.js";
import { checkForward, checkGradient } from "./ops.js";

/** The least size that the adapter tells, and that which it has: no GPU is obliged to have but one. */
const SIZES = [
  [4, 4],
  [4, 8],
  [8, 16],
  [8, 32],
  [32, 32],
  [32, 64],
  [64, 64],
  [4, 128],
  [128, 128],
];

/** Sizes at which one invocation, one subgroup, and several of a workgroup have a row. */
const WIDTHS = [3, 20, 60, 120, 500, 2500];

const CASES = {
  ...Object.fromEntries(
    WIDTHS.flatMap((n) => [
      [`sums of rows of ${n}`, { inputs: [f([5, n])], fn: (x) => sum(x, { axis: -1 }), accumulates: true }],
      [`softmax of ${n}`, { inputs: [f([5, n])], fn: (x) => softmax(x), tolerance: 1e-5, gradient: true }],
      [`the largest of ${n} and where`, { inputs: [f([5, n])], fn: (x) => [max(x, { axis: -1 }), argMax(x, -1)] }],
      // Where all weighs enough it is the largest, where nothing does the least: both are found by one exchange after the other.
      [`bounds of ${n}`, { inputs: [f([5, n], -9, -4)], fn: (x) => [massThreshold(x, 0), massThreshold(x, Infinity)], tolerance: 0 }],
    ]),
  ),
  "a row by columns": { inputs: [f([1, 700]), f([37, 700])], fn: (a, b) => matmul(a, b, { transposeB: true }), accumulates: true },
  "a row by rows": { inputs: [f([1, 700]), f([700, 37])], fn: (a, b) => matmul(a, b), accumulates: true },
  // In one dispatch, since the plan writes a cache, too.
  "normalized rows by rows": {
    inputs: [f([2, 700], 1, 3), f([700]), f([700, 20]), f([700, 8]), f([4, 2]), values([1], "i32"), f([1, 2])],
    fn: (a, gamma, b, c, ...cache) => {
      const z = normalizeLast(a, 1, { gamma });
      return [matmul(z, b), matmul(z, c), scatterUpdate(...cache)];
    },
    tolerance: 1e-5,
    scale: 32,
  },
  "a row by packed weights": {
    inputs: [f([1, 1024]), packed([1024, 9], "q4")],
    fn: (a, b) => matmul(a, b),
    accumulates: true,
    tolerance: 1e-5,
  },
  "three rows by packed weights": {
    inputs: [f([3, 160]), packed([160, 6], "f16")],
    fn: (a, b) => matmul(a, b),
    accumulates: true,
    tolerance: 1e-5,
  },
};

for (const [least, size] of SIZES) {
  let changed = 0;
  const gpu = await openMasked({
    software: false,
    maker: "intel",
    subgroups: least,
    onDevice(device) {
      const create = device.createShaderModule.bind(device);
      device.createShaderModule = (descriptor) => {
        const code = onDevice(descriptor.code, { subgroups: size, dirty: true, backwards: true });
        changed += /\bdevice_subgroup\b/.test(code);
        return create({ ...descriptor, code });
      };
    },
  });
  const what = `${size} invocations, ${least} at least`;
  for (const [name, c] of Object.entries(CASES))
    test(`${what}: ${name}`, async () => {
      await checkForward(gpu, c);
      if (c.gradient) await checkGradient(gpu, c);
    });
  test(`${what}: shaders exchange what they have`, () => {
    assert.is(gpu.features.subgroupSize, least);
    assert.ok(changed > 15, `${changed} shaders`);
  });
  test.after(() => gpu.close());
}

test.run();

/**
 * @file Every kernel on devices that the standard allows and the adapter here is not: the least limits, workgroup memory and buffers that
 * hold what others left, invocations in another order, few workgroups along a dimension, division by reciprocals (devices.js). Once
 * without subgroups, over the sample of the op table that has every shader function, and what has some with the adapter's own.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { buildPlan } from "../../build/esm/plan/build.js";
import { Buffers } from "../../build/esm/webgpu/buffers.js";
import { massThreshold } from "../../build/esm/ops/threshold.js";
import { kernelsFor } from "../../build/esm/webgpu/commands.js";
import { encode } from "../../build/esm/webgpu/program.js";
import { f } from "../ops/harness.js";
import { byReciprocals, leaveGarbage, onDevice } from "./devices.js";
import { LEAST, openMasked } from "./gpu.js";
import { checkForward, sampleOf, wholeTable } from "./ops.js";

const HARD = { dirty: true, backwards: true };
/** Folds every dispatch that is not small. */
const FEW_GROUPS = 70;

/** A look at the clock takes a second, so that no run is short: what `leaveGarbage` writes must be behind them. */
let now = 0;
performance.now = () => (now += 1000);

const seen = { dirty: 0, divided: 0 };

/** The adapter as the least of devices. */
async function openHard(mask) {
  const gpu = await openMasked({
    ...mask,
    limits: LEAST,
    onDevice(device) {
      const create = device.createShaderModule.bind(device);
      device.createShaderModule = (descriptor) => {
        const divided = byReciprocals(descriptor.code);
        const code = onDevice(divided, HARD);
        seen.divided += divided !== descriptor.code;
        seen.dirty += /\bdirt\b/.test(code);
        return create({ ...descriptor, code });
      };
    },
  });
  gpu.features.maxGroups = FEW_GROUPS;
  return gpu;
}

/** Entries of the table whose shaders use subgroups. */
async function withSubgroups(entries, gpu) {
  const found = [];
  for (const entry of entries) {
    const { graph, results } = entry.trace();
    const plan = buildPlan(graph, results, gpu.limits);
    const { dispatches } = encode(plan, gpu.features, await kernelsFor(plan));
    if (dispatches.some(({ text }) => /enable subgroups/.test(text))) found.push(entry);
  }
  return found;
}

/** The largest and the least of rows: one exchange through workgroup memory after the other, of all invocations. */
const BOUNDS = { inputs: [f([2, 2500], -9, -4)], fn: (x) => [massThreshold(x, 0), massThreshold(x, Infinity)], tolerance: 0 };

const table = await wholeTable();
for (const [name, mask] of [
  ["without subgroups", { software: false, without: ["subgroups"] }],
  ["with subgroups", {}],
]) {
  const gpu = await openHard(mask);
  const { entries } = await sampleOf(table, gpu);
  // What has no subgroups is the same on both.
  for (const { name: entry, check } of mask.without ? entries : await withSubgroups(entries, gpu))
    test(`${name}: ${entry}`, async () => {
      const back = leaveGarbage(gpu.device, Buffers);
      try {
        await check(gpu);
      } finally {
        back();
      }
    });
  test(`${name}: bounds of rows`, () => checkForward(gpu, BOUNDS));
  test(`${name}: the limits are the least there are`, () => {
    for (const limit in LEAST) assert.is(gpu.device.limits[limit], LEAST[limit], limit);
  });
  test.after(() => gpu.close());
}

test("shaders were changed", () => {
  assert.ok(seen.dirty > 100 && seen.divided > 20, JSON.stringify(seen));
});

test.run();

/**
 * @file Recurrent layers whose units are spread over workgroups, a dispatch for each turn: every case as if workgroups were too small, and
 * wide layers.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { gruSequence, lstmSequence, simpleRnnSequence } from "../../build/esm/ops/recurrent.js";
import { buildPlan } from "../../build/esm/plan/build.js";
import { encode } from "../../build/esm/webgpu/program.js";
import { allCases, f, hasGradient, i, traceForward, traceGradient } from "../ops/harness.js";
import { openGpu } from "./gpu.js";
import { checkForward, checkGradient } from "./ops.js";

const gpu = await openGpu();
const narrow = await openGpu();
// No invocation is left for a second slice, nor for a second unit.
narrow.features = { ...narrow.features, maxWorkgroupSize: 0 };

for (const c of (await allCases()).recurrent) {
  test(`spread: ${c.op}: ${c.name}`, () => checkForward(narrow, c));
  if (hasGradient(c)) test(`spread: gradient of ${c.op}: ${c.name}`, () => checkGradient(narrow, c));
}

const close = { scale: 1, tolerance: 2e-5, gradTolerance: 4e-5 };
const weights = (units, gates) => f([units, gates * units], -0.06, 0.06);
/** A row for each kernel: batch, steps, units, and what is called. */
const WIDE = [
  [
    "lstm",
    {
      inputs: [f([5, 3, 4 * 300], -1, 1), weights(300, 4), f([5, 300], -1, 1), f([5, 300], -1, 1), i([5, 3], 0, 1)],
      fn: (xw, wr, h0, c0, mask) => lstmSequence(xw, wr, { h0, c0, mask }).h,
    },
    4,
    4,
  ],
  [
    "gru",
    {
      inputs: [f([5, 3, 3 * 300], -1, 1), weights(300, 3), f([3 * 300], -1, 1)],
      fn: (xw, wr, recurrentBias) => gruSequence(xw, wr, { recurrentBias }),
    },
    3,
    3,
  ],
  [
    "gru, resetAfter false",
    {
      inputs: [f([5, 3, 3 * 300], -1, 1), weights(300, 3), f([5, 300], -1, 1)],
      fn: (xw, wr, h0) => gruSequence(xw, wr, { h0, resetAfter: false }),
    },
    7,
    7,
  ],
  [
    "lstm, factors",
    {
      inputs: [f([5, 3, 4 * 300], -1, 1), weights(300, 4), f([5, 300], 0, 2)],
      fn: (xw, wr, factors) => lstmSequence(xw, wr, { factors }).h,
    },
    3,
    3,
  ],
  ["simpleRnn", { inputs: [f([5, 3, 300], -1, 1), weights(300, 1)], fn: (xw, wr) => simpleRnnSequence(xw, wr) }, 3, 3],
];

const turnsOf = ({ graph, results }, { limits, features } = gpu) =>
  encode(buildPlan(graph, results, limits), features).dispatches.filter(
    (d) => d.entry === "main" && /^(lstm|gru|simple-rnn)\./.test(d.label),
  );

for (const [name, c, forward, backward] of WIDE) {
  test(`300 units: ${name}`, async () => {
    await checkForward(gpu, { ...c, ...close });
    await checkGradient(gpu, { ...c, ...close });
  });

  test(`300 units: ${name}: a dispatch for each turn, with one pipeline and ten workgroups for each four sequences`, () => {
    const turns = turnsOf(traceForward(c));
    assert.is(turns.length, forward);
    assert.is(turnsOf(traceGradient(c)).length, forward + backward);
    turns.forEach((d, turn) => {
      assert.is(d.text, turns[0].text);
      assert.equal(d.groups, [10 + turn, 2, 1]);
    });
  });
}

test("300 units: more sequences than workgroups may be numbered along a dimension, and more steps", async () => {
  const few = await openGpu();
  few.features = { ...few.features, maxGroups: 14 };
  const c = (batch, steps) => ({
    inputs: [f([batch, steps, 300], -1, 1), weights(300, 1)],
    fn: (xw, wr) => simpleRnnSequence(xw, wr),
    ...close,
  });
  const turns = turnsOf(traceForward(c(57, 2)), few);
  assert.equal(
    turns.map((d) => d.groups),
    [
      [10, 4, 4],
      [11, 4, 4],
    ],
  );
  await checkForward(few, c(57, 2));
  assert.throws(() => turnsOf(traceForward(c(5, 9)), few), /9 steps of 300 units are more than this adapter/);
  few.close();
});

test("up to 256 units are one dispatch, of a workgroup for each four sequences", () => {
  const turns = turnsOf(traceForward({ inputs: [f([9, 20, 4 * 256], -1, 1), weights(256, 4)], fn: (xw, wr) => lstmSequence(xw, wr).h }));
  assert.equal(
    turns.map((d) => d.groups),
    [[3, 1, 1]],
  );
});

test.after(() => {
  gpu.close();
  narrow.close();
});
test.run();

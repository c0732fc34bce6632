/** @file Graphs that ask for too much: an error of the library that says so, soon, and before anything of that size is made. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { LockstepError, open } from "../../build/esm/index.js";
import { f32, i64, makeModel, makeNode, t } from "./make.js";
import { ours } from "./ort.js";

const backend = await open("wasm");
test.after(() => backend.close());

const HUGE = 2 ** 40;
const one = f32([1], [1]);
const scalar = (n) => i64([n], []);
const constant = (op, inputs, options = {}) => makeNode(op, inputs, { ...options, known: inputs.map((_, i) => `x${i}`) });

const cases = {
  "ConstantOfShape of 2^80": constant("ConstantOfShape", [i64([HUGE, HUGE])]),
  "ConstantOfShape of 2^31 - 1": constant("ConstantOfShape", [i64([2 ** 31 - 1])]),
  "ConstantOfShape of -5": constant("ConstantOfShape", [i64([-5])]),
  Expand: constant("Expand", [one, i64([2 ** 20, 2 ** 20])]),
  "Expand to -1": constant("Expand", [f32([2], [1, 2]), i64([-1])]),
  Tile: constant("Tile", [one, i64([2 ** 50])]),
  Range: constant("Range", [scalar(0), scalar(2 ** 60), scalar(1)]),
  "Range by 0": constant("Range", [scalar(0), scalar(10), scalar(0)]),
  Pad: constant("Pad", [one, i64([HUGE, HUGE])]),
  "Pad by edges": constant("Pad", [one, i64([2 ** 30, 2 ** 30])], { attributes: { mode: "edge" } }),
  "Pad below nothing": constant("Pad", [one, i64([-3, 0])]),
  OneHot: constant("OneHot", [i64([0]), scalar(2 ** 45), f32([2], [0, 1])]),
  "OneHot of -4": constant("OneHot", [i64([0]), scalar(-4), f32([2], [0, 1])]),
  Reshape: constant("Reshape", [one, i64([HUGE, -1])]),
  "Reshape with two free": constant("Reshape", [one, i64([-1, -1])]),
  Resize: constant("Resize", [f32([1, 1, 2, 2], [1, 2, 3, 4]), null, f32([4], [1, 1, 1e9, 1e9])]),
  TopK: constant("TopK", [one, i64([HUGE])], { outputs: 2 }),
  HannWindow: constant("HannWindow", [scalar(HUGE)]),
  RandomNormal: makeNode("RandomNormal", [], { attributes: { shape: [2 ** 20, 2 ** 20] } }),
  "Split into 2^40": constant("Split", [f32([4], [1, 2, 3, 4])], { attributes: { num_outputs: HUGE } }),
  "SplitToSequence of 0": constant("SplitToSequence", [f32([4], [1, 2, 3, 4]), scalar(0)]),
  DFT: constant("DFT", [f32([1, 4, 1], [1, 2, 3, 4]), scalar(HUGE)]),
  "DFT of a prime": constant("DFT", [f32([1, 4, 1], [1, 2, 3, 4]), scalar(1_000_003)]),
  STFT: constant("STFT", [f32([1, 4, 1], [1, 2, 3, 4]), scalar(1), null, scalar(HUGE)]),
  MelWeightMatrix: constant("MelWeightMatrix", [scalar(2 ** 30), scalar(2 ** 30), scalar(8000), f32([], [0]), f32([], [4000])]),
  Gather: constant("Gather", [one, i64([HUGE])]),
  CenterCropPad: constant("CenterCropPad", [one, i64([HUGE])]),
  "Compress by too long a list": constant("Compress", [one, t("bool", [3], [1, 1, 1])]),
};

for (const [name, bytes] of Object.entries(cases)) {
  test(`ONNX: ${name}`, async () => {
    const error = await ours(bytes, {}, backend).then(
      () => null,
      (e) => e,
    );
    assert.ok(error instanceof LockstepError, `${error?.stack ?? "no error"}`);
    assert.match(error.message, /^\w+ "y0": |out of memory/);
  });
}

const v = (name, type, shape) => ({ name, type, shape });
/** The body of a loop that doubles, or what is given in place of that. */
const body = (nodes) => ({
  inputs: [v("i", "int64", []), v("cin", "bool", []), v("s", "float32", [1])],
  outputs: [v("cout", "bool", []), v("n", "float32", [1])],
  nodes: [["Identity", ["cin"], ["cout"]], ...nodes],
});

test("ONNX: a loop of 2^62 rounds, and loops in loops", async () => {
  const looped = (trips, inner) =>
    makeModel({
      opset: 16,
      constants: { M: scalar(trips), s0: one },
      outputs: [v("y", "float32")],
      nodes: [["Loop", ["M", "", "s0"], ["y"], { body: inner }]],
    });
  let inner = body([["Add", ["s", "s"], ["n"]]]);
  const endless = await ours(looped(2 ** 62, inner), {}, backend).catch((e) => e);
  assert.match(endless.message, /more than 4096 rounds/);
  for (let k = 0; k < 6; k++)
    inner = body([
      ["Constant", [], [`M${k}`], { value: scalar(7) }],
      ["Loop", [`M${k}`, "", "s"], ["n"], { body: inner }],
    ]);
  const nested = await ours(looped(7, inner), {}, backend).catch((e) => e);
  assert.ok(nested instanceof LockstepError);
  assert.match(nested.message, /nodes would run/);
});

test.run();

/** @file `run` itself: outputs that no node computes, and runs that begin together. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open, tensor } from "../../build/esm/index.js";
import { loadOnnx } from "../../build/esm/onnx/index.js";
import { f32, i64, makeModel } from "./make.js";
import { noise } from "./nodes.js";

const backend = await open("wasm");
test.after(() => backend.close());

const input = (name, shape) => ({ name, type: "float32", shape });
const elements = async (t) => Array.from(await t.data());

test("outputs that are constants or inputs: each run gives tensors of its own", async () => {
  const large = noise(100);
  const net = await loadOnnx(
    makeModel({
      nodes: [["Relu", ["x"], ["y"]]],
      inputs: [input("x", [2])],
      constants: { large, small: f32([2], [1, 2]), size: i64([5]) },
      outputs: ["y", "x", "large", "small", "size"].map((name) => ({ name })),
    }),
    { backend },
  );
  const x = tensor([-1, 2]);
  for (let i = 0; i < 2; i++) {
    const got = await net.run({ x });
    assert.equal(await elements(got.y), [0, 2]);
    assert.equal(await elements(got.x), [-1, 2]);
    assert.equal(await elements(got.large), Array.from(Float32Array.from(large.elements)));
    assert.equal(await elements(got.small), [1, 2]);
    assert.equal([got.size.dtype, await elements(got.size)], ["i32", [5]]);
    // What is disposed of is neither the weight nor what the caller gave.
    for (const t of Object.values(got)) t.dispose();
  }
  net.dispose();
});

test("a graph without nodes gives what it has", async () => {
  const net = await loadOnnx(makeModel({ nodes: [], inputs: [input("x", [1])], outputs: [{ name: "x" }] }), { backend });
  assert.equal(await elements((await net.run({ x: tensor([3]) })).x), [3]);
  net.dispose();
});

test("runs that begin together keep what is made of weights once", async () => {
  const convolved = () =>
    makeModel({
      nodes: [["Conv", ["x", "w"], ["y"]]],
      inputs: [input("x", [1, 8, "h", "w"])],
      constants: { w: noise(64, 8, 3, 3) },
      outputs: [{ name: "y" }],
    });
  const held = async (together) => {
    const net = await loadOnnx(convolved(), { backend });
    const before = backend.memory().buffers;
    const x = tensor(noise(1, 8, 5, 5).elements, [1, 8, 5, 5]);
    const runs = together
      ? await Promise.all([net.run({ x }), net.run({ x }), net.run({ x })])
      : [await net.run({ x }), await net.run({ x }), await net.run({ x })];
    const outputs = await Promise.all(runs.map(({ y }) => elements(y)));
    assert.equal(outputs[1], outputs[0]);
    assert.equal(outputs[2], outputs[0]);
    for (const { y } of runs) y.dispose();
    const buffers = backend.memory().buffers - before;
    net.dispose();
    return buffers;
  };
  assert.is(await held(true), await held(false));
});

test.run();

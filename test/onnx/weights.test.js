/** @file What programs of ONNX make of weights alone: made once, and again where weights change; weights in 4 bits stay so. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { assign, compile, gradients, mul, open, sum } from "../../build/esm/index.js";
import { loadOnnx } from "../../build/esm/onnx/index.js";
import { f32, makeModel, makeNode } from "./make.js";
import { build, bytes, close, convolution, element, fed, noise, runOn } from "./nodes.js";

const backend = await open("wasm");
test.after(() => backend.close());
const run = runOn(backend);

test("MatMulNBits: blocks of 4 bits with zero points, of which the last is not whole", async () => {
  const [n, k, size] = [3, 40, 16];
  const blocks = 3;
  const [x, q, scales] = [noise(2, k), bytes("uint8", [n, blocks, size / 2], 0, 255), noise(n * blocks)];
  const zeros = bytes("uint8", [n * 2], 0, 255);
  const attributes = { N: n, K: k, bits: 4, block_size: size };
  const [got] = await run("MatMulNBits", [x, q, scales, zeros], { attributes, domain: "com.microsoft" });
  const nibble = (byte, i) => (i % 2 ? byte >> 4 : byte & 15);
  const wanted = build([2, n], ([m, row]) => {
    let y = 0;
    for (let i = 0; i < k; i++) {
      const block = Math.floor(i / size);
      const value = nibble(element(q, [row, block, (i % size) >> 1]), i);
      y += element(x, [m, i]) * (value - nibble(zeros.elements[row * 2 + (block >> 1)], block)) * scales.elements[row * blocks + block];
    }
    return y;
  });
  close(got, [2, n], wanted, "MatMulNBits");
});

test("MatMulNBits: large matrices of the file are packed as they are read, on both sides of a zero point", async () => {
  const [n, k, size] = [512, 128, 32];
  const blocks = k / size;
  for (const withZeros of [false, true]) {
    const [x, q] = [noise(2, k), bytes("uint8", [n, blocks, size / 2], 0, 255)];
    const scales = f32(
      [n * blocks],
      noise(n * blocks).elements.map((v) => Math.round(v * 64) / 64 || 0.25),
    );
    const zeros = withZeros ? bytes("uint8", [n * (blocks / 2)], 0, 255) : null;
    const attributes = { N: n, K: k, bits: 4, block_size: size };
    const given = [x, q, scales, ...(zeros ? [zeros] : [])];
    const known = ["x1", "x2", "x3"];
    const net = await loadOnnx(makeNode("MatMulNBits", given, { attributes, domain: "com.microsoft", known }), { backend });
    assert.equal([...net.weights.keys()], []);
    const { y0 } = await net.run({ x0: fed(x) });
    const nibble = (byte, i) => (i % 2 ? byte >> 4 : byte & 15);
    const wanted = build([2, n], ([m, row]) => {
      let y = 0;
      for (let i = 0; i < k; i++) {
        const block = Math.floor(i / size);
        const zero = zeros ? nibble(zeros.elements[row * (blocks / 2) + (block >> 1)], block) : 8;
        y += element(x, [m, i]) * (nibble(element(q, [row, block, (i % size) >> 1]), i) - zero) * scales.elements[row * blocks + block];
      }
      return y;
    });
    // Numbers that are multiplied with blocks are rounded to 16 bits.
    close({ shape: [...y0.shape], data: Array.from(await y0.data()) }, [2, n], wanted, `MatMulNBits, zeros ${withZeros}`, 1e-4);
    net.dispose();
  }
});

/** Conv, BatchNormalization and Relu, of weights that the file holds. */
const normalized = () =>
  makeModel({
    nodes: [
      ["Conv", ["x", "w", "b"], ["c"], { pads: [1, 1, 1, 1] }],
      ["BatchNormalization", ["c", "scale", "bias", "mean", "variance"], ["n"], { epsilon: { float: 1e-3 } }],
      ["Relu", ["n"], ["y"]],
    ],
    constants: {
      w: noise(4, 2, 3, 3),
      b: noise(4),
      scale: noise(4),
      bias: noise(4),
      mean: noise(4),
      variance: f32([4], [0.5, 1, 2, 0.25]),
    },
    inputs: [{ name: "x", type: "float32", shape: [1, 2, 5, 4] }],
    outputs: [{ name: "y", type: "float32" }],
  });

test("what is made of weights alone follows them: new elements count in the next run", async () => {
  const net = await loadOnnx(normalized(), { backend });
  const x = noise(1, 2, 5, 4);
  const weights = async () => {
    const of = {};
    for (const [name, w] of net.weights) of[name] = f32([...w.shape], Array.from(await w.data()));
    return of;
  };
  const check = async (what) => {
    const w = await weights();
    const { shape, data } = convolution(x, w.w, { strides: [1, 1], dilations: [1, 1], pads: [1, 1, 1, 1] }, w.b);
    const wanted = data.map((v, i) => {
      const c = Math.floor(i / 20) % 4;
      const [scale, bias, mean, variance] = ["scale", "bias", "mean", "variance"].map((name) => w[name].elements[c]);
      return Math.max(0, ((v - mean) * scale) / Math.sqrt(variance + 1e-3) + bias);
    });
    const { y } = await net.run({ x: fed(x) });
    close({ shape: [...y.shape], data: Array.from(await y.data()) }, shape, wanted, what);
  };
  await check("as the file has them");
  net.weights.get("w").set(Float32Array.from(noise(4, 2, 3, 3).elements));
  await check("other filters");
  net.weights.get("variance").set(Float32Array.of(3, 2, 1, 0.5));
  await check("another variance");
  const halve = compile(
    () => {
      assign(net.weights.get("w"), mul(net.weights.get("w"), 0.5));
      return [];
    },
    { backend },
  );
  await halve();
  await check("assigned by a program");
  net.dispose();
});

test("weights are trained in their own shape: gradients of filters behind a normalization are those of differences", async () => {
  const net = await loadOnnx(normalized(), { backend });
  const x = fed(noise(1, 2, 5, 4));
  const w = net.weights.get("w");
  const loss = compile((image) => sum(mul(net.call({ x: image }).y, net.call({ x: image }).y)), { backend });
  const gradient = compile((image) => gradients(sum(mul(net.call({ x: image }).y, net.call({ x: image }).y)), [w])[0], { backend });
  const g = await (await gradient(x)).data();
  assert.is(g.length, 72);
  const start = Float32Array.from(await w.data());
  for (const place of [0, 17, 40, 71]) {
    const at = async (by) => {
      const moved = start.slice();
      moved[place] += by;
      w.set(moved);
      return (await (await loss(x)).data())[0];
    };
    const slope = ((await at(1e-2)) - (await at(-1e-2))) / 2e-2;
    assert.ok(Math.abs(slope - g[place]) < 2e-2 * Math.max(1, Math.abs(slope)), `${place}: ${g[place]}, by differences ${slope}`);
  }
  net.dispose();
});

test.run();

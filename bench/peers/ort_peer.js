/** @file ONNX Runtime Web (WASM execution provider; inference only) under the contract of `worker.js`. */
import * as ort from "onnxruntime-web";
import { OnnxGraph } from "./onnx.js";
import { CONVS, convData, dataOf, NETS, nchw, nhwc, oihw, operands, outOf, PRODUCTS, spread, weightsOf } from "./workloads.js";

const session = (model, threads) =>
  ort.InferenceSession.create(model, { executionProviders: ["wasm"], graphOptimizationLevel: "all", intraOpNumThreads: threads });

const ACTIVATIONS = { relu: "Relu", sigmoid: "Sigmoid", softmax: "Softmax", tanh: "Tanh" };

/** Gates i, f, c, o of [.., 4u] to the rows i, o, f, c of [1, 4u, ..] that ONNX takes. */
function gates(data, rows, units) {
  const out = new Float32Array(data.length);
  [0, 3, 1, 2].forEach((from, to) => {
    for (let u = 0; u < units; u++)
      for (let r = 0; r < rows; r++) out[(to * units + u) * rows + r] = data[r * 4 * units + from * units + u];
  });
  return out;
}

/** The network as ONNX, batch 1, images [C, H, W]. */
function network(net) {
  const g = new OnnxGraph();
  const weights = weightsOf(net, true);
  const constant = (shape) => g.constant(weights.shift().data, shape);
  const { input, layers } = NETS[net];
  let shape = input.length === 3 ? [input[2], input[0], input[1]] : input;
  const inputShape = [1, ...shape];
  let y = "x";
  for (const { kind, units, activation } of layers) {
    if (kind === "dense") {
      y = g.node("Gemm", [y, constant([shape[0], units]), constant([units])]);
      shape = [units];
    } else if (kind === "conv2d") {
      const { data, shape: s } = weights.shift();
      y = g.node("Conv", [y, g.constant(oihw(data, s), [units, s[2], 3, 3]), constant([units])]);
      shape = [units, shape[1] - 2, shape[2] - 2];
    } else if (kind === "maxPool2d") {
      y = g.node("MaxPool", [y], { kernel_shape: [2, 2], strides: [2, 2] });
      shape = [shape[0], shape[1] >> 1, shape[2] >> 1];
    } else if (kind === "flatten") {
      y = g.node("Flatten", [y]);
      shape = [shape[0] * shape[1] * shape[2]];
    } else {
      const [steps, f] = shape;
      const [w, r, b] = weights.splice(0, 3).map((v) => v.data);
      const bias = new Float32Array(8 * units);
      bias.set(gates(b, 1, units));
      const sequence = g.node("Reshape", [y, g.constant(BigInt64Array.of(BigInt(steps), 1n, BigInt(f)), [3])]);
      const parts = [
        g.constant(gates(w, f, units), [1, 4 * units, f]),
        g.constant(gates(r, units, units), [1, 4 * units, units]),
        g.constant(bias, [1, 8 * units]),
      ];
      const last = g.node(
        "LSTM",
        [sequence, ...parts],
        { hidden_size: units, activations: ["Sigmoid", ACTIVATIONS[activation], ACTIVATIONS[activation]] },
        1,
      );
      y = g.node("Reshape", [last, g.constant(BigInt64Array.of(1n, BigInt(units)), [2])]);
      shape = [units];
    }
    if (ACTIVATIONS[activation] && kind !== "lstm") y = g.node(ACTIVATIONS[activation], [y]);
  }
  return { model: g.build({ x: inputShape }, y, [1, ...shape]), output: y, inputShape };
}

export async function start({ threads = 1 }) {
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  const make = { matmul: product, conv2d: convolution, train, predict };
  return {
    version: `onnxruntime-web ${ort.env.versions.web}, WASM, ${threads} thread${threads > 1 ? "s" : ""}`,
    prepare: (kind, of) => make[kind](of),
  };

  async function product(n) {
    const { a, b } = operands(n);
    const g = new OnnxGraph();
    let y = "a";
    for (let i = 0; i < PRODUCTS[n]; i++) y = g.node("MatMul", [y, "b"]);
    const shape = [n, n];
    const s = await session(g.build({ a: shape, b: shape }, y, shape), threads);
    const feeds = { a: new ort.Tensor("float32", a, shape), b: new ort.Tensor("float32", b, shape) };
    const run = async () => (await s.run(feeds))[y];
    return { values: spread((await run()).data), close: () => s.release(), unit: async () => ((await run()).dispose(), PRODUCTS[n]) };
  }

  async function convolution(name) {
    const v = CONVS[name];
    const { x, w } = convData(v);
    const [n, p, q, f] = outOf(v);
    const make = async (whole) => {
      const g = new OnnxGraph();
      const y = g.node(
        "Conv",
        ["x", g.constant(oihw(w, [3, 3, v.c, v.f]), [v.f, v.c, 3, 3])],
        v.padding === "same" ? { pads: [1, 1, 1, 1] } : {},
      );
      // Results are copied out of WASM memory: one element is enough to time, so that the copy does not count.
      const corner = (value) => g.constant(BigInt64Array.of(value, value, value, value), [4]);
      const out = whole ? y : g.node("Slice", [y, corner(0n), corner(1n)]);
      const s = await session(g.build({ x: [v.n, v.c, v.h, v.w] }, out, whole ? [n, f, p, q] : [1, 1, 1, 1]), threads);
      const feeds = { x: new ort.Tensor("float32", nchw(x, [v.n, v.h, v.w, v.c]), [v.n, v.c, v.h, v.w]) };
      return { s, run: async () => (await s.run(feeds))[out] };
    };
    const whole = await make(true);
    const values = spread(nhwc((await whole.run()).data, [n, p, q, f]));
    await whole.s.release();
    const { s, run } = await make(false);
    return { values, close: () => s.release(), unit: async () => ((await run()).dispose(), 1) };
  }

  async function train() {
    throw new Error("inference only");
  }

  async function predict(net) {
    const { model, output, inputShape } = network(net);
    const s = await session(model, threads);
    const { one } = dataOf(net);
    const call = async () => (await s.run({ x: new ort.Tensor("float32", one, inputShape) }))[output].data;
    return { values: await call(), close: () => s.release(), unit: async () => (await call(), 1) };
  }
}

export async function first(mark, x) {
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  mark("backend");
  // Its WASM file is loaded with the first session.
  const { model, output, inputShape } = network("FFN");
  const s = await session(model, 1);
  mark("model");
  return (await s.run({ x: new ort.Tensor("float32", x, inputShape) }))[output].data;
}

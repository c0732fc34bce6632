/** @file What ONNX Runtime and Lockstep make of one model and one set of inputs. */
import * as ort from "onnxruntime-web";
import * as assert from "uvu/assert";
import { tensor } from "../../build/esm/index.js";
import { loadOnnx } from "../../build/esm/onnx/index.js";
import { wordsOf } from "../../build/esm/onnx/tensors.js";
import { dtypeOf } from "../../build/esm/onnx/types.js";

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

const ARRAYS = {
  float32: Float32Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  bool: Uint8Array,
};

const big = (type) => type === "int64" || type === "uint64";
const theirs = ({ type, shape, elements }) =>
  new ort.Tensor(
    type,
    big(type) ? (type === "int64" ? BigInt64Array : BigUint64Array).from(Array.from(elements, BigInt)) : ARRAYS[type].from(elements),
    [...shape],
  );

/** Outputs of Lockstep, { shape, data } by name, for inputs { type, shape, elements } by name. */
export async function ours(bytes, inputs, backend) {
  const net = await loadOnnx(bytes, { backend });
  try {
    const feeds = Object.fromEntries(
      net.inputs.map(({ name }) => [name, tensor(wordsOf(name, inputs[name]), inputs[name].shape, dtypeOf(name, inputs[name].type))]),
    );
    const out = {};
    for (const [name, y] of Object.entries(await net.run(feeds))) {
      out[name] = { shape: [...y.shape], data: Array.from(await y.data()) };
      y.dispose();
    }
    return out;
  } finally {
    net.dispose();
  }
}

/** Asserts that both give the same, within `tolerance`; integers exactly. */
export async function sameAsRuntime(what, bytes, inputs, backend, tolerance = 2e-5) {
  const session = await ort.InferenceSession.create(bytes, { logSeverityLevel: 3 });
  const wanted = await session.run(Object.fromEntries(session.inputNames.map((name) => [name, theirs(inputs[name])])));
  await session.release();
  const got = await ours(bytes, inputs, backend);
  for (const [name, { dims, data }] of Object.entries(wanted)) {
    assert.equal(got[name].shape, [...dims], `${what}: shape of ${name}`);
    Array.from(data, Number).forEach((w, i) => {
      const g = got[name].data[i];
      const isSame = Number.isNaN(w) ? Number.isNaN(g) : g === w || Math.abs(g - w) <= tolerance * Math.max(1, Math.abs(w));
      assert.ok(isSame, `${what}: ${name}[${i}] is ${g}, ONNX Runtime gives ${w}`);
    });
  }
}

/** @file Nodes with random inputs, and what naive loops over their places take. */
import * as assert from "uvu/assert";
import { tensor } from "../../build/esm/index.js";
import { loadOnnx } from "../../build/esm/onnx/index.js";
import { f32, makeNode, t } from "./make.js";

let seed = 7;
const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
export const sizeOf = (shape) => shape.reduce((n, d) => n * d, 1);
export const noise = (...shape) =>
  f32(
    shape,
    Array.from({ length: sizeOf(shape) }, () => Math.fround(random() * 2 - 1)),
  );
export const bytes = (type, shape, low, high) =>
  t(
    type,
    shape,
    Array.from({ length: sizeOf(shape) }, () => Math.floor(low + random() * (high - low + 1))),
  );
const ARRAYS = { float32: [Float32Array, "f32"], bool: [Int32Array, "bool"] };
export const fed = ({ type, shape, elements }) => {
  const [List, dtype] = ARRAYS[type] ?? [Int32Array, "i32"];
  return tensor(List.from(elements), shape, dtype);
};

/** Runs nodes on `backend`: outputs are { shape, data } each. */
export const runOn =
  (backend) =>
  async (op, inputs, options = {}) => {
    const net = await loadOnnx(makeNode(op, inputs, options), { backend });
    const out = await net.run(
      Object.fromEntries(inputs.flatMap((v, i) => (v === null || (options.known ?? []).includes(`x${i}`) ? [] : [[`x${i}`, fed(v)]]))),
    );
    const results = [];
    for (const { name } of net.outputs) results.push({ shape: [...out[name].shape], data: Array.from(await out[name].data()) });
    net.dispose();
    return results;
  };

/** Each place of a shape. */
export function* places(shape) {
  for (let i = 0; i < sizeOf(shape); i++) {
    const at = [];
    let rest = i;
    for (let d = shape.length - 1; d >= 0; d--) [at[d], rest] = [rest % shape[d], Math.floor(rest / shape[d])];
    yield at;
  }
}
export const offset = (shape, at) => shape.reduce((n, d, i) => n * d + at[i], 0);
/** The element at a place; `outside` where there is none. */
export const element = ({ shape, elements }, at, outside = 0) =>
  at.every((a, i) => a >= 0 && a < shape[i]) ? Number(elements[offset(shape, at)]) : outside;
export const build = (shape, fn) => Array.from(places(shape), (at) => fn(at));

export function close(got, shape, wanted, what, tolerance = 1e-5) {
  assert.equal(got.shape, shape, what);
  const most = Math.max(1, ...wanted.map(Math.abs).filter(Number.isFinite));
  wanted.forEach((w, i) =>
    assert.ok(Math.abs(got.data[i] - w) <= tolerance * most || got.data[i] === w, `${what}: element ${i} is ${got.data[i]}, expected ${w}`),
  );
}

/** A convolution by its definition. */
export function convolution(x, w, { strides, dilations, pads, group = 1 }, bias = null) {
  const n = x.shape.length - 2;
  const taps = w.shape.slice(2);
  const out = taps.map((k, i) => Math.floor((x.shape[i + 2] + pads[i] + pads[n + i] - dilations[i] * (k - 1) - 1) / strides[i]) + 1);
  const [perGroup, filters] = [w.shape[1], w.shape[0] / group];
  const shape = [x.shape[0], w.shape[0], ...out];
  const data = build(shape, ([b, f, ...p]) => {
    let y = bias === null ? 0 : bias.elements[f];
    for (const [c, ...r] of places([perGroup, ...taps])) {
      const at = r.map((k, i) => p[i] * strides[i] - pads[i] + k * dilations[i]);
      y += element(x, [b, Math.floor(f / filters) * perGroup + c, ...at]) * element(w, [f, c, ...r]);
    }
    return y;
  });
  return { shape, data };
}

/** @file Files as Keras writes them, made of their parts: configurations, and weights by their paths; and what tests ask of models. */
import * as assert from "uvu/assert";
import { Tensor } from "../../build/esm/index.js";
import { writeHdf5 } from "../../build/esm/keras/hdf5-write.js";
import { writeZip } from "../../build/esm/keras/zip.js";

export const json = (value) => new TextEncoder().encode(JSON.stringify(value));

/** Weights by their paths: nested lists become f32 of their shape. */
export function weightsFile(weights) {
  const shapeOf = (v) => (Array.isArray(v) ? [v.length, ...shapeOf(v[0])] : []);
  return writeHdf5(
    new Map(Object.entries(weights).map(([path, v]) => [path, { shape: shapeOf(v), data: Float32Array.from([v].flat(Infinity)) }])),
  );
}

/** An archive that Keras of this version wrote. */
export const archive = (config, weights, version = "3.16.0") =>
  writeZip([
    ["metadata.json", json({ keras_version: version })],
    ["config.json", json(config)],
    ["model.weights.h5", weightsFile(weights)],
  ]);

/** A layer of Keras' with its calls. */
export const layer = (className, name, config, calls, module = "keras.layers") => ({
  module,
  class_name: className,
  config: { name, ...config },
  registered_name: null,
  name,
  inbound_nodes: calls,
});
export const input = (name, shape) => layer("InputLayer", name, { batch_shape: [null, ...shape], dtype: "float32" }, []);
/** A tensor: output `index` of call `node` of a layer. */
export const from = (name, node = 0, index = 0) => ({
  class_name: "__keras_tensor__",
  config: { shape: [null], dtype: "float32", keras_history: [name, node, index] },
});
export const call = (args, kwargs = {}) => ({ args, kwargs });
export const functional = (layers, inputs, outputs, name = "functional") => ({
  module: "keras.src.models.functional",
  class_name: "Functional",
  config: { name, trainable: true, layers, input_layers: inputs, output_layers: outputs },
  registered_name: "Functional",
});
export const row = (layers, name = "sequential") => ({
  module: "keras",
  class_name: "Sequential",
  config: { name, layers },
  registered_name: null,
});
export const dense = (name, units, calls, more = {}) => layer("Dense", name, { units, ...more }, calls);
/** A matrix of one element. */
export const one = (value) => [[value]];

/** The elements of what a model gives: a list, or lists by name. */
export async function predict(model, ...inputs) {
  const y = await model.predict(inputs.length === 1 ? inputs[0] : inputs);
  const read = async (t) => Array.from(await t.data());
  return y instanceof Tensor ? read(y) : Object.fromEntries(await Promise.all(Object.entries(y).map(async ([k, t]) => [k, await read(t)])));
}

export function near(got, want, what = "") {
  assert.is(got.length, want.length, what);
  for (const [i, w] of want.entries()) assert.ok(Math.abs(got[i] - w) <= 1e-5 * (1 + Math.abs(w)), `${what} ${i}: ${got[i]} is not ${w}`);
}

/** That a promise fails by an error of this type with this message. */
export async function refused(promise, type, pattern) {
  const error = await Promise.resolve(promise).then(
    () => null,
    (e) => e,
  );
  assert.instance(error, type, error?.stack ?? "nothing was thrown");
  assert.ok(pattern.test(error.message), `${pattern} does not match: ${error.message}`);
}

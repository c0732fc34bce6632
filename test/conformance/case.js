/**
 * @file Reads the conformance cases of `train/` (see its manifest): one JSON file each, with configuration and tensors. Shared by the
 * tests of layers, losses, optimizers, models and training loops.
 */
import { readFileSync } from "node:fs";

const folder = new URL("./train/", import.meta.url);
const read = (file) => JSON.parse(readFileSync(new URL(file, folder), "utf8"));

/** All cases of a kind (layer, loss, model, optimizer, fit), in the manifest's order. */
export function cases(kind) {
  return read("manifest.json").cases.filter((entry) => entry.kind === kind).map((entry) => read(entry.file));
}

const decoders = {
  float32: (bytes) => Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i)),
  float64: (bytes) => Float64Array.from({ length: bytes.length / 8 }, (_, i) => bytes.readDoubleLE(8 * i)),
  int32: (bytes) => Int32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readInt32LE(4 * i)),
};
const arrays = { float32: Float32Array, float64: Float64Array, int32: Int32Array };

/** Tensor `name` of a case as { dtype, shape, data, atol }: `data` a typed array, `atol` undefined where the tensor is not a result. */
export function tensorOf(testCase, name) {
  const stored = testCase.tensors[name];
  if (stored === undefined) throw new Error(`${testCase.name}: no tensor "${name}"; there are ${Object.keys(testCase.tensors).join(", ")}`);
  const { dtype, shape, atol } = stored;
  const data = stored.data === undefined ? decoders[dtype](Buffer.from(stored.b64, "base64")) : arrays[dtype].from(stored.data);
  return { dtype, shape, data, atol };
}

/** @throws Error unless `got` has the elements of `expected` (from `tensorOf`), each within its `atol`. `what` begins the message. */
export function assertClose(got, expected, what) {
  const { data, atol, shape } = expected;
  if (got.length !== data.length) throw new Error(`${what}: expected ${data.length} elements (shape [${shape.join(", ")}]), got ${got.length}`);
  let worst = -1;
  let error = atol;
  for (let i = 0; i < data.length; i++) {
    const difference = Math.abs(got[i] - data[i]);
    if (!(difference <= error)) {
      worst = i;
      error = Number.isNaN(difference) ? Infinity : difference;
    }
  }
  if (worst >= 0) throw new Error(`${what}: element ${worst} of [${shape.join(", ")}] is ${got[worst]}, expected ${data[worst]}, off by more than ${atol}`);
}

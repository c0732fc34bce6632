/**
 * @file Reads the conformance cases of `train/` (see its manifest): one JSON file each, with configuration and tensors. Shared by the
 * tests of layers, losses, optimizers, models and training loops.
 */
const folder = new URL("./train/", import.meta.url);
/** The same files from the disk or, in a browser, from the server of this page. */
const { readFileSync } = folder.protocol === "file:" ? await import("node:fs") : {};
const load = async (file) =>
  readFileSync ? JSON.parse(readFileSync(new URL(file, folder), "utf8")) : (await fetch(new URL(file, folder))).json();
const { cases: entries } = await load("manifest.json");
const loaded = new Map(await Promise.all(entries.map(async ({ file }) => [file, await load(file)])));

/** All cases of a kind (layer, loss, model, optimizer, fit), in the manifest's order. */
export function cases(kind) {
  return entries.filter((entry) => entry.kind === kind).map((entry) => structuredClone(loaded.get(entry.file)));
}

/** Of cases of layers, losses or optimizers the first of each class. */
export const firstOfEachClass = (list) =>
  list.filter((c, i) => {
    const classOf = (other) => other[other.kind].class_name;
    return list.findIndex((other) => classOf(other) === classOf(c)) === i;
  });

const arrays = { float32: Float32Array, float64: Float64Array, int32: Int32Array };
const decode = (dtype, b64) => new arrays[dtype](Uint8Array.from(atob(b64), (ch) => ch.charCodeAt(0)).buffer);

/** Tensor `name` of a case as { dtype, shape, data, atol }: `data` a typed array, `atol` undefined where the tensor is not a result. */
export function tensorOf(testCase, name) {
  const stored = testCase.tensors[name];
  if (stored === undefined) throw new Error(`${testCase.name}: no tensor "${name}"; there are ${Object.keys(testCase.tensors).join(", ")}`);
  const { dtype, shape, atol } = stored;
  const data = stored.data === undefined ? decode(dtype, stored.b64) : arrays[dtype].from(stored.data);
  return { dtype, shape, data, atol };
}

/**
 * @throws Error unless `got` has the elements of `expected` (from `tensorOf`), each within `slack` times its `atol`. `what` begins the
 * message.
 */
export function assertClose(got, expected, what, slack = 1) {
  const { data, shape } = expected;
  const atol = slack * expected.atol;
  if (got.length !== data.length)
    throw new Error(`${what}: expected ${data.length} elements (shape [${shape.join(", ")}]), got ${got.length}`);
  let worst = -1;
  let error = atol;
  for (let i = 0; i < data.length; i++) {
    const difference = Math.abs(got[i] - data[i]);
    if (!(difference <= error)) {
      worst = i;
      error = Number.isNaN(difference) ? Infinity : difference;
    }
  }
  if (worst >= 0)
    throw new Error(
      `${what}: element ${worst} of [${shape.join(", ")}] is ${got[worst]}, expected ${data[worst]}, off by more than ${atol}`,
    );
}

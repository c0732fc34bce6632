/** @file Cases of ONNX's backend tests: a model, and tensors that go in and come out. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { loadOnnx } from "../../build/esm/onnx/index.js";
import { readTensorFile } from "../../build/esm/onnx/proto.js";
import { constantOf, storedOf, wordsOf } from "../../build/esm/onnx/tensors.js";
import { dtypeOf } from "../../build/esm/onnx/types.js";
import { tensor } from "../../build/esm/index.js";

/** Cases below `folder`, which has a manifest.json: { name, main_op, tier, data_sets, tolerance, read(file) }. */
export const casesIn = (folder) =>
  JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8")).tests.map((entry) => ({
    ...entry,
    read: (file) => new Uint8Array(readFileSync(join(folder, entry.dir, file))),
  }));

/** The cases that are here: those of ONNX 1.12 for single operators. */
export function ownCases() {
  const file = fileURLToPath(new URL("node-1.12.json.gz", import.meta.url));
  const { tests } = JSON.parse(gunzipSync(readFileSync(file)).toString());
  return tests.map((entry) => ({ ...entry, read: (name) => new Uint8Array(Buffer.from(entry.files[name], "base64")) }));
}

/** All cases, where those of others are; else those that are here. */
export function allCases() {
  const { LOCKSTEP_SHARED } = process.env;
  return LOCKSTEP_SHARED === undefined ? ownCases() : casesIn(join(LOCKSTEP_SHARED, "conformance/onnx"));
}

const constantIn = (name, bytes) => constantOf(storedOf(readTensorFile(name, bytes), name, new Map()));

/** Why `got` is not what is wanted; null where it is. */
export async function difference(name, got, wanted, { rtol, atol }) {
  if (got === undefined) return `${name}: there is no such output`;
  if (got.shape.join() !== wanted.shape.join()) return `${name}: the shape is [${got.shape}], expected [${wanted.shape}]`;
  const values = await got.data();
  for (let i = 0; i < values.length; i++) {
    const [g, w] = [values[i], Number(wanted.elements[i])];
    const isWrong = Number.isNaN(g) !== Number.isNaN(w) || (g !== w && !Number.isNaN(w) && !(Math.abs(g - w) <= atol + rtol * Math.abs(w)));
    if (isWrong) return `${name}: element ${i} is ${g}, expected ${w}`;
  }
  return null;
}

/** Runs a case. @throws what loading or running throws, and Error for a wrong result */
export async function runCase(entry, backend) {
  const net = await loadOnnx(entry.read("model.onnx"), { backend });
  try {
    for (const set of entry.data_sets) {
      const inputs = {};
      set.inputs.forEach(({ file }, i) => {
        const constant = constantIn(file, entry.read(`${set.dir}/${file}`));
        inputs[net.inputs[i].name] = tensor(wordsOf(file, constant), constant.shape, dtypeOf(file, constant.type));
      });
      const outputs = await net.run(inputs);
      for (const [i, { file }] of set.outputs.entries()) {
        const { name } = net.outputs[i];
        const wrong = await difference(name, outputs[name], constantIn(file, entry.read(`${set.dir}/${file}`)), entry.tolerance);
        if (wrong !== null) throw new Error(wrong);
      }
    }
  } finally {
    net.dispose();
  }
}

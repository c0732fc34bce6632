/** @file Cases of ONNX's backend tests: a folder each, with a model and tensors that go in and come out. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { loadOnnx } from "../../build/esm/onnx/index.js";
import { readTensorFile } from "../../build/esm/onnx/proto.js";
import { constantOf, storedOf, wordsOf } from "../../build/esm/onnx/tensors.js";
import { dtypeOf } from "../../build/esm/onnx/types.js";
import { tensor } from "../../build/esm/index.js";

const read = (path) => new Uint8Array(readFileSync(path));

/** Cases below `folder`, which has a manifest.json. */
export const casesIn = (folder) =>
  JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8")).tests.map((entry) => ({ ...entry, folder }));

const constantIn = (path) => constantOf(storedOf(readTensorFile(path, read(path)), path, new Map()));

/** Why `got` is not what is wanted; null where it is. */
export async function difference(name, got, wanted, { rtol, atol }) {
  if (got === undefined) return `${name}: there is no such output`;
  if (got.shape.join() !== wanted.shape.join()) return `${name}: the shape is [${got.shape}], expected [${wanted.shape}]`;
  const values = await got.data();
  for (let i = 0; i < values.length; i++) {
    const [g, w] = [values[i], Number(wanted.elements[i])];
    if (Number.isNaN(g) !== Number.isNaN(w) || (g !== w && !(Math.abs(g - w) <= atol + rtol * Math.abs(w)) && !Number.isNaN(w)))
      return `${name}: element ${i} is ${g}, expected ${w}`;
  }
  return null;
}

/** Runs a case. @throws what loading or running throws, and Error for a wrong result */
export async function runCase(entry, backend) {
  const dir = join(entry.folder, entry.dir);
  const net = await loadOnnx(read(join(dir, "model.onnx")), { backend });
  for (const set of entry.data_sets) {
    const inputs = {};
    set.inputs.forEach(({ file }, i) => {
      const constant = constantIn(join(dir, set.dir, file));
      const dtype = dtypeOf(file, constant.type);
      inputs[net.inputs[i].name] = tensor(wordsOf(file, constant), constant.shape, dtype);
    });
    const outputs = await net.run(inputs);
    for (const [i, { file }] of set.outputs.entries()) {
      const name = net.outputs[i].name;
      const wrong = await difference(name, outputs[name], constantIn(join(dir, set.dir, file)), entry.tolerance);
      if (wrong !== null) throw new Error(wrong);
    }
  }
  net.dispose();
}

/** @file Whole models in files of ONNX with what they give: those of onnx-pytorch are here, others where LOCKSTEP_SHARED has them. */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { tensor } from "../../build/esm/index.js";
import { loadOnnx } from "../../build/esm/onnx/index.js";
import { modelPath } from "../models/index.js";

const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  int64: BigInt64Array,
  bool: Uint8Array,
  uint8: Uint8Array,
};

/** Elements of an input or output of io.json. */
function elementsOf(folder, { dtype, shape, data, b64, file, fill }) {
  if (data !== undefined) return [data].flat(Infinity).map(Number);
  if (fill !== undefined) return new Array(shape.reduce((n, d) => n * d, 1)).fill(fill);
  const bytes = file === undefined ? Buffer.from(b64, "base64") : readFileSync(join(folder, file));
  return Array.from(new ARRAYS[dtype](Uint8Array.from(bytes).buffer), Number);
}

/** Registers a test for each model of these folders. */
export function modelTests(test, backend, groups) {
  for (const group of groups) {
    const all = modelPath(group);
    for (const name of all === null ? [] : readdirSync(all)) {
      const folder = join(all, name);
      if (!existsSync(join(folder, "io.json"))) continue;
      test(`ONNX on ${backend.name}: ${group}/${name}`, async () => {
        const io = JSON.parse(readFileSync(join(folder, "io.json"), "utf8"));
        const net = await loadOnnx(join(folder, io.model), { backend });
        const inputs = Object.fromEntries(
          io.inputs.map((v, i) => {
            const elements = elementsOf(folder, v);
            const isFloat = /float/.test(v.dtype);
            const t = tensor(
              isFloat ? Float32Array.from(elements) : Int32Array.from(elements),
              v.shape,
              v.dtype === "bool" ? "bool" : undefined,
            );
            return [net.inputs[i].name, t];
          }),
        );
        for (let run = 0; run < 2; run++) {
          const outputs = await net.run(inputs);
          for (const [i, v] of io.outputs.entries()) {
            const got = outputs[net.outputs[i].name];
            assert.equal([...got.shape], v.shape);
            const [values, wanted] = [await got.data(), elementsOf(folder, v)];
            const worst = wanted.reduce((most, w, k) => Math.max(most, Math.abs(values[k] - w)), 0);
            assert.ok(worst <= v.atol, `${v.name}: ${worst}, at most ${v.atol}`);
          }
        }
        net.dispose();
      });
    }
  }
}

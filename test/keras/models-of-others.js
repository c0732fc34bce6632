/** @file Tests of models that Keras and TensorFlow.js saved, with their outputs, on the kernels and in float64. */
import { readdirSync, readFileSync } from "node:fs";
import * as assert from "uvu/assert";
import { open, tensor, Tensor, useBackend } from "../../build/esm/index.js";
import { loadKeras, loadTfjs } from "../../build/esm/keras/index.js";
import { referenceBackend } from "../reference/index.js";
import { shared } from "./shared.js";

const numbersOf = ({ b64, data, file, fill, shape }, at) => {
  if (fill !== undefined) return new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(fill);
  if (data !== undefined) return Float32Array.from([data].flat(Infinity));
  return new Float32Array(Uint8Array.from(file === undefined ? Buffer.from(b64, "base64") : readFileSync(`${at}/${file}`)).buffer);
};

/** Registers a test for each model in the folder with the data of others, where that is. */
export function testModels(test) {
  const folder = shared("models");
  if (folder === null) return;
  for (const [family, load] of [
    ["keras", loadKeras],
    ["keras-real", loadKeras],
    ["tfjs", loadTfjs],
  ])
    for (const name of readdirSync(`${folder}/${family}`))
      for (const backend of ["wasm", "float64"])
        test(`${family}/${name} on ${backend}`, async () => {
          const at = `${folder}/${family}/${name}`;
          const { model: file, inputs, outputs } = JSON.parse(readFileSync(`${at}/io.json`, "utf8"));
          if (backend === "wasm") await open("wasm");
          else useBackend(new referenceBackend());
          const model = await load(`${at}/${file}`, { compile: false });
          const x = inputs.map((input) => tensor(numbersOf(input, at), input.shape));
          const given = await model.predict(x.length === 1 ? x[0] : x);
          const y = given instanceof Tensor ? [given] : Object.values(given);
          assert.is(y.length, outputs.length);
          for (const [i, output] of outputs.entries()) {
            assert.equal(y[i].shape, output.shape);
            const [got, want] = [await y[i].data(), numbersOf(output, at)];
            const error = want.reduce((most, w, k) => Math.max(most, Math.abs(w - got[k])), 0);
            assert.ok(error <= output.atol, `${output.name}: ${error} > ${output.atol}`);
          }
          model.dispose();
        });
}

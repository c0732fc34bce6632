/**
 * @file ONNX's backend tests on WebAssembly (on the GPU: test/webgpu/onnx.test.js), and models that PyTorch exported. What does not pass
 * is listed here with the reason; docs/onnx.md has the table of it, which this test writes where LOCKSTEP_WRITE is set.
 */
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open, tensor } from "../../build/esm/index.js";
import { loadOnnx } from "../../build/esm/onnx/index.js";
import { modelPath } from "../models/index.js";
import { allCases, runCase } from "./cases.js";
import { EXCEPTIONS } from "./exceptions.js";

const backend = await open("wasm");
test.after(() => backend.close());

const cases = allCases();
const operators = Map.groupBy ? Map.groupBy(cases, (c) => c.main_op) : new Map();
if (operators.size === 0) for (const c of cases) operators.set(c.main_op, [...(operators.get(c.main_op) ?? []), c]);

for (const [operator, list] of operators) {
  test(`ONNX: ${operator}, ${list.length} cases`, async () => {
    for (const entry of list) {
      const error = await runCase(entry, backend).then(
        () => null,
        (e) => e,
      );
      const expected = EXCEPTIONS[entry.name];
      if (expected !== undefined) assert.ok(error !== null, `${entry.name} passes, and is listed as an exception`);
      else assert.is(error, null, `${entry.name}: ${error?.message}`);
    }
  });
}

/** The table of what does not pass. */
function table() {
  const rows = cases.filter((c) => EXCEPTIONS[c.name]).map((c) => `| ${c.main_op} | ${c.name} | ${EXCEPTIONS[c.name]} |`);
  return ["| operator | case | why |", "| --- | --- | --- |", ...new Set(rows)].join("\n");
}

if (process.env.LOCKSTEP_SHARED !== undefined) {
  test("ONNX: at least 97 % of all cases pass, and what does not is in docs/onnx.md", () => {
    const failing = cases.filter((c) => EXCEPTIONS[c.name]).length;
    assert.ok(failing <= 0.03 * cases.length, `${failing} of ${cases.length}`);
    const file = new URL("../../docs/onnx.md", import.meta.url);
    const [begin, end] = ["<!-- cases: begin -->", "<!-- cases: end -->"];
    const text = readFileSync(file, "utf8");
    const written = `${text.slice(0, text.indexOf(begin) + begin.length)}\n${table()}\n${text.slice(text.indexOf(end))}`;
    if (process.env.LOCKSTEP_WRITE !== undefined) writeFileSync(file, written);
    else assert.is(text, written, "docs/onnx.md is old: run this with LOCKSTEP_WRITE=1");
  });
}

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

/** Models of others; those of other folders than onnx-pytorch are not here. */
for (const group of ["onnx-pytorch", "onnx-real", "onnx-light"]) {
  const all = modelPath(group);
  for (const name of all === null ? [] : readdirSync(all)) {
    const folder = join(all, name);
    if (!existsSync(join(folder, "io.json"))) continue;
    test(`ONNX: ${group}/${name}`, async () => {
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

test.run();

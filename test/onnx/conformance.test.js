/**
 * @file ONNX's backend tests on WebAssembly (on the GPU: test/webgpu/onnx.test.js), and models that PyTorch exported. What does not pass
 * is listed here with the reason; docs/onnx.md has the table of it, which this test writes where LOCKSTEP_WRITE is set.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open } from "../../build/esm/index.js";
import { allCases, runCase } from "./cases.js";
import { EXCEPTIONS } from "./exceptions.js";
import { modelTests } from "./models.js";

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

modelTests(test, backend, ["onnx-pytorch", "onnx-real", "onnx-light"]);

test.run();

/** @file Operators in parts: what is named without a part being loaded is what it has; graphs load what they need. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { LockstepError } from "../../build/esm/index.js";
import { PARTS, operatorsFor } from "../../build/esm/onnx/operators.js";

const namesIn = (list) => list.trim().split(/\s+/);

test("parts: the names of each part are those of its operators", async () => {
  assert.ok(PARTS.length > 5);
  for (const { load, names } of PARTS) {
    const { operators } = await load();
    assert.equal(Object.keys(names).sort(), Object.keys(operators).sort());
    for (const [domain, list] of Object.entries(names)) assert.equal(namesIn(list).sort(), Object.keys(operators[domain]).sort());
  }
});

test("parts: no operator is in two", () => {
  const all = PARTS.flatMap(({ names }) =>
    Object.entries(names).flatMap(([domain, list]) => namesIn(list).map((name) => `${domain}.${name}`)),
  );
  assert.is(new Set(all).size, all.length);
});

test("parts: those are loaded that nodes name, and what every graph may have is there", async () => {
  const find = await operatorsFor([
    { domain: "", op: "Conv" },
    { domain: "com.microsoft", op: "MatMulNBits" },
    { domain: "elsewhere", op: "LSTM" },
  ]);
  assert.type(find("", "Conv"), "function");
  assert.type(find("", "Add"), "function");
  assert.type(find("com.microsoft", "MatMulNBits"), "function");
  for (const [domain, name] of [
    ["", "LSTM"],
    ["", "constructor"],
    ["constructor", "name"],
    ["elsewhere", "LSTM"],
    ["", "MatMulNBits"],
  ])
    assert.is(find(domain, name), null);
});

test("parts: one that cannot be loaded is told, with where it is", async () => {
  const failing = [{ load: () => Promise.reject(new TypeError("Failed to fetch")), names: { "": "LSTM" } }];
  assert.type((await operatorsFor([{ domain: "", op: "Add" }], failing))("", "Add"), "function");
  try {
    await operatorsFor([{ domain: "", op: "LSTM" }], failing);
    assert.unreachable();
  } catch (error) {
    assert.instance(error, LockstepError);
    assert.match(error.message, /^loadOnnx: cannot load operators: Failed to fetch; they are in files beside onnx\.js$/);
  }
});

test.run();

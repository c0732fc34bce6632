/**
 * Tests that nothing is missing: every op has a gradient rule or an explicit null, kernels, a reference, steps and cases; every kernel is
 * reached.
 */
import { existsSync, readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { OPS } from "../../build/esm/ops/index.js";
import { buildPlan } from "../../build/esm/plan/build.js";
import { kernelOf } from "../../build/esm/wasm/commands.js";
import { STEP_NAMES } from "../../build/esm/wasm/step-names.js";
import * as steps from "../../build/esm/wasm/steps.js";
import { CONTRACT } from "../reference/contract.js";
import { INTEGER, LOGICAL, PREDICATE, REAL } from "../reference/elementwise.js";
import { KERNELS } from "../reference/index.js";
import { FAMILIES, allCases, hasGradient, reference, traceForward, traceGradient, wasms } from "./harness.js";

const cases = await allCases();
const root = new URL("../../", import.meta.url);
const ops = Object.entries(OPS).flatMap(([family, list]) => list.map((op) => ({ family, op })));

/** A case's traced graphs: forward, and gradients where it has them. */
const tracesOf = (c) => (hasGradient(c) ? [traceForward(c), traceGradient(c)] : [traceForward(c)]);

/** Kernels and steps of map bodies in the plans of all cases. */
function reached(limits) {
  const [kernels, bodySteps] = [new Set(), new Set()];
  for (const c of Object.values(cases).flat()) {
    for (const { graph, results } of tracesOf(c)) {
      const plan = buildPlan(graph, results, limits);
      for (const call of plan.calls) {
        kernels.add(call.kernel);
        assert.type(kernelOf(plan, call.kernel).encode, "function", call.kernel);
        for (const step of call.attrs.body?.steps ?? []) bodySteps.add(step.op);
      }
    }
  }
  return { kernels, bodySteps };
}

const found = reached(wasms[0].limits);

test("families are the same in the table of ops, in sources, kernels and tests", () => {
  assert.equal(Object.keys(OPS).sort(), [...FAMILIES].sort());
  for (const family of FAMILIES) {
    for (const file of [`src/ops/${family}.ts`, `assembly/${family}.ts`, `test/ops/${family}.js`])
      assert.ok(existsSync(new URL(file, root)), file);
    assert.ok(OPS[family].length > 0, `${family} has ops`);
  }
});

test("names of ops are unique", () => {
  const names = ops.map(({ op }) => op.name);
  assert.is(new Set(names).size, names.length, names.filter((n, k) => names.indexOf(n) !== k).join());
});

for (const { family, op } of ops) {
  test(`${family}: ${op.name}`, () => {
    assert.ok(op.vjp === null || typeof op.vjp === "function", "a gradient rule or an explicit null");
    const own = cases[family].filter((c) => c.op === op.name);
    assert.ok(own.length > 0, `a case in test/ops/${family}.js`);
    if (op.vjp !== null) assert.ok(own.some(hasGradient), "a case with gradients");
    assert.ok(
      own.some((c) => traceForward(c).graph.nodes.some((n) => n.op === op)),
      "a case that uses the op itself",
    );
    if (op.lower !== "map") return;
    if (op.name === "where" || op.name === "cast") {
      assert.ok(
        Object.keys(steps).some((name) => name.startsWith(`STEP_${op.name.toUpperCase()}`)),
        "a step number",
      );
      return;
    }
    assert.type(steps[`STEP_${op.name.toUpperCase()}`], "number", "a step number in src/wasm/steps.ts");
    assert.ok(
      [REAL, INTEGER, LOGICAL, PREDICATE].some((table) => Object.hasOwn(table, op.name)),
      "a reference step",
    );
  });
}

test("every case names an op of its family", () => {
  for (const [family, list] of Object.entries(cases)) {
    for (const c of list)
      assert.ok(
        OPS[family].some((op) => op.name === c.op),
        `${family}: ${c.op}: ${c.name}`,
      );
    const titles = list.map((c) => `${c.op}: ${c.name}`);
    assert.is(new Set(titles).size, titles.length, `titles of ${family} are unique: ${titles.filter((t, k) => titles.indexOf(t) !== k)}`);
  }
});

test("kernels: reference and contract have the same, and cases reach all", () => {
  const names = Object.keys(CONTRACT).sort();
  assert.equal(Object.keys(KERNELS).sort(), names, "reference");
  assert.equal([...found.kernels].sort(), names, "reached by cases");
  assert.equal([...reached(reference.limits).kernels].sort(), names, "reached by cases with the reference's limits");
});

test("every elementwise op is reached as a step of a body", () => {
  for (const { op } of ops) if (op.lower === "map") assert.ok(found.bodySteps.has(op.name), op.name);
});

test("step-names.ts has each step of steps.ts at its number", () => {
  const numbers = Object.entries(steps).filter(([name]) => name.startsWith("STEP_") && !name.startsWith("STEP_CAST"));
  assert.equal(
    Object.fromEntries(STEP_NAMES.flatMap((name, i) => (name === "-" ? [] : [[`STEP_${name.toUpperCase()}`, i]]))),
    Object.fromEntries(numbers),
  );
});

test("no step or opcode has the number of another, and the kernels use all of them", () => {
  const kernels = ["map", "steps", "reduce", "run"]
    .map((name) => `assembly/${name}.ts`)
    .filter((file) => existsSync(new URL(file, root)))
    .map((file) => readFileSync(new URL(file, root), "utf8"))
    .join("\n");
  const numbers = new Map();
  for (const [name, value] of Object.entries(steps)) {
    if (!name.startsWith("STEP_") || name === "STEP_CASTS") continue;
    assert.not.ok(numbers.has(value), `${name} and ${numbers.get(value)} are both ${value}`);
    numbers.set(value, name);
    if (name !== "STEP_CONST") assert.ok(kernels.includes(name), `${name} is in assembly/`);
  }
});

test.run();

/**
 * Tests that kernels write their outputs and nothing else, and that results do not depend on what memory held before:
 * every case and its gradients run with every binding between painted guards, twice with different paint everywhere.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { buildPlan } from "../../build/esm/plan/build.js";
import { allCases, hasGradient, traceForward, traceGradient, wasms } from "./harness.js";

/** A whole number of alignments, and more than a vector is wide. */
const GUARD = 128;
/** NaN, and a large number: neither can go unnoticed in a sum. */
const PAINTS = [0x7fc0dead, 0x6e6e6e6e];

const painted = (bytes, paint) => new Uint8Array(new Uint32Array(Math.ceil(bytes / 4)).fill(paint).buffer, 0, bytes);

/** A buffer for `bytes` inside a larger one: backends know a WASM buffer by its address. */
function guardedBuffer(backend, bytes) {
  const outer = backend.alloc(bytes + 2 * GUARD);
  return { bytes, address: outer.address + GUARD, span: outer.span - GUARD, outer };
}

/** Leaves paint in memory that the next allocations get. */
function dirty(backend, paint) {
  const buffer = backend.alloc(1 << 20);
  backend.write(buffer, 0, painted(1 << 20, paint));
  backend.free(buffer);
}

/** Runs between guards of `paint`; the bytes of all results. */
async function guardedRun(backend, plan, data, paint) {
  dirty(backend, paint);
  const program = await backend.compile(plan);
  const buffers = plan.bindings.map(({ bytes }) => guardedBuffer(backend, bytes));
  buffers.forEach((buffer, k) => {
    backend.write(buffer.outer, 0, painted(buffer.outer.bytes, paint));
    if (k < data.length) backend.write(buffer, 0, data[k]);
  });
  backend.run(program, buffers);
  const results = [];
  for (const [k, buffer] of buffers.entries()) {
    const all = new Uint8Array(await backend.read(buffer.outer, 0, buffer.outer.bytes));
    const guard = painted(GUARD, paint);
    assert.equal(all.subarray(0, GUARD), guard, `bytes before binding ${k} (${plan.bindings[k].kind})`);
    assert.equal(all.subarray(GUARD + buffer.bytes), guard, `bytes after binding ${k} (${plan.bindings[k].kind})`);
    const inside = all.slice(GUARD, GUARD + (k < data.length ? data[k].byteLength : buffer.bytes));
    if (k < data.length)
      assert.equal(inside, new Uint8Array(data[k].buffer, data[k].byteOffset, data[k].byteLength), `input ${k} is as it was`);
    else results.push(inside);
    backend.free(buffer.outer);
  }
  program.close();
  return results;
}

async function check({ graph, results, data }) {
  const bytes = data.map((x) => (x instanceof Float64Array ? Float32Array.from(x) : x));
  for (const wasm of wasms) {
    const plan = buildPlan(graph, results, wasm.limits);
    const [first, second] = [await guardedRun(wasm, plan, bytes, PAINTS[0]), await guardedRun(wasm, plan, bytes, PAINTS[1])];
    assert.equal(first, second, `${wasm.simd}: results depend on what memory held before`);
  }
}

for (const [family, cases] of Object.entries(await allCases())) {
  test(`${family}: guards`, async () => {
    for (const c of cases) {
      try {
        await check(traceForward(c));
        if (hasGradient(c)) await check(traceGradient(c));
      } catch (error) {
        error.message = `${c.op}, ${c.name}: ${error.message}`;
        throw error;
      }
    }
  });
}

test("the test itself notices a write past the end and a read of undefined memory", async () => {
  const [wasm] = wasms;
  const buffer = guardedBuffer(wasm, 64);
  wasm.write(buffer.outer, 0, painted(buffer.outer.bytes, PAINTS[0]));
  wasm.write(buffer.outer, GUARD + 64, Uint8Array.of(1));
  const all = new Uint8Array(await wasm.read(buffer.outer, 0, buffer.outer.bytes));
  assert.not.equal(all.subarray(GUARD + 64), painted(GUARD, PAINTS[0]));
  wasm.free(buffer.outer);
});

test.run();

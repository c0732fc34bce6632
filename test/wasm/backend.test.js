/** Tests of the WASM backend by itself: options, builds, buffers, programs, errors, and equal bits from run to run. */
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Graph, trace } from "../../build/esm/graph.js";
import { open } from "../../build/esm/init.js";
import { concat } from "../../build/esm/ops/move.js";
import { sum } from "../../build/esm/ops/reduce.js";
import { buildPlan } from "../../build/esm/plan/build.js";
import { openWasm } from "../../build/esm/wasm/index.js";
import { prepare } from "../ops/harness.js";
import { MODELS } from "../plan/models.js";
import { randomGraph } from "../plan/random-graph.js";

/** Asked of the engine by the kernels themselves. */
const RELAXED = WebAssembly.validate(readFileSync(new URL("../../build/relaxed.wasm", import.meta.url)));

async function rejects(promise, name, pattern) {
  try {
    await promise;
  } catch (error) {
    assert.is(error.name, name);
    assert.match(error.message, pattern);
    return;
  }
  assert.unreachable("nothing was thrown");
}

test("reproducible means plain SIMD, else relaxed where there is any", async () => {
  assert.is((await openWasm({ reproducible: true })).simd, "plain");
  assert.is((await openWasm()).simd, RELAXED ? "relaxed" : "plain");
});

test("maxBytes and names are checked", async () => {
  await rejects(openWasm({ maxBytes: 1000 }), "ArgumentError", /between 4 MiB and 4 GiB, got 1000/);
  await rejects(openWasm({ maxBytes: 2 ** 33 }), "ArgumentError", /4 GiB/);
  await rejects(openWasm({ maxBytes: NaN }), "ArgumentError", /NaN/);
  await rejects(open("cuda"), "ArgumentError", /unknown backend "cuda"/);
  await rejects(
    open("wasm", { thread: 2 }),
    "ArgumentError",
    /open: unknown option "thread"; did you mean "threads"\? known: reproducible, maxBytes, threads/,
  );
  await rejects(open("wasm", { storage: "f16" }), "ArgumentError", /unknown option "storage"/);
  await rejects(open("webgpu", { threads: 2 }), "ArgumentError", /unknown option "threads"; .*known: powerPreference, gpu, dawn, storage/);
  await rejects(open("wasm", 2), "ArgumentError", /expected an object of options, got 2/);
});

test("bytes written are bytes read, at any offset, also after the memory has grown", async () => {
  const backend = await openWasm();
  const small = backend.alloc(64);
  backend.write(small, 4, Float32Array.of(1, 2, 3));
  const before = backend.memory().linear;
  const large = backend.alloc(32 << 20);
  assert.ok(backend.memory().linear > before);
  backend.write(large, (32 << 20) - 8, Int32Array.of(-7, 9));
  assert.equal([...new Float32Array(await backend.read(small, 4, 12))], [1, 2, 3]);
  assert.equal([...new Int32Array(await backend.read(large, (32 << 20) - 8, 8))], [-7, 9]);
  assert.throws(() => backend.write(small, 60, Float32Array.of(1, 2)), /write of 8 bytes at 60/);
  await rejects(backend.read(small, 0, 65), "Error", /read of 65 bytes/);
});

test("a limit on memory is kept", async () => {
  const backend = await openWasm({ maxBytes: 8 << 20 });
  assert.throws(
    () => backend.alloc(9 << 20),
    (e) => e.name === "BackendError",
  );
  const graph = new Graph();
  const results = trace(graph, () => [
    sum(concat([graph.input({ shape: [1 << 21], dtype: "f32" }), graph.input({ shape: [1 << 21], dtype: "f32" })])),
  ]);
  await rejects(
    backend.compile(buildPlan(graph, results, backend.limits)),
    "BackendError",
    /the program needs 16777216 bytes of working memory, the limit is 8388608; use a smaller batch/,
  );
  assert.ok(backend.alloc(1 << 20));
});

test("programs and buffers give back what they take", async () => {
  const backend = await openWasm();
  const start = backend.memory();
  for (let turn = 0; turn < 20; turn++) {
    const { graph, results, inputs, captures } = randomGraph(turn);
    const prepared = await prepare(backend, graph, results);
    await prepared.run([...inputs, ...captures]);
    prepared.close();
    prepared.close();
  }
  const end = backend.memory();
  assert.is(end.buffers, start.buffers);
  assert.is(end.bytes, start.bytes);
});

test("two runs give equal bits, and so do two backends of one build", async () => {
  for (const options of [{}, { reproducible: true }]) {
    const [a, b] = [await openWasm(options), await openWasm(options)];
    for (let seed = 0; seed < 40; seed++) {
      const { graph, results, inputs, captures } = randomGraph(seed);
      const [first, second] = [await prepare(a, graph, results), await prepare(b, graph, results)];
      const want = await first.run([...inputs, ...captures]);
      assert.equal(await first.run([...inputs, ...captures]), want);
      assert.equal(await second.run([...inputs, ...captures]), want);
    }
  }
});

test("a program of another backend, missing buffers and small buffers are refused", async () => {
  const backend = await openWasm();
  const { graph, results } = MODELS.classifier();
  const plan = buildPlan(graph, results, backend.limits);
  const program = await backend.compile(plan);
  assert.throws(() => backend.run({ plan, close() {} }, []), /program of another backend/);
  assert.throws(() => backend.run(program, []), /0 buffers for 4 bindings/);
  assert.throws(
    () =>
      backend.run(
        program,
        plan.bindings.map(() => backend.alloc(4)),
      ),
    /binding 0 needs 112 bytes/,
  );
});

test("a closed backend says so", async () => {
  const backend = await openWasm();
  const buffer = backend.alloc(4);
  backend.close();
  assert.throws(() => backend.alloc(4), /alloc after close/);
  assert.throws(() => backend.write(buffer, 0, Float32Array.of(1)), /write after close/);
  await rejects(backend.read(buffer, 0, 4), "BackendError", /read after close/);
  backend.free(buffer);
});

test("nothing is written below the first address, where absent operands point", async () => {
  const backend = await openWasm();
  assert.ok(backend.alloc(4).address >= 1024);
});

test.run();

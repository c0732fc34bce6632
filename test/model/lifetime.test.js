/** What models and functions hold on a backend, when they give it back, and what a backend that is full does. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  adam,
  add,
  BackendError,
  compile,
  dense,
  loadModel,
  LockstepError,
  matmul,
  mul,
  open,
  sequential,
  tensor,
  zeros,
} from "../../build/esm/index.js";

const quiet = { verbose: 0 };
const MiB = 2 ** 20;

/** A file with a model of 1 MiB. */
const bytes = await sequential([dense(512)], { inputShape: [512] }).toBytes();
const x = () => ({ data: new Float32Array(512).fill(1), shape: [1, 512] });

async function rejects(promise, pattern) {
  await promise.then(
    () => assert.unreachable("it resolved"),
    (e) => {
      assert.instance(e, LockstepError);
      assert.match(e.message, pattern);
    },
  );
}

test("load, predict, dispose without a turn of the event loop", async () => {
  const backend = await open("wasm", { maxBytes: 8 * MiB, threads: 1 });
  let turns = 0;
  setImmediate(() => turns++);
  let first;
  for (let i = 0; i < 300; i++) {
    const model = await loadModel(bytes);
    const [y] = await (await model.predict(x())).data();
    assert.is(y, (first ??= y));
    model.dispose();
  }
  assert.is(turns, 0, "nothing but promises was awaited");
  assert.is(backend.memory().buffers, 1, "the scratch memory alone is left");
  backend.close();
});

test("models that nobody disposes of: a full backend lets finalizers run", async () => {
  const backend = await open("wasm", { maxBytes: 8 * MiB, threads: 1 });
  for (let i = 0; i < 40; i++) await (await loadModel(bytes)).predict(x());
  assert.ok(backend.memory().bytes < 8 * MiB);
  backend.close();
});

test("a trained model gives back weights, the optimizer's state and programs", async () => {
  const backend = await open("wasm", { threads: 1 });
  const before = backend.memory();
  const optimizer = adam();
  const model = sequential([dense(8, { activation: "relu" }), dense(1)], { inputShape: [4] });
  await model.compile({ loss: "mse", optimizer, metrics: ["mae"] });
  await model.fit(zeros([10, 4]), zeros([10, 1]), { batchSize: 4, validationSplit: 0.2, ...quiet });
  await model.evaluate(zeros([10, 4]), zeros([10, 1]));
  await model.predict(zeros([10, 4]));
  assert.ok(backend.memory().buffers > before.buffers + 20);
  model.dispose();
  model.dispose();
  // What the optimizer needs for another model: its rate and the number of its steps.
  assert.is(backend.memory().buffers, before.buffers + 2);
  const next = sequential([dense(1)], { inputShape: [4] });
  await next.compile({ loss: "mse", optimizer });
  await next.fit(zeros([10, 4]), zeros([10, 1]), quiet);
  backend.close();
});

test("a disposed model says so", async () => {
  const backend = await open("wasm", { threads: 1 });
  const model = sequential([dense(1)], { inputShape: [4], name: "gone" });
  await model.compile({ loss: "mse" });
  const fitting = model.fit(zeros([8, 4]), zeros([8, 1]), { epochs: 3, callbacks: [{ onEpochEnd: () => model.dispose() }], ...quiet });
  await rejects(fitting, /was disposed/);
  for (const call of [
    () => model.predict(zeros([1, 4])),
    () => model.evaluate(zeros([1, 4]), zeros([1, 1])),
    () => model.fit(zeros([1, 4]), zeros([1, 1]), quiet),
  ]) {
    await rejects(call(), /model "gone" was disposed; load or build it again/);
  }
  await rejects(model.getWeights(), /was disposed/);
  await rejects(model.toBytes(), /was disposed/);
  assert.throws(
    () => model.setWeights([new Float32Array(4), new Float32Array(1)]),
    (e) => e instanceof LockstepError && /was disposed/.test(e.message),
  );
  backend.close();
});

test("programs of other shapes make room when the backend is full", async () => {
  const backend = await open("wasm", { maxBytes: 16 * MiB, threads: 1 });
  const functions = Array.from({ length: 12 }, (_, i) => compile((a) => matmul(add(a, i), mul(a, 2))));
  const a = tensor(new Float32Array(512 * 512).fill(1 / 512), [512, 512]);
  // Each function holds some 4 MiB; none of them alone is too large.
  for (let round = 0; round < 2; round++) {
    for (const [i, f] of functions.entries()) assert.ok(Math.abs((await (await f(a)).data())[7] - 2 * (1 / 512 + i)) < 1e-3);
  }
  backend.close();
});

test("what cannot fit says so with the numbers", async () => {
  const backend = await open("wasm", { maxBytes: 8 * MiB, threads: 1 });
  const f = compile((a) => add(a, 1));
  const big = tensor(new Float32Array(1.5 * MiB));
  await f(big).then(
    () => assert.unreachable("it fitted"),
    (e) => {
      assert.instance(e, BackendError);
      assert.match(e.message, /out of memory: \d+ bytes wanted, \d+ in use in \d+ buffers, the memory ends at 8388608/);
    },
  );
  assert.equal([...(await (await f(zeros([2]))).data())], [1, 1], "and the backend goes on");
  backend.close();
});

test("5,000 shapes of an eager op and of a compiled function", async () => {
  const backend = await open("wasm", { threads: 1 });
  const f = compile((a) => mul(add(a, 1), 2), { warnAfter: Infinity });
  for (let n = 1; n <= 5000; n++) {
    const a = zeros([n]);
    assert.is((await add(a, 1).data())[n - 1], 1);
    assert.is((await (await f(a)).data())[n - 1], 2);
  }
  const { buffers, bytes: used, linear } = backend.memory();
  assert.ok(buffers <= 2048, `${buffers} buffers`);
  assert.ok(used < 64 * MiB && linear < 2 * used, `${used} bytes of ${linear}`);
  f.close();
  assert.ok(backend.memory().buffers <= 1025, `${backend.memory().buffers} buffers after close()`);
  backend.close();
});

test("programs that run or are read are not taken away", async () => {
  const backend = await open("wasm", { threads: 1, background: true });
  const f = compile((a) => add(a, 1), { warnAfter: Infinity });
  // All at once: many more than are kept.
  const all = await Promise.all(Array.from({ length: 600 }, async (_, i) => (await (await f(zeros([i + 1]))).data())[i]));
  assert.ok(all.every((v) => v === 1));
  f.close();
  backend.close();
});

test.run();

/** Models, functions and tensors go on when their backend is closed or lost: on the one opened next, with the same numbers. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  adam,
  add,
  assign,
  BackendError,
  compile,
  dense,
  DeviceLostError,
  dropout,
  mul,
  open,
  sequential,
  sum,
  tensor,
  useBackend,
  zeros,
} from "../../build/esm/index.js";
import { fingerprint, table } from "./helpers.js";

const quiet = { verbose: 0 };
const data = table(40);
const openOne = () => open("wasm", { reproducible: true, threads: 1 });

async function trained(options = {}) {
  const model = sequential([dense(8, { activation: "tanh" }), dropout(0.2), dense(1)], { inputShape: [4], seed: 3 });
  await model.compile({ loss: "mse", optimizer: adam({ learningRate: 0.01 }), metrics: ["mae"], ...options });
  return model;
}

const fit = (model, epochs, initialEpoch = 0) => model.fit(data.x, data.y, { epochs, initialEpoch, batchSize: 16, seed: 5, ...quiet });
const predict = async (model) => [...(await (await model.predict(data.x)).data())];

/** What five epochs in a row come to. */
async function inOneGo() {
  const backend = await openOne();
  const model = await trained();
  await fit(model, 5);
  const result = { weights: await fingerprint(model), predicted: await predict(model), loss: (await model.evaluate(data.x, data.y)).loss };
  backend.close();
  return result;
}

test("close(), open(): predict, evaluate and fit go on as if nothing had happened", async () => {
  const expected = await inOneGo();
  let backend = await openOne();
  const model = await trained();
  await fit(model, 2);
  const before = await predict(model);
  await backend.close();
  backend = await openOne();
  assert.equal(await predict(model), before);
  await backend.close();
  backend = await openOne();
  await fit(model, 4, 2);
  await backend.close();
  backend = await openOne();
  // Nothing but fit in between, whose optimizer state was on the closed one.
  await fit(model, 5, 4);
  assert.is(await fingerprint(model), expected.weights);
  await backend.close();
  backend = await openOne();
  assert.is((await model.evaluate(data.x, data.y)).loss, expected.loss);
  assert.equal(await predict(model), expected.predicted);
  assert.ok(backend.memory().buffers > 5, "the weights are there");
  backend.close();
});

test("after close() alone the next call opens a backend, as the very first does", async () => {
  const backend = await openOne();
  const model = await trained();
  await fit(model, 1);
  const before = await predict(model);
  backend.close();
  const after = await predict(model);
  assert.ok(after.every((v, i) => Math.abs(v - before[i]) < 1e-5));
  assert.is(await add(1, 2).item(), 3);
});

test("weights, and tensors that a function assigned, can be read after close()", async () => {
  const backend = await openOne();
  const model = await trained();
  await fit(model, 1);
  const w = zeros([3]);
  const step = compile((x) => assign(w, add(w, x)));
  await step(tensor([1, 2, 3]));
  backend.close();
  assert.equal([...(await w.data())], [1, 2, 3]);
  const weights = await fingerprint(model);
  const second = await openOne();
  const other = await trained();
  await fit(other, 1);
  assert.is(weights, await fingerprint(other));
  second.close();
});

test("a compiled function makes its programs anew, with what it captured and assigned", async () => {
  let backend = await openOne();
  const w = zeros([2]);
  const k = add(tensor([1, 1]), 1);
  const step = compile((x) => {
    assign(w, add(w, mul(x, k)));
    return sum(w);
  });
  const x = tensor([1, 10]);
  assert.is(await (await step(x)).item(), 0);
  for (let i = 1; i < 4; i++) {
    await backend.close();
    backend = await openOne();
    assert.is(await (await step(x)).item(), 22 * i);
  }
  assert.equal([...(await w.data())], [8, 80]);
  // set() on what a closed backend had.
  await backend.close();
  w.set([1, 2]);
  backend = await openOne();
  assert.is(await (await step(x)).item(), 3);
  backend.close();
});

test("a function that was given a backend which is closed says so", async () => {
  const backend = await openOne();
  const f = compile((x) => add(x, 1), { backend });
  await f(zeros([2]));
  backend.close();
  await f(zeros([2])).then(
    () => assert.unreachable("it ran"),
    (e) => {
      assert.instance(e, BackendError);
      assert.match(e.message, /after close\(\)/);
    },
  );
});

test("two backends: weights follow from one to the other and back", async () => {
  const [a, b] = [await openOne(), await openOne()];
  const model = await trained({ backend: a });
  await fit(model, 1);
  const [kernel] = model.weights.map((w) => w.tensor);
  const onB = compile(() => sum(kernel), { backend: b });
  const expected = kernel.size && (await kernel.data()).reduce((s, v) => s + v, 0);
  assert.ok(Math.abs((await (await onB()).item()) - expected) < 1e-5);
  await fit(model, 2, 1);
  // Trained on a since: what b had is old.
  const now = (await kernel.data()).reduce((s, v) => s + v, 0);
  await fit(model, 2, 2);
  assert.ok(Math.abs((await (await onB()).item()) - now) < 1e-5);
  // Only a has what this fit made of the weights.
  await fit(model, 3, 2);
  const sums = await (await onB()).item();
  const [left] = (await model.getWeights()).map((t) => t);
  assert.ok(Math.abs(sums - (await left.data()).reduce((s, v) => s + v, 0)) < 1e-5);
  a.close();
  b.close();
});

/** A WASM backend that behaves as a device: results stay on it, and once it is lost all calls fail. */
async function device() {
  const inner = await openOne();
  let lost = false;
  const guard =
    (name) =>
    (...args) => {
      if (lost) throw new DeviceLostError("device: it was lost");
      return inner[name](...args);
    };
  return {
    name: "device",
    limits: { ...inner.limits, hostMemory: false },
    get closed() {
      return lost;
    },
    alloc: guard("alloc"),
    free: (b) => inner.free(b),
    write: guard("write"),
    compile: guard("compile"),
    sync: guard("sync"),
    run: guard("run"),
    caughtUp: () => inner.caughtUp(),
    close: () => inner.close(),
    read: async (...args) => guard("read")(...args),
    lose: () => void (lost = true),
  };
}

test("what was learned survives a device that is lost after fit: predict, evaluate and fit go on elsewhere", async () => {
  const expected = await inOneGo();
  const lost = await device();
  const model = await trained({ backend: lost });
  await fit(model, 3);
  lost.lose();
  const next = await openOne();
  await predict(model);
  await fit(model, 5, 3);
  assert.is(await fingerprint(model), expected.weights);
  assert.equal(await predict(model), expected.predicted);
  next.close();
});

test("lost in the middle of a fit over batches: the error stands, the model has the weights that the epoch began with", async () => {
  const lost = await device();
  const model = await trained({ backend: lost });
  function* batches() {
    for (let i = 0; i < 4; i++)
      yield [{ data: data.x.data.slice(0, 40), shape: [10, 4] }, { data: data.y.data.slice(0, 10), shape: [10, 1] }];
  }
  await model.fit(batches, { epochs: 1, ...quiet });
  const before = await fingerprint(model);
  let steps = 0;
  const onBatchEnd = () => {
    if (++steps === 3) lost.lose();
  };
  await model.fit(batches, { epochs: 1, callbacks: [{ onBatchEnd }], ...quiet }).then(
    () => assert.unreachable("it went on"),
    (e) => assert.instance(e, DeviceLostError),
  );
  const next = await openOne();
  assert.is(await fingerprint(model), before);
  await predict(model);
  next.close();
});

test("what only a lost device had is an error that says so", async () => {
  const lost = await device();
  useBackend(lost);
  const w = zeros([2]);
  const step = compile(() => assign(w, add(w, 1)));
  await step();
  lost.lose();
  const next = await openOne();
  const use = compile(() => sum(w));
  for (const call of [() => w.data(), () => add(w, 1).data(), () => use()]) {
    await call().then(
      () => assert.unreachable("numbers from nowhere"),
      (e) => assert.instance(e, DeviceLostError),
    );
  }
  w.set([1, 2]);
  assert.is(await (await use()).item(), 3);
  next.close();
});

test.run();

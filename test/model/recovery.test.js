/** @file A device that is lost in the middle of training: fit goes on from its last copy and ends with the same weights. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { adagrad, adam, dense, DeviceLostError, dropout, open, sequential, tensor, terminateOnNaN } from "../../build/esm/index.js";

/** A WASM backend that behaves as a device that can be lost: results are not host memory, and from run `lostAt` on every call fails. */
async function fragile(lostAt, reopen = null) {
  const inner = await open("wasm", { reproducible: true });
  let runs = 0;
  const check = () => {
    if (runs >= lostAt) throw new DeviceLostError("fragile: the device was lost");
  };
  const guard =
    (name) =>
    (...args) => {
      check();
      return inner[name](...args);
    };
  const backend = {
    name: "fragile",
    limits: { ...inner.limits, hostMemory: false, asynchronous: true },
    alloc: guard("alloc"),
    free: (b) => inner.free(b),
    write: guard("write"),
    compile: guard("compile"),
    sync: guard("sync"),
    caughtUp: () => inner.caughtUp(),
    close: () => inner.close(),
    read: async (...args) => {
      check();
      return inner.read(...args);
    },
    run: (...args) => {
      check();
      runs++;
      inner.run(...args);
    },
    runs: () => runs,
  };
  if (reopen !== null) backend.reopen = reopen;
  return backend;
}

const x = tensor(
  Float32Array.from({ length: 96 * 3 }, (_, i) => ((i * 37) % 101) / 101),
  [96, 3],
);
const y = tensor(
  Float32Array.from({ length: 96 }, (_, i) => ((i * 13) % 7) / 7),
  [96, 1],
);

async function train(backend, optimizer, options = {}) {
  const model = sequential([dense(8, { activation: "tanh" }), dropout(0.2), dense(1)], { inputShape: [3], seed: 3 });
  await model.compile({ loss: "mse", optimizer, metrics: ["mae"], backend });
  const { history } = await model.fit(x, y, { epochs: 3, batchSize: 8, seed: 5, validationSplit: 0.25, verbose: 0, ...options });
  const weights = await Promise.all((await model.getWeights()).map(async (t) => [...(await t.data())]));
  return { history, weights };
}

/** Runs with console.warn caught. */
async function quietly(run) {
  const { warn } = console;
  const said = [];
  console.warn = (text) => said.push(text);
  try {
    return { result: await run(), said };
  } finally {
    console.warn = warn;
  }
}

for (const [name, optimizer] of [["adam", adam], ["adagrad", adagrad]]) {
  // 9 steps and 3 of validation an epoch: lost in the first step, between copies, in validation, in the last epoch.
  for (const lostAt of [1, 5, 10, 12, 29]) {
    test(`fit, ${name}: a device lost at run ${lostAt} leaves no trace in weights or history`, async () => {
      const whole = await train(await fragile(Infinity), optimizer());
      const again = () => fragile(Infinity);
      const { result, said } = await quietly(async () => train(await fragile(lostAt, again), optimizer(), { recoverEvery: 4 }));
      assert.equal(result.weights, whole.weights);
      assert.equal(result.history, whole.history);
      assert.is(said.length, 1);
      assert.match(said[0], /training goes on from step \d+ of the epoch on fragile/);
    });
  }
}

test("fit: without a new device it goes on on WASM", async () => {
  const { result, said } = await quietly(async () =>
    train(await fragile(7, () => Promise.reject(new Error("no adapter"))), adam(), { recoverEvery: 2 }),
  );
  assert.match(said[0], /on wasm/);
  assert.is(result.history.loss.length, 3);
});

test("fit: lost twice in one epoch", async () => {
  const whole = await train(await fragile(Infinity), adam());
  const { result, said } = await quietly(async () =>
    train(await fragile(3, () => fragile(3, () => fragile(Infinity))), adam(), { recoverEvery: 2 }),
  );
  assert.equal(result.weights, whole.weights);
  assert.is(said.length, 2);
});

test("fit: recoverEvery 0 lets the error through", async () => {
  try {
    await train(await fragile(7), adam(), { recoverEvery: 0 });
    assert.unreachable();
  } catch (error) {
    assert.instance(error, DeviceLostError);
  }
});

test("fit: a callback's error is not taken for a lost device", async () => {
  const callback = {
    onEpochEnd() {
      throw new Error("mine");
    },
  };
  try {
    await train(await fragile(Infinity), adam(), { callbacks: [callback] });
    assert.unreachable();
  } catch (error) {
    assert.is(error.message, "mine");
  }
});

test("terminateOnNaN: names the step and the layer", async () => {
  const backend = await open("wasm");
  const model = sequential(
    [dense(4, { name: "first" }), dense(4, { name: "second", activation: "exponential" }), dense(1, { name: "third" })],
    { inputShape: [3], seed: 3 },
  );
  await model.compile({ loss: "mse", optimizer: adam({ learningRate: 100 }), backend });
  const big = tensor(
    (await x.data()).map((v) => v * 3),
    [96, 3],
  );
  let said = "";
  try {
    await model.fit(big, y, { epochs: 20, batchSize: 8, verbose: 0, callbacks: [terminateOnNaN()] });
  } catch (error) {
    assert.is(error.name, "NonFiniteError");
    said = error.message;
  }
  assert.match(said, /loss became NaN or infinite at step \d+, layer second;/);
  const step = Number(/step (\d+)/.exec(said)[1]);
  assert.ok(step > 1 && step < 50, said);
});

test("terminateOnNaN: nothing happens while all is finite", async () => {
  const { history } = await train(await open("wasm"), adam(), { callbacks: [terminateOnNaN()] });
  assert.is(history.loss.length, 3);
});

test.run();

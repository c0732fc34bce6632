/** @file backupAndRestore: a training that is interrupted and goes on is, bit for bit, one that was not. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { adam, dense, dropout, LockstepError, open, sequential, sgd, swapEmaWeights } from "../../build/esm/index.js";
import { ArgumentError, FileError } from "../../build/esm/errors.js";
import { backupAndRestore } from "../../build/esm/inspect/index.js";
import { batches, errorOf, fingerprint, rows, table } from "../model/helpers.js";

const backend = await open("wasm", { reproducible: true });
const data = table(50);
const folder = mkdtempSync(join(tmpdir(), "lockstep-"));
test.after(() => rmSync(folder, { recursive: true }));
let folders = 0;
const fresh = () => join(folder, `backup-${folders++}`);

class Interruption extends Error {}

/** Ends the process, as it were, after so many batches or at the end of an epoch. */
const interrupt = ({ batch, epoch }) => ({
  onBatchEnd(step) {
    if (step === batch) throw new Interruption();
  },
  onEpochEnd(at) {
    if (at === epoch) throw new Interruption();
  },
});

async function compiled(optimizer = adam({ learningRate: 0.01 })) {
  const model = sequential([dense(8, { activation: "tanh" }), dropout(0.3), dense(1)], { inputShape: [4], seed: 1 });
  await model.compile({ loss: "mse", optimizer, metrics: ["mae"], backend });
  return model;
}

const OPTIONS = { epochs: 5, batchSize: 8, seed: 3, verbose: 0 };

/** Trains without interruption, then with some, each time with a model made anew; both must end alike. */
async function alike(options, { optimizer, backup = {}, interruptions, x = data.x, y = data.y, before = [] }) {
  const args = typeof x === "function" ? [x] : [x, y];
  const whole = await compiled(optimizer?.());
  const expected = await whole.fit(...args, { ...OPTIONS, ...options, callbacks: before });
  const dir = fresh();
  let last;
  for (const at of [...interruptions, null]) {
    last = await compiled(optimizer?.());
    const callbacks = [...before, backupAndRestore(dir, backup), ...(at === null ? [] : [interrupt(at)])];
    const training = last.fit(...args, { ...OPTIONS, ...options, callbacks });
    if (at !== null) {
      assert.instance(await errorOf(() => training), Interruption);
      assert.ok(readdirSync(dir).length > 0);
      continue;
    }
    const history = await training;
    assert.equal(history, expected);
  }
  assert.is(await fingerprint(last), await fingerprint(whole));
  return { dir, model: last };
}

test("interrupted within an epoch, it goes on from the end of the one before", async () => {
  const { dir } = await alike({ validationSplit: 0.2 }, { interruptions: [{ batch: 12 }] });
  assert.equal(readdirSync(dir), [], "the backup is removed in the end");
});

test("interrupted twice, and right behind the end of an epoch", async () => {
  await alike({}, { interruptions: [{ epoch: 1 }, { batch: 9 }] });
});

test("saved every so many batches, it goes on in the middle of an epoch, with what the epoch has counted", async () => {
  // 7 steps an epoch: 10 are 3 of the second one, after 7 steps an epoch is whole.
  for (const saveFreq of [1, 5, 7])
    await alike({ validationSplit: 0.1 }, { backup: { saveFreq }, interruptions: [{ batch: 10 }, { batch: 8 }] });
});

test("epochs of another number of steps go on where the one before ended", async () => {
  await alike({ stepsPerEpoch: 4 }, { interruptions: [{ epoch: 2 }] });
  await alike({ stepsPerEpoch: 4 }, { backup: { saveFreq: 3 }, interruptions: [{ batch: 11 }] });
});

test("optimizers with state of their own: momentum, moving averages of weights, accumulated gradients", async () => {
  await alike({}, { optimizer: () => sgd({ learningRate: 0.01, momentum: 0.9 }), interruptions: [{ epoch: 1 }] });
  const ema = () => adam({ learningRate: 0.01, useEma: true, emaMomentum: 0.8 });
  await alike({}, { optimizer: ema, interruptions: [{ batch: 16 }] });
  await alike({ validationSplit: 0.2 }, { optimizer: ema, before: [swapEmaWeights({ swapOnEpoch: true })], interruptions: [{ epoch: 2 }] });
  const accumulated = () => adam({ learningRate: 0.01, gradientAccumulationSteps: 3 });
  await alike({}, { optimizer: accumulated, backup: { saveFreq: 4 }, interruptions: [{ batch: 13 }] });
});

test("an iterable of batches begins anew with the epoch", async () => {
  const x = () => batches(data, 8);
  await alike({ batchSize: undefined }, { x, interruptions: [{ epoch: 2 }, { batch: 4 }] });
  const model = await compiled();
  const error = await errorOf(() => model.fit(x, { verbose: 0, callbacks: [backupAndRestore(fresh(), { saveFreq: 2 })] }));
  assert.instance(error, LockstepError);
  assert.match(error.message, /middle of an epoch; use saveFreq: "epoch"/);
});

test("more epochs than before: training goes on where a kept backup ended", async () => {
  const dir = fresh();
  const keep = { deleteCheckpoint: false };
  const first = await compiled();
  await first.fit(data.x, data.y, { ...OPTIONS, epochs: 2, callbacks: [backupAndRestore(dir, keep)] });
  const second = await compiled();
  const history = await second.fit(data.x, data.y, { ...OPTIONS, callbacks: [backupAndRestore(dir, keep)] });
  assert.equal(history.epoch, [0, 1, 2, 3, 4]);
  const whole = await compiled();
  await whole.fit(data.x, data.y, OPTIONS);
  assert.is(await fingerprint(second), await fingerprint(whole));
  // Nothing is left to do.
  const third = await compiled();
  assert.equal((await third.fit(data.x, data.y, { ...OPTIONS, callbacks: [backupAndRestore(dir)] })).epoch, [0, 1, 2, 3, 4]);
  assert.is(await fingerprint(third), await fingerprint(whole));
  assert.not(existsSync(join(dir, "backup.safetensors")));
});

test("numbers that are not finite are in the history again", async () => {
  const dir = fresh();
  const made = async () => {
    const model = await compiled(sgd({ learningRate: 1e30 }));
    return model;
  };
  await errorOf(async () =>
    (await made()).fit(data.x, data.y, { ...OPTIONS, callbacks: [backupAndRestore(dir), interrupt({ epoch: 1 })] }),
  );
  const { history } = await (await made()).fit(data.x, data.y, { ...OPTIONS, callbacks: [backupAndRestore(dir)] });
  assert.is(history.loss.length, 5);
  assert.ok(history.loss.slice(0, 2).some((v) => !Number.isFinite(v)));
});

test("a backup that is damaged or of another model is refused, and changes nothing; doubleCheckpoint keeps the one before", async () => {
  const dir = fresh();
  const options = { ...OPTIONS, epochs: 3 };
  const train = async (model, backup, ...more) =>
    model.fit(data.x, data.y, { ...options, callbacks: [backupAndRestore(dir, backup), ...more] });
  await errorOf(async () => train(await compiled(), { doubleCheckpoint: true }, interrupt({ epoch: 1 })));
  assert.equal(readdirSync(dir).sort(), ["backup.previous.safetensors", "backup.safetensors"]);
  const other = sequential([dense(3)], { inputShape: [4] });
  await other.compile({ loss: "mse", backend });
  const kept = await fingerprint(other);
  const wrong = await errorOf(() =>
    other.fit(data.x, rows({ data: new Float32Array(150), shape: [50, 3] }, 0, 50), { verbose: 0, callbacks: [backupAndRestore(dir)] }),
  );
  assert.instance(wrong, FileError);
  assert.match(wrong.message, /it is of another model: it has weights of 32, 8, 8, 1 elements, the model weights of 12, 3 elements/);
  assert.is(await fingerprint(other), kept);
  const path = join(dir, "backup.safetensors");
  const bytes = readFileSync(path);
  bytes[bytes.length - 3] ^= 4;
  writeFileSync(path, bytes);
  const damaged = await errorOf(async () => train(await compiled(), {}));
  assert.instance(damaged, FileError);
  assert.match(damaged.message, /backup\.safetensors": it is damaged/);
  const told = [];
  const warn = console.warn;
  console.warn = (text) => told.push(text);
  let again;
  try {
    again = await compiled();
    await train(again, { doubleCheckpoint: true });
  } finally {
    console.warn = warn;
  }
  assert.is(told.length, 1);
  assert.match(told[0], /it is damaged.*the backup before it is taken/);
  const whole = await compiled();
  await whole.fit(data.x, data.y, options);
  assert.is(await fingerprint(again), await fingerprint(whole));
});

test("a store of one's own stands in for a folder", async () => {
  let bytes = null;
  let written = 0;
  const store = {
    read: async () => bytes,
    write: async (b) => {
      bytes = b.slice();
      written++;
    },
    remove: async () => {
      bytes = null;
    },
  };
  const interrupted = await compiled();
  await errorOf(() => interrupted.fit(data.x, data.y, { ...OPTIONS, callbacks: [backupAndRestore(store), interrupt({ epoch: 1 })] }));
  assert.is(written, 2);
  const model = await compiled();
  await model.fit(data.x, data.y, { ...OPTIONS, callbacks: [backupAndRestore(store)] });
  const whole = await compiled();
  await whole.fit(data.x, data.y, OPTIONS);
  assert.is(await fingerprint(model), await fingerprint(whole));
  assert.is(bytes, null);
});

test("what is no folder, frequency or built model is refused", async () => {
  for (const make of [
    () => backupAndRestore(""),
    () => backupAndRestore({}),
    () => backupAndRestore("x", { saveFreq: 0 }),
    () => backupAndRestore("x", { saveFreq: "batch" }),
    () => backupAndRestore("x", { saveFreqs: 1 }),
    () => backupAndRestore("x", { deleteCheckpoint: 1 }),
  ])
    assert.instance(await errorOf(make), ArgumentError);
  const model = sequential([dense(1)]);
  await model.compile({ loss: "mse", backend });
  const error = await errorOf(() => model.fit(() => batches(data, 8), { verbose: 0, callbacks: [backupAndRestore(fresh())] }));
  assert.match(error.message, /no weights yet: give inputShape/);
});

test.run();

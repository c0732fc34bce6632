/** Callbacks of fit: their order, what they get, what they may do, and what looking on must not change. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { open } from "../../build/esm/init.js";
import { loadModel } from "../../build/esm/model/resume.js";
import { dense, embedding } from "../../build/esm/nn/index.js";
import { sequential } from "../../build/esm/model/model.js";
import {
  earlyStopping,
  learningRateScheduler,
  modelCheckpoint,
  reduceLrOnPlateau,
  swapEmaWeights,
} from "../../build/esm/train/callbacks.js";
import { sparseCategoricalCrossentropy } from "../../build/esm/train/losses.js";
import { muon } from "../../build/esm/train/muon.js";
import { adadelta, adam, lion, nadam, sgd } from "../../build/esm/train/optimizers.js";
import { perplexity } from "../../build/esm/train/perplexity.js";
import { linearWarmup } from "../../build/esm/train/schedules.js";

import { errorOf, fingerprint, network, rows, table } from "./helpers.js";

const backend = await open("wasm", { reproducible: true });
const data = table(40);
const quiet = { verbose: 0 };

const folders = [];
/** A folder that is there until the tests are through. */
function newFolder() {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-"));
  folders.push(folder);
  return folder;
}
test.after(() => folders.forEach((folder) => rmSync(folder, { recursive: true })));

async function compiled(options, optimizer = adam({ learningRate: 0.01 })) {
  const m = network(options);
  await m.compile({ loss: "mse", optimizer, metrics: ["mae"], backend });
  return m;
}

test("history has one entry per epoch and name, epochs numbered from initialEpoch", async () => {
  const m = await compiled();
  const h = await m.fit(data.x, data.y, { epochs: 5, initialEpoch: 2, validationSplit: 0.25, ...quiet });
  assert.equal(h.epoch, [2, 3, 4]);
  assert.equal(Object.keys(h.history), ["loss", "mae", "valLoss", "valMae"]);
  for (const values of Object.values(h.history)) assert.ok(values.length === 3 && values.every(Number.isFinite));
  const again = await m.fit(data.x, data.y, quiet);
  assert.equal(again.epoch, [0]);
});

test("history's loss is the mean over samples, not over batches", async () => {
  const m = await compiled({}, sgd({ learningRate: 0 }));
  const { history } = await m.fit(data.x, data.y, { batchSize: 32, ...quiet });
  const { loss, mae } = await m.evaluate(data.x, data.y, { batchSize: 40 });
  assert.ok(Math.abs(history.loss[0] - loss) < 1e-6 && Math.abs(history.mae[0] - mae) < 1e-6);
});

test("methods are called in order, one callback after the other, and are waited for", async () => {
  const calls = [];
  const logger = (name) =>
    Object.fromEntries(
      ["onTrainBegin", "onEpochBegin", "onBatchEnd", "onEpochEnd", "onTrainEnd"].map((method) => [
        method,
        async (...args) => {
          await new Promise((done) => setTimeout(done, 1));
          const number = args.length === 3 ? args[0] : "";
          calls.push(`${name}.${method}${number}`);
          if (method === "onEpochEnd") assert.equal(Object.keys(args[1]), ["loss", "mae"]);
          if (method === "onBatchEnd") assert.equal(Object.keys(args[1]), ["loss"]);
        },
      ]),
    );
  const m = await compiled();
  await m.fit(data.x, data.y, { epochs: 2, batchSize: 20, callbacks: [logger("a"), logger("b")], ...quiet });
  const both = (...methods) => methods.flatMap((method) => [`a.${method}`, `b.${method}`]);
  assert.equal(
    calls,
    both(
      "onTrainBegin",
      "onEpochBegin0",
      "onBatchEnd0",
      "onBatchEnd1",
      "onEpochEnd0",
      "onEpochBegin1",
      "onBatchEnd2",
      "onBatchEnd3",
      "onEpochEnd1",
      "onTrainEnd",
    ),
  );
});

test("stop() in onBatchEnd ends after that batch, in onEpochEnd after that epoch", async () => {
  for (const [method, at, steps, epochs] of [["onBatchEnd", 1, 2, 1], ["onEpochEnd", 1, 8, 2]]) {
    const m = await compiled();
    let count = 0;
    const stopper = { [method]: (number, _logs, training) => void (number === at && training.stop()) };
    const h = await m.fit(data.x, data.y, { epochs: 5, batchSize: 10, callbacks: [{ onBatchEnd: () => void count++ }, stopper], ...quiet });
    assert.equal([count, h.epoch.length], [steps, epochs], method);
  }
});

test("earlyStopping brings back the weights of the best epoch, bit for bit", async () => {
  const m = await compiled({}, sgd({ learningRate: 0.05 }));
  const prints = [];
  const spoil = {
    async onEpochEnd(epoch, _logs, training) {
      prints.push(await fingerprint(m));
      if (epoch === 3) training.optimizer.learningRate = 0.9;
    },
  };
  const h = await m.fit(data.x, data.y, {
    epochs: 30,
    validationSplit: 0.25,
    callbacks: [spoil, earlyStopping({ patience: 2, restoreBestWeights: true })],
    ...quiet,
  });
  const best = h.history.valLoss.indexOf(Math.min(...h.history.valLoss));
  assert.is(h.epoch.length, best + 3, "patience counts the epochs after the best");
  assert.is(await fingerprint(m), prints[best]);
  assert.is.not(prints.at(-1), prints[best]);
});

test("a new learning rate takes effect at the next step", async () => {
  const m = await compiled({}, sgd({ learningRate: 0.1 }));
  const prints = [];
  const freeze = {
    async onBatchEnd(step, _logs, training) {
      prints.push(await fingerprint(m));
      training.optimizer.learningRate = step < 2 ? 0.1 : 0;
    },
  };
  await m.fit(data.x, data.y, { epochs: 2, batchSize: 10, callbacks: [freeze], ...quiet });
  assert.is(new Set(prints.slice(0, 3)).size, 3);
  assert.is(new Set(prints.slice(2)).size, 1);
});

test("learningRateScheduler and reduceLrOnPlateau set the rate of the optimizer in use", async () => {
  const rates = [];
  const optimizer = sgd({ learningRate: 1 });
  const m = await compiled({}, optimizer);
  const watch = { onEpochEnd: () => void rates.push(optimizer.learningRate) };
  await m.fit(data.x, data.y, { epochs: 3, callbacks: [learningRateScheduler((epoch) => 0.01 / (epoch + 1)), watch], ...quiet });
  assert.equal(rates, [0.01, 0.005, 0.01 / 3]);
  rates.length = 0;
  optimizer.learningRate = 0;
  await m.fit(data.x, data.y, { epochs: 1, ...quiet });
  const still = sgd({ learningRate: 1e-12 });
  await m.compile({ loss: "mse", optimizer: still, backend });
  await m.fit(data.x, data.y, {
    epochs: 5,
    callbacks: [reduceLrOnPlateau({ monitor: "loss", patience: 2, factor: 0.5, minDelta: 1e-3 })],
    ...quiet,
  });
  assert.is(still.learningRate, 0.25e-12);
});

test("modelCheckpoint writes files that load", async () => {
  const folder = newFolder();
  const m = await compiled();
  const { history } = await m.fit(data.x, data.y, {
    epochs: 2,
    callbacks: [modelCheckpoint(join(folder, "m-{epoch}-{loss}.safetensors"))],
    ...quiet,
  });
  assert.equal(
    readdirSync(folder).sort(),
    history.loss.map((l, i) => `m-${i + 1}-${l.toFixed(4)}.safetensors`),
  );
  const last = await loadModel(join(folder, `m-2-${history.loss[1].toFixed(4)}.safetensors`), { backend });
  assert.is(await fingerprint(last), await fingerprint(m));
});

test("evaluate, predict and save inside of callbacks do not disturb training", async () => {
  const run = async (callbacks) => {
    const m = await compiled({ rate: 0.3 });
    const options = { epochs: 3, batchSize: 16, validationSplit: 0.2, seed: 4, ...quiet };
    const h = await m.fit(data.x, data.y, { ...options, callbacks: callbacks(m) });
    return [await fingerprint(m), JSON.stringify(h)];
  };
  const look = async (m) => {
    await m.evaluate(rows(data.x, 0, 7), rows(data.y, 0, 7), { batchSize: 3 });
    await m.predict(data.x, { batchSize: 9 });
    await m.toBytes();
  };
  const expected = await run(() => []);
  assert.equal(await run((m) => [{ onBatchEnd: () => look(m), onEpochEnd: () => look(m), onEpochBegin: () => look(m) }]), expected);
});

test("weights that were read while training went on do not pass for the final ones", async () => {
  const slow = { name: backend.name, limits: backend.limits };
  for (const method of ["alloc", "free", "write", "compile", "run", "sync", "close"]) slow[method] = (...args) => backend[method](...args);
  slow.read = async (...args) => {
    const bytes = await backend.read(...args);
    await new Promise((done) => setTimeout(done, 2));
    return bytes;
  };
  const run = async (onBatchEnd) => {
    const m = network();
    await m.compile({ loss: "mse", optimizer: adam({ learningRate: 0.01 }), backend: slow });
    await m.fit(data.x, data.y, { batchSize: 10, callbacks: [{ onBatchEnd: () => onBatchEnd(m) }], ...quiet });
    return fingerprint(m);
  };
  const expected = await run(() => {});
  assert.is(await run((m) => void m.getWeights()), expected);
});

test("programs that callbacks push out are made again", async () => {
  // A quarter of its memory is room for some 60 programs.
  const small = await open("wasm", { reproducible: true, maxBytes: 4 * 2 ** 20, threads: 1 });
  const run = async (callbacks) => {
    const m = network();
    await m.compile({ loss: "mse", optimizer: adam({ learningRate: 0.01 }), backend: small });
    await m.fit(data.x, data.y, { epochs: 2, batchSize: 16, callbacks: callbacks(m), ...quiet });
    return fingerprint(m);
  };
  let made = 0;
  const { compile } = small;
  small.compile = (plan) => {
    made++;
    return compile.call(small, plan);
  };
  const everySize = async (m) => {
    for (let n = 1; n <= 150; n++) await m.predict({ data: new Float32Array(4 * n), shape: [n, 4] }, { batchSize: 150 });
  };
  const expected = await run(() => []);
  assert.is(await run((m) => [{ onBatchEnd: () => everySize(m) }]), expected);
  assert.ok(made > 6 * 150, `${made} programs`);
  small.close();
});

test("a watch for numbers that are not finite has one program for all calls of fit, and sees each fault anew", async () => {
  const m = await compiled();
  const faults = [];
  const watch = { onFault: (step, source) => void faults.push(`${step} ${source}`) };
  let made = 0;
  const { compile } = backend;
  backend.compile = (plan) => {
    made++;
    return compile.call(backend, plan);
  };
  const fit = () => m.fit(data.x, data.y, { batchSize: 20, callbacks: [watch], ...quiet });
  await fit();
  assert.is(made, 1);
  const good = await m.getWeights();
  for (let round = 0; round < 2; round++) {
    m.setWeights(good.map((t, i) => (i === 0 ? new Float32Array(t.size).fill(NaN) : t)));
    await fit();
    m.setWeights(good);
    await m.compile({ loss: "mse", optimizer: adam({ learningRate: 0.01 }), metrics: ["mae"], backend });
    await fit();
  }
  backend.compile = compile;
  assert.is(made, 3, "once for each compile()");
  // Two steps each since compile().
  assert.equal(faults, ["3 layer dense", "3 layer dense"]);
});

test("compile again keeps the weights and starts the optimizer afresh", async () => {
  const m = await compiled();
  await m.fit(data.x, data.y, quiet);
  const before = await fingerprint(m);
  await m.compile({ loss: "mae", optimizer: sgd({ learningRate: 0.01 }), metrics: ["mse"], backend });
  assert.is(await fingerprint(m), before);
  const { history } = await m.fit(data.x, data.y, quiet);
  assert.equal(Object.keys(history), ["loss", "mse"]);
  assert.is.not(await fingerprint(m), before);
  const other = await compiled();
  other.setWeights(await network().getWeights());
  await other.fit(data.x, data.y, quiet);
  await other.compile({ loss: "mse", optimizer: adam({ learningRate: 0.01 }), backend });
  other.setWeights(await network().getWeights());
  await other.fit(data.x, data.y, quiet);
  const fresh = await compiled();
  await fresh.fit(data.x, data.y, quiet);
  assert.is(await fingerprint(other), await fingerprint(fresh));
});

test("a model moves to another backend with its weights", async () => {
  const m = await compiled();
  await m.fit(data.x, data.y, quiet);
  const before = await fingerprint(m);
  const second = await open("wasm", { reproducible: true });
  await m.compile({ loss: "mse", optimizer: adam({ learningRate: 0.01 }), backend: second });
  assert.is(await fingerprint(m), before);
  await m.fit(data.x, data.y, quiet);
  assert.is.not(await fingerprint(m), before);
});

test.after(() => backend.close());
const averaging = () => adam({ learningRate: 0.02, useEma: true, emaMomentum: 0.8 });

test("averages of the weights take their place when fit ends, and are what swapEmaWeights validates with", async () => {
  const valLoss = [];
  const m = await compiled({}, averaging());
  const initial = await m.getWeights();
  const weights = [];
  const begun = { onTestBegin: async (_logs, t) => weights.push(await t.weights()), onTestEnd: (logs) => valLoss.push(logs.loss) };
  const { history } = await m.fit(data.x, data.y, {
    epochs: 3,
    batchSize: 20,
    shuffle: false,
    validationData: [data.x, data.y],
    callbacks: [swapEmaWeights(), begun],
    ...quiet,
  });
  assert.equal(history.valLoss, valLoss);
  // By hand: the same training without averages, whose weights after each step make them.
  const plain = await compiled({}, adam({ learningRate: 0.02 }));
  plain.setWeights(initial);
  let averages = null;
  const ofEpochs = [];
  await plain.fit(data.x, data.y, {
    epochs: 3,
    batchSize: 20,
    shuffle: false,
    callbacks: [
      {
        async onBatchEnd(_step, _logs, t) {
          const now = await t.weights();
          averages = averages === null ? now : averages.map((list, i) => list.map((a, k) => 0.8 * a + 0.2 * now[i][k]));
        },
        onEpochEnd: () => void ofEpochs.push(averages),
      },
    ],
    ...quiet,
  });
  const near = (got, want) =>
    got.forEach((list, i) => list.forEach((v, k) => assert.ok(Math.abs(v - want[i][k]) < 1e-5, `${v}, expected ${want[i][k]}`)));
  weights.forEach((list, i) => near(list, ofEpochs[i]));
  near(await Promise.all((await m.getWeights()).map((t) => t.data())), ofEpochs[2]);
  const { loss } = await m.evaluate(data.x, data.y, { batchSize: 20 });
  assert.ok(Math.abs(loss - history.valLoss[2]) < 1e-6);
});

test("a checkpoint of averages predicts with them, and goes on training as if it had not been written", async () => {
  const folder = newFolder();
  const go = { batchSize: 20, ...quiet };
  const files = join(folder, "{epoch}.safetensors");
  const callbacks = [swapEmaWeights({ swapOnEpoch: true }), modelCheckpoint(files)];
  const whole = await compiled({}, averaging());
  await whole.fit(data.x, data.y, { epochs: 4, callbacks, ...go });
  const again = await loadModel(join(folder, "2.safetensors"), { backend });
  const stopped = await compiled({}, averaging());
  await stopped.fit(data.x, data.y, { epochs: 2, ...go });
  assert.is(await fingerprint(again), await fingerprint(stopped), "the averages");
  await again.fit(data.x, data.y, { initialEpoch: 2, epochs: 4, ...go });
  assert.is(await fingerprint(again), await fingerprint(whole));
  // Also where training stopped early, with the averages in the weights.
  const early = await compiled({}, averaging());
  const stop = { onEpochEnd: (epoch, _logs, t) => void (epoch === 1 && t.stop()) };
  await early.fit(data.x, data.y, { epochs: 4, callbacks: [...callbacks, stop], ...go });
  assert.is(await fingerprint(early), await fingerprint(stopped));
});

test("swapEmaWeights needs an optimizer that keeps averages", async () => {
  const m = await compiled();
  const error = await errorOf(() => m.fit(data.x, data.y, { callbacks: [swapEmaWeights()], ...quiet }));
  assert.match(String(error), /LockstepError: swapEmaWeights: adam keeps no averages; make it with useEma: true/);
  assert.throws(() => swapEmaWeights({ swapOnEpoch: 1 }), /swapOnEpoch must be true or false/);
});

test("accumulated gradients of two batches are those of one of twice the size", async () => {
  const [halves, wholes] = [await compiled({}, sgd({ gradientAccumulationSteps: 2 })), await compiled({}, sgd())];
  wholes.setWeights(await halves.getWeights());
  await halves.fit(data.x, data.y, { epochs: 3, batchSize: 10, shuffle: false, ...quiet });
  await wholes.fit(data.x, data.y, { epochs: 3, batchSize: 20, shuffle: false, ...quiet });
  const [a, b] = await Promise.all([halves, wholes].map(async (m) => Promise.all((await m.getWeights()).map((t) => t.data()))));
  a.forEach((list, i) => list.forEach((v, k) => assert.ok(Math.abs(v - b[i][k]) < 1e-6, `${v}, expected ${b[i][k]}`)));
});

test("new optimizers, schedules and metrics come back from a file and go on bit for bit", async () => {
  const makers = [
    () => nadam({ learningRate: linearWarmup({ learningRate: 0.01, warmupSteps: 5 }), gradientAccumulationSteps: 3 }),
    () => lion({ learningRate: 0.001, useEma: true }),
    () => muon({ learningRate: 0.01, excludeLayers: ["dense_1"] }),
  ];
  for (const optimizer of makers) {
    const made = async () => {
      const m = network();
      await m.compile({ loss: "mse", optimizer: optimizer(), metrics: ["meanSquaredLogarithmicError"], backend });
      return m;
    };
    const go = { batchSize: 20, ...quiet };
    const [whole, part] = [await made(), await made()];
    // Without the end of a fit, at which averages take the weights' place.
    let bytes;
    const keep = { onEpochEnd: async (epoch) => void (epoch === 1 && (bytes = await whole.toBytes())) };
    await whole.fit(data.x, data.y, { epochs: 4, callbacks: [keep], ...go });
    const again = await loadModel(bytes, { backend });
    assert.equal(again.optimizer.config, whole.optimizer.config);
    await again.fit(data.x, data.y, { initialEpoch: 2, epochs: 4, ...go });
    assert.is(await fingerprint(again), await fingerprint(whole), whole.optimizer.kind);
    await part.fit(data.x, data.y, { epochs: 4, ...go });
    assert.is(await fingerprint(part), await fingerprint(whole), whole.optimizer.kind);
  }
  const words = sequential([embedding(5, 4), dense(5)], { inputShape: [3], seed: 1 });
  const loss = sparseCategoricalCrossentropy({ fromLogits: true });
  await words.compile({ loss, optimizer: adadelta(), metrics: [perplexity({ name: "ppl" })], backend });
  const tokens = [[[0, 1, 2], [3, 4, 0]], [[1, 2, 3], [4, 0, 1]]];
  const before = await words.evaluate(...tokens);
  assert.ok(Math.abs(before.ppl - Math.exp(before.loss)) < 1e-5);
  const again = await loadModel(await words.toBytes(), { backend });
  assert.equal(await again.evaluate(...tokens), before);
});

test.run();

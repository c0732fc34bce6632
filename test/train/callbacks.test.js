/** Callbacks against a training that is played to them: logs of epochs in, stops, weights, saves and rates out. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as callbacks from "../../build/esm/train/callbacks.js";
import { sgd } from "../../build/esm/train/optimizers.js";
import { exponentialDecay } from "../../build/esm/train/schedules.js";

const { earlyStopping, learningRateScheduler, modelCheckpoint, reduceLrOnPlateau, terminateOnNaN } = callbacks;

/** Plays epochs with these logs; weights are the number of the epoch that ended last. */
async function play(callback, epochs, optimizer = sgd({ learningRate: 1 })) {
  const seen = { stopped: false, epochs: 0, saved: [], restored: null, rates: [] };
  const training = {
    stop: () => (seen.stopped = true),
    weights: async () => [Float32Array.of(seen.epochs)],
    setWeights: ([w]) => (seen.restored = w[0]),
    save: async (path) => void seen.saved.push(path),
    optimizer,
    history: { epoch: [], history: {} },
  };
  await callback.onTrainBegin?.(training);
  for (const [epoch, logs] of epochs.entries()) {
    await callback.onEpochBegin?.(epoch, {}, training);
    await callback.onEpochEnd?.(epoch, typeof logs === "number" ? { loss: logs } : logs, training);
    seen.epochs++;
    seen.rates.push(training.optimizer.learningRate);
    if (seen.stopped) break;
  }
  await callback.onTrainEnd?.(training);
  return seen;
}

const stopsAfter = async (options, epochs) => {
  const { stopped, epochs: count } = await play(earlyStopping(options), epochs);
  return stopped ? count : null;
};

test("early stopping counts epochs without improvement", async () => {
  assert.is(await stopsAfter({}, [5, 4, 4, 3]), 3);
  assert.is(await stopsAfter({ patience: 2 }, [5, 4, 4, 3, 3, 3, 2]), 6);
  assert.is(await stopsAfter({ patience: 2 }, [5, 4, 4, 3, 3, 2]), null);
  assert.is(await stopsAfter({ patience: 1 }, [5, NaN, 4]), 2);
});

test("early stopping: minDelta, baseline, startFromEpoch", async () => {
  assert.is(await stopsAfter({ minDelta: 0.5 }, [5, 4, 3.6, 1]), 3);
  assert.is(await stopsAfter({ minDelta: 0.5 }, [5, 4, 3.4, 1]), null);
  assert.is(await stopsAfter({ patience: 3, baseline: 2 }, [5, 4, 3, 2.5, 2.5]), 5);
  assert.is(await stopsAfter({ patience: 3, baseline: 2 }, [5, 4, 1, 1, 1, 0.5]), null);
  assert.is(await stopsAfter({ startFromEpoch: 3 }, [1, 2, 3, 4, 3, 3]), 6);
});

test("early stopping never stops after the first epoch, as in Keras", async () => {
  assert.is(await stopsAfter({ monitor: "loss" }, [NaN]), null);
  assert.is(await stopsAfter({ monitor: "loss" }, [NaN, NaN]), 2);
});

test("what is monitored, and which way is better", async () => {
  assert.is(await stopsAfter({}, [{ loss: 3, valLoss: 1 }, { loss: 2, valLoss: 2 }]), 2);
  assert.is(await stopsAfter({}, [{ loss: 3 }, { loss: 2 }]), null);
  for (const monitor of ["accuracy", "valAccuracy", "acc", "precision", "valRecall", "f1"]) {
    assert.is(await stopsAfter({ monitor }, [{ [monitor]: 0.5 }, { [monitor]: 0.6 }]), null, monitor);
    assert.is(await stopsAfter({ monitor }, [{ [monitor]: 0.5 }, { [monitor]: 0.4 }]), 2, monitor);
  }
  assert.is(await stopsAfter({ monitor: "accuracy", mode: "min" }, [{ accuracy: 0.5 }, { accuracy: 0.4 }]), null);
  assert.is(await stopsAfter({ mode: "max" }, [1, 2]), null);
});

test("an unknown or unfit monitor lists the logs there are", async () => {
  const logs = [{ loss: 1, accuracy: 0.5, confusionMatrix: [[1]] }];
  for (const make of [earlyStopping, reduceLrOnPlateau, (o) => modelCheckpoint("m", { saveBestOnly: true, ...o })]) {
    for (const monitor of ["valLoss", "confusionMatrix", "toString"]) {
      await play(make({ monitor }), logs).then(assert.unreachable, (error) => {
        assert.is(error.name, "ArgumentError");
        assert.match(error.message, `cannot monitor "${monitor}"`);
        assert.match(error.message, /there are: loss, accuracy$/);
      });
    }
    assert.throws(() => make({ mode: "up" }), /mode must be/);
  }
});

test("early stopping goes back to the best weights, also when it did not stop", async () => {
  assert.is((await play(earlyStopping({ patience: 2, restoreBestWeights: true }), [5, 3, 4, 4])).restored, 1);
  assert.is((await play(earlyStopping({ patience: 9, restoreBestWeights: true }), [5, 3, 4, 4])).restored, 1);
  assert.is((await play(earlyStopping({ patience: 2, restoreBestWeights: true }), [NaN, NaN, NaN])).restored, 0);
  assert.is((await play(earlyStopping({ patience: 2 }), [5, 3, 4, 4])).restored, null);
});

test("a callback starts anew with each training", async () => {
  const stop = earlyStopping({ patience: 2, restoreBestWeights: true });
  await play(stop, [1, 2, 2, 2]);
  const second = await play(stop, [5, 4, 5, 5]);
  assert.is(second.epochs, 4);
  assert.is(second.restored, 1);
});

test("a callback without monitor takes what each training has", async () => {
  const stop = earlyStopping({ patience: 1 });
  assert.is((await play(stop, [{ loss: 1, valLoss: 1 }, { loss: 0, valLoss: 2 }])).stopped, true);
  assert.is((await play(stop, [{ loss: 1 }, { loss: 0 }])).stopped, false);
});

test("saveBestOnly remembers the best of earlier trainings, and takes one to begin with", async () => {
  const best = modelCheckpoint("{epoch}", { saveBestOnly: true });
  assert.equal((await play(best, [5, 3])).saved, ["1", "2"]);
  assert.equal((await play(best, [4, 3, 2])).saved, ["3"]);
  assert.equal((await play(modelCheckpoint("{epoch}", { saveBestOnly: true, initialValueThreshold: 4 }), [5, 4, 3])).saved, ["3"]);
});

test("checkpoints: every epoch or the best only, with names", async () => {
  assert.equal((await play(modelCheckpoint("m-{epoch}-{loss}.safetensors"), [2, 1.23456])).saved, [
    "m-1-2.0000.safetensors",
    "m-2-1.2346.safetensors",
  ]);
  assert.equal((await play(modelCheckpoint("{epoch}", { saveBestOnly: true }), [5, 6, 4, NaN, 4, 3])).saved, ["1", "3", "6"]);
  assert.equal(
    (
      await play(
        modelCheckpoint("{epoch}", { saveBestOnly: true, monitor: "accuracy" }),
        [0.5, 0.4, 0.6].map((accuracy) => ({ accuracy })),
      )
    ).saved,
    ["1", "3"],
  );
  await play(modelCheckpoint("{valLoss}"), [1]).then(assert.unreachable, (error) => assert.match(error.message, 'no number "valLoss"'));
});

test("terminateOnNaN names the step and the layer", () => {
  const callback = terminateOnNaN();
  assert.throws(
    () => callback.onFault(412, "layer conv2d_1"),
    (error) => error.name === "NonFiniteError" && error.message.startsWith("loss became NaN or infinite at step 412, layer conv2d_1;"),
  );
});

test("reduceLrOnPlateau: patience, factor, cooldown, lower limit", async () => {
  const rates = async (options, epochs) => (await play(reduceLrOnPlateau(options), epochs)).rates;
  assert.equal(await rates({ factor: 0.5, patience: 2 }, [5, 5, 5, 5, 5, 4, 4, 4]), [1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]);
  assert.equal(await rates({ factor: 0.5, patience: 1, cooldown: 2 }, [5, 5, 5, 5, 5, 5]), [1, 0.5, 0.5, 0.25, 0.25, 0.125]);
  assert.equal(await rates({ factor: 0.5, patience: 1, minLr: 0.4 }, [5, 5, 5, 5]), [1, 0.5, 0.4, 0.4]);
  assert.equal(await rates({ factor: 0.5, patience: 1, minDelta: 0.1 }, [5, 4.95, 4.8]), [1, 0.5, 0.5]);
  assert.is((await rates({}, new Array(11).fill(1)))[10], 0.1);
  assert.throws(() => reduceLrOnPlateau({ factor: 1 }), /factor must be/);
});

test("callbacks that set the rate refuse a schedule before training begins", async () => {
  const follows = sgd({ learningRate: exponentialDecay({ initialLearningRate: 0.1, decaySteps: 10, decayRate: 0.9 }) });
  for (const [name, callback] of Object.entries({
    reduceLrOnPlateau: reduceLrOnPlateau(),
    learningRateScheduler: learningRateScheduler((_, rate) => rate),
  })) {
    await play(callback, [], follows).then(assert.unreachable, (error) => {
      assert.is(error.name, "LockstepError");
      assert.match(error.message, `${name}: the learning rate of sgd follows exponentialDecay and cannot be set; give sgd a number`);
    });
  }
});

test("learningRateScheduler sets the rate before each epoch", async () => {
  assert.equal(
    (
      await play(
        learningRateScheduler((epoch, rate) => (epoch < 2 ? rate : rate / 2)),
        [1, 1, 1, 1],
      )
    ).rates,
    [1, 1, 0.5, 0.25],
  );
  await play(
    learningRateScheduler(() => undefined),
    [1],
  ).then(assert.unreachable, (error) => assert.match(error.message, "must return a number, got undefined for epoch 0"));
});

test("options are checked", () => {
  assert.throws(() => earlyStopping({ patience: -1 }), /patience must be/);
  assert.throws(() => earlyStopping({ startFromEpoch: 0.5 }), /startFromEpoch must be/);
});

test.run();

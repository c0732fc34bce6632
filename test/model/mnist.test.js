/** The convolutional network of the README on all of MNIST: at least 98.8 % of the test images within three epochs. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open } from "../../build/esm/init.js";
import { sequential } from "../../build/esm/model/model.js";
import { conv2d, dense, flatten, maxPool2d } from "../../build/esm/nn/index.js";
import { adam } from "../../build/esm/train/optimizers.js";
import { haveData, mnist } from "./datasets.js";

const BAR = 0.988;

if (haveData) {
  test("98.8 % within three epochs", async () => {
    const backend = await open("wasm");
    const [train, held] = [await mnist("train", 60000, [28, 28, 1]), await mnist("t10k", 10000, [28, 28, 1])];
    const m = sequential(
      [
        conv2d(32, 3, { activation: "relu" }),
        maxPool2d(2),
        conv2d(64, 3, { activation: "relu" }),
        maxPool2d(2),
        flatten(),
        dense(64, { activation: "relu" }),
        dense(10, { activation: "softmax" }),
      ],
      { inputShape: [28, 28, 1], seed: 1 },
    );
    await m.compile({ loss: "categoricalCrossentropy", optimizer: adam({ learningRate: 1e-3 }), metrics: ["accuracy"], backend });
    const accuracies = [];
    const look = {
      async onEpochEnd(_epoch, _logs, training) {
        accuracies.push((await m.evaluate(held.x, held.y, { batchSize: 100 })).accuracy);
        if (accuracies.at(-1) >= BAR) training.stop();
      },
    };
    const started = performance.now();
    await m.fit(train.x, train.y, { epochs: 3, seed: 1, verbose: 0, callbacks: [look] });
    console.log(
      `  MNIST: ${accuracies.map((a) => `${(100 * a).toFixed(2)} %`).join(", ")} after each epoch, ` +
        `${((performance.now() - started) / 1000).toFixed(1)} s`,
    );
    assert.ok(Math.max(...accuracies) >= BAR);
    backend.close();
  });
} else {
  test("there is no data to train on", () =>
    assert.not.ok(process.env.LOCKSTEP_DATA, "LOCKSTEP_DATA names a folder without baselines.json"));
}

test.run();

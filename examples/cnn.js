/**
 * @file A convolutional network reads handwritten digits. Data: a folder with MNIST's four IDX files, gzipped or not
 * (--data FOLDER, or mnist under LOCKSTEP_DATA), or digits drawn here from strokes.
 *
 *   node examples/cnn.js [--data FOLDER] [--epochs N] [--samples N] [--seed N] [--out MODEL]
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { adam, conv2d, dense, earlyStopping, flatten, loadModel, maxPool2d, sequential, tensor } from "lockstep";
import { oneHot, readIdx } from "lockstep/data";
import { dataFile, modelPath, options, percent, readBytes, report, start } from "./common.js";
import { digits } from "./data.js";

/** Pixels 0..1 as a tensor [count, 28, 28, 1] and one-hot labels. */
async function readImages(folder, part, most) {
  const file = (name) => [join(folder, `${name}.gz`), join(folder, name)].find(existsSync) ?? join(folder, name);
  const images = await readIdx(readBytes(file(`${part}-images-idx3-ubyte`)), `${part} images`);
  const labels = await readIdx(readBytes(file(`${part}-labels-idx1-ubyte`)), `${part} labels`);
  if (images.shape.length !== 3 || images.shape[1] !== 28 || images.shape[2] !== 28)
    throw new Error(`${folder}: expected ${part} images of 28x28, got [${images.shape.join(", ")}]`);
  if (labels.shape[0] !== images.shape[0])
    throw new Error(`${folder}: there are ${images.shape[0]} ${part} images and ${labels.shape[0]} labels`);
  const count = Math.min(most, images.shape[0]);
  const x = Float32Array.from(images.data.subarray(0, count * 784), (v) => v / 255);
  return { x: tensor(x, [count, 28, 28, 1]), y: tensor(oneHot(labels.data.subarray(0, count), 10), [count, 10]) };
}

function drawImages(count, seed) {
  const { x, y } = digits(count, seed);
  return { x: tensor(x, [count, 28, 28, 1]), y: tensor(oneHot(y, 10), [count, 10]) };
}

export async function cnn(o = options({ epochs: 20, samples: Infinity })) {
  const folder = dataFile(o.data, "mnist");
  const train = folder === null ? drawImages(Math.min(o.samples, 6000), o.seed) : await readImages(folder, "train", o.samples);
  const test = folder === null ? drawImages(1000, o.seed + 1000) : await readImages(folder, "t10k", Infinity);

  const model = sequential(
    [
      conv2d(32, 3, { activation: "relu" }),
      maxPool2d(2),
      conv2d(64, 3, { activation: "relu" }),
      maxPool2d(2),
      flatten(),
      dense(64, { activation: "relu" }),
      dense(10, { activation: "softmax" }),
    ],
    { inputShape: [28, 28, 1], name: "cnn", seed: o.seed },
  );
  model.summary();
  await model.compile({
    loss: "categoricalCrossentropy",
    optimizer: adam({ learningRate: 1e-3 }),
    metrics: ["accuracy", "precision", "recall", "f1"],
  });
  const { epoch } = await model.fit(train.x, train.y, {
    epochs: o.epochs,
    batchSize: 32,
    validationSplit: 0.1,
    seed: o.seed,
    verbose: o.verbose,
    callbacks: [earlyStopping({ monitor: "valAccuracy", patience: 2, restoreBestWeights: true })],
  });

  const result = await model.evaluate(test.x, test.y, { batchSize: 100 });
  const path = modelPath(o.out, "cnn.safetensors");
  await model.save(path);
  const copy = await loadModel(path);
  const first = (await test.x.data()).subarray(0, 784);
  const p = await (await copy.predict({ data: first, shape: [1, 28, 28, 1] })).data();
  report(`CNN on ${folder ?? "drawn digits"}, ${test.x.shape[0]} test images`, {
    epochs: epoch.length,
    accuracy: percent(result.accuracy),
    precision: percent(result.precision),
    recall: percent(result.recall),
    f1: percent(result.f1),
    "first image": `read as ${p.indexOf(Math.max(...p))}, is ${(await test.y.data()).subarray(0, 10).indexOf(1)}`,
    saved: path,
  });
  return result;
}

await start(import.meta.url, cnn);

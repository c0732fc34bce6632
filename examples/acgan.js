/**
 * @file An auxiliary classifier GAN (Odena et al. 2017) of handwritten digits: a generator draws a digit of a class, a discriminator says
 * whether an image is drawn by it and which digit it is. Both train by `trainOnBatch`; the discriminator is frozen within the combined
 * model alone. Images of 14 x 14 pixels, made from digits that are drawn here from strokes.
 *
 *   node examples/acgan.js [--epochs N] [--samples N] [--seed N]
 */
import {
  adam,
  batchNorm,
  conv2d,
  conv2dTranspose,
  dense,
  dropout,
  embedding,
  flatten,
  leakyRelu,
  model,
  mul,
  reshape,
  sequential,
  tensor,
} from "lockstep";
import { options, percent, report, start } from "./common.js";
import { digits, uniform } from "./data.js";

const LATENT = 32;
const BATCH = 64;
const SIDE = 14;

/** Digits at half the size: each pixel the mean of four. */
function smallDigits(count, seed) {
  const { x, y } = digits(count, seed);
  const small = new Float32Array(count * SIDE * SIDE);
  for (let i = 0; i < small.length; i++) {
    const [image, row, column] = [Math.floor(i / (SIDE * SIDE)), Math.floor(i / SIDE) % SIDE, i % SIDE];
    const at = image * 784 + row * 56 + column * 2;
    small[i] = (x[at] + x[at + 1] + x[at + 28] + x[at + 29]) / 4;
  }
  return { x: small, y: Int32Array.from(y) };
}

export function makeGenerator(seed) {
  const classes = embedding(10, LATENT, { embeddingsInitializer: "glorotUniform" });
  const draw = sequential([
    dense(7 * 7 * 16),
    batchNorm({ momentum: 0.9 }),
    leakyRelu(),
    reshape([7, 7, 16]),
    conv2dTranspose(16, 3, { strides: 2, padding: "same" }),
    batchNorm({ momentum: 0.9 }),
    leakyRelu(),
    conv2d(1, 3, { padding: "same", activation: "sigmoid" }),
  ]);
  return model((noise, digit) => draw.call(mul(noise, classes.call(digit))), { inputShape: [[LATENT], []], name: "generator", seed });
}

export function makeDiscriminator(seed) {
  const trunk = sequential(
    [
      conv2d(16, 3, { strides: 2, padding: "same" }),
      leakyRelu(),
      dropout(0.3),
      conv2d(32, 3, { strides: 2, padding: "same" }),
      batchNorm({ momentum: 0.9 }),
      leakyRelu(),
      dropout(0.3),
      flatten(),
    ],
    { inputShape: [SIDE, SIDE, 1], name: "trunk" },
  );
  const real = dense(1, { activation: "sigmoid" });
  const digit = dense(10, { activation: "softmax" });
  return model(
    (image) => {
      const features = trunk.call(image);
      return { real: real.call(features), digit: digit.call(features) };
    },
    { inputShape: [SIDE, SIDE, 1], name: "discriminator", seed },
  );
}

export async function acgan(o = options({ epochs: 20, samples: 2000 })) {
  const samples = Math.max(o.samples, BATCH);
  const { x, y } = smallDigits(samples, o.seed);
  const random = uniform(o.seed);
  // Four uniform numbers are nearly normal.
  const noise = (count) =>
    tensor(
      Float32Array.from({ length: count * LATENT }, () => (random() + random() + random() + random() - 2) * 1.7),
      [count, LATENT],
    );
  const classes = (count) => Int32Array.from({ length: count }, () => Math.floor(random() * 10));

  const [generator, discriminator] = [makeGenerator(o.seed), makeDiscriminator(o.seed + 1)];
  const loss = { real: "binaryCrossentropy", digit: "sparseCategoricalCrossentropy" };
  const adamOf = () => adam({ learningRate: 1e-3, beta1: 0.5 });
  await discriminator.compile({ loss, optimizer: adamOf(), metrics: { digit: "accuracy" } });
  discriminator.trainable = false;
  const combined = model((z, digit) => discriminator.call(generator.call(z, digit)), { inputShape: [[LATENT], []], name: "combined" });
  await combined.compile({ loss, optimizer: adamOf() });

  const history = [];
  const steps = Math.floor(samples / BATCH);
  for (let epoch = 0; epoch < o.epochs; epoch++) {
    const sums = { discriminator: 0, generator: 0, digit: 0 };
    for (let step = 0; step < steps; step++) {
      const at = step * BATCH;
      const drawn = classes(BATCH);
      const fakes = await generator.predict([noise(BATCH), tensor(drawn)], { batchSize: BATCH });
      const images = new Float32Array(2 * BATCH * SIDE * SIDE);
      images.set(x.subarray(at * SIDE * SIDE, (at + BATCH) * SIDE * SIDE));
      images.set(await fakes.data(), BATCH * SIDE * SIDE);
      // One-sided label smoothing: Salimans et al. 2016.
      const real = Float32Array.from({ length: 2 * BATCH }, (_, i) => (i < BATCH ? 0.9 : 0));
      const digit = Int32Array.from([...y.subarray(at, at + BATCH), ...drawn]);
      const d = await discriminator.trainOnBatch(
        tensor(images, [2 * BATCH, SIDE, SIDE, 1]),
        { real: tensor(real, [2 * BATCH, 1]), digit: tensor(digit) },
        // The classes of what the generator draws tell nothing of the data's.
        { sampleWeight: { digit: Float32Array.from({ length: 2 * BATCH }, (_, i) => (i < BATCH ? 2 : 0)) } },
      );
      const wanted = classes(2 * BATCH);
      const g = await combined.trainOnBatch([noise(2 * BATCH), tensor(wanted)], {
        real: new Float32Array(2 * BATCH).fill(0.9),
        digit: tensor(wanted),
      });
      sums.discriminator += d.loss / steps;
      sums.generator += g.loss / steps;
      sums.digit += g.digitLoss / steps;
    }
    history.push(sums);
    if (o.verbose) {
      const { discriminator: d, generator: g, digit } = sums;
      console.log(
        `Epoch ${epoch + 1}/${o.epochs} - discriminator: ${d.toFixed(3)} - generator: ${g.toFixed(3)} - digits of the generator: ` +
          `${digit.toFixed(3)}`,
      );
    }
  }

  const ten = tensor(Int32Array.from({ length: 10 }, (_, i) => i));
  const pictures = await (await generator.predict([noise(10), ten])).data();
  if (o.verbose) {
    for (let row = 0; row < SIDE; row += 2) {
      const line = (image) =>
        Array.from({ length: SIDE }, (_, c) => " .:*#"[Math.min(4, Math.floor(pictures[image * SIDE * SIDE + row * SIDE + c] * 5))]).join(
          "",
        );
      console.log([0, 1, 2, 3, 4].map(line).join(" "));
    }
  }
  const { digit } = await discriminator.predict(tensor(x.slice(0, 200 * SIDE * SIDE), [200, SIDE, SIDE, 1]));
  const p = await digit.array();
  const read = p.filter((row, i) => row.indexOf(Math.max(...row)) === y[i]).length / p.length;
  report(`ACGAN of ${samples} digits`, {
    epochs: o.epochs,
    "digits that are read": percent(read),
    "generator's loss": history.at(-1).generator.toFixed(3),
  });
  return { history, read, discriminator, generator, images: tensor(x, [samples, SIDE, SIDE, 1]) };
}

await start(import.meta.url, acgan);

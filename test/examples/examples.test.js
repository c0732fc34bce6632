/** The examples with loops of their own, small: what they train gets better, with what layers do in training. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { acgan } from "../../examples/acgan.js";
import { dqn } from "../../examples/dqn.js";
import { vae } from "../../examples/vae.js";
import { compile } from "../../build/index.js";

const { log } = console;
test.before(() => {
  console.log = () => {};
});
test.after(() => {
  console.log = log;
});

test("vae: the loss falls, and batchNorm's averages have moved to those of its inputs", async () => {
  const { losses, encoder, draws } = await vae({ epochs: 4, samples: 640, seed: 1, verbose: 0 });
  assert.ok(losses.every(Number.isFinite));
  assert.ok(losses[3] < 0.7 * losses[0], `${losses}`);
  assert.is(draws, 40);
  const moving = await encoder.layers.find((l) => l.kind === "batchNorm").weights[2].tensor.data();
  assert.ok(moving.some((v) => v > 0) && moving.every((v) => v >= 0), "means of relu's outputs");
});

test("dqn: the paddle learns to be under the ball", async () => {
  const { caught, of, wins } = await dqn({ epochs: 5, seed: 1, verbose: 0 });
  assert.ok(wins.at(-1) > 2 * wins[0], `${wins}`);
  assert.ok(caught >= of - 1, `${caught} of ${of}`);
});

test("acgan: both networks learn, and the discriminator's dropout and batch normalization act", async () => {
  const { history, discriminator, generator, images } = await acgan({ epochs: 5, samples: 640, seed: 1, verbose: 0 });
  const [first, last] = [history[0], history.at(-1)];
  for (const losses of history) assert.ok(Object.values(losses).every(Number.isFinite));
  assert.ok(last.discriminator < 0.8 * first.discriminator, `discriminator: ${first.discriminator} to ${last.discriminator}`);
  assert.ok(last.generator < first.generator, `generator: ${first.generator} to ${last.generator}`);
  assert.is(discriminator.trainable, false);
  assert.ok(generator.trainable);

  // The trunk's first layers one after another, as its training step calls them.
  const trunk = discriminator.layers.find((l) => l.name === "trunk").layers;
  const norm = trunk.find((l) => l.kind === "batchNorm");
  const [movingMean, movingVariance] = norm.weights.slice(2).map((w) => w.tensor);
  const before = [Float64Array.from(await movingMean.data()), Float64Array.from(await movingVariance.data())];
  assert.ok(before[0].some((v) => v !== 0) && before[1].some((v) => v !== 1), "training has moved the averages");
  norm.trainable = true;
  const walk = compile(
    (x) => {
      const seen = [];
      let h = x;
      for (const layer of trunk.slice(0, trunk.indexOf(norm) + 1)) seen.push((h = layer.call(h)));
      return seen;
    },
    { training: true, seed: 3 },
  );
  const [, active, dropped, input, output] = await walk(images);

  const [a, d] = [await active.data(), await dropped.data()];
  let zeros = 0;
  a.forEach((v, i) => {
    if (d[i] === 0) zeros += v !== 0;
    else assert.ok(Math.abs(d[i] - v / 0.7) <= 1e-6 * Math.abs(v));
  });
  const others = a.filter((v) => v !== 0).length;
  assert.ok(Math.abs(zeros / others - 0.3) < 5 * Math.sqrt((0.3 * 0.7) / others), `${zeros} of ${others} dropped`);

  const [x, y] = [await input.data(), await output.data()];
  const features = movingMean.size;
  const count = x.length / features;
  for (let f = 0; f < features; f++) {
    let [mean, variance] = [0, 0];
    for (let i = f; i < x.length; i += features) mean += x[i] / count;
    for (let i = f; i < x.length; i += features) variance += (x[i] - mean) ** 2 / count;
    const [m, v] = [(await movingMean.data())[f], (await movingVariance.data())[f]];
    assert.ok(Math.abs(m - (before[0][f] * 0.9 + mean * 0.1)) < 1e-5, `mean of feature ${f}: ${m}`);
    assert.ok(Math.abs(v - (before[1][f] * 0.9 + variance * 0.1)) < 1e-5 * Math.max(1, variance), `variance of feature ${f}: ${v}`);
    const [gamma, beta] = [(await norm.weights[0].tensor.data())[f], (await norm.weights[1].tensor.data())[f]];
    assert.ok(Math.abs(y[f] - (((x[f] - mean) / Math.sqrt(variance + 1e-3)) * gamma + beta)) < 1e-4);
  }
});

test.run();

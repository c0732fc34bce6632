/** The examples with loops of their own, small: what they train gets better, with what layers do in training. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { dqn } from "../../examples/dqn.js";
import { vae } from "../../examples/vae.js";

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

test.run();

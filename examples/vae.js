/**
 * @file A variational autoencoder (Kingma & Welling 2014) of handwritten digits, trained by a loop of one's own: the loss is the
 * reconstruction's cross-entropy and the distance of the codes from a normal distribution, and each step draws its batch and its noise
 * inside the compiled program. Digits are drawn here from strokes.
 *
 *   node examples/vae.js [--epochs N] [--samples N] [--seed N]
 */
import {
  add,
  batchNorm,
  compile,
  dense,
  exp,
  gather,
  mean,
  mul,
  permutation,
  adam,
  randomKey,
  randomNormal,
  reshape,
  sequential,
  sigmoid,
  slice,
  square,
  sub,
  sum,
  tensor,
  valueAndGrad,
  softplus,
} from "lockstep";
import { options, report, start } from "./common.js";
import { digits } from "./data.js";

const LATENT = 2;
const BATCH = 64;

/** Binary cross-entropy of logits, summed over the pixels of an image. */
const reconstruction = (images, logits) => mean(sum(sub(softplus(logits), mul(images, logits)), { axis: 1 }));

/** KL divergence of N(mean, exp(logVariance)) from N(0, 1), summed over the code. */
const divergence = (center, logVariance) =>
  mul(mean(sum(sub(sub(add(logVariance, 1), square(center)), exp(logVariance)), { axis: 1 })), -0.5);

export async function vae(o = options({ epochs: 15, samples: 3000 })) {
  const samples = Math.max(o.samples, BATCH);
  const images = tensor(digits(samples, o.seed).x, [samples, 784]);
  const encoder = sequential([dense(128, { activation: "relu" }), batchNorm(), dense(2 * LATENT)], {
    inputShape: [784],
    name: "encoder",
    seed: o.seed,
  });
  const decoder = sequential([dense(128, { activation: "relu" }), dense(784)], { inputShape: [LATENT], name: "decoder", seed: o.seed + 1 });
  const params = [...encoder.parameters, ...decoder.parameters];
  const optimizer = adam({ learningRate: 2e-3 });
  const first = tensor([0], [1], "i32");

  const step = compile(
    () => {
      const batch = gather(images, permutation(randomKey(), samples, { start: first, count: BATCH }));
      let parts;
      const { grads } = valueAndGrad(() => {
        const code = encoder.call(batch);
        const center = slice(code, [0, 0], [BATCH, LATENT]);
        const logVariance = slice(code, [0, LATENT], [BATCH, LATENT]);
        const z = add(center, mul(exp(mul(logVariance, 0.5)), randomNormal(randomKey(), [BATCH, LATENT])));
        parts = { pixels: reconstruction(batch, decoder.call(z)), codes: divergence(center, logVariance) };
        return add(parts.pixels, parts.codes);
      }, params)();
      optimizer.update(params, grads);
      return parts;
    },
    { training: true, seed: o.seed },
  );

  const losses = [];
  const steps = Math.floor(samples / BATCH);
  for (let epoch = 0; epoch < o.epochs; epoch++) {
    let [pixels, codes] = [0, 0];
    for (let i = 0; i < steps; i++) {
      const parts = await step();
      pixels += await parts.pixels.item();
      codes += await parts.codes.item();
    }
    losses.push((pixels + codes) / steps);
    if (o.verbose)
      console.log(
        `Epoch ${epoch + 1}/${o.epochs} - reconstruction: ${(pixels / steps).toFixed(2)} - divergence: ${(codes / steps).toFixed(2)}`,
      );
  }

  const draw = compile((z) => reshape(sigmoid(decoder.call(z)), [28, 28]));
  const picture = await (await draw(tensor([[0.5, -0.5]]))).array();
  if (o.verbose)
    for (const row of picture.filter((_, i) => i % 2 === 0)) console.log(row.map((v) => " .:*#"[Math.min(4, Math.floor(v * 5))]).join(""));
  report(`VAE of ${samples} digits, code of ${LATENT} numbers`, {
    epochs: o.epochs,
    loss: losses.at(-1).toFixed(2),
    "loss at first": losses[0].toFixed(2),
  });
  return { losses, encoder, images, draws: step.draws };
}

await start(import.meta.url, vae);

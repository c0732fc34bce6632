/**
 * @file A GPT learns to write, one character after another: nanoGPT's recipe for CPUs (https://github.com/karpathy/nanoGPT), 4 layers of 4
 * heads, 128 wide, windows of 64 characters, 2,000 steps of 12 windows. The text: --data FILE, or tinyshakespeare.txt under LOCKSTEP_DATA,
 * or stories made up here. On tinyshakespeare the loss of the held-out tenth comes to about 1.89, a perplexity of 6.6 characters.
 *
 *   node examples/gpt.js [--data FILE] [--steps N] [--prompt TEXT] [--seed N] [--out MODEL]
 */
import {
  adamw,
  cosineDecay,
  generate,
  initializers,
  layerNorm,
  loadModel,
  sequential,
  sparseCategoricalCrossentropy,
  tiedHead,
  tokenAndPositionEmbedding,
  transformerDecoder,
} from "lockstep";
import { text, tokenWindows } from "lockstep/data";
import { dataFile, modelPath, options, readText, report, start } from "./common.js";
import { stories } from "./data.js";

const BLOCK = 64;
const WIDTH = 128;
const LAYERS = 4;
const HEADS = 4;
const BATCH = 12;
const WARMUP = 100;

/** Logits of the next character at every place of a window. GPT-2's layers and first weights (Radford et al. 2019). */
export function gpt(vocabulary, seed) {
  const normal = initializers.randomNormal(0, 0.02);
  const tokens = tokenAndPositionEmbedding(vocabulary, BLOCK, WIDTH, { embeddingsInitializer: normal });
  const block = () => transformerDecoder(4 * WIDTH, HEADS, { activation: "gelu", normalizeFirst: true, kernelInitializer: normal });
  return sequential([tokens, ...Array.from({ length: LAYERS }, block), layerNorm({ epsilon: 1e-5 }), tiedHead(tokens)], {
    inputShape: [BLOCK],
    name: "gpt",
    seed,
  });
}

/**
 * Writes `count` characters behind the prompt, each drawn by the probabilities that the model gives it, sharpened by the temperature. The
 * model has positions for one window: when that is full, it goes on from its second half.
 */
export async function write(model, { encode, decode }, { prompt, count, temperature = 0.8, seed = 1 }) {
  const ids = [...encode(prompt)];
  const end = ids.length + count;
  while (ids.length < end) {
    const seen = ids.slice(-BLOCK / 2);
    const maxTokens = Math.min(end - ids.length, BLOCK + 1 - seen.length);
    for await (const id of generate(model, seen, { maxTokens, temperature, seed: seed + ids.length })) ids.push(id);
  }
  return decode(ids);
}

export async function learnToWrite(o = options({ steps: 2000 })) {
  const file = dataFile(o.data, "tinyshakespeare.txt");
  const source = text(file === null ? stories(200_000, o.seed) : readText(file));
  const { x, y } = tokenWindows(source.train, { length: BLOCK });
  const held = tokenWindows(source.validation, { length: BLOCK, stride: BLOCK });

  const model = gpt(source.vocabulary.length, o.seed);
  if (o.verbose) model.summary();
  await model.compile({
    loss: sparseCategoricalCrossentropy({ fromLogits: true }),
    optimizer: adamw({
      learningRate: cosineDecay({
        initialLearningRate: 0,
        warmupTarget: 1e-3,
        warmupSteps: WARMUP,
        decaySteps: Math.max(1, o.steps - WARMUP),
        alpha: 0.1,
      }),
      beta2: 0.99,
      weightDecay: 0.1,
      globalClipNorm: 1,
    }),
  });

  const prompt = o.prompt ?? (source.vocabulary.includes("\n") ? "\n" : source.decode(source.ids.subarray(0, 1)));
  const losses = [];
  let began = 0;
  const stepsPerEpoch = Math.min(250, o.steps);
  await model.fit(x, y, {
    batchSize: BATCH,
    stepsPerEpoch,
    epochs: Math.ceil(o.steps / stepsPerEpoch),
    seed: o.seed,
    verbose: 0,
    callbacks: [
      {
        onEpochBegin() {
          began = performance.now();
        },
        async onEpochEnd(epoch, { loss }) {
          const seconds = (performance.now() - began) / 1000;
          const { loss: heldOut } = await model.evaluate(held.x, held.y);
          losses.push({ loss, heldOut, rate: (stepsPerEpoch * BATCH * BLOCK) / seconds });
          if (!o.verbose) return;
          const rate = Math.round(losses.at(-1).rate).toLocaleString("en-US");
          const sample = await write(model, source, { prompt, count: 150, seed: o.seed });
          console.log(
            `\nstep ${(epoch + 1) * stepsPerEpoch}: loss ${loss.toFixed(3)}, of the held-out text ${heldOut.toFixed(3)}, ` +
              `${rate} tokens/s\n${sample.trim()}`,
          );
        },
      },
    ],
  });

  const path = modelPath(o.out, "gpt.safetensors");
  await model.save(path, { optimizer: false });
  const copy = await loadModel(path);
  const written = await write(copy, text("", { vocabulary: source.vocabulary }), { prompt, count: 500, seed: o.seed });
  const { heldOut } = losses.at(-1);
  report(`GPT on ${file ?? "made-up stories"}, ${source.ids.length.toLocaleString("en-US")} characters`, {
    steps: losses.length * stepsPerEpoch,
    "held-out loss": heldOut.toFixed(3),
    perplexity: Math.exp(heldOut).toFixed(2),
    "tokens/s": Math.round(Math.max(...losses.map(({ rate }) => rate))),
    saved: path,
  });
  console.log(`\n${written.trim()}`);
  return { losses, written };
}

await start(import.meta.url, learnToWrite);

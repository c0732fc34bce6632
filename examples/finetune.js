/**
 * @file A language model that is trained already learns to write like a text of yours: its weights stay as they are, and low-rank adapters
 * beside them are trained (LoRA). The model: --model FOLDER, or the folder that LOCKSTEP_MODEL names, in Hugging Face's form, or a .gguf
 * file; stories260K takes half a minute. The text: --data FILE, or stories of animals made up here. Shown is what it writes before and
 * behind, and how likely a part of the text is to it that it was not trained on.
 *
 *   node examples/finetune.js --model FOLDER [--data FILE] [--steps N] [--rank N] [--weights f32] [--prompt TEXT] [--seed N] [--out FOLDER]
 */
import { parseArgs } from "node:util";
import { adamw, cosineDecay, sparseCategoricalCrossentropy } from "lockstep";
import { tokenWindows } from "lockstep/data";
import { loadLora, lora } from "lockstep/lora";
import { loadPretrained } from "lockstep/transformers";
import { modelPath, readText, report, start } from "./common.js";
import { stories } from "./data.js";

const WINDOW = 64;
const BATCH = 8;

function options() {
  const text = { type: "string" };
  const { values } = parseArgs({
    options: { model: text, data: text, steps: text, rank: text, weights: text, prompt: text, seed: text, out: text, verbose: text },
  });
  const number = (name, otherwise) => {
    const value = Number(values[name] ?? otherwise);
    if (!Number.isInteger(value) || value < 0) throw new Error(`--${name} must be an integer of at least 0, got "${values[name]}"`);
    return value;
  };
  return {
    ...values,
    model: values.model ?? process.env.LOCKSTEP_MODEL,
    steps: number("steps", 200),
    rank: number("rank", 8),
    seed: number("seed", 1),
    verbose: number("verbose", 1),
  };
}

/** What the model writes behind the prompt. */
async function write(lm, prompt, seed) {
  let text = prompt;
  for await (const { text: more } of lm.generate(prompt, { maxTokens: 120, temperature: 0.8, topP: 0.9, seed })) text += more;
  return text;
}

export async function finetune(o = options()) {
  if (!o.model) throw new Error("name the folder of a model: --model FOLDER, or LOCKSTEP_MODEL=FOLDER");
  const lm = await loadPretrained(o.model, { weights: o.weights });
  const source = o.data === undefined ? stories(20_000, o.seed) : readText(o.data);
  const ids = Int32Array.from(lm.tokenizer.encode(source));
  // A tenth is kept to measure by.
  const kept = Math.max(WINDOW + 1, Math.floor(ids.length / 10));
  const train = tokenWindows(ids.subarray(0, -kept), { length: WINDOW });
  const held = tokenWindows(ids.subarray(-kept), { length: WINDOW, stride: WINDOW });
  const prompt = o.prompt ?? "Once upon a time";
  const before = await write(lm, prompt, o.seed);

  const adapters = lora(lm.model, { rank: o.rank, alpha: 2 * o.rank, dropout: 0.05, seed: o.seed });
  const [trained, all] = [lm.model.parameters, lm.model.weights.map(({ tensor }) => tensor)].map((list) =>
    list.reduce((n, t) => n + t.size, 0),
  );
  const steps = Math.max(1, o.steps);
  await lm.model.compile({
    loss: sparseCategoricalCrossentropy({ fromLogits: true }),
    optimizer: adamw({
      learningRate: cosineDecay({ initialLearningRate: 0, warmupTarget: 5e-3, warmupSteps: Math.ceil(steps / 20), decaySteps: steps }),
      weightDecay: 0,
      globalClipNorm: 1,
    }),
  });
  const { loss: first } = await lm.model.evaluate(held.x, held.y);
  const began = performance.now();
  await lm.model.fit(train.x, train.y, { batchSize: BATCH, stepsPerEpoch: steps, seed: o.seed, verbose: o.verbose });
  const seconds = (performance.now() - began) / 1000;
  const { loss: last } = await lm.model.evaluate(held.x, held.y);
  const after = await write(lm, prompt, o.seed);

  const folder = modelPath(o.out, "adapters");
  await adapters.save(folder);
  // Anybody who has the model reads the adapters from there, adds them to its weights, and has what was trained.
  adapters.remove();
  const again = await loadLora(lm.model, folder);
  await again.merge();
  const merged = await write(lm, prompt, o.seed);

  report(`${o.model}, fine-tuned on ${ids.length.toLocaleString("en-US")} tokens of ${o.data ?? "stories of animals"}`, {
    "trained parameters": `${trained.toLocaleString("en-US")} of ${all.toLocaleString("en-US")}`,
    "held-out loss before": first.toFixed(3),
    "held-out loss behind": last.toFixed(3),
    "tokens/s": Math.round((steps * BATCH * WINDOW) / seconds),
    saved: folder,
  });
  console.log(`\nbefore:\n${before.trim()}\n\nbehind:\n${after.trim()}`);
  return { first, last, before, after, merged };
}

await start(import.meta.url, finetune);

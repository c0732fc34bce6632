/** Checkpoints on the CPU: what a float64 reference gives for them, text, and what a model of a checkpoint is besides. */
import { readFileSync, readdirSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ArgumentError, DataError, LockstepError, open, sparseCategoricalCrossentropy, tensor } from "../../build/esm/index.js";
import { loadPretrained } from "../../build/esm/transformers/index.js";
import { json, modelPath } from "../models/index.js";
import { checkGguf, checkpoints, checkStories, ggufs, near, stories } from "./cases.js";

const backend = await open("wasm");
test.after(() => backend.close());

const rejected = async (action, type, ...parts) => {
  const error = await action().then(
    () => null,
    (e) => e,
  );
  assert.instance(error, type, String(error?.stack));
  for (const part of parts) assert.ok(error.message.includes(part), `"${error.message}" lacks "${part}"`);
};

for (const { name, folder, check } of checkpoints) test(`${name}: as the reference`, async () => check(await loadPretrained(folder)));
test("at least one checkpoint of each architecture is there", () => assert.ok(checkpoints.length >= 6));
if (stories !== null) test("stories260K: ids, logits, greedy text and likelihood", () => checkStories(backend));
for (const one of ggufs) test(`GGUF, ${one.type}: as the reference over its weights`, () => checkGguf(one, backend));

const qwen3 = modelPath("hf/qwen3");
const gpt2 = modelPath("hf/gpt2");

test("files by name: an object, a Map, a list of Files, with a folder's name before theirs", async () => {
  const golden = json(`${gpt2}/golden.json`);
  const read = (name) => new Uint8Array(readFileSync(`${gpt2}/${name}`));
  const names = ["config.json", "model.safetensors"];
  const sources = [
    Object.fromEntries(names.map((name) => [name, read(name)])),
    new Map(names.map((name) => [`gpt2/${name}`, new Blob([read(name)])])),
    names.map((name) => new File([read(name)], name)),
    {
      "config.json": `${gpt2}/config.json`,
      "model.safetensors": { name: "mine", size: read(names[1]).length, read: (a, b) => read(names[1]).subarray(a, b) },
    },
  ];
  for (const source of sources) {
    const lm = await loadPretrained(source);
    near(await (await lm.logits(golden.input_ids)).data(), golden.logits, golden.atol, "logits");
  }
});

test("a GGUF file as a Blob and among files by name", async () => {
  const bytes = readFileSync(modelPath("gguf/stories260K-q4_0.gguf"));
  for (const source of [new Blob([bytes]), { "a/stories.gguf": new Uint8Array(bytes) }]) {
    const lm = await loadPretrained(source);
    let text = "";
    for await (const t of lm.generate("Once upon a time", { maxTokens: 8 })) text += t.text;
    assert.is(text, ", there was a little girl");
  }
});

test("the model is one of Lockstep: summary, training, saving; layers have the names of Hugging Face's modules", async () => {
  const lm = await loadPretrained(qwen3);
  assert.is(lm.task, "text-generation");
  assert.ok(lm.model.summary(() => {}).includes("model.layers.1.self_attn"));
  const golden = json(`${qwen3}/golden.json`);
  await lm.model.compile({ loss: sparseCategoricalCrossentropy({ fromLogits: true }), optimizer: "adam" });
  const { history } = await lm.model.fit([golden.input_ids], [golden.input_ids], { epochs: 3, verbose: 0 });
  assert.ok(history.loss[2] < history.loss[0]);
  assert.ok((await lm.model.toBytes()).length > 100_000);
});

test("tokens are drawn where an option says so, by seed; eos ends a text", async () => {
  const lm = await loadPretrained(gpt2);
  const texts = async (options) => {
    const ids = [];
    for await (const { id, text } of lm.generate([1, 2, 3], { maxTokens: 12, ...options })) {
      assert.is(text, "");
      ids.push(id);
    }
    return ids;
  };
  const greedy = await texts({});
  assert.equal(await texts({}), greedy);
  assert.equal(await texts({ temperature: 0, seed: 4 }), greedy);
  assert.equal(await texts({ cache: "f16" }), greedy);
  assert.not.equal(await texts({ seed: 4 }), greedy);
  assert.equal(await texts({ seed: 4 }), await texts({ temperature: 1, seed: 4 }));
  const end = greedy.findIndex((id, i) => greedy.indexOf(id) === i && i > 0);
  const other = await loadPretrained(changed(gpt2, { eos_token_id: [90, greedy[end]] }));
  const ids = [];
  for await (const { id } of other.generate([1, 2, 3], { maxTokens: 12 })) ids.push(id);
  assert.equal(ids, greedy.slice(0, end + 1));
  assert.equal(other.eosTokenIds, [90, greedy[end]]);
});

test("several prompts, of ids and of text, are generated together as each would be alone", async () => {
  const lm = await loadPretrained(gpt2);
  const alone = async (prompt, options) => {
    const tokens = [];
    for await (const token of lm.generate(prompt, options)) tokens.push(token);
    return tokens;
  };
  const together = async (model, prompts, options) => {
    const texts = prompts.map(() => []);
    for await (const row of model.generate(prompts, options)) row.forEach((token, i) => token !== null && texts[i].push(token));
    return texts;
  };
  const prompts = [[1, 2, 3], Int32Array.of(4), [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]];
  const options = { maxTokens: 10 };
  const each = await Promise.all(prompts.map((prompt) => alone(prompt, options)));
  assert.equal(await together(lm, prompts, options), each);
  assert.equal(await together(lm, prompts.slice(0, 1), options), each.slice(0, 1));
  // A text that is complete waits for the others.
  const stop = [each[0].slice(2, 4).map(({ id }) => id)];
  const stopped = await Promise.all(prompts.map((prompt) => alone(prompt, { ...options, stop })));
  assert.ok(stopped[0].length < 10 && stopped.some(({ length }) => length === 10), "they end at different places");
  assert.equal(await together(lm, prompts, { ...options, stop }), stopped);
  await rejected(() => lm.generate([[1, 2], []]).next(), ArgumentError, "at least one id");
  await rejected(() => lm.generate([[1, 2], null]).next(), ArgumentError, "list of ids");
  await rejected(() => lm.generate([1, "a"]).next(), DataError, "got a at place 1");
  await rejected(() => lm.generate([[1], "text"]).next(), LockstepError, "no tokenizer.json");
  await rejected(() => lm.generate([[1], new Array(60).fill(1)], { maxTokens: 6 }).next(), ArgumentError, "60 tokens and 6", "of 64");

  const told = await loadPretrained(modelPath("gguf/stories260K-q4_0.gguf"));
  const write = (tokens) => tokens.map(({ text }) => text).join("");
  const texts = await together(told, ["Once upon a time", told.tokenizer.encode("One day")], { maxTokens: 8 });
  assert.is(write(texts[0]), ", there was a little girl");
  assert.is(texts[1].length, 8);
});

/** A folder's files by name, with other fields in its configuration. */
function changed(folder, fields) {
  const files = Object.fromEntries(readdirSync(folder).map((name) => [name, new Uint8Array(readFileSync(`${folder}/${name}`))]));
  return { ...files, "config.json": new TextEncoder().encode(JSON.stringify({ ...json(`${folder}/config.json`), ...fields })) };
}

test("ids and texts that cannot be read are refused", async () => {
  const lm = await loadPretrained(gpt2, { contextLength: 10 });
  assert.is(lm.contextLength, 10);
  await rejected(() => lm.logits([]), ArgumentError, "at least one id");
  await rejected(() => lm.logits([1, 99]), DataError, "99");
  await rejected(() => lm.logits(new Array(11).fill(1)), ArgumentError, "contextLength of 10");
  await rejected(() => lm.generate("text").next(), LockstepError, "no tokenizer.json");
  assert.is(lm.tokenizer.isAvailable, false);
  await rejected(() => loadPretrained(gpt2, { task: "feature-extraction" }), ArgumentError, "text-generation", "feature-extraction");
  await rejected(() => lm.generate([1, 2, 3], { maxTokens: 20 }).next(), ArgumentError, "contextLength of 10");
  await rejected(() => loadPretrained(gpt2, { contextLength: 65 }), ArgumentError, "at most 64");
});

test("an encoder without a pooler, with old names, and without a mask", async () => {
  const bert = await loadPretrained(modelPath("hf/bert"));
  assert.is(bert.task, "feature-extraction");
  const { lastHiddenState } = await bert.encode({ inputIds: [[1, 2, 3]] });
  assert.equal(lastHiddenState.shape, [1, 3, 32]);
  const masked = await bert.encode({ inputIds: [[1, 2, 3, 7]], attentionMask: [[1, 1, 1, 0]] });
  near((await masked.lastHiddenState.data()).slice(0, 96), [...(await lastHiddenState.data())], 1e-5, "with padding");
});

test("vit: windows of images are products with weights in 16 bits too", async () => {
  const folder = modelPath("hf/vit");
  const { pixel_values: pixels, pixel_values_shape: shape, logits } = json(`${folder}/golden.json`);
  for (const weights of ["f16", "bf16"]) {
    const vit = await loadPretrained(folder, { weights });
    assert.ok(vit.model.weights.some((w) => String(w.tensor) === `f32:${weights}.T[48, 32]`));
    near(await (await vit.logits(tensor(Float32Array.from(pixels), shape))).data(), logits, weights === "f16" ? 2e-3 : 2e-2, weights);
  }
});

test("an image classifier has labels, and takes tensors and nested lists", async () => {
  const vit = await loadPretrained(modelPath("hf/vit"));
  assert.is(vit.task, "image-classification");
  assert.equal(vit.labels, ["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3", "LABEL_4"]);
  const pixels = Array.from({ length: 3 }, () =>
    Array.from({ length: 16 }, (_, y) => Array.from({ length: 16 }, (_, x) => Math.sin(x * y))),
  );
  const [a, b] = [await vit.logits([pixels, pixels]), await vit.logits(tensor([pixels]))];
  assert.equal([a.shape, b.shape], [[2, 5], [1, 5]]);
});

test.run();

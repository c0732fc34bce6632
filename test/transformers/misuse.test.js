/** @file What users of checkpoints give that cannot be, and what they save and train of models in few bits. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { loadWeights, open, sparseCategoricalCrossentropy } from "../../build/esm/index.js";
import { loadPretrained } from "../../build/esm/transformers/index.js";
import { modelPath } from "../models/index.js";

await open("wasm", { reproducible: true });
const stories = modelPath("llama/stories260K");
const bertFolder = modelPath("hf/bert");
const bytes = (folder, ...names) => Object.fromEntries(names.map((name) => [name, readFileSync(join(folder, name))]));
const text = (value) => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));

async function rejects(work, type, pattern) {
  try {
    await work();
  } catch (error) {
    assert.is(error.name, type, error.message);
    assert.match(error.message, pattern);
    return;
  }
  assert.unreachable("it was accepted");
}

test("an encoder refuses names and inputs that would be computed as something else", async () => {
  const bert = await loadPretrained(bertFolder);
  const inputIds = [[5, 6, 7]];
  await rejects(() => bert.encode({ inputIds, attention_mask: [[1, 1, 0]] }), "ArgumentError", /attention_mask/);
  await rejects(() => bert.encode({ inputIds, attentionMask: [[1]] }), "ShapeError", /attentionMask must have the shape of inputIds/);
  await rejects(() => bert.encode({ inputIds, tokenTypeIds: [[0]] }), "ShapeError", /tokenTypeIds/);
  await rejects(() => bert.encode({ inputIds: [[1.5, 2]] }), "DataError", /integers, got 1.5/);
  await rejects(() => bert.encode({ inputIds: [[]] }), "ShapeError", /at least one token/);
  await rejects(() => bert.encode({ inputIds: [new Array(bert.contextLength + 1).fill(1)] }), "ShapeError", /contextLength/);
  await rejects(() => bert.embed("a", { pool: "cls" }), "ArgumentError", /pool/);
});

test("poolings that are not computed here are refused, not replaced", async () => {
  const files = bytes(bertFolder, "config.json", "model.safetensors");
  const withPooling = (config) => loadPretrained({ ...files, "1_Pooling/config.json": text(config) });
  await withPooling({ pooling_mode_cls_token: true, pooling_mode_mean_tokens: false });
  await withPooling({ pooling_mode: "max" });
  await rejects(() => withPooling({ pooling_mode_lasttoken: true }), "FileError", /one of cls, max and mean, found pooling_mode_lasttoken/);
  await rejects(
    () => withPooling({ pooling_mode_cls_token: true, pooling_mode_mean_tokens: true }),
    "FileError",
    /one of cls, max and mean/,
  );
  await rejects(() => withPooling({ pooling_mode: "lasttoken" }), "FileError", /lasttoken/);
  const modules = [{ type: "sentence_transformers.models.Transformer" }, { type: "sentence_transformers.models.Dense" }];
  await rejects(() => loadPretrained({ ...files, "modules.json": text(modules) }), "FileError", /modules.json names .*Dense/);
});

test("a language model refuses what is no list of ids, and options that nobody knows", async () => {
  const lm = await loadPretrained(stories);
  for (const ids of [["a"], [NaN], [1.9], [[1, 2]], [-1]]) await rejects(() => lm.logits(ids), "DataError", /ids are integers from 0/);
  await rejects(async () => lm.tokenizer.encode("x", { add_special_tokens: false }), "ArgumentError", /add_special_tokens/);
  await rejects(async () => lm.tokenizer.decode([1], { skip_special_tokens: false }), "ArgumentError", /skip_special_tokens/);
  await rejects(async () => lm.tokenizer.decode([-1]), "DataError", /got -1/);
  await rejects(async () => lm.tokenizer.applyChatTemplate([], { tokenize: true }), "ArgumentError", /tokenize/);
});

test("a chat template in a file of its own is the one", async () => {
  const names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
  const lm = await loadPretrained({ ...bytes(stories, ...names), "chat_template.jinja": text("{{ messages[0].content }}!") });
  assert.is(lm.tokenizer.applyChatTemplate([{ role: "user", content: "Hello" }]), "Hello!");
});

test("a model in few bits is saved and read again, also from one in f32", async () => {
  const ids = [1, 403, 407, 261];
  for (const weights of ["f16", "q8", "q4"]) {
    const lm = await loadPretrained(stories, { weights });
    const want = await (await lm.logits(ids)).data();
    const again = await loadPretrained(stories, { weights });
    for (const { tensor: t } of again.model.weights) t.set(new Float32Array(t.size));
    assert.not.equal(await (await again.logits(ids)).data(), want);
    await loadWeights(again.model, await lm.model.toBytes());
    const got = await (await again.logits(ids)).data();
    got.forEach((v, i) => assert.ok(Math.abs(v - want[i]) < 0.02, `${weights}: ${v}, ${want[i]}`));
  }
});

test("compile says which weights will not be trained, but for adapters", async () => {
  const lines = [];
  const { warn } = console;
  console.warn = (line) => lines.push(line);
  try {
    const recipe = { loss: sparseCategoricalCrossentropy({ fromLogits: true }), optimizer: "adam" };
    await (await loadPretrained(stories)).model.compile(recipe);
    assert.is(lines.length, 0);
    await (await loadPretrained(stories, { weights: "q8" })).model.compile(recipe);
    assert.is(lines.length, 1);
    assert.match(lines[0], /36 of 47 weights .* few bits.*"f32".*lockstep\/lora/);
  } finally {
    console.warn = warn;
  }
});

test.run();

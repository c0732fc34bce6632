/**
 * Checkpoints made here, of what configurations of real ones differ in, beside a float64 reference: logits of a whole text, and the text
 * that is written token by token. What is not computed is refused by name.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { FileError, open, tensor } from "../../build/esm/index.js";
import { Random } from "../../build/esm/random.js";
import { writeSafetensors } from "../../build/esm/safetensors/index.js";
import { loadPretrained } from "../../build/esm/transformers/index.js";
import { json, modelPath } from "../models/index.js";
import { near } from "./cases.js";
import { decoderLogits, vitLogits } from "./reference.js";

const backend = await open("wasm");
test.after(() => backend.close());

const encode = (value) => new TextEncoder().encode(JSON.stringify(value));

/** Random weights by name and shape: matrices keep the size of what they multiply, scales are about 1. */
function randomWeights(seed, shapes) {
  const random = new Random(seed);
  const weights = {};
  for (const [name, shape] of Object.entries(shapes)) {
    const size = shape.reduce((a, b) => a * b, 1);
    const wide = shape.length > 1 && !/embed/.test(name) ? Math.sqrt(2 / (size / shape[0])) : /norm.*weight$/.test(name) ? 0.2 : 0.5;
    weights[name] = { shape, data: random.normal(size).map((v) => v * wide + (/norm.*weight$/.test(name) ? 1 : 0)) };
  }
  return weights;
}

const checkpoint = async (config, weights) => ({ "config.json": encode(config), "model.safetensors": await writeSafetensors(weights) });

const LLAMA = {
  model_type: "llama",
  vocab_size: 43,
  hidden_size: 32,
  intermediate_size: 40,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 96,
  rms_norm_eps: 1e-5,
  hidden_act: "silu",
  tie_word_embeddings: false,
  rope_theta: 300,
};

function decoderShapes(c) {
  const heads = c.num_attention_heads;
  const size = c.head_dim ?? c.hidden_size / heads;
  const [hidden, inner, q, kv] = [c.hidden_size, c.intermediate_size, heads * size, (c.num_key_value_heads ?? heads) * size];
  const shapes = { "model.embed_tokens.weight": [c.vocab_size, hidden], "model.norm.weight": [hidden] };
  if (!c.tie_word_embeddings) shapes["lm_head.weight"] = [c.vocab_size, hidden];
  const bias = { qkv: c.model_type === "qwen2" || c.attention_bias, o: c.attention_bias, mlp: c.mlp_bias };
  for (let l = 0; l < c.num_hidden_layers; l++) {
    const add = (name, shape, kind) => {
      shapes[`model.layers.${l}.${name}.weight`] = shape;
      if (bias[kind]) shapes[`model.layers.${l}.${name}.bias`] = [shape[0]];
    };
    for (const [name, rows] of [["q", q], ["k", kv], ["v", kv]]) add(`self_attn.${name}_proj`, [rows, hidden], "qkv");
    add("self_attn.o_proj", [hidden, q], "o");
    for (const name of ["gate", "up"]) add(`mlp.${name}_proj`, [inner, hidden], "mlp");
    add("mlp.down_proj", [hidden, inner], "mlp");
    for (const name of ["input_layernorm", "post_attention_layernorm"]) add(name, [hidden]);
    if (c.model_type === "qwen3") for (const name of ["q_norm", "k_norm"]) add(`self_attn.${name}`, [size]);
  }
  return shapes;
}

/** Logits, and tokens that are written, of a decoder as the reference has them. */
async function checkDecoder(more, { windows = [null, null], time = 19, rename = (name) => name, seed = 1 } = {}) {
  const config = { ...LLAMA, ...more };
  const weights = randomWeights(seed, decoderShapes(config));
  const named = Object.fromEntries(Object.entries(weights).map(([name, w]) => [rename(name), w]));
  const lm = await loadPretrained(await checkpoint(config, named), { task: "text-generation" });
  const ids = Array.from(new Random(seed + 1).uniform(time), (v) => Math.floor(v * config.vocab_size));
  const want = decoderLogits(config, weights, ids, windows);
  const most = Math.max(...want.flat().map(Math.abs));
  near(await (await lm.logits(ids)).data(), want, 1e-5 * most, JSON.stringify(more));
  const written = [];
  for await (const { id } of lm.generate(ids, { maxTokens: 5, stop: [] })) {
    const last = decoderLogits(config, weights, [...ids, ...written], windows).at(-1);
    assert.is(id, last.indexOf(Math.max(...last)), JSON.stringify(more));
    written.push(id);
  }
  lm.dispose();
  return lm;
}

const yarn = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32 };
const longrope = {
  rope_type: "longrope",
  short_factor: [1, 1.1, 1.3, 1.7],
  long_factor: [1, 2, 4, 8],
  original_max_position_embeddings: 32,
};

test("rotary positions of a factor: yarn with all that it may say, longrope, dynamic", async () => {
  for (const more of [
    { rope_scaling: yarn },
    { rope_scaling: { ...yarn, beta_fast: 4, beta_slow: 0.5 } },
    { rope_scaling: { ...yarn, attention_factor: 0.8, truncate: false } },
    { rope_scaling: { ...yarn, mscale: 1, mscale_all_dim: 0.7 } },
    { rope_scaling: { type: "yarn", factor: 4, finetuned: true } },
    { rope_theta: undefined, rope_parameters: { ...yarn, rope_theta: 1000, factor: 8 } },
    // All pairs turn too rarely for a ramp.
    { rope_scaling: { ...yarn, original_max_position_embeddings: 6 } },
    { rope_scaling: longrope },
    { rope_scaling: { ...longrope, attention_factor: 1.25 } },
    { rope_scaling: { ...longrope, original_max_position_embeddings: undefined }, original_max_position_embeddings: 48 },
    // Within what the model was trained with nothing is stretched.
    { rope_scaling: { type: "dynamic", factor: 4 } },
    // Both places, which say the same, or one of them is empty; either may have the base.
    { rope_scaling: yarn, rope_parameters: { ...yarn, rope_theta: 1000 } },
    { rope_scaling: { type: "linear", factor: 2, rope_theta: 100 } },
    { rope_scaling: {}, rope_parameters: { rope_type: "linear", factor: 2 } },
  ])
    await checkDecoder(more);
});

test("as many positions as the frequencies hold for", async () => {
  const of = async (more) => (await checkDecoder(more)).contextLength;
  assert.is(await of({ rope_scaling: yarn }), 128);
  assert.is(await of({ rope_scaling: { ...yarn, factor: 2 } }), 96);
  assert.is(await of({ rope_scaling: longrope }), 32);
  assert.is(await of({ rope_scaling: { type: "dynamic", factor: 4 } }), 96);
});

test("activations of the feed-forward block, heads of other sizes, biases, a head of its own or not", async () => {
  for (const more of [
    { hidden_act: "relu" },
    { hidden_act: "gelu_fast", mlp_bias: true },
    { head_dim: 12, num_key_value_heads: 1, tie_word_embeddings: true },
    { model_type: "qwen3", head_dim: 10, attention_bias: true },
    { model_type: "qwen2", head_dim: 6, hidden_size: 20 },
  ])
    await checkDecoder(more);
});

test("tensors without the prefix of the model", () =>
  checkDecoder({ model_type: "qwen3", head_dim: 8, tie_word_embeddings: true }, { rename: (name) => name.replace("model.", "") }));

test("windows are those of the configuration, shorter than the text or longer", async () => {
  for (const window of [1, 2, 19, 20]) await checkDecoder({ model_type: "mistral", sliding_window: window }, { windows: [window, window] });
  const qwen = { model_type: "qwen2", use_sliding_window: true, sliding_window: 3 };
  await checkDecoder({ ...qwen, max_window_layers: 1 }, { windows: [null, 3] });
  await checkDecoder({ ...qwen, layer_types: ["sliding_attention", "full_attention"] }, { windows: [3, null] });
});

/** @throws unless the checkpoint is refused with this sentence. */
async function refused(config, shapes, sentence) {
  const error = await loadPretrained(await checkpoint(config, randomWeights(1, shapes))).catch((e) => e);
  assert.instance(error, FileError, String(error?.stack ?? "it was accepted"));
  assert.ok(error.message.endsWith(sentence), error.message);
}

test("what would be another computation is refused by name", async () => {
  const all = "default, linear, dynamic, llama3, yarn, longrope";
  const off = "where sliding_window or use_sliding_window is off";
  for (const [more, sentence] of [
    [{ rope_scaling: { factor: 2 } }, `rope_scaling: rope_type must be one of ${all}, found nothing`],
    [{ rope_parameters: { full_attention: {} } }, `rope_parameters: rope_type must be one of ${all}, found nothing`],
    [
      { rope_scaling: { rope_type: "linear", factor: 2 }, rope_parameters: { rope_type: "linear", factor: 4 } },
      'rope_parameters must be what rope_scaling says, found {"rope_type":"linear","factor":4}',
    ],
    [{ rope_scaling: { type: "mrope" } }, `rope_scaling: type must be one of ${all}, found "mrope"`],
    [{ rope_scaling: { type: "linear", rope_type: "default" } }, `type must be "default": another value is not supported, found "linear"`],
    [{ rope_scaling: { type: "linear", factor: "2" } }, `rope_scaling: factor must be a positive number, found "2"`],
    [{ rope_scaling: { ...yarn, attn_factor: 0.9 } }, "attn_factor must be 1: another value is not supported, found 0.9"],
    [{ rope_scaling: { ...longrope, short_factor: [1] } }, "short_factor must be a list of 4 positive numbers, found [1]"],
    [
      { rope_scaling: { type: "dynamic", factor: 2 }, max_position_embeddings: null },
      "max_position_embeddings must be an integer >= 1, found nothing",
    ],
    [{ eos_token_id: [1, 43] }, "eos_token_id must be the id of a token or a list of them, below vocab_size, 43, found [1,43]"],
    [
      { model_type: "qwen2", sliding_window: 3, layer_types: ["full_attention", "sliding_attention"] },
      `layer_types must be a list of full_attention, ${off}, found ["full_attention","sliding_attention"]`,
    ],
    [
      { model_type: "mistral", sliding_window: 3, layer_types: ["full_attention", "sliding_attention"] },
      `layer_types must be that of sliding_window for all layers, found ["full_attention","sliding_attention"]`,
    ],
  ])
    await refused({ ...LLAMA, ...more }, decoderShapes({ ...LLAMA, ...more }), sentence);
});

const VIT = {
  model_type: "vit",
  hidden_size: 16,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  intermediate_size: 24,
  hidden_act: "gelu_new",
  image_size: 8,
  patch_size: 4,
  num_channels: 2,
  qkv_bias: true,
  layer_norm_eps: 1e-12,
};

function vitShapes(c, labels) {
  const two = (v) => (Array.isArray(v) ? v : [v, v]);
  const [image, patch] = [two(c.image_size), two(c.patch_size)];
  const hidden = c.hidden_size;
  const patches = Math.floor(image[0] / patch[0]) * Math.floor(image[1] / patch[1]);
  const shapes = {
    "vit.embeddings.cls_token": [1, 1, hidden],
    "vit.embeddings.position_embeddings": [1, patches + 1, hidden],
    "vit.embeddings.patch_embeddings.projection.weight": [hidden, c.num_channels, ...patch],
    "vit.embeddings.patch_embeddings.projection.bias": [hidden],
  };
  const dense = (name, outputs, inputs, bias = true) => {
    shapes[`${name}.weight`] = [outputs, inputs];
    if (bias) shapes[`${name}.bias`] = [outputs];
  };
  const norm = (name) => ["weight", "bias"].forEach((w) => (shapes[`${name}.${w}`] = [hidden]));
  for (let l = 0; l < c.num_hidden_layers; l++) {
    const at = `vit.encoder.layer.${l}`;
    for (const name of ["query", "key", "value"]) dense(`${at}.attention.attention.${name}`, hidden, hidden, c.qkv_bias);
    dense(`${at}.attention.output.dense`, hidden, hidden);
    dense(`${at}.intermediate.dense`, c.intermediate_size, hidden);
    dense(`${at}.output.dense`, hidden, c.intermediate_size);
    norm(`${at}.layernorm_before`);
    norm(`${at}.layernorm_after`);
  }
  norm("vit.layernorm");
  dense("classifier", labels, hidden);
  return shapes;
}

test("ViT: images and patches of any rows and columns, no biases, labels by number and by name", async () => {
  for (const [more, labels] of [
    [{}, ["LABEL_0", "LABEL_1"]],
    [{ num_labels: 3, image_size: [8, 12] }, ["LABEL_0", "LABEL_1", "LABEL_2"]],
    [
      { id2label: { 10: "k", 0: "a", ...Object.fromEntries([..."bcdefghij"].map((l, i) => [i + 1, l])) }, qkv_bias: false },
      [..."abcdefghijk"],
    ],
    [{ id2label: { 1: "b", 2: "c" }, image_size: [6, 9], patch_size: [3, 2] }, ["LABEL_0", "b"]],
    [{ image_size: 11 }, ["LABEL_0", "LABEL_1"]],
  ]) {
    const config = { ...VIT, ...more };
    const weights = randomWeights(5, vitShapes(config, labels.length));
    const vit = await loadPretrained(await checkpoint(config, weights), { task: "image-classification" });
    assert.equal(vit.labels, labels);
    const [height, width] = Array.isArray(config.image_size) ? config.image_size : [config.image_size, config.image_size];
    const image = await tensor(new Random(6).normal(2 * height * width), [2, height, width]).array();
    const want = vitLogits(config, weights, image);
    const got = await vit.logits(tensor([image]));
    near(await got.data(), want, 1e-5 * Math.max(...want.map(Math.abs)), JSON.stringify(more));
    vit.dispose();
  }
  await refused({ ...VIT, id2label: {} }, vitShapes(VIT, 2), "id2label must be an object of at least one label, found {}");
  await refused({ ...VIT, patch_size: 9 }, vitShapes(VIT, 2), "patch_size must be at most image_size, 8 x 8, found 9");
});

const bert = modelPath("hf/bert");
const gpt2 = modelPath("hf/gpt2");

/** A folder's configuration and weights with more of both. */
async function extended(folder, more, tensors) {
  const { readSafetensors } = await import("../../build/esm/safetensors/index.js");
  const own = (await readSafetensors(`${folder}/model.safetensors`)).tensors;
  const weights = Object.fromEntries([...own].map(([name, { shape, data }]) => [name, { shape, data }]));
  return checkpoint({ ...json(`${folder}/config.json`), ...more }, { ...weights, ...tensors(weights) });
}

test("BERT: the heads of classifiers give logits; those of pretraining are left out, others are refused", async () => {
  const golden = json(`${bert}/golden.json`);
  const { input_ids: inputIds, token_type_ids: tokenTypeIds, attention_mask: attentionMask } = golden;
  const random = new Random(7);
  const head = (name, labels) => ({
    [`${name}.weight`]: { shape: [labels, 32], data: random.normal(32 * labels) },
    [`${name}.bias`]: { shape: [labels], data: random.normal(labels) },
  });
  const logits = (weights, name, x) =>
    Array.from(weights[`${name}.bias`].data, (b, o) => x.reduce((sum, v, i) => sum + v * weights[`${name}.weight`].data[o * 32 + i], b));
  const encoded = async (className, more, weights) => {
    const model = await loadPretrained(await extended(bert, { architectures: [className], ...more }, () => weights));
    return model.encode({ inputIds, tokenTypeIds, attentionMask });
  };
  const three = { id2label: { 0: "a", 1: "b", 2: "c" } };
  const classifier = head("classifier", 3);
  const whole = await encoded("BertForSequenceClassification", three, classifier);
  near(
    await whole.logits.data(),
    golden.pooler_output.map((x) => logits(classifier, "classifier", x)),
    1e-4,
    "of texts",
  );
  const qa = head("qa_outputs", 2);
  for (const [className, name, more, weights] of [
    ["BertForTokenClassification", "classifier", three, classifier],
    ["BertForQuestionAnswering", "qa_outputs", {}, qa],
  ]) {
    const rows = await (await encoded(className, more, weights)).logits.array();
    const counted = (list) => attentionMask.flatMap((mask, b) => mask.flatMap((one, t) => (one ? [list[b][t]] : [])));
    near(
      counted(rows).flat(),
      counted(golden.last_hidden_state).map((x) => logits(weights, name, x)),
      1e-4,
      className,
    );
  }
  const pretrained = await encoded("BertForMaskedLM", {}, head("cls.predictions.decoder", 100));
  assert.is(pretrained.logits, null);
  near(await pretrained.poolerOutput.data(), golden.pooler_output, golden.atol, "with the head of pretraining");
  await encoded("BertForMultipleChoice", {}, head("classifier", 1)).then(assert.unreachable, (e) =>
    assert.match(e.message, /the model has no use for "classifier\./),
  );
});

test("GPT-2 with a head of its own", async () => {
  const golden = json(`${gpt2}/golden.json`);
  const of = async (more, scale) => {
    const files = await extended(gpt2, more, (weights) => {
      const { shape, data } = weights["transformer.wte.weight"] ?? weights["wte.weight"];
      return { "lm_head.weight": { shape, data: data.map((v) => v * scale) } };
    });
    return (await (await loadPretrained(files)).logits(golden.input_ids)).data();
  };
  near(await of({}, 2), golden.logits, golden.atol, "tied: the embeddings");
  near(
    await of({ tie_word_embeddings: false }, 2),
    golden.logits.map((r) => r.map((v) => 2 * v)),
    2 * golden.atol,
    "twice as large",
  );
});

test.run();

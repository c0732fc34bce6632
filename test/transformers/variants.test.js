/** What checkpoints of the architectures differ in: windows, biases, tied heads, forms of the configuration, pooling of sentences. */
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ArgumentError, FileError, LockstepError, open } from "../../build/esm/index.js";
import { readSafetensors, writeSafetensors } from "../../build/esm/safetensors/index.js";
import { loadPretrained } from "../../build/esm/transformers/index.js";
import { json, modelPath } from "../models/index.js";
import { near } from "./cases.js";

const backend = await open("wasm");
test.after(() => backend.close());

const encode = (value) => new TextEncoder().encode(JSON.stringify(value));

/** A folder's files with another configuration, and other tensors. */
async function changed(name, change, changeTensors = () => {}, more = {}) {
  const folder = modelPath(`hf/${name}`);
  const { tensors } = await readSafetensors(`${folder}/model.safetensors`);
  changeTensors(tensors);
  return {
    "config.json": encode(change(json(`${folder}/config.json`))),
    "model.safetensors": await writeSafetensors(Object.fromEntries([...tensors].map(([key, { shape, data }]) => [key, { shape, data }]))),
    ...more,
  };
}

const golden = json(`${modelPath("hf/llama-rope-scaled")}/golden.json`);
const ids = golden.input_ids;
const logitsOf = async (files) => (await (await loadPretrained(await files)).logits(ids)).data();
const rows = (data, from, to) => [...data.subarray(from * 97, to * 97)];

test("Mistral: a window of all tokens is none; a short one hides what is further back", async () => {
  const mistral = (window) =>
    changed("llama-rope-scaled", (c) => ({ ...c, model_type: "mistral", architectures: ["MistralForCausalLM"], sliding_window: window }));
  for (const window of [null, 40, 4096]) near(await logitsOf(mistral(window)), golden.logits, golden.atol, `window ${window}`);
  const short = await logitsOf(mistral(4));
  near(rows(short, 0, 4), golden.logits.slice(0, 4), golden.atol, "the first four tokens");
  assert.ok(rows(short, 8, 40).some((v, i) => Math.abs(v - golden.logits.slice(8).flat()[i]) > 0.01));
});

test("windows by layer, as layer_types and max_window_layers say", async () => {
  const qwen = (more) =>
    changed(
      "qwen3",
      (c) => ({ ...c, sliding_window: 3, ...more }),
      () => {},
    );
  const of = async (more) => (await (await loadPretrained(await qwen(more))).logits(ids.map((i) => i % 97))).data();
  const all = await of({});
  const second = await of({ use_sliding_window: true, layer_types: ["full_attention", "sliding_attention"] });
  assert.not.equal(all, second);
  assert.equal(await of({ use_sliding_window: true, max_window_layers: 1 }), second);
  assert.equal(await of({ use_sliding_window: false, max_window_layers: 1 }), all);
  assert.not.equal(await of({ use_sliding_window: true, max_window_layers: 0 }), second);
  await loadPretrained(await qwen({ layer_types: ["full_attention"] })).then(assert.unreachable, (e) =>
    assert.match(e.message, /a list of 2/),
  );
  await loadPretrained(await qwen({ layer_types: ["full_attention", "chunked_attention"] })).then(assert.unreachable, (e) =>
    assert.match(e.message, /layer_types.*chunked_attention/),
  );
});

test("Llama with biases of attention and the feed-forward block", async () => {
  const sizes = { q_proj: 32, k_proj: 32, v_proj: 32, o_proj: 32, gate_proj: 64, up_proj: 64, down_proj: 32 };
  const withBias = (value) =>
    changed(
      "llama-rope-scaled",
      (c) => ({ ...c, attention_bias: true, mlp_bias: true }),
      (tensors) => {
        for (let layer = 0; layer < 2; layer++)
          for (const [name, size] of Object.entries(sizes))
            tensors.set(`model.layers.${layer}.${/gate|up|down/.test(name) ? "mlp" : "self_attn"}.${name}.bias`, {
              shape: [size],
              data: new Float32Array(size).fill(value),
            });
      },
    );
  near(await logitsOf(withBias(0)), golden.logits, golden.atol, "biases of 0");
  assert.ok((await logitsOf(withBias(0.1))).some((v, i) => Math.abs(v - golden.logits.flat()[i]) > 0.01));
  // Biases that the configuration does not speak of are no part of the model.
  const error = await loadPretrained({ ...(await withBias(0)), "config.json": `${modelPath("hf/llama-rope-scaled")}/config.json` }).catch(
    (e) => e,
  );
  assert.instance(error, FileError);
  assert.match(error.message, /no use for .*bias/);
});

test("a tied head may be in the file, one that is not tied must", async () => {
  const copy = (tensors) => tensors.set("lm_head.weight", tensors.get("model.embed_tokens.weight"));
  near(await logitsOf(changed("llama-rope-scaled", (c) => c, copy)), golden.logits, golden.atol, "tied, with a copy");
  near(
    await logitsOf(changed("llama-rope-scaled", (c) => ({ ...c, tie_word_embeddings: false }), copy)),
    golden.logits,
    golden.atol,
    "own",
  );
  const error = await logitsOf(changed("llama-rope-scaled", (c) => ({ ...c, tie_word_embeddings: false }))).catch((e) => e);
  assert.match(error.message, /lm_head\.weight/);
});

test("rotary positions in the forms of Transformers 4 and 5, and of older files", async () => {
  const rope = ({ rope_scaling: scaling, rope_theta: theta, ...c }, more) => ({ ...c, ...more(scaling, theta) });
  const forms = [
    (scaling, theta) => ({ rope_parameters: { ...scaling, rope_theta: theta } }),
    ({ rope_type: type, ...scaling }, theta) => ({ rope_scaling: { type, ...scaling }, rope_theta: theta }),
    (scaling, theta) => ({ rope_scaling: { ...scaling, type: "llama3" }, rope_theta: theta }),
  ];
  for (const form of forms)
    near(await logitsOf(changed("llama-rope-scaled", (c) => rope(c, form))), golden.logits, golden.atol, String(form));
  // Twice as far apart by a factor of 1/2 of linear scaling: positions 0, 2, 4 ...
  const plain = { rope_scaling: null };
  const half = { rope_scaling: { rope_type: "linear", factor: 2 } };
  const [a, b] = await Promise.all([plain, half].map((more) => logitsOf(changed("llama-rope-scaled", (c) => ({ ...c, ...more })))));
  near(rows(a, 0, 1), [rows(b, 0, 1)], 1e-6, "position 0");
  assert.ok(rows(a, 5, 6).some((v, i) => Math.abs(v - rows(b, 5, 6)[i]) > 0.01));
});

test("what generation_config.json says ends texts", async () => {
  const files = await changed("llama-rope-scaled", (c) => c, undefined, { "generation_config.json": encode({ eos_token_id: [5, 6] }) });
  assert.equal((await loadPretrained(files)).eosTokenIds, [5, 6]);
});

const words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "dog", "cat", "##s", "run", "."];
const wordPiece = {
  version: "1.0",
  added_tokens: words.slice(0, 4).map((content, id) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  })),
  normalizer: { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true },
  pre_tokenizer: { type: "BertPreTokenizer" },
  post_processor: { type: "BertProcessing", sep: ["[SEP]", 3], cls: ["[CLS]", 2] },
  decoder: { type: "WordPiece", prefix: "##", cleanup: true },
  model: {
    type: "WordPiece",
    unk_token: "[UNK]",
    continuing_subword_prefix: "##",
    max_input_chars_per_word: 100,
    vocab: Object.fromEntries(words.map((w, i) => [w, i])),
  },
};

test("vectors of sentences: the mean, the first, the largest; of length 1; with padding and without", async () => {
  const files = await changed("bert", (c) => c, undefined, { "tokenizer.json": encode(wordPiece) });
  const bert = await loadPretrained(files, { task: "feature-extraction" });
  const texts = ["The dogs run.", "the cat"];
  assert.equal(bert.tokenizer.encode(texts[0]), [2, 4, 5, 7, 8, 9, 3]);
  const embedded = async (options) => (await bert.embed(texts, options)).array();
  const encoded = async (text) => {
    const inputIds = [bert.tokenizer.encode(text)];
    return (await (await bert.encode({ inputIds })).lastHiddenState.array())[0];
  };
  const pooled = {
    mean: (list) => list[0].map((_, f) => list.reduce((sum, row) => sum + row[f], 0) / list.length),
    cls: (list) => list[0],
    max: (list) => list[0].map((_, f) => Math.max(...list.map((row) => row[f]))),
  };
  for (const pooling of ["mean", "cls", "max"]) {
    const want = await Promise.all(texts.map(async (text) => pooled[pooling](await encoded(text))));
    near((await embedded({ pooling, normalize: false })).flat(), want, 1e-5, pooling);
    const lengths = want.map((row) => Math.hypot(...row));
    near(
      (await embedded({ pooling })).flat(),
      want.map((row, i) => row.map((v) => v / lengths[i])),
      1e-5,
      `${pooling} of length 1`,
    );
  }
  assert.equal(await embedded({}), await embedded({ pooling: "mean", normalize: true }));
  assert.equal((await bert.embed("the cat")).shape, [1, 32]);
  const first = await loadPretrained({ ...files, "1_Pooling/config.json": encode({ pooling_mode_cls_token: true }) });
  assert.equal(await (await first.embed(texts)).array(), await embedded({ pooling: "cls" }));
  // As Sentence Transformers' files say: where the pooling is, whether vectors have the length 1, and texts small letters.
  const module = (kind, path) => ({ type: `sentence_transformers.models.${kind}`, path });
  const sentences = async (modules, more) => {
    const list = [module("Transformer", ""), ...modules];
    const config = { pooling_mode_max_tokens: true, pooling_mode_mean_tokens: false };
    return loadPretrained({ ...files, "modules.json": encode(list), "2_Pooling/config.json": encode(config), ...more });
  };
  const pooling = module("Pooling", "2_Pooling");
  const raw = await sentences([pooling]);
  assert.equal(await (await raw.embed(texts)).array(), await embedded({ pooling: "max", normalize: false }));
  const unit = await sentences([pooling, module("Normalize", "3_Normalize")]);
  assert.equal(await (await unit.embed(texts)).array(), await embedded({ pooling: "max" }));
  const cased = { ...wordPiece, normalizer: { ...wordPiece.normalizer, lowercase: false } };
  const lower = await sentences([pooling], {
    "tokenizer.json": encode(cased),
    "sentence_bert_config.json": encode({ max_seq_length: 12, do_lower_case: true }),
  });
  assert.equal(await (await lower.embed(texts)).array(), await (await raw.embed(texts)).array());
  // What is too long is cut, and ends as texts do.
  const short = await loadPretrained(files, { contextLength: 4 });
  near(
    (await (await short.embed("the dogs run .", { pooling: "cls", normalize: false })).data()).slice(),
    [(await (await bert.encode({ inputIds: [[2, 4, 5, 3]] })).lastHiddenState.array())[0][0]],
    1e-5,
    "cut",
  );
  const refused = async (action, type, pattern) => {
    const error = await action().catch((e) => e);
    assert.instance(error, type);
    assert.match(error.message, pattern);
  };
  await refused(() => lower.embed([3]), ArgumentError, /expected a text/);
  await refused(() => sentences([]), FileError, /modules\.json must name a Pooling/);
  await refused(() => sentences([module("Pooling", "1_Pooling")]), FileError, /no 1_Pooling\/config\.json, which modules\.json names/);
  await refused(() => sentences([module("Pooling", "..")]), FileError, /path must be a folder of the model's, found \.\./);
  await refused(() => bert.embed([]), ArgumentError, /a text or a list/);
  await refused(() => bert.embed(texts, { pooling: "sum" }), ArgumentError, /mean, cls, max/);
  await refused(() => bert.embed([3]), ArgumentError, /expected a text/);
  const without = await loadPretrained(modelPath("hf/bert"));
  await refused(() => without.embed("a"), LockstepError, /embed: the checkpoint has no tokenizer\.json/);
});

test("packages that are missing are named, and given by hand they are used", async () => {
  const { Tokenizer, tokenizerOf } = await import("../../build/esm/transformers/tokenizer.js");
  const missing = new Error("Cannot find package");
  const none = new Tokenizer(missing, missing, { chat_template: "x" });
  assert.throws(
    () => none.encode("a"),
    /encode: tokenizers need the package @huggingface\/tokenizers \(npm install @huggingface\/tokenizers\)/,
  );
  assert.throws(
    () => none.applyChatTemplate([]),
    /chat templates need the package @huggingface\/jinja \(npm install @huggingface\/jinja\)/,
  );
  assert.is(none.isAvailable, false);
  class Fake {
    encode = (text) => ({ ids: [text.length] });
    decode = (list) => `<${list}>`;
    token_to_id = () => undefined;
  }
  const given = await tokenizerOf({ tokenizer: {}, config: {} }, { tokenizers: { Tokenizer: Fake }, jinja: undefined });
  assert.equal([given.encode("abc"), given.decode([1, 2]), given.tokenId("x")], [[3], "<1,2>", null]);
  class Bad {
    constructor() {
      throw new TypeError("Unknown Model type");
    }
  }
  const bad = await tokenizerOf({ tokenizer: {}, config: {} }, { tokenizers: { Tokenizer: Bad }, jinja: undefined });
  assert.throws(() => bad.encode("a"), /cannot read the checkpoint's tokenizer\.json: Unknown Model type/);
  assert.ok(readFileSync(new URL("../../package.json", import.meta.url), "utf8").includes('"@huggingface/tokenizers"'));
});

test.run();

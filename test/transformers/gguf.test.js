/** GGUF files as models: made of the checkpoints here as llama.cpp's converter makes them, and their tokenizers. */
import { readdirSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { FileError, LockstepError, open } from "../../build/esm/index.js";
import { dequantize } from "../../build/esm/gguf/index.js";
import { readSafetensors } from "../../build/esm/safetensors/index.js";
import { Random } from "../../build/esm/random.js";
import { loadPretrained } from "../../build/esm/transformers/index.js";
import { writeGguf } from "../gguf/writer.js";
import { json, modelPath } from "../models/index.js";
import { near } from "./cases.js";

const backend = await open("wasm");
test.after(() => backend.close());

const NAMES = {
  "model.embed_tokens": "token_embd",
  "model.norm": "output_norm",
  lm_head: "output",
  input_layernorm: "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  "self_attn.q_norm": "attn_q_norm",
  "self_attn.k_norm": "attn_k_norm",
  post_attention_layernorm: "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
};

function nameOf(name) {
  const [, layer, rest] = /^model\.layers\.(\d+)\.(.*)$/.exec(name) ?? [];
  const [, part, kind] = /^(.*)\.(weight|bias)$/.exec(rest ?? name);
  return `${layer === undefined ? "" : `blk.${layer}.`}${NAMES[part]}.${kind}`;
}

/** Rows as llama.cpp's converter orders queries and keys: reshape(heads, 2, half).swapaxes(1, 2). */
function paired(data, heads, rows) {
  const [columns, headDim] = [data.length / rows, rows / heads];
  const out = new Float32Array(data.length);
  let to = 0;
  for (let h = 0; h < heads; h++)
    for (let i = 0; i < headDim / 2; i++)
      for (let half = 0; half < 2; half++) {
        const from = (h * headDim + (half * headDim) / 2 + i) * columns;
        out.set(data.subarray(from, from + columns), to);
        to += columns;
      }
  return out;
}

const f32 = (name, shape, data) => ({ name, type: 0, shape, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) });

/** A folder's checkpoint as a GGUF file of f32. `more`: metadata behind that of the architecture; tokens beyond the model's have zeros. */
async function converted(folder, more = []) {
  const rows = new Map(more).get("tokenizer.ggml.tokens")?.[1].length ?? 0;
  const config = json(`${folder}/config.json`);
  const arch = config.model_type;
  const tensors = [];
  const heads = { q_proj: config.num_attention_heads, k_proj: config.num_key_value_heads };
  for (const file of readdirSync(folder).filter((f) => f.endsWith(".safetensors")))
    for (const [name, { shape, data }] of (await readSafetensors(`${folder}/${file}`)).tensors) {
      const [, projection] = /self_attn\.(q_proj|k_proj)/.exec(name) ?? [];
      if (/embed_tokens|lm_head/.test(name) && rows > shape[0]) {
        const wider = new Float32Array(rows * shape[1]);
        wider.set(data);
        tensors.push(f32(nameOf(name), [rows, shape[1]], wider));
        continue;
      }
      tensors.push(f32(nameOf(name), shape, arch === "llama" && projection ? paired(data, heads[projection], shape[0]) : data));
    }
  const rope = config.rope_parameters ?? config;
  const headDim = config.head_dim ?? config.hidden_size / config.num_attention_heads;
  if (config.rope_scaling) {
    // As the converter works out the rule of Llama 3.1.
    const { factor, low_freq_factor: low, high_freq_factor: high, original_max_position_embeddings: old } = config.rope_scaling;
    const factors = Float32Array.from({ length: headDim / 2 }, (_, i) => {
      const wave = 2 * Math.PI * config.rope_theta ** ((2 * i) / headDim);
      if (wave < old / high) return 1;
      if (wave > old / low) return factor;
      const smooth = (old / wave - low) / (high - low);
      return 1 / ((1 - smooth) / factor + smooth);
    });
    tensors.push(f32("rope_freqs.weight", [headDim / 2], factors));
  }
  const number = (key, value) => [`${arch}.${key}`, ["u32", value]];
  return writeGguf(
    [
      ["general.architecture", ["string", arch]],
      number("block_count", config.num_hidden_layers),
      number("context_length", config.max_position_embeddings),
      number("embedding_length", config.hidden_size),
      number("feed_forward_length", config.intermediate_size),
      number("attention.head_count", config.num_attention_heads),
      number("attention.head_count_kv", config.num_key_value_heads),
      ...(config.head_dim ? [number("attention.key_length", headDim), number("attention.value_length", headDim)] : []),
      [`${arch}.attention.layer_norm_rms_epsilon`, ["f32", config.rms_norm_eps]],
      [`${arch}.rope.freq_base`, ["f32", rope.rope_theta]],
      ...more,
    ],
    tensors,
  );
}

for (const name of ["llama-rope-scaled", "qwen2-bf16-sharded", "qwen3"])
  test(`${name}: converted, it gives what the reference does`, async () => {
    const folder = modelPath(`hf/${name}`);
    const golden = json(`${folder}/golden.json`);
    const lm = await loadPretrained(await converted(folder));
    near(await (await lm.logits(golden.input_ids)).data(), golden.logits, golden.atol, "logits");
  });

const llama = modelPath("hf/llama-rope-scaled");

test("stretched positions are those of a folder that says the same: linear, a factor alone, yarn", async () => {
  const qwen3 = modelPath("hf/qwen3");
  const golden = json(`${qwen3}/golden.json`);
  const config = json(`${qwen3}/config.json`);
  const yarn = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32, beta_fast: 4, beta_slow: 0.5 };
  const linear = { rope_type: "linear", factor: 2.5 };
  const key = (name, kind, value) => [`qwen3.rope.scaling.${name}`, [kind, value]];
  const lengths = [key("original_context_length", "u32", 32), key("yarn_beta_fast", "f32", 4), key("yarn_beta_slow", "f32", 0.5)];
  for (const [more, scaling] of [
    [[key("type", "string", "linear"), key("factor", "f32", 2.5)], linear],
    [[key("factor", "f32", 2.5)], linear],
    [[["qwen3.rope.scale_linear", ["f32", 2.5]]], linear],
    [[key("type", "string", "none"), key("factor", "f32", 2.5)], { rope_type: "default" }],
    [[key("type", "string", "yarn"), key("factor", "f32", 4), key("finetuned", "bool", true), ...lengths], yarn],
  ]) {
    const theta = config.rope_parameters?.rope_theta ?? config.rope_theta;
    const folder = {
      "config.json": new TextEncoder().encode(JSON.stringify({ ...config, rope_parameters: { ...scaling, rope_theta: theta } })),
      "model.safetensors": `${qwen3}/model.safetensors`,
    };
    const [a, b] = await Promise.all(
      [converted(qwen3, more), folder].map(async (s) => (await loadPretrained(await s)).logits(golden.input_ids)),
    );
    near(await a.data(), [[...(await b.data())]], 1e-5, JSON.stringify(scaling));
  }
});

test("weights in blocks are those that dequantize gives; blocks that are not read are named", async () => {
  const random = new Random(3);
  const hidden = 256;
  const metadata = (arch) => [
    ["general.architecture", ["string", arch]],
    [`${arch}.block_count`, ["u32", 1]],
    [`${arch}.context_length`, ["u32", 64]],
    [`${arch}.embedding_length`, ["u32", hidden]],
    [`${arch}.feed_forward_length`, ["u32", hidden]],
    [`${arch}.attention.head_count`, ["u32", 4]],
    [`${arch}.attention.layer_norm_rms_epsilon`, ["f32", 1e-5]],
  ];
  const TYPES = { Q4_1: [3, 32, 20, [0, 2]], Q4_K: [12, 256, 144, [0, 2]], Q5_K: [13, 256, 176, [0, 2]], Q6_K: [14, 256, 210, [208]] };
  for (const [type, [number, size, bytes, halves]] of Object.entries(TYPES)) {
    const matrix = (name) => {
      const blocks = Uint8Array.from(random.uniform((hidden * hidden * bytes) / size), (v) => Math.floor(v * 256));
      // Scales of about 1/4096.
      for (let b = 0; b < blocks.length; b += bytes) for (const at of halves) blocks[b + at + 1] = 0x0c;
      return { name, type: number, shape: [hidden, hidden], bytes: blocks };
    };
    const ones = (name) => f32(name, [hidden], new Float32Array(hidden).fill(1));
    const parts = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
    const tensors = [
      matrix("token_embd.weight"),
      ones("output_norm.weight"),
      ones("blk.0.attn_norm.weight"),
      ones("blk.0.ffn_norm.weight"),
      ...parts.map((part) => matrix(`blk.0.${part}.weight`)),
      ...["q", "k", "v"].map((part) => f32(`blk.0.attn_${part}.bias`, [hidden], random.normal(hidden))),
    ];
    const plain = tensors.map((t) => (t.type === 0 ? t : f32(t.name, t.shape, dequantize(type, t.bytes))));
    const [a, b] = await Promise.all(
      [tensors, plain].map(async (list) =>
        (await loadPretrained(writeGguf(metadata("qwen2"), list), { weights: "f32" })).logits([1, 2, 3]),
      ),
    );
    assert.equal(await a.data(), await b.data(), type);
    const other = tensors.map((t) => (t.name === "blk.0.ffn_up.weight" ? { ...t, type: 10, bytes: new Uint8Array(hidden * 84) } : t));
    await loadPretrained(writeGguf(metadata("qwen2"), other)).then(assert.unreachable, (e) => {
      assert.instance(e, FileError);
      assert.match(e.message, /mlp\.up_proj\.weight" holds Q2_K/);
    });
  }
});

test("what a file's architecture has that is not computed is named", async () => {
  const refused = async (more, pattern, change = (bytes) => bytes) => {
    const error = await loadPretrained(change(await converted(llama, more))).catch((e) => e);
    assert.instance(error, FileError);
    assert.match(error.message, pattern);
  };
  await refused([["llama.expert_count", ["u32", 8]]], /llama\.expert_count must be 0/);
  await refused([["llama.rope.dimension_count", ["u32", 4]]], /llama\.rope\.dimension_count must be 8/);
  await refused([["llama.rope.scaling.type", ["string", "ntk"]]], /rope_scaling: rope_type must be one of .*, found "ntk"/);
  await refused([["llama.rope.scaling.attn_factor", ["f32", 0.5]]], /llama\.rope\.scaling\.attn_factor must be absent.*found 0\.5/);
  const renamed = writeGguf([["general.architecture", ["string", "gemma3"]]], []);
  await loadPretrained(renamed).then(assert.unreachable, (e) =>
    assert.match(e.message, /general\.architecture must be one of.*found "gemma3"/),
  );
});

/** GPT-2's characters for bytes: printable ones are themselves, the others follow behind 255. */
function characters() {
  const printable = (b) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(printable(b) ? b : next++));
}

const bytes = characters();
const pairs = ["h e", "l l", "he ll", "hell o", "Ġ w", "Ġw o", "1 2"];
const tokens = [...bytes, ...pairs.map((p) => p.replace(" ", "")), "<|begin|>", "<|im_end|>"];
const types = tokens.map((t) => (t.startsWith("<|") ? 3 : 1));
const bpe = (pre, more = []) => [
  ["tokenizer.ggml.model", ["string", "gpt2"]],
  ["tokenizer.ggml.pre", ["string", pre]],
  ["tokenizer.ggml.tokens", ["array", tokens, "string"]],
  ["tokenizer.ggml.token_type", ["array", types, "i32"]],
  ["tokenizer.ggml.merges", ["array", pairs, "string"]],
  ["tokenizer.ggml.bos_token_id", ["u32", tokens.length - 2]],
  ...more,
];
const id = (...list) => list.map((t) => tokens.indexOf(t));

test("a tokenizer of bytes: splits, pairs, special tokens, ends, the chat template", async () => {
  const template = "{{ bos_token }}{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}";
  const qwen = await loadPretrained(await converted(llama, bpe("qwen2", [["tokenizer.chat_template", ["string", template]]])));
  assert.equal(qwen.tokenizer.encode("hello world"), id("hello", "Ġwo", "r", "l", "d"));
  // Digits are apart, and the e is composed.
  assert.equal(qwen.tokenizer.encode("12"), id("1", "2"));
  assert.equal(qwen.tokenizer.encode("e\u0301"), id(bytes[0xc3], bytes[0xa9]));
  const text = "hello  wörld 123\n\n Ünïcödé 日本語 🙂!";
  assert.is(qwen.tokenizer.decode(qwen.tokenizer.encode(text)), text);
  assert.equal(qwen.eosTokenIds, id("<|im_end|>"));
  const chat = qwen.tokenizer.applyChatTemplate([{ role: "user", content: "hello" }]);
  assert.is(chat, "<|begin|>hello<|im_end|>");
  assert.equal(qwen.tokenizer.encode(chat, { addSpecialTokens: false }), id("<|begin|>", "hello", "<|im_end|>"));
  assert.is(qwen.tokenizer.decode(id("<|begin|>", "hello")), "hello");
  assert.is(qwen.tokenizer.decode(id("<|begin|>", "hello"), { skipSpecialTokens: false }), "<|begin|>hello");
  assert.is(qwen.tokenizer.tokenId("hello"), tokens.indexOf("hello"));

  // Llama 3 begins texts, and takes up to three digits together.
  const llama3 = await loadPretrained(await converted(llama, bpe("llama-bpe")));
  assert.equal(llama3.tokenizer.encode("12"), id("<|begin|>", "12"));
  const without = await loadPretrained(await converted(llama, bpe("llama-bpe", [["tokenizer.ggml.add_bos_token", ["bool", false]]])));
  assert.equal(without.tokenizer.encode("12"), id("12"));
});

test("a tokenizer that is not known is named where it is used; ids still work", async () => {
  const lm = await loadPretrained(await converted(llama, bpe("viking")));
  assert.is((await lm.logits([1, 2])).shape[0], 2);
  assert.throws(
    () => lm.tokenizer.encode("a"),
    (e) => e instanceof LockstepError && /encode: tokenizer\.ggml\.pre must be one of .*found viking/.test(e.message),
  );
  const none = await loadPretrained(await converted(llama));
  assert.throws(() => none.tokenizer.encode("a"), /encode: the file has no tokenizer|no tokenizer/);
});

test("the bytes of a character over several tokens come with the last of them", async () => {
  const { TextStream } = await import("../../build/esm/transformers/stream.js");
  const { tokenizer } = await loadPretrained(await converted(llama, bpe("qwen2")));
  const text = "hello 日本 🙂 é!";
  const ids = tokenizer.encode(text);
  const stream = new TextStream(tokenizer, []);
  const parts = ids.map((t) => stream.put(t));
  assert.is(parts.join("") + stream.end(), text);
  assert.ok(
    parts.every((part) => !part.includes("\ufffd")),
    JSON.stringify(parts),
  );
  assert.ok(parts.includes("🙂") && parts.includes("日"));
  // What is cut off is shown as such at the end alone.
  const cut = new TextStream(tokenizer, tokenizer.encode("hello"));
  const smile = tokenizer.encode("🙂");
  assert.equal(
    smile.slice(0, 3).map((t) => cut.put(t)),
    ["", "", ""],
  );
  assert.match(cut.end(), /^\ufffd+$/);
});

test.run();

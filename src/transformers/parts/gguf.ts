/** @file GGUF files as checkpoints: their metadata as a configuration, their tensors under Hugging Face's names and in its order. */
import { cut } from "../../io/safetensors.ts";
import type { RangeSource } from "../../io/ranges.ts";
import { FileError, LockstepError } from "../../errors.ts";
import { dequantize, openGguf } from "../../gguf/index.ts";
import type { GgufFile, GgufInfo } from "../../gguf/index.ts";
import type { Checkpoint, StoredTensor } from "../checkpoint.ts";
import { Config } from "../config.ts";
import type { Json } from "../config.ts";
import { eosTokens, tokenizerOfGguf } from "../gguf-tokenizer.ts";

/** Hugging Face's names of a layer's tensors. */
const OF_LAYER: { readonly [name: string]: string } = {
  attn_norm: "input_layernorm",
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_output: "self_attn.o_proj",
  attn_q_norm: "self_attn.q_norm",
  attn_k_norm: "self_attn.k_norm",
  ffn_norm: "post_attention_layernorm",
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
};

const OTHERS: { readonly [name: string]: string } = {
  "token_embd.weight": "model.embed_tokens.weight",
  "output_norm.weight": "model.norm.weight",
  "output.weight": "lm_head.weight",
};

/** What rotary frequencies are divided by: Llama 3.1's rule, worked out when the file was made. */
const FACTORS = "rope_freqs.weight";

/** Hugging Face's name, or the file's own where there is none. */
function nameOf(name: string): string {
  if (Object.hasOwn(OTHERS, name)) return OTHERS[name];
  const [, layer, part, kind] = /^blk\.(\d+)\.(\w+)\.(weight|bias)$/.exec(name) ?? [];
  return part !== undefined && Object.hasOwn(OF_LAYER, part) ? `model.layers.${layer}.${OF_LAYER[part]}.${kind}` : name;
}

const ARCHITECTURES = { llama: "llama", qwen2: "qwen2", qwen3: "qwen3" };

/** What is said of stretched positions, by its name in config.json. */
const SCALING: { readonly [name: string]: string } = {
  type: "rope_type",
  factor: "factor",
  original_context_length: "original_max_position_embeddings",
  yarn_beta_fast: "beta_fast",
  yarn_beta_slow: "beta_slow",
  finetuned: "",
};

/** Metadata of the architecture, under the names of config.json. @throws FileError naming what is not known */
function configOf(who: string, file: GgufFile): Json {
  const { metadata, tensors } = file;
  const given = new Config(who, Object.fromEntries(metadata));
  const architecture = given.oneOf("general.architecture", ARCHITECTURES);
  const key = (name: string): string => `${architecture}.${name}`;
  const has = (name: string): boolean => tensors.has(name);
  if (given.has(key("expert_count")) && metadata.get(key("expert_count")) !== 0)
    throw given.fault(key("expert_count"), "0: mixtures of experts are not supported");
  const [hidden, heads] = ["embedding_length", "attention.head_count"].map((name) => given.count(key(name)));
  const headDim = given.count(key("attention.key_length"), Math.max(1, Math.floor(hidden / heads)));
  for (const name of ["rope.dimension_count", "attention.value_length"]) given.must(key(name), headDim);
  const scaling: { [name: string]: unknown } = {};
  if (given.has(key("rope.scale_linear"))) scaling.factor = metadata.get(key("rope.scale_linear"));
  for (const [name, value] of metadata) {
    if (!name.startsWith(key("rope.scaling."))) continue;
    const own = name.slice(key("rope.scaling.").length);
    if (!Object.hasOwn(SCALING, own)) throw given.fault(name, "absent: what it changes is not known");
    if (SCALING[own] !== "") scaling[SCALING[own]] = value;
  }
  // A factor alone stretches all positions alike.
  scaling.rope_type ??= scaling.factor === undefined ? "none" : "linear";
  const window = given.has(key("attention.sliding_window")) ? given.count(key("attention.sliding_window")) : null;
  return {
    // Mistral's files say llama.
    model_type: architecture === "llama" && window !== null ? "mistral" : architecture,
    vocab_size: tensors.get("token_embd.weight")?.shape[0],
    hidden_size: hidden,
    intermediate_size: given.count(key("feed_forward_length")),
    num_hidden_layers: given.count(key("block_count")),
    num_attention_heads: heads,
    num_key_value_heads: given.count(key("attention.head_count_kv"), heads),
    head_dim: headDim,
    rms_norm_eps: rounded(given.positive(key("attention.layer_norm_rms_epsilon"))),
    rope_theta: given.positive(key("rope.freq_base"), 10000),
    ...(scaling.rope_type === "none" ? {} : { rope_scaling: scaling }),
    max_position_embeddings: given.count(key("context_length")),
    ...(window === null ? {} : { sliding_window: window, use_sliding_window: true, max_window_layers: 0 }),
    tie_word_embeddings: !has("output.weight"),
    attention_bias: has("blk.0.attn_q.bias"),
    mlp_bias: has("blk.0.ffn_gate.bias"),
    bos_token_id: metadata.get("tokenizer.ggml.bos_token_id"),
    eos_token_id: eosTokens(metadata),
  };
}

/** The number that an f32 was made of, where it has few digits. */
const rounded = (value: number): number => Number(value.toPrecision(6));

/** Row r of a head's query or key, as files of llama have them: the halves of a head's features lie between one another. */
const rowInFile = (row: number, headDim: number): number => {
  const within = row % headDim;
  const half = headDim / 2;
  return row - within + 2 * (within % half) + Math.floor(within / half);
};

function storedOf(file: GgufFile, name: string, { type, shape, byteLength, offset }: GgufInfo, headDim: number | null): StoredTensor {
  const rowBytes = shape.includes(0) ? 0 : byteLength / shape.slice(0, -1).reduce((a, b) => a * b, 1);
  const read = (from: number, to: number): Promise<Uint8Array> => file.readBytes(name, from * rowBytes, to * rowBytes);
  const base = {
    dtype: type,
    shape,
    byteLength,
    place: { file: "", offset },
    floats: (bytes: Uint8Array, out: Float32Array) => void dequantize(type, bytes, out),
  };
  if (headDim === null) return { ...base, rows: read };
  /** `count` parts of `size` bytes, of which the first is `first` of the tensor, out of whole heads that begin at `start`. */
  const reordered = (bytes: Uint8Array, first: number, count: number, size: number, start: number): Uint8Array => {
    const out = new Uint8Array(count * size);
    for (let r = 0; r < count; r++) {
      const at = (rowInFile(first + r, headDim) - start) * size;
      out.set(bytes.subarray(at, at + size), r * size);
    }
    return out;
  };
  return {
    ...base,
    rows: async (from, to) => {
      // A bias is one row.
      if (shape.length === 1) return to > from ? reordered(await read(0, 1), 0, shape[0], rowBytes / shape[0], 0) : new Uint8Array(0);
      const start = Math.floor(from / headDim) * headDim;
      const bytes = await read(start, Math.min(shape[0], Math.ceil(to / headDim) * headDim));
      return reordered(bytes, from, to - from, rowBytes, start);
    },
  };
}

/** Queries and keys of llama. */
const TURNED = /\.attn_[qk]\.(weight|bias)$/;

/** A GGUF file as a checkpoint. @throws FileError for what is wrong, and for architectures that are not known */
export async function openGgufCheckpoint(source: RangeSource): Promise<Checkpoint> {
  const file = await openGguf(source);
  const who = cut(source.name, 120);
  const values = configOf(who, file);
  const config = new Config(who, values);
  const headDim = config.count("head_dim");
  const pairs = file.metadata.get("general.architecture") === "llama";
  const tensors = new Map<string, StoredTensor>();
  for (const [name, info] of file.tensors) {
    if (name === FACTORS) continue;
    const turned = pairs && TURNED.test(name);
    if (turned && (headDim % 2 !== 0 || (info.shape[0] ?? 0) % headDim !== 0))
      throw new FileError(`${who}: "${cut(name)}" must have rows of whole heads of ${headDim}, found ${info.shape[0]}`);
    tensors.set(nameOf(name), storedOf(file, name, info, turned ? headDim : null));
  }
  return {
    who,
    config,
    tensors,
    scaling: file.tensors.has(FACTORS) ? Array.from((await file.read(FACTORS)).data) : null,
    tokenizer: async () => {
      try {
        return tokenizerOfGguf(file.metadata);
      } catch (error) {
        if (error instanceof LockstepError) return error;
        throw error;
      }
    },
  };
}

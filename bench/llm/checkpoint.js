/**
 * @file Checkpoints of random weights in the shapes of llama2.c's models (https://github.com/karpathy/llama2.c), written once as folders in
 * Hugging Face's form, which everyone who takes part reads.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync, openSync, writeSync, closeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Millions of weights -> dim, layers, heads, hidden, vocabulary, context. */
export const SHAPES = {
  "15M": { dim: 288, layers: 6, heads: 6, hidden: 768, vocabulary: 32000, context: 1024 },
  "42M": { dim: 512, layers: 8, heads: 8, hidden: 1376, vocabulary: 32000, context: 1024 },
  "110M": { dim: 768, layers: 12, heads: 12, hidden: 2048, vocabulary: 32000, context: 1024 },
};

/** Tensors by their names in the file, [out, in] each. The head is the embedding. */
export function tensorsOf({ dim, layers, hidden, vocabulary }) {
  const block = (i) =>
    Object.entries({
      "input_layernorm.weight": [dim],
      "self_attn.q_proj.weight": [dim, dim],
      "self_attn.k_proj.weight": [dim, dim],
      "self_attn.v_proj.weight": [dim, dim],
      "self_attn.o_proj.weight": [dim, dim],
      "post_attention_layernorm.weight": [dim],
      "mlp.gate_proj.weight": [hidden, dim],
      "mlp.up_proj.weight": [hidden, dim],
      "mlp.down_proj.weight": [dim, hidden],
    }).map(([name, shape]) => [`model.layers.${i}.${name}`, shape]);
  return Object.fromEntries([
    ["model.embed_tokens.weight", [vocabulary, dim]],
    ...Array.from({ length: layers }, (_, i) => block(i)).flat(),
    ["model.norm.weight", [dim]],
  ]);
}

/** Numbers of the matrices that a token reads: all of them, the embedding as the head. */
export const readWeights = (shape) =>
  Object.values(tensorsOf(shape))
    .filter(({ length }) => length === 2)
    .reduce((sum, [rows, columns]) => sum + rows * columns, 0);

function noise(count, seed, size) {
  const out = new Float32Array(count);
  let state = (seed * 2654435761 + 1) >>> 0;
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    out[i] = size * (((state ^ (state >>> 15)) >>> 8) / 2 ** 23 - 1);
  }
  return out;
}

/** The folder of a checkpoint, which is written where it is not there yet. */
export function folderOf(name) {
  const folder = join(tmpdir(), "lockstep-bench-llm", name);
  if (existsSync(join(folder, "model.safetensors"))) return folder;
  const shape = SHAPES[name];
  mkdirSync(folder, { recursive: true });
  const config = {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    hidden_size: shape.dim,
    intermediate_size: shape.hidden,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.heads,
    vocab_size: shape.vocabulary,
    max_position_embeddings: shape.context,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    hidden_act: "silu",
    tie_word_embeddings: true,
    bos_token_id: 1,
    eos_token_id: 2,
    torch_dtype: "float32",
  };
  writeFileSync(join(folder, "config.json"), JSON.stringify(config, null, 2));
  const tensors = tensorsOf(shape);
  let end = 0;
  const header = {};
  for (const [tensor, dims] of Object.entries(tensors)) {
    const bytes = 4 * dims.reduce((a, d) => a * d, 1);
    header[tensor] = { dtype: "F32", shape: dims, data_offsets: [end, (end += bytes)] };
  }
  const text = JSON.stringify(header);
  const padded = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  const part = join(folder, "model.part");
  const file = openSync(part, "w");
  writeSync(file, length);
  writeSync(file, padded);
  Object.values(tensors).forEach((dims, i) => {
    const count = dims.reduce((a, d) => a * d, 1);
    // As they are initialized, about; norms are ones.
    const data = dims.length === 1 ? new Float32Array(count).fill(1) : noise(count, i + 1, 1.5 / Math.sqrt(dims[1]));
    writeSync(file, Buffer.from(data.buffer));
  });
  closeSync(file);
  renameSync(part, join(folder, "model.safetensors"));
  return folder;
}

/** The tensors of a checkpoint, as views of the file's bytes. */
export function readCheckpoint(folder) {
  const bytes = readFileSync(join(folder, "model.safetensors"));
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString());
  return Object.fromEntries(
    Object.entries(header).map(
      ([
        name,
        {
          shape,
          data_offsets: [from, to],
        },
      ]) => {
        const at = bytes.byteOffset + 8 + length + from;
        const data =
          at % 4 === 0 ? new Float32Array(bytes.buffer, at, (to - from) / 4) : new Float32Array(bytes.buffer.slice(at, at + to - from));
        return [name, { shape, data }];
      },
    ),
  );
}

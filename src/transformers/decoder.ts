/**
 * @file Decoders of Llama's family: root mean square normalization before each block, rotary positions, queries in groups, a gated
 * feed-forward block. Architectures say what they add.
 */
import { add, dense, embedding, geglu, groupedQueryAttention, model, rmsNorm, swiglu } from "../index.ts";
import type { Layer, Tensor } from "../index.ts";
import type { Config } from "./config.ts";
import { fromTable, layersIn, linear, same, table, vector } from "./design.ts";
import type { Architecture, Design, Sources } from "./design.ts";
import { rotaryOf } from "./rope.ts";

/** What architectures of the family differ in. */
export interface DecoderKind {
  /** Biases of queries, keys and values, and that of the output. */
  readonly attentionBias: (config: Config) => { readonly useBias: boolean; readonly useOutputBias: boolean };
  /** Biases of the feed-forward block. */
  readonly mlpBias?: (config: Config) => boolean;
  /** Root mean square normalization of each head's query and key. */
  readonly queryKeyNorm?: boolean;
  /** The window of each layer; null: it sees all earlier tokens. */
  readonly windows: (config: Config, layers: number) => readonly (number | null)[];
  /** Features of a head that the configuration does not give. Default: hidden_size / num_attention_heads. */
  readonly headDim?: number;
}

/** Windows of layers as `layer_types` lists them. @throws FileError for another type */
export function windowsOfTypes(config: Config, layers: number, window: () => number): (number | null)[] {
  const types = config.list<string>("layer_types", "names of layers' types", (v) => typeof v === "string");
  if (types.length !== layers) throw config.fault("layer_types", `a list of ${layers}, one for each layer`);
  return types.map((type) => {
    if (type === "full_attention") return null;
    if (type !== "sliding_attention") throw config.fault("layer_types", "a list of full_attention and sliding_attention");
    return window();
  });
}

/** The feed-forward block with this activation. */
const BLOCKS: { readonly [activation: string]: (dim: number, options: { name: string; useBias: boolean }) => Layer } = {
  silu: swiglu,
  swish: swiglu,
  gelu: geglu,
  gelu_pytorch_tanh: (dim, options) => geglu(dim, { ...options, approximate: true }),
  gelu_new: (dim, options) => geglu(dim, { ...options, approximate: true }),
};

const SOURCES: Sources = {
  embeddings: (layer, shape) => table(`${layer}.weight`, shape),
  scale: (layer, shape) => same(`${layer}.weight`, shape),
  kernel: (layer, shape) => linear(`${layer}.weight`, shape),
  queryKernel: (layer, shape) => linear(`${layer}.q_proj.weight`, shape),
  keyKernel: (layer, shape) => linear(`${layer}.k_proj.weight`, shape),
  valueKernel: (layer, shape) => linear(`${layer}.v_proj.weight`, shape),
  attentionOutputKernel: (layer, shape) => linear(`${layer}.o_proj.weight`, shape, 2),
  queryBias: (layer, shape) => vector(`${layer}.q_proj.bias`, shape),
  keyBias: (layer, shape) => vector(`${layer}.k_proj.bias`, shape),
  valueBias: (layer, shape) => vector(`${layer}.v_proj.bias`, shape),
  attentionOutputBias: (layer, shape) => vector(`${layer}.o_proj.bias`, shape),
  queryNormScale: (layer, shape) => same(`${layer}.q_norm.weight`, shape),
  keyNormScale: (layer, shape) => same(`${layer}.k_norm.weight`, shape),
  gateKernel: (layer, shape) => linear(`${layer}.gate_proj.weight`, shape),
  upKernel: (layer, shape) => linear(`${layer}.up_proj.weight`, shape),
  downKernel: (layer, shape) => linear(`${layer}.down_proj.weight`, shape),
  gateBias: (layer, shape) => vector(`${layer}.gate_proj.bias`, shape),
  upBias: (layer, shape) => vector(`${layer}.up_proj.bias`, shape),
  downBias: (layer, shape) => vector(`${layer}.down_proj.bias`, shape),
};

/** An architecture of the family. */
export const decoder =
  (kind: DecoderKind): Architecture =>
  (config, { scaling, names }): Design => {
    const vocabulary = config.count("vocab_size");
    const hidden = config.count("hidden_size");
    const layers = layersIn(config, "num_hidden_layers", names);
    const heads = config.count("num_attention_heads");
    const keyHeads = config.count("num_key_value_heads", heads);
    const intermediate = config.count("intermediate_size");
    if (heads % keyHeads !== 0) throw config.fault("num_key_value_heads", `a divisor of num_attention_heads, ${heads}`);
    const headDim = config.count("head_dim", kind.headDim ?? Math.max(1, Math.floor(hidden / heads)));
    const epsilon = config.positive("rms_norm_eps", 1e-6);
    const block = config.oneOf("hidden_act", BLOCKS, "silu");
    const rotary = rotaryOf(config, headDim, scaling);
    const bias = kind.attentionBias(config);
    const mlpBias = kind.mlpBias?.(config) ?? false;
    const windows = kind.windows(config, layers);
    const tied = config.flag("tie_word_embeddings", false);
    const contextLength = config.has("max_position_embeddings") ? config.count("max_position_embeddings") : null;

    const make = () => {
      const tokens = embedding(vocabulary, hidden, { name: "model.embed_tokens" });
      const blocks = windows.map((slidingWindow, i) => {
        const at = `model.layers.${i}`;
        return {
          inputNorm: rmsNorm({ name: `${at}.input_layernorm`, epsilon }),
          attention: groupedQueryAttention(headDim, heads, keyHeads, {
            name: `${at}.self_attn`,
            ...bias,
            slidingWindow,
            useCausalMask: true,
            rotary,
            queryKeyNorm: kind.queryKeyNorm ? epsilon : null,
          }),
          outputNorm: rmsNorm({ name: `${at}.post_attention_layernorm`, epsilon }),
          mlp: block(intermediate, { name: `${at}.mlp`, useBias: mlpBias }),
        };
      });
      const norm = rmsNorm({ name: "model.norm", epsilon });
      const head = tied ? null : dense(vocabulary, { name: "lm_head", useBias: false });
      return model((ids: Tensor) => {
        let x = tokens.call(ids);
        for (const { inputNorm, attention, outputNorm, mlp } of blocks) {
          x = add(x, attention.call(inputNorm.call(x)));
          x = add(x, mlp.call(outputNorm.call(x)));
        }
        const y = norm.call(x);
        return head === null ? tokens.attend(y) : head.call(y);
      });
    };
    return {
      task: "text-generation",
      make,
      inputShapes: [[null]],
      source: (layer, weight, shape) => fromTable(SOURCES, layer, weight, shape),
      canonical: (name) => {
        if (/\.rotary_emb\.inv_freq$/.test(name) || (tied && name === "lm_head.weight")) return null;
        return name;
      },
      contextLength,
    };
  };

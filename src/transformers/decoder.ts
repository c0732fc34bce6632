/**
 * @file Decoders of Llama's family: root mean square normalization before each block, rotary positions, queries in groups, a gated
 * feed-forward block. Architectures say what they add.
 */
import { add, dense, embedding, groupedQueryAttention, model, mul, rmsNorm } from "../index.ts";
import type { Tensor } from "../index.ts";
import { ACTIVATIONS } from "./activation.ts";
import type { Config } from "./config.ts";
import { fromTable, layersIn, linear, same, table, vector } from "./design.ts";
import type { Architecture, Design, Sources } from "./design.ts";
import { rotationOf } from "./rope.ts";

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

/** The window where layers have one; null: they have none. Where the configuration does not say it is 4096, as in Transformers. */
export const slidingWindow = (config: Config): number | null =>
  config.values.sliding_window === null ? null : config.count("sliding_window", 4096);

/** Windows of layers as `layer_types` lists them. @throws FileError for another type, and a window that there is none of */
export function windowsOfTypes(config: Config, layers: number, window: number | null): (number | null)[] {
  const expected = `${layers} names, one for each layer`;
  const types = config.list<string>("layer_types", expected, (v) => typeof v === "string", layers);
  return types.map((type) => {
    if (type === "full_attention") return null;
    if (type !== "sliding_attention") throw config.fault("layer_types", "a list of full_attention and sliding_attention");
    if (window === null) throw config.fault("layer_types", "a list of full_attention, where sliding_window or use_sliding_window is off");
    return window;
  });
}

const SOURCES: Sources = {
  embeddings: (layer, shape) => table(`${layer}.weight`, shape),
  scale: (layer, shape) => same(`${layer}.weight`, shape),
  kernel: (layer, shape) => linear(`${layer}.weight`, shape),
  bias: (layer, shape) => same(`${layer}.bias`, shape),
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
    const activation = config.oneOf("hidden_act", ACTIVATIONS, "silu");
    const { rotary, contextLength } = rotationOf(config, headDim, scaling);
    const bias = kind.attentionBias(config);
    const useBias = kind.mlpBias?.(config) ?? false;
    const windows = kind.windows(config, layers);
    const tied = config.flag("tie_word_embeddings", false);

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
          gate: dense(intermediate, { name: `${at}.mlp.gate_proj`, useBias, activation }),
          up: dense(intermediate, { name: `${at}.mlp.up_proj`, useBias }),
          down: dense(hidden, { name: `${at}.mlp.down_proj`, useBias }),
        };
      });
      const norm = rmsNorm({ name: "model.norm", epsilon });
      const head = tied ? null : dense(vocabulary, { name: "lm_head", useBias: false });
      return model((ids: Tensor) => {
        let x = tokens.call(ids);
        for (const { inputNorm, attention, outputNorm, gate, up, down } of blocks) {
          x = add(x, attention.call(inputNorm.call(x)));
          const z = outputNorm.call(x);
          x = add(x, down.call(mul(gate.call(z), up.call(z))));
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
      // Checkpoints of the model without its head leave the prefix out.
      canonical: (name) => {
        if (/\.rotary_emb\.inv_freq$/.test(name) || (tied && name === "lm_head.weight")) return null;
        return /^(model|lm_head)\./.test(name) ? name : `model.${name}`;
      },
      contextLength,
    };
  };

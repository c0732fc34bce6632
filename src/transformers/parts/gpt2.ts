/** @file GPT-2 (Radford et al. 2019): normalization before each block, learned positions, kernels stored as they are computed with. */
import { add, dense, embedding, layerNorm, model, multiHeadAttention, positionEmbedding } from "../../index.ts";
import type { Shape, Tensor } from "../../index.ts";
import { ACTIVATIONS } from "../activation.ts";
import { fromTable, kernel, layersIn, linear, same, table, vector } from "../design.ts";
import type { Architecture, Source, Sources } from "../design.ts";

/** Part `i` of the three that `c_attn` holds side by side: queries, keys, values. */
function part(i: number, name: string, shape: Shape): Source {
  const features = shape[shape.length - 1] * shape[shape.length - 2];
  const rows = shape.length === 3 ? [shape[0]] : [];
  const columns = [i * features, (i + 1) * features] as const;
  return { name, shape: [...rows, 3 * features], columns, ...(rows.length > 0 && { matrix: "kernel" }) };
}

const SOURCES: Sources = {
  embeddings: (layer, shape) => (layer.endsWith(".wte") ? table : same)(`${layer}.weight`, shape),
  gamma: (layer, shape) => same(`${layer}.weight`, shape),
  beta: (layer, shape) => same(`${layer}.bias`, shape),
  kernel: (layer, shape) => (layer === "lm_head" ? linear : kernel)(`${layer}.weight`, shape),
  bias: (layer, shape) => same(`${layer}.bias`, shape),
  queryKernel: (layer, shape) => part(0, `${layer}.c_attn.weight`, shape),
  keyKernel: (layer, shape) => part(1, `${layer}.c_attn.weight`, shape),
  valueKernel: (layer, shape) => part(2, `${layer}.c_attn.weight`, shape),
  queryBias: (layer, shape) => part(0, `${layer}.c_attn.bias`, shape),
  keyBias: (layer, shape) => part(1, `${layer}.c_attn.bias`, shape),
  valueBias: (layer, shape) => part(2, `${layer}.c_attn.bias`, shape),
  attentionOutputKernel: (layer, [heads, size, features]) => kernel(`${layer}.c_proj.weight`, [heads * size, features]),
  attentionOutputBias: (layer, shape) => vector(`${layer}.c_proj.bias`, shape),
};

const gpt2: Architecture = (config, { names }) => {
  const vocabulary = config.count("vocab_size");
  const hidden = config.count("n_embd");
  const layers = layersIn(config, "n_layer", names);
  const heads = config.count("n_head");
  const positions = config.count("n_positions", 1024);
  const inner = config.count("n_inner", 4 * hidden);
  const epsilon = config.positive("layer_norm_epsilon", 1e-5);
  const activation = config.oneOf("activation_function", ACTIVATIONS, "gelu_new");
  if (hidden % heads !== 0) throw config.fault("n_head", `a divisor of n_embd, ${hidden}`);
  for (const [name, value] of [
    ["scale_attn_weights", true],
    ["scale_attn_by_inverse_layer_idx", false],
    ["add_cross_attention", false],
  ] as const)
    config.must(name, value);
  const tied = config.flag("tie_word_embeddings", true);

  const make = () => {
    const tokens = embedding(vocabulary, hidden, { name: "transformer.wte" });
    const places = positionEmbedding(positions, { name: "transformer.wpe" });
    const blocks = Array.from({ length: layers }, (_, i) => {
      const at = `transformer.h.${i}`;
      return {
        first: layerNorm({ name: `${at}.ln_1`, epsilon }),
        attention: multiHeadAttention(heads, hidden / heads, { name: `${at}.attn`, useCausalMask: true }),
        second: layerNorm({ name: `${at}.ln_2`, epsilon }),
        intermediate: dense(inner, { name: `${at}.mlp.c_fc`, activation }),
        output: dense(hidden, { name: `${at}.mlp.c_proj` }),
      };
    });
    const norm = layerNorm({ name: "transformer.ln_f", epsilon });
    const head = tied ? null : dense(vocabulary, { name: "lm_head", useBias: false });
    return model((ids: Tensor) => {
      const vectors = tokens.call(ids);
      let x = add(vectors, places.call(vectors));
      for (const { first, attention, second, intermediate, output } of blocks) {
        x = add(x, attention.call(first.call(x)));
        x = add(x, output.call(intermediate.call(second.call(x))));
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
    // Old files hold causal masks, and all may leave the prefix out.
    canonical: (name) => {
      if (/\.attn\.(bias|masked_bias)$/.test(name) || (tied && name === "lm_head.weight")) return null;
      return /^(transformer|lm_head)\./.test(name) ? name : `transformer.${name}`;
    },
    contextLength: positions,
  };
};

export default gpt2;

/** @file BERT (Devlin et al. 2018, arXiv 1810.04805): an encoder with normalization behind each sum. */
import { add, dense, embedding, expandDims, layerNorm, model, multiHeadAttention, positionEmbedding, reshape, slice } from "../../index.ts";
import type { Tensor } from "../../index.ts";
import { ACTIVATIONS } from "../activation.ts";
import { fromTable, labelCount, layersIn, linear, same, table, vector } from "../design.ts";
import type { Architecture, Opener, Sources } from "../design.ts";
import { Encoder } from "../encoder.ts";
import { DEFAULT_SENTENCES, sentencesOf } from "../sentences.ts";

const SOURCES: Sources = {
  embeddings: (layer, shape) => (layer.endsWith(".word_embeddings") ? table : same)(`${layer}.weight`, shape),
  gamma: (layer, shape) => same(`${layer}.weight`, shape),
  beta: (layer, shape) => same(`${layer}.bias`, shape),
  kernel: (layer, shape) => linear(`${layer}.weight`, shape),
  bias: (layer, shape) => same(`${layer}.bias`, shape),
  queryKernel: (layer, shape) => linear(`${layer}.self.query.weight`, shape),
  keyKernel: (layer, shape) => linear(`${layer}.self.key.weight`, shape),
  valueKernel: (layer, shape) => linear(`${layer}.self.value.weight`, shape),
  attentionOutputKernel: (layer, shape) => linear(`${layer}.output.dense.weight`, shape, 2),
  queryBias: (layer, shape) => vector(`${layer}.self.query.bias`, shape),
  keyBias: (layer, shape) => vector(`${layer}.self.key.bias`, shape),
  valueBias: (layer, shape) => vector(`${layer}.self.value.bias`, shape),
  attentionOutputBias: (layer, shape) => vector(`${layer}.output.dense.bias`, shape),
};

/** The heads of pretraining, without which encoders are used, and what is no weight. */
const UNUSED = /^cls\.|^embeddings\.position_ids$/;

/** Heads by the classes that have them, and whether these are of the whole text. */
const HEADS: { readonly [className: string]: readonly [name: string, pooled: boolean] } = {
  BertForSequenceClassification: ["classifier", true],
  BertForTokenClassification: ["classifier", false],
  BertForQuestionAnswering: ["qa_outputs", false],
};

const encoder: Opener = async ({ config, folder, contextLength }) => {
  const sentences = folder === null ? DEFAULT_SENTENCES : await sentencesOf(folder);
  const padding = config.tokens("pad_token_id")[0] ?? 0;
  return (m, tokenizer) => new Encoder(m as Encoder["model"], tokenizer, config.values, { contextLength, ...sentences, padding });
};

const bert: Architecture = (config, { names }) => {
  const vocabulary = config.count("vocab_size");
  const hidden = config.count("hidden_size");
  const layers = layersIn(config, "num_hidden_layers", names);
  const heads = config.count("num_attention_heads");
  const inner = config.count("intermediate_size");
  const positions = config.count("max_position_embeddings", 512);
  const types = config.count("type_vocab_size", 2);
  const epsilon = config.positive("layer_norm_eps", 1e-12);
  const activation = config.oneOf("hidden_act", ACTIVATIONS, "gelu");
  if (hidden % heads !== 0) throw config.fault("num_attention_heads", `a divisor of hidden_size, ${hidden}`);
  config.must("position_embedding_type", "absolute");
  for (const name of ["is_decoder", "add_cross_attention"]) config.must(name, false);
  const canonical = (name: string): string | null => {
    const own = name
      .replace(/^bert\./, "")
      .replace(/LayerNorm\.(gamma|beta)$/, (_, old) => `LayerNorm.${old === "gamma" ? "weight" : "bias"}`);
    return UNUSED.test(own) ? null : own;
  };
  const pools = names.some((name) => canonical(name)?.startsWith("pooler."));
  const [className] = config.has("architectures") ? config.list<string>("architectures", "names of classes", () => true) : [];
  const [headName, pooled] = Object.hasOwn(HEADS, className ?? "") ? HEADS[className] : [null, false];
  const labels = headName === null ? 0 : labelCount(config);

  const make = () => {
    const at = "embeddings";
    const words = embedding(vocabulary, hidden, { name: `${at}.word_embeddings` });
    const places = positionEmbedding(positions, { name: `${at}.position_embeddings` });
    const kinds = embedding(types, hidden, { name: `${at}.token_type_embeddings` });
    const norm = layerNorm({ name: `${at}.LayerNorm`, epsilon });
    const blocks = Array.from({ length: layers }, (_, i) => {
      const block = `encoder.layer.${i}`;
      return {
        attention: multiHeadAttention(heads, hidden / heads, { name: `${block}.attention` }),
        first: layerNorm({ name: `${block}.attention.output.LayerNorm`, epsilon }),
        intermediate: dense(inner, { name: `${block}.intermediate.dense`, activation }),
        output: dense(hidden, { name: `${block}.output.dense` }),
        second: layerNorm({ name: `${block}.output.LayerNorm`, epsilon }),
      };
    });
    const pooler = pools || pooled ? dense(hidden, { name: "pooler.dense", activation: "tanh" }) : null;
    const head = headName === null ? null : dense(labels, { name: headName });
    return model((ids: Tensor, typeIds: Tensor, attentionMask: Tensor): { [name: string]: Tensor } => {
      const vectors = words.call(ids);
      let x = norm.call(add(add(vectors, kinds.call(typeIds)), places.call(vectors)));
      const mask = expandDims(attentionMask, 1);
      for (const { attention, first, intermediate, output, second } of blocks) {
        x = first.call(add(x, attention.call(x, { mask })));
        x = second.call(add(x, output.call(intermediate.call(x))));
      }
      const batch = x.shape[0];
      const y = pooler === null ? null : pooler.call(reshape(slice(x, [0, 0, 0], [batch, 1, hidden]), [batch, hidden]));
      return {
        lastHiddenState: x,
        ...(y && { poolerOutput: y }),
        ...(head && { logits: head.call(pooled && y ? y : x) }),
      };
    });
  };
  return {
    task: "feature-extraction",
    make,
    inputShapes: [[null], [null], [null]],
    source: (layer, weight, shape) => fromTable(SOURCES, layer, weight, shape),
    canonical,
    contextLength: positions,
    opener: encoder,
  };
};

export default bert;

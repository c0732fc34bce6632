/** @file Vision transformer (Dosovitskiy et al. 2020, arXiv 2010.11929): patches of an image as tokens, a class by the first of them. */
import {
  add,
  broadcastTo,
  concat,
  dense,
  layer,
  layerNorm,
  matmul,
  model,
  multiHeadAttention,
  positionEmbedding,
  reshape,
  slice,
  transpose,
} from "../../index.ts";
import type { Layer, Tensor } from "../../index.ts";
import { sizeOf } from "../../shape.ts";
import { ACTIVATIONS } from "../activation.ts";
import { fromTable, labelCount, layersIn, linear, same, vector } from "../design.ts";
import type { Architecture, Sources } from "../design.ts";
import { ImageClassifier } from "../image-classifier.ts";

const PATCHES = "vit.embeddings.patch_embeddings.projection";

const SOURCES: Sources = {
  token: (layerName, shape) => same(layerName, shape),
  embeddings: (layerName, shape) => same(`${layerName}.position_embeddings`, [1, ...shape]),
  gamma: (layerName, shape) => same(`${layerName}.weight`, shape),
  beta: (layerName, shape) => same(`${layerName}.bias`, shape),
  kernel: (layerName, shape) => linear(`${layerName}.weight`, shape),
  bias: (layerName, shape) => same(`${layerName}.bias`, shape),
  queryKernel: (layerName, shape) => linear(`${layerName}.attention.query.weight`, shape),
  keyKernel: (layerName, shape) => linear(`${layerName}.attention.key.weight`, shape),
  valueKernel: (layerName, shape) => linear(`${layerName}.attention.value.weight`, shape),
  attentionOutputKernel: (layerName, shape) => linear(`${layerName}.output.dense.weight`, shape, 2),
  queryBias: (layerName, shape) => vector(`${layerName}.attention.query.bias`, shape),
  keyBias: (layerName, shape) => vector(`${layerName}.attention.key.bias`, shape),
  valueBias: (layerName, shape) => vector(`${layerName}.attention.value.bias`, shape),
  attentionOutputBias: (layerName, shape) => vector(`${layerName}.output.dense.bias`, shape),
};

/** A learned vector before the patches, which becomes the image's. */
const classToken = (name: string): Layer =>
  layer({
    kind: "classToken",
    config: { name },
    build: (shape, weight) => void weight("token", [1, 1, shape[2]], { init: "zeros" }),
    call: (x, { token }) => concat([broadcastTo(token, [x.shape[0], 1, x.shape[2]]), x], 1),
  });

/** A convolution whose windows [rows, columns] do not overlap: a product with each. What is left at the right and bottom is not seen. */
const patchEmbedding = (features: number, [rows, columns]: readonly [number, number], name: string): Layer =>
  layer({
    kind: "patchEmbedding",
    config: { name },
    build: ([, channels], weight) => {
      weight("kernel", [channels * rows * columns, features], { init: "glorotUniform" });
      weight("bias", [features], { init: "zeros" });
    },
    call: (x, { kernel, bias }) => {
      const [batch, channels, height, width] = x.shape;
      const [down, across] = [Math.floor(height / rows), Math.floor(width / columns)];
      const seen = slice(x, [0, 0, 0, 0], [batch, channels, down * rows, across * columns]);
      const windows = transpose(reshape(seen, [batch, channels, down, rows, across, columns]), [0, 2, 4, 1, 3, 5]);
      return add(matmul(reshape(windows, [batch, down * across, channels * rows * columns]), kernel), bias);
    },
  });

const vit: Architecture = (config, { names }) => {
  const hidden = config.count("hidden_size");
  const layers = layersIn(config, "num_hidden_layers", names);
  const heads = config.count("num_attention_heads");
  const inner = config.count("intermediate_size");
  const size = config.pair("image_size", 224);
  const patch = config.pair("patch_size", 16);
  const channels = config.count("num_channels", 3);
  const useBias = config.flag("qkv_bias", true);
  const epsilon = config.positive("layer_norm_eps", 1e-12);
  const activation = config.oneOf("hidden_act", ACTIVATIONS, "gelu");
  const labels = labelCount(config);
  if (hidden % heads !== 0) throw config.fault("num_attention_heads", `a divisor of hidden_size, ${hidden}`);
  // What is left at the right and the bottom is not seen.
  const patches = sizeOf(size.map((n, i) => Math.floor(n / patch[i])));
  if (patches === 0) throw config.fault("patch_size", `at most image_size, ${size.join(" x ")}`);

  const make = () => {
    const project = patchEmbedding(hidden, patch, PATCHES);
    const token = classToken("vit.embeddings.cls_token");
    const places = positionEmbedding(patches + 1, { name: "vit.embeddings" });
    const blocks = Array.from({ length: layers }, (_, i) => {
      const at = `vit.encoder.layer.${i}`;
      return {
        before: layerNorm({ name: `${at}.layernorm_before`, epsilon }),
        attention: multiHeadAttention(heads, hidden / heads, { name: `${at}.attention`, useBias, useOutputBias: true }),
        after: layerNorm({ name: `${at}.layernorm_after`, epsilon }),
        intermediate: dense(inner, { name: `${at}.intermediate.dense`, activation }),
        output: dense(hidden, { name: `${at}.output.dense` }),
      };
    });
    const norm = layerNorm({ name: "vit.layernorm", epsilon });
    const classifier = dense(labels, { name: "classifier" });
    return model((pixels: Tensor) => {
      const [batch] = pixels.shape;
      let x = token.call(project.call(pixels));
      x = add(x, places.call(x));
      for (const { before, attention, after, intermediate, output } of blocks) {
        x = add(x, attention.call(before.call(x)));
        x = add(x, output.call(intermediate.call(after.call(x))));
      }
      return classifier.call(reshape(slice(norm.call(x), [0, 0, 0], [batch, 1, hidden]), [batch, hidden]));
    });
  };
  return {
    task: "image-classification",
    make,
    inputShapes: [[channels, ...size]],
    source: (layerName, weight, shape) => {
      const source = fromTable(SOURCES, layerName, weight, shape);
      return source.name === `${PATCHES}.weight` ? { ...source, shape: [hidden, channels, ...patch] } : source;
    },
    canonical: (name) => (/^(vit\.)?pooler\./.test(name) ? null : /^(vit|classifier)\./.test(name) ? name : `vit.${name}`),
    contextLength: null,
    opener: async () => (m, tokenizer) => new ImageClassifier(m as ImageClassifier["model"], tokenizer, config.values),
  };
};

export default vit;

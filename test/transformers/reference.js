/**
 * @file What Hugging Face's Transformers 5 computes for a configuration and weights, in float64 and one element after another: written from
 * its modeling files, not from the library. Weights are `{ shape, data }` by Hugging Face's names; rows are arrays.
 */

const ACTIVATIONS = {
  silu: (x) => x / (1 + Math.exp(-x)),
  relu: (x) => Math.max(0, x),
  gelu_new: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
};
ACTIVATIONS.gelu_fast = ACTIVATIONS.gelu_new;

const range = (n, of) => Array.from({ length: n }, (_, i) => of(i));
const plus = (a, b) => a.map((v, i) => v + b[i]);
const row = ({ shape, data }, i) => range(shape.at(-1), (j) => data[i * shape.at(-1) + j]);

/** x [features] times a weight [outputs, features], with its bias where there is one. */
const linear = (weights, name) => (x) => {
  const { shape, data } = weights[`${name}.weight`];
  const bias = weights[`${name}.bias`]?.data;
  const size = x.length;
  return range(shape[0], (o) => x.reduce((sum, v, i) => sum + v * data[o * size + i], bias?.[o] ?? 0));
};

const rootMeanSquare =
  ({ data }, epsilon) =>
  (x) => {
    const root = Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length + epsilon);
    return x.map((v, i) => (data[i] * v) / root);
  };

const layerNorm = (weights, name, epsilon) => (x) => {
  const mean = x.reduce((a, b) => a + b) / x.length;
  const deviation = Math.sqrt(x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / x.length + epsilon);
  return x.map((v, i) => ((v - mean) / deviation) * weights[`${name}.weight`].data[i] + weights[`${name}.bias`].data[i]);
};

/** Attention of heads: q, k, v [time][heads * size]; `sees(i, j)` says whether query i sees key j. `groups` of queries share a key. */
function attention(q, k, v, size, groups, sees) {
  return q.map((qi, i) =>
    range(qi.length / size, (h) => {
      const at = Math.floor(h / groups) * size;
      const scores = k.map((kj, j) =>
        sees(i, j) ? range(size, (f) => qi[h * size + f] * kj[at + f]).reduce((a, b) => a + b) / Math.sqrt(size) : -Infinity,
      );
      const most = Math.max(...scores);
      const weights = scores.map((s) => Math.exp(s - most));
      const total = weights.reduce((a, b) => a + b);
      return range(size, (f) => weights.reduce((sum, w, j) => sum + w * v[j][at + f], 0) / total);
    }).flat(),
  );
}

/** Radians a step of each pair, and what cosines and sines are multiplied by. */
export function frequencies(config, size) {
  const rope = { ...config.rope_scaling, ...config.rope_parameters };
  const theta = rope.rope_theta ?? config.rope_theta ?? 10000;
  const plain = range(size / 2, (i) => theta ** ((-2 * i) / size));
  const most = config.max_position_embeddings;
  const trained = config.original_max_position_embeddings ?? rope.original_max_position_embeddings ?? most;
  const factor = rope.factor ?? most / trained;
  const type = rope.rope_type ?? rope.type ?? "default";
  if (type === "linear") return [plain.map((f) => f / factor), 1];
  if (type === "longrope") {
    const attention = rope.attention_factor ?? (factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(trained)));
    return [plain.map((f, i) => f / rope.short_factor[i]), attention];
  }
  if (type === "yarn") {
    const scale = (weight) => (factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1);
    const both = rope.mscale && rope.mscale_all_dim;
    const attention = rope.attention_factor ?? (both ? scale(rope.mscale) / scale(rope.mscale_all_dim) : scale(1));
    const dim = (turns) => (size * Math.log(trained / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
    let [low, high] = [dim(rope.beta_fast ?? 32), dim(rope.beta_slow ?? 1)];
    if (rope.truncate ?? true) [low, high] = [Math.floor(low), Math.ceil(high)];
    [low, high] = [Math.max(low, 0), Math.min(high, size - 1)];
    if (low === high) high += 0.001;
    const ramp = (i) => Math.min(1, Math.max(0, (i - low) / (high - low)));
    return [plain.map((f, i) => (f / factor) * ramp(i) + f * (1 - ramp(i))), attention];
  }
  return [plain, 1];
}

/** Logits [time][vocabulary] of llama, mistral, qwen2 and qwen3. `windows`: what each layer sees of earlier tokens, null: all. */
export function decoderLogits(config, weights, ids, windows) {
  const heads = config.num_attention_heads;
  const groups = heads / (config.num_key_value_heads ?? heads);
  const size = config.head_dim ?? config.hidden_size / heads;
  const epsilon = config.rms_norm_eps ?? 1e-6;
  const [steps, scale] = frequencies(config, size);
  const half = size / 2;
  const turned = (x, position) =>
    x.map((v, at) => {
      const f = at % size;
      const angle = position * steps[f % half];
      const other = f < half ? -x[at + half] : x[at - half];
      return scale * (v * Math.cos(angle) + other * Math.sin(angle));
    });
  let x = ids.map((id) => row(weights["model.embed_tokens.weight"], id));
  windows.forEach((window, l) => {
    const at = `model.layers.${l}`;
    const y = x.map(rootMeanSquare(weights[`${at}.input_layernorm.weight`], epsilon));
    const part = (name) => {
      const norm = weights[`${at}.self_attn.${name}_norm.weight`];
      return y.map(linear(weights, `${at}.self_attn.${name}_proj`)).map((z) =>
        norm
          ? range(z.length / size, (h) => z.slice(h * size, (h + 1) * size))
              .map(rootMeanSquare(norm, epsilon))
              .flat()
          : z,
      );
    };
    const [q, k, v] = [part("q").map(turned), part("k").map(turned), part("v")];
    const seen = attention(q, k, v, size, groups, (i, j) => j <= i && (window === null || i - j < window));
    x = seen.map(linear(weights, `${at}.self_attn.o_proj`)).map((z, t) => plus(x[t], z));
    const [gate, up, down] = ["gate", "up", "down"].map((name) => linear(weights, `${at}.mlp.${name}_proj`));
    const activation = ACTIVATIONS[config.hidden_act];
    x = x.map((z) => {
      const normed = rootMeanSquare(weights[`${at}.post_attention_layernorm.weight`], epsilon)(z);
      const gated = up(normed);
      return plus(z, down(gate(normed).map((g, i) => activation(g) * gated[i])));
    });
  });
  const head = config.tie_word_embeddings ? weights["model.embed_tokens.weight"] : weights["lm_head.weight"];
  return x.map(rootMeanSquare(weights["model.norm.weight"], epsilon)).map(linear({ "head.weight": head }, "head"));
}

/** Logits [labels] of one image [channels][height][width] by a ViT. */
export function vitLogits(config, weights, image) {
  const [height, width] = [config.image_size].flat().length === 2 ? config.image_size : [config.image_size, config.image_size];
  const [ph, pw] = [config.patch_size].flat().length === 2 ? config.patch_size : [config.patch_size, config.patch_size];
  const { shape, data } = weights["vit.embeddings.patch_embeddings.projection.weight"];
  const patchAt = (top, left) => {
    const pixels = image.flatMap((plane) => range(ph, (i) => range(pw, (j) => plane[top + i][left + j])).flat());
    const projection = {
      "p.weight": { shape: [shape[0], pixels.length], data },
      "p.bias": weights["vit.embeddings.patch_embeddings.projection.bias"],
    };
    return linear(projection, "p")(pixels);
  };
  const patches = range(Math.floor(height / ph), (i) => range(Math.floor(width / pw), (j) => patchAt(i * ph, j * pw))).flat();
  const places = weights["vit.embeddings.position_embeddings"];
  let x = [row(weights["vit.embeddings.cls_token"], 0), ...patches].map((v, t) => plus(v, row(places, t)));
  const size = config.hidden_size / config.num_attention_heads;
  for (let l = 0; l < config.num_hidden_layers; l++) {
    const at = `vit.encoder.layer.${l}`;
    const y = x.map(layerNorm(weights, `${at}.layernorm_before`, config.layer_norm_eps));
    const [q, k, v] = ["query", "key", "value"].map((name) => y.map(linear(weights, `${at}.attention.attention.${name}`)));
    const seen = attention(q, k, v, size, 1, () => true);
    x = seen.map(linear(weights, `${at}.attention.output.dense`)).map((z, t) => plus(x[t], z));
    const inner = x
      .map(layerNorm(weights, `${at}.layernorm_after`, config.layer_norm_eps))
      .map(linear(weights, `${at}.intermediate.dense`));
    x = inner.map((z, t) => plus(x[t], linear(weights, `${at}.output.dense`)(z.map(ACTIVATIONS[config.hidden_act]))));
  }
  return linear(weights, "classifier")(layerNorm(weights, "vit.layernorm", config.layer_norm_eps)(x[0]));
}

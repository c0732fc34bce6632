/**
 * @file The GPT of the benchmarks: that of nanoGPT's recipe for CPUs (https://github.com/karpathy/nanoGPT), 4 layers, 4 heads, 128 wide,
 * windows of 64 characters, batches of 12, without biases and dropout, the head's weights those of the embedding.
 */
import {
  add,
  adamw,
  cosineDecay,
  dense,
  dropout,
  embedding,
  gelu,
  initializers,
  iota,
  layerNorm,
  matmul,
  model,
  ops,
  reshape,
  sparseCategoricalCrossentropy,
} from "./lockstep.js";

export const GPT = { vocabulary: 65, block: 64, layers: 4, heads: 4, width: 128, batch: 12 };

/** Untrained; `seed` chooses the weights. `rate` is dropped of embeddings, weights of attention, and of what each half of a block adds. */
export function gpt({ vocabulary, block, layers, heads, width, dropout: rate = 0 } = GPT, seed = 1) {
  const normal = initializers.randomNormal(0, 0.02);
  const residual = initializers.randomNormal(0, 0.02 / Math.sqrt(2 * layers));
  const linear = (units, kernelInitializer = normal) => dense(units, { useBias: false, kernelInitializer });
  const drop = (x) => (rate === 0 ? x : dropout(rate).call(x));
  const norm = () => layerNorm({ epsilon: 1e-5, center: false });
  const tokens = embedding(vocabulary, width, { embeddingsInitializer: normal });
  const positions = embedding(block, width, { embeddingsInitializer: normal });
  const blocks = Array.from({ length: layers }, () => {
    const [before, between] = [norm(), norm()];
    const [query, key, value] = [linear(width), linear(width), linear(width)];
    const [out, wide, narrow] = [linear(width, residual), linear(4 * width), linear(width, residual)];
    const split = (t) => reshape(t, [...t.shape.slice(0, 2), heads, width / heads]);
    return (x) => {
      const h = before.call(x);
      const [q, k, v] = [query, key, value].map((l) => split(l.call(h)));
      const y = add(x, drop(out.call(reshape(ops.attention(q, k, v, { causal: true, dropout: rate }), x.shape))));
      return add(y, drop(narrow.call(gelu(wide.call(between.call(y))))));
    };
  });
  const last = norm();
  return model(
    (ids) => {
      const x = drop(add(tokens.call(ids), positions.call(iota([block]))));
      const y = last.call(blocks.reduce((t, b) => b(t), x));
      return matmul(y, tokens.weights[0].tensor, { transposeB: true });
    },
    { inputShape: [block], seed },
  );
}

/** As nanoGPT trains it for `steps` steps: 100 of warm-up, then half a cosine wave down to a tenth. */
export const recipe = (steps = 2000) => ({
  loss: sparseCategoricalCrossentropy({ fromLogits: true }),
  optimizer: adamw({
    learningRate: cosineDecay({ initialLearningRate: 0, warmupTarget: 1e-3, warmupSteps: 100, decaySteps: steps - 100, alpha: 0.1 }),
    beta2: 0.99,
    epsilon: 1e-8,
    weightDecay: 0.1,
    globalClipNorm: 1,
  }),
});

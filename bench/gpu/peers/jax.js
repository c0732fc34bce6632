/** @file jax-js on its WebGPU device under the contract of measure.js, everything in one `jit` for each step. */
import * as jax from "@jax-js/jax";
import { BATCH, blockInput, blockWeights, chain, dataOf } from "../workloads.js";

// Arrays are counted: a call consumes its arguments, `.ref` keeps one.
const { blockUntilReady, jit, lax, nn, numpy: np, tree, valueAndGrad } = jax;

const array = (data, shape) => np.array(data, { shape });

/** Glorot's uniform weights, from a fixed sequence. */
function glorot(shape, fanIn, fanOut, seed) {
  const limit = Math.sqrt(6 / (fanIn + fanOut));
  return array(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => limit * Math.sin((i + 1) * 12.9898 * seed)),
    shape,
  );
}
const denseWeights = (inputs, units, seed) => [glorot([inputs, units], inputs, units, seed), np.zeros([units])];
const convWeights = (channels, filters, seed) => [glorot([filters, channels, 3, 3], 9 * channels, 9 * filters, seed), np.zeros([filters])];

const dense = (x, w, b) => np.dot(x, w).add(b);
const conv = (x, w, b) => nn.relu(lax.conv(x, w, [1, 1], "VALID").add(b.reshape([w.shape[0], 1, 1])));
/** 2x2 windows; those that do not fit are left out. */
function maxPool(x) {
  const [n, c, h, w] = x.shape;
  return np.max(x.slice([], [], [0, h & ~1], [0, w & ~1]).reshape([n, c, h >> 1, 2, w >> 1, 2]), [3, 5]);
}

/** [B, T, F] -> [B, units] with relu, its steps unrolled: there is no scan. */
function lstm(x, kernel, recurrent, bias, units) {
  const [batch, steps, features] = x.shape;
  const projected = np.unstack(
    np
      .dot(x.reshape([batch * steps, features]), kernel)
      .add(bias)
      .reshape([batch, steps, 4 * units]),
    1,
  );
  let [h, c] = [null, null];
  for (const z of projected) {
    const [i, f, g, o] = np.split(h === null ? z : z.add(np.dot(h, recurrent.ref)), 4, 1);
    const fresh = nn.sigmoid(i).mul(nn.relu(g));
    if (c === null) f.dispose();
    c = c === null ? fresh : nn.sigmoid(f).mul(c).add(fresh);
    h = nn.sigmoid(o).mul(nn.relu(c.ref));
  }
  c.dispose();
  recurrent.dispose();
  return h;
}

/** Weights, what the net gives before its last activation, and its loss. */
const NETS = {
  FFN: {
    weights: () => [...denseWeights(8, 10, 1), ...denseWeights(10, 5, 2), ...denseWeights(5, 1, 3)],
    apply: ([w1, b1, w2, b2, w3, b3], x) => dense(nn.relu(dense(nn.relu(dense(x, w1, b1)), w2, b2)), w3, b3),
    loss: (z, y) => np.mean(nn.softplus(z.ref).sub(z.mul(y))),
    adam: false,
  },
  CNN: {
    weights: () => [...convWeights(1, 32, 1), ...convWeights(32, 64, 2), ...denseWeights(1600, 64, 3), ...denseWeights(64, 10, 4)],
    apply: ([w1, b1, w2, b2, w3, b3, w4, b4], x) => {
      const y = maxPool(conv(maxPool(conv(x, w1, b1)), w2, b2));
      return dense(nn.relu(dense(y.reshape([y.shape[0], 1600]), w3, b3)), w4, b4);
    },
    loss: (z, y) => np.mean(np.sum(nn.logSoftmax(z, -1).mul(y), -1)).mul(-1),
    adam: true,
  },
  LSTM: {
    weights: () => [
      glorot([10, 400], 10, 400, 1),
      glorot([100, 400], 100, 400, 2),
      np.zeros([400]),
      ...denseWeights(100, 50, 3),
      ...denseWeights(50, 1, 4),
    ],
    apply: ([w, r, b, w1, b1, w2, b2], x) => dense(nn.relu(dense(lstm(x, w, r, b, 100), w1, b1)), w2, b2),
    loss: (z, y) => np.mean(np.square(z.sub(y))),
    adam: true,
  },
};

/** One step of Adam (Kingma & Ba 2015, end of section 2) or SGD; states are [weights, m, v, step]. */
function update([params, m, v, t], grads, useAdam) {
  if (!useAdam) return [params.map((p, i) => p.sub(grads[i].mul(0.01))), m, v, t];
  const next = t.add(1);
  const [c1, c2] = [0.9, 0.999].map((b) =>
    np
      .exp(next.ref.mul(Math.log(b)))
      .mul(-1)
      .add(1),
  );
  const rate = np.sqrt(c2).mul(1e-3).div(c1);
  const made = params.map((p, i) => {
    const m1 = m[i].mul(0.9).add(grads[i].ref.mul(0.1));
    const v1 = v[i].mul(0.999).add(np.square(grads[i]).mul(0.001));
    return [p.sub(rate.ref.mul(m1.ref).div(np.sqrt(v1.ref).add(1e-7))), m1, v1];
  });
  rate.dispose();
  return [made.map((o) => o[0]), made.map((o) => o[1]), made.map((o) => o[2]), next];
}

export async function start() {
  const found = await jax.init("webgpu");
  if (!found.includes("webgpu")) throw new Error("the WebGPU device did not start");
  jax.defaultDevice("webgpu");
  const read = async (y) => (await y.data())[0];
  return {
    version: `jax-js ${process.env.VERSION}`,
    close: () => {},

    matmul(n) {
      const [a, b] = [array(new Float32Array(n * n).fill(0.5), [n, n]), array(new Float32Array(n * n).fill(1 / n), [n, n])];
      const program = jit((p, q) => {
        let y = p;
        for (let i = 0; i < chain(n); i++) y = np.matmul(y, q.ref);
        q.dispose();
        return y.slice([0, 1], [0, 1]);
      });
      return { work: chain(n), run: () => read(program(a.ref, b.ref)) };
    },

    conv2d({ count, side, channels, kernel }) {
      const x = array(new Float32Array(count * side * side * channels).fill(0.1), [count, channels, side, side]);
      const w = array(new Float32Array(kernel * kernel * channels * channels).fill(0.01), [channels, channels, kernel, kernel]);
      const program = jit((p, q) => lax.conv(p, q, [1, 1], "SAME").slice([0, 1], [0, 1], [9, 10], [9, 10]));
      return { work: 1, run: () => read(program(x.ref, w.ref)) };
    },

    train(net, steps) {
      const { samples, input, outputs, x, y } = dataOf(net, steps);
      const shape = input.length === 3 ? [input[2], input[0], input[1]] : input;
      const size = x.length / samples;
      const batches = Array.from({ length: steps }, (_, i) => [
        array(x.slice(i * BATCH * size, (i + 1) * BATCH * size), [BATCH, ...shape]),
        array(y.slice(i * BATCH * outputs, (i + 1) * BATCH * outputs), [BATCH, outputs]),
      ]);
      const { weights, apply, loss, adam } = NETS[net];
      const graded = valueAndGrad((params, images, targets) => loss(apply(params, images), targets));
      const step = jit((state, images, targets) => {
        const [value, grads] = graded(tree.ref(state[0]), images, targets);
        return [update(state, grads, adam), value];
      });
      const params = weights();
      const moments = () => (adam ? params.map((p) => np.zeros(p.shape)) : []);
      let state = [params, moments(), moments(), np.array(0)];
      return {
        work: steps,
        run: async () => {
          let last = null;
          for (const [images, targets] of batches) {
            const [after, value] = step(state, images.ref, targets.ref);
            state = after;
            last?.dispose();
            last = value;
          }
          await blockUntilReady(state);
          return read(last);
        },
      };
    },

    transformer({ batch, tokens, width }) {
      let params = Object.values(blockWeights(width)).map(({ data, shape }) => array(data, shape));
      const x = array(blockInput({ batch, tokens, width }), [batch, tokens, width]);
      const graded = valueAndGrad(([q, k, v, o, up, down], input) => {
        const by = (y, w) => np.matmul(y, w);
        const keys = np.swapaxes(by(input.ref, k), 1, 2);
        const score = nn.softmax(np.matmul(by(input.ref, q), keys).mul(1 / Math.sqrt(width)), -1);
        const attended = input.ref.add(by(np.matmul(score, by(input.ref, v)), o));
        const y = attended.ref.add(by(nn.relu(by(attended, up)), down));
        return np.mean(np.square(y.sub(input)));
      });
      const step = jit((p, input) => {
        const [value, grads] = graded(tree.ref(p), input);
        return [p.map((w, i) => w.sub(grads[i].mul(1e-3))), value];
      });
      return {
        work: 1,
        run: async () => {
          const [after, value] = step(params, x.ref);
          params = after;
          return read(value);
        },
      };
    },
  };
}

/** @file What the tests of layers that attend share: loops in double, and gradients by differences. */
import * as assert from "uvu/assert";
import { compile } from "../../build/esm/compile.js";
import { valueAndGrad } from "../../build/esm/grad.js";
import { open } from "../../build/esm/init.js";
import { mul } from "../../build/esm/ops/map.js";
import { sum } from "../../build/esm/ops/reduce.js";
import { Random } from "../../build/esm/random.js";
import { tensor } from "../../build/esm/tensor.js";
import { referenceBackend } from "../reference/index.js";

export const BACKENDS = { wasm: await open("wasm"), float64: referenceBackend() };

/** Normal numbers. */
export const values = (seed, ...shape) => tensor(new Random(seed).normal(shape.reduce((a, b) => a * b, 1)), shape);
export const near = (a, b, tolerance, what) => {
  assert.is(a.length, b.length, what);
  for (let i = 0; i < a.length; i++)
    if (!(Math.abs(a[i] - b[i]) <= tolerance)) throw new Error(`${what}: element ${i} is ${a[i]}, expected ${b[i]}`);
};
export const run = async (fn, inputs, backend = BACKENDS.wasm, options = {}) =>
  (await compile((xs) => fn(...xs), { backend, ...options })(inputs)).data();
/** Numbers no initializer gives, for all weights of a layer that has them. */
export const fill = (layer, seed = 5, size = 0.5) =>
  layer.weights.forEach(({ tensor: t }, i) => t.set(new Random(seed + i).normal(t.size).map((v) => v * size)));
/** The layer with weights for these inputs. */
export async function made(layer, ...inputs) {
  await run((...xs) => layer.call(...xs), inputs);
  fill(layer);
  return layer;
}
export const weightsOf = (layer) => Object.fromEntries(layer.weights.map((w) => [w.name, w.tensor]));

/** x [time, features] kernel [features, heads, size] + bias, as [time][head] of arrays. */
function projected(x, kernel, bias) {
  const [features, heads, size] = kernel.shape;
  return x.map((row) =>
    Array.from({ length: heads }, (_, h) =>
      Array.from({ length: size }, (_, s) => {
        let y = bias ? bias.host[h * size + s] : 0;
        for (let f = 0; f < features; f++) y += row[f] * kernel.host[(f * heads + h) * size + s];
        return y;
      }),
    ),
  );
}

/** A head turned by its position, by Math.cos and Math.sin. */
export function turned(
  head,
  position,
  { maxWavelength = 10000, scalingFactor = 1, rotaryDim = head.length, neighbours = false, stretch = (f) => f, frequencyFactors = null },
) {
  const y = [...head];
  const half = rotaryDim / 2;
  for (let i = 0; i < half; i++) {
    const angle = (position * stretch(maxWavelength ** ((-2 * i) / rotaryDim))) / scalingFactor / (frequencyFactors?.[i] ?? 1);
    const [a, b] = neighbours ? [2 * i, 2 * i + 1] : [i, i + half];
    y[a] = head[a] * Math.cos(angle) - head[b] * Math.sin(angle);
    y[b] = head[b] * Math.cos(angle) + head[a] * Math.sin(angle);
  }
  return y;
}

/** Attention of one sample in double. `sees(i, j)` says whether query i sees key j. */
export function naive(w, { query, value = query, key = value }, { sees = () => true, rotary = null, epsilon = null }) {
  const norm = (scale) => (head) => {
    const root = Math.sqrt(head.reduce((a, b) => a + b * b, 0) / head.length + epsilon);
    return head.map((v, i) => (v / root) * scale.host[i]);
  };
  const each = (x, fn) => x.map((heads, position) => heads.map((head) => fn(head, position)));
  let q = projected(query, w.queryKernel, w.queryBias);
  let k = projected(key, w.keyKernel, w.keyBias);
  const v = projected(value, w.valueKernel, w.valueBias);
  if (epsilon !== null) [q, k] = [each(q, norm(w.queryNormScale)), each(k, norm(w.keyNormScale))];
  if (rotary !== null) [q, k] = [q, k].map((x) => each(x, (head, p) => turned(head, p, rotary)));
  const gate = w.gateKernel && projected(query, w.gateKernel, w.gateBias);
  const [heads, keyHeads, dim] = [q[0].length, k[0].length, q[0][0].length];
  const [, valueDim, ...output] = w.attentionOutputKernel.shape;
  const width = output.reduce((a, b) => a * b, 1);
  return query.flatMap((_, i) => {
    const out = new Array(width).fill(0).map((_, o) => w.attentionOutputBias?.host[o] ?? 0);
    for (let h = 0; h < heads; h++) {
      const g = Math.floor(h / (heads / keyHeads));
      const scores = k.map((heads, j) => (sees(i, j) ? q[i][h].reduce((a, x, d) => a + x * heads[g][d], 0) / Math.sqrt(dim) : -Infinity));
      const most = Math.max(...scores);
      const shares = scores.map((s) => (s === -Infinity ? 0 : Math.exp(s - most)));
      const total = shares.reduce((a, b) => a + b, 0);
      for (let d = 0; d < valueDim; d++) {
        let y = total === 0 ? 0 : shares.reduce((a, p, j) => a + (p / total) * v[j][g][d], 0);
        if (gate) y /= 1 + Math.exp(-gate[i][h][d]);
        for (let o = 0; o < width; o++) out[o] += y * w.attentionOutputKernel.host[(h * valueDim + d) * width + o];
      }
    }
    return out;
  });
}

export const stretch = (f) => {
  const wavelength = (2 * Math.PI) / f;
  if (wavelength > 40) return f / 8;
  if (wavelength < 10) return f;
  const smooth = (40 / wavelength - 1) / (4 - 1);
  return ((1 - smooth) * f) / 8 + smooth * f;
};
export const llama3 = { factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalMaxPositions: 40 };
export const causal = (i, j) => j <= i;
/** Slopes along one direction of all inputs and weights: the gradient's, and central differences of the float64 reference. */
export async function checkGradients(fn, inputs, layer) {
  const backend = BACKENDS.float64;
  const weights = layer.weights.map((w) => w.tensor);
  const loss = (xs) => {
    const y = fn(...xs);
    return sum(mul(y, values(77, ...y.shape)));
  };
  const grads = await compile((xs) => valueAndGrad(() => loss(xs), [...xs, ...weights])().grads, { backend })(inputs);
  const value = compile((xs) => loss(xs), { backend });
  for (const [i, t] of [...inputs, ...weights].entries()) {
    const at = new Float32Array(await t.data());
    const direction = new Random(i).normal(t.size);
    const slope = (await grads[i].data()).reduce((a, g, k) => a + g * direction[k], 0);
    const moved = async (by) => {
      const there = at.map((v, k) => v + by * direction[k]);
      if (i < inputs.length) return (await value(inputs.map((x, k) => (k === i ? tensor(there, t.shape) : x)))).item();
      t.set(there);
      const y = await (await value(inputs)).item();
      t.set(at);
      return y;
    };
    const h = 1 / 128;
    const difference = ((await moved(h)) - (await moved(-h))) / (2 * h);
    const size = Math.sqrt((await grads[i].data()).reduce((a, g) => a + g * g, 0) * t.size);
    if (!(Math.abs(slope - difference) <= 2e-3 * size + 1e-3)) throw new Error(`gradient ${i}: slope ${slope}, difference ${difference}`);
  }
}

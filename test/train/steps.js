/**
 * @file Steps of optimizers against Keras' formulas, written out in float64: those that no conformance case has, and for all of them
 * gradient accumulation and moving averages of the weights. Run on the CPU by steps.test.js, on the GPU by ../webgpu/conformance.test.js.
 */
import * as assert from "uvu/assert";
import { compile } from "../../build/esm/compile.js";
import { Random } from "../../build/esm/random.js";
import { tensor } from "../../build/esm/tensor.js";
import { muon } from "../../build/esm/train/muon.js";
import * as optimizers from "../../build/esm/train/optimizers.js";

const SHAPES = { "hidden/kernel": [3, 5], "tall/kernel": [6, 2], "head/kernel": [4, 3], "embedding/embeddings": [4, 2], bias: [5] };
const size = (shape) => shape.reduce((a, b) => a * b, 1);
const normal = (shape, seed) => new Random(seed).normal(size(shape));
const rms = (x, epsilon) => Math.sqrt(x + epsilon);

/** Elementwise: (w, g, state, t, rate) changes `state` (numbers that begin with 0) and returns the new weight. */
const elementwise = (rule) => () => {
  const states = new Map();
  return (name, w, g, t, rate) =>
    w.map((x, i) => {
      const key = `${name} ${i}`;
      if (!states.has(key)) states.set(key, {});
      return rule(x, g[i], states.get(key), t, rate);
    });
};

const u = (t) => 0.9 * (1 - 0.5 * 0.96 ** t);
const product = (t) => Array.from({ length: t }, (_, i) => u(i + 1)).reduce((a, b) => a * b, 1);
const adamStep = (w, g, s, t, rate) => {
  s.m = (s.m ?? 0) + (g - (s.m ?? 0)) * (1 - 0.9);
  s.v = (s.v ?? 0) + (g * g - (s.v ?? 0)) * (1 - 0.999);
  return w - (s.m * rate * Math.sqrt(1 - 0.999 ** t)) / (1 - 0.9 ** t) / (Math.sqrt(s.v) + 1e-7);
};

const transposed = (a, [n, m]) => Float64Array.from({ length: n * m }, (_, k) => a[(k % n) * m + Math.floor(k / n)]);
const times = (a, b, n, k, m) =>
  Float64Array.from({ length: n * m }, (_, at) => {
    let sum = 0;
    for (let i = 0; i < k; i++) sum += a[Math.floor(at / m) * k + i] * b[i * m + (at % m)];
    return sum;
  });
function newtonSchulz(x, [n, m]) {
  if (n > m) return transposed(newtonSchulz(transposed(x, [n, m]), [m, n]), [m, n]);
  const norm = Math.sqrt(x.reduce((s, v) => s + v * v, 0)) + 1e-7;
  let y = x.map((v) => v / norm);
  for (let step = 0; step < 5; step++) {
    const a = times(y, transposed(y, [n, m]), n, m, n);
    const b = times(a, a, n, n, n).map((v, i) => 2.0315 * v - 4.775 * a[i]);
    const by = times(b, y, n, n, m);
    y = y.map((v, i) => 3.4445 * v + by[i]);
  }
  return y;
}
/** Of matrices, but for the head and the embedding, which are adamw's as the bias. */
const muonStep = () => {
  const momentum = new Map();
  const others = elementwise((w, g, s, t, rate) => adamStep(w * (1 - 0.004 * rate), g, s, t, rate * 0.5))();
  return (name, w, g, t, rate) => {
    if (!/^(hidden|tall)/.test(name)) return others(name, w, g, t, rate);
    const m = (momentum.get(name) ?? w.map(() => 0)).map((v, i) => 0.95 * v + g[i]);
    momentum.set(name, m);
    const direction = newtonSchulz(
      Float64Array.from(m, (v, i) => g[i] + 0.95 * v),
      SHAPES[name],
    );
    const scale = rate * Math.sqrt(Math.max(...SHAPES[name])) * 0.2;
    return w.map((x, i) => x * (1 - 0.01 * rate) - scale * direction[i]);
  };
};

const momentumStep = (w, g, s, _t, rate) => w + (s.m = 0.9 * (s.m ?? 0) - rate * g);
const centeredStep = (w, g, s, _t, rate) => {
  s.v = 0.9 * (s.v ?? 0) + 0.1 * g * g;
  s.a = 0.9 * (s.a ?? 0) + 0.1 * g;
  s.m = 0.5 * (s.m ?? 0) + (rate * g) / Math.sqrt(s.v - s.a * s.a + 1e-7);
  return w - s.m;
};
const adamaxStep = (w, g, s, t, rate) => {
  s.m = (s.m ?? 0) + (g - (s.m ?? 0)) * (1 - 0.9);
  s.u = Math.max(0.999 * (s.u ?? 0), Math.abs(g));
  return w - (s.m * rate) / (1 - 0.9 ** t) / (s.u + 1e-7);
};
const adagradStep = (w, g, s, _t, rate) => {
  s.a = (s.a ?? 0.1) + g * g;
  return w - (rate * g) / Math.sqrt(s.a + 1e-7);
};
const nadamStep = (w, g, s, t, rate) => {
  s.m = (s.m ?? 0) + (g - (s.m ?? 0)) * (1 - 0.9);
  s.v = (s.v ?? 0) + (g * g - (s.v ?? 0)) * (1 - 0.999);
  const mean = (u(t + 1) * s.m) / (1 - product(t + 1)) + ((1 - u(t)) * g) / (1 - product(t));
  return w - (mean * rate) / (Math.sqrt(s.v / (1 - 0.999 ** t)) + 1e-7);
};
const adadeltaStep = (w, g, s, _t, rate) => {
  s.g = 0.95 * (s.g ?? 0) + 0.05 * g * g;
  const move = (rms(s.d ?? 0, 1e-7) * g) / rms(s.g, 1e-7);
  s.d = 0.95 * (s.d ?? 0) + 0.05 * move * move;
  return w - rate * move;
};
const lionStep = (w, g, s, _t, rate) => {
  const m = s.m ?? 0;
  s.m = 0.99 * m + 0.01 * g;
  return w - rate * Math.sign(0.9 * m + 0.1 * g);
};

/** By name: what makes the optimizer, with common options, and its formula. */
export const OPTIMIZERS = {
  sgd: [(o) => optimizers.sgd({ learningRate: 0.1, momentum: 0.9, ...o }), elementwise(momentumStep)],
  rmsprop: [(o) => optimizers.rmsprop({ learningRate: 0.1, centered: true, momentum: 0.5, ...o }), elementwise(centeredStep)],
  adam: [(o) => optimizers.adam({ learningRate: 0.1, ...o }), elementwise(adamStep)],
  adamw: [
    (o) => optimizers.adamw({ learningRate: 0.1, weightDecay: 0.02, ...o }),
    elementwise((w, g, s, t, rate) => adamStep(w * (1 - 0.02 * rate), g, s, t, rate)),
  ],
  adamax: [(o) => optimizers.adamax({ learningRate: 0.1, ...o }), elementwise(adamaxStep)],
  adagrad: [(o) => optimizers.adagrad({ learningRate: 0.1, ...o }), elementwise(adagradStep)],
  nadam: [(o) => optimizers.nadam({ learningRate: 0.1, ...o }), elementwise(nadamStep)],
  adadelta: [(o) => optimizers.adadelta({ learningRate: 1, ...o }), elementwise(adadeltaStep)],
  lion: [(o) => optimizers.lion({ learningRate: 0.1, ...o }), elementwise(lionStep)],
  muon: [(o) => muon({ learningRate: 0.1, weightDecay: 0.01, adamLrRatio: 0.5, excludeLayers: ["head"], ...o }), muonStep],
};

/** Common options, as Keras' base optimizer has them. */
export const OPTIONS = {
  "": {},
  ", accumulating gradients": { gradientAccumulationSteps: 3 },
  ", with averages": { useEma: true, emaMomentum: 0.8 },
  ", overwritten by averages": { useEma: true, emaMomentum: 0.8, emaOverwriteFrequency: 2 },
  ", accumulating, clipped, overwritten by averages": {
    gradientAccumulationSteps: 2,
    useEma: true,
    emaMomentum: 0.6,
    emaOverwriteFrequency: 3,
    clipValue: 0.7,
  },
};

/** The weights, averages and sums of gradients after each call, by keras/src/optimizers/base_optimizer.py. */
function* reference(stepOf, rate, o, params, gradsOf) {
  const step = stepOf();
  const weights = Object.fromEntries(Object.entries(params).map(([name, p]) => [name, Float64Array.from(p)]));
  const [averages, sums] = [{}, {}];
  const { gradientAccumulationSteps: calls = 1, emaMomentum, emaOverwriteFrequency: often, clipValue = Infinity } = o;
  for (let iterations = 0; ; iterations++) {
    const grads = gradsOf(iterations);
    const updates = Math.floor(iterations / calls);
    for (const name of Object.keys(weights)) {
      const sum = Float64Array.from(grads[name], (g, i) => g + (sums[name]?.[i] ?? 0));
      if ((iterations + 1) % calls === 0) {
        const clipped = sum.map((g) => Math.max(-clipValue, Math.min(clipValue, g / calls)));
        weights[name] = step(name, weights[name], clipped, updates + 1, rate);
        sums[name] = sum.map(() => 0);
      } else sums[name] = sum;
      if (!o.useEma) continue;
      const momentum = updates === 0 ? 0 : emaMomentum;
      averages[name] = weights[name].map((w, i) => momentum * (averages[name]?.[i] ?? 0) + (1 - momentum) * w);
      if (often && (updates + 1) % often === 0) weights[name] = averages[name].slice();
    }
    yield { weights, averages, sums };
  }
}

const CALLS = 9;
const names = Object.keys(SHAPES);
const paramsOf = () => Object.fromEntries(names.map((name, i) => [name, normal(SHAPES[name], 100 + i)]));
const gradsOf = (t) => Object.fromEntries(names.map((name, i) => [name, normal(SHAPES[name], 10 * t + i)]));
const asTensors = (values) => Object.fromEntries(names.map((name) => [name, tensor(values[name].slice(), SHAPES[name])]));

async function near(t, want, what, tolerance) {
  const got = await t.data();
  got.forEach((v, i) =>
    assert.ok(Math.abs(v - want[i]) <= tolerance * Math.max(1, Math.abs(want[i])), `${what}: ${v}, expected ${want[i]}`),
  );
}

export function stepTests(test, label, backend) {
  for (const [kind, [make, formula]] of Object.entries(OPTIMIZERS)) {
    for (const [what, o] of Object.entries(OPTIONS)) {
      test(`${kind}${what} takes the steps of Keras' formulas (${label})`, async () => {
        const optimizer = make(o);
        const params = asTensors(paramsOf());
        const step = compile((grads) => optimizer.update(params, grads), { backend });
        const rate = optimizer.learningRate;
        const wanted = reference(formula, rate, o, paramsOf(), gradsOf);
        for (let t = 0; t < CALLS; t++) {
          await step(asTensors(gradsOf(t)));
          const { weights, averages, sums } = wanted.next().value;
          const state = optimizer.state();
          for (const [i, name] of names.entries()) {
            // The iteration of muon takes rounding errors up to some 3^5 times; a sign near 0 is not met by these numbers.
            const tolerance = (kind === "muon" ? 4e-5 : 4e-6) * (backend.name === "webgpu" ? 5 : 1);
            await near(params[name], weights[name], `${name} after call ${t}`, tolerance);
            if (o.useEma) await near(state[`average/${i}`], averages[name], `average of ${name} after call ${t}`, tolerance);
            if (o.gradientAccumulationSteps)
              await near(state[`gradientAccumulator/${i}`], sums[name], `gradients of ${name} after call ${t}`, tolerance);
          }
        }
        assert.is(await optimizer.iterations.item(), CALLS);
        step.close();
      });
    }
  }
}

/**
 * Tests of elementary functions through compiled elementwise ops, on both WASM builds: errors in units in the last
 * place against double precision, special values, and that a value does not depend on its place in the tensor.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Graph, trace } from "../build/esm/graph.js";
import * as m from "../build/esm/ops/map.js";
import { prepare, randomSource, wasms } from "./ops/harness.js";
import { erf, erfc } from "./reference/elementwise.js";

const CHUNK = 1 << 16;

/** `fn` on any number of arguments: lists of f32 in, f32 out, in chunks of one compiled size. */
async function compiled(wasm, fn, operands) {
  const graph = new Graph();
  const results = trace(graph, () => [fn(...Array.from({ length: operands }, () => graph.input({ shape: [CHUNK], dtype: "f32" })))]);
  const program = await prepare(wasm, graph, results);
  return async (...lists) => {
    const out = new Float32Array(lists[0].length);
    for (let from = 0; from < out.length; from += CHUNK) {
      const [y] = await program.run(
        lists.map((list) => {
          const chunk = new Float32Array(CHUNK);
          chunk.set(list.subarray(from, from + CHUNK));
          return chunk;
        }),
      );
      out.set(y.subarray(0, out.length - from), from);
    }
    return out;
  };
}

const range = (low, high, n) => Float32Array.from({ length: n }, (_, k) => low + ((high - low) * (k + 0.5)) / n);

/** Every 20011th f32: all exponents, both signs. */
const ALL = (() => {
  const bits = Uint32Array.from({ length: Math.floor(2 ** 32 / 20011) }, (_, k) => k * 20011);
  return new Float32Array(bits.buffer).filter((x) => Number.isFinite(x));
})();
const SWEEP = Float32Array.of(...range(-4, 4, 60000), ...range(-110, 110, 60000));

/** The distance of two neighbours of f32 at `x`. */
function spacing(x) {
  return 2 ** Math.max(-149, Math.floor(Math.log2(Math.abs(x))) - 23);
}

/** Error of `got` in units in the last place; infinite where one is NaN or infinite and the other not. */
function ulps(got, want) {
  const rounded = Math.fround(want);
  if (!Number.isFinite(rounded) || !Number.isFinite(got)) {
    // Just beyond the largest number either is right.
    const atTheEdge = Math.abs(want) > 3.4028233e38 && Math.abs(got) > 3.4028233e38 && Math.sign(got) === Math.sign(want);
    return Object.is(got, rounded) || atTheEdge ? 0 : Infinity;
  }
  return Math.abs(got - want) / spacing(want === 0 ? 2 ** -149 : want);
}

function worst(got, want, xs) {
  let [most, at] = [0, 0];
  got.forEach((y, k) => {
    const error = ulps(y, want(xs[k]));
    if (error > most) [most, at] = [error, xs[k]];
  });
  return { most, at };
}

const within = (limit) => (x) => Math.abs(x) < limit;
/** Function, double precision, the bounds that assembly/math.ts states for the plain and the relaxed build, domain. */
const FUNCTIONS = [
  ["exp", Math.exp, 1.15, 0.89],
  ["expm1", Math.expm1, 1.36, 1.39],
  ["log", Math.log, 0.78, 0.78],
  ["log1p", Math.log1p, 1.37, 1.37],
  ["tanh", Math.tanh, 2.39, 2.39],
  ["sigmoid", (x) => 1 / (1 + Math.exp(-x)), 2.3, 2.26],
  ["erf", erf, 1.89, 1.66],
  ["erfc", erfc, 4.2, 3.9],
  ["sin", Math.sin, 1.55, 1.54, within(6.5e6)],
  ["cos", Math.cos, 1.57, 1.57, within(6.5e6)],
  ["sqrt", Math.sqrt, 0.5, 0.5],
  ["reciprocal", (x) => 1 / x, 0.5, 0.5],
  ["rsqrt", (x) => 1 / Math.sqrt(x), 1.5, 1.5],
];
/** The sweeps here are not those that the bounds were measured with. */
const SLACK = 0.1;

for (const [name, want, plain, relaxed, domain = () => true] of FUNCTIONS) {
  for (const wasm of wasms) {
    const bound = (wasm.simd === "plain" ? plain : relaxed) + SLACK;
    test(`${name}, ${wasm.simd}${wasm === wasms[0] ? "" : " (default)"}: within ${bound.toFixed(2)} ulp`, async () => {
      const f = await compiled(wasm, m[name], 1);
      for (const xs of [ALL.filter(domain), SWEEP]) {
        const { most, at } = worst(await f(xs), want, xs);
        assert.ok(most <= bound, `${most} ulp at ${at}`);
      }
    });
  }
}

const SPECIAL = {
  exp: [[NaN, NaN], [Infinity, Infinity], [-Infinity, 0], [0, 1], [-0, 1], [89, Infinity], [-104, 0]],
  expm1: [[NaN, NaN], [Infinity, Infinity], [-Infinity, -1], [0, 0], [-0, -0], [89, Infinity], [1e-40, Math.fround(1e-40)], [-100, -1]],
  log: [[NaN, NaN], [Infinity, Infinity], [-Infinity, NaN], [0, -Infinity], [-0, -Infinity], [1, 0], [-1, NaN], [-1e-45, NaN]],
  log1p: [[NaN, NaN], [Infinity, Infinity], [-Infinity, NaN], [0, 0], [-0, -0], [-1, -Infinity], [-2, NaN], [1e-40, Math.fround(1e-40)]],
  tanh: [[NaN, NaN], [Infinity, 1], [-Infinity, -1], [0, 0], [-0, -0], [20, 1], [-20, -1]],
  sigmoid: [[NaN, NaN], [Infinity, 1], [-Infinity, 0], [0, 0.5], [-0, 0.5], [30, 1], [200, 1], [-200, 0]],
  erf: [[NaN, NaN], [Infinity, 1], [-Infinity, -1], [0, 0], [-0, -0], [5, 1], [-5, -1]],
  erfc: [[NaN, NaN], [Infinity, 0], [-Infinity, 2], [0, 1], [-0, 1], [1e-40, 1], [-1e-40, 1], [10.06, 0], [11, 0], [-5, 2]],
  sin: [[NaN, NaN], [Infinity, NaN], [-Infinity, NaN], [0, 0], [-0, -0]],
  cos: [[NaN, NaN], [Infinity, NaN], [-Infinity, NaN], [0, 1], [-0, 1]],
  sqrt: [[NaN, NaN], [Infinity, Infinity], [-1, NaN], [0, 0], [-0, -0]],
  relu: [[NaN, NaN], [Infinity, Infinity], [-Infinity, 0], [0, 0], [3, 3], [-3, 0]],
  round: [[-2.5, -2], [-1.5, -2], [0.5, 0], [1.5, 2], [2.5, 2], [8388609, 8388609], [Infinity, Infinity], [NaN, NaN]],
  abs: [[-0, 0], [-Infinity, Infinity], [NaN, NaN]],
  neg: [[0, -0], [-0, 0], [Infinity, -Infinity]],
  sign: [[-3, -1], [3, 1], [0, 0], [Infinity, 1], [NaN, NaN]],
};

for (const [name, pairs] of Object.entries(SPECIAL)) {
  test(`${name}: special values, signs of zero included`, async () => {
    for (const wasm of wasms) {
      const got = await (await compiled(wasm, m[name], 1))(Float32Array.from(pairs, (p) => p[0]));
      pairs.forEach(([x, y], k) =>
        assert.ok(
          Object.is(got[k], y),
          `${wasm.simd}: ${name}(${Object.is(x, -0) ? "-0" : x}) is ${Object.is(got[k], -0) ? "-0" : got[k]}, expected ` +
            `${Object.is(y, -0) ? "-0" : y}`,
        ),
      );
    }
  });
}

/** ECMAScript has NaN where IEEE 754 has 1. */
const power = (x, y) => (x === 1 || (x === -1 && Math.abs(y) === Infinity) ? 1 : x ** y);

test("pow: within 0.6 ulp over bases and exponents, equal bits in both builds", async () => {
  const random = randomSource(11);
  const n = 200000;
  // Bases of all magnitudes, exponents that keep most results in range.
  const xs = Float32Array.from({ length: n }, () => 2 ** ((random() - 0.5) * 250) * (1 + random()));
  const ys = xs.map((x) => ((random() - 0.5) * 260) / Math.max(0.01, Math.abs(Math.log2(x))));
  const results = [];
  for (const wasm of wasms) {
    const got = await (await compiled(wasm, m.pow, 2))(xs, ys);
    got.forEach((z, k) => {
      const error = ulps(z, xs[k] ** ys[k]);
      if (!(error <= 0.6)) assert.unreachable(`${wasm.simd}: pow(${xs[k]}, ${ys[k]}) is ${z}: ${error} ulp`);
    });
    results.push(got);
  }
  assert.equal(results[0], results[1]);
});

test("pow: all pairs of special values, as IEEE 754 says", async () => {
  const list = [
    NaN,
    Infinity,
    -Infinity,
    0,
    -0,
    1,
    -1,
    2,
    -2,
    3,
    -3,
    0.5,
    -0.5,
    1.5,
    -1.5,
    1e-45,
    -1e-45,
    3.4028234663852886e38,
    -3.4028234663852886e38,
    16777216,
    16777215,
    -16777215,
    1e10,
    33,
    -33,
  ].map(Math.fround);
  const pairs = list.flatMap((x) => list.map((y) => [x, y]));
  for (const wasm of wasms) {
    const got = await (
      await compiled(wasm, m.pow, 2)
    )(
      Float32Array.from(pairs, (p) => p[0]),
      Float32Array.from(pairs, (p) => p[1]),
    );
    pairs.forEach(([x, y], k) => {
      const want = power(x, y);
      const right = Object.is(got[k], Math.fround(want)) || (Number.isFinite(want) && want !== 0 && ulps(got[k], want) <= 0.6);
      assert.ok(right, `${wasm.simd}: pow(${Object.is(x, -0) ? "-0" : x}, ${Object.is(y, -0) ? "-0" : y}) is ${got[k]}, expected ${want}`);
    });
  }
});

test("sin and cos of large arguments: an absolute error of some 2^-53 |x|, and never outside [-1, 1]", async () => {
  for (const wasm of wasms) {
    for (const [name, want] of [["sin", Math.sin], ["cos", Math.cos]]) {
      const xs = ALL.filter((x) => Math.abs(x) >= 6.5e6);
      (await (await compiled(wasm, m[name], 1))(xs)).forEach((y, k) => {
        assert.ok(y >= -1 && y <= 1, `${name}(${xs[k]}) is ${y}`);
        const bound = 2 ** -23 + 2 ** -51 * Math.abs(xs[k]);
        if (bound < 1) assert.ok(Math.abs(y - want(xs[k])) <= bound, `${name}(${xs[k]}) is ${y}, expected ${want(xs[k])}`);
      });
    }
  }
});

test("functions are monotonic where they saturate, and stay in their range", async () => {
  for (const wasm of wasms) {
    const xs = range(-20, 20, 100000);
    for (const [name, low, high] of [["tanh", -1, 1], ["sigmoid", 0, 1], ["erf", -1, 1], ["erfc", 0, 2]]) {
      (await (await compiled(wasm, m[name], 1))(xs)).forEach((y, k) => assert.ok(y >= low && y <= high, `${name}(${xs[k]}) is ${y}`));
    }
  }
});

test("odd functions are odd, bit by bit", async () => {
  for (const wasm of wasms) {
    const xs = range(0, 12, 50000);
    for (const name of ["tanh", "erf", "sin"]) {
      const f = await compiled(wasm, m[name], 1);
      assert.equal(
        (await f(xs.map((x) => -x))).map((y) => -y),
        await f(xs),
        name,
      );
    }
  }
});

test("a value does not depend on its place: vector, tail, tile and piece give the same bits", async () => {
  const xs = range(-3, 3, 16384 + 515);
  for (const wasm of wasms) {
    for (const name of FUNCTIONS.map((f) => f[0])) {
      const graphOf = async (n) => {
        const graph = new Graph();
        const results = trace(graph, () => [m[name](graph.input({ shape: [n], dtype: "f32" }))]);
        return prepare(wasm, graph, results);
      };
      const [whole] = await (await graphOf(xs.length)).run([xs]);
      for (const n of [1, 2, 3, 5, 513]) {
        const program = await graphOf(n);
        for (const from of [0, 1, 510, 511, 16383, xs.length - n]) {
          const [part] = await program.run([xs.slice(from, from + n)]);
          assert.ok(
            part.every((y, k) => Object.is(y, whole[from + k])),
            `${wasm.simd}: ${name}, ${n} from ${from}`,
          );
        }
        program.close();
      }
    }
  }
});

test.run();

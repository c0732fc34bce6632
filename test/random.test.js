// The host's random numbers and the initializers made from them.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ArgumentError, ShapeError } from "../build/esm/errors.js";
import {
  computeFans,
  constant,
  identity,
  initializer,
  orthogonal,
  randomNormal,
  randomUniform,
  truncatedNormal,
} from "../build/esm/nn/initializers.js";
import { Random, permutation, permutationOf, philox4x32 } from "../build/esm/random.js";

const moments = (values) => {
  let mean = 0;
  let variance = 0;
  for (const v of values) mean += v / values.length;
  for (const v of values) variance += (v - mean) ** 2 / values.length;
  return { mean, variance };
};
const near = (actual, expected, tolerance, what) =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${what}: expected ${expected} +- ${tolerance}, got ${actual}`);

test("philox4x32 gives the known answers of Random123", () => {
  assert.equal([...philox4x32([0, 0, 0, 0], [0, 0])], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  const ones = 0xffffffff;
  assert.equal([...philox4x32([ones, ones, ones, ones], [ones, ones])], [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
  assert.equal(
    [...philox4x32([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0])],
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  );
});

test("a draw is the Philox blocks of (block, stream, draw, 0) under the seed's two words", () => {
  const seed = 5 * 2 ** 32 + 7;
  const random = new Random(seed, 11);
  random.bits(3);
  const bits = random.bits(6);
  assert.equal([...bits.subarray(0, 4)], [...philox4x32([0, 11, 1, 0], [7, 5])]);
  assert.equal([...bits.subarray(4)], [...philox4x32([1, 11, 1, 0], [7, 5]).subarray(0, 2)]);
  assert.is(random.draws, 2);
});

test("equal seeds repeat, other seeds and streams differ", () => {
  const first = [...new Random(3, 1).uniform(8)];
  assert.equal([...new Random(3, 1).uniform(8)], first);
  assert.not.equal([...new Random(4, 1).uniform(8)], first);
  assert.not.equal([...new Random(3, 2).uniform(8)], first);
  assert.not.equal([...new Random(3 + 2 ** 32, 1).uniform(8)], first);
});

test("seeds, streams and counts are checked", () => {
  for (const seed of [-1, 0.5, 2 ** 53, NaN, "1"])
    assert.throws(
      () => new Random(seed),
      (e) => e instanceof ArgumentError && e.message.includes(String(seed)),
    );
  for (const stream of [-1, 2 ** 32, 1.5])
    assert.throws(
      () => new Random(0, stream),
      (e) => e instanceof ArgumentError,
    );
  assert.throws(
    () => new Random(0).uniform(-1),
    (e) => e instanceof ArgumentError,
  );
  assert.throws(
    () => permutation(2 ** 31, [0, 0, 0, 0]),
    (e) => e instanceof ArgumentError,
  );
});

test("uniform: multiples of 2^-24 in [0, 1) with the right moments", () => {
  const values = new Random(1).uniform(100000);
  assert.ok(values.every((v) => v >= 0 && v < 1 && Number.isInteger(v * 2 ** 24)));
  const { mean, variance } = moments(values);
  near(mean, 1 / 2, 0.004, "mean");
  near(variance, 1 / 12, 0.002, "variance");
});

test("normal: Box-Muller of the uniforms, within half an ulp of the engine's own functions in double", () => {
  const count = 10001;
  const bits = new Random(9).bits(count + 1);
  const values = new Random(9).normal(count);
  for (let i = 0; i < count; i++) {
    const radius = Math.sqrt(-2 * Math.log(((bits[i & ~1] >>> 8) + 1) / 2 ** 24));
    const angle = (2 * Math.PI * (bits[i | 1] >>> 8)) / 2 ** 24;
    const expected = radius * (i % 2 === 0 ? Math.cos(angle) : Math.sin(angle));
    near(values[i], expected, Math.abs(expected) * 2 ** -23.99 + 1e-14, `normal ${i}`);
  }
  const { mean, variance } = moments(new Random(2).normal(100000));
  near(mean, 0, 0.013, "mean");
  near(variance, 1, 0.02, "variance");
});

test("truncatedNormal: inside two standard deviations, variance 0.774, exact length", () => {
  for (const count of [0, 1, 2, 3, 5, 97]) assert.is(new Random(4).truncatedNormal(count).length, count);
  const values = new Random(4).truncatedNormal(100000);
  assert.ok(values.every((v) => v !== 0 && Math.abs(v) <= 2));
  assert.is(new Set(values.subarray(0, 1000)).size, 1000);
  const { mean, variance } = moments(values);
  near(mean, 0, 0.012, "mean");
  near(variance, 0.87962566103423978 ** 2, 0.01, "variance");
});

test("permutation is a bijection for every size", () => {
  const sizes = [...Array.from({ length: 70 }, (_, i) => i), 127, 128, 129, 997, 1024, 4099];
  for (const size of sizes) {
    const p = permutation(size, [size, 1, 2, 3], 4);
    assert.equal(
      [...p].sort((a, b) => a - b),
      Array.from({ length: size }, (_, i) => i),
      `size ${size}`,
    );
  }
});

test("permutation depends on every key word and the stream, and not on the number of elements asked for", () => {
  const base = permutation(50, [1, 2, 3, 4], 5).join();
  for (let word = 0; word < 4; word++) {
    const key = [1, 2, 3, 4];
    key[word] ^= 0x80000000;
    assert.is.not(permutation(50, key, 5).join(), base);
  }
  assert.is.not(permutation(50, [1, 2, 3, 4], 6).join(), base);
  const at = permutationOf(2 ** 31 - 1, [1, 2, 3, 4], 5);
  const seen = new Set(Array.from({ length: 200 }, (_, i) => at(2 ** 31 - 2 - i)));
  assert.is(seen.size, 200);
  assert.ok([...seen].every((v) => v >= 0 && v < 2 ** 31 - 1));
});

test("all 24 permutations of four come equally often", () => {
  const counts = new Map();
  const total = 24000;
  for (let i = 0; i < total; i++) {
    const p = permutation(4, [i, 0, 0, 0]).join();
    counts.set(p, (counts.get(p) ?? 0) + 1);
  }
  assert.is(counts.size, 24);
  let chiSquare = 0;
  for (const n of counts.values()) chiSquare += (n - total / 24) ** 2 / (total / 24);
  assert.ok(chiSquare < 49.7, `chi-square with 23 degrees of freedom is below 49.7 in 99.9% of cases, got ${chiSquare}`);
});

test("every element is as often anywhere, and as often before any other", () => {
  const size = 13;
  const total = 10000;
  const place = new Float64Array(size * size);
  const pair = new Float64Array(size * size);
  for (let i = 0; i < total; i++) {
    const p = permutation(size, [7, i, 0, 0]);
    for (let j = 0; j < size; j++) {
      place[j * size + p[j]]++;
      if (j > 0) pair[p[j - 1] * size + p[j]]++;
    }
  }
  let places = 0;
  let pairs = 0;
  for (let i = 0; i < size * size; i++) {
    places += (place[i] - total / size) ** 2 / (total / size);
    if (i % (size + 1) !== 0) pairs += (pair[i] - total / size) ** 2 / (total / size);
  }
  assert.ok(places < 202, `chi-square with 144 degrees of freedom, 99.9%: 202, got ${places}`);
  assert.ok(pairs < 204, `chi-square with about 143 degrees of freedom, 99.9%: 204, got ${pairs}`);
});

test("computeFans as Keras", () => {
  assert.equal(computeFans([]), { fanIn: 1, fanOut: 1 });
  assert.equal(computeFans([7]), { fanIn: 7, fanOut: 7 });
  assert.equal(computeFans([3, 5]), { fanIn: 3, fanOut: 5 });
  assert.equal(computeFans([3, 2, 4, 8]), { fanIn: 24, fanOut: 48 });
});

const SHAPE = [3, 3, 20, 60];
const FAN_IN = 180;
const FAN_AVERAGE = 360;
const LIMITS = {
  glorotUniform: Math.sqrt(3 / FAN_AVERAGE),
  heUniform: Math.sqrt(6 / FAN_IN),
  lecunUniform: Math.sqrt(3 / FAN_IN),
  randomUniform: 0.05,
};
for (const [name, limit] of Object.entries(LIMITS)) {
  test(`${name} fills its bounds`, () => {
    const values = initializer(name)(SHAPE, new Random(1));
    assert.is(values.length, 10800);
    const largest = values.reduce((m, v) => Math.max(m, v), -1);
    const smallest = values.reduce((m, v) => Math.min(m, v), 1);
    near(largest, limit, limit * 0.002, "largest");
    near(smallest, -limit, limit * 0.002, "smallest");
    near(moments(values).variance, limit ** 2 / 3, limit ** 2 * 0.015, "variance");
  });
}

const STDDEVS = { glorotNormal: Math.sqrt(1 / FAN_AVERAGE), heNormal: Math.sqrt(2 / FAN_IN), lecunNormal: Math.sqrt(1 / FAN_IN) };
for (const [name, stddev] of Object.entries(STDDEVS)) {
  test(`${name} has its variance and is cut off`, () => {
    const values = initializer(name)(SHAPE, new Random(2));
    near(Math.sqrt(moments(values).variance), stddev, stddev * 0.025, "standard deviation");
    near(
      values.reduce((m, v) => Math.max(m, Math.abs(v)), 0),
      (2 * stddev) / 0.87962566103423978,
      stddev * 0.02,
      "largest",
    );
  });
}

test("initializers with parameters", () => {
  const uniform = randomUniform(2, 5)([10000], new Random(1));
  assert.ok(uniform.every((v) => v >= 2 && v <= 5));
  near(moments(uniform).mean, 3.5, 0.04, "uniform mean");
  const normal = randomNormal(3, 2)([10000], new Random(1));
  near(moments(normal).mean, 3, 0.09, "normal mean");
  near(moments(normal).variance, 4, 0.25, "normal variance");
  assert.ok(normal.some((v) => Math.abs(v - 3) > 4));
  const truncated = truncatedNormal(3, 2)([10000], new Random(1));
  assert.ok(truncated.every((v) => Math.abs(v - 3) <= 4));
  near(moments(truncated).variance, 4 * 0.7737, 0.15, "truncated variance");
  assert.equal([...constant(2.5)([3])], [2.5, 2.5, 2.5]);
  assert.equal([...initializer("zeros")([2]), ...initializer("ones")([2])], [0, 0, 1, 1]);
  assert.equal([...identity(2)([2, 3])], [2, 0, 0, 0, 2, 0]);
  assert.throws(
    () => identity()([2]),
    (e) => e instanceof ShapeError,
  );
});

for (const shape of [[1, 1], [5, 5], [64, 64], [40, 7], [7, 40], [3, 3, 4, 50], [3, 3, 4, 5]]) {
  test(`orthogonal [${shape}] has orthonormal columns or rows, times the gain`, () => {
    const columns = shape.at(-1);
    const rows = shape.slice(0, -1).reduce((a, b) => a * b, 1);
    const q = orthogonal(2)(shape, new Random(6));
    const byColumn = rows >= columns;
    const count = Math.min(rows, columns);
    const size = Math.max(rows, columns);
    const element = (vector, i) => (byColumn ? q[i * columns + vector] : q[vector * columns + i]);
    for (let a = 0; a < count; a++) {
      for (let b = 0; b <= a; b++) {
        let dot = 0;
        for (let i = 0; i < size; i++) dot += element(a, i) * element(b, i);
        near(dot, a === b ? 4 : 0, 2e-6, `vectors ${a} and ${b}`);
      }
    }
  });
}

test("orthogonal keeps the sign that makes R's diagonal positive, and needs two dimensions", () => {
  const normals = new Random(8).normal(12);
  const q = orthogonal()([4, 3], new Random(8));
  for (let j = 0; j < 3; j++) {
    let diagonal = 0;
    for (let i = 0; i < 4; i++) diagonal += q[i * 3 + j] * normals[i * 3 + j];
    assert.ok(diagonal > 0, `R[${j}, ${j}] = ${diagonal}`);
  }
  assert.throws(
    () => orthogonal()([4], new Random(8)),
    (e) => e instanceof ShapeError,
  );
});

test("initializer passes functions through and names what it knows", () => {
  const own = () => new Float32Array(1);
  assert.is(initializer(own), own);
  for (const name of ["glorot_uniform", "toString"]) {
    assert.throws(
      () => initializer(name),
      (e) => e instanceof ArgumentError && e.message.includes(name) && e.message.includes("glorotUniform"),
    );
  }
});

test.run();

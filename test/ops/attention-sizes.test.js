/** Tests of attention over sizes: every head size, partial tiles of queries and keys, threads, and what it takes of memory. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { gradients } from "../../build/esm/grad.js";
import { Graph, trace } from "../../build/esm/graph.js";
import { open } from "../../build/esm/init.js";
import { withMode } from "../../build/esm/mode.js";
import { attention, attentionToHalves } from "../../build/esm/ops/attention.js";
import { mul } from "../../build/esm/ops/map.js";
import { sum } from "../../build/esm/ops/reduce.js";
import { scatterHalves } from "../../build/esm/ops/scatter.js";
import { buildPlan } from "../../build/esm/plan/build.js";
import { ULP, assertClose, f, maxAbs, reference, runOnce, traceForward, traceGradient, u, values, wasms } from "./harness.js";
import { fromHalves } from "../reference/halves.js";

/** y and the gradients of all inputs, on both builds against the reference. */
async function check(name, inputs, fn) {
  const c = { op: "attention", name, inputs, fn };
  const [forward, backward] = [traceForward(c), traceGradient(c)];
  const [[y], [, ...gradient]] = [await runOnce(reference, forward), await runOnce(reference, backward)];
  for (const wasm of wasms) {
    const [got] = await runOnce(wasm, forward);
    assertClose(got, y, "f32", { tolerance: 64 * ULP, scale: 4, what: `${name}: ${wasm.simd}` });
    const [, ...slopes] = await runOnce(wasm, backward);
    slopes.forEach((g, k) => {
      const scale = Math.max(1e-3, maxAbs(gradient[k]));
      assertClose(g, gradient[k], "f32", { tolerance: 5e-5, scale, what: `${name}: ${wasm.simd}, gradient ${k}` });
    });
  }
}

const operands = ({ b = 1, tq, tk, heads = 1, kvHeads = heads, dim, valueDim = dim }) => [
  f([b, tq, heads, dim]),
  f([b, tk, kvHeads, dim]),
  f([b, tk, kvHeads, valueDim]),
];

for (const [what, tq, tk] of [["tiles", 9, 11], ["few queries", 2, 11]]) {
  test(`every head size from 1 to 256, ${what}`, async () => {
    for (let dim = 1; dim <= 256; dim++) {
      const valueDim = 257 - dim;
      await check(`dim ${dim}, values ${valueDim}`, operands({ tq, tk, dim, valueDim }), (q, k, v) => attention(q, k, v));
    }
  });
}

test("heads so large that tiles are smaller", async () => {
  for (const dim of [420, 700, 2048]) await check(`dim ${dim}`, operands({ tq: 70, tk: 35, dim }), (q, k, v) => attention(q, k, v));
});

const EDGES = [1, 4, 5, 7, 8, 9, 63, 64, 65, 71, 130];
const KINDS = {
  all: {},
  causal: { causal: true },
  "causal, few positions": { causal: true, offset: -3 },
  "causal, window": { causal: true, window: 20 },
  window: { window: 9, offset: 2 },
};
for (const [kind, options] of Object.entries(KINDS)) {
  test(`partial tiles: ${kind}`, async () => {
    for (const tq of EDGES) {
      for (const tk of EDGES) {
        await check(`${tq} queries, ${tk} keys`, operands({ tq, tk, dim: 5, valueDim: 3 }), (q, k, v) => attention(q, k, v, options));
      }
    }
  });
}

const key = values([12, 345, 6, 1], "u32");

test("masks, lengths, dropout and grouped heads over several tiles", async () => {
  const sizes = { b: 2, tq: 75, tk: 133, heads: 4, kvHeads: 2, dim: 6, valueDim: 9 };
  const mask = { shape: [2, 1, 75, 133], dtype: "bool", low: 0, high: 1 };
  const added = [f([4, 75, 133]), f([133])];
  const lengths = values([133, 70], "i32");
  const offset = values([58, 20], "i32");
  await check("bool", [...operands(sizes), mask], (q, k, v, m) => attention(q, k, v, { mask: m, causal: true }));
  for (const a of added)
    await check(`added ${a.shape}`, [...operands(sizes), a], (q, k, v, m) => attention(q, k, v, { mask: m, window: 50 }));
  await check("ragged", [...operands(sizes), lengths, offset], (q, k, v, n, o) =>
    attention(q, k, v, { lengths: n, offset: o, causal: true }),
  );
  for (const options of [{}, { causal: true }, { causal: true, window: 30 }]) {
    await check("dropout", [...operands(sizes), key], (q, k, v, seed) =>
      withMode({ training: true, key: () => seed }, () => attention(q, k, v, { dropout: 0.25, ...options })),
    );
  }
});

test("a cache's rows behind the position are not read", async () => {
  for (const tq of [1, 3, 20]) {
    const [tk, dim, positions] = [200, 8, [0, 37, 180]];
    const inputs = operands({ b: 3, tq, tk, heads: 2, dim });
    const options = (offset) => ({ causal: true, offset });
    const traced = traceForward({ inputs: [...inputs, values(positions, "i32")], fn: (q, k, v, o) => attention(q, k, v, options(o)) });
    const want = await runOnce(reference, traced);
    for (const x of traced.data.slice(1, 3)) {
      positions.forEach((position, b) => x.fill(NaN, (b * tk + position + tq) * 2 * dim, (b + 1) * tk * 2 * dim));
    }
    for (const wasm of wasms) assertClose((await runOnce(wasm, traced))[0], want[0], "f32", { tolerance: 64 * ULP, scale: 4 });
  }
});

test("the weights that dropout keeps: as many as it should, others with each key and stream", async () => {
  const [tq, tk] = [40, 250];
  const seen = async (words, streams) => {
    const graph = new Graph();
    const results = trace(graph, () => {
      const [k, seed] = [graph.input({ shape: [1, tk, 1, 1], dtype: "f32" }), graph.input({ shape: [4], dtype: "u32" })];
      const ones = graph.constant(1, "f32", [1, tq, 1, 1]);
      // Values of one key each: the result is the weights themselves.
      const identity = graph.input({ shape: [1, tk, 1, tk], dtype: "f32" });
      for (let i = 1; i < streams; i++) graph.nextStream();
      return [withMode({ training: true, key: () => seed }, () => attention(ones, k, identity, { dropout: 0.25 }))];
    });
    const identity = new Float64Array(tk * tk);
    for (let j = 0; j < tk; j++) identity[j * tk + j] = 1;
    return (await runOnce(wasms[0], { graph, results, data: [new Float64Array(tk), Uint32Array.from(words), identity] }))[0];
  };
  const first = await seen([1, 2, 3, 4], 1);
  const kept = first.filter((w) => w > 0).length / first.length;
  assert.ok(Math.abs(kept - 0.75) < 0.02, `${kept} are kept`);
  for (const w of first) assert.ok(w === 0 || Math.abs(w * tk - 4 / 3) < 1e-5, `${w * tk}`);
  for (const [words, stream] of [[[2, 2, 3, 4], 1], [[1, 3, 3, 4], 1], [[1, 2, 4, 4], 1], [[1, 2, 3, 5], 1], [[1, 2, 3, 4], 2]]) {
    const other = await seen(words, stream);
    const same = other.filter((w, i) => w > 0 === first[i] > 0).length / first.length;
    assert.ok(Math.abs(same - (0.75 ** 2 + 0.25 ** 2)) < 0.03, `${words}, stream ${stream}: ${same} are the same`);
  }
});

/** A training step's part: y, and gradients of q, k and v. */
function step({ b = 1, t, heads = 2, kvHeads = heads, dim = 16, options = {} }) {
  const graph = new Graph();
  const results = trace(graph, () => {
    const [q, k, v, d] = [heads, kvHeads, kvHeads, heads].map((h) => graph.input({ shape: [b, t, h, dim], dtype: "f32" }));
    const y = attention(q, k, v, { causal: true, ...options });
    return [y, ...gradients(sum(mul(y, d)), [q, k, v])];
  });
  return { graph, results };
}

test("the same bits with 1, 2 and 3 threads", async () => {
  for (const reproducible of [true, false]) {
    const backends = await Promise.all([1, 2, 3].map((threads) => open("wasm", { threads, reproducible })));
    for (const given of [{ t: 200 }, { b: 3, t: 70, heads: 4, kvHeads: 2 }, { t: 4, b: 5, heads: 8, kvHeads: 1 }, { t: 1100, heads: 1 }]) {
      const traced = step(given);
      const data = traced.graph.inputs.map(({ size }, i) => Float64Array.from({ length: size }, (_, j) => Math.sin(j * (i + 1)) * 2));
      const [one, ...others] = await Promise.all(backends.map((backend) => runOnce(backend, { ...traced, data })));
      for (const other of others) other.forEach((x, k) => assert.equal(Buffer.from(x.buffer), Buffer.from(one[k].buffer), `${k}`));
    }
    for (const backend of backends) backend.close();
  }
});

test("memory of a step grows as the sequence does, from 512 to 8,192", async () => {
  const sizes = [512, 1024, 2048, 4096, 8192];
  for (const backend of [...wasms, reference]) {
    const bytes = [];
    for (const t of sizes) {
      const { graph, results } = step({ t });
      const program = await backend.compile(buildPlan(graph, results, backend.limits));
      bytes.push(program.bytes);
      program.close();
    }
    bytes.slice(1).forEach((n, i) => assert.ok(n <= 2.05 * bytes[i], `${backend.name}: ${bytes} bytes for ${sizes}`));
    // Scores of two heads alone would be 512 MiB.
    assert.ok(bytes.at(-1) < 2 ** 26, `${bytes.at(-1)} bytes for ${sizes.at(-1)}`);
  }
});

test("a plan has the result and the row's log-sum-exp, this only where gradients want it", () => {
  const { graph, results } = step({ t: 32 });
  const callsOf = (wanted) => buildPlan(graph, wanted, reference.limits).calls.filter((c) => c.kernel.startsWith("attention"));
  const [forward] = callsOf(results.slice(0, 1));
  assert.equal(
    forward.outputs.map((o) => o?.shape ?? null),
    [[1, 32, 2, 16], null],
  );
  const [kept, grad] = callsOf(results);
  assert.equal(
    kept.outputs.map((o) => o?.shape ?? null),
    [[1, 32, 2, 16], [1, 2, 32]],
  );
  assert.equal(grad.outputs[3] ?? null, null, "no gradient of scores where nobody asks for that of a mask");
});

const t4 = (...shape) => ({ shape, dtype: "f32" });
const ERRORS = [
  [
    "rank",
    [[2, 3, 4], [2, 3, 1, 4], [2, 3, 1, 4]],
    {},
    /ShapeError: attention: expected q \[batch, queries, heads, features\].*got q \[2, 3, 4\]/,
  ],
  ["batch", [[2, 3, 1, 4], [1, 3, 1, 4], [1, 3, 1, 4]], {}, /ShapeError: attention: q \[2, 3, 1, 4\] needs k \[2, keys, heads, 4\]/],
  ["features", [[2, 3, 1, 4], [2, 3, 1, 5], [2, 3, 1, 4]], {}, /ShapeError: .*got q \[2, 3, 1, 4\], k \[2, 3, 1, 5\]/],
  ["values", [[2, 3, 1, 4], [2, 3, 1, 4], [2, 4, 1, 4]], {}, /ShapeError: .*v \[2, 4, 1, 4\]/],
  ["heads", [[2, 3, 3, 4], [2, 3, 2, 4], [2, 3, 2, 4]], {}, /ShapeError: .*multiple.*k \[2, 3, 2, 4\]/],
  ["no feature", [[2, 3, 1, 0], [2, 3, 1, 0], [2, 3, 1, 4]], {}, /ShapeError: attention: expected at least one feature/],
  ["many features", [[1, 1, 1, 4000], [1, 1, 1, 4000], [1, 1, 1, 4]], {}, /ShapeError: .*at most 2048 features.*use more heads/],
  ["mask", null, { mask: t4(2, 3) }, /ShapeError: attention: the mask must broadcast to .* = \[2, 2, 3, 3\], got \[2, 3\]/],
  ["rank of the mask", null, { mask: t4(1, 1, 1, 1, 1) }, /ShapeError: .*the mask must broadcast/],
  ["dtype of the mask", null, { mask: { shape: [3], dtype: "i32" } }, /DTypeError: .*must be bool .*cast\(mask, "bool"\)/],
  ["causal", null, { causal: "yes" }, /ArgumentError: attention: causal must be true or false, got "yes"/],
  ["window", null, { window: 0 }, /ArgumentError: attention: window must be an integer >= 1, got 0/],
  ["scale", null, { scale: NaN }, /ArgumentError: attention: scale must be a finite number of f32, got NaN/],
  ["scale beyond f32", null, { scale: -1e39 }, /ArgumentError: attention: scale must be a finite number of f32, got -1e\+39/],
  ["dropout", null, { dropout: 1.5 }, /ArgumentError: attention: dropout must be a number in \[0, 1\], got 1.5/],
  ["offset", null, { offset: 0.5 }, /ArgumentError: attention: offset must be an integer, got 0.5/],
  ["dtype of the offset", null, { offset: t4(2) }, /DTypeError: attention: offset must be i32.*cast\(offset, "i32"\)/],
  ["shape of the offset", null, { offset: { shape: [3], dtype: "i32" } }, /ShapeError: attention: offset must be one number or i32 \[2\]/],
  ["lengths", null, { lengths: { shape: [2, 1], dtype: "i32" } }, /ShapeError: attention: lengths must be one number or i32 \[2\]/],
  ["an unknown option", null, { isCausal: true }, /ArgumentError: attention: unknown option "isCausal"; did you mean "causal"/],
];

for (const [name, shapes, options, message] of ERRORS) {
  test(`errors: ${name}`, () => {
    const graph = new Graph();
    trace(graph, () => {
      const symbol = (x) => (x !== null && typeof x === "object" ? graph.input(x) : x);
      const [q, k, v] = (shapes ?? [[2, 3, 2, 4], [2, 3, 2, 4], [2, 3, 2, 4]]).map((shape) => graph.input({ shape, dtype: "f32" }));
      const given = Object.fromEntries(Object.entries(options).map(([option, x]) => [option, symbol(x)]));
      assert.throws(
        () => attention(q, k, v, given),
        (error) => message.test(`${error.name}: ${error.message}`) || assert.unreachable(`${error.name}: ${error.message}`),
      );
    });
  });
}

test("f16: every number is read as it is, and f32 become the nearest, also next to the limits", async () => {
  const all = Float64Array.from({ length: 2 ** 15 }, (_, i) => 2 * i + (2 * i + 1) * 2 ** 16);
  const numbers = fromHalves(all);
  const around = [...numbers].flatMap((v) => [v * (1 + 2 ** -12), v * (1 + 2 ** -11), v * (1 - 2 ** -12.5)]).map(Math.fround);
  around.push(65504, 65505, -1e30, Infinity, -Infinity, -0, 2 ** -25, 3 * 2 ** -25, 2 ** -26);
  while (around.length % 4 > 0) around.push(0);
  const row = values([0], "i32");
  const written = traceForward({
    inputs: [u([1, around.length / 2]), row, values(around, "f32", [1, around.length])],
    fn: scatterHalves,
  });
  // One key has all of the weight.
  const read = traceForward({
    inputs: [f([1, 1, 32, 4]), values(new Array(64).fill(0), "u32", [1, 1, 32, 2]), values(all, "u32", [1, 1, 32, 1024])],
    fn: (q, k, v) => attentionToHalves(q, k, v),
  });
  const [bits] = await runOnce(reference, written);
  for (const backend of wasms) {
    assert.equal([...(await runOnce(backend, written))[0]], [...bits]);
    assert.equal([...(await runOnce(backend, read))[0]], [...numbers]);
  }
});

test.run();

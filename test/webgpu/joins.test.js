/**
 * @file Tests of what WebGPU computes in one dispatch of few rows: products of one input with the normalization before and the steps behind
 * them, turned queries and keys with their caches; on an adapter that binds no more buffers than any must, and without subgroups.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open } from "../../build/esm/init.js";
import { add, assign, compile, matmul, mul, ops, tensor } from "../../build/esm/index.js";
import { normalizeLast } from "../../build/esm/ops/norm.js";
import { rotary } from "../../build/esm/ops/rotary.js";
import { scatterHalves, scatterUpdate } from "../../build/esm/ops/scatter.js";
import { FORMATS } from "../../build/esm/packed/layout.js";
import { Random } from "../../build/esm/random.js";
import { assertClose, f, packed, prepare, reference, traceForward, values } from "../ops/harness.js";
import { fromHalves } from "../reference/halves.js";
import { openMasked } from "./gpu.js";
import { gpus, labelsOf, plansOf } from "./joined.js";

const GPUS = await gpus();
const [own, least] = Object.values(GPUS);
const wide = await openMasked({ software: false });
/** Those that are not software: what is joined there alone keeps its bits on others. */
const HARDWARE = { "a GPU": wide, "the least of GPUs": least };
test.after(() => [own, least, wide].forEach((b) => b.close()));

/** `fn` on each GPU as `want` dispatches (or those that a function of the features gives), with the numbers of the reference. */
async function check(what, inputs, fn, want, on = GPUS) {
  const { graph, results, data } = traceForward({ inputs, fn });
  const expected = await prepare(reference, graph, results);
  const numbers = await expected.run(data);
  for (const [name, backend] of Object.entries(on)) {
    const program = await prepare(backend, graph, results);
    const labels = await labelsOf(program.plan, backend.features);
    const wanted = typeof want === "function" ? want(backend.features) : want;
    // Of what needs nothing of each other any may be the first.
    assert.equal(on === HARDWARE ? labels.sort() : labels, on === HARDWARE ? wanted.sort() : wanted, `${what}, ${name}`);
    if (on === HARDWARE) {
      const apart = await labelsOf(program.plan, { ...backend.features, software: true });
      const norms = program.plan.calls.filter(({ kernel }) => kernel === "layerNorm");
      assert.is(apart.filter((l) => l === "norm.layerNorm").length, norms.length, `${what}, on software: ${apart}`);
      assert.not(apart.includes("dense.several"), `${what}, on software`);
    }
    const got = await program.run(data);
    got.forEach((x, k) => assertClose(x, numbers[k], "f32", { tolerance: 2e-5, scale: 8, what: `${what}, ${name}, result ${k}` }));
    program.close();
  }
  expected.close();
}

const norm = (x, gamma) => normalizeLast(x, 1, { gamma, epsilon: 1e-5, centered: false });
const centered = (x, gamma, beta) => normalizeLast(x, 1, { gamma, beta, epsilon: 1e-5, centered: true });

test("normalization, products of one input and steps behind them are one dispatch", async () => {
  for (const format of FORMATS) {
    for (const m of format === "q4" ? [1, 3, 8] : [3]) {
      const [x, gamma] = [f([m, 96]), f([96])];
      const weights = (n) => packed([96, n], format);
      await check(
        `three products, ${format}, ${m}`,
        [x, gamma, weights(36), weights(8), weights(4)],
        (a, g, q, k, v) => {
          const z = norm(a, g);
          return [q, k, v].map((w) => matmul(z, w));
        },
        ["packed.several"],
      );
      await check(
        `a gate, ${format}, ${m}`,
        [x, gamma, weights(20), weights(20)],
        (a, g, gate, up) => {
          const z = norm(a, g);
          return mul(ops.silu(matmul(z, gate)), matmul(z, up));
        },
        ["packed.several"],
      );
      if (format === "q4")
        await check(`added, ${format}, ${m}`, [x, weights(12), f([m, 12])], (a, w, to) => add(to, matmul(a, w)), ["packed.several"]);
    }
  }
});

test("products with biases and activations, which bind more buffers than any adapter must", async () => {
  const inputs = [f([2, 64]), f([64]), ...[8, 4, 16].flatMap((n) => [packed([64, n], "q8"), f([n])])];
  await check(
    "biases",
    inputs,
    (a, g, ...pairs) => {
      const z = norm(a, g);
      return [0, 1, 2].map((k) => matmul(z, pairs[2 * k], { bias: pairs[2 * k + 1], activation: ["tanh", "linear", "sigmoid"][k] }));
    },
    ({ maxBuffers }) => (maxBuffers >= 11 ? ["packed.several"] : ["norm.layerNorm", "packed.several", "packed.few"]),
  );
});

/** `check` of a plan that also writes rows of a cache: those of other plans stay as they are. On adapters that are software, too. */
const checkWriting = (what, inputs, fn, want) =>
  check(
    what,
    [...inputs, f([4, 2]), values([1], "i32"), f([1, 2])],
    (...all) => [...[fn(...all)].flat(), scatterUpdate(...all.slice(-3))],
    [...want, "map.main", "scatter.main"],
    HARDWARE,
  );

test("matrices in f32: normalization, products of one input and steps behind them are one dispatch", async () => {
  const several = ["dense.several"];
  for (const m of [1, 3]) {
    const [x, gamma, beta] = [f([m, 96]), f([96]), f([96])];
    const weights = (...columns) => columns.map((n) => f([96, n]));
    await checkWriting(
      `three products, ${m}`,
      [x, gamma, ...weights(36, 8, 4)],
      (a, g, q, k, v) => {
        const z = norm(a, g);
        return [q, k, v].map((w) => matmul(z, w));
      },
      several,
    );
    await checkWriting(
      `a gate of centered rows, ${m}`,
      [x, gamma, beta, ...weights(20, 20)],
      (a, g, b, gate, up) => {
        const z = centered(a, g, b);
        return mul(ops.silu(matmul(z, gate)), matmul(z, up));
      },
      several,
    );
    const large = [f([m, 1100], 9, 11), f([1100, 12]), f([12]), f([m, 12])];
    await checkWriting(`added, ${m}`, large, (a, w, bias, to) => add(to, matmul(a, w, { bias, activation: "tanh" })), several);
    await checkWriting(`centered far from 0, ${m}`, large, (a, w, bias) => matmul(centered(a), w, { bias }), several);
  }
  await checkWriting(
    "transposed",
    [f([2, 64]), f([8, 64]), f([4, 64])],
    (a, b, c) => [b, c].map((w) => matmul(a, w, { transposeB: true })),
    ["matmul.main", "matmul.main"],
  );
});

test("packed matrices behind a layer normalization", async () => {
  for (const format of ["q4m", "f16"]) {
    const [x, gamma, beta] = [f([2, 96], 4, 6), f([96]), f([96])];
    const [first, second] = [packed([96, 12], format), packed([96, 8], format)];
    await checkWriting(
      format,
      [x, gamma, beta, first, second],
      (a, g, b, u, v) => {
        const z = centered(a, g, b);
        return [matmul(z, u), matmul(z, v)];
      },
      ["packed.several"],
    );
  }
});

test("what others read, or would be written while it is read, is computed by itself", async () => {
  const [x, gamma, w] = [f([2, 64]), f([64]), packed([64, 64], "q4")];
  // The normalized rows are a result, and are added again.
  await check("normalized rows", [x, gamma, w], (a, g, b) => [norm(a, g), matmul(norm(a, g), b)], ["norm.layerNorm", "packed.few"]);
  await check("added to themselves", [x, gamma, w], (a, g, b) => add(norm(a, g), matmul(norm(a, g), b)), [
    "norm.layerNorm",
    "packed.several",
  ]);
  await check("a product twice", [x, w], (a, b) => [matmul(a, b), ops.tanh(matmul(a, b))], ["packed.few", "map.main"]);
  // What is added to is what is multiplied, and its place is written; but the result has a place of its own.
  await check("in place", [x, w], (a, b) => [1, 2].reduce((y) => add(y, matmul(y, b)), mul(a, 0.1)), [
    "map.main",
    "packed.few",
    "map.main",
    "packed.several",
  ]);
  // Rows of heads are not those of the product.
  await check("normalized heads", [f([2, 4, 16]), f([16]), w], (a, g, b) => matmul(ops.reshape(norm(a, g), [2, 64]), b), [
    "norm.layerNorm",
    "packed.few",
  ]);
  await check("broadcast", [x, w, f([64])], (a, b, c) => mul(matmul(a, b), c), ["packed.few", "map.main"]);
  await check("of no four rows", [x, packed([64, 6], "q4"), packed([64, 3], "q4")], (a, b, c) => [matmul(a, b), matmul(a, c)], [
    "packed.few",
    "packed.few",
  ]);
});

/** What of queries and keys varies: whether pairs are neighbours, keys and values are kept as f16, heads are normalized. */
const TURNS = [
  { neighbours: true, halves: true },
  { normed: true },
  { neighbours: true },
  { halves: true, normed: true },
  { halves: true },
  { neighbours: true, normed: true },
];

test("queries and keys are turned, and keys and values kept, by one dispatch, as f32 or f16, with heads normalized before", async () => {
  const cpu = await open("wasm");
  const alone = await openMasked({ software: false, without: ["subgroups"] });
  const noise = (shape, seed) => tensor(new Random(seed).normal(shape.reduce((a, b) => a * b)), shape);
  const words = (shape) =>
    tensor(
      Uint32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => i + 1),
      shape,
    );
  // Rows that are outside of the cache, and twice the same.
  for (const [at, rows] of [[4], [9], [-1], [0, 8, 3], [2, 2, 5, 2], [7, -1, 7, 12, 1]].entries()) {
    for (const { neighbours = false, halves = false, normed = false } of [0, 1, 3].map((next) => TURNS[(at + next) % TURNS.length])) {
      const n = rows.length;
      const [dim, values] = halves ? [12, 8] : [6, 10];
      const computed = async (backend) => {
        const [keys, kept] = halves ? [words([9, 2, 6]), words([9, 4])] : [noise([9, 2, 6], 1), noise([9, 10], 2)];
        const angles = [6, 7].map((seed) => noise([n, 2], seed));
        const given = [noise([n, 4, dim], 3), noise([n, 2, dim], 4), noise([n, values], 5), ...angles, noise([dim], 8), noise([dim], 9)];
        const scatter = halves ? scatterHalves : scatterUpdate;
        const step = compile(
          (q, k, v, cos, sin, ...more) => {
            const index = more.at(-1);
            const [a, b] = normed ? [q, k].map((x, i) => norm(x, more[i])) : [q, k];
            const turned = rotary(a, cos, sin, { neighbours });
            assign(keys, scatter(keys, index, rotary(b, cos, sin, { neighbours })));
            assign(kept, scatter(kept, index, v));
            return turned;
          },
          { backend },
        );
        let y;
        const plans = await plansOf(backend, async () => (y = await step(...given, tensor(Int32Array.from(rows)))));
        return { plan: plans.at(-1), data: await Promise.all([y, keys, kept].map((t) => t.data())) };
      };
      const want = await computed(cpu);
      for (const backend of normed ? [wide, alone] : [own, least]) {
        const { plan, data } = await computed(backend);
        const apart = backend === least ? ["scatter.main"] : [];
        assert.equal(await labelsOf(plan, backend.features), [normed ? "rotary.normed" : "rotary.append", ...apart]);
        if (normed) {
          const software = await labelsOf(plan, own.features);
          assert.equal(software.sort(), ["norm.layerNorm", "norm.layerNorm", "rotary.append"]);
        }
        data.forEach((x, k) => {
          const kept = halves && k > 0;
          const [got, expected] = [x, want.data[k]].map((list) => (kept ? fromHalves(list) : list));
          assertClose(got, expected, "f32", { tolerance: kept ? 2 ** -11 : 4e-7, scale: 4, what: `${rows}, result ${k}` });
        });
      }
    }
  }
  [cpu, alone].forEach((b) => b.close());
});

test.run();

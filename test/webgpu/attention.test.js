/**
 * @file Tests of attention on WebGPU over sizes: every head size, partial tiles, keys cut into parts, heads whose results several
 * workgroups share; on an adapter that binds no more buffers and has no more workgroup memory than any must have. LOCKSTEP_WHOLE=1: all
 * sizes of tiles, and the gradient of every head size.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { withMode } from "../../build/esm/mode.js";
import { attention } from "../../build/esm/ops/attention.js";
import { kernelsFor } from "../../build/esm/webgpu/commands.js";
import { encode } from "../../build/esm/webgpu/program.js";
import { assertClose, f, maxAbs, prepare, reference, runOnce, traceForward, traceGradient, ULP, values } from "../ops/harness.js";
import { openGpu, openMasked } from "./gpu.js";

/** What WebGPU promises of every adapter. */
const LEAST = { maxStorageBuffersPerShaderStage: 8, maxComputeWorkgroupStorageSize: 16384, maxComputeInvocationsPerWorkgroup: 256 };
const gpu = await openMasked({ limits: LEAST, without: ["subgroups"] });

const operands = ({ b = 1, tq, tk, heads = 1, kvHeads = heads, dim = 4, valueDim = dim }) => [
  f([b, tq, heads, dim]),
  f([b, tk, kvHeads, dim]),
  f([b, tk, kvHeads, valueDim]),
];

/** A traced case on the GPU and on the reference: runs with other data of its last inputs need no other program. */
async function prepared(traced) {
  const programs = [await prepare(gpu, traced.graph, traced.results), await prepare(reference, traced.graph, traced.results)];
  return {
    plan: programs[0].plan,
    async check(what, compare, more = []) {
      const data = [...traced.data];
      data.splice(3, more.length, ...more);
      const [got, want] = [await programs[0].run(data), await programs[1].run(data)];
      got.forEach((x, k) => compare(x, want[k], `${what}, result ${k}`));
    },
    close: () => programs.forEach((p) => p.close()),
  };
}

const compareForward = (got, want, what) => assertClose(got, want, "f32", { tolerance: 640 * ULP, scale: 4, what });
const compareGradient = (got, want, what) => assertClose(got, want, "f32", { tolerance: 5e-4, scale: Math.max(1e-3, maxAbs(want)), what });

/** y, and the gradients of all inputs unless not `both`, for each list of `runs`: data of the inputs behind q, k and v. */
async function check(what, inputs, fn, { runs = [[]], both = true } = {}) {
  const c = { op: "attention", name: what, inputs, fn };
  for (const [traced, compare] of [[traceForward(c), compareForward], ...(both ? [[traceGradient(c), compareGradient]] : [])]) {
    const program = await prepared(traced);
    for (const data of runs) await program.check(`${what} ${data.map(String)}`, compare, data);
    program.close();
  }
}

const WHOLE = process.env.LOCKSTEP_WHOLE === "1";

/** Compiling is what takes time: gradients where the number of vectors changes that an invocation has, and of each rest of four. */
test("every head size from 1 to 256, of keys or of values", async () => {
  for (let n = 1; n <= 128; n++) {
    const sizes = n % 2 ? { dim: n, valueDim: 257 - n } : { dim: 257 - n, valueDim: n };
    const both = WHOLE || n < 5 || [0, 1, 31].includes(n % 32);
    await check(JSON.stringify(sizes), operands({ tq: 3, tk: 9, ...sizes }), (q, k, v) => attention(q, k, v), { both });
  }
});

test("heads whose results are shared by workgroups", async () => {
  for (const [dim, valueDim] of [[260, 7], [9, 257], [600, 300]]) {
    await check(`${dim}, ${valueDim}`, operands({ tq: 5, tk: 40, dim, valueDim }), (q, k, v) => attention(q, k, v, { causal: true }));
  }
});

/** One program for all numbers of keys from 0 to beyond what there is. */
const LENGTHS = Array.from({ length: 36 }, (_, k) => [Int32Array.of(2 * k, 2 * k + 1)]);

test("every partial tile of keys", async () => {
  const inputs = [...operands({ b: 2, tq: 19, tk: 70, dim: 6 }), values([0, 0], "i32")];
  await check("lengths", inputs, (q, k, v, lengths) => attention(q, k, v, { lengths }), { runs: LENGTHS });
  await check("offsets", inputs, (q, k, v, offset) => attention(q, k, v, { offset, causal: true, window: 40 }), { runs: LENGTHS });
});

const TILES = [1, 7, 15, 16, 17, 31, 33, 47, 63, 64, 65, 129];
const QUERIES = WHOLE ? Array.from({ length: 130 }, (_, k) => k + 1) : TILES;

test("partial tiles of queries", async () => {
  for (const tq of QUERIES) {
    await check(`${tq} queries`, operands({ tq, tk: tq + 3, dim: 5, valueDim: 3 }), (q, k, v) => attention(q, k, v, { causal: true }));
  }
});

test("masks, dropout, windows and grouped heads over several tiles", async () => {
  const sizes = { b: 2, tq: 45, tk: 75, heads: 4, kvHeads: 2, dim: 6, valueDim: 9 };
  const mask = { shape: [2, 1, 45, 75], dtype: "bool", low: 0, high: 1 };
  const key = values([12, 345, 6, 1], "u32");
  await check("bool", [...operands(sizes), mask], (q, k, v, m) => attention(q, k, v, { mask: m, causal: true }));
  await check("added", [...operands(sizes), f([4, 45, 75])], (q, k, v, m) => attention(q, k, v, { mask: m, window: 50 }));
  await check("dropout", [...operands(sizes), key], (q, k, v, seed) =>
    withMode({ training: true, key: () => seed }, () => attention(q, k, v, { dropout: 0.25, causal: true, window: 30 })),
  );
});

/** Data with NaN in the rows of keys and values that no query sees. */
function hiding({ data }, positions, { tk, tq, dim, kvHeads }) {
  return data.map((x, k) => {
    if (k !== 1 && k !== 2) return x;
    const y = x.slice();
    positions.forEach((position, b) => y.fill(NaN, (b * tk + position + tq) * kvHeads * dim, (b + 1) * tk * kvHeads * dim));
    return y;
  });
}

test("few queries over a long cache: keys are cut into parts, and what is behind the position is not read", async () => {
  const tk = 700;
  for (const given of [{ tq: 1, heads: 2, kvHeads: 2 }, { tq: 1, heads: 8, kvHeads: 2 }, { tq: 3, heads: 3, kvHeads: 1 }]) {
    const few = (given.tq * given.heads) / given.kvHeads <= 8;
    const sizes = { b: 2, tk, dim: 8, ...given };
    const inputs = [...operands(sizes), values([0, 0], "i32")];
    for (const options of [{}, { window: 100 }]) {
      const traced = traceForward({ inputs, fn: (q, k, v, offset) => attention(q, k, v, { causal: true, offset, ...options }) });
      const program = await prepared(traced);
      const { dispatches } = encode(program.plan, gpu.features, await kernelsFor(program.plan));
      assert.equal(
        dispatches.map((d) => d.entry),
        few ? ["few", "merge"] : ["prepare", "forward", "combine"],
      );
      assert.ok(dispatches.at(-2).groups[0] > 2 * 2, `${dispatches.at(-2).groups} workgroups`);
      for (const positions of [[0, 1], [126, 127], [128, 500], [tk - given.tq, 31], [-1, 650]]) {
        const hidden = hiding(
          traced,
          positions.map((p) => Math.max(p, -given.tq)),
          sizes,
        );
        const data = [...hidden.slice(0, 3), Int32Array.from(positions)];
        const [got] = await runOnce(gpu, { ...traced, data });
        const [want] = await runOnce(reference, { ...traced, data });
        compareForward(got, want, `${JSON.stringify(given)} at ${positions}`);
      }
      program.close();
    }
  }
});

test("few queries: one program at every position, where subgroups join features and where a part takes several steps", async () => {
  const own = await openGpu();
  const positions = [0, 3, 14, 15, 16, 17, 31, 63, 64, 130, 279];
  // 64 key heads have parts of 128 keys, others of 64.
  for (const [heads, kvHeads, dim] of [[4, 2, 16], [2, 2, 64], [64, 64, 4]]) {
    const inputs = [...operands({ tq: 1, tk: 280, heads, kvHeads, dim }), values([0], "i32")];
    const traced = traceForward({ inputs, fn: (q, k, v, offset) => attention(q, k, v, { causal: true, offset }) });
    const programs = await Promise.all([own, gpu, reference].map((b) => prepare(b, traced.graph, traced.results)));
    for (const position of positions) {
      const data = [...traced.data.slice(0, 3), Int32Array.of(position)];
      const [got, other, want] = await Promise.all(programs.map((p) => p.run(data)));
      for (const y of [got, other]) compareForward(y[0], want[0], `${heads} heads of ${dim} at ${position}`);
    }
    for (const p of programs) p.close();
  }
  own.close();
});

test("as a GPU: eight rows an invocation where workgroup memory has room, joined by subgroups", async () => {
  const high = await openMasked({ software: false });
  const key = values([12, 345, 6, 1], "u32");
  const CASES = {
    "partial tiles": [{ tq: 150, tk: 170, dim: 12 }, [], { causal: true }],
    "every feature that eight rows have room for": [{ tq: 70, tk: 40, dim: 64 }, [], {}],
    "a head of features of which some are alone, a mask, grouped heads": [
      { b: 2, tq: 45, tk: 75, heads: 4, kvHeads: 2, dim: 6, valueDim: 9 },
      [{ shape: [2, 1, 45, 75], dtype: "bool", low: 0, high: 1 }],
      { window: 50 },
    ],
    dropout: [{ tq: 70, tk: 90, dim: 8 }, [key], { dropout: 0.25, causal: true }],
    "features that have room for fewer": [{ tq: 70, tk: 40, dim: 100 }, [], { causal: true }],
  };
  for (const [what, [sizes, more, options]] of Object.entries(CASES)) {
    const fn = (q, k, v, given) =>
      withMode({ training: true, key: () => given }, () =>
        attention(q, k, v, { ...options, ...(given && !options.dropout && { mask: given }) }),
      );
    const c = { op: "attention", name: what, inputs: [...operands(sizes), ...more], fn };
    for (const [traced, compare] of [[traceForward(c), compareForward], [traceGradient(c), compareGradient]]) {
      const [program, wanted] = [await prepare(high, traced.graph, traced.results), await prepare(reference, traced.graph, traced.results)];
      const { dispatches } = encode(program.plan, high.features, await kernelsFor(program.plan));
      const [{ text }] = dispatches.filter((d) => d.label === "attention.forward");
      assert.is(
        /const ROWS:u32 = 8/.test(text.replace(/\s*:\s*/g, ":")),
        sizes.dim !== 100 && high.features.maxWorkgroupBytes >= 32768,
        what,
      );
      assert.is(/enable subgroups/.test(text), high.features.subgroupSize > 0);
      const [got, want] = [await program.run(traced.data), await wanted.run(traced.data)];
      got.forEach((x, k) => compare(x, want[k], `${what}, result ${k}`));
      for (const p of [program, wanted]) p.close();
    }
  }
  high.close();
});

test("no dispatch binds or holds more than any adapter allows, and none keeps scores", async () => {
  const sizes = { b: 2, tq: 2000, tk: 2000, heads: 2, dim: 64 };
  const mask = f([2000]);
  const c = { op: "attention", inputs: [...operands(sizes), mask], fn: (q, k, v, m) => attention(q, k, v, { mask: m, causal: true }) };
  const { graph, results } = traceGradient({ ...c, inputs: [...c.inputs.slice(0, 3), { ...mask, fixed: true }] });
  const program = await prepare(gpu, graph, results);
  const { dispatches, temporaries } = encode(program.plan, gpu.features, await kernelsFor(program.plan));
  for (const d of dispatches) assert.ok(d.declared.length <= 8, d.label);
  const scores = 4 * 2 * 2 * 2000 * 2000;
  for (const bytes of [...temporaries, ...program.plan.slots]) assert.ok(bytes < scores / 4, `${bytes} bytes`);
  program.close();
});

test.after(() => gpu.close());
test.run();

/**
 * @file `node bench/kernels.js [words ...] [--threads=2] [--plain] [--rounds=40]`: each kernel by itself, beside what the core can do.
 * Products and convolutions in GFLOP/s and as a fraction of a register-only loop of multiply-adds, the rest in GB/s of the bytes that must
 * move and as a fraction of a copy loop. Convolutions are counted as direct sums; those by tiles do with up to a fourth of the multiplying
 * and so exceed the loop. Rounds are interleaved. Figures are of the fastest round (on a shared machine one that nobody disturbed), in
 * brackets the mean over the thread's own processor time. Words choose kernels whose name contains one of them.
 */
import {
  adam,
  add,
  conv2d,
  gradients,
  layerNorm,
  logSoftmax,
  matmul,
  mul,
  open,
  rmsNorm,
  softmax,
  sum,
  tensor,
  transpose,
} from "../build/esm/index.js";
import { apply } from "../build/esm/apply.js";
import { Graph, trace } from "../build/esm/graph.js";
import { attention, attentionGradOp } from "../build/esm/ops/attention.js";
import { conv2dFilterGradOp, conv2dInputGradOp } from "../build/esm/ops/conv.js";
import { layerNormGradOp } from "../build/esm/ops/norm.js";
import { softmaxGradOp } from "../build/esm/ops/softmax.js";
import { buildPlan } from "../build/esm/plan/build.js";
import { showPlan } from "../build/esm/plan/plan.js";
import { copyLoop, fmaLoop } from "./ceiling.js";
import { onNewerNode } from "./node.js";

/** Bytes of the tensors whose kernels are bound by memory: beyond the caches. */
const LARGE = 32 * 2 ** 20;
/** Milliseconds of one round of one kernel. */
const ROUND = 4;

const symbol = (shape, dtype = "f32") => ({ shape, dtype });

/** A convolution's attributes, with "same" padding when `same`. */
function geometry(n, h, w, c, f, r, stride = 1, same = true) {
  const p = same ? Math.ceil(h / stride) : Math.floor((h - r) / stride) + 1;
  const q = same ? Math.ceil(w / stride) : Math.floor((w - r) / stride) + 1;
  const pad = (size, out) => (same ? Math.floor(Math.max(0, (out - 1) * stride + r - size) / 2) : 0);
  return {
    n,
    h,
    w,
    c,
    p,
    q,
    r,
    s: r,
    strideH: stride,
    strideW: stride,
    dilationH: 1,
    dilationW: 1,
    padTop: pad(h, p),
    padLeft: pad(w, q),
    f,
    groups: 1,
    activation: "linear",
  };
}

function* cases() {
  for (const n of [64, 128, 256, 512, 1024])
    yield { name: `matmul ${n}`, flops: 2 * n ** 3, inputs: [[n, n], [n, n]], fn: (a, b) => matmul(a, b) };
  yield {
    name: "matmul 512 A^T B",
    flops: 2 * 512 ** 3,
    inputs: [[512, 512], [512, 512]],
    fn: (a, b) => matmul(a, b, { transposeA: true }),
  };
  yield {
    name: "matmul 512 A B^T",
    flops: 2 * 512 ** 3,
    inputs: [[512, 512], [512, 512]],
    fn: (a, b) => matmul(a, b, { transposeB: true }),
  };
  const layers = [
    ["CNN 1", geometry(32, 28, 28, 1, 32, 3, 1, false)],
    ["CNN 2", geometry(32, 13, 13, 32, 64, 3, 1, false)],
    ["32x32x32", geometry(8, 32, 32, 32, 32, 3)],
    ["16x16x64", geometry(8, 16, 16, 64, 64, 3)],
    ["8x8x128", geometry(8, 8, 8, 128, 128, 3)],
    ["32x32x3 to 32", geometry(8, 32, 32, 3, 32, 3)],
    ["32x32x32 to 64 /2", geometry(8, 32, 32, 32, 64, 3, 2)],
    ["1x1 16x16x64 to 128", geometry(8, 16, 16, 64, 128, 1)],
  ];
  for (const [name, a] of layers) {
    const flops = 2 * a.n * a.p * a.q * a.f * a.r * a.s * a.c;
    const x = [a.n, a.h, a.w, a.c];
    const w = [a.r, a.s, a.c, a.f];
    const y = [a.n, a.p, a.q, a.f];
    // The product with the same sizes, for comparison: rows, columns and inner dimension of the convolution's own.
    yield {
      name: `product ${name}`,
      flops,
      inputs: [[a.n * a.p * a.q, a.r * a.s * a.c], [a.r * a.s * a.c, a.f]],
      fn: (u, v) => matmul(u, v),
    };
    yield {
      name: `conv ${name}`,
      flops,
      inputs: [x, w],
      fn: (u, v) => conv2d(u, v, { strides: a.strideH, padding: a.p === a.h || a.strideH > 1 ? "same" : "valid" }),
    };
    if (a.c > 3) yield { name: `conv dx ${name}`, flops, inputs: [y, w], fn: (u, v) => apply(conv2dInputGradOp, [u, v], a)[0] };
    yield { name: `conv dw ${name}`, flops, inputs: [x, y], fn: (u, v) => apply(conv2dFilterGradOp, [u, v], a)[0] };
  }
  yield* attentionCases();
  const floats = LARGE / 4;
  for (const cols of [64, 512, 4096]) {
    const shape = [floats / cols, cols];
    yield { name: `softmax ${cols}`, bytes: 2 * LARGE, inputs: [shape], fn: (x) => softmax(x) };
    yield { name: `logSoftmax ${cols}`, bytes: 2 * LARGE, inputs: [shape], fn: (x) => logSoftmax(x) };
    yield { name: `softmax grad ${cols}`, bytes: 3 * LARGE, inputs: [shape, shape], fn: (dy, y) => apply(softmaxGradOp, [dy, y])[0] };
    yield { name: `layerNorm ${cols}`, bytes: 2 * LARGE, inputs: [shape], fn: (x) => layerNorm().call(x) };
    yield { name: `rmsNorm ${cols}`, bytes: 2 * LARGE, inputs: [shape], fn: (x) => rmsNorm().call(x) };
    // dx, dgamma and dbeta: x and dy read, dx written.
    yield {
      name: `layerNorm grad ${cols}`,
      bytes: 3 * LARGE,
      inputs: [shape, shape, [cols], [shape[0]], [shape[0]]],
      fn: (dy, x, gamma, mean, rstd) =>
        apply(layerNormGradOp, [dy, x, gamma, mean, rstd], { rows: shape[0], cols, epsilon: 1e-3, centered: true }),
    };
  }
  yield { name: "columnSum 64", bytes: LARGE, inputs: [[floats / 64, 64]], fn: (x) => sum(x, { axis: 0 }) };
  yield { name: "add", bytes: 3 * LARGE, inputs: [[floats], [floats]], fn: (a, b) => add(a, b) };
  yield {
    name: "adam",
    bytes: 7 * LARGE,
    inputs: [[floats]],
    fn: (g) => {
      const w = tensor(new Float32Array(floats), [floats]);
      adam().update([w], [g]);
      return [];
    },
  };
}

/**
 * Attention of `b` sequences each way, beside the product of the same sizes: two products of queries, keys and features forward, five
 * backward, and, where it is causal, of half of the pairs.
 */
function* attentionCases() {
  const sizes = [
    ["GPT 64", { b: 12, t: 64, heads: 4, dim: 32 }],
    ...[256, 512, 1024, 2048].map((t) => [`${t}`, { b: 1, t, heads: 4, dim: 64 }]),
  ];
  for (const [name, { b, t, heads, dim }] of sizes) {
    const q = [b, t, heads, dim];
    const shared = { b, tq: t, tk: t, heads, kvHeads: heads, dim, valueDim: dim, scale: 1 / Math.sqrt(dim) };
    yield {
      name: `product attention ${name}`,
      flops: 2 * b * heads * t * t * dim,
      inputs: [[b * heads, t, dim], [b * heads, t, dim]],
      fn: (x, y) => matmul(x, y, { transposeB: true }),
    };
    const whole = { flops: 7 * b * heads * t * (t + 1) * dim, inputs: [q, q, q, q] };
    yield { name: `attention step ${name} causal`, ...whole, fn: attentionStep(true) };
    yield { name: `the same of other ops ${name}`, ...whole, fn: attentionStep(false) };
    for (const causal of [false, true]) {
      const title = `${name}${causal ? " causal" : ""}`;
      const pairs = causal ? (t * (t + 1)) / 2 : t * t;
      const flops = 2 * b * heads * pairs * dim;
      yield { name: `attention ${title}`, flops: 2 * flops, inputs: [q, q, q], fn: (x, y, z) => attention(x, y, z, { causal }) };
      yield {
        name: `attention grad ${title}`,
        flops: 5 * flops,
        inputs: [q, q, q, q, [b, t, heads], [b, heads, t]],
        fn: (...operands) => {
          const attrs = { ...shared, causal, window: 0, offset: 0, maskStrides: [0, 0, 0, 0], rate: 0, stream: 0 };
          return apply(attentionGradOp, [...operands, null, null, null, null], attrs).slice(0, 3);
        },
      };
    }
  }
}

/** y and all gradients of causal attention as one op, or made of others, for y's gradient d. */
function attentionStep(fused) {
  return (q, k, v, d) => {
    const [, t, , dim] = q.shape;
    const heads = (x) => transpose(x, [0, 2, 1, 3]);
    const composite = () => {
      const scores = mul(matmul(heads(q), heads(k), { transposeB: true }), 1 / Math.sqrt(dim));
      const hidden = Float32Array.from({ length: t * t }, (_, i) => (i % t > Math.floor(i / t) ? -Infinity : 0));
      return heads(matmul(softmax(add(scores, tensor(hidden, [t, t]))), heads(v)));
    };
    const y = fused ? attention(q, k, v, { causal: true }) : composite();
    return [y, ...gradients(sum(mul(y, d)), [q, k, v])];
  };
}

/** Plans and compiles a case on `backend` and gives a function that runs it once. */
async function prepare(backend, { inputs, fn, name }, show) {
  const graph = new Graph();
  const results = trace(graph, () => [fn(...inputs.map((shape) => graph.input(symbol(shape))))].flat());
  const plan = buildPlan(graph, results, backend.limits);
  if (show) console.log(`\n${name}\n${showPlan(plan)}`);
  const program = await backend.compile(plan);
  const buffers = plan.bindings.map((b) => {
    const buffer = backend.alloc(b.bytes);
    backend.write(
      buffer,
      0,
      Float32Array.from({ length: b.bytes / 4 }, (_, i) => ((i * 7919) % 1000) / 1000 - 0.4),
    );
    return buffer;
  });
  return {
    run: () => backend.run(program, buffers),
    close: () => {
      program.close();
      buffers.forEach((b) => backend.free(b));
    },
  };
}

/**
 * Milliseconds that this thread has had, in steps of a scheduler's tick: what others do on a busy machine does not count. NaN where Node
 * has no such clock.
 */
const ownTime = () => {
  const { user, system } = process.threadCpuUsage?.() ?? { user: NaN, system: NaN };
  return (user + system) / 1000;
};

/** Milliseconds of a call. */
function time(run, calls) {
  const from = performance.now();
  for (let i = 0; i < calls; i++) run();
  return (performance.now() - from) / calls;
}

async function main() {
  const option = (name, otherwise) => Number(process.argv.find((a) => a.startsWith(`--${name}=`))?.split("=")[1] ?? otherwise);
  const words = process.argv.slice(2).filter((a) => !a.startsWith("--"));
  const show = process.argv.includes("--show");
  const plain = process.argv.includes("--plain");
  const rounds = option("rounds", 40);
  const threads = option("threads", 1);
  const backends = [await open("wasm", { threads: 1, reproducible: plain })];
  if (threads > 1) backends.push(await open("wasm", { threads, reproducible: plain }));
  const fma = fmaLoop(backends[0].simd);
  const copy = copyLoop(LARGE);
  const callsOf = (run) => {
    const times = [0, 0, 0, 0].map(() => time(run, 1));
    return Math.max(1, Math.round(ROUND / Math.min(...times)));
  };
  const fmaCalls = callsOf(fma.run);
  const copyCalls = callsOf(copy.run);
  console.log(`Node ${process.versions.node}, ${backends[0].simd} SIMD, ${rounds} rounds; fastest (mean of own time)`);
  for (const c of cases()) {
    if (words.length > 0 && !words.some((w) => c.name.includes(w))) continue;
    const ceiling = c.flops ? fma : copy;
    const runs = [];
    for (const backend of backends) runs.push(await prepare(backend, c, show && backend === backends[0]));
    // V8 compiles in the background what has run for a while.
    for (const r of runs) for (const from = performance.now(); performance.now() - from < 60;) r.run();
    for (const b of backends) await b.warm();
    await new Promise((done) => setTimeout(done, 5));
    const all = [{ run: ceiling.run, calls: c.flops ? fmaCalls : copyCalls }, ...runs.map(({ run }) => ({ run, calls: callsOf(run) }))].map(
      (r) => ({ ...r, best: Infinity, own: 0 }),
    );
    for (let i = 0; i < rounds; i++) {
      for (const r of all) {
        const from = ownTime();
        r.best = Math.min(r.best, time(r.run, r.calls));
        r.own += (ownTime() - from) / r.calls / rounds;
      }
    }
    const [limit, ...ours] = all.map(({ best, own }, i) => {
      const amount = (i === 0 ? (ceiling.flops ?? ceiling.bytes) : (c.flops ?? c.bytes)) / 1e6;
      return { best: amount / best, mean: amount / own };
    });
    const unit = c.flops ? "GFLOP/s" : "GB/s";
    const one = ours[0];
    const percent = (what) => ((100 * one[what]) / limit[what]).toFixed(0);
    const figures = [
      `${one.best.toFixed(1)} (${one.mean.toFixed(1)}) ${unit}`.padEnd(22),
      `${percent("best")} (${percent("mean")}) % of ${limit.best.toFixed(1)} (${limit.mean.toFixed(1)})`,
    ];
    for (const more of ours.slice(1)) figures.push(`${threads} threads ${more.best.toFixed(1)}, ${(more.best / one.best).toFixed(2)}x`);
    console.log(`  ${c.name.padEnd(28)} ${figures.join("   ")}`);
    for (const r of runs) r.close();
  }
  for (const b of backends) b.close();
}

onNewerNode();
await main();

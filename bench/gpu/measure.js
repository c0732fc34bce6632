/**
 * @file Measures one library, in Node or in a page. A library's `start(options)` gives
 * `{ version, adapter?, statistics?, close, matmul(n), conv2d(image), train(net, steps), transformer(sizes) }`, and where it has them
 * `copy(sizes)`, `packed(format, rows, sizes)`, `attention(sizes)`, `gpt(sizes)`, `decode(sizes)` and
 * `trainText(sizes, text, target, told)`. All but the last two return `{ work, run, bytes?, tokens? }`: `run()` does `work` units and
 * resolves to a number when all of it is done; `bytes` and `tokens` are those of a unit. Calls to the device are counted by wrapping
 * WebGPU's prototypes, for every library alike.
 */
import { attentionFlops, FORMATS, NETS, SIZES } from "./workloads.js";

const ROUNDS = 7;
const QUICK_ROUNDS = 3;
/** Milliseconds after which no further round of a case begins. */
const PATIENCE_MS = 5000;

const counts = { dispatches: 0, submits: 0, buffers: 0, bindGroups: 0 };

function countCalls() {
  const wrap = (type, method, name) => {
    const own = globalThis[type]?.prototype[method];
    if (own === undefined) return;
    globalThis[type].prototype[method] = function (...args) {
      counts[name]++;
      return own.apply(this, args);
    };
  };
  wrap("GPUComputePassEncoder", "dispatchWorkgroups", "dispatches");
  wrap("GPUQueue", "submit", "submits");
  wrap("GPUDevice", "createBuffer", "buffers");
  wrap("GPUDevice", "createBindGroup", "bindGroups");
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

/** Milliseconds for a unit of work, once a library has `settled` on its kernels; calls to the device for it; the first number of it. */
async function time({ work, run }, rounds, settled) {
  const value = await run();
  await settled?.();
  const before = { ...counts };
  await run();
  const calls = Object.fromEntries(Object.keys(counts).map((name) => [name, (counts[name] - before[name]) / work]));
  const times = [];
  const started = performance.now();
  while (times.length < rounds && (times.length < 1 || performance.now() - started < PATIENCE_MS)) {
    const at = performance.now();
    await run();
    times.push((performance.now() - at) / work);
  }
  return { value, ms: median(times), calls };
}

/**
 * Median milliseconds of JavaScript that encode one step, each on an idle device. Steps in a row measure something else in Node: while
 * anything is awaited, Dawn's binding looks for it in a loop that leaves 250 MB of garbage a second, and that is collected during the next
 * step's encoding (a full collection of 6 to 20 ms every 200 ms, webgpu 0.6.2).
 */
async function encodeTime({ run }, statistics, rounds) {
  const times = [];
  const started = performance.now();
  for (let i = 0; i < 2 * rounds && (i < 3 || performance.now() - started < PATIENCE_MS); i++) {
    const from = statistics();
    await run();
    const until = statistics();
    times.push((until.encodeMs - from.encodeMs) / (until.runs - from.runs));
    await new Promise((done) => setTimeout(done, 5));
  }
  return median(times.slice(2));
}

/**
 * @param start of a library
 * @param options of `start`
 * @param how { size: a key of SIZES, parts: those of PARTS that are wanted, quick: fewer rounds,
 * text: to train on, seconds: for that, at most }
 * @param tell called with `{ version, adapter }`, and with each row as soon as it is there: `{ row, ms, gflops?, bytes?, tokens?, value,
 * calls, encodeMs }` or `{ row, error }`
 */
export async function measure(start, options, { size, parts, quick = false, text = null, seconds = Infinity }, tell) {
  countCalls();
  const rounds = quick ? QUICK_ROUNDS : ROUNDS;
  const { products, image, steps, transformer, weights, attention, gpt, llama, target } = SIZES[size];
  const library = await start(options);
  tell({ version: library.version, adapter: library.adapter ?? null });
  const attempt = async (row, work) => {
    try {
      for (const [name, result] of Object.entries(await work())) tell({ row: name, ...result });
    } catch (error) {
      tell({ row, error: String(error?.message ?? error).split("\n")[0] });
    }
  };
  const row = (name, make, flops, makeStep = null) =>
    attempt(name, async () => {
      const made = await make();
      const { ms, ...rest } = await time(made, rounds, library.settled);
      made.done?.();
      const encodeMs = library.statistics && makeStep ? await encodeTime(await makeStep(), library.statistics, rounds) : null;
      const gflops = flops === undefined ? {} : { gflops: flops / ms / 1e6 };
      return { [name]: { ms, ...rest, encodeMs, bytes: made.bytes, tokens: made.tokens, ...gflops } };
    });
  const wants = (part, method) => parts.includes(part) && library[method] !== undefined;

  if (wants("copy", "copy")) await row("copy", () => library.copy(weights.copied));
  if (wants("products", "matmul")) {
    for (const n of products) await row(`matmul ${n}`, () => library.matmul(n), 2 * n ** 3);
    const { side, channels, kernel } = image;
    await row("conv2d", () => library.conv2d(image), 2 * image.count * side ** 2 * channels * kernel ** 2 * channels);
  }
  if (wants("attention", "attention"))
    for (const sizes of attention)
      await row(`attention ${sizes.tokens}`, () => library.attention(sizes), attentionFlops(sizes) / sizes.count);
  if (wants("networks", "train")) {
    const [step, block] = [(net) => () => library.train(net, 1), () => library.transformer(transformer)];
    for (const net of Object.keys(NETS)) await row(net, () => library.train(net, steps[net]), undefined, step(net));
    await row("transformer", block, undefined, block);
  }
  if (wants("gpt", "gpt")) await row("gpt", () => library.gpt(gpt));
  if (wants("decode", "decode")) await attempt("decode", () => library.decode(llama));
  if (wants("weights", "packed")) {
    const { width, tokens } = weights;
    for (const format of FORMATS)
      for (const many of [1, tokens]) await row(`${many} x ${format}`, () => library.packed(format, many, weights), 2 * many * width ** 2);
  }
  if (wants("train", "trainText") && text !== null) {
    const within = { ...target, seconds: Math.min(target.seconds, seconds) };
    await attempt("train", async () => {
      await library.trainText(gpt, text, within, (state) => tell({ row: "train", ...state }));
      return {};
    });
  }
  library.close();
}

/**
 * @file Measures one library, in Node or in a page. A library's `start(options)` gives
 * `{ version, adapter?, statistics?, close, matmul(n), conv2d(image), train(net, steps), transformer(sizes) }`; each of the four returns
 * `{ work, run }`: `run()` does `work` units and resolves to a number when all of it is done. Calls to the device are counted by wrapping
 * WebGPU's prototypes, for every library alike. Lockstep also has `packed(format, rows, sizes)` and `copy(sizes)`, of which the bytes of a
 * unit are known.
 */
import { FORMATS, NETS, SIZES } from "./workloads.js";

const ROUNDS = 7;
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

/** Milliseconds for a unit of work, device calls for it, and the first number that came out. */
async function time({ work, run }) {
  const value = await run();
  const before = { ...counts };
  await run();
  const calls = Object.fromEntries(Object.keys(counts).map((name) => [name, (counts[name] - before[name]) / work]));
  const times = [];
  const started = performance.now();
  while (times.length < ROUNDS && (times.length < 1 || performance.now() - started < PATIENCE_MS)) {
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
async function encodeTime({ run }, statistics) {
  const times = [];
  for (let i = 0; i < 2 * ROUNDS; i++) {
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
 * @param size a key of SIZES
 * @param say called with a line for each case
 * @param only "weights": what reads weights in few bits, and nothing else
 * @returns { version, adapter, rows: { [case]: { ms, flops?, value, calls, encodeMs } | { error } } }
 */
export async function measure(start, options, size, say, only = null) {
  countCalls();
  const { products, image, steps, transformer, weights } = SIZES[size];
  const library = await start(options);
  const rows = {};
  const row = async (name, make, flops, makeStep = null) => {
    try {
      const made = await make();
      const { ms, ...rest } = await time(made);
      made.done?.();
      const encodeMs = library.statistics && makeStep ? await encodeTime(await makeStep(), library.statistics) : null;
      rows[name] = { ms, ...rest, encodeMs, bytes: made.bytes, ...(flops === undefined ? {} : { gflops: flops / ms / 1e6 }) };
    } catch (error) {
      rows[name] = { error: String(error?.message ?? error).split("\n")[0] };
    }
    say(`${library.version}: ${name}: ${rows[name].error ?? `${rows[name].ms.toPrecision(3)} ms`}`);
  };
  if (library.packed) {
    await row("copy", () => library.copy(weights.copied));
    const { width, tokens } = weights;
    for (const format of FORMATS) {
      for (const rows of [1, tokens]) {
        await row(`${rows} x ${format}`, () => library.packed(format, rows, weights), 2 * rows * width ** 2);
      }
    }
  }
  if (only === "weights") {
    library.close();
    return { version: library.version, adapter: library.adapter ?? null, rows };
  }
  for (const n of products) await row(`matmul ${n}`, () => library.matmul(n), 2 * n ** 3);
  const { side, channels, kernel } = image;
  await row("conv2d", () => library.conv2d(image), 2 * image.count * side ** 2 * channels * kernel ** 2 * channels);
  for (const net of Object.keys(NETS))
    await row(
      net,
      () => library.train(net, steps[net]),
      undefined,
      () => library.train(net, 1),
    );
  await row(
    "transformer",
    () => library.transformer(transformer),
    undefined,
    () => library.transformer(transformer),
  );
  library.close();
  return { version: library.version, adapter: library.adapter ?? null, rows };
}

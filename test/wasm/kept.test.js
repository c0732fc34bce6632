/**
 * What is made of weights (packed, transformed) is kept from run to run, and made anew when they change, by whatever way; the bits are the
 * same.
 */
import { createHash } from "node:crypto";
import { Worker } from "node:worker_threads";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { failing, noise } from "../platforms/body.js";
import { MODELS } from "../plan/models.js";
import { assign, compile, conv2d, dense, flatten, loadWeights, matmul, mul, open, sequential, tensor } from "../../build/esm/index.js";
import { Graph, symbolOf, trace } from "../../build/esm/graph.js";
import { conv2d as convolution } from "../../build/esm/ops/conv.js";
import { gruSequence, lstmSequence } from "../../build/esm/ops/recurrent.js";
import { Executable } from "../../build/esm/run.js";
import { encode } from "../../build/esm/wasm/commands.js";
import { buildPlan } from "../../build/esm/plan/build.js";
import { packOffsets } from "../../build/esm/plan/memory.js";
import { CONV2D, HEADER_WORDS, PACK, WINOGRAD, WINOGRAD_FILTERS } from "../../build/esm/wasm/opcodes.js";

const script = new URL("../../build/esm/wasm/worker.js", import.meta.url);

/** Opcodes of the commands that ran, on whatever thread; pieces that ran one by one count by their first. */
const ran = [];
let memory = null;
function note(list, end) {
  const words = new Uint32Array(memory.buffer);
  for (let at = list >>> 2; at < end >>> 2; at += words[at + 1]) if (words[at + 2] > 0) ran.push(words[at] & 0xffff);
}
const { instantiate } = WebAssembly;
WebAssembly.instantiate = async (module, imports) => {
  const { exports } = await instantiate(module, imports);
  memory = imports.env.memory;
  // A part of the kernels, which the core calls.
  if (exports.run === undefined) return { exports };
  return {
    exports: {
      ...exports,
      run: (list, end, ...rest) => {
        note(list, end);
        return exports.run(list, end, ...rest);
      },
      piece: (command, piece, scratch) => {
        if (piece === 0) ran.push(new Uint32Array(memory.buffer, command, HEADER_WORDS)[0] & 0xffff);
        exports.piece(command, piece, scratch);
      },
    },
  };
};
/** Workers whose orders are noted. */
function start() {
  const worker = new Worker(script);
  const post = worker.postMessage.bind(worker);
  worker.postMessage = (message) => {
    if (message.kind === "run") note(message.list, message.end);
    post(message);
  };
  return worker;
}

/** How many commands prepared weights since the last call. */
const preparations = () => ran.splice(0).filter((op) => op === PACK || op === WINOGRAD_FILTERS).length;

const random = (seed, ...shape) =>
  tensor(
    noise(
      shape.reduce((a, b) => a * b, 1),
      seed,
    ),
    shape,
  );
const hash = (data) =>
  createHash("sha256")
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest("hex");
/** A tensor's bits: comparing large arrays takes minutes where they differ. */
const bits = async (t) => hash(await (await t).data());

/** Every kernel that prepares weights: how often, its input and weights, and the function. */
const KERNELS = {
  "filters of tiles": [1, [16, 16, 16, 8], [[3, 3, 8, 16]], (x, w) => convolution(x, w, { padding: "same" })],
  "filters of windows": [1, [16, 12, 12, 32], [[3, 3, 32, 40]], (x, w) => convolution(x, w, { strides: 2 })],
  "groups of filters": [1, [16, 12, 12, 32], [[3, 3, 16, 48]], (x, w) => convolution(x, w, { groups: 2 })],
  "a matrix": [1, [100, 200], [[200, 130]], matmul],
  "a transposed matrix": [1, [100, 200], [[130, 200]], (x, w) => matmul(x, w, { transposeB: true })],
  "matrices, one for each batch": [1, [3, 50, 60], [[3, 60, 70]], matmul],
  "a small matrix": [1, [32, 8], [[8, 10]], matmul],
  "a large matrix for few rows": [1, [4, 256], [[256, 300]], matmul],
  "an LSTM's": [1, [16, 10, 4 * 20], [[20, 4 * 20]], (x, w) => lstmSequence(x, w).h],
  "a large LSTM's for one sequence": [1, [1, 5, 4 * 130], [[130, 4 * 130]], (x, w) => lstmSequence(x, w).h],
  "a GRU's, in two groups": [2, [16, 10, 3 * 20], [[20, 3 * 20]], (x, w) => gruSequence(x, w, { resetAfter: false })],
  "several, shared": [2, [40, 40], [[40, 40], [40, 40]], (x, v, w) => matmul(matmul(matmul(matmul(x, v), w), v), w)],
  "none: one row": [0, [1, 100], [[100, 50]], matmul],
};

/** The function on captured weights. */
const captured = (backend, f, weights) => compile((x) => f(x, ...weights), { backend });

for (const threads of [1, 2]) {
  test(`${threads} threads: prepared once, with the bits of weights that are arguments`, async () => {
    const backend = await open("wasm", { threads, worker: start });
    for (const [name, [count, shape, shapes, f]] of Object.entries(KERNELS)) {
      const x = random(1, ...shape);
      const weights = shapes.map((s, i) => random(2 + i, ...s));
      const given = compile((x, ...w) => f(x, ...w), { backend });
      const expected = await bits(given(x, ...weights));
      preparations();
      const g = captured(backend, f, weights);
      const first = await bits(g(x));
      await backend.warm();
      assert.is(preparations(), count, `${name}: the first run`);
      for (let i = 0; i < 3; i++) assert.is(await bits(g(x)), first, name);
      assert.is(preparations(), 0, `${name}: later ones`);
      assert.is(first, expected, name);
      weights[0].set(random(9, ...shapes[0]).host);
      assert.is(await bits(g(x)), await bits(given(x, ...weights)), `${name}: other weights`);
      given.close();
      g.close();
    }
    backend.close();
  });
}

const SHAPE = [64, 64];
/** x w, with `w` captured. */
const product = (backend, w) => captured(backend, matmul, [w]);

test("weights that another program assigns, that are written, and that the program itself assigns", async () => {
  const backend = await open("wasm", { threads: 1 });
  const [x, w, v] = [random(1, ...SHAPE), random(2, ...SHAPE), random(3, ...SHAPE)];
  const expected = async (values) => bits(compile(matmul, { backend })(x, tensor(values.slice(), SHAPE)));
  const f = product(backend, w);
  await f(x);
  const half = compile(() => assign(w, mul(w, 0.5)), { backend });
  for (let i = 0; i < 3; i++) {
    await half();
    preparations();
    const y = await bits(f(x));
    assert.is(preparations(), 1);
    assert.is(y, await expected(await w.data()));
    assert.is(await bits(f(x)), y);
  }
  w.set(v.host);
  assert.is(await bits(f(x)), await expected(v.host));
  // What it reads is the old value.
  const g = compile(
    (x) => {
      const y = matmul(x, w);
      assign(w, y);
      return y;
    },
    { backend },
  );
  for (let i = 0; i < 3; i++) {
    const next = await expected(await w.data());
    assert.is(await bits(g(x)), next);
    assert.is(hash(await w.data()), next);
    assert.is(await bits(f(x)), await expected(await w.data()));
  }
  backend.close();
});

/** A program of a backend's own interface, with one input and one capture. */
async function raw(backend, f = matmul) {
  const graph = new Graph();
  const w = random(2, ...SHAPE);
  const results = trace(graph, () => [f(graph.input({ shape: SHAPE, dtype: "f32" }), symbolOf(graph, w))]);
  return backend.compile(buildPlan(graph, results, backend.limits));
}

test("buffers that are written by a run, exchanged, freed and taken again", async () => {
  const backend = await open("wasm", { threads: 1 });
  const [program, square] = [await raw(backend), await raw(backend, (x, w) => matmul(x, x))];
  const bytes = 4 * SHAPE[0] * SHAPE[1];
  const buffer = (seed) => {
    const b = backend.alloc(bytes);
    backend.write(b, 0, noise(bytes / 4, seed));
    return b;
  };
  const x = buffer(1);
  const out = backend.alloc(bytes);
  const result = async (w) => {
    preparations();
    backend.run(program, [x, w, out]);
    return hash(new Float32Array(await backend.read(out, 0, bytes)));
  };
  const given = async (w) =>
    bits(
      compile(matmul, { backend })(tensor(noise(bytes / 4, 1), SHAPE), tensor(new Float32Array(await backend.read(w, 0, bytes)), SHAPE)),
    );
  const [v, w] = [buffer(2), buffer(3)];
  const [yv, yw] = [await given(v), await given(w)];
  for (let i = 0; i < 2; i++) {
    assert.is(await result(v), yv);
    assert.is(await result(w), yw);
    assert.is(preparations(), 1, "another buffer");
    assert.is(await result(w), yw);
    assert.is(preparations(), 0);
  }
  // Part of it.
  backend.write(w, 16, Float32Array.of(5));
  assert.is(await result(w), await given(w));
  // As an output.
  backend.run(square, [x, v, w]);
  assert.is(await result(w), await given(w));
  assert.is(await result(w), await given(w));
  // The same address, in other hands.
  const { address } = w;
  backend.free(w);
  const next = buffer(7);
  assert.is(next.address, address);
  assert.is(await result(next), await given(next));
  assert.is.not(await given(next), yw);
  backend.close();
});

const layers = () => [
  conv2d(16, 3, { activation: "relu" }),
  conv2d(24, 3, { strides: 2 }),
  flatten(),
  dense(12, { activation: "tanh" }),
  dense(3),
];
const inputShape = [16, 16, 8];

test("models: fit, evaluate, setWeights and loading between predictions", async () => {
  const backend = await open("wasm", { threads: 1, reproducible: true });
  const x = random(1, 32, ...inputShape);
  const y = random(2, 32, 3);
  const model = sequential(layers(), { inputShape });
  await model.compile({ loss: "mse", optimizer: "adam", backend });
  /** What a model that was made for this predicts, and what its loss is. */
  const expected = async () => {
    const other = sequential(layers(), { inputShape });
    await other.compile({ loss: "mse", backend });
    other.setWeights(await model.getWeights());
    return { prediction: await bits(other.predict(x)), ...(await other.evaluate(x, y)) };
  };
  const actual = async () => ({ prediction: await bits(model.predict(x)), ...(await model.evaluate(x, y)) });
  for (let i = 0; i < 3; i++) {
    assert.equal(await actual(), await expected());
    await model.fit(x, y, { epochs: 1, batchSize: 16, validationData: [x, y], verbose: 0, seed: i });
  }
  const saved = await model.toBytes();
  const trained = await actual();
  assert.equal(trained, await expected());
  model.setWeights((await model.getWeights()).map((w) => random(5, ...w.shape)));
  assert.equal(await actual(), await expected());
  await loadWeights(model, saved);
  assert.equal(await actual(), trained);
  preparations();
  for (let i = 0; i < 5; i++) await actual();
  assert.is(preparations(), 0);
  backend.close();
});

test("training keeps nothing, but for layers that are frozen", async () => {
  for (const [name, make] of Object.entries(MODELS)) {
    const { graph, results } = make();
    const { kept, prologue } = encode(
      buildPlan(graph, results, { alignment: 64, maxBytes: 2 ** 32, pack: packOffsets, maxOperands: 24, maxSteps: 96 }),
    );
    assert.equal([kept.length, prologue], [0, 0], name);
  }
  const backend = await open("wasm", { threads: 1 });
  const [frozen, w] = [random(2, ...SHAPE), random(3, ...SHAPE)];
  const step = compile((x) => assign(w, matmul(matmul(x, frozen), w)), { backend });
  preparations();
  const counts = [];
  for (let i = 0; i < 3; i++) {
    await step(random(4, ...SHAPE));
    counts.push(preparations());
  }
  assert.equal(counts, [1, 0, 0], "w is packed by the product itself");
  backend.close();
});

test("programs share what they make of the same weights, and give it back", async () => {
  const backend = await open("wasm", { threads: 1 });
  const w = random(1, 256, 256);
  w.upload(backend);
  const packed = 4 * 256 * 256;
  const sizes = [];
  const programs = [32, 48, 64].map((rows) => [random(2, rows, 256), product(backend, w)]);
  const before = backend.memory().bytes;
  for (const [x, f] of programs) {
    await f(x);
    sizes.push(backend.memory().bytes);
  }
  assert.ok(sizes[0] - before >= packed && sizes[0] - before < 2 * packed, `${sizes[0] - before} bytes for the first`);
  assert.ok(sizes[2] - sizes[0] < packed, `${sizes[2] - sizes[0]} bytes for two more`);
  preparations();
  for (const [x, f] of programs) await f(x);
  assert.is(preparations(), 0);
  w.set(random(3, 256, 256).host);
  for (const [x, f] of programs) await f(x);
  assert.is(preparations(), 1, "the others find it made");
  for (const [, f] of programs) f.close();
  await new Promise((done) => setTimeout(done));
  assert.is(backend.memory().bytes, before);
  backend.close();
});

test("few tiles of many channels: tiles where filters are kept, windows where runs transform them; memory does not decide", async () => {
  const shapes = [[1, 7, 7, 128], [3, 3, 128, 128]];
  const f = (x, w) => convolution(x, w, { padding: "same" });
  const opcodes = (captured, most) => {
    const graph = new Graph();
    const w = { shape: shapes[1], dtype: "f32" };
    const results = trace(graph, () => [
      f(graph.input({ shape: shapes[0], dtype: "f32" }), captured ? graph.capture(random(1, ...shapes[1])) : graph.input(w)),
    ]);
    return encode(
      buildPlan(graph, results, { alignment: 64, maxBytes: 2 ** 32, pack: packOffsets, maxOperands: 24, maxSteps: 96 }),
      most,
    ).commands.map((c) => c.opcode);
  };
  assert.equal(opcodes(true), [WINOGRAD_FILTERS, 0, WINOGRAD]);
  assert.equal(opcodes(true, 0), [WINOGRAD_FILTERS, WINOGRAD]);
  assert.equal(opcodes(false).slice(0, 2), [PACK, CONV2D]);
  const [x, w] = shapes.map((s, i) => random(i + 1, ...s));
  const results = [];
  for (const maxBytes of [2 ** 24, 2 ** 22]) {
    const backend = await open("wasm", { threads: 1, maxBytes });
    const g = captured(backend, f, [w]);
    await g(x);
    preparations();
    results.push([await bits(g(x)), preparations()]);
    backend.close();
  }
  assert.equal(results, [[results[0][0], 0], [results[0][0], 1]]);
});

test("weights too large for a quarter of the memory that is left are prepared in each run, with the same bits", async () => {
  const [x, w] = [random(1, 32, 512), random(2, 512, 512)];
  const results = [];
  for (const [maxBytes, count] of [[2 ** 24, 0], [2 ** 22, 1]]) {
    const backend = await open("wasm", { threads: 1, maxBytes });
    const f = product(backend, w);
    await f(x);
    preparations();
    results.push(await bits(f(x)));
    assert.is(preparations(), count);
    backend.close();
  }
  assert.is(results[0], results[1]);
});

test("large weights are packed in parts where they are not kept, with the same bits", async () => {
  for (const [shape, transposeB] of [[[520, 2101], false], [[2101, 520], true]]) {
    const [x, w] = [random(1, 70, 520), random(2, ...shape)];
    const bias = random(3, 2101);
    const f = (x, w) => matmul(x, w, { transposeB, bias, activation: "relu" });
    const backend = await open("wasm", { threads: 1 });
    const kept = captured(backend, f, [w]);
    const given = compile(f, { backend });
    const first = await bits(kept(x));
    assert.is(preparations(), 1);
    assert.is(await bits(given(x, w)), first);
    assert.is(preparations(), 2);
    backend.close();
  }
});

test("what is made of a program's weights takes 64 MB at most", async () => {
  const backend = await open("wasm", { threads: 1 });
  const [x, w, small] = [random(1, 20, 4100), random(2, 4100, 4100), random(3, 4100, 300)];
  const f = captured(backend, (x, w, small) => [matmul(x, w), matmul(x, small)], [w, small]);
  for (const t of [x, w, small]) t.upload(backend);
  const before = backend.memory().bytes;
  await f(x);
  const more = backend.memory().bytes - before;
  assert.ok(more < 2 ** 24, `${more} bytes besides the weights`);
  preparations();
  await f(x);
  assert.is(preparations(), Math.ceil((4100 * 4100 * 4) / 2 ** 22), "the small one is kept");
  backend.close();
});

const N = 256;
/** x -> x w w, with `w` captured: some 10 ms of work. */
async function long(backend, w) {
  const graph = new Graph();
  const results = trace(graph, () => [
    matmul(matmul(graph.input({ shape: [N, N], dtype: "f32" }), symbolOf(graph, w)), symbolOf(graph, w)),
  ]);
  return Executable.create(graph, results, backend);
}

async function expectedOf(x, w) {
  const backend = await open("wasm", { threads: 1 });
  const p = await long(backend, w);
  p.enqueue([x]);
  const y = await bits((await p.results())[0]);
  backend.close();
  return y;
}

const copy = (t) => tensor(t.host.slice(), t.shape);
const BACKGROUND = {
  "two workers": { threads: 2, background: true, worker: start },
  "one worker": { threads: 1, background: true, worker: start },
  "this thread": {
    threads: 2,
    background: true,
    worker: () => {
      throw new Error("no worker today");
    },
  },
};

for (const [name, options] of Object.entries(BACKGROUND)) {
  test(`background, ${name}: a change between runs that wait counts from there on`, async () => {
    const [x, v, w] = [random(1, N, N), random(2, N, N), random(3, N, N)];
    const [yv, yw] = [await expectedOf(x, copy(v)), await expectedOf(x, copy(w))];
    const backend = await open("wasm", options);
    const weights = copy(v);
    const p = await long(backend, weights);
    await backend.warm();
    const next = () => {
      p.enqueue([x]);
      return p.results().then(([t]) => bits(t));
    };
    preparations();
    assert.is(await next(), yv);
    assert.is(preparations(), 1);
    const same = next();
    const again = next();
    weights.set(w.host.slice());
    const other = next();
    const last = next();
    weights.set(v.host.slice());
    const back = next();
    assert.equal(await Promise.all([same, again, other, last, back]), [yv, yv, yw, yw, yv]);
    assert.is(preparations(), 2);
    backend.close();
  });
}

for (const background of [true, false]) {
  test(`a run that fails${background ? " in the background" : ""} has not prepared anything`, async () => {
    const [x, w] = [random(1, N, N), random(2, N, N)];
    const right = await expectedOf(x, copy(w));
    let make = () => failing(start);
    const backend = await open("wasm", { threads: 2, background, worker: () => make() });
    const p = await long(backend, copy(w));
    await backend.warm();
    make = start;
    await (async () => {
      p.enqueue([x]);
      await p.results();
    })().then(
      () => assert.unreachable("it resolved"),
      (error) => assert.is(error.name, "BackendError"),
    );
    await backend.warm();
    preparations();
    p.enqueue([x]);
    assert.is(await bits((await p.results())[0]), right);
    assert.is(preparations(), 1);
    backend.close();
  });
}

test.run();

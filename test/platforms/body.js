/**
 * @file What is asked of every runtime: short reproducible trainings of networks of each kind, saved and loaded, with the SHA-256 of their
 * weights, and of text that one of them writes. Imported by Node, Deno, Bun, pages and their workers alike; needs nothing but the built
 * library.
 */
import {
  adam,
  adamw,
  compile,
  conv2d,
  dense,
  extraLayers,
  flatten,
  generate,
  layerNorm,
  loadModel,
  lstm,
  matmul,
  maxPool2d,
  open,
  randomContrast,
  randomRotation,
  randomZoom,
  sequential,
  sgd,
  sparseCategoricalCrossentropy,
  tensor,
  tokenAndPositionEmbedding,
  transformerDecoder,
} from "../../build/esm/index.js";
import { loadPretrained } from "../../build/esm/transformers/index.js";

/** Numbers in [-0.5, 0.5), the same everywhere. */
export const noise = (n, seed) => Float32Array.from({ length: n }, (_, i) => (((i + seed) * 7919) % 10007) / 10007 - 0.5);

const oneHot = (n, classes) =>
  Float32Array.from({ length: n * classes }, (_, i) => Number(Math.floor(i / classes) % classes === i % classes));

/** Steps of the CNN and the LSTM are large enough to be shared among threads, those of the FFN are not. */
const NETWORKS = {
  ffn: {
    layers: () => [dense(10, { activation: "relu" }), dense(5, { activation: "relu" }), dense(1, { activation: "sigmoid" })],
    inputShape: [8],
    loss: "binaryCrossentropy",
    optimizer: () => sgd({ learningRate: 0.05 }),
    target: (n) =>
      tensor(
        noise(n, 3).map((v) => Number(v > 0)),
        [n, 1],
      ),
  },
  cnn: {
    layers: () => [
      randomRotation(0.1),
      randomZoom(0.2, { widthFactor: 0.1, fillMode: "constant" }),
      randomContrast(0.2, { valueRange: [-0.4, 0.4] }),
      conv2d(8, 3, { activation: "relu" }),
      conv2d(16, 3, { activation: "relu" }),
      maxPool2d(2),
      flatten(),
      dense(32, { activation: "relu" }),
      dense(10, { activation: "softmax" }),
    ],
    inputShape: [16, 16, 1],
    loss: "categoricalCrossentropy",
    optimizer: () => adam(),
    target: (n) => tensor(oneHot(n, 10), [n, 10]),
  },
  lstm: {
    layers: () => [lstm(64), dense(1)],
    inputShape: [8, 10],
    loss: "mse",
    optimizer: () => adam(),
    target: (n) => tensor(noise(n, 5), [n, 1]),
  },
};

/** `n` samples. */
const numbersFor = (shape, n) =>
  tensor(
    noise(
      shape.reduce((a, b) => a * b, n),
      1,
    ),
    [n, ...shape],
  );

export const SAMPLES = 128;
export const BATCH = 32;
export const EPOCHS = 2;
/** Of each text. */
export const TOKENS = 60;
/** Tokens of a run where one has several. */
export const PER_RUN = 5;

async function sha256(parts) {
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
  return Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)), (b) => b.toString(16).padStart(2, "0")).join("");
}

/** A model of text: numbers from 0 to 31, 24 at a time. */
const WORDS = 32;
const CONTEXT = 24;
const gpt = () =>
  sequential(
    [
      tokenAndPositionEmbedding(WORDS, 4 * CONTEXT, 32),
      ...[0, 1].map(() => transformerDecoder(64, 4, { dropout: 0.1, normalizeFirst: true, activation: "gelu" })),
      layerNorm(),
      dense(WORDS),
    ],
    { inputShape: [null], seed: 7 },
  );

/** What is drawn behind two beginnings at once: all that decides takes part. */
async function textOf(model, maxTokens = TOKENS) {
  const rows = [];
  const beginnings = [[1, 2, 3], Array.from({ length: 20 }, (_, i) => (5 * i) % WORDS)];
  const options = { maxTokens, seed: 11, temperature: 1.2, topK: 20, topP: 0.95, minP: 0.01, repetitionPenalty: 1.1 };
  for await (const row of generate(model, beginnings, options)) rows.push(...row);
  // The same by several in a run.
  const again = [];
  for await (const row of generate(model, beginnings, { ...options, tokensPerRun: PER_RUN })) again.push(...row);
  if (again.join() !== rows.join()) throw new Error(`several tokens in a run gave ${again}, one by one ${rows}`);
  return Int32Array.from(rows);
}

/** Trains the model of text, saves it and loads it: as `train`, with text that it writes in the place of predictions. */
async function write(backend, file) {
  const model = gpt();
  const loss = sparseCategoricalCrossentropy({ fromLogits: true });
  await model.compile({ loss, optimizer: adamw({ learningRate: 0.01, globalClipNorm: 1 }), backend });
  const numbers = Int32Array.from(noise(SAMPLES * (CONTEXT + 1), 4), (v) => Math.floor((v + 0.5) * WORDS * 0.99));
  const part = (from) => Int32Array.from({ length: SAMPLES * CONTEXT }, (_, i) => numbers[i + Math.floor(i / CONTEXT) + from]);
  const [x, y] = [0, 1].map((from) => tensor(part(from), [SAMPLES, CONTEXT]));
  // 51 steps.
  const { history } = await model.fit(x, y, { epochs: 17, batchSize: BATCH, seed: 3, validationSplit: 0.25, verbose: 0 });
  const hashes = async (m) => {
    const weights = await Promise.all((await m.getWeights()).map((t) => t.data()));
    return { weights: await sha256(weights), predictions: await sha256([await textOf(m)]) };
  };
  const trained = await hashes(model);
  if (file !== null) await model.save(file);
  const loaded = await hashes(await loadModel(file ?? (await model.toBytes()), { backend }));
  return { ...trained, loaded, losses: [...history.loss, ...history.valLoss] };
}

/** What a trained Llama says greedily behind the first prompt of `golden`, in f32 and in few bits, and its logits. */
async function tell(backend) {
  // Tests that need another thing of this file run where nobody has written that one.
  const { CONFIG, GOLDEN, WEIGHTS } = await import("../../build/platforms/stories260K.js");
  const files = {
    "config.json": new TextEncoder().encode(CONFIG),
    "model.safetensors": Uint8Array.from(atob(WEIGHTS), (c) => c.charCodeAt(0)),
  };
  const texts = {};
  for (const weights of ["f32", "f16", "q8", "q4"]) {
    const lm = await loadPretrained(files, { weights, backend });
    const ids = [];
    for await (const { id } of lm.generate(GOLDEN.prompt_ids, { maxTokens: GOLDEN.greedy_ids.length, temperature: 0 })) ids.push(id);
    texts[weights] = { ids, logits: await sha256([await (await lm.logits(GOLDEN.prompt_ids)).data()]) };
    lm.model.dispose();
  }
  return texts;
}

/**
 * Has workers started that have all kernels: the first program that needs a part of them has others started in place of those there are.
 */
export async function ready(backend) {
  for (const { layers, inputShape } of Object.values(NETWORKS)) {
    const model = sequential(layers(), { inputShape });
    await model.compile({ loss: "mse", backend });
    await (await model.predict(numbersFor(inputShape, 1))).data();
    model.dispose();
  }
  const text = gpt();
  await text.compile({ loss: "mse", backend });
  await textOf(text, 2);
  text.dispose();
  await backend.warm();
}

/**
 * Trains one network on `backend`, saves it, to `file` if given, and loads it: { hashes of the weights and of predictions before and after,
 * losses of the epochs }.
 */
export async function train(name, backend, file = null, epochs = EPOCHS) {
  const { layers, inputShape, loss, optimizer, target } = NETWORKS[name];
  const model = sequential(layers(), { inputShape, seed: 7 });
  await model.compile({ loss, optimizer: optimizer(), metrics: ["mae"], backend });
  const x = numbersFor(inputShape, SAMPLES);
  const { history } = await model.fit(x, target(SAMPLES), { epochs, batchSize: BATCH, seed: 3, validationSplit: 0.25, verbose: 0 });
  const hashes = async (m) => {
    const weights = await Promise.all((await m.getWeights()).map((t) => t.data()));
    return { weights: await sha256(weights), predictions: await sha256([await (await m.predict(x)).data()]) };
  };
  const trained = await hashes(model);
  if (file !== null) await model.save(file);
  const loaded = await hashes(await loadModel(file ?? (await model.toBytes()), { backend, layers: extraLayers }));
  return { ...trained, loaded, losses: [...history.loss, ...history.valLoss] };
}

/**
 * All of them on a backend with these options, workers ready: what came out, and how it ran. `folder`: where models are saved; else they
 * stay in memory. `trained` is called between what is trained here and what was trained elsewhere.
 */
export async function trainAll({ folder = null, ...options } = {}, trained = () => {}) {
  const backend = await open("wasm", { reproducible: true, ...options });
  await ready(backend);
  const results = {};
  for (const name of Object.keys(NETWORKS)) results[name] = await train(name, backend, folder && `${folder}/${name}.safetensors`);
  results.gpt = await write(backend, folder && `${folder}/gpt.safetensors`);
  trained();
  results.story = await tell(backend);
  // Its weights have kernels of their own, with which workers begin anew.
  await backend.warm();
  const { threads, activeThreads, threadsProblem, limits } = backend;
  backend.close();
  return { results, how: { threads, activeThreads, threadsProblem, queued: limits.asynchronous } };
}

/** Two products of 256 x 256 matrices: enough work to be shared. Compiled anew each time. */
export async function product(backend) {
  const a = tensor(noise(256 * 256, 5), [256, 256]);
  const f = compile((x) => matmul(x, matmul(x, x)), { backend });
  const c = await (await f(a)).data();
  f.close();
  return sha256([c]);
}

/**
 * A worker whose first job throws: its working memory has an address that WebAssembly does not take. (A real trap, as in
 * test/wasm/threads.test.js, reads outside of memory, which the Chromium of @sparticuz/chromium 147 does not survive even in a module of
 * one load.)
 */
export function failing(start) {
  const worker = start();
  const post = worker.postMessage.bind(worker);
  worker.postMessage = (message) => post(message.scratch === undefined ? message : { ...message, scratch: 1n });
  return worker;
}

/** Resolves when `condition` holds, false when it does not within ten seconds. */
export async function until(condition) {
  for (let i = 0; i < 1000; i++) {
    if (condition()) return true;
    await new Promise((done) => setTimeout(done, 10));
  }
  return false;
}

/**
 * Workers that end and that throw. `start` makes a worker of this runtime. Returns what happened, for the caller to judge: here is not
 * always an assertion library. A hash is a product that went through; an error is given as text.
 */
export async function accidents(start, options = {}) {
  let make = start;
  const made = [];
  const backend = await open("wasm", {
    threads: 2,
    reproducible: true,
    ...options,
    worker: () => {
      made.push(make());
      return made.at(-1);
    },
  });
  const attempt = () => product(backend).catch((error) => `${error.name}: ${error.message}`);
  const endAll = () => made.forEach((w) => w.terminate());
  const log = { expected: await attempt() };
  await backend.warm();
  log.shared = await attempt();
  log.activeThreads = backend.activeThreads;

  endAll();
  log.endNoticed = await until(() => backend.activeThreads === 1);
  log.afterEnd = await attempt();
  await backend.warm();
  log.crewAfterEnd = backend.activeThreads;

  if (backend.limits.asynchronous) {
    const working = attempt();
    endAll();
    log.endedAtWork = await working;
    await until(() => backend.activeThreads === 1);
    log.afterEndedAtWork = await attempt();
    await backend.warm();
  }

  endAll();
  await until(() => backend.activeThreads === 1);
  make = () => failing(start);
  await backend.warm();
  log.failed = await attempt();
  make = start;
  log.afterFailed = await attempt();
  await backend.warm();
  log.recovered = await attempt();
  log.crewRecovered = backend.activeThreads;
  backend.close();
  return log;
}

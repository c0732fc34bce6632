/**
 * @file The worker that trains a GPT and writes with it. Training goes on in runs of a few steps; between two of them the worker hears the
 * page, writes what was asked for, and looks at the held-out text.
 *
 *   page to worker   settings, start, stop, reset, write, file, save
 *   worker to page   ready, text, model, state, backend, progress, validation, sample, letters, saved, failed
 */
import {
  adamw,
  cosineDecay,
  generate,
  layerNorm,
  loadModel,
  open,
  sequential,
  sparseCategoricalCrossentropy,
  tiedHead,
  tokenAndPositionEmbedding,
  transformerDecoder,
} from "lockstep";
import { text, tokenWindows } from "lockstep/data";
import { stories } from "../data.js";

const BLOCK = 64;
const BATCH = 12;
const HEADS = 4;
const SEED = 1;
const NETWORKS = { small: { layers: 2, width: 64 }, large: { layers: 4, width: 128 } };
/** Steps between two looks at what the page wants. */
const RUN = 5;
/** Letters of made-up stories, of an answer, and of what it writes by itself. */
const STORIES = 120_000;
const ANSWER = 300;
const SAMPLE = 90;
/** Windows of the held-out text that are looked at, and the largest part of the time that this and samples may take, each. */
const CHECKED = 120;
const SHARE = 0.08;

const post = (type, fields = {}) => postMessage({ type, ...fields });

let settings = { backend: "auto", threads: "auto", network: "small", steps: 2000 };
let source = null;
let model = null;
let backend = null;
/** What the page sees: loading, idle, preparing, running, stopped or finished. */
let phase = "loading";
let step = 0;
/** The step to stop at. */
let until = 0;

function setPhase(next, said) {
  phase = next;
  post("state", { phase, text: said });
}

function network({ layers, width }, vocabulary) {
  const tokens = tokenAndPositionEmbedding(vocabulary, BLOCK, width);
  const block = () => transformerDecoder(4 * width, HEADS, { activation: "gelu", normalizeFirst: true });
  return sequential([tokens, ...Array.from({ length: layers }, block), layerNorm({ epsilon: 1e-5 }), tiedHead(tokens)], {
    inputShape: [BLOCK],
    name: "gpt",
    seed: SEED,
  });
}

/** AdamW with a warm-up and half a cosine wave, as nanoGPT has it; smaller networks learn faster. */
function optimizer({ width }, steps) {
  const warmupTarget = width < 100 ? 3e-3 : 1e-3;
  const warmupSteps = 50;
  return adamw({
    learningRate: cosineDecay({ initialLearningRate: 0, warmupTarget, warmupSteps, decaySteps: steps - warmupSteps, alpha: 0.1 }),
    beta2: 0.99,
    weightDecay: 0.1,
    globalClipNorm: 1,
  });
}

/** Makes the model, or moves it: between two backends a model is what `toBytes` gives, weights and the optimizer's state. */
async function compile() {
  const before = { model, backend };
  const saved = model === null ? null : await model.toBytes();
  const opened = settings.backend === "webgpu" ? await open("webgpu") : await open("wasm", { threads: settings.threads });
  const size = NETWORKS[settings.network];
  const next = saved === null ? network(size, source.vocabulary.length) : await loadModel(saved);
  await next.compile({
    loss: sparseCategoricalCrossentropy({ fromLogits: true }),
    optimizer: next.optimizer ?? optimizer(size, settings.steps),
    backend: settings.backend,
  });
  model = next;
  backend = opened;
  before.model?.dispose();
  before.backend?.close();
  post("model", { weights: model.parameters.reduce((sum, t) => sum + t.size, 0) });
  tellBackend();
  // Threads start now, beside everything else, instead of with the first step.
  void opened.warm?.().then(tellBackend);
}

/** "2 threads, relaxed SIMD", or the name of the GPU. Threads that have started, that is. */
function tellBackend() {
  const { name, adapter, activeThreads: threads, simd } = backend;
  const detail = name === "wasm" ? `${threads} ${threads === 1 ? "thread" : "threads"}, ${simd} SIMD` : adapter;
  post("backend", { name, detail });
}

// --- Writing ----------------------------------------------------------------------------------------------------------

let seed = 0;

/**
 * Letters behind `prompt`, one after another. The network has positions for a window; when that is full, it goes on from the second half
 * of it.
 */
async function* letters(prompt, { count, temperature = 0.8 }) {
  const ids = [...source.encode(prompt)];
  for (let left = count; left > 0;) {
    const seen = ids.slice(-BLOCK / 2);
    const maxTokens = Math.min(left, BLOCK + 1 - seen.length);
    for await (const id of generate(model, seen, { maxTokens, temperature, seed: seed++ })) {
      ids.push(id);
      left--;
      yield source.decode([id]);
    }
  }
}

/** What stands before the first word: the end of a line, where the text has lines. */
const beginning = () => (source.vocabulary.includes("\n") ? "\n" : source.decode(source.ids.subarray(0, 1)));

/** What the page asks to be written; only the last request counts. */
let request = null;

async function answer() {
  while (request !== null) {
    const { id, prompt, temperature } = request;
    request = null;
    try {
      for await (const letter of letters(prompt || beginning(), { count: ANSWER, temperature })) {
        if (request !== null) break;
        post("letters", { id, text: letter, done: false });
      }
      post("letters", { id, text: "", done: true });
    } catch (error) {
      fail(error, id);
    }
  }
}

async function sample() {
  let written = "";
  for await (const letter of letters(beginning(), { count: SAMPLE })) written += letter;
  post("sample", { step, text: written.trim().replace(/\s*\n\s*/g, " ↵ ") });
}

// --- Training ---------------------------------------------------------------------------------------------------------

/** The training under way; null when there is none. */
let training = null;
let stopping = false;

/** Ends training after the steps that it is at. The weights stay as they are. */
async function interrupt() {
  stopping = true;
  await training;
  stopping = false;
}

/** Something to do now and then, which takes at most SHARE of the time. */
function seldom(work) {
  let next = 0;
  return async (now = false) => {
    const began = performance.now();
    if (!now && began < next) return;
    await work();
    next = performance.now() + Math.max(500, (performance.now() - began) / SHARE);
  };
}

/** Trains from `step` on, until the last step or until it is stopped. */
async function train() {
  if (step >= until) until = step + settings.steps;
  setPhase("preparing", "Compiling the training step …");
  if (model === null || backend === null) await compile();
  const { x, y } = tokenWindows(source.train, { length: BLOCK });
  const held = tokenWindows(source.validation, { length: BLOCK, stride: BLOCK });
  const check = seldom(async () => {
    const { loss } = await model.evaluate(held.x, held.y, { batchSize: BATCH, steps: CHECKED / BATCH });
    post("validation", { step, loss });
  });
  const show = seldom(sample);
  let perSecond = 0;
  await show(step === 0);
  setPhase("running", `Learning from ${source.name}`);
  while (step < until && !stopping) {
    const began = performance.now();
    const epoch = step / RUN;
    const { history } = await model.fit(x, y, {
      batchSize: BATCH,
      initialEpoch: epoch,
      epochs: epoch + 1,
      stepsPerEpoch: RUN,
      seed: SEED,
      verbose: 1,
      // With `auto`, fit says here which backend it found to be faster.
      stream: { write: hearBackend },
    });
    step += RUN;
    const rate = (RUN * BATCH * BLOCK * 1000) / (performance.now() - began);
    perSecond = perSecond === 0 ? rate : 0.9 * perSecond + 0.1 * rate;
    post("progress", { step, until, loss: history.loss[0], perSecond });
    await check(step >= until);
    await show(step >= until);
    await answer();
    // The page's messages come in between.
    await new Promise((done) => setTimeout(done));
  }
  if (step >= until) setPhase("finished", `Finished after ${step.toLocaleString("en")} steps`);
  else if (!moving) setPhase("stopped", `Stopped at step ${step.toLocaleString("en")}`);
}

function hearBackend(written) {
  const [, name, timing] = /^backend: (\w+) \((.*)\)/.exec(written) ?? [];
  if (name !== undefined) post("backend", { name, detail: timing });
}

function launch() {
  training = train()
    .catch((error) => {
      fail(error);
      setPhase("stopped", `Stopped: ${error.message}`);
    })
    .finally(() => (training = null));
}

// --- Messages ---------------------------------------------------------------------------------------------------------

/** True while training is only interrupted to go on elsewhere. */
let moving = false;

function useText(name, whole) {
  const next = text(whole);
  if (next.validation.length <= BLOCK) throw new Error(`${name}: expected a text of at least ${10 * (BLOCK + 1)} characters`);
  source = { name, ...next };
  post("text", { name, characters: next.ids.length, excerpt: whole.slice(0, 600) });
}

const handlers = {
  async settings({ value }) {
    const before = settings;
    settings = value;
    if (source === null) useText("made-up stories", stories(STORIES, SEED));
    if (value.network !== before.network && model !== null) return handlers.reset();
    if (model !== null && value.backend === before.backend && value.threads === before.threads) return;
    const active = training !== null;
    moving = true;
    await interrupt();
    moving = false;
    try {
      await compile();
    } catch (error) {
      settings = { ...value, backend: before.backend, threads: before.threads };
      fail(error);
    }
    // What went wrong stays to be read; another backend may work.
    if (model === null) return;
    if (phase === "loading") setPhase("idle", "Ready");
    if (active && phase !== "finished") launch();
  },
  async start() {
    if (training === null) launch();
  },
  async stop() {
    await interrupt();
  },
  async reset() {
    await interrupt();
    model?.dispose();
    backend?.close();
    model = backend = null;
    step = until = 0;
    await compile();
    setPhase("idle", "Ready");
  },
  async file({ file }) {
    useText(file.name, await file.text());
    await handlers.reset();
  },
  async save() {
    post("saved", { bytes: await model.toBytes() });
  },
};

function fail(error, id = null) {
  console.error(error);
  post("failed", { text: error.message, id });
}

// One after the other, so that no two of them change the model at once; of requests to write only the last one counts.
let queue = Promise.resolve();
onmessage = ({ data: message }) => {
  if (message.type === "write") {
    request = message;
    if (training === null) queue = queue.then(answer);
  } else queue = queue.then(() => handlers[message.type](message)).catch(fail);
};

const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
post("ready", { webgpu: Boolean(adapter), threads: crossOriginIsolated ? navigator.hardwareConcurrency : 1 });

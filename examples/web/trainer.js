/**
 * @file The worker that trains. The page sends it messages and draws what comes back: `fit` never runs on the page's own
 * thread, so the page stays responsive, and a worker may wait for other threads, which a page may not.
 *
 *   page to worker   settings, start, stop, reset, draw, sample, files, save
 *   worker to page   ready, data, state, backend, progress, validation, prediction, sample, log, saved, failed
 */
import { adam, conv2d, dense, earlyStopping, flatten, loadModel, maxPool2d, open, sequential } from "lockstep";
import { drawnDigits, head, mnist, pixelsOf } from "./dataset.js";

const BATCH = 32;
const SEED = 1;
/** Milliseconds between two reports: often enough to look alive, seldom enough to cost nothing. */
const REPORT_MS = 100;
/** Held-out digits that are looked at in between, and the largest part of the time that this may take. */
const CHECKED = 500;
const CHECK_SHARE = 0.1;

const post = (type, fields = {}) => postMessage({ type, ...fields });

let settings = { backend: "auto", threads: "auto", digits: 6000, epochs: 20 };
let data = null;
let model = null;
let backend = null;
/** What the page sees: loading, idle, preparing, running, stopped or finished. */
let phase = "loading";
/** Where training is. */
let epoch = 0;
let step = 0;
/** The epoch to stop before. */
let until = 0;

function setPhase(next, text) {
  phase = next;
  post("state", { phase, text });
}

function network() {
  return sequential(
    [
      conv2d(32, 3, { activation: "relu" }),
      maxPool2d(2),
      conv2d(64, 3, { activation: "relu" }),
      maxPool2d(2),
      flatten(),
      dense(64, { activation: "relu" }),
      dense(10, { activation: "softmax" }),
    ],
    { inputShape: [28, 28, 1], name: "digits", seed: SEED },
  );
}

/**
 * Makes the model, or moves it: between two backends a model is what `toBytes` gives, weights and the optimizer's state,
 * so that training goes on as if nothing had happened.
 */
async function compile() {
  const before = { model, backend };
  const saved = model === null ? null : await model.toBytes();
  const opened = settings.backend === "webgpu" ? await open("webgpu") : await open("wasm", { threads: settings.threads });
  const next = saved === null ? network() : await loadModel(saved);
  await next.compile({
    loss: "categoricalCrossentropy",
    optimizer: next.optimizer ?? adam({ learningRate: 1e-3 }),
    metrics: ["accuracy"],
    backend: settings.backend,
  });
  model = next;
  backend = opened;
  await predicting;
  before.model?.dispose();
  before.backend?.close();
  told = backend.activeThreads ?? 0;
  post("backend", { name: backend.name, detail: detail() });
  // Threads start now, beside everything else, instead of with the first step.
  void opened.warm?.().then(tellThreads);
}

/** "2 threads, relaxed SIMD", or the name of the GPU. Threads that have started, that is. */
function detail() {
  if (backend.name !== "wasm") return backend.adapter;
  return `${backend.activeThreads} ${backend.activeThreads === 1 ? "thread" : "threads"}, ${backend.simd} SIMD`;
}

/** Threads that the page was last told of. */
let told = 0;

function tellThreads() {
  if (backend?.name !== "wasm" || backend.activeThreads === told) return;
  told = backend.activeThreads;
  post("backend", { name: backend.name, detail: detail() });
}

// --- Training ---------------------------------------------------------------------------------------------------------

/** The run of `fit` under way, also while it is stopped; null when there is none. */
let fitting = null;
/** While training is stopped: resolves when it goes on. `fit` waits for its callbacks, so waiting in one stops it between two steps. */
let gate = null;
const INTERRUPTED = new Error("interrupted");
let interrupted = false;

function closeGate() {
  if (gate !== null) return;
  gate = {};
  gate.opened = new Promise((open) => (gate.open = open));
}

function openGate() {
  gate?.open();
  gate = null;
}

/** Ends `fit` after the step that it is at. The weights stay as they are. */
async function interrupt() {
  interrupted = true;
  openGate();
  await fitting;
  interrupted = false;
}

/** A callback for `fit`: reports, looks at held-out digits now and then, and waits while training is stopped. */
function reporter(check, from) {
  const steps = Math.ceil(data.train.count / BATCH);
  let losses = 0;
  let batches = 0;
  let perSecond = 0;
  let since = performance.now();
  let nextCheck = 0;

  const report = () => {
    const rate = (batches * BATCH * 1000) / (performance.now() - since);
    perSecond = perSecond === 0 ? rate : 0.8 * perSecond + 0.2 * rate;
    tellThreads();
    post("progress", { step, steps, stepOfEpoch: (step - from) % steps || steps, epoch, epochs: until, loss: losses / batches, perSecond });
    losses = batches = 0;
  };
  return {
    onEpochBegin(index) {
      epoch = index;
    },
    async onBatchEnd(_, { loss }) {
      step++;
      if (interrupted) throw INTERRUPTED;
      losses += loss;
      batches++;
      const last = (step - from) % steps === 0;
      if (gate === null && !last && performance.now() - since < REPORT_MS) return;
      report();
      answer();
      if (!last && performance.now() >= nextCheck) {
        const began = performance.now();
        const seen = await model.evaluate(check.x, check.y, { batchSize: 100 });
        nextCheck = performance.now() + Math.max(4 * REPORT_MS, (performance.now() - began) / CHECK_SHARE);
        post("validation", { step, loss: seen.loss, accuracy: seen.accuracy });
      }
      if (gate !== null) {
        setPhase("stopped", `Stopped at step ${step.toLocaleString("en")}`);
        await gate.opened;
        if (interrupted) throw INTERRUPTED;
      }
      since = performance.now();
    },
    onEpochEnd(_, { accuracy, valLoss, valAccuracy }) {
      epoch++;
      post("validation", { step, loss: valLoss, accuracy: valAccuracy, trainAccuracy: accuracy });
      answer();
      since = performance.now();
    },
  };
}

/** Trains from `epoch` on, until the validation accuracy has stopped rising or the epochs are over. */
async function train() {
  if (epoch >= until) until = epoch + settings.epochs;
  setPhase("preparing", data === null ? `Drawing ${settings.digits.toLocaleString("en")} digits …` : "Compiling the training step …");
  prepareData();
  if (model === null || backend === null) await compile();
  setPhase("running", `Training on ${data.name}`);
  try {
    await model.fit(data.train.x, data.train.y, {
      batchSize: BATCH,
      initialEpoch: epoch,
      epochs: until,
      seed: SEED,
      validationData: [data.validation.x, data.validation.y],
      // With `auto`, fit says here which backend it found to be faster.
      stream: { write: log },
      callbacks: [
        reporter(head(data.validation, CHECKED), step),
        earlyStopping({ monitor: "valAccuracy", patience: 3, restoreBestWeights: true }),
      ],
    });
    setPhase("finished", `${epoch < until ? "Converged" : "Finished"} after ${epoch} ${epoch === 1 ? "epoch" : "epochs"}`);
    answer();
  } catch (error) {
    if (error !== INTERRUPTED) throw error;
  }
}

function log(text) {
  const [, name, timing] = /^backend: (\w+) \((.*)\)/.exec(text) ?? [];
  if (name !== undefined && name !== backend.name) post("backend", { name, detail: timing });
  post("log", { text: text.trimEnd() });
}

function launch() {
  fitting = train()
    .catch((error) => {
      fail(error);
      setPhase("stopped", "Stopped by an error");
    })
    .finally(() => {
      fitting = null;
      openGate();
    });
}

// --- Data -------------------------------------------------------------------------------------------------------------

function prepareData() {
  if (data === null) useData(drawnDigits(settings.digits));
}

function useData(next) {
  data = next;
  const shown = Math.min(30, data.train.count);
  post("data", {
    name: data.name,
    training: data.train.count,
    validation: data.validation.count,
    pixels: data.train.x.data.slice(0, shown * 784),
    labels: Array.from(data.train.labels.slice(0, shown)),
  });
}

// --- The drawing ------------------------------------------------------------------------------------------------------

let drawing = null;
let predicting = null;
let stale = false;

/** Sends the probabilities for the drawing as the network sees it now; while an answer is under way, one more follows it. */
function answer() {
  stale = drawing !== null && model !== null;
  if (predicting !== null || !stale) return;
  predicting = (async () => {
    while (stale) {
      stale = false;
      const { id, pixels } = drawing;
      const p = await model.predict({ data: pixels, shape: [1, 28, 28, 1] }).then((t) => t.data());
      post("prediction", { id, probabilities: Array.from(p), step });
    }
  })()
    .catch(fail)
    .finally(() => (predicting = null));
}

// --- Messages ---------------------------------------------------------------------------------------------------------

const handlers = {
  async settings({ value }) {
    const before = settings;
    settings = value;
    if (value.digits !== before.digits && data?.name !== "MNIST") await handlers.reset({ keepData: false });
    if (model !== null && value.backend === before.backend && value.threads === before.threads) return;
    // The new backend begins the epoch anew, with the weights as they are.
    const active = phase === "running" || phase === "preparing";
    await interrupt();
    try {
      await compile();
    } catch (error) {
      settings = { ...value, backend: before.backend, threads: before.threads };
      fail(error);
    }
    // What went wrong stays to be read; another backend may work.
    if (model === null) return;
    if (phase === "loading") setPhase("idle", "Ready");
    answer();
    if (active && phase !== "finished") launch();
  },
  async start() {
    if (phase === "running" || phase === "preparing") return;
    if (fitting === null) return launch();
    setPhase("running", `Training on ${data.name}`);
    openGate();
  },
  async stop() {
    if (fitting !== null) closeGate();
  },
  async reset({ keepData = true }) {
    await interrupt();
    model?.dispose();
    backend?.close();
    model = backend = null;
    epoch = step = until = 0;
    if (!keepData) data = null;
    await compile();
    setPhase("idle", "Ready");
    answer();
  },
  async sample() {
    prepareData();
    const index = Math.floor(Math.random() * data.validation.count);
    post("sample", { pixels: pixelsOf(data.validation, index), label: data.validation.labels[index] });
  },
  async files({ files }) {
    const next = await mnist(files);
    await handlers.reset({ keepData: false });
    useData(next);
  },
  async save() {
    post("saved", { bytes: await model.toBytes() });
  },
};

function fail(error) {
  console.error(error);
  post("failed", { text: error.message });
}

// One after the other, so that no two of them change the model at once; drawings do not wait, only the last one counts.
let queue = Promise.resolve();
onmessage = ({ data: message }) => {
  if (message.type === "draw") {
    drawing = message.pixels === null ? null : message;
    answer();
  } else {
    queue = queue.then(() => handlers[message.type](message)).catch(fail);
  }
};

const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
post("ready", { webgpu: Boolean(adapter), threads: crossOriginIsolated ? navigator.hardwareConcurrency : 1 });

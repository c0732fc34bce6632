/** @file The page: it draws, and talks to the worker that trains. Nothing here takes longer than a few milliseconds. */
import { drawingPad, paintDigit } from "./pad.js";
import { $, count, download, hear, NAMES, offer, say, threadsOf } from "./page.js";
import { accuracyPlot, lossPlot } from "./plots.js";

const percent = (v, digits = 1) => `${(100 * v).toFixed(digits)} %`;

const worker = new Worker(new URL("./trainer.js", import.meta.url), { type: "module" });
const send = (type, fields = {}) => worker.postMessage({ type, ...fields });

const loss = lossPlot($("loss-plot"));
const accuracy = accuracyPlot($("accuracy-plot"));

// --- Drawing ----------------------------------------------------------------------------------------------------------

const bars = Array.from({ length: 10 }, (_, digit) => {
  const bar = document.createElement("li");
  bar.innerHTML = `<span class="share"></span><span class="track"><span class="fill"></span></span><span class="digit">${digit}</span>`;
  $("bars").append(bar);
  return { bar, share: bar.querySelector(".share") };
});

/** Numbers the drawings, so that a late answer to an old one is not shown. */
let drawing = 0;
let announce = false;

function showProbabilities(p) {
  const best = p.indexOf(Math.max(...p));
  bars.forEach(({ bar, share }, digit) => {
    bar.style.setProperty("--p", p[digit].toFixed(3));
    bar.classList.toggle("best", digit === best);
    share.textContent = p[digit] >= 0.005 ? Math.round(100 * p[digit]) : "";
  });
  say("verdict", `It reads ${best}, at ${percent(p[best], 0)}`);
  // Read aloud once a digit is finished, not at every move of the pen and not at every step of the training.
  if (announce) say("spoken", $("verdict").textContent);
  announce = false;
}

function clearProbabilities() {
  for (const { bar, share } of bars) {
    bar.style.setProperty("--p", 0);
    bar.classList.remove("best");
    share.textContent = "";
  }
  say("verdict", "The probabilities follow your pen, and the training.");
}

const pad = drawingPad($("pad"), $("seen"), (pixels, settled) => {
  $("hint").hidden = pixels !== null;
  drawing++;
  announce = settled;
  send("draw", { id: drawing, pixels });
  if (pixels === null) clearProbabilities();
});
$("clear").onclick = () => pad.clear();
$("sample").onclick = () => send("sample");

// --- Controls ---------------------------------------------------------------------------------------------------------

const LABELS = { idle: "Start training", preparing: "Stop", running: "Stop", stopped: "Resume", finished: "Train on" };
let phase = "loading";

function readSettings() {
  const { backend, threads, digits, epochs } = Object.fromEntries(new FormData($("settings")));
  return { backend, threads: threadsOf(threads), digits: Number(digits), epochs: Number(epochs) };
}

$("settings").onchange = () => send("settings", { value: readSettings() });
$("settings").onsubmit = (event) => event.preventDefault();
$("run").onclick = () => send(phase === "running" || phase === "preparing" ? "stop" : "start");
$("reset").onclick = () => send("reset");
$("save").onclick = () => send("save");

function clearFigures() {
  loss.clear();
  accuracy.clear();
  for (const id of ["val-accuracy", "per-second", "loss", "epoch", "step"]) say(id, "–");
  $("progress").value = 0;
  say("log", "");
}

// --- Files: MNIST, dropped or chosen ----------------------------------------------------------------------------------

const useFiles = (files) => files.length > 0 && send("files", { files: [...files] });
$("files").onchange = ({ target }) => {
  useFiles(target.files);
  target.value = "";
};
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
addEventListener("dragleave", (event) => event.relatedTarget === null && document.body.classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  useFiles(event.dataTransfer.files);
});

/** Thirty training digits side by side, as one canvas. */
function showExamples(pixels) {
  const canvas = $("examples");
  const one = document.createElement("canvas");
  one.width = one.height = 28;
  const columns = 15;
  canvas.width = columns * 30;
  canvas.height = 60;
  const context = canvas.getContext("2d");
  for (let i = 0; i * 784 < pixels.length; i++) {
    paintDigit(one, pixels.subarray(784 * i, 784 * (i + 1)));
    context.drawImage(one, 30 * (i % columns) + 1, 30 * Math.floor(i / columns) + 1);
  }
}

// --- What the worker says ---------------------------------------------------------------------------------------------

const heard = {
  ready(found) {
    offer($("settings").elements, found);
    send("settings", { value: readSettings() });
  },
  state({ phase: next, text }) {
    phase = next;
    say("run", LABELS[phase]);
    say("status", text);
    for (const id of ["run", "reset", "save"]) $(id).disabled = false;
    if (phase === "idle") clearFigures();
  },
  backend({ name, detail }) {
    say("backend-name", NAMES[name]);
    say("backend-detail", detail);
  },
  data({ name, training, validation, pixels }) {
    say("data-note", `${count(training)} ${name}; ${count(validation)} more are held back for validation`);
    showExamples(pixels);
  },
  progress({ step, steps, stepOfEpoch, epoch, epochs, loss: value, perSecond }) {
    loss.add(step, value, null);
    say("loss", value < 0.001 ? value.toExponential(1) : value.toFixed(3));
    say("per-second", count(perSecond));
    say("epoch", `${epoch + 1} / ${epochs}`);
    say("step", count(step));
    $("progress").value = stepOfEpoch / steps;
  },
  validation({ step, loss: value, accuracy: share, trainAccuracy = null }) {
    loss.add(step, null, value);
    accuracy.add(step, trainAccuracy, share);
    say("val-accuracy", percent(share));
    $("loss-plot").ariaLabel = `Loss over steps: ${value.toFixed(3)} on held-out digits after ${count(step)} steps`;
    $("accuracy-plot").ariaLabel = `Accuracy over steps: ${percent(share)} of held-out digits after ${count(step)} steps`;
  },
  prediction({ id, probabilities }) {
    if (id === drawing) showProbabilities(probabilities);
  },
  sample({ pixels }) {
    pad.show(pixels);
  },
  log({ text }) {
    $("log").textContent += `${text}\n`;
  },
  saved({ bytes }) {
    download(bytes, "digits.safetensors");
  },
  failed({ text }) {
    say("status", text);
  },
};

hear(worker, heard);

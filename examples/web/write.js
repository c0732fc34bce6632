/** @file The page that writes: it shows, and talks to the worker that trains. Nothing here takes longer than a few milliseconds. */
import { $, count, download, hear, NAMES, offer, say, threadsOf } from "./page.js";
import { lossPlot } from "./plots.js";

const worker = new Worker(new URL("./writer.js", import.meta.url), { type: "module" });
const send = (type, fields = {}) => worker.postMessage({ type, ...fields });

/** Samples that are kept; the first ones, by which one sees where it began, and the last ones. */
const FIRST_SAMPLES = 3;
const LAST_SAMPLES = 9;
/** What the loss of random letters is about. */
const HIGHEST_LOSS = 4;

const loss = lossPlot($("loss-plot"), HIGHEST_LOSS);

// --- Writing ----------------------------------------------------------------------------------------------------------

/** Numbers the requests, so that what is left of an old answer is not shown. */
let asked = 0;

$("ask").onsubmit = (event) => {
  event.preventDefault();
  const { prompt, temperature } = Object.fromEntries(new FormData($("ask")));
  const beginning = document.createElement("b");
  beginning.textContent = prompt;
  $("written").replaceChildren(beginning, document.createTextNode(""));
  say("write-note", "Writing …");
  send("write", { id: ++asked, prompt, temperature: Number(temperature) });
};

function showSample(step, text) {
  const item = document.createElement("li");
  const [mark, words] = [document.createElement("span"), document.createElement("p")];
  mark.className = "mark";
  mark.textContent = `step ${count(step)}`;
  words.textContent = text;
  item.append(mark, words);
  $("samples").prepend(item);
  const { children } = $("samples");
  if (children.length > FIRST_SAMPLES + LAST_SAMPLES) children[LAST_SAMPLES].remove();
}

// --- Controls ---------------------------------------------------------------------------------------------------------

const LABELS = { idle: "Start training", preparing: "Stop", running: "Stop", stopped: "Resume", finished: "Train on" };
let phase = "loading";

function readSettings() {
  const { backend, threads, network, steps } = Object.fromEntries(new FormData($("settings")));
  return { backend, threads: threadsOf(threads), network, steps: Number(steps) };
}

$("settings").onchange = () => send("settings", { value: readSettings() });
$("settings").onsubmit = (event) => event.preventDefault();
$("run").onclick = () => send(phase === "running" || phase === "preparing" ? "stop" : "start");
$("reset").onclick = () => send("reset");
$("save").onclick = () => send("save");

function clearFigures() {
  loss.clear();
  for (const id of ["val-loss", "per-second", "loss", "step"]) say(id, "–");
  $("progress").value = 0;
  $("samples").replaceChildren();
}

// --- Texts, dropped or chosen -----------------------------------------------------------------------------------------

const useFiles = (files) => files.length > 0 && send("file", { file: files[0] });
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

// --- What the worker says ---------------------------------------------------------------------------------------------

hear(worker, {
  ready(found) {
    offer($("settings").elements, found);
    send("settings", { value: readSettings() });
  },
  state({ phase: next, text }) {
    phase = next;
    say("run", LABELS[phase]);
    say("status", text);
    for (const id of ["run", "reset", "save", "write"]) $(id).disabled = false;
    if (phase === "idle") clearFigures();
  },
  backend({ name, detail }) {
    say("backend-name", NAMES[name]);
    say("backend-detail", detail);
  },
  model({ weights }) {
    say("weights", count(weights));
  },
  text({ name, characters, excerpt }) {
    say("text-note", `${name}: ${count(characters)} characters`);
    say("excerpt", excerpt);
  },
  progress({ step, until, loss: value, perSecond }) {
    loss.add(step, Math.min(value, HIGHEST_LOSS), null);
    say("loss", value.toFixed(3));
    say("per-second", count(perSecond));
    say("step", count(step));
    $("progress").value = step / until;
  },
  validation({ step, loss: value }) {
    loss.add(step, null, Math.min(value, HIGHEST_LOSS));
    say("val-loss", value.toFixed(3));
    $("loss-plot").ariaLabel = `Loss over steps: ${value.toFixed(3)} on the held-out part of the text after ${count(step)} steps`;
  },
  sample({ step, text }) {
    showSample(step, text);
  },
  letters({ id, text, done }) {
    if (id !== asked) return;
    $("written").lastChild.data += text;
    if (!done) return;
    say("write-note", "It goes on from what you begin.");
    // Read aloud as a whole, and not letter by letter.
    say("spoken", $("written").textContent);
  },
  saved({ bytes }) {
    download(bytes, "gpt.safetensors");
  },
  failed({ text, id = null }) {
    if (id === null) say("status", text);
    else if (id === asked) say("write-note", text);
  },
});

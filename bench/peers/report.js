/** @file The measured figures as Markdown tables, and what the design asked for beside what was measured. */
import { table } from "../sections.js";
import { CONVS, GPTS, NETS, PRODUCTS } from "./workloads.js";

const BUSY = "other work had the processors in too many of its turns";
const JS_PEERS = ["tfjs", "ort", "jax"];

const count = (v) => Math.round(v).toLocaleString("en-US");
const digits = { "GFLOP/s": (v) => v.toFixed(1), us: (v) => (v >= 100 ? count(v) : v.toFixed(1)), "samples/s": count, "tokens/s": count };
const times = (v) => (Number.isFinite(v) ? `${v.toFixed(2)}x` : "–");
const percent = (v) => (Number.isFinite(v) ? `${Math.round(100 * v)} %` : "–");
const kb = (v) => (v >= 1e6 ? `${(v / 1e6).toFixed(1)} MB` : `${(v / 1e3).toFixed(0)} KB`);

/** Access to figures by task and participant; NaN where there is none. */
export function reader(figures) {
  const value = (task, id) => figures[task]?.[id]?.median ?? NaN;
  const pick = (task, ids, better) => {
    const found = ids.map((id) => value(task, id)).filter((v) => !Number.isNaN(v));
    return found.length > 0 ? better(...found) : NaN;
  };
  return { value, most: (task, ids) => pick(task, ids, Math.max), least: (task, ids) => pick(task, ids, Math.min) };
}

/** Cells for participants; a failure becomes a footnote. */
function cells(figures, notes) {
  return (task, ids, unit) =>
    ids.map((id) => {
      const f = figures[task]?.[id];
      if (f === undefined) return "–";
      if (f.error === undefined && !f.busy) return digits[unit](f.median);
      const text = f.error ?? BUSY;
      const shown = f.error ? "–" : digits[unit](f.median);
      if (!notes.includes(text)) notes.push(text);
      return `${shown} (${notes.indexOf(text) + 1})`;
    });
}

export function tables({ versions, figures, starts, sizes }, participants) {
  const { value, most, least } = reader(figures);
  const notes = [];
  const cell = cells(figures, notes);
  const label = (ids) => ids.map((id) => participants[id].label);
  const parts = [];
  const add = (title, text, head, rows) =>
    rows.length > 0 && parts.push(`### ${title}\n\n${text ? `${text}\n\n` : ""}${table(head, rows)}`);
  const measured = (names) => names.filter((n) => figures[n]);
  const products = measured(Object.keys(PRODUCTS).map((n) => `matmul ${n}`));
  const convs = measured(Object.keys(CONVS).map((n) => `conv2d ${n}`));
  const trainings = measured(Object.keys(NETS).map((n) => `train ${n}`));
  const predictions = measured(Object.keys(NETS).map((n) => `predict ${n}`));

  const one = ["lockstep", "tfjs", "ort", "jax"];
  const versus =
    (ids = ["lockstep", ...JS_PEERS]) =>
    (t) => [times(value(t, ids[0]) / most(t, ids.slice(1)))];
  const ofLoop = (t) => [percent(value(t, "lockstep") / value(t, "fma"))];
  const rates = [...label(one), "to best JS peer", "FMA loop", "of it", "FMA loop to best JS peer", "PyTorch"];
  const rateRows = (names) =>
    names.map((t) => [
      t,
      ...cell(t, one, "GFLOP/s"),
      ...versus()(t),
      ...cell(t, ["fma"], "GFLOP/s"),
      ...ofLoop(t),
      times(value(t, "fma") / most(t, JS_PEERS)),
      ...cell(t, ["torch"], "GFLOP/s"),
    ]);
  add(
    "Products, one thread, GFLOP/s",
    "f32, square, operands resident, packing included. *FMA loop*: multiply-adds on registers alone, what relaxed SIMD can do at " +
      "most here, and so how far ahead of a peer one can be. PyTorch is native code with wider registers (AVX2 or AVX-512).",
    ["", ...rates],
    rateRows(products),
  );
  add("Convolutions forward, one thread, GFLOP/s", "3x3, stride 1, batch 32.", ["", ...rates], rateRows(convs));

  const torch2 = (t) => most(t, ["torch2", "torch2passive"]);
  const torchTwo = (t, unit) => cell(t, [value(t, "torch2passive") > value(t, "torch2") ? "torch2passive" : "torch2"], unit)[0];
  add(
    "Two threads",
    "Rates, and the factor to the same library's one thread. GFLOP/s and, in training, samples/s. PyTorch: the better of pools that " +
      "spin and pools that wait passively.",
    ["", "Lockstep", "factor", "ORT-web", "factor", "PyTorch", "factor"],
    [...products, ...convs, ...trainings].map((t) => {
      const unit = t.startsWith("train") ? "samples/s" : "GFLOP/s";
      return [
        t,
        ...cell(t, ["lockstep2"], unit),
        times(value(t, "lockstep2") / value(t, "lockstep")),
        ...cell(t, ["ort2"], unit),
        times(value(t, "ort2") / value(t, "ort")),
        torchTwo(t, unit),
        times(torch2(t) / value(t, "torch")),
      ];
    }),
  );

  const plain = ["lockstepPlain", "tfjsPlain", "ortPlain", "jaxPlain"];
  add(
    "Products without relaxed SIMD (older Node), one thread, GFLOP/s",
    "",
    ["", "Lockstep", "tfjs-wasm", "ORT-web", "jax-js", "to best JS peer", "register-only loop", "of it"],
    products.map((t) => [
      t,
      ...cell(t, plain, "GFLOP/s"),
      ...versus(plain)(t),
      ...cell(t, ["fmaPlain"], "GFLOP/s"),
      percent(value(t, "lockstepPlain") / value(t, "fmaPlain")),
    ]),
  );

  add(
    "Training, batch 32, Adam, samples/s",
    "Lockstep: `fit` with shuffling; the others: one call a batch, in the fastest way they have (jax-js: one `jit` for the whole " +
      "step; PyTorch: `nn.LSTM` for tanh, a scripted loop for relu).",
    ["", ...label(one), "PyTorch", "to best JS peer", "to PyTorch", "2 threads to PyTorch's"],
    trainings.map((t) => [
      t,
      ...cell(t, [...one, "torch"], "samples/s"),
      ...versus()(t),
      times(value(t, "lockstep") / value(t, "torch")),
      times(value(t, "lockstep2") / torch2(t)),
    ]),
  );

  const gpts = measured(Object.keys(GPTS).map((n) => `train ${n}`));
  const told = (t) => (figures[t].torchTold ? ["torchTold", "torchTold2"] : []);
  add(
    "Training a GPT, tokens/s",
    "nanoGPT's recipe for CPUs: 4 layers, 4 heads, 128 wide, batches of 12 windows of 64 characters, AdamW, gradients clipped by their " +
      "norm. Lockstep: `fit` of windows that each step gathers from one row of ids; PyTorch: batches made before, scores by `baddbmm`. " +
      "Where OpenBLAS is older than the processor and takes kernels of 2004, it is told better ones in the last columns.",
    ["", "Lockstep", "PyTorch", "to PyTorch", ...(gpts.some((t) => told(t).length > 0) ? ["PyTorch, told", "to that"] : [])],
    gpts.flatMap((t) =>
      [1, 2].map((threads) => {
        const [own, others, better] =
          threads === 1 ? ["lockstep", ["torch"], told(t).slice(0, 1)] : ["lockstep2", ["torch2", "torch2passive"], told(t).slice(1)];
        const best = others.reduce((a, b) => (value(t, b) > value(t, a) ? b : a));
        return [
          `${t}, ${threads} thread${threads > 1 ? "s" : ""}`,
          ...cell(t, [own, best], "tokens/s"),
          times(value(t, own) / value(t, best)),
          ...better.flatMap((id) => [...cell(t, [id], "tokens/s"), times(value(t, own) / value(t, id))]),
        ];
      }),
    ),
  );

  add(
    "What `reproducible: true` costs",
    "Time by time of the default, one thread.",
    ["", "default", "reproducible", "cost"],
    [...products, ...trainings].map((t) => [
      t,
      ...cell(t, ["lockstep", "reproducible"], t.startsWith("train") ? "samples/s" : "GFLOP/s"),
      times(value(t, "lockstep") / value(t, "reproducible")),
    ]),
  );

  add(
    "Prediction of one sample, microseconds",
    "From a host array to a host array. PyTorch: traced and frozen.",
    ["", ...label(["lockstep", "lockstep2", ...JS_PEERS]), "PyTorch", "best JS peer to Lockstep", "PyTorch to Lockstep"],
    predictions.map((t) => [
      t,
      ...cell(t, ["lockstep", "lockstep2", ...JS_PEERS, "torch"], "us"),
      times(least(t, JS_PEERS) / value(t, "lockstep")),
      times(value(t, "torch") / value(t, "lockstep")),
    ]),
  );

  if (starts) {
    const phases = ["import", "backend", "model", "predict"];
    add(
      "Import to first prediction in a fresh process (FFN), milliseconds",
      "`backend`: until it is ready; `model`: made, with weights (ORT-web loads its WASM file here); `predict`: the first one.",
      ["", ...phases, "total"],
      Object.entries(starts).map(([name, s]) => [
        name,
        ...(s.error ? [...phases.map(() => "–"), s.error] : [...phases.map((p) => s.marks[p]?.toFixed(1) ?? "–"), s.total.toFixed(1)]),
      ]),
    );
  }
  if (sizes) {
    add(
      "Download, gzip",
      "Bundled and minified by esbuild, tree-shaken; one SIMD build of the kernels, of Lockstep the parts that the program needs. " +
        "*later*: JavaScript of dynamic imports: backends, and kernels as text, in both builds.",
      ["", "JavaScript", "kernels", "at once", "later"],
      Object.entries(sizes).map(([name, s]) => [
        name,
        ...(s.error ? ["–", "–", s.error, "–"] : [kb(s.js), s.wasm ? kb(s.wasm) : "–", kb(s.js + s.wasm), s.later ? kb(s.later) : "–"]),
      ]),
    );
  }
  if (notes.length > 0) parts.push(notes.map((n, i) => `(${i + 1}) ${n}`).join("  \n"));
  const started = Object.entries(versions).map(([id, v]) => `- ${participants[id].label}: ${v}`);
  parts.push(`### Versions\n\n${started.join("\n")}`);
  return parts.join("\n\n");
}

/** `lack`: the part of what was wanted by which it is missed, too little or too much. */
const verdict = (lack) => (Number.isNaN(lack) ? "not measured" : lack <= 0 ? "met" : `missed by ${Math.max(1, Math.round(100 * lack))} %`);

/** What the design asks for, and by how much it is met or missed. */
export function targets({ figures, starts, sizes }) {
  const { value, most } = reader(figures);
  const rows = [];
  const atLeast = (what, wanted, got, show = times, busy = false) =>
    rows.push([what, `≥ ${show(wanted)}`, show(got), 1 - got / wanted, busy]);
  const two = (t) => [times, figures[t].lockstep2?.busy];
  const atMost = (what, wanted, got, show) => rows.push([what, `≤ ${show(wanted)}`, show(got), got / wanted - 1]);
  const each = (kind, all, fn) =>
    Object.keys(all)
      .map((n) => `${kind} ${n}`)
      .filter((t) => figures[t])
      .forEach(fn);
  each("matmul", PRODUCTS, (t) => atLeast(`${t}, to the best JS peer`, 1.5, value(t, "lockstep") / most(t, JS_PEERS)));
  each("matmul", PRODUCTS, (t) => atLeast(`${t}, of the FMA loop`, 0.9, value(t, "lockstep") / value(t, "fma"), percent));
  each("matmul", PRODUCTS, (t) =>
    atLeast(`${t}, plain SIMD, to the best JS peer`, 1.2, value(t, "lockstepPlain") / most(t, ["tfjsPlain", "ortPlain", "jaxPlain"])),
  );
  each("matmul", PRODUCTS, (t) => atLeast(`${t}, 2 threads to 1`, 1.85, value(t, "lockstep2") / value(t, "lockstep"), ...two(t)));
  each("conv2d", CONVS, (t) => atLeast(`${t}, to the best JS peer`, 1.5, value(t, "lockstep") / most(t, JS_PEERS)));
  const torch2 = (t) => most(t, ["torch2", "torch2passive"]);
  if (figures["train FFN"]) atLeast("train FFN, samples/s", 1e6, value("train FFN", "lockstep"), count);
  if (figures["train CNN"]) {
    atLeast("train CNN, to PyTorch", 0.8, value("train CNN", "lockstep") / value("train CNN", "torch"));
    atLeast("train CNN, 2 threads to PyTorch's", 1, value("train CNN", "lockstep2") / torch2("train CNN"), ...two("train CNN"));
  }
  each("train", GPTS, (t) => {
    atLeast(`${t}, to PyTorch`, 1, value(t, "lockstep") / value(t, "torch"));
    atLeast(`${t}, 2 threads to PyTorch's`, 1, value(t, "lockstep2") / torch2(t), ...two(t));
  });
  for (const t of ["train LSTM", "train LSTM-tanh"])
    if (figures[t]) atLeast(`${t}, to PyTorch`, 1.3, value(t, "lockstep") / value(t, "torch"));
  each("train", NETS, (t) => atMost(`${t}, cost of reproducible`, 1.6, value(t, "lockstep") / value(t, "reproducible"), times));
  for (const [net, us] of [["FFN", 5], ["CNN", 150], ["LSTM", 60]])
    if (figures[`predict ${net}`]) atMost(`predict ${net}, us`, us, value(`predict ${net}`, "lockstep"), (v) => v.toFixed(1));
  if (starts) atMost("import to first prediction, ms", 15, starts.Lockstep?.total ?? NaN, (v) => v.toFixed(1));
  const size = (label) => (sizes?.[label] ? sizes[label].js + sizes[label].wasm : NaN);
  if (sizes) {
    atMost("download, all of it, with WebGPU", 75e3, size("Lockstep, all of it, with WebGPU"), kb);
    atMost("download, to predict with dense layers", 40e3, size("Lockstep, predicts with dense layers"), kb);
  }
  return table(
    ["", "target", "measured", ""],
    rows.map(([what, wanted, got, lack, busy]) => [what, wanted, got, verdict(lack) + (busy ? ` (${BUSY})` : "")]),
  );
}

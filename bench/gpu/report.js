/** @file The figures of one adapter as a section of RESULTS.md. */
import { wrapped } from "../sections.js";
import { FORMATS, NETS, SIZES } from "./workloads.js";

const figure = (x) => (x >= 100 ? Math.round(x).toLocaleString("en-US") : x.toPrecision(3));
const percent = (part) => `${Math.round(100 * part)} %`;

function table(head, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? "---" : "---:"))), ...rows.map(line)].join("\n");
}

/** Bytes a second of a row. */
const rate = ({ bytes, ms }) => bytes / ms / 1e6;
const tokensPerSecond = ({ tokens, ms }) => (1000 * tokens) / ms;

/** The row `name` of a column, undefined where it was not measured or failed. */
const rowOf = (column, name) => (column?.rows[name]?.error === undefined ? column?.rows[name] : undefined);

/**
 * A table of the columns that have any of the rows; nothing where none has.
 * @param labels [[label, name of the row]]
 * @param show (row, column, name) => text of a cell
 */
function tableOf(what, columns, labels, show) {
  const ran = columns.filter((c) => labels.some(([, name]) => c.rows[name] !== undefined));
  if (ran.length === 0) return null;
  const cell = (c, name) => {
    const r = c.rows[name];
    return r === undefined ? "" : r.error === undefined ? show(r, c, name) : "failed";
  };
  const there = labels.filter(([, name]) => ran.some((c) => c.rows[name] !== undefined));
  return table(
    [what, ...ran.map((c) => c.title)],
    there.map(([label, name]) => [label, ...ran.map((c) => cell(c, name))]),
  );
}

/** A heading, perhaps a word on it, and a table; nothing where there is no table. */
const part = (title, markdown, note = null) =>
  markdown === null ? [] : ["", `### ${title}`, "", ...(note === null ? [] : [note, ""]), markdown];

/** What is wrong with what was found: errors, and results that are others than the first column's. */
function remarks(columns, compared) {
  const failures = columns.flatMap((c) => [
    ...(c.error === undefined ? [] : [`- ${c.title}: ${c.error}`]),
    ...Object.entries(c.rows)
      .filter(([, r]) => r.error !== undefined)
      .map(([name, r]) => `- ${c.title}: ${name}: ${r.error}`),
  ]);
  const first = columns.find((c) => c.title.startsWith("Lockstep"));
  // Products of 8 or 11 bits are less exact, and so is what comes of 20 of them.
  const tolerance = (title) => (/mixed|half/.test(title) ? 0.05 : 0.01);
  const wrong = columns.flatMap((c) =>
    compared
      .filter((name) => {
        const [a, b] = [rowOf(first, name)?.value, rowOf(c, name)?.value];
        return typeof a === "number" && typeof b === "number" && !(Math.abs(a - b) <= tolerance(c.title) * Math.abs(a));
      })
      .map((name) => `- ${c.title}: ${name}: computed ${c.rows[name].value}, ${first.title} ${first.rows[name].value}`),
  );
  return [
    ...(failures.length > 0 ? ["", "Not run:", "", ...failures] : []),
    ...(wrong.length > 0 ? ["", "Results that differ by more than 1 % (of less exact products: 5 %):", "", ...wrong] : []),
  ];
}

/** @returns Markdown that begins with `## adapter` */
export function section({ adapter, software, size, quick, machine, date, columns }) {
  const { products, image, transformer: t, steps, weights, attention, gpt, llama, target } = SIZES[size];
  // Without CUDA it has the processor.
  columns = columns.map((c) => (c.title.startsWith("PyTorch") && c.adapter === "CPU" ? { ...c, title: `${c.title} (CPU)` } : c));
  const torch = columns.find((c) => c.title === "PyTorch f32");
  const besides = (c) => c !== torch;
  const conv = `conv2d ${image.kernel}x${image.kernel}, [${image.count}, ${image.side}, ${image.side}, ${image.channels}]`;
  const multiplied = [...products.map((n) => [`matmul ${n}`, `matmul ${n}`]), [conv, "conv2d"]];
  const trained = [
    ["FFN 8-10-5-1", "FFN"],
    ["CNN 28x28", "CNN"],
    ["LSTM 100, 10 steps", "LSTM"],
    [`transformer block, batch ${t.batch}, ${t.tokens} tokens, width ${t.width}`, "transformer"],
  ];
  const copies = (c) => rowOf(c, "copy") ?? columns.map((o) => rowOf(o, "copy")).find((r) => r !== undefined);
  const ofCopy = (c, speed) => {
    const copy = copies(c);
    return copy === undefined ? "" : ` (${percent(speed / rate(copy))})`;
  };
  const largest = `matmul ${products.at(-1)}`;
  const attended = attention.map((a) => [`batch ${a.batch}, ${a.heads} heads, ${a.tokens} tokens of ${a.dim}`, `attention ${a.tokens}`]);
  const decoded = llama.positions.flatMap((p) => [
    [`a token behind ${p}`, `decode ${p}`],
    [`reading ${p}`, `prefill ${p}`],
  ]);
  const own = columns.filter((c) => Object.keys(NETS).some((net) => rowOf(c, net)?.encodeMs != null));
  const oneRow = FORMATS.map((format) => [format, `1 x ${format}`]);
  const manyRows = FORMATS.map((format) => [format, `${weights.tokens} x ${format}`]);
  const llamaWeights = columns.flatMap((c) => Object.values(c.rows)).find((r) => r.weights)?.weights;
  const versions = columns.map((c) => c.version).filter((v, i, all) => v && !v.startsWith("Lockstep") && all.indexOf(v) === i);
  const text = [
    `## ${adapter}`,
    "",
    software
      ? "**A software adapter: a program on the CPU. These figures say that everything runs, and how the libraries use the device; " +
        "they say nothing of GPUs.**\n"
      : "",
    `${date}; ${machine}. ${versions.length > 0 ? `${versions.join(", ")}. ` : ""}Medians${quick ? " of three rounds" : ""}; each figure ` +
      `with one wait for the device in ${size === "gpu" ? "4 to 512" : "1 to 32"} units of work.`,
    ...part(
      torch ? "GFLOP/s, and parts of PyTorch's in f32" : "GFLOP/s",
      tableOf("work", columns, multiplied, (r, c, name) => {
        const best = besides(c) ? rowOf(torch, name) : undefined;
        return `${figure(r.gflops)}${best === undefined ? "" : ` (${percent(r.gflops / best.gflops)})`}`;
      }),
    ),
    ...part(
      `Attention to all keys, forward and backward: GFLOP/s, and parts of the same column's ${largest}`,
      tableOf("heads", columns, attended, (r, c) => {
        const product = rowOf(c, largest);
        return `${figure(r.gflops)}${product === undefined ? "" : ` (${percent(r.gflops / product.gflops)})`}`;
      }),
    ),
    ...part(
      `Milliseconds for a training step, batch 32 (an epoch of ${Object.values(steps).join(", ")} steps by each library's own means)`,
      tableOf("network", columns, trained, (r, c, name) => {
        const best = besides(c) ? rowOf(torch, name) : undefined;
        return `${figure(r.ms)}${best === undefined ? "" : ` (${(best.ms / r.ms).toPrecision(2)}x)`}`;
      }),
      torch ? "In brackets: how many times as fast as PyTorch in f32, eager. Its LSTM has tanh, for cuDNN." : null,
    ),
    ...part(
      `Training a GPT: ${gpt.layers} layers, ${gpt.heads} heads, ${gpt.width} wide, ${gpt.block} tokens, batch ${gpt.batch}, ` +
        `dropout ${gpt.dropout}`,
      tableOf("tokens/s (milliseconds a step)", columns, [["characters", "gpt"]], (r) => `${figure(tokensPerSecond(r))} (${figure(r.ms)})`),
    ),
    ...part(
      `The same on a text, until what is held back has a loss of ${target.loss}, ${target.seconds} s at most`,
      tableOf(
        "loss, seconds, steps, tokens/s",
        columns,
        [["training", "train"]],
        (r) => `${r.loss.toFixed(4)}, ${figure(r.seconds)} s, ${r.steps}, ${figure(tokensPerSecond(r))}`,
      ),
    ),
    ...part(
      `Decoding a Llama of ${figure((llamaWeights ?? 0) / 1e6)} million random weights in q4, with its cache in f16: tokens/s`,
      tableOf("one sequence", columns, decoded, (r, c, name) =>
        name.startsWith("decode")
          ? `${figure(tokensPerSecond(r))}: ${figure(rate(r))} GB/s of weights${ofCopy(c, rate(r))}`
          : figure(tokensPerSecond(r)),
      ),
      "In brackets: the part of a copy's bandwidth.",
    ),
    ...part(
      `Memory: GB/s of a copy of ${weights.copied.bytes / 2 ** 20} MiB, read and written`,
      tableOf("GB/s", columns, [["copy", "copy"]], (r) => figure(rate(r))),
    ),
    ...part(
      `Weights of ${weights.width} x ${weights.width} in few bits: GB/s of one row's product, and its part of a copy's`,
      tableOf("weights", columns, oneRow, (r, c) => `${figure(rate(r))}${ofCopy(c, rate(r))}`),
    ),
    ...part(
      `The same, ${weights.tokens} rows: GFLOP/s`,
      tableOf("weights", columns, manyRows, (r) => figure(r.gflops)),
    ),
    ...part(
      "What a training step asks of the device: dispatches / submits / buffers / bind groups made",
      tableOf(
        "network",
        columns.filter((c) => trained.some(([, n]) => rowOf(c, n)?.calls)),
        trained,
        (r) => ["dispatches", "submits", "buffers", "bindGroups"].map((n) => Number(r.calls[n].toFixed(1))).join(" / "),
      ),
      "Of an epoch, its beginning and end included, over its steps.",
    ),
    ...part(
      "Milliseconds of JavaScript to encode a step on an idle device (Lockstep)",
      tableOf("network", own, trained, (r) => (r.encodeMs == null ? "" : r.encodeMs.toFixed(3))),
    ),
    ...remarks(
      columns,
      [...multiplied, ...attended, trained.at(-1)].map(([, name]) => name),
    ),
  ];
  return `${wrapped(text.join("\n").replace(/\n{3,}/g, "\n\n"))}\n`;
}

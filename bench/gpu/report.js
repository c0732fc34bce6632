/** @file The figures of one adapter as a section of RESULTS.md. */
import { FORMATS, SIZES } from "./workloads.js";

const figure = (x) => (x >= 100 ? Math.round(x).toLocaleString("en-US") : x.toPrecision(3));

function table(head, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? "---" : "---:"))), ...rows.map(line)].join("\n");
}

/** What a product takes whose weights lie in few bits: of one row in bytes a second, beside a copy; of many in multiply-adds. */
export function weightsTables(columns, size) {
  const { width, tokens, copied } = SIZES[size].weights;
  const ran = columns.filter((c) => c.rows?.copy !== undefined);
  if (ran.length === 0) return [];
  const rate = (r) => r.bytes / r.ms / 1e6;
  const cell = (column, name, show) => {
    const r = column.rows[name];
    return r.error === undefined ? show(r) : "failed";
  };
  const head = (what) => [what, ...ran.map((c) => c.title)];
  const copies = ran.map((c) => (c.rows.copy.error === undefined ? rate(c.rows.copy) : NaN));
  return [
    "",
    `### Weights of ${width} x ${width} in few bits: GB/s of one row's product, and its part of a copy's`,
    "",
    table(head("weights"), [
      [`a copy of ${copied.bytes / 2 ** 20} MiB, read and written`, ...ran.map((c) => cell(c, "copy", (r) => figure(rate(r))))],
      ...FORMATS.map((format) => [
        format,
        ...ran.map((c, i) => cell(c, `1 x ${format}`, (r) => `${figure(rate(r))} (${Math.round((100 * rate(r)) / copies[i])} %)`)),
      ]),
    ]),
    "",
    `### The same, ${tokens} rows: GFLOP/s`,
    "",
    table(
      head("weights"),
      FORMATS.map((format) => [format, ...ran.map((c) => cell(c, `${tokens} x ${format}`, (r) => figure(r.gflops)))]),
    ),
  ];
}

/** @returns Markdown that begins with `## adapter` */
export function section({ adapter, software, size, machine, date, columns }) {
  const { image, transformer: t, steps } = SIZES[size];
  const ran = columns.filter((c) => c.error === undefined);
  const names = Object.keys(ran[0]?.rows ?? {});
  const cell = (column, name, show) => {
    const r = column.rows[name];
    return r === undefined || r.error !== undefined ? "failed" : show(r);
  };
  const head = (what) => [what, ...ran.map((c) => c.title)];
  const rows = (list, show) => list.map(([label, name]) => [label, ...ran.map((c) => cell(c, name, show))]);
  const products = names.filter((n) => n.startsWith("matmul")).map((n) => [n, n]);
  const conv = [`conv2d ${image.kernel}x${image.kernel}, [${image.count}, ${image.side}, ${image.side}, ${image.channels}]`, "conv2d"];
  const trained = [
    ["FFN 8-10-5-1", "FFN"],
    ["CNN 28x28", "CNN"],
    ["LSTM 100, 10 steps", "LSTM"],
    [`transformer block, batch ${t.batch}, ${t.tokens} tokens, width ${t.width}`, "transformer"],
  ];
  const failures = columns.flatMap((c) =>
    c.error === undefined
      ? Object.entries(c.rows)
          .filter(([, r]) => r.error !== undefined)
          .map(([name, r]) => `- ${c.title}: ${name}: ${r.error}`)
      : [`- ${c.title}: ${c.error}`],
  );
  const values = [...products, conv, trained.at(-1)].map(([, name]) => name);
  const wrong = ran.flatMap((c) =>
    values
      .filter((name) => {
        const [a, b] = [ran[0].rows[name]?.value, c.rows[name]?.value];
        return a !== undefined && b !== undefined && !(Math.abs(a - b) <= 0.01 * Math.abs(a));
      })
      .map((name) => `- ${c.title}: ${name}: computed ${c.rows[name].value}, ${ran[0].title} ${ran[0].rows[name].value}`),
  );
  const text = [
    `## ${adapter}`,
    "",
    software
      ? "**A software adapter: a program on the CPU. These figures say that everything runs, and how the libraries use the device; " +
        "they say nothing of GPUs.**\n"
      : "",
    `${date}; ${machine}. ${ran
      .map((c) => c.version)
      .filter((v, i, all) => !v.startsWith("Lockstep") && all.indexOf(v) === i)
      .join(", ")}. Medians; each figure with one wait for the device in ${size === "gpu" ? "8 to 512" : "1 to 32"} units of work.`,
    "",
    "### GFLOP/s",
    "",
    table(
      head("work"),
      rows([...products, conv], (r) => figure(r.gflops)),
    ),
    ...weightsTables(columns, size),
    "",
    `### Milliseconds for a training step, batch 32 (an epoch of ${Object.values(steps).join(", ")} steps by each library's own means)`,
    "",
    table(
      head("network"),
      rows(trained, (r) => figure(r.ms)),
    ),
    "",
    "### What a training step asks of the device: dispatches / submits / buffers / bind groups made",
    "",
    "Of an epoch, its beginning and end included, over its steps.",
    "",
    table(
      head("network"),
      rows(trained, (r) => ["dispatches", "submits", "buffers", "bindGroups"].map((n) => Number(r.calls[n].toFixed(1))).join(" / ")),
    ),
    "",
    "### Milliseconds of JavaScript to encode a step on an idle device (Lockstep)",
    "",
    table(
      ["network", ...ran.filter((c) => c.rows.FFN?.encodeMs != null).map((c) => c.title)],
      trained.map(([label, name]) => [
        label,
        ...ran
          .filter((c) => c.rows.FFN?.encodeMs != null)
          .map((c) => cell(c, name, (r) => (r.encodeMs === null ? "" : r.encodeMs.toFixed(3)))),
      ]),
    ),
    ...(failures.length > 0 ? ["", "Not run:", "", ...failures] : []),
    ...(wrong.length > 0 ? ["", "Results that differ by more than 1 %:", "", ...wrong] : []),
  ];
  return `${text.join("\n").replace(/\n{3,}/g, "\n\n")}\n`;
}

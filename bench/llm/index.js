/**
 * @file `npm run bench:llm`: tokens a second of Llamas of 15, 42 and 110 million random weights, read and written in f32, q8 and q4, beside
 * PyTorch and ONNX Runtime Web on the same weights in one interleaved run, and beside the bound: the bandwidth of a copy (each byte counts
 * once) over the bytes of the weights. Written to bench/RESULTS.md. `-- --quick`: fewer turns, nothing written; `-- WORD ...`: only tasks
 * whose name contains one of the words, nothing written.
 */
import { cpus, loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { measure } from "../peers/measure.js";
import { participants as peers } from "../peers/peers.js";
import { writeSection } from "../sections.js";
import { folderOf, readWeights, SHAPES } from "./checkpoint.js";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const flags = process.argv.slice(2).filter((a) => a.startsWith("--"));
const words = process.argv.slice(2).filter((a) => !a.startsWith("--"));
for (const f of flags) if (f !== "--quick") throw new Error(`bench: unknown option ${f}; known: --quick`);
const quick = flags.length > 0;

/** Tokens that are behind what is decoded, and those of a prompt that is read. */
const [POSITION, PROMPT] = [16, 256];
const BYTES = { f32: 4, q8: 34 / 32, q4: 18 / 32 };

const { lockstep, ort, ort2, torch, torch2, torch2passive, torchTold, torchTold2 } = peers();
const [node] = lockstep.command;
const js = (name, options, rest) => ({
  ...rest,
  // The copy is what Lockstep is measured by.
  own: ["lockstep", "copy"].includes(name),
  threads: options.threads ?? 1,
  command: [node, here("../peers/worker.js"), here(`${name}_peer.js`), JSON.stringify(options)],
});
// Nothing is rounded but the weights and, where these are integers, what is multiplied with them.
const TOLERANCE = { f32: 1e-3, q8: 0.15, q4: 0.6 };
const own = (weights, threads) => [
  `lockstep ${weights}${threads > 1 ? " 2" : ""}`,
  js("lockstep", { threads, weights }, { label: `Lockstep, ${weights}${threads > 1 ? ", 2 threads" : ""}`, tolerance: TOLERANCE[weights] }),
];
const python = (peer) => ({ ...peer, kinds: undefined, command: [peer.command[0], here("torch_peer.py"), peer.command[2]] });
const PEOPLE = Object.fromEntries([
  ...["f32", "q8", "q4"].map((weights) => own(weights, 1)),
  ...["f32", "q8", "q4"].map((weights) => own(weights, 2)),
  ["torch", python(torch)],
  ["torch2", python(torch2)],
  ["torch2passive", python(torch2passive)],
  ...(torchTold ? [["torchTold", python(torchTold)], ["torchTold2", python(torchTold2)]] : []),
  ["ort", js("ort", { threads: 1 }, { label: ort.label })],
  ["ort2", js("ort", { threads: 2 }, { label: ort2.label })],
]);

const table = Object.fromEntries(
  Object.keys(SHAPES).flatMap((name) =>
    ["decode", "prefill"].map((kind) => {
      const prompt = Array.from({ length: PROMPT }, (_, i) => (11 * i + 3) % SHAPES[name].vocabulary);
      const spec = { folder: null, prompt, position: POSITION };
      return [`${kind} ${name}`, { kind, of: name, unit: "tokens/s", tolerance: 1e-3, spec }];
    }),
  ),
);
const tasks = Object.keys(table).filter((name) => words.length === 0 || words.some((w) => name.includes(w)));
for (const name of tasks) table[name].spec.folder = folderOf(table[name].of);

const settings = quick ? { rounds: 3, sliceMs: 100, warmMs: 200 } : { rounds: 15, sliceMs: 200, warmMs: 600 };
const machine = `${cpus()[0]?.model.trim()}, ${cpus().length} cores`;
const load = [loadavg()[0]];
console.log(`${machine}, load ${load[0].toFixed(2)}; medians of ${settings.rounds} turns of ${settings.sliceMs} ms`);

const say = (name, figures) => {
  console.log(`\n${name} (${table[name].unit})`);
  for (const [id, f] of Object.entries(figures)) console.log(`  ${PEOPLE[id]?.label.padEnd(50) ?? id} ${f.error ?? f.median.toFixed(1)}`);
};
const { figures, versions } = await measure(PEOPLE, { ...settings, tasks, table, say });

// The copy is measured apart: it has no result to be compared.
const copies = Object.fromEntries(
  Object.keys(SHAPES).map((name) => [
    `copy ${name}`,
    { kind: "copy", of: name, unit: "tokens/s", tolerance: 1, spec: { bytes: 4 * readWeights(SHAPES[name]) } },
  ]),
);
const copy = { copy: js("copy", {}, { label: "copy" }) };
const sizes = [...new Set(tasks.map((name) => table[name].of))];
const bandwidth = (await measure(copy, { ...settings, tasks: sizes.map((n) => `copy ${n}`), table: copies, say: () => {} })).figures;
load.push(loadavg()[0]);

const cell = (f) => (f === undefined ? "–" : f.error ? `– (${f.error})` : `${f.median.toFixed(1)}${f.busy ? " (disturbed)" : ""}`);
const lines = [`| tokens/s | ${tasks.join(" | ")} |`, `| --- |${tasks.map(() => " ---: |").join("")}`];
for (const [id, { label }] of Object.entries(PEOPLE)) lines.push(`| ${label} | ${tasks.map((t) => cell(figures[t][id])).join(" | ")} |`);

/** Bandwidth of a copy over the bytes of the weights, tokens/s. */
const bound = (name, weights) => (1e9 * bandwidth[`copy ${name}`].copy.median) / (BYTES[weights] * readWeights(SHAPES[name]));
const rates = sizes
  .filter((name) => figures[`decode ${name}`])
  .flatMap((name) =>
    ["f32", "q8", "q4"].map((weights) => {
      const f = figures[`decode ${name}`];
      const [mine, f32] = [f[`lockstep ${weights}`].median, f["lockstep f32"].median];
      const most = bound(name, weights);
      const cells = [
        `${name} ${weights}`,
        most.toFixed(0),
        mine.toFixed(1),
        `${Math.round((100 * mine) / most)} %`,
        (mine / f32).toFixed(2),
      ];
      return `| ${cells.join(" | ")} |`;
    }),
  );
const text = [
  `${machine}; ${new Date().toISOString().slice(0, 10)}; load ${load.map((l) => l.toFixed(1)).join(" to ")} of which this run is about ` +
    `1. Medians of ${settings.rounds} turns of ${settings.sliceMs} ms, all taking turns; random weights in the shapes of llama2.c's ` +
    `models, decoding behind ${POSITION} tokens, prompts of ${PROMPT}. Logits were compared with those of Lockstep in f32 first.`,
  lines.join("\n"),
  ["| one thread, decoding | bound (copy) | Lockstep | of the bound | to f32 |", "| --- | ---: | ---: | ---: | ---: |", ...rates].join(
    "\n",
  ),
  Object.values(versions).join("; "),
].join("\n\n");
if (quick || words.length > 0) console.log(`\n${text}`);
else {
  writeSection("bench:llm", text);
  console.log("\nwritten to bench/RESULTS.md");
}

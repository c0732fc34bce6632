/**
 * @file `node bench/profile.js FFN|CNN|LSTM|GPT [--plain] [--threads=2] [--rounds=200]`: the time of each command of a training step. The
 * step's list is run command by command, on the data as they are. Beside it the time of the slowest of some threads (--threads) that each
 * ran an even part of its pieces, one after the other: what a step would take if barriers cost nothing, so what the cut into pieces allows.
 */
import { open } from "lockstep";
import { BARRIER } from "../build/esm/wasm/commands.js";
import * as opcodes from "../build/esm/wasm/opcodes.js";
import { GPT } from "./gpt.js";
import { MODELS, prepare } from "./models.js";
import { onNewerNode } from "./node.js";

const NAMES = new Map(
  Object.entries(opcodes)
    .filter(([name, v]) => v > 0 && v < opcodes.PARTS << opcodes.PART_SHIFT && !/^(PART|SYNC|ACT|REDUCE_|MODE|MAP_|HEADER)/.test(name))
    .map(([name, v]) => [v, name.toLowerCase()]),
);
const option = (name, otherwise) => Number(process.argv.find((a) => a.startsWith(`--${name}=`))?.split("=")[1] ?? otherwise);

/** What a command works on, as far as its words tell. */
function describe(op, words, pieces) {
  if ([opcodes.MATMUL, opcodes.CONV2D, opcodes.CONV2D_FILTER_GRAD].includes(op)) {
    const [m, n, k] = words.slice(4, 7);
    const batch = pieces / (words[10] * words[11] * words[12]);
    return {
      text: `${batch > 1 ? `${batch} of ` : ""}${m}x${n}x${k} pieces of ${words[7]}x${words[8]}x${words[9]}`,
      flops: 2 * batch * m * n * k,
    };
  }
  if (op === opcodes.CONV2D_NARROW || op === opcodes.CONV2D_NARROW_FILTER_GRAD) {
    const [c, p, q, f] = words.slice(6, 10);
    const k = c * words[16] * words[17];
    const pixels = ((op === opcodes.CONV2D_NARROW ? pieces : words[21]) / words[19]) * p * q;
    return { text: op === opcodes.CONV2D_NARROW ? `${pixels}x${f}x${k}` : `${k}x${f}x${pixels}`, flops: 2 * pixels * f * k };
  }
  // Of the products; what they stand for are up to four times as many.
  if (op === opcodes.WINOGRAD || op === opcodes.WINOGRAD_INPUT_GRAD) {
    return {
      text: `36 of ${words[9]}x${words[14]}x${words[6]} pieces of ${words[15]}x${words[16]}`,
      flops: 72 * words[9] * words[14] * words[6],
    };
  }
  if (op === opcodes.MAP) return { text: `${words[0]} elements, ${words[1]} inputs, ${words[2]} outputs, ${words[3]} steps` };
  if (op === opcodes.REDUCE) return { text: `outer ${words[1]} size ${words[2]} inner ${words[3]}${words[5] ? "" : " with body"}` };
  return { text: "" };
}

async function main() {
  const name = process.argv[2];
  const batchSize = name === "GPT" ? GPT.batch : 32;
  if (name !== "GPT" && !Object.hasOwn(MODELS, name)) throw new Error(`profile: name one of ${Object.keys(MODELS).join(", ")}, GPT`);
  const rounds = option("rounds", 200);
  const threads = option("threads", 2);
  let run = null;
  let memory = null;
  let programs = [];
  const instantiate = WebAssembly.instantiate;
  // The instance is the backend's own business; its run and its memory are caught on the way.
  WebAssembly.instantiate = async (module, imports) => {
    const instance = await instantiate(module, imports);
    // Not of the parts of the kernels, which the core calls.
    if (instance.exports.run === undefined) return instance;
    run = instance.exports.run;
    memory = imports.env.memory;
    return {
      exports: {
        ...instance.exports,
        run: (...words) => {
          if (!programs.some((p) => p[0] === words[0])) programs.push(words);
          return run(...words);
        },
      },
    };
  };
  const backend = await open("wasm", { threads: 1, reproducible: process.argv.includes("--plain") });
  const { model, x, y } = await prepare(name, backend);
  for (let i = 0; i < 3; i++) await model.fit(x, y, { epochs: 1, batchSize, verbose: 0, seed: 1 });
  // The training step is the longest list.
  const [from, end, , , scratch, sync] = programs.reduce((a, b) => (b[1] - b[0] > a[1] - a[0] ? b : a));
  const words = new Uint32Array(memory.buffer);
  const commands = [];
  for (let at = from; at < end; at += 4 * words[(at >> 2) + 1]) {
    const w = at >> 2;
    const op = words[w] & 0xffff;
    commands.push({
      at,
      end: at + 4 * words[w + 1],
      op,
      barrier: (words[w] & BARRIER) !== 0,
      pieces: words[w + 2],
      ...describe(op, words.subarray(w + opcodes.HEADER_WORDS, w + words[w + 1]), words[w + 2]),
      best: new Array(threads + 1).fill(Infinity),
    });
    words[w] = op;
  }
  // The even part of a thread: the pieces before it count as taken, those behind it are not there. The barrier at the end finds the others
  // there.
  const share = (c, thread) => {
    if (c.pieces === 1 && thread < threads - 1) return;
    const w = c.at >> 2;
    words[w + 2] = Math.floor((c.pieces * (thread + 1)) / threads);
    words[w + 3] = Math.floor((c.pieces * thread) / threads);
    words[(sync + opcodes.SYNC_ARRIVED) >> 2] = threads - 1;
    run(c.at, c.end, threads - 1, threads, scratch, sync);
    words[w + 2] = c.pieces;
    words[w + 3] = 0;
  };
  for (let i = 0; i < rounds; i++) {
    for (const c of commands) {
      for (let t = 0; t <= threads; t++) {
        const start = performance.now();
        if (t === threads) run(c.at, c.end, 0, 1, scratch, sync);
        else share(c, t);
        c.best[t] = Math.min(c.best[t], performance.now() - start);
      }
    }
  }
  const total = commands.reduce((sum, c) => sum + c.best[threads], 0);
  let segment = new Array(threads).fill(0);
  let shared = 0;
  let barriers = 0;
  for (const c of commands) {
    if (c.barrier) {
      shared += Math.max(...segment);
      segment.fill(0);
      barriers++;
    }
    segment = segment.map((s, t) => s + c.best[t]);
    const one = c.best[threads] * 1000;
    const slowest = Math.max(...c.best.slice(0, threads)) * 1000;
    const rate = c.flops ? `${(c.flops / one / 1000).toFixed(1)} GFLOP/s` : "";
    console.log(
      `${c.barrier ? "|" : " "} ${(NAMES.get(c.op) ?? c.op).padEnd(22)} ${one.toFixed(1).padStart(8)} us ` +
        `${((c.best[threads] / total) * 100).toFixed(1).padStart(5)} % ${String(c.pieces).padStart(5)} pieces ` +
        `${slowest.toFixed(1).padStart(8)} us ${rate.padStart(13)}  ${c.text}`,
    );
  }
  shared += Math.max(...segment);
  console.log(
    `${commands.length} commands, ${barriers} barriers: ${(total * 1000).toFixed(0)} us; on ${threads} threads at best ` +
      `${(shared * 1000).toFixed(0)} us (${(total / shared).toFixed(2)}x)`,
  );
  backend.close();
}

onNewerNode();
await main();

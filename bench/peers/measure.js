/**
 * @file One interleaved run: for each task all participants take turns with short slices, so that what else the machine does hits all
 * alike.
 */
import { once, Process } from "./process.js";
import { CONVS, GPTS, NETS, PRODUCTS, TASKS } from "./workloads.js";

export const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length % 2 ? sorted[sorted.length >> 1] : (sorted[sorted.length / 2 - 1] + sorted[sorted.length / 2]) / 2;
};

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
/** Thread pools spin for a while after their last work; the next one's slice must not pay for that. */
const SPIN_MS = 20;
/** A participant whose slice takes longer than this many times what was asked has few turns. */
const SLOW = 6;
const SLOW_ROUNDS = 3;
/**
 * Turns of one task end after this time, once everyone has had SLOW_ROUNDS: some libraries' steps take seconds, and a busy machine
 * stretches all.
 */
const TASK_MS = 35_000;

/** What a slice did, in the task's unit. */
function rate({ unit, flops }, { done, ms }) {
  if (unit === "GFLOP/s") return (done * flops) / ms / 1e6;
  return unit === "us" ? (1000 * ms) / done : (1000 * done) / ms;
}

/** null, or how a result differs from what Lockstep computed. */
function difference(values, expected, tolerance) {
  if (values.length !== expected.length) return `${values.length} values instead of ${expected.length}`;
  const largest = Math.max(...expected.map(Math.abs));
  const worst = Math.max(...expected.map((v, i) => Math.abs(v - values[i])));
  // Written so that NaN is a difference.
  return worst <= tolerance * largest ? null : `wrong result: off by ${worst.toPrecision(2)} at a size of ${largest.toPrecision(2)}`;
}

/** A benchmark goes on without a library that fails; without Lockstep, or what that is measured by, its tables would say nothing. */
function checkOwn(all, task, figures) {
  const failed = all.find((p) => p.own && !p.absent && figures[p.id]?.error);
  if (failed) throw new Error(`bench: ${failed.label} cannot do "${task}": ${figures[failed.id].error}`);
}

/**
 * @param participants as those of peers.js, Lockstep first
 * @param options rounds, sliceMs, warmMs, tasks (names), table (what they are: kind, of, spec, unit, tolerance), say(task, figures) after
 * each
 * @returns { versions: id -> text, figures: task -> id -> { median, low, high, busy, kept, cpus } | { error } }; `busy`: others had the
 * processors in too many turns to say anything
 * @throws Error where a participant that is `own` does not start, fails or computes something else
 */
export async function measure(participants, { tasks, table = TASKS, say, ...settings }) {
  const all = Object.entries(participants).map(([id, p]) => ({ id, ...p, process: new Process(p.command, p.env) }));
  const versions = {};
  const figures = {};
  try {
    for (const name of tasks) {
      const own = (figures[name] = {});
      const taking = await prepare(all, table[name], own, versions);
      checkOwn(all, name, own);
      await takeTurns(taking, table[name], own, settings);
      checkOwn(all, name, own);
      for (const p of all) if (p.process.running) await p.process.ask({ command: "close" });
      say(name, own);
    }
  } finally {
    for (const p of all) p.process.end();
  }
  return { versions, figures };
}

async function start(p, versions) {
  p.process.start();
  const reply = await p.process.ask({ command: "start" });
  versions[p.id] = reply.error
    ? `did not start: ${reply.error}`
    : reply.version + (reply.node ? `, Node ${reply.node}` : `, Python ${reply.python}`);
  if (reply.error) p.process.end();
  return reply.error ?? null;
}

/** Those that do the task, and do it right; errors of the others are put into `own`. */
async function prepare(all, { kind, of, tolerance, spec = CONVS[of] ?? GPTS[of] ?? NETS[of] }, own, versions) {
  const taking = [];
  let expected = null;
  for (const p of all) {
    if (p.kinds && !p.kinds.includes(kind)) continue;
    const error = p.absent ?? (p.process.running ? null : await start(p, versions));
    const reply = error ? { error } : await p.process.ask({ command: "prepare", kind, of, spec, repeats: PRODUCTS[of] });
    const limit = p.id.startsWith("fma");
    // Lockstep is the first.
    if (!reply.error && !limit) expected ??= reply.values;
    const wrong = reply.error ?? (limit ? null : difference(reply.values, expected, p.tolerance ?? tolerance));
    if (wrong) own[p.id] = { error: wrong };
    else taking.push(Object.assign(p, { turns: [], slow: false }));
  }
  return taking;
}

/**
 * What others did to a turn. One thread: the time that it waited for a processor does not count. More: what the wait of one costs the
 * others is not known, so that turns in which any thread waited for more than 15 % of the time are left out while enough remain.
 */
function undisturbed({ threads }, reply) {
  const { ms, ran, waited, mostWaited } = reply;
  if (threads > 1) return { ...reply, fair: mostWaited < 0.15 * ms };
  // The two clocks are not read at the same instant: a wait between them would count for too much.
  return { ...reply, ms: Math.min(ms, Math.max(ms - waited, ran)), fair: waited < 0.1 * ms };
}

async function takeTurns(taking, task, own, { rounds, sliceMs, warmMs }) {
  const slice = async (p, ms) => {
    const reply = await p.process.ask({ command: "slice", ms });
    if (p.threads > 1) await pause(SPIN_MS);
    if (reply.error === undefined) return undisturbed(p, reply);
    own[p.id] = { error: reply.error };
    taking.splice(taking.indexOf(p), 1);
    return null;
  };
  // Engines compile hot code while they run it.
  for (const p of [...taking]) p.slow = ((await slice(p, warmMs))?.ms ?? 0) > Math.max(warmMs + SLOW * sliceMs, 2 * warmMs);
  const enough = Math.ceil(rounds / 3);
  const end = performance.now() + TASK_MS;
  for (let round = 0; round < 2 * rounds && (round < SLOW_ROUNDS || performance.now() < end); round++) {
    // Everyone comes after everyone else once in a while.
    for (const p of [...taking.slice(round % taking.length), ...taking.slice(0, round % taking.length)]) {
      if (p.slow ? round >= SLOW_ROUNDS : round >= rounds && (p.threads === 1 || p.turns.filter((t) => t.fair).length >= enough)) continue;
      const reply = await slice(p, sliceMs);
      if (reply) p.turns.push(reply);
    }
  }
  for (const p of taking) {
    const fair = p.turns.filter((t) => t.fair);
    const busy = p.threads > 1 && fair.length < Math.min(enough, SLOW_ROUNDS);
    const kept = p.threads > 1 && !busy ? fair : p.turns;
    const rates = kept.map((t) => rate(task, t));
    own[p.id] = {
      median: median(rates),
      low: Math.min(...rates),
      high: Math.max(...rates),
      busy,
      kept: fair.length / p.turns.length,
      cpus: median(kept.map((t) => t.cpuMs / t.ms)),
    };
  }
}

/**
 * Phases of a first prediction in fresh processes, Lockstep's first. label -> { marks, total } of medians, or { error }
 * @throws Error where the first fails
 */
export async function firstPredictions(commands, rounds) {
  const runs = Object.fromEntries(Object.keys(commands).map((label) => [label, []]));
  const out = {};
  let expected = null;
  // The first round fills the file system's cache.
  for (let round = 0; round <= rounds; round++) {
    for (const [label, command] of Object.entries(commands)) {
      if (out[label]) continue;
      const reply = await once(command);
      expected ??= reply.values ?? null;
      const error = reply.error ?? (expected && difference(reply.values, expected, 1e-4));
      if (error && label === Object.keys(commands)[0]) throw new Error(`bench: ${label} cannot predict: ${error}`);
      if (error) out[label] = { error };
      else if (round > 0) runs[label].push(reply);
    }
  }
  for (const [label, list] of Object.entries(runs)) {
    if (out[label]) continue;
    const phases = Object.keys(list[0].marks);
    out[label] = {
      marks: Object.fromEntries(phases.map((p) => [p, median(list.map((r) => r.marks[p]))])),
      total: median(list.map((r) => r.total)),
    };
  }
  return out;
}

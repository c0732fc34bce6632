/**
 * @file What it takes to make a program of a graph, by kind and size: milliseconds of tracing (with the optimizer's update), gradients,
 * planning and encoding, and microseconds for each node, of which at most 20 are wanted at every size. Medians of the processor's time,
 * that of the engine's threads included, which collect and compile meanwhile; the engine has seen graphs of all kinds before.
 */
import { open } from "lockstep";
import { buildPlan } from "../build/esm/plan/build.js";
import { encode, link } from "../build/esm/wasm/commands.js";
import { graphOf, KINDS, processorTime } from "./graphs.js";
import { median } from "./models.js";

const SIZES = [1000, 8000, 50000];
/** Rounds of each size: what is over in milliseconds is disturbed more. */
const ROUNDS = [15, 7, 3];
const PHASES = ["trace", "gradients", "plan", "encode"];

/** Milliseconds of each phase, once. */
function once(name, nodes, limits) {
  const { graph, results, times } = graphOf(name, Math.max(1, Math.round(nodes / KINDS[name].perSize)));
  const from = processorTime();
  const plan = buildPlan(graph, results, limits);
  const planned = processorTime();
  link(
    encode(plan),
    plan.bindings.length,
    plan.slots.map(() => 65536),
    65536,
  );
  return { ...times, plan: planned - from, encode: processorTime() - planned, nodes: graph.nodes.length };
}

export const COMPILE_HEAD = ["graph", "nodes", ...PHASES, "µs a node"];

/** Rows of the table. */
export async function compileTimes() {
  const { limits } = await open("wasm", { threads: 1 });
  for (let i = 0; i < 10; i++) for (const name of Object.keys(KINDS)) once(name, 2000, limits);
  return Object.keys(KINDS).flatMap((name) =>
    SIZES.map((size, i) => {
      const rounds = Array.from({ length: ROUNDS[i] }, () => once(name, size, limits));
      const times = PHASES.map((phase) => median(rounds.map((r) => r[phase])));
      const { nodes } = rounds[0];
      const total = median(rounds.map((r) => PHASES.reduce((sum, phase) => sum + r[phase], 0)));
      return [name, nodes.toLocaleString("en-US"), ...times.map((t) => t.toFixed(t < 10 ? 1 : 0)), ((1000 * total) / nodes).toFixed(1)];
    }),
  );
}

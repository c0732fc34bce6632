/** @file Cases of the op table on WebGPU against the float64 reference, within ten times the tolerance that the CPU kernels keep. */
import { buildPlan } from "../../build/esm/plan/build.js";
import { kernelsFor } from "../../build/esm/webgpu/commands.js";
import { encode } from "../../build/esm/webgpu/program.js";
import {
  allCases,
  assertClose,
  hasGradient,
  magnitudes,
  maxAbs,
  reference,
  runOnce,
  targetsOf,
  traceForward,
  traceGradient,
  ULP,
} from "../ops/harness.js";

const SLACK = 10;
/** WGSL allows devices to flush subnormal numbers to zero: so do the inputs here, and results that small may be zero. */
const SMALLEST_NORMAL = 2 ** -126;
const flush = (v) => (Math.abs(v) < SMALLEST_NORMAL ? 0 * v : v);
const flushed = (traced) => ({ ...traced, data: traced.data.map((x) => (x instanceof Float64Array ? x.map(flush) : x)) });

export async function checkForward(gpu, c) {
  const traced = flushed(traceForward(c));
  const want = await runOnce(reference, traced);
  const scale = c.accumulates ? await runOnce(reference, magnitudes(traced)) : null;
  const got = await runOnce(gpu, traced);
  const tolerance = SLACK * (c.tolerance ?? 8 * ULP);
  got.forEach((y, k) => {
    const allowed = { tolerance, scale: scale?.[k] ?? c.scale ?? null, what: `result ${k}`, smallest: SMALLEST_NORMAL };
    assertClose(y, want[k], traced.results[k].dtype, allowed);
  });
}

export async function checkGradient(gpu, c) {
  const traced = traceGradient(c);
  const [, ...want] = await runOnce(reference, traced);
  const [, ...got] = await runOnce(gpu, traced);
  const tolerance = SLACK * (c.gradTolerance ?? 5e-6);
  got.forEach((g, k) => {
    const allowed = { tolerance, scale: Math.max(1e-3, maxAbs(want[k])), what: `gradient of input ${targetsOf(c)[k]}` };
    assertClose(g, want[k], "f32", allowed);
  });
}

/** The whole table: each case, and behind it its gradients where it has them. An entry: `op`, `inputs`, `name`, `trace()`, `check(gpu)`. */
export async function wholeTable() {
  return Object.entries(await allCases()).flatMap(([family, cases]) =>
    cases.flatMap((c) => {
      const title = `${c.op}: ${c.name}`;
      const { inputs } = c;
      const forward = { op: c.op, inputs, name: `${family}: ${title}`, trace: () => traceForward(c), check: (gpu) => checkForward(gpu, c) };
      if (!hasGradient(c)) return [forward];
      const [op, name] = [`gradient of ${c.op}`, `${family}: gradient of ${title}`];
      return [forward, { op, inputs, name, trace: () => traceGradient(c), check: (gpu) => checkGradient(gpu, c) }];
    }),
  );
}

/** Inputs that compilers may treat each in its own way. */
const SPECIAL = {
  NaN: ({ list = [] }) => list.some(Number.isNaN),
  infinity: ({ list = [] }) => list.some((v) => Math.abs(v) === Infinity),
  "negative zero": ({ list = [] }) => list.some((v) => Object.is(v, -0)),
  "no elements": ({ shape }) => shape.includes(0),
};

const functionsOf = (wgsl) => [...wgsl.matchAll(/\bfn (\w+)/g)].map(([, name]) => name);

/** What an entry makes a GPU do that others may not: see `sampleOf`. */
async function traits(entry, gpu, sameCompiler) {
  const { graph, results } = entry.trace();
  const plan = buildPlan(graph, results, gpu.limits);
  const ofLibrary = [`op ${entry.op}`, ...results.map((t) => `result ${t.dtype}`), ...plan.calls.map(({ kernel }) => `kernel ${kernel}`)];
  if (sameCompiler) return ofLibrary;
  const { dispatches } = encode(plan, gpu.features, await kernelsFor(plan));
  const operand = (o) => (o === null ? "none" : (o.storage ?? o.dtype));
  return [
    ...ofLibrary,
    ...Object.keys(SPECIAL)
      .filter((kind) => entry.inputs.some(SPECIAL[kind]))
      .map((kind) => `op ${entry.op} of ${kind}`),
    ...plan.calls.flatMap(({ kernel, inputs, outputs, attrs }) => [
      `kernel ${kernel} of ${inputs.map(operand)} to ${outputs.map(operand)}`,
      ...(attrs.body?.steps ?? []).map((step) => `step ${step.op} to ${step.dtype}`),
    ]),
    // Of dispatches that came together names are others: what they are made of counts.
    ...dispatches.flatMap(({ label, text }) => {
      const parts = label.split("+");
      return parts.length > 1 ? parts.map((part) => `part ${part}`) : functionsOf(text).map((name) => `function ${name} of ${label}`);
    }),
  ];
}

/**
 * Entries that stand for the table where another runtime has run all of it through the same code. From the first on, every one is taken
 * that has what none before it had: an op or its gradient, and that given NaN, an infinity, -0 or nothing; a dtype of a result; a kernel
 * with these dtypes and storages of its operands; an elementwise step with this dtype; or a function of WGSL in this entry point, or this
 * entry point in one of several. Constants, which sizes decide, do not count. So each shader function that the table reaches is compiled
 * and run in each runtime, with fewer sizes. `sameCompiler`: where the compiler of shaders is the one that has done so, ops, kernels and
 * dtypes of results are enough. Result: { entries, traits }.
 */
export async function sampleOf(table, gpu, { sameCompiler = false } = {}) {
  const seen = new Set();
  const entries = [];
  for (const entry of table) {
    const before = seen.size;
    for (const trait of await traits(entry, gpu, sameCompiler)) seen.add(trait);
    if (seen.size > before) entries.push(entry);
  }
  return { entries, traits: seen };
}

/** @file GPU encoder of reductions (kernels/reduce.wgsl): how outputs and elements are dealt to workgroups, and what a body computes. */
import type { DType } from "../../dtype.ts";
import type { ReduceAttrs, ReduceOp } from "../../plan/kernels.ts";
import type { MapBody, Operand } from "../../plan/plan.ts";
import { collapse } from "../../shape.ts";
import { check } from "../check.ts";
import type { Bound, GpuEncoder } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";
import { constant, coordinates, declaration, indexExpression, reinterpret, resultTypes, slotsOf, stepsFunction, TYPE } from "./body.ts";

/** Invocations of a workgroup. */
const THREADS = 256;
/** Elements that one invocation adds at most before its part of a long reduction is split further. */
const ELEMENTS_PER_THREAD = 32;
/** Workgroups beyond which splitting gains nothing. */
const ENOUGH_GROUPS = 512;
/** Neighbouring outputs of a column reduction that a workgroup makes: a whole line of memory of each row. */
const COLUMN_LANES = 32;

const COMBINE: { readonly [op in ReduceOp]: string } = { sum: "add", prod: "mul", max: "maximum", min: "minimum", argmax: "argmax", argmin: "argmin" };
const START: { readonly [op in ReduceOp]: number } = { sum: 0, prod: 1, max: -Infinity, min: Infinity, argmax: -Infinity, argmin: Infinity };
const INTEGER_LIMITS: { readonly [limit: string]: number } = { "-Infinity": -(2 ** 31), Infinity: 2 ** 31 - 1 };

const isArg = (op: ReduceOp): boolean => op === "argmax" || op === "argmin";

/** The smallest power of two that is at least n. */
const powerOfTwo = (n: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, n)));

/** How `size` elements for each of `outputs` results are dealt to workgroups: `whole` keeps a result's elements in one. */
function deal(outputs: number, size: number, inner: number, whole: boolean): { lanes: number; parts: number; chunk: number; blocks: number } {
  // Short reductions: an invocation each. Rows: as many invocations as elements, up to all. Columns: a line of them side by side.
  let lanes: number;
  if (inner === 1) lanes = Math.max(1, THREADS / powerOfTwo(Math.ceil(size / 4)));
  else lanes = Math.min(THREADS, powerOfTwo(inner), Math.max(COLUMN_LANES, THREADS / powerOfTwo(Math.ceil(size / 4))));
  const column = THREADS / lanes;
  const blocks = Math.ceil(outputs / lanes);
  const wanted = whole ? 1 : Math.min(Math.ceil(size / (column * ELEMENTS_PER_THREAD)), Math.ceil(ENOUGH_GROUPS / blocks));
  const chunk = Math.ceil(size / wanted);
  return { lanes, parts: Math.ceil(size / chunk), chunk, blocks };
}

/** `start`, `combine` and `Element` for `op` over elements of `type`. */
function operation(op: ReduceOp, type: DType): string {
  const limit = START[op];
  const start = type === "i32" ? (INTEGER_LIMITS[limit] ?? limit) : limit;
  const lines = [`alias Element = ${TYPE[type]};`, `fn start() -> Element { return ${constant(start, type)}; }`];
  if (!isArg(op)) {
    lines.push(`fn combine(a: Accumulator, b: Accumulator) -> Accumulator { return Accumulator(op_${COMBINE[op]}${type === "f32" ? "" : "_i32"}(a.first, b.first), 0u); }`);
    return lines.join("\n");
  }
  const before = op === "argmax" ? ">" : "<";
  lines.push("fn combine(a: Accumulator, b: Accumulator) -> Accumulator {");
  if (type === "f32") {
    // A NaN goes before everything but an earlier NaN.
    lines.push("  let na = f32_isnan(a.first);", "  let nb = f32_isnan(b.first);");
    lines.push(`  let tie = (na && nb) || (!na && !nb && a.first == b.first);`, `  let wins = (nb && !na) || (!na && !nb && b.first ${before} a.first);`);
  } else {
    lines.push("  let tie = a.first == b.first;", `  let wins = b.first ${before} a.first;`);
  }
  lines.push("  if (wins || (tie && b.index < a.index)) { return b; }", "  return a;", "}");
  return lines.join("\n");
}

interface Source {
  /** Bindings from 0 on, and `element(i, index)`. */
  readonly text: string;
  readonly buffers: readonly (Bound | null)[];
}

/** Elements in memory, or computed by a prologue. */
function sourceOf(body: MapBody | null, inputs: readonly Operand[], type: DType): Source {
  if (body === null) {
    const text = `@group(0) @binding(0) var<storage, read> b0: array<${TYPE[type]}>;\nfn element(i: u32, index: u32) -> Accumulator { return Accumulator(b0[i], index); }`;
    return { text, buffers: [read(inputs[0])] };
  }
  const slots = slotsOf(inputs, []);
  const { dims, strides } = collapse(body.space, body.strides);
  const reads = strides.map((s) => indexExpression(dims, s));
  const lines = [...slots.map((s, k) => declaration(k, s, false)), stepsFunction(body, inputs), "fn element(i: u32, index: u32) -> Accumulator {"];
  if (reads.some((r) => r.strided)) lines.push(...coordinates(dims));
  const values = inputs.map((o, i) => {
    const k = slots.findIndex((s) => s.inputs.includes(i));
    return reinterpret(`b${k}[${reads[i].expression}]`, slots[k].operand.dtype, o.dtype, false);
  });
  lines.push(`  return Accumulator(steps(${values.join(", ")}).r0, index);`, "}");
  return { text: lines.join("\n"), buffers: slots.map((s) => read(s.operand)) };
}

/** What the parts of a long reduction left: elements, with argmax and argmin each followed by where it was. */
function partialSource(op: ReduceOp, type: DType, partial: Bound): Source {
  const element = isArg(op) ? "Accumulator(bitcast<Element>(b0[2u * i]), b0[2u * i + 1u])" : "Accumulator(bitcast<Element>(b0[i]), index)";
  const text = `@group(0) @binding(0) var<storage, read> b0: array<u32>;\nfn element(i: u32, index: u32) -> Accumulator { return ${element}; }`;
  return { text, buffers: [partial] };
}

/** The result's binding and `store(at, accumulator)`. Everything is stored by its bits. */
function storeTo(binding: number, op: ReduceOp, partial: boolean): string {
  const bits = "bitcast<u32>(a.first)";
  const statements = !isArg(op) ? `y[at] = ${bits};` : partial ? `y[2u * at] = ${bits}; y[2u * at + 1u] = a.index;` : "y[at] = a.index;";
  return `@group(0) @binding(${binding}) var<storage, read_write> y: array<u32>;\nfn store(at: u32, a: Accumulator) { ${statements} }`;
}

/** How accumulators are kept in workgroup memory, and how an output's invocations join them. */
function joinOf(op: ReduceOp, inSubgroups: boolean): string {
  return [
    `fn keep(slot: u32, a: Accumulator) { firsts[slot] = a.first;${isArg(op) ? " indices[slot] = a.index;" : ""} }`,
    `fn kept(slot: u32) -> Accumulator { return Accumulator(firsts[slot], ${isArg(op) ? "indices[slot]" : "0u"}); }`,
    `fn join(total: Accumulator, slot: u32, row: u32) -> Accumulator { return ${inSubgroups ? "join_subgroups" : "join_tree"}(total, slot, row); }`,
  ].join("\n");
}

export const reduce: GpuEncoder = (call, out) => {
  const { op, outer, size, inner, body } = call.attrs as unknown as ReduceAttrs;
  const outputs = outer * inner;
  if (outputs === 0) return;
  const y = write(call.outputs[0]);
  const inputs = call.inputs as readonly Operand[];
  if (size === 0) {
    const value = START[op];
    const one = call.outputs[0]?.dtype === "f32" ? 0x3f800000 : 1;
    out.dispatch({ file: "move", entry: "fill", constants: { COUNT: outputs, VALUE: value === 0 ? 0 : one } }, [y], Math.ceil(outputs / 64));
    return;
  }
  const type = body === null ? inputs[0].dtype : resultTypes(body, inputs)[0];
  check(type === "f32" || type === "i32", () => `reduce of ${type}`);
  const how = operation(op, type);
  const stage = (source: Source, sizes: { size: number; inner: number }, target: Bound | null, whole: boolean): void => {
    const { lanes, parts, chunk, blocks } = deal(outputs, sizes.size, sizes.inner, whole);
    const { subgroupSize } = out.features;
    // The invocations of an output that is not the last dimension's are no neighbours.
    const inSubgroups = subgroupSize > 0 && sizes.inner === 1 && lanes < THREADS;
    const constants = { OUTPUTS: outputs, SIZE: sizes.size, INNER: sizes.inner, PARTS: parts, CHUNK: chunk, LANES: lanes, ...(inSubgroups ? { SUBGROUP_SIZE: subgroupSize } : {}) };
    const text = [how, source.text, storeTo(source.buffers.length, op, !whole), joinOf(op, inSubgroups)].join("\n");
    out.dispatch({ file: "reduce", constants, body: text }, [...source.buffers, target], blocks * parts);
  };
  const source = sourceOf(body, inputs, type);
  const { parts } = deal(outputs, size, inner, false);
  if (parts === 1) {
    stage(source, { size, inner }, y, true);
    return;
  }
  const partial = out.temporary(outputs * parts * (isArg(op) ? 8 : 4));
  stage(source, { size, inner }, partial.write, false);
  stage(partialSource(op, type, partial.read), { size: parts, inner: 1 }, y, true);
};

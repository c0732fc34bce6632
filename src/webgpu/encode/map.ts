/** @file GPU encoder of fused elementwise bodies (kernels/map.wgsl). */
import type { MapBody, Operand } from "../../plan/plan.ts";
import { collapse, sizeOf } from "../../shape.ts";
import type { GpuEncoder } from "../dispatch.ts";
import { read, update } from "../dispatch.ts";
import { coordinates, declaration, indexExpression, reinterpret, resultTypes, slotsOf, stepsFunction } from "./body.ts";
import type { Slot } from "./body.ts";

/** Invocations of a workgroup. */
const THREADS = 64;

interface Walk {
  readonly dims: readonly number[];
  readonly strides: readonly (readonly number[])[];
}

/**
 * The same walk in steps of four elements, or null. Then inputs with stride 1 along the last dimension are read as vec4, those
 * with stride 0 as scalars; all operands at one place must agree.
 */
function inVectors({ dims, strides }: Walk, slots: readonly Slot[]): (Walk & { readonly vectors: readonly boolean[] }) | null {
  const last = dims.length - 1;
  if (dims[last] % 4 !== 0) return null;
  const vectors = strides.map((s) => s[last] === 1);
  const even = strides.every((s, i) => (vectors[i] ? s.every((x, d) => d === last || x % 4 === 0) : s[last] === 0));
  if (!even) return null;
  const agree = slots.every((slot) => slot.inputs.every((i) => vectors[i] === (slot.written || vectors[slot.inputs[0]])));
  if (!agree) return null;
  return {
    dims: dims.map((d, k) => (k === last ? d / 4 : d)),
    strides: strides.map((s, i) => s.map((x, d) => (vectors[i] && d !== last ? x / 4 : x))),
    vectors,
  };
}

/** Whether a body's results are written in vectors. Operands at one place are the same tensor. */
export function writesVectors(body: MapBody, inputs: readonly Operand[], outputs: readonly Operand[]): boolean {
  return sizeOf(body.space) > 0 && inVectors(collapse(body.space, body.strides), slotsOf(inputs, outputs)) !== null;
}

export const map: GpuEncoder = (call, out) => {
  const body = call.attrs.body as unknown as MapBody;
  const n = sizeOf(body.space);
  if (n === 0) return;
  const inputs = call.inputs as readonly Operand[];
  const outputs = call.outputs as readonly Operand[];
  const slots = slotsOf(inputs, outputs);
  const scalar = collapse(body.space, body.strides);
  const four = inVectors(scalar, slots);
  const { dims, strides } = four ?? scalar;
  const reads = strides.map((s) => indexExpression(dims, s));
  const isVector = (i: number): boolean => four !== null && four.vectors[i];

  const lines = slots.map((s, k) => declaration(k, s, four !== null && (s.written || isVector(s.inputs[0]))));
  lines.push(stepsFunction(body, inputs), "fn element(i: u32) {");
  if (reads.some((r) => r.strided)) lines.push(...coordinates(dims));
  inputs.forEach((o, i) => {
    const k = slots.findIndex((s) => s.inputs.includes(i));
    if (o.storage === "u8") lines.push(`  let v${i} = ${isVector(i) ? `bytes_of(b${k}[i])` : `byte_of(b${k}[i / 4u], i)`};`);
    else lines.push(`  let v${i} = ${reinterpret(`b${k}[${reads[i].expression}]`, slots[k].operand.dtype, o.dtype, isVector(i))};`);
  });
  const lanes = four === null ? [""] : [".x", ".y", ".z", ".w"];
  lanes.forEach((lane, l) => lines.push(`  let r${l} = steps(${inputs.map((_, i) => `v${i}${isVector(i) ? lane : ""}`).join(", ")});`));
  const types = resultTypes(body, inputs);
  outputs.forEach((_, o) => {
    const k = slots.findIndex((s) => s.outputs.includes(o));
    const made = four === null ? `r0.r${o}` : `vec4(${lanes.map((_, l) => `r${l}.r${o}`).join(", ")})`;
    lines.push(`  b${k}[i] = ${reinterpret(made, types[o], slots[k].operand.dtype, four !== null)};`);
  });
  lines.push("}");

  const count = four === null ? n : n / 4;
  const buffers = slots.map((s) => (s.written ? update(s.operand) : read(s.operand)));
  out.dispatch({ file: "map", constants: { COUNT: count }, body: lines.join("\n") }, buffers, Math.ceil(count / THREADS));
};

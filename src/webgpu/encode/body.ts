/** @file Fused elementwise bodies as WGSL: what `map` and the prologue of `reduce` have in common. */
import type { DType } from "../../dtype.ts";
import type { MapBody, MapStep, Operand } from "../../plan/plan.ts";
import { stridesOf } from "../../shape.ts";
import { assert } from "../../assert.ts";

/** The WGSL type of an element in memory and in registers. */
export const TYPE: { readonly [type in DType]: "f32" | "i32" | "u32" } = { f32: "f32", i32: "i32", u32: "u32", bool: "u32" };

/** `value` as an expression of `dtype`. What decimal literals cannot say (NaN, infinities, -0, subnormals) is said by its bits. */
export function constant(value: number, dtype: DType): string {
  if (dtype === "bool") return value === 0 ? "0u" : "1u";
  if (dtype === "i32") return `i32(${value | 0})`;
  if (dtype === "u32") return `${value >>> 0}u`;
  const rounded = Math.fround(value);
  const plain = Object.is(rounded, 0) || (Number.isFinite(rounded) && Math.abs(rounded) >= 2 ** -126);
  if (plain) return `f32(${rounded})`;
  return `f32_bits(${new Uint32Array(Float32Array.of(rounded).buffer)[0]}u)`;
}

/** The function of kernels/steps.wgsl for a step whose operands have type `from`. */
function stepFunction(step: MapStep, from: DType): string {
  if (step.op === "cast") return `cast_${TYPE[from]}_${step.dtype}`;
  if (step.op === "where") return `op_where${step.dtype === "f32" ? "" : `_${TYPE[step.dtype]}`}`;
  return `op_${step.op}${from === "f32" ? "" : `_${from}`}`;
}

/** dtypes of a body's results. */
export function resultTypes(body: MapBody, inputs: readonly Operand[]): DType[] {
  return body.results.map((r) => (r < inputs.length ? inputs[r].dtype : body.steps[r - inputs.length].dtype));
}

/** `struct Results` and `fn steps(i0, i1, ...) -> Results`: the body on one element of each input. */
export function stepsFunction(body: MapBody, inputs: readonly Operand[]): string {
  const n = inputs.length;
  const dtypeOf = (r: number): DType => (r < n ? inputs[r].dtype : body.steps[r - n].dtype);
  const name = (r: number): string => (r < n ? `i${r}` : `t${r - n}`);
  const lines = body.steps.map((s, j) => {
    if (s.op === "const") return `  let t${j} = ${constant(s.value as number, s.dtype)};`;
    const from = dtypeOf(s.args[0]);
    if (s.op === "cast" && (from === s.dtype || (from === "bool" && s.dtype === "u32"))) return `  let t${j} = ${name(s.args[0])};`;
    return `  let t${j} = ${stepFunction(s, from)}(${s.args.map(name).join(", ")});`;
  });
  const members = resultTypes(body, inputs).map((type, k) => `r${k}: ${TYPE[type]}`);
  return [
    `struct Results { ${members.join(", ")} }`,
    `fn steps(${inputs.map((o, i) => `i${i}: ${TYPE[o.dtype]}`).join(", ")}) -> Results {`,
    ...lines,
    `  return Results(${body.results.map(name).join(", ")});`,
    "}",
  ].join("\n");
}

/** Lines that declare the coordinates c0, c1, ... of element `i` of `dims`. */
export function coordinates(dims: readonly number[]): string[] {
  const lines: string[] = [];
  let rest = "i";
  for (let d = dims.length - 1; d >= 0; d--) {
    lines.push(`  let c${d} = ${d === 0 ? rest : `${rest} % ${dims[d]}u`};`);
    if (d > 0) lines.push(`  let q${d} = ${rest} / ${dims[d]}u;`);
    rest = `q${d}`;
  }
  return lines;
}

/** The index of an operand read with `strides` over `dims`, `contiguous` standing for the element's own number. */
export function indexExpression(
  dims: readonly number[],
  strides: readonly number[],
): { readonly expression: string; readonly strided: boolean } {
  const full = stridesOf(dims);
  if (strides.every((s, d) => s === full[d] || dims[d] === 1)) return { expression: "i", strided: false };
  const terms = strides.flatMap((s, d) => (s === 0 || dims[d] === 1 ? [] : [s === 1 ? `c${d}` : `c${d} * ${s}u`]));
  return terms.length === 0 ? { expression: "0u", strided: false } : { expression: terms.join(" + "), strided: true };
}

/** Operands that lie at one place: bound once. */
export interface Slot {
  readonly operand: Operand;
  readonly written: boolean;
  /** Indices into inputs and into outputs. */
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

const samePlace = (a: Operand, b: Operand): boolean =>
  a.place.space === b.place.space && a.place.index === b.place.index && a.place.offset === b.place.offset;

/** Groups operands by place, outputs' places first taken by inputs. */
export function slotsOf(inputs: readonly Operand[], outputs: readonly Operand[]): Slot[] {
  const slots: { operand: Operand; written: boolean; inputs: number[]; outputs: number[] }[] = [];
  const slot = (o: Operand): (typeof slots)[number] => {
    const found = slots.find((s) => samePlace(s.operand, o));
    if (found !== undefined) return found;
    const made = { operand: o, written: false, inputs: [], outputs: [] };
    slots.push(made);
    return made;
  };
  inputs.forEach((o, i) => slot(o).inputs.push(i));
  outputs.forEach((o, i) => {
    const s = slot(o);
    assert(s.outputs.length === 0, () => "map: two outputs at one place");
    s.written = true;
    s.outputs.push(i);
  });
  return slots;
}

/** The declaration of slot `k`: binding k, named b<k>. */
export function declaration(k: number, slot: Slot, vector: boolean): string {
  const bytes = slot.operand.storage === "u8";
  const type = bytes ? "u32" : TYPE[slot.operand.dtype];
  return (
    `@group(0) @binding(${k}) var<storage, ${slot.written ? "read_write" : "read"}> b${k}: ` +
    `array<${vector && !bytes ? `vec4<${type}>` : type}>;`
  );
}

/** `expression` of an element (or vec4) in memory of type `from` as type `to`: the same bits. */
export function reinterpret(expression: string, from: DType, to: DType, vector: boolean): string {
  if (TYPE[from] === TYPE[to]) return expression;
  return `bitcast<${vector ? `vec4<${TYPE[to]}>` : TYPE[to]}>(${expression})`;
}

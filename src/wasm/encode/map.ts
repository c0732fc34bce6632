/** @file Encodes fused elementwise bodies for assembly/map.ts: collapsed dimensions, operand modes, slots, steps. */
import type { DType } from "../../dtype.ts";
import { assert } from "../../assert.ts";
import { BackendError } from "../../errors.ts";
import { instructions } from "./map/fused.ts";
import { base } from "./place.ts";
import { collapse, sizeOf, stridesOf } from "../../shape.ts";
import type { Call, MapBody, Operand } from "../../plan/plan.ts";
import { MAP, MAP_PIECE, MODE_BYTES, MODE_CONTIGUOUS, MODE_SCALAR, MODE_STRIDED } from "../opcodes.ts";
import { STEP_NAMES } from "../step-names.ts";
import * as steps from "../steps.ts";
import { f32Word, read, write } from "../writer.ts";
import type { CommandWriter, Encoder, Word } from "../writer.ts";

const TYPE: { readonly [type in DType]: number } = { f32: 0, i32: steps.TYPE_I32, u32: steps.TYPE_U32, bool: steps.TYPE_BOOL };

function castCode(from: DType, to: DType): number {
  if (to === "bool") return from === "f32" ? steps.STEP_CAST_F32_BOOL : from === "bool" ? steps.STEP_STORE : steps.STEP_CAST_INT_BOOL;
  if (from === "f32") return to === "i32" ? steps.STEP_CAST_F32_I32 : to === "u32" ? steps.STEP_CAST_F32_U32 : steps.STEP_STORE;
  if (to === "f32") return from === "u32" ? steps.STEP_CAST_U32_F32 : steps.STEP_CAST_I32_F32;
  return steps.STEP_STORE;
}

/** The number of an elementwise step from operands of type `from` to `dtype`. */
function stepCode(op: string, dtype: DType, from: DType): number {
  if (op === "cast") return castCode(from, dtype);
  if (op === "where") return steps.STEP_WHERE;
  const code = STEP_NAMES.indexOf(op);
  assert(code >= 0, () => `map: no step "${op}"`);
  return code + TYPE[from];
}

/** The bits of an immediate. */
export function constantWord(value: number, dtype: DType): number {
  return dtype === "f32" ? f32Word(value) : dtype === "bool" ? Number(value !== 0) : value >>> 0;
}

interface Slots {
  readonly constants: Word[];
  readonly steps: number[];
  readonly count: number;
}

/** Gives each register a slot: inputs, outputs, then temporaries that are reused when their last reader has run. */
function allocate(body: MapBody, inputs: readonly Operand[], outputs: readonly (Operand | null)[]): Slots {
  const n = inputs.length;
  const isConstant = (r: number): boolean => r >= n && body.steps[r - n].op === "const";
  const program = instructions(body, (r) => isConstant(r) || sizeOf(body.space) === 1 || (r < n && body.strides[r].every((s) => s === 0)));
  const lastUse = new Map<number, number>();
  const definedAt = new Map<number, number>();
  program.forEach(({ args, defines }, j) => {
    for (const r of args) lastUse.set(r, j);
    for (const r of defines) definedAt.set(r, j);
  });
  // A result is computed straight into its output unless a later step still reads an input that lies in the same memory.
  const direct = new Map<number, number>();
  const stores: [number, number][] = [];
  body.results.forEach((r, o) => {
    const target = outputs[o];
    const at = definedAt.get(r);
    // An output that is null stays in its slot: a reduction reads it there.
    const clash = target !== null && inputs.some((input, i) => base(input) === base(target) && (lastUse.get(i) ?? -1) > (at ?? 0));
    if (at === undefined || direct.has(r) || clash) stores.push([r, n + o]);
    else direct.set(r, n + o);
  });
  const stored = new Set(stores.map(([r]) => r));
  const slotOf = new Map<number, number>(inputs.map((_, i) => [i, i]));
  const free: number[] = [];
  let count = n + outputs.length;
  const take = (): number => free.pop() ?? count++;
  const constants: Word[] = [];
  body.steps.forEach((s, j) => {
    if (s.op !== "const") return;
    // Constants are filled once for all tiles: their slots are never reused.
    slotOf.set(n + j, count);
    constants.push(count++, constantWord(s.value as number, s.dtype));
  });
  const words: number[] = [];
  const dtypeOf = (r: number): DType => (r < n ? inputs[r].dtype : body.steps[r - n].dtype);
  program.forEach(({ op, args, defines }, j) => {
    const read = args.map((r) => slotOf.get(r) as number);
    const [target, ...others] = defines.map((r) => {
      const slot = direct.get(r) ?? take();
      slotOf.set(r, slot);
      return slot;
    });
    // gelu has one operand; where it has a second result, that takes the next operand's place.
    const [a, b = others[0] ?? a, c = a, ...more] = read;
    words.push(stepCode(op, dtypeOf(defines[0]), dtypeOf(args[0])), target, a, b, c);
    if (more.length > 0) words.push(0, ...others, ...more.slice(0, 2), 0, ...more.slice(2), 0);
    for (const r of new Set([...args, ...defines])) {
      const dead = (lastUse.get(r) ?? -1) <= j && !stored.has(r);
      if (dead && r >= n && !direct.has(r) && !isConstant(r)) free.push(slotOf.get(r) as number);
    }
  });
  for (const [r, slot] of stores) words.push(steps.STEP_STORE, slot, slotOf.get(r) as number, 0, 0);
  if (count > 255)
    throw new BackendError(`wasm: an elementwise chain of ${body.steps.length} steps needs ${count} slots, at most 255 are there`);
  return { constants, steps: words, count };
}

/** The words of a map block: see the head of assembly/map.ts. */
export function mapBlock(body: MapBody, inputs: readonly (Operand | null)[], outputs: readonly (Operand | null)[]): Word[] {
  const operands = inputs as readonly Operand[];
  const { dims, strides } = collapse(body.space, body.strides);
  const full = stridesOf(dims);
  const slots = allocate(body, operands, outputs);
  const words: Word[] = [
    sizeOf(body.space),
    operands.length,
    outputs.length,
    slots.steps.length / 5,
    dims.length,
    slots.constants.length / 2,
    ...dims,
  ];
  operands.forEach((o, i) => {
    const own = strides[i];
    const contiguous = own.every((s, d) => s === full[d] || dims[d] === 1);
    assert(contiguous || !o.storage, () => `map: ${o.storage} is read in order only`);
    const mode = contiguous ? (o.storage ? MODE_BYTES : MODE_CONTIGUOUS) : own.every((s) => s === 0) ? MODE_SCALAR : MODE_STRIDED;
    words.push(read(o), mode, ...own);
  });
  words.push(...outputs.map(write), ...slots.constants, ...slots.steps);
  return words;
}

export const map: Encoder = (call: Call, out: CommandWriter) => {
  const body = call.attrs.body as unknown as MapBody;
  const n = sizeOf(body.space);
  if (n > 0) out.command(MAP, Math.ceil(n / MAP_PIECE), mapBlock(body, call.inputs, call.outputs));
};

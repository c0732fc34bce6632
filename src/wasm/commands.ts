/**
 * @file Plan to command list. Encoders write commands with references; here references get addresses, and a command gets a barrier where it
 * touches bytes that a command since the last barrier wrote, or writes bytes that one read. Commands of one piece need none among
 * themselves: one thread runs them all.
 *
 * What an encoder makes of weights alone (CommandWriter.prepare) stands before everything else, as the list's prologue, in memory that
 * outlives the run; a run whose weights have not changed starts behind it.
 *
 * A command: opcode | barrier << 16, length in words, pieces, a counter of pieces taken, then the kernel's arguments. Addresses of bindings
 * change from run to run, so their words are listed as patches.
 */
import { assert } from "../assert.ts";
import { once } from "../cache.ts";
import type { Call, Plan } from "../plan/plan.ts";
import { Runs } from "../plan/runs.ts";
import { sizeOf } from "../shape.ts";
import { map } from "./encode/map.ts";
import { fill } from "./encode/move.ts";
import type { WasmKernel } from "./kernel.ts";
import { PART_SHIFT } from "./opcodes.ts";
import type { Command, CommandWriter, Loop, Patch, Ref, Walk, Word, WordWriter } from "./writer.ts";

/** Set in a command's first word where all threads must have finished what came before. */
export const BARRIER = 1 << 16;

/** Stands between the prologue and the rest: a command without pieces is nothing but a barrier. */
const FENCE: Command = { opcode: 0, pieces: 0, words: [] };

/** Memory for what the prologue makes of a binding. */
export interface Kept {
  readonly binding: number;
  readonly bytes: number;
  /** What is made of equal bytes by an equal key is equal. */
  readonly key: string;
}

export interface CommandList {
  /** Words with addresses of slots and scratch filled in, those of bindings zero. */
  readonly words: Uint32Array;
  readonly patches: readonly Patch[];
  readonly commands: number;
  readonly barriers: number;
  /** Words of the prologue. */
  readonly prologue: number;
  /** Goes through lists with loops; null where there are none. */
  readonly walk: Walk | null;
}

class Writer implements CommandWriter {
  readonly commands: Command[] = [];
  readonly prologue: Command[] = [];
  readonly kept: Kept[] = [];
  /** Where things are in `kept`, by binding and key. */
  readonly #places = new Map<string, number>();
  /** Most shared scratch that one call wants. */
  sharedBytes = 0;
  #here = 0;
  readonly plan: Plan;
  #left: number;

  constructor(plan: Plan, mostKept: number) {
    this.plan = plan;
    this.#left = mostKept;
  }

  command(opcode: number, pieces: number, words: readonly Word[], loop?: Loop): void {
    assert(Number.isInteger(pieces) && pieces >= 0, () => `command ${opcode}: ${pieces} pieces`);
    if (pieces > 0) this.commands.push({ opcode, pieces, words, loop });
  }

  shared(bytes: number): { read: Ref; write: Ref } {
    const place = { space: "scratch", index: 0, offset: this.#here } as const;
    this.#here += Math.ceil(bytes / 64) * 64;
    this.sharedBytes = Math.max(this.sharedBytes, this.#here);
    return { read: { place, bytes, access: "read" }, write: { place, bytes, access: "write" } };
  }

  keeps(source: Word, bytes: number): source is Ref {
    if (typeof source === "number" || source.place.space !== "binding") return false;
    const { kind, written } = this.plan.bindings[source.place.index];
    return kind === "capture" && !written && bytes <= this.#left;
  }

  prepare(opcode: number, pieces: number, source: Word, bytes: number, words: readonly number[]): Ref {
    if (!this.keeps(source, bytes)) {
      const { read, write } = this.shared(bytes);
      this.command(opcode, pieces, [source, write, ...words]);
      return read;
    }
    const binding = source.place.index;
    const key = [opcode, pieces, source.place.offset, ...words].join();
    const known = this.kept.length;
    const index = once(this.#places, `${binding} ${key}`, () => known);
    const ref = (access: Ref["access"]): Ref => ({ place: { space: "kept", index, offset: 0 }, bytes, access });
    if (index === known) {
      this.kept.push({ binding, bytes, key });
      this.#left -= bytes;
      this.prologue.push({ opcode, pieces, words: [source, ref("write"), ...words] });
    }
    return ref("read");
  }

  begin(): void {
    this.#here = 0;
  }
}

/** Encoded calls, before addresses are known. */
export interface Encoded {
  readonly commands: readonly Command[];
  /** How many of them are the prologue, with what ends it. */
  readonly prologue: number;
  readonly kept: readonly Kept[];
  readonly sharedBytes: number;
  /** About how many multiply-adds there are, and how many of them several threads could share. */
  readonly work: number;
  readonly sharedWork: number;
}

/** Kernels that the planner calls. Others come with the ops that call them. */
const OWN: { readonly [name: string]: WasmKernel } = { map: { encode: map }, fill: { encode: fill } };

/** What is known here of a kernel that a plan calls. */
export const kernelOf = (plan: Plan, name: string): WasmKernel => (plan.kernels[name].wasm as WasmKernel | undefined) ?? OWN[name];

/** Encodes a plan. What is made of weights may be kept in `mostKept` bytes; the results are the same bits with any number. */
export function encode(plan: Plan, mostKept = Infinity): Encoded {
  const writer = new Writer(plan, mostKept);
  let work = 0;
  let sharedWork = 0;
  for (const call of plan.calls) {
    const from = writer.commands.length;
    writer.begin();
    encodeCall(call, writer, [writer.commands, writer.prologue]);
    work += workOf(call);
    if (writer.commands.slice(from).some((c) => c.pieces > 1)) sharedWork += workOf(call);
  }
  const { commands, prologue, kept, sharedBytes } = writer;
  return {
    commands: prologue.length > 0 ? [...prologue, FENCE, ...commands] : commands,
    prologue: prologue.length && prologue.length + 1,
    kept,
    sharedBytes,
    work,
    sharedWork,
  };
}

/** Writes the commands of a call into `out`, which appends them to `lists`. */
export function encodeCall(call: Call, out: CommandWriter, lists: readonly (readonly Command[])[]): void {
  const lengths = lists.map(({ length }) => length);
  const { encode: write, part } = kernelOf(out.plan, call.kernel);
  write(call, out);
  const parts = [0, part?.number];
  assert(
    () => lists.every((list, i) => list.slice(lengths[i]).every((c) => parts.includes(c.opcode >> PART_SHIFT))),
    () => `${call.kernel}: commands of another part of the kernels than ${part?.name ?? "the core"}`,
  );
}

/** About how many multiply-adds a call is; moving an element counts as some. */
function workOf({ kernel, inputs, outputs, attrs, body }: Call): number {
  const a = attrs as { readonly [name: string]: number };
  if (body !== undefined) return a.length * body.calls.reduce((sum, call) => sum + workOf(call), 0);
  if (kernel === "matmul" || kernel === "packedMatmul") return (a.batch ?? 1) * a.m * a.k * a.n;
  if (kernel.startsWith("conv2d")) return (a.n * a.p * a.q * a.r * a.s * a.c * a.f) / a.groups;
  const elements = [...inputs, ...outputs].reduce((n, o) => n + (o === null ? 0 : sizeOf(o.shape)), 0);
  // Recurrent kernels: each step multiplies the state by the weights.
  return a.t !== undefined && a.u !== undefined ? elements * a.u : elements * 4;
}

/**
 * Bytes that commands since the last barrier touched: by space, whether they wrote them, and whether several threads did. Commands of one
 * piece all run on one thread, in order.
 */
type Touched = Map<string, Runs>;

const touchedAs = ({ place }: Ref, writes: boolean, several: boolean): string => `${place.space}${place.index} ${writes} ${several}`;

/** Writes commands as words. Those that repeat others are written by one of its kind that comes with them (loops.ts). */
export class Linker implements WordWriter {
  readonly words: number[] = [];
  readonly patches: Patch[] = [];
  barriers = 0;
  readonly #touched: Touched = new Map();
  readonly #bindings: number;
  readonly #slots: readonly number[];
  readonly #scratch: number;

  constructor(bindings: number, slots: readonly number[], scratch: number) {
    this.#bindings = bindings;
    this.#slots = slots;
    this.#scratch = scratch;
  }

  command(c: Command): void {
    const { words } = this;
    const start = words.length;
    const wait = c.pieces === 0 || c.loop !== undefined || this.#conflicts(c);
    if (wait) {
      this.#touched.clear();
      this.barriers++;
    }
    for (const w of c.words) {
      if (typeof w === "number" || w.bytes === 0) continue;
      once(this.#touched, touchedAs(w, w.access !== "read", c.pieces !== 1), () => new Runs()).add(...this.extent(w));
    }
    words.push(c.opcode | (wait ? BARRIER : 0), 0, c.pieces, 0);
    this.body(c);
    words[start + 1] = words.length - start;
  }

  /** Where the bytes that `ref` stands for begin and end. */
  protected extent({ place: { offset }, bytes }: Ref): readonly [number, number] {
    return [offset, offset + bytes];
  }

  /** What stands behind a command's header. */
  protected body(c: Command): void {
    for (const w of c.words) this.word(w);
  }

  protected word(w: Word): void {
    const { words } = this;
    if (typeof w === "number") return void words.push(w);
    const { space, index, offset } = w.place;
    if (space === "binding" || space === "kept") {
      this.patches.push({ word: words.length, binding: space === "kept" ? this.#bindings + index : index, offset });
      words.push(0);
    } else words.push((space === "slot" ? this.#slots[index] : this.#scratch) + offset);
  }

  /** True when the command touches bytes that another wrote, or writes bytes that another read. */
  #conflicts({ words, pieces }: Command): boolean {
    const both = [true, false];
    return words.some(
      (w) =>
        typeof w !== "number" &&
        w.bytes > 0 &&
        both.some(
          (writes) =>
            (writes || w.access !== "read") &&
            both.some(
              (several) =>
                (several || pieces !== 1) && (this.#touched.get(touchedAs(w, writes, several))?.endWithin(...this.extent(w)) ?? 0) > 0,
            ),
        ),
    );
  }
}

/** Fills in addresses. `slots[i]` and `scratch` are byte addresses; those of kept memory count on from `bindings`. */
export function link(
  { commands, prologue }: Pick<Encoded, "commands" | "prologue">,
  bindings: number,
  slots: readonly number[],
  scratch: number,
): CommandList {
  const loops = commands.find(({ loop }) => loop !== undefined)?.loop?.support;
  const linker = new (loops?.Linker ?? Linker)(bindings, slots, scratch);
  let main = 0;
  for (const [i, c] of commands.entries()) {
    if (i === prologue) main = linker.words.length;
    linker.command(c);
  }
  const { words, patches, barriers } = linker;
  return { words: Uint32Array.from(words), patches, commands: commands.length, barriers, prologue: main, walk: loops?.walk ?? null };
}

/** The commands of a list that repeats none. */
export function* walk(words: () => Uint32Array, list: number, end: number): Iterable<number> {
  for (let at = list; at < end; at += words()[(at >>> 2) + 1] << 2) yield at;
}

/**
 * After an aborted run: threads count in the headers of commands (word 3) the pieces that have been taken, and the run did not come to
 * setting that back.
 */
export function forgetTaken(words: Uint32Array, commands: Iterable<number>): void {
  for (const at of commands) words[(at >>> 2) + 3] = 0;
}

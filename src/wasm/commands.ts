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
import { HEADER_WORDS, PART_SHIFT } from "./opcodes.ts";
import type { CommandWriter, Ref, Word } from "./writer.ts";

/** Set in a command's first word where all threads must have finished what came before. */
export const BARRIER = 1 << 16;

interface Command {
  readonly opcode: number;
  readonly pieces: number;
  readonly words: readonly Word[];
}

/** Stands between the prologue and the rest: a command without pieces is nothing but a barrier. */
const FENCE: Command = { opcode: 0, pieces: 0, words: [] };

/** A word that holds an address inside a binding or, counted on from the bindings, kept memory. */
export interface Patch {
  readonly word: number;
  readonly binding: number;
  readonly offset: number;
}

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
  readonly #bindings: Plan["bindings"];
  #left: number;

  constructor(bindings: Plan["bindings"], mostKept: number) {
    this.#bindings = bindings;
    this.#left = mostKept;
  }

  command(opcode: number, pieces: number, words: readonly Word[]): void {
    assert(Number.isInteger(pieces) && pieces >= 0, () => `command ${opcode}: ${pieces} pieces`);
    if (pieces > 0) this.commands.push({ opcode, pieces, words });
  }

  shared(bytes: number): { read: Ref; write: Ref } {
    const place = { space: "scratch", index: 0, offset: this.#here } as const;
    this.#here += Math.ceil(bytes / 64) * 64;
    this.sharedBytes = Math.max(this.sharedBytes, this.#here);
    return { read: { place, bytes, access: "read" }, write: { place, bytes, access: "write" } };
  }

  keeps(source: Word, bytes: number): source is Ref {
    if (typeof source === "number" || source.place.space !== "binding") return false;
    const { kind, written } = this.#bindings[source.place.index];
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
  const writer = new Writer(plan.bindings, mostKept);
  let work = 0;
  let sharedWork = 0;
  for (const call of plan.calls) {
    const from = writer.commands.length;
    const prepared = writer.prologue.length;
    writer.begin();
    const { encode: write, part } = kernelOf(plan, call.kernel);
    write(call, writer);
    const parts = [0, part?.number];
    assert(
      () => [...writer.commands.slice(from), ...writer.prologue.slice(prepared)].every((c) => parts.includes(c.opcode >> PART_SHIFT)),
      () => `${call.kernel}: commands of another part of the kernels than ${part?.name ?? "the core"}`,
    );
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

/** About how many multiply-adds a call is; moving an element counts as some. */
function workOf({ kernel, inputs, outputs, attrs }: Call): number {
  const a = attrs as { readonly [name: string]: number };
  if (kernel === "matmul") return a.batch * a.m * a.k * a.n;
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

/** True when the command touches bytes that another wrote, or writes bytes that another read. */
function conflicts({ words, pieces }: Command, touched: Touched): boolean {
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
              (several || pieces !== 1) &&
              (touched.get(touchedAs(w, writes, several))?.endWithin(w.place.offset, w.place.offset + w.bytes) ?? 0) > 0,
          ),
      ),
  );
}

/** Fills in addresses. `slots[i]` and `scratch` are byte addresses; those of kept memory count on from `bindings`. */
export function link(
  { commands, prologue }: Pick<Encoded, "commands" | "prologue">,
  bindings: number,
  slots: readonly number[],
  scratch: number,
): CommandList {
  const length = commands.reduce((n, c) => n + HEADER_WORDS + c.words.length, 0);
  const words = new Uint32Array(length);
  const patches: Patch[] = [];
  const touched: Touched = new Map();
  let barriers = 0;
  let at = 0;
  let main = 0;
  for (const [i, c] of commands.entries()) {
    if (i === prologue) main = at;
    const wait = c.pieces === 0 || conflicts(c, touched);
    if (wait) {
      touched.clear();
      barriers++;
    }
    for (const w of c.words) {
      if (typeof w === "number" || w.bytes === 0) continue;
      const { offset } = w.place;
      once(touched, touchedAs(w, w.access !== "read", c.pieces !== 1), () => new Runs()).add(offset, offset + w.bytes);
    }
    words[at++] = c.opcode | (wait ? BARRIER : 0);
    words[at++] = HEADER_WORDS + c.words.length;
    words[at++] = c.pieces;
    words[at++] = 0;
    for (const w of c.words) {
      if (typeof w === "number") {
        words[at++] = w;
        continue;
      }
      const { space, index, offset } = w.place;
      if (space === "binding" || space === "kept") patches.push({ word: at, binding: space === "kept" ? bindings + index : index, offset });
      else words[at] = (space === "slot" ? slots[index] : scratch) + offset;
      at++;
    }
  }
  return { words, patches, commands: commands.length, barriers, prologue: main };
}

/**
 * After an aborted run: threads count in the headers of commands (word 3) the pieces that have been taken, and the run did not come to
 * setting that back.
 */
export function forgetTaken(words: Uint32Array, list: number, end: number): void {
  for (let at = list >>> 2; at < end >>> 2; at += words[at + 1]) words[at + 3] = 0;
}

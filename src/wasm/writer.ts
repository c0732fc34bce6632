/**
 * @file What encoders write: commands whose words are numbers or references to operands. The linker (commands.ts)
 * turns references into addresses and sets a barrier where a command touches what another may still use.
 */
import { bytesOf } from "../dtype.ts";
import type { Call, Operand, Place, Plan } from "../plan/plan.ts";
import { sizeOf } from "../shape.ts";

/** How far a place moves in a loop: at step t of `steps` it is t times `bytes` behind its offset. */
export interface Move {
  readonly bytes: number;
  readonly steps: number;
}

/** A place as the body of a loop has it. */
export interface BodyPlace extends Place {
  /** By loop, the outermost first. */
  readonly moves: readonly Move[];
  /** Where it is for what is around the innermost loop, which neither moves nor writes it; null where that does. */
  readonly constant: Place | null;
}

/** A word that holds an address inside a binding or, counted on from the bindings, kept memory. */
export interface Patch {
  readonly word: number;
  readonly binding: number;
  readonly offset: number;
}

/** Writes commands as words: commands.ts. */
export interface WordWriter {
  readonly words: readonly number[];
  readonly patches: readonly Patch[];
  readonly barriers: number;
  command(c: Command): void;
}

/**
 * Where the commands are that a thread does from `list` to `end`, in bytes, one after another. `words` gives the memory, which may grow
 * meanwhile.
 */
export type Walk = (words: () => Uint32Array, list: number, end: number) => Iterable<number>;

/** What lists of commands with loops need: loops.ts. */
export interface LoopSupport {
  readonly Linker: new (bindings: number, slots: readonly number[], scratch: number) => WordWriter;
  /** Begins the steps of loops as the kernels do. Lists without loops are all the same to it. */
  readonly walk: Walk;
}

/** What a command repeats. */
export interface Loop {
  readonly steps: number;
  readonly reverse: boolean;
  readonly commands: readonly Command[];
  readonly support: LoopSupport;
}

/** A command before addresses are known. */
export interface Command {
  readonly opcode: number;
  readonly pieces: number;
  readonly words: readonly Word[];
  readonly loop?: Loop | undefined;
}

/** A reference to bytes, with how the command uses them. */
export interface Ref {
  readonly place: Place | BodyPlace | { readonly space: "scratch" | "kept"; readonly index: number; readonly offset: number };
  readonly bytes: number;
  readonly access: "read" | "write" | "update";
}

/** A word of a command: a number, or an address that is known when the program runs. */
export type Word = number | Ref;

/** Where an encoder puts its commands. */
export interface CommandWriter {
  /** The plan that is being encoded, which has the kernels that its calls name. */
  readonly plan: Plan;
  /**
   * Appends a command. `pieces` is the number of independent parts the work is split into: it depends on shapes
   * only, never on the number of threads. `words` are the kernel's arguments as 32-bit integers (see `f32Word`) or Refs.
   */
  command(opcode: number, pieces: number, words: readonly Word[], loop?: Loop): void;
  /**
   * Bytes of working memory shared by the threads, alive for the commands of the call being encoded. 64-byte aligned; undefined contents.
   */
  shared(bytes: number): { read: Ref; write: Ref };
  /**
   * True where `bytes` that `prepare` makes of `source` outlive the run: of a capture that the program does not write, such as a weight
   * when a model predicts. 0: whatever memory there is.
   */
  keeps(source: Word, bytes: number): boolean;
  /**
   * Appends a command that makes `bytes` of `source` and numbers alone, such as packed weights; its words are `source`, the address of what
   * it makes, `words`. Gives where that then is: in kept memory, to be made again only when the source has changed, or in shared memory.
   */
  prepare(opcode: number, pieces: number, source: Word, bytes: number, words: readonly number[]): Ref;
}

/** Encodes one kernel call as commands. */
export type Encoder = (call: Call, out: CommandWriter) => void;

const bytesIn = (o: Operand): number => bytesOf(sizeOf(o.shape), o.storage);

/** An address word for an operand that the kernel reads; 0 when absent. */
export function read(o: Operand | null): Word {
  return o === null ? 0 : { place: o.place, bytes: bytesIn(o), access: "read" };
}

/** An address word for an operand that the kernel writes completely; 0 when nobody reads it. */
export function write(o: Operand | null): Word {
  return o === null ? 0 : { place: o.place, bytes: bytesIn(o), access: "write" };
}

/** An address word for an operand that the kernel reads and writes. */
export function update(o: Operand | null): Word {
  return o === null ? 0 : { place: o.place, bytes: bytesIn(o), access: "update" };
}

/** The same reference `bytes` further on. */
export function at(word: Word, byteOffset: number): Word {
  if (typeof word === "number") return word === 0 ? 0 : word + byteOffset;
  return { ...word, place: { ...word.place, offset: word.place.offset + byteOffset }, bytes: word.bytes - byteOffset } as Ref;
}

const bits = new DataView(new ArrayBuffer(4));

/** The bit pattern of a float, as a word. */
export function f32Word(value: number): number {
  bits.setFloat32(0, value, true);
  return bits.getUint32(0, true);
}

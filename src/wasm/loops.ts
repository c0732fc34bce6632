/**
 * @file Commands that repeat others: how they are written as words, and how a thread that does them piece by piece goes through them.
 * Apart, so that applications without loops do not hold it: the encoder of scan brings it along.
 */
import { BARRIER, Linker, walk } from "./commands.ts";
import { HEADER_WORDS, LOOP, LOOP_HEADER } from "./opcodes.ts";
import type { Command, LoopSupport, Move, Ref, Word } from "./writer.ts";

/** A word that a loop sets at the beginning of each step: the address `base` and `stride` bytes more for each step before. */
interface Moved {
  readonly word: number;
  readonly base: Ref;
  readonly stride: number;
}

/** How a place moves in the loops around it. */
const movesOf = ({ place }: Ref): readonly Move[] => ("moves" in place ? place.moves : []);

class LoopLinker extends Linker {
  /** What loops set that are being written, the outermost first. */
  readonly #loops: { readonly reverse: boolean; readonly moved: Moved[] }[] = [];

  /** At any step of the loops around. */
  protected override extent(ref: Ref): readonly [number, number] {
    const [from, to] = super.extent(ref);
    return [from, to + movesOf(ref).reduce((sum, { bytes, steps }) => sum + bytes * Math.max(0, steps - 1), 0)];
  }

  /** A loop's arguments: steps, words of its body and of what comes before it, the body, how many words it sets, and which to what. */
  protected override body(c: Command): void {
    super.body(c);
    if (c.loop === undefined) return;
    const { steps, reverse, commands } = c.loop;
    const { words } = this;
    const start = words.length;
    const moved: Moved[] = [];
    this.#loops.push({ reverse, moved });
    words.push(steps, 0);
    for (const each of commands) this.command(each);
    words[start + 1] = words.length - start;
    this.#loops.pop();
    words.push(moved.length);
    for (const { word, base, stride } of moved) {
      words.push(word - start);
      this.word(base);
      words.push(stride);
    }
  }

  protected override word(w: Word): void {
    const moves = typeof w === "number" ? [] : movesOf(w);
    const depth = moves.reduce((last, { bytes }, i) => (bytes !== 0 ? i : last), -1);
    if (depth < 0) return super.word(w);
    const { place } = w as Ref;
    const { bytes, steps } = moves[depth];
    const { reverse, moved } = this.#loops[depth];
    const from = reverse ? bytes * Math.max(0, steps - 1) : 0;
    const base = { ...(w as Ref), place: { ...place, offset: place.offset + from, moves: moves.slice(0, depth) } } as Ref;
    moved.push({ word: this.words.length, base, stride: reverse ? -bytes : bytes });
    this.words.push(0);
  }
}

function* walkLoops(words: () => Uint32Array, list: number, end: number): Iterable<number> {
  for (const command of walk(words, list, end)) {
    const start = (command >>> 2) + HEADER_WORDS;
    if ((words()[command >>> 2] & ~BARRIER) !== LOOP) yield command;
    else
      for (let step = 0; step < words()[start]; step++) {
        beginStep(words(), start, step);
        yield* walkLoops(words, 4 * (start + LOOP_HEADER), 4 * (start + words()[start + 1]));
      }
  }
}

/** What the kernels do at the beginning of a step of a loop, whose arguments are at `start`: sets the addresses that move. */
function beginStep(words: Uint32Array, start: number, step: number): void {
  const table = start + words[start + 1];
  for (let i = 0, at = table + 1; i < words[table]; i++, at += 3) words[start + words[at]] = words[at + 1] + step * (words[at + 2] | 0);
}

/** What lists with loops need. */
export const LOOPS: LoopSupport = { Linker: LoopLinker, walk: walkLoops };

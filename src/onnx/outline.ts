/**
 * @file A file without the elements of its large tensors, which stay where they are: what says of a model what it computes is small. Only
 * the messages on the way to those elements are entered (onnx.proto).
 */
import { FileError } from "../index.ts";
import type { Ranges } from "../io/ranges.ts";
import { concatBytes } from "../io/bytes.ts";

/** Bytes of a file. */
export interface Place {
  readonly file: Ranges;
  readonly offset: number;
  readonly length: number;
}

/** What is read of a file at once, and where elements are that were left. */
export interface Outline {
  readonly bytes: Uint8Array;
  /** Elements by the place in `bytes` at which they are announced with a length of 0. */
  readonly places: ReadonlyMap<number, Place>;
}

/** Elements of at least so many bytes stay in the file. */
const LEAST = 2 ** 14;
/** What is read of a file at once. */
const WINDOW = 2 ** 16;
const MOST_DEPTH = 100;

/** Fields of a message that lead to elements; null: the elements themselves. */
interface Message {
  readonly [field: number]: Message | null;
}

const TENSOR: Message = { 9: null };
const GRAPH: { [field: number]: Message } = { 5: TENSOR };
const NODE: Message = { 5: { 5: TENSOR, 6: GRAPH, 10: TENSOR, 11: GRAPH } };
GRAPH[1] = NODE;
const MODEL: Message = { 7: GRAPH, 25: { 7: NODE } };

/** Bytes that are copied, or elements that stay. */
type Piece = Uint8Array | { readonly tag: Uint8Array; readonly place: Place };

const lengthOf = (pieces: readonly Piece[]): number =>
  pieces.reduce((n, p) => n + (p instanceof Uint8Array ? p.length : p.tag.length + 1), 0);

function varint(value: number): Uint8Array {
  const out: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) out.push((rest % 128) | 128);
  return Uint8Array.of(...out, rest);
}

/** Reads on in a file. */
class Cursor {
  readonly #file: Ranges;
  readonly #size: number;
  #window: Uint8Array;
  #from = 0;

  constructor(file: Ranges, size: number) {
    this.#file = file;
    this.#size = size;
    this.#window = file.begin;
  }

  fault(at: number): FileError {
    return new FileError(`${this.#file.who}: no ONNX file, or a damaged one: at byte ${at}`);
  }

  /** Some bytes from `at` on, fewer only at the end. */
  async some(at: number): Promise<Uint8Array> {
    const isThere = at >= this.#from && at + 20 <= this.#from + this.#window.length;
    if (!isThere) {
      this.#from = at;
      this.#window = await this.#file.read(at, Math.min(this.#size, at + WINDOW));
    }
    return this.#window.subarray(at - this.#from);
  }

  /** A number and the place behind it. */
  async varint(at: number, end: number): Promise<readonly [number, number]> {
    const bytes = await this.some(at);
    let value = 0;
    for (let i = 0; i < 10 && i < bytes.length && at + i < end; i++) {
      value += (bytes[i] & 127) * 2 ** (7 * i);
      if (bytes[i] < 128) return [value, at + i + 1];
    }
    throw this.fault(at);
  }

  async copy(from: number, to: number): Promise<Uint8Array> {
    return (await this.#file.read(from, to)).slice();
  }

  place(offset: number, length: number): Place {
    return { file: this.#file, offset, length };
  }
}

/** A message without large elements. */
async function walk(cursor: Cursor, message: Message, from: number, to: number, depth: number): Promise<Piece[]> {
  if (depth > MOST_DEPTH) throw cursor.fault(from);
  const pieces: Piece[] = [];
  let copied = from;
  for (let at = from; at < to;) {
    const [tag, behind] = await cursor.varint(at, to);
    const [field, wire] = [Math.floor(tag / 8), tag % 8];
    if (wire === 2) {
      const [length, begin] = await cursor.varint(behind, to);
      const end = begin + length;
      if (end > to) throw cursor.fault(at);
      const inner = message[field];
      if (inner !== undefined && length >= LEAST) {
        if (at > copied) pieces.push(await cursor.copy(copied, at));
        if (inner === null) pieces.push({ tag: varint(tag), place: cursor.place(begin, length) });
        else {
          const content = await walk(cursor, inner, begin, end, depth + 1);
          pieces.push(varint(tag), varint(lengthOf(content)), ...content);
        }
        copied = end;
      }
      at = end;
    } else if (wire === 0) [, at] = await cursor.varint(behind, to);
    else if (wire === 5 || wire === 1) at = behind + (wire === 5 ? 4 : 8);
    else throw cursor.fault(at);
    if (at > to) throw cursor.fault(at);
  }
  if (to > copied) pieces.push(await cursor.copy(copied, to));
  return pieces;
}

/** @throws FileError for what is no such file */
export async function outlineOf(file: Ranges): Promise<Outline> {
  const { size, begin, who } = file;
  if (size === null) throw new FileError(`cannot read "${who}": the server does not say how large it is`);
  // All of it is there: elements are read where they are.
  if (begin.length >= size) return { bytes: begin.subarray(0, size), places: new Map() };
  const pieces = await walk(new Cursor(file, size), MODEL, 0, size, 0);
  const places = new Map<number, Place>();
  let at = 0;
  const parts = pieces.map((piece) => {
    const bytes = piece instanceof Uint8Array ? piece : concatBytes([piece.tag, Uint8Array.of(0)]);
    at += bytes.length;
    if (!(piece instanceof Uint8Array)) places.set(at, piece.place);
    return bytes;
  });
  return { bytes: concatBytes(parts), places };
}

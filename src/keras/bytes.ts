/** @file Reading binary files: nothing is read that is not there, and what is wrong is an error that names the file. */
import { cut } from "../io/safetensors.ts";
import { FileError } from "../index.ts";

/** A file, or a part of one, as bytes. */
export class Bytes {
  readonly who: string;
  readonly all: Uint8Array;
  readonly #view: DataView;

  constructor(who: string, all: Uint8Array) {
    this.who = cut(who, 120);
    this.all = all;
    this.#view = new DataView(all.buffer, all.byteOffset, all.byteLength);
  }

  /** An error of this file. */
  fault(why: string): FileError {
    return new FileError(`${this.who}: ${why}`);
  }

  /** @throws FileError unless bytes [at, at + length) are there */
  check(at: number, length: number): void {
    if (!(Number.isSafeInteger(at) && Number.isSafeInteger(length) && at >= 0 && length >= 0 && at + length <= this.all.length))
      throw this.fault(`damaged: ${length} bytes at ${at} lie outside of its ${this.all.length} bytes`);
  }

  /** Bytes [at, at + length), not copied. */
  slice(at: number, length: number): Uint8Array {
    this.check(at, length);
    return this.all.subarray(at, at + length);
  }

  u8(at: number): number {
    this.check(at, 1);
    return this.all[at];
  }

  u16(at: number): number {
    this.check(at, 2);
    return this.#view.getUint16(at, true);
  }

  u32(at: number): number {
    this.check(at, 4);
    return this.#view.getUint32(at, true);
  }

  /** A number of 8 bytes. @throws FileError for one that no size or place in a file can be */
  u64(at: number): number {
    this.check(at, 8);
    const value = this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * 2 ** 32;
    if (!Number.isSafeInteger(value)) throw this.fault(`damaged: the number at ${at} is too large`);
    return value;
  }

  /** Whether the text stands at this place. */
  is(at: number, text: string): boolean {
    if (!(at >= 0 && at + text.length <= this.all.length)) return false;
    for (let i = 0; i < text.length; i++) if (this.all[at + i] !== text.charCodeAt(i)) return false;
    return true;
  }
}

const strict = new TextDecoder("utf-8", { fatal: true });

/** Bytes as text. @throws FileError for what is no UTF-8 */
export function textOf(who: string, what: string, bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch (cause) {
    throw new FileError(`${cut(who, 120)}: ${what} must be UTF-8`, { cause });
  }
}

/**
 * What deflated bytes were, which must be `size` bytes: reading stops where they become more. Of the platform, as all that has
 * WebAssembly's SIMD has it. @throws FileError for what is damaged
 */
export async function inflated(who: string, format: "deflate" | "deflate-raw", bytes: Uint8Array, size: number): Promise<Uint8Array> {
  const out = new Uint8Array(size);
  let at = 0;
  try {
    const source = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new DecompressionStream(format));
    const reader = (source as ReadableStream<Uint8Array>).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (at + value.length > size) {
        await reader.cancel();
        throw new Error(`it gives more than the ${size} bytes that it should`);
      }
      out.set(value, at);
      at += value.length;
    }
  } catch (cause) {
    throw new FileError(`${cut(who, 120)}: damaged: what is compressed cannot be read: ${cut((cause as Error).message)}`, { cause });
  }
  if (at !== size) throw new FileError(`${cut(who, 120)}: damaged: ${size} bytes were compressed, ${at} come out`);
  return out;
}

/** The most that deflate makes of a byte is 1032. */
const MOST_EXPANSION = 1032;
/** What Keras refuses too (CVE-2026-0897): archives are written to fill the memory of those who open them. */
const LARGE = 2 ** 32;
const LARGE_EXPANSION = 100;

/** @throws FileError where `size` bytes cannot have come of `stored` compressed ones, or are meant to fill the memory */
export function checkExpansion(who: string, what: string, size: number, stored: number): void {
  if (!Number.isSafeInteger(size) || size > stored * MOST_EXPANSION || (size > LARGE && size > stored * LARGE_EXPANSION))
    throw new FileError(`${cut(who, 120)}: ${cut(what)} would be ${size} bytes, of ${stored} that are stored: no such file is read`);
}

/** @file A cursor over the beginning of a file, which reads more of it as it goes on. */
import type { Ranges } from "../io/ranges.ts";
import { FileError } from "../errors.ts";

/** How much more is read at once. */
const STEP_BYTES = 2 ** 20;

/** Reads numbers and texts one after another. Nothing is allocated that the file cannot hold. */
export class Cursor {
  readonly #ranges: Ranges;
  readonly #size: number;
  #bytes: Uint8Array;
  /** Where in the file `#bytes` begins. */
  #start = 0;
  #at = 0;

  constructor(ranges: Ranges, size: number) {
    this.#ranges = ranges;
    this.#size = size;
    this.#bytes = ranges.begin;
  }

  /** Bytes from the file's start. */
  get position(): number {
    return this.#start + this.#at;
  }

  /** Makes sure that `count` more bytes are there, and steps over them: where they begin. @throws FileError where the file ends before */
  async #take(what: string, count: number): Promise<number> {
    if (!(this.position + count <= this.#size))
      throw new FileError(
        `it is truncated or damaged: ${what} at byte ${this.position} needs ${count} bytes, ${this.#size - this.position} are left`,
      );
    if (this.#at + count > this.#bytes.length) {
      const from = this.position;
      this.#bytes = await this.#ranges.read(from, Math.min(this.#size, from + Math.max(count, STEP_BYTES)));
      this.#start = from;
      this.#at = 0;
    }
    const at = this.#at;
    this.#at += count;
    return at;
  }

  async view(what: string, count: number): Promise<DataView> {
    const at = await this.#take(what, count);
    return new DataView(this.#bytes.buffer, this.#bytes.byteOffset + at, count);
  }

  async u32(what: string): Promise<number> {
    return (await this.view(what, 4)).getUint32(0, true);
  }

  /** A number of 64 bits that is one of bytes or things. @throws FileError for one that no file could hold */
  async length(what: string): Promise<number> {
    const value = (await this.view(what, 8)).getBigUint64(0, true);
    if (value > 2n ** 53n - 1n) throw new FileError(`it is damaged: ${what} is ${value}`);
    return Number(value);
  }

  /** A length, and so many bytes of UTF-8. */
  async text(what: string): Promise<string> {
    const length = await this.length(`the length of ${what}`);
    const at = await this.#take(what, length);
    return new TextDecoder().decode(new Uint8Array(this.#bytes.subarray(at, at + length)));
  }

  /** @throws FileError where `count` things of at least `bytes` each are more than the file has left */
  checkCount(what: string, count: number, bytes: number): void {
    if (count * bytes > this.#size - this.position)
      throw new FileError(
        `it is truncated or damaged: ${count} ${what} need at least ${count * bytes} bytes, ${this.#size - this.position} are left`,
      );
  }
}

/** @file First-fit allocation in linear memory with a sorted list of gaps, merged when freed. Grows the memory in steps. */
import type { DeviceBuffer } from "../backend.ts";
import { BackendError, OutOfMemoryError } from "../errors.ts";

export interface WasmBuffer extends DeviceBuffer {
  readonly address: number;
  /** Bytes taken, with padding. */
  readonly span: number;
  /** Another number after each change of the bytes, and never that of another buffer. */
  version: number;
}

const PAGE = 65536;
const ALIGN = 64;
/** Kernels may read this far past a tensor's end. */
const PADDING = 16;

export class Allocator {
  readonly #memory: WebAssembly.Memory;
  readonly #most: number;
  readonly #gaps: { from: number; to: number }[];
  #live = new Set<WasmBuffer>();
  #liveBytes = 0;
  #versions = 0;

  constructor(memory: WebAssembly.Memory, from: number, mostPages: number) {
    this.#memory = memory;
    this.#most = mostPages * PAGE;
    this.#gaps = [{ from: Math.ceil(from / ALIGN) * ALIGN, to: memory.buffer.byteLength }];
  }

  /** Buffers in use and their bytes. */
  get live(): { buffers: number; bytes: number } {
    return { buffers: this.#live.size, bytes: this.#liveBytes };
  }

  /** @throws BackendError when the memory cannot grow that far. */
  alloc(bytes: number): WasmBuffer {
    const span = Math.ceil((bytes + PADDING) / ALIGN) * ALIGN;
    let gap = this.#gaps.find((g) => g.to - g.from >= span);
    if (gap === undefined) {
      this.#grow(span);
      gap = this.#gaps[this.#gaps.length - 1];
    }
    const buffer: WasmBuffer = { bytes, address: gap.from, span, version: ++this.#versions };
    gap.from += span;
    if (gap.from === gap.to) this.#gaps.splice(this.#gaps.indexOf(gap), 1);
    this.#live.add(buffer);
    this.#liveBytes += span;
    return buffer;
  }

  /** To be called whenever bytes of `buffer` change. */
  changed(buffer: WasmBuffer): void {
    buffer.version = ++this.#versions;
  }

  /** Harmless for a buffer that is freed already. */
  free(buffer: WasmBuffer): void {
    if (!this.#live.delete(buffer)) return;
    const { address: from, span } = buffer;
    this.#liveBytes -= span;
    // The gap behind it, by halving.
    let at = 0;
    for (let end = this.#gaps.length; at < end;) {
      const middle = (at + end) >>> 1;
      if (this.#gaps[middle].from < from) at = middle + 1;
      else end = middle;
    }
    const to = from + span;
    const before = this.#gaps[at - 1]?.to === from ? this.#gaps[at - 1] : null;
    const behind = this.#gaps[at]?.from === to ? this.#gaps[at] : null;
    if (before !== null) before.to = behind?.to ?? to;
    else if (behind !== null) behind.from = from;
    if (before !== null && behind !== null) this.#gaps.splice(at, 1);
    else if (before === null && behind === null) this.#gaps.splice(at, 0, { from, to });
  }

  #grow(span: number): void {
    const now = this.#memory.buffer.byteLength;
    const last = this.#gaps[this.#gaps.length - 1];
    const tail = last !== undefined && last.to === now ? last : { from: now, to: now };
    const need = tail.from + span - now;
    // A quarter more than needed, so that many small tensors do not grow the memory one by one.
    const wanted = Math.min(Math.max(need, Math.ceil(now / 4)), this.#most - now);
    const fail = (): never => {
      const { buffers, bytes } = this.live;
      // What the whole memory could not hold, no waiting helps.
      const Kind = span > this.#most ? BackendError : OutOfMemoryError;
      throw new Kind(
        `wasm: out of memory: ${span} bytes wanted, ${bytes} in use in ${buffers} buffers, the memory ends at ${this.#most}; use a ` +
          "smaller batch or model, or dispose() of tensors",
      );
    };
    if (need > this.#most - now) fail();
    try {
      this.#memory.grow(Math.ceil(wanted / PAGE));
    } catch {
      fail();
    }
    tail.to = this.#memory.buffer.byteLength;
    if (tail !== last) this.#gaps.push(tail);
  }
}

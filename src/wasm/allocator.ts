/** @file First-fit allocation in linear memory with a sorted list of gaps, merged when freed. Grows the memory in steps. */
import type { DeviceBuffer } from "../backend.ts";
import { BackendError } from "../errors.ts";

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
  #gaps: { from: number; to: number }[];
  #live = new Set<WasmBuffer>();
  #versions = 0;

  constructor(memory: WebAssembly.Memory, from: number, mostPages: number) {
    this.#memory = memory;
    this.#most = mostPages * PAGE;
    this.#gaps = [{ from: Math.ceil(from / ALIGN) * ALIGN, to: memory.buffer.byteLength }];
  }

  /** Buffers in use and their bytes. */
  get live(): { buffers: number; bytes: number } {
    let bytes = 0;
    for (const b of this.#live) bytes += b.span;
    return { buffers: this.#live.size, bytes };
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
    return buffer;
  }

  /** To be called whenever bytes of `buffer` change. */
  changed(buffer: WasmBuffer): void {
    buffer.version = ++this.#versions;
  }

  /** Harmless for a buffer that is freed already. */
  free(buffer: WasmBuffer): void {
    if (!this.#live.delete(buffer)) return;
    const gaps = [...this.#gaps, { from: buffer.address, to: buffer.address + buffer.span }].sort((a, b) => a.from - b.from);
    this.#gaps = [];
    for (const gap of gaps) {
      const last = this.#gaps.at(-1);
      if (last?.to === gap.from) last.to = gap.to;
      else this.#gaps.push(gap);
    }
  }

  #grow(span: number): void {
    const now = this.#memory.buffer.byteLength;
    const last = this.#gaps[this.#gaps.length - 1];
    const tail = last !== undefined && last.to === now ? last : { from: now, to: now };
    const need = tail.from + span - now;
    // A quarter more than needed, so that many small tensors do not grow the memory one by one.
    const wanted = Math.min(Math.max(need, Math.ceil(now / 4)), this.#most - now);
    const fail = (): never => {
      throw new BackendError(`wasm: out of memory: ${span} bytes wanted, ${this.live.bytes} in use, the memory ends at ${this.#most}; use a smaller batch or model, or dispose() of tensors`);
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

/**
 * @file Device memory: storage buffers that are kept for the next tensor of their size when they are freed, and staging buffers for
 * reading.
 */
import type { DeviceBuffer } from "../backend.ts";
import { BackendError } from "../errors.ts";

// GPUBufferUsage, which runtimes without a global WebGPU do not have.
const MAP_READ = 0x1;
const COPY_SRC = 0x4;
const COPY_DST = 0x8;
const STORAGE = 0x80;

/** Bytes of freed buffers that are kept, and how many: drivers give the smallest 64 KB. */
const MOST_KEPT = 256 * 2 ** 20;
const MOST_KEPT_BUFFERS = 512;
/** Bytes of staging buffers that are kept. */
const MOST_STAGING = 64 * 2 ** 20;
/** Sizes are whole vec4, so that any tensor can be bound as such. */
const GRAIN = 16;

/** A GPU buffer that outlives the tensors in it; `id` stands for it in the keys of bind groups. */
interface Memory {
  readonly id: number;
  readonly buffer: GPUBuffer;
  readonly bytes: number;
}

/** Bytes of one tensor or temporary. */
export class GpuMemory implements DeviceBuffer {
  readonly bytes: number;
  /** Null once freed. */
  memory: Memory | null;

  constructor(bytes: number, memory: Memory) {
    this.bytes = bytes;
    this.memory = memory;
  }
}

const rounded = (bytes: number): number => Math.max(GRAIN, Math.ceil(bytes / GRAIN) * GRAIN);

export class Buffers {
  readonly #device: GPUDevice;
  readonly #maxBytes: number;
  readonly #beforeDestroying: () => void;
  /** Freed buffers by size, and all of them in the order in which they were freed. */
  readonly #free = new Map<number, Memory[]>();
  readonly #freed = new Set<Memory>();
  #kept = 0;
  #staging: GPUBuffer[] = [];
  #stagingBytes = 0;
  #lastId = 0;
  #live = 0;
  #liveBytes = 0;

  /** @param beforeDestroying has what still uses buffers submitted */
  constructor(device: GPUDevice, maxBytes: number, beforeDestroying: () => void) {
    this.#device = device;
    this.#maxBytes = maxBytes;
    this.#beforeDestroying = beforeDestroying;
  }

  /** Buffers in use and their bytes. */
  get live(): { buffers: number; bytes: number } {
    return { buffers: this.#live, bytes: this.#liveBytes };
  }

  /** @throws BackendError when one buffer cannot be so large. */
  alloc(bytes: number): GpuMemory {
    const size = rounded(bytes);
    if (size > this.#maxBytes)
      throw new BackendError(
        `webgpu: a tensor of ${bytes} bytes does not fit: this adapter binds at most ${this.#maxBytes} bytes at once; use a smaller batch`,
      );
    let memory = this.#free.get(size)?.pop();
    if (memory === undefined) {
      const buffer = this.#device.createBuffer({ size, usage: STORAGE | COPY_SRC | COPY_DST });
      memory = { id: ++this.#lastId, buffer, bytes: size };
    } else {
      this.#take(memory);
    }
    this.#live++;
    this.#liveBytes += size;
    return new GpuMemory(bytes, memory);
  }

  /** Work enqueued before may still use the buffer: what comes later is ordered behind it. Harmless when repeated. */
  free(handle: GpuMemory): void {
    const { memory } = handle;
    if (memory === null) return;
    handle.memory = null;
    this.#live--;
    this.#liveBytes -= memory.bytes;
    this.#kept += memory.bytes;
    this.#freed.add(memory);
    const list = this.#free.get(memory.bytes);
    if (list === undefined) this.#free.set(memory.bytes, [memory]);
    else list.push(memory);
    this.trim(MOST_KEPT, MOST_KEPT_BUFFERS);
  }

  /** Destroys freed buffers, those first that were freed first, down to so many bytes and buffers. Default: all. */
  trim(bytes = 0, buffers = 0): void {
    if (this.#kept <= bytes && this.#freed.size <= buffers) return;
    this.#beforeDestroying();
    for (const memory of this.#freed) {
      if (this.#kept <= bytes && this.#freed.size <= buffers) return;
      // The first of its size, since it was freed before the others.
      this.#free.get(memory.bytes)?.shift();
      this.#take(memory);
      memory.buffer.destroy();
    }
  }

  /** Forgets a freed buffer that has left the list of its size. */
  #take(memory: Memory): void {
    this.#kept -= memory.bytes;
    this.#freed.delete(memory);
    if (this.#free.get(memory.bytes)?.length === 0) this.#free.delete(memory.bytes);
  }

  /** A mappable buffer of at least `bytes`. */
  takeStaging(bytes: number): GPUBuffer {
    const at = this.#staging.findIndex((b) => b.size >= bytes && b.size <= Math.max(4096, 4 * bytes));
    if (at < 0) return this.#device.createBuffer({ size: Math.max(256, 2 ** Math.ceil(Math.log2(bytes))), usage: MAP_READ | COPY_DST });
    const [buffer] = this.#staging.splice(at, 1);
    this.#stagingBytes -= buffer.size;
    return buffer;
  }

  giveStaging(buffer: GPUBuffer): void {
    if (this.#stagingBytes + buffer.size > MOST_STAGING) {
      buffer.destroy();
      return;
    }
    this.#staging.push(buffer);
    this.#stagingBytes += buffer.size;
  }
}

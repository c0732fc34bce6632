/** @file The backend itself: one linear memory, programs in it, and the threads that run them. */
import type { Backend, DeviceBuffer, Limits, Program } from "../backend.ts";
import { once } from "../cache.ts";
import { BackendError, internal } from "../errors.ts";
import { packOffsets } from "../plan/memory.ts";
import type { Plan } from "../plan/plan.ts";
import { slotBytes } from "../plan/plan.ts";
import { bringHome } from "../tensor.ts";
import { Allocator } from "./allocator.ts";
import type { WasmBuffer } from "./allocator.ts";
import { encode, forgetTaken, kernelOf, link, walk } from "./commands.ts";
import type { KernelInstance } from "./instance.ts";
import type { Kernels } from "./load.ts";
import { SCRATCH_BYTES } from "./opcodes.ts";
import type { Pool, PoolOptions } from "./pool.ts";
import { Preparations } from "./prepared.ts";
import type { Prepared } from "./prepared.ts";
import { WasmProgram } from "./program.ts";
import { Queue } from "./queue.ts";
import type { Arrangement, WorkerSource } from "./threads.ts";
import type { Walk } from "./writer.ts";

/** What a WASM backend has beyond `Backend`. */
export interface WasmBackend extends Backend {
  /** Which build of the kernels runs. */
  readonly simd: "plain" | "relaxed";
  /** Threads that large programs are to use: what was asked for, which need not be what there is. */
  readonly threads: number;
  /** Threads that the next large program will use: 1 until the workers have started, and where they cannot. */
  readonly activeThreads: number;
  /**
   * Why that stays 1 although more were asked for (no cross-origin isolation, workers blocked or not found), or null. Written to the
   * console once, unless threads is `auto` and there can be none.
   */
  readonly threadsProblem: string | null;
  /** Resolves when the workers have started, for programs large enough that are compiled already; useful before timing. */
  warm(): Promise<void>;
  /** Bytes of linear memory, and buffers in use with their bytes. */
  memory(): { linear: number; buffers: number; bytes: number };
}

/** Bytes of a page of WebAssembly's memory. */
export const PAGE = 65536;
/** Nothing lives below this address: a null operand can never be a real one. */
const FIRST_ADDRESS = 1024;

/**
 * Bytes that what is made of a program's weights may take, and the part of the memory that is left when it is compiled: models of hundreds
 * of megabytes are not to take twice that. What is made anew in each run costs products of 64 rows a tenth, those of 256 rows 3 %.
 */
const MOST_KEPT = 1 << 26;
const KEPT_PART = 1 / 4;

/** Where `bytes` bytes at `offset` are. */
function addressOf(what: string, buffer: DeviceBuffer, offset: number, bytes: number): number {
  if (offset < 0 || offset + bytes > buffer.bytes) throw internal(`${what} of ${bytes} bytes at ${offset} of a buffer of ${buffer.bytes}`);
  return (buffer as WasmBuffer).address + offset;
}

/** @internal The backend. */
export class LinearBackend implements WasmBackend {
  readonly name = "wasm";
  readonly simd: "plain" | "relaxed";
  readonly limits: Limits;
  readonly threads: number;
  readonly #memory: WebAssembly.Memory;
  readonly #allocator: Allocator;
  readonly #kernels: KernelInstance;
  readonly #scratch: WasmBuffer;
  readonly #preparations: Preparations;
  readonly #poolOptions: PoolOptions | null;
  #pool: Pool | null = null;
  /** Until the pool is there. */
  #loading: Promise<void> | null = null;
  #problem: string | null;
  /** Where the calling thread does not wait in `run`. */
  readonly #queue: Queue | null;
  /** Goes through lists; that of loops once there are some. */
  #walk: Walk = walk;
  #bytes: Uint8Array;
  #words: Uint32Array;
  #closed = false;
  #failure: Error | null = null;

  constructor(
    { simd }: Kernels,
    kernels: KernelInstance,
    memory: WebAssembly.Memory,
    maxBytes: number,
    { threads, workers, queued, problem }: Arrangement,
    source: WorkerSource | undefined,
  ) {
    this.simd = simd;
    this.threads = threads;
    this.#problem = problem;
    this.limits = { alignment: 64, maxBytes, pack: packOffsets, hostMemory: true, asynchronous: queued, maxOperands: 24, maxSteps: 96 };
    this.#memory = memory;
    this.#kernels = kernels;
    this.#allocator = new Allocator(memory, FIRST_ADDRESS, Math.floor(maxBytes / PAGE));
    this.#preparations = new Preparations(this.#allocator);
    this.#scratch = this.#allocator.alloc(SCRATCH_BYTES);
    const alloc = (bytes: number): number => this.#allocator.alloc(bytes).address;
    this.#poolOptions = workers > 0 ? { threads, workers, modules: kernels.modules, memory, source, alloc } : null;
    this.#bytes = new Uint8Array(memory.buffer);
    this.#words = new Uint32Array(memory.buffer);
    const words = (): Uint32Array => {
      this.#views();
      return this.#words;
    };
    this.#queue = !queued
      ? null
      : new Queue({
          bytes: () => this.#views(),
          words,
          walk: (list, end) => this.#walk(words, list, end),
          run: (list, end) => this.#runWith(null, list, end),
          failed: () => this.#preparations.forget(),
          piece: (command, piece) => kernels.exports.piece(command, piece, this.#scratch.address),
          alloc: (bytes) => this.#allocator.alloc(bytes),
          free: (buffer) => this.#allocator.free(buffer),
        });
  }

  get closed(): boolean {
    return this.#closed;
  }

  get activeThreads(): number {
    return this.#pool?.ready ? this.threads : 1;
  }

  get threadsProblem(): string | null {
    return this.#pool?.problem ?? this.#problem;
  }

  memory(): { linear: number; buffers: number; bytes: number } {
    return { linear: this.#memory.buffer.byteLength, ...this.#allocator.live };
  }

  alloc(bytes: number): DeviceBuffer {
    this.#open("alloc");
    return this.#allocator.alloc(bytes);
  }

  free(buffer: DeviceBuffer): void {
    if (!this.#closed) this.#allocator.free(buffer as WasmBuffer);
  }

  write(buffer: DeviceBuffer, offset: number, data: ArrayBufferView): void {
    this.#open("write");
    this.#allocator.changed(buffer as WasmBuffer);
    this.#put(addressOf("write", buffer, offset, data.byteLength), new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }

  async read(buffer: DeviceBuffer, offset: number, bytes: number): Promise<ArrayBuffer> {
    this.#open("read");
    const from = addressOf("read", buffer, offset, bytes);
    if (this.#queue !== null) return this.#queue.read(from, bytes);
    // A copy in memory of its own: the linear memory may be shared.
    return this.#views().slice(from, from + bytes).buffer as ArrayBuffer;
  }

  async compile(plan: Plan): Promise<Program> {
    this.#open("compile");
    const encoded = encode(plan, Math.min(MOST_KEPT, (this.limits.maxBytes - this.#allocator.live.bytes) * KEPT_PART));
    await this.#kernels.need(
      Object.keys(plan.kernels).flatMap((name) => kernelOf(plan, name).part ?? []),
      () => void (this.#queue?.renew() ?? this.#pool?.renew()),
    );
    this.#open("compile");
    const need = slotBytes(plan) + encoded.sharedBytes;
    if (need > this.limits.maxBytes)
      throw new BackendError(
        `wasm: the program needs ${need} bytes of working memory, the limit is ${this.limits.maxBytes}; use a smaller batch`,
      );
    const held: WasmBuffer[] = [];
    const take = (bytes: number): WasmBuffer => {
      const b = this.#allocator.alloc(bytes);
      held.push(b);
      return b;
    };
    const prepared: Prepared[] = [];
    const release = (): void => {
      held.splice(0).forEach((b) => this.#allocator.free(b));
      prepared.splice(0).forEach((p) => this.#preparations.leave(p));
    };
    try {
      const slots = plan.slots.map((bytes) => take(bytes).address);
      const list = link(encoded, plan.bindings.length, slots, encoded.sharedBytes > 0 ? take(encoded.sharedBytes).address : 0);
      this.#walk = list.walk ?? this.#walk;
      const code = take(Math.max(4, list.words.byteLength));
      this.#put(code.address, new Uint8Array(list.words.buffer));
      const made = new WasmProgram(plan, list, code, encoded, prepared, take, release);
      if (made.large || (made.long && this.#queue !== null)) void this.warm();
      return made;
    } catch (error) {
      release();
      throw error;
    }
  }

  run(program: Program, buffers: readonly DeviceBuffer[]): void {
    this.#open("run");
    if (!(program instanceof WasmProgram)) throw internal("run: a program of another backend");
    const { plan, list, code, bound, kept, prepared, written } = program;
    if (buffers.length !== plan.bindings.length) throw internal(`run: ${buffers.length} buffers for ${plan.bindings.length} bindings`);
    let changed = false;
    for (let i = 0; i < buffers.length; i++) {
      const { address, bytes } = buffers[i] as WasmBuffer;
      if (bound[i] === address) continue;
      if (bytes < plan.bindings[i].bytes)
        throw internal(`run: binding ${i} needs ${plan.bindings[i].bytes} bytes, its buffer has ${bytes}`);
      bound[i] = address;
      changed = true;
    }
    const end = code.address + list.words.byteLength;
    try {
      if (changed) {
        this.#separate(program);
        kept.forEach((k, i) => {
          const before = prepared[i] as Prepared | undefined;
          prepared[i] = this.#preparations.take(bound[k.binding], k);
          if (before !== undefined) this.#preparations.leave(before);
          bound[buffers.length + i] = prepared[i].memory.address;
        });
      }
      // Entries of the queue take effect in the order of these calls, so versions can be compared and counted on here.
      let from = code.address + 4 * list.prologue;
      for (let i = 0; i < kept.length; i++) {
        const { version } = buffers[kept[i].binding] as WasmBuffer;
        if (prepared[i].version === version) continue;
        prepared[i].version = version;
        from = code.address;
      }
      for (let i = 0; i < written.length; i++) this.#allocator.changed(buffers[written[i]] as WasmBuffer);
      if (this.#queue !== null) {
        const patches = changed
          ? Uint32Array.from(list.patches.flatMap((p) => [code.address + 4 * p.word, bound[p.binding] + p.offset]))
          : null;
        this.#queue.run({ list: from, end, patches, shared: program.large, long: program.long });
        return;
      }
      if (changed) {
        this.#views();
        const base = code.address >>> 2;
        for (const p of list.patches) this.#words[base + p.word] = bound[p.binding] + p.offset;
      }
      this.#runWith(program.large && this.#pool?.ready ? this.#pool : null, from, end);
    } catch (error) {
      // Neither patches nor prologue need have taken effect.
      bound.fill(-1);
      this.#preparations.forget();
      this.#views();
      if (this.#queue === null)
        forgetTaken(
          this.#words,
          this.#walk(() => this.#words, code.address, end),
        );
      throw error;
    }
  }

  /**
   * One buffer cannot be read by one binding and written by another: such readers get a copy. That has an address of its own, so that the
   * next run comes here too.
   */
  #separate({ plan: { bindings }, bound, written, shadows, take }: WasmProgram): void {
    if (written.length === 0) return;
    const targets = new Set(written.map((i) => bound[i]));
    bindings.forEach((b, i) => {
      if (b.written || !targets.has(bound[i])) return;
      const shadow = once(shadows, i, () => take(b.bytes));
      this.#copy(bound[i], shadow.address, b.bytes);
      bound[i] = shadow.address;
    });
  }

  async sync(): Promise<void> {
    const failure = this.#failure;
    this.#failure = null;
    if (failure !== null) throw failure;
    await this.#queue?.settled();
  }

  async caughtUp(): Promise<void> {
    await this.#queue?.caughtUp();
  }

  async warm(): Promise<void> {
    const options = this.#poolOptions;
    if (options === null) return;
    // A file of its own: most pages are not cross-origin isolated and have no threads, and small models need none.
    this.#loading ??= import("./pool.ts").then(
      ({ Pool }) => {
        if (this.#closed) return;
        this.#pool = new Pool(options);
        this.#queue?.join(this.#pool);
      },
      (error: Error) => {
        this.#problem = error.message;
        console.warn(`lockstep: wasm: one thread does all: what starts workers could not be loaded: ${error.message}`);
      },
    );
    await this.#loading;
    await this.#pool?.start();
  }

  close(): void {
    if (this.#closed) return;
    // Copied at once, unless runs are still under way: what they would have made is gone, which those who ask for it are told.
    void bringHome(this);
    this.#queue?.close();
    this.#pool?.close();
    this.#closed = true;
  }

  /** Runs a list on this thread, as thread 0 of the pool's or alone. @throws BackendError when a kernel or another thread stopped. */
  #runWith(pool: Pool | null, list: number, end: number): void {
    let finished = 0;
    let cause: unknown = null;
    try {
      pool?.hand(list, end);
      finished = this.#kernels.exports.run(list, end, 0, pool?.threads ?? 1, this.#scratch.address, pool?.sync ?? 0);
    } catch (error) {
      cause = error;
    }
    if (finished !== 0) return;
    pool?.reset();
    this.#failure = new BackendError(
      cause === null
        ? "wasm: a worker stopped in the middle of a run; the next large program starts new workers"
        : `wasm: a kernel stopped: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
    throw this.#failure;
  }

  /** Puts bytes at an address, after everything that runs. */
  #put(address: number, bytes: Uint8Array): void {
    if (this.#queue === null) this.#views().set(bytes, address);
    else this.#queue.write(address, bytes);
  }

  /** Copies bytes, after everything that runs. */
  #copy(from: number, to: number, length: number): void {
    if (this.#queue === null) this.#views().copyWithin(to, from, from + length);
    else this.#queue.copy(from, to, length);
  }

  #open(what: string): void {
    if (this.#closed) throw new BackendError(`wasm: ${what} after close()`);
  }

  /** Views are dead once the memory has grown. */
  #views(): Uint8Array {
    if (this.#bytes.buffer !== this.#memory.buffer) {
      this.#bytes = new Uint8Array(this.#memory.buffer);
      this.#words = new Uint32Array(this.#memory.buffer);
    }
    return this.#bytes;
  }
}

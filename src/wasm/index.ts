/** @file The WASM backend: plans become command lists in one linear memory, run by AssemblyScript kernels. */
import type { Backend, DeviceBuffer, Limits, Program } from "../backend.ts";
import { ArgumentError, BackendError, internal } from "../errors.ts";
import type { Plan } from "../plan/plan.ts";
import { slotBytes } from "../plan/plan.ts";
import { Allocator } from "./allocator.ts";
import type { WasmBuffer } from "./allocator.ts";
import { encode, link } from "./commands.ts";
import type { CommandList } from "./commands.ts";
import { loadKernels } from "./load.ts";
import type { KernelSource } from "./load.ts";
import { HEADER_WORDS, SCRATCH_BYTES, SYNC_BYTES } from "./opcodes.ts";
import { mayBlock, Pool } from "./pool.ts";

export interface WasmOptions {
  /** Plain SIMD only, so that results are the same bits in every runtime and on every machine. Default false: relaxed SIMD (fused multiply-add) where there is any. */
  readonly reproducible?: boolean;
  /** Most bytes of linear memory. Default and limit: 4 GiB. */
  readonly maxBytes?: number;
  /**
   * Threads that share a program's work; `auto`: one for each core, at most 8. Workers start with the first program that is large enough.
   * Results are the same bits for any number. One thread where the runtime has no shared memory and on a page's main thread, which may not wait. Default auto.
   */
  readonly threads?: "auto" | number;
  /**
   * The kernels, in place of those in the package: `new URL("lockstep/relaxed.wasm", ...)`, `fetch(...)`, bytes or, where compiling is forbidden, a compiled module,
   * which runs on one thread. Default: the kernels in the package, of which only the build that this engine takes is loaded.
   */
  readonly module?: KernelSource;
}

/** What a WASM backend has beyond `Backend`. */
export interface WasmBackend extends Backend {
  /** Which build of the kernels runs. */
  readonly simd: "plain" | "relaxed";
  /** Threads that large programs use once the workers have started. */
  readonly threads: number;
  /** Resolves when the workers have started, for programs large enough that are compiled already; useful before timing. */
  warm(): Promise<void>;
  /** Bytes of linear memory, and buffers in use with their bytes. */
  memory(): { linear: number; buffers: number; bytes: number };
}

const PAGE = 65536;
const MAX_PAGES = 65536;
/** Nothing lives below this address: a null operand can never be a real one. */
const FIRST_ADDRESS = 1024;

const MOST_THREADS = 64;
const MOST_AUTO_THREADS = 8;
/** Programs with fewer multiply-adds to share than this (some 70 us) are done before a worker has woken up. */
const LEAST_WORK = 2e6;

interface Exports {
  /** 0 when the run was aborted. */
  run(list: number, end: number, thread: number, threads: number, scratch: number, sync: number): number;
}

/** A module with one `f32x4.relaxed_madd`: valid only where the engine has relaxed SIMD. */
const RELAXED_PROBE = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 6, 1, 96, 1, 123, 1, 123, 3, 2, 1, 0, 10, 13, 1, 11, 0, 32, 0, 32, 0, 32, 0, 253, 133, 2, 11);
/** A module with one `i32x4.splat`. */
const SIMD_PROBE = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 17, 11);

/** Cores that this process may use. Node 20 has no navigator. */
async function cores(): Promise<number> {
  const { navigator, process } = globalThis as { navigator?: { hardwareConcurrency?: number }; process?: { versions?: { node?: string } } };
  if (navigator?.hardwareConcurrency !== undefined) return navigator.hardwareConcurrency;
  return process?.versions?.node === undefined ? 1 : (await import("node:os")).availableParallelism();
}

/** How many threads make sense here. */
async function threadsFor(wanted: "auto" | number): Promise<number> {
  if (wanted !== "auto" && (!Number.isInteger(wanted) || wanted < 1 || wanted > MOST_THREADS)) throw new ArgumentError(`open: threads must be "auto" or an integer from 1 to ${MOST_THREADS}, got ${String(wanted)}`);
  const { crossOriginIsolated } = globalThis as { crossOriginIsolated?: boolean };
  if (!mayBlock() || crossOriginIsolated === false || typeof SharedArrayBuffer === "undefined") return 1;
  return wanted === "auto" ? Math.min(await cores(), MOST_AUTO_THREADS) : wanted;
}

class WasmProgram implements Program {
  readonly plan: Plan;
  readonly list: CommandList;
  readonly code: WasmBuffer;
  /** Worth sharing among threads. */
  readonly large: boolean;
  /** Addresses the list was last patched with. */
  readonly bound: Int32Array;
  readonly #release: () => void;

  constructor(plan: Plan, list: CommandList, code: WasmBuffer, large: boolean, release: () => void) {
    this.plan = plan;
    this.list = list;
    this.code = code;
    this.large = large;
    this.bound = new Int32Array(plan.bindings.length).fill(-1);
    this.#release = release;
  }

  close(): void {
    this.#release();
  }
}

class LinearBackend implements WasmBackend {
  readonly name = "wasm";
  readonly simd: "plain" | "relaxed";
  readonly limits: Limits;
  readonly threads: number;
  readonly #memory: WebAssembly.Memory;
  readonly #allocator: Allocator;
  readonly #exports: Exports;
  readonly #scratch: WasmBuffer;
  readonly #sync: WasmBuffer;
  readonly #pool: Pool | null;
  #bytes: Uint8Array;
  #words: Uint32Array;
  #closed = false;
  #failure: Error | null = null;

  constructor(simd: "plain" | "relaxed", module: WebAssembly.Module, memory: WebAssembly.Memory, exports: Exports, maxBytes: number, threads: number) {
    this.simd = simd;
    this.#memory = memory;
    this.#exports = exports;
    this.#allocator = new Allocator(memory, FIRST_ADDRESS, Math.floor(maxBytes / PAGE));
    this.#scratch = this.#allocator.alloc(SCRATCH_BYTES);
    this.#sync = this.#allocator.alloc(SYNC_BYTES);
    new Uint8Array(memory.buffer, this.#sync.address, SYNC_BYTES).fill(0);
    this.threads = threads;
    const scratches = new Map<number, number>();
    const scratchOf = (thread: number): number => {
      const found = scratches.get(thread) ?? this.#allocator.alloc(SCRATCH_BYTES).address;
      scratches.set(thread, found);
      return found;
    };
    this.#pool = threads > 1 ? new Pool(threads, { module, memory, sync: this.#sync.address }, scratchOf, () => new Int32Array(memory.buffer)) : null;
    this.#bytes = new Uint8Array(memory.buffer);
    this.#words = new Uint32Array(memory.buffer);
    this.limits = { alignment: 64, maxBytes, oneMemory: true, hostMemory: true, maxOperands: 24, maxSteps: 96 };
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
    if (offset < 0 || offset + data.byteLength > buffer.bytes) throw internal(`write of ${data.byteLength} bytes at ${offset} into a buffer of ${buffer.bytes}`);
    this.#views().set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), (buffer as WasmBuffer).address + offset);
  }

  async read(buffer: DeviceBuffer, offset: number, bytes: number): Promise<ArrayBuffer> {
    this.#open("read");
    if (offset < 0 || offset + bytes > buffer.bytes) throw internal(`read of ${bytes} bytes at ${offset} from a buffer of ${buffer.bytes}`);
    const from = (buffer as WasmBuffer).address + offset;
    // A copy in memory of its own: the linear memory may be shared.
    return this.#views().slice(from, from + bytes).buffer as ArrayBuffer;
  }

  async compile(plan: Plan): Promise<Program> {
    this.#open("compile");
    const encoded = encode(plan);
    const need = slotBytes(plan) + encoded.sharedBytes;
    if (need > this.limits.maxBytes) throw new BackendError(`wasm: the program needs ${need} bytes of working memory, the limit is ${this.limits.maxBytes}; use a smaller batch`);
    const held: WasmBuffer[] = [];
    const take = (bytes: number): WasmBuffer => {
      const b = this.#allocator.alloc(bytes);
      held.push(b);
      return b;
    };
    const release = (): void => held.splice(0).forEach((b) => this.#allocator.free(b));
    try {
      const slots = plan.slots.map((bytes) => take(bytes).address);
      const list = link(encoded, slots, encoded.sharedBytes > 0 ? take(encoded.sharedBytes).address : 0);
      const code = take(Math.max(4, list.words.byteLength));
      this.#views().set(new Uint8Array(list.words.buffer), code.address);
      if (encoded.work >= LEAST_WORK) this.#pool?.start().catch(() => {});
      return new WasmProgram(plan, list, code, encoded.work >= LEAST_WORK, release);
    } catch (error) {
      release();
      throw error;
    }
  }

  run(program: Program, buffers: readonly DeviceBuffer[]): void {
    this.#open("run");
    if (!(program instanceof WasmProgram)) throw internal("run: a program of another backend");
    const { plan, list, code, bound } = program;
    if (buffers.length !== plan.bindings.length) throw internal(`run: ${buffers.length} buffers for ${plan.bindings.length} bindings`);
    let changed = false;
    for (let i = 0; i < buffers.length; i++) {
      const { address, bytes } = buffers[i] as WasmBuffer;
      if (bound[i] === address) continue;
      if (bytes < plan.bindings[i].bytes) throw internal(`run: binding ${i} needs ${plan.bindings[i].bytes} bytes, its buffer has ${bytes}`);
      bound[i] = address;
      changed = true;
    }
    if (changed) {
      this.#views();
      const base = code.address >>> 2;
      for (const p of list.patches) this.#words[base + p.word] = bound[p.binding] + p.offset;
    }
    const end = code.address + list.words.byteLength;
    const pool = program.large && this.#pool?.ready ? this.#pool : null;
    let finished = 0;
    let cause: unknown = null;
    try {
      pool?.hand(code.address, end);
      finished = this.#exports.run(code.address, end, 0, pool?.threads ?? 1, this.#scratch.address, this.#sync.address);
    } catch (error) {
      cause = error;
    }
    if (finished !== 0) return;
    pool?.reset();
    // The list as it was: threads count in it, and patches are due again.
    this.#views().set(new Uint8Array(list.words.buffer), code.address);
    bound.fill(-1);
    this.#failure = new BackendError(cause === null ? "wasm: a worker stopped in the middle of a run; the pool starts anew with the next program" : `wasm: a kernel stopped: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    throw this.#failure;
  }

  async sync(): Promise<void> {
    const failure = this.#failure;
    this.#failure = null;
    if (failure !== null) throw failure;
  }

  async warm(): Promise<void> {
    await this.#pool?.start();
  }

  close(): void {
    if (!this.#closed) this.#pool?.close();
    this.#closed = true;
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

/** Opens a WASM backend. @throws BackendError where WebAssembly SIMD is missing or `module` is not Lockstep's, ArgumentError for options out of range. */
export async function openWasm({ reproducible = false, maxBytes = MAX_PAGES * PAGE, threads = "auto", module: source }: WasmOptions = {}): Promise<WasmBackend> {
  if (!(maxBytes >= 4 * 2 ** 20 && maxBytes <= MAX_PAGES * PAGE)) throw new ArgumentError(`open: maxBytes must be between 4 MiB and 4 GiB, got ${maxBytes}`);
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(SIMD_PROBE)) {
    throw new BackendError("wasm: this runtime has no WebAssembly SIMD; it needs Chrome 91, Firefox 89, Safari 16.4, Node 16.4 or newer");
  }
  const wanted = await threadsFor(threads);
  const { module, simd, shared } = await loadKernels(source, WebAssembly.validate(RELAXED_PROBE), reproducible, wanted > 1);
  const memory = new WebAssembly.Memory({ initial: Math.ceil((SCRATCH_BYTES + PAGE) / PAGE) + 1, maximum: Math.floor(maxBytes / PAGE), shared });
  const instance = await WebAssembly.instantiate(module, { env: { memory } });
  return new LinearBackend(simd, module, memory, instance.exports as unknown as Exports, maxBytes, shared ? wanted : 1);
}

/** Words of a command before its arguments; for tools that read command lists. */
export const COMMAND_HEADER_WORDS = HEADER_WORDS;

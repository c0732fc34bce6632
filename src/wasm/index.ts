/** @file The WASM backend: plans become command lists in one linear memory, run by AssemblyScript kernels. */
import { plain, relaxed } from "#kernels";
import type { Backend, DeviceBuffer, Limits, Program } from "../backend.ts";
import { ArgumentError, BackendError, internal } from "../errors.ts";
import type { Plan } from "../plan/plan.ts";
import { slotBytes } from "../plan/plan.ts";
import { Allocator } from "./allocator.ts";
import type { WasmBuffer } from "./allocator.ts";
import { encode, link } from "./commands.ts";
import type { CommandList } from "./commands.ts";
import { HEADER_WORDS, SCRATCH_BYTES } from "./opcodes.ts";

export interface WasmOptions {
  /** Plain SIMD only, so that results are the same bits in every runtime and on every machine. Default false: relaxed SIMD (fused multiply-add) where there is any. */
  readonly reproducible?: boolean;
  /** Most bytes of linear memory. Default and limit: 4 GiB. */
  readonly maxBytes?: number;
}

/** What a WASM backend has beyond `Backend`. */
export interface WasmBackend extends Backend {
  /** Which build of the kernels runs. */
  readonly simd: "plain" | "relaxed";
  /** Bytes of linear memory, and buffers in use with their bytes. */
  memory(): { linear: number; buffers: number; bytes: number };
}

const PAGE = 65536;
const MAX_PAGES = 65536;
/** Nothing lives below this address: a null operand can never be a real one. */
const FIRST_ADDRESS = 1024;

interface Exports {
  run(list: number, end: number, thread: number, threads: number, scratch: number): void;
}

/** A module with one `f32x4.relaxed_madd`: valid only where the engine has relaxed SIMD. */
const RELAXED_PROBE = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 6, 1, 96, 1, 123, 1, 123, 3, 2, 1, 0, 10, 13, 1, 11, 0, 32, 0, 32, 0, 32, 0, 253, 133, 2, 11);
/** A module with one `i32x4.splat`. */
const SIMD_PROBE = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 17, 11);

const modules = new Map<string, Promise<WebAssembly.Module>>();

function moduleOf(simd: "plain" | "relaxed"): Promise<WebAssembly.Module> {
  let found = modules.get(simd);
  if (found === undefined) {
    const text = atob(simd === "plain" ? plain : relaxed);
    found = WebAssembly.compile(Uint8Array.from(text, (ch) => ch.charCodeAt(0)));
    modules.set(simd, found);
  }
  return found;
}

class WasmProgram implements Program {
  readonly plan: Plan;
  readonly list: CommandList;
  readonly code: WasmBuffer;
  /** Addresses the list was last patched with. */
  readonly bound: Int32Array;
  readonly #release: () => void;

  constructor(plan: Plan, list: CommandList, code: WasmBuffer, release: () => void) {
    this.plan = plan;
    this.list = list;
    this.code = code;
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
  readonly #memory: WebAssembly.Memory;
  readonly #allocator: Allocator;
  readonly #exports: Exports;
  readonly #scratch: WasmBuffer;
  #bytes: Uint8Array;
  #words: Uint32Array;
  #closed = false;
  #failure: Error | null = null;

  constructor(simd: "plain" | "relaxed", memory: WebAssembly.Memory, exports: Exports, maxBytes: number) {
    this.simd = simd;
    this.#memory = memory;
    this.#exports = exports;
    this.#allocator = new Allocator(memory, FIRST_ADDRESS, Math.floor(maxBytes / PAGE));
    this.#scratch = this.#allocator.alloc(SCRATCH_BYTES);
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
    return this.#memory.buffer.slice(from, from + bytes) as ArrayBuffer;
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
      return new WasmProgram(plan, list, code, release);
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
    try {
      this.#exports.run(code.address, code.address + list.words.byteLength, 0, 1, this.#scratch.address);
    } catch (error) {
      this.#failure = new BackendError(`wasm: a kernel stopped: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
      throw this.#failure;
    }
  }

  async sync(): Promise<void> {
    const failure = this.#failure;
    this.#failure = null;
    if (failure !== null) throw failure;
  }

  close(): void {
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

/** Opens a WASM backend. @throws BackendError where WebAssembly SIMD is missing, ArgumentError for options out of range. */
export async function openWasm({ reproducible = false, maxBytes = MAX_PAGES * PAGE }: WasmOptions = {}): Promise<WasmBackend> {
  if (!(maxBytes >= 4 * 2 ** 20 && maxBytes <= MAX_PAGES * PAGE)) throw new ArgumentError(`open: maxBytes must be between 4 MiB and 4 GiB, got ${maxBytes}`);
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(SIMD_PROBE)) {
    throw new BackendError("wasm: this runtime has no WebAssembly SIMD; it needs Chrome 91, Firefox 89, Safari 16.4, Node 16.4 or newer");
  }
  const simd = !reproducible && WebAssembly.validate(RELAXED_PROBE) ? "relaxed" : "plain";
  const memory = new WebAssembly.Memory({ initial: Math.ceil((SCRATCH_BYTES + PAGE) / PAGE) + 1, maximum: Math.floor(maxBytes / PAGE) });
  const instance = await WebAssembly.instantiate(await moduleOf(simd), { env: { memory } });
  return new LinearBackend(simd, memory, instance.exports as unknown as Exports, maxBytes);
}

/** Words of a command before its arguments; for tools that read command lists. */
export const COMMAND_HEADER_WORDS = HEADER_WORDS;

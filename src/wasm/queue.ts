/**
 * @file The queue in front of a linear memory whose owner may not wait: a page's main thread, or any thread with
 * `background: true`. Its contract:
 *
 * - Runs, writes and reads take effect one after another, in the order of the calls. Each is an entry of the queue; when the
 *   queue is empty, writes, reads and programs short enough are done at once, within the call.
 * - While there is an entry, nothing else touches the memory. So buffers may be freed and taken again at any time: what the next
 *   owner writes comes after everything that was ordered before.
 * - Bytes on their way in or out wait in memory of the backend itself, not in messages: 70 KB in a message took Deno 2.9 some 5 ms.
 * - Entries are done by the pool's lead where the workers are ready, which takes them as messages and answers each. Otherwise
 *   (not yet ready, could not start, no threads here) they are done on this thread, a piece of a command at a time, with a
 *   turn for other tasks every few milliseconds.
 * - When a run fails, the runs and reads behind it do too. Writes are made up for, also those to a list of commands: what the
 *   host believes to be in a buffer is there. The first error rejects everybody who waits; where nobody does, the next call throws it.
 */
import { BackendError } from "../errors.ts";
import { Slices } from "../pacing.ts";
import type { WasmBuffer } from "./allocator.ts";
import { forgetTaken } from "./commands.ts";
import type { Pool } from "./pool.ts";
import type { Order, Reply } from "./worker.ts";

/** Milliseconds of work on this thread between two turns of the event loop: half a frame at 60 Hz. */
const SLICE_MS = 8;

/** The memory and the kernels as this thread sees them. */
export interface Machine {
  /** All bytes, and the same as words; valid until the memory grows. */
  bytes(): Uint8Array;
  words(): Uint32Array;
  /** Runs commands on this thread alone. */
  run(list: number, end: number): void;
  /** Where their commands are, as a thread does them. */
  walk(list: number, end: number): Iterable<number>;
  /** One piece of the command at `command`. */
  piece(command: number, piece: number): void;
  /** Called when runs that were ordered have not been done. */
  failed(): void;
  alloc(bytes: number): WasmBuffer;
  free(buffer: WasmBuffer): void;
}

/** A run as the backend asks for it. */
export interface Run {
  readonly list: number;
  readonly end: number;
  /** Addresses and words in turn, or null where nothing changed. */
  readonly patches: Uint32Array | null;
  /** Worth sharing among threads. */
  readonly shared: boolean;
  /** Takes longer than handing it over does. */
  readonly long: boolean;
}

interface Waiter {
  resolve(): void;
  /** Absent: it only waits for the end, and leaves the error to later calls. */
  reject?(error: Error): void;
}

interface Entry {
  readonly order: Order;
  /** For a write: its bytes until it is done. */
  readonly stage: WasmBuffer | null;
  readonly waiters: Waiter[];
}

export class Queue {
  readonly #machine: Machine;
  #pool: Pool | null = null;
  readonly #entries: Entry[] = [];
  readonly #slices = new Slices(SLICE_MS);
  /** This thread is working on the first entry. */
  #local = false;
  /** Waits for the workers to be through, to have new ones. */
  #renewing = false;
  #failure: Error | null = null;
  #closed = false;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** From now on `pool` does the entries, whenever its workers are ready. */
  join(pool: Pool): void {
    this.#pool = pool;
    pool.onReply = ({ failed }: Reply) => {
      if (failed === null) {
        this.#done();
        if (this.#entries.length === 0) pool.rest();
        return;
      }
      pool.reset();
      this.#fail(new BackendError(`wasm: ${failed}; the next large program starts new workers`));
    };
    pool.onDeath = (error) => {
      if (!this.#local) this.#fail(error);
    };
  }

  /**
   * New workers, which have a part of the kernels that the present ones have not: as soon as these have done what they were ordered to.
   * What is pushed from now on waits for that.
   */
  async renew(): Promise<void> {
    const pool = this.#pool;
    if (pool === null || this.#renewing) return;
    if (pool.ready && !this.#local) {
      this.#renewing = true;
      await this.caughtUp();
      this.#renewing = false;
    }
    pool.renew();
    if (!this.#local && this.#entries.length > 0) void this.#work();
  }

  run(run: Run): void {
    this.#throwFailure();
    const { list, end, patches, shared, long } = run;
    if (this.#entries.length === 0 && !long) {
      patch(this.#machine.words(), patches);
      return this.#machine.run(list, end);
    }
    // After a worker's death; where they are ready, starting, or could not start, this does nothing.
    void this.#pool?.start();
    this.#push({ kind: "run", list, end, patches, shared }, null);
  }

  /** `data` is copied. */
  write(address: number, data: Uint8Array): void {
    this.#throwFailure();
    if (this.#entries.length === 0) return this.#machine.bytes().set(data, address);
    const stage = this.#machine.alloc(data.length);
    this.#machine.bytes().set(data, stage.address);
    this.#push({ kind: "copy", from: stage.address, to: address, length: data.length }, stage);
  }

  copy(from: number, to: number, length: number): void {
    this.#throwFailure();
    if (this.#entries.length === 0) this.#machine.bytes().copyWithin(to, from, from + length);
    else this.#push({ kind: "copy", from, to, length }, null);
  }

  async read(address: number, length: number): Promise<ArrayBuffer> {
    this.#throwFailure();
    if (this.#entries.length === 0) return this.#copy(address, length);
    const stage = this.#machine.alloc(length);
    try {
      await this.#wait(this.#push({ kind: "copy", from: address, to: stage.address, length }, null));
      return this.#copy(stage.address, length);
    } finally {
      this.#machine.free(stage);
    }
  }

  /** Resolves when the queue was empty, or everything that is in it now is done. */
  async settled(): Promise<void> {
    this.#throwFailure();
    const last = this.#entries.at(-1);
    if (last !== undefined) await this.#wait(last);
  }

  /** Resolves when everything that is in the queue now is done or has failed. */
  async caughtUp(): Promise<void> {
    const last = this.#entries.at(-1);
    if (last !== undefined) await new Promise<void>((resolve) => last.waiters.push({ resolve }));
  }

  /** Rejects all who wait. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const error = new BackendError("wasm: the backend was closed meanwhile");
    for (const { waiters } of this.#entries.splice(0)) for (const w of waiters) (w.reject ?? w.resolve)(error);
  }

  #wait(entry: Entry): Promise<void> {
    return new Promise((resolve, reject) => entry.waiters.push({ resolve, reject }));
  }

  #push(order: Order, stage: WasmBuffer | null): Entry {
    const entry: Entry = { order, stage, waiters: [] };
    this.#entries.push(entry);
    if (this.#local || this.#renewing) return entry;
    if (this.#pool?.ready) this.#pool.order(order);
    else void this.#work();
    return entry;
  }

  #done(): void {
    const entry = this.#entries.shift();
    if (entry === undefined) return;
    if (entry.stage !== null) this.#machine.free(entry.stage);
    for (const w of entry.waiters) w.resolve();
  }

  #fail(error: Error): void {
    const entries = this.#entries.splice(0);
    this.#machine.failed();
    let heard = false;
    for (const { order, stage, waiters } of entries) {
      if (order.kind === "run") {
        patch(this.#machine.words(), order.patches);
        forgetTaken(this.#machine.words(), this.#machine.walk(order.list, order.end));
      } else if (stage !== null) {
        this.#machine.bytes().copyWithin(order.to, order.from, order.from + order.length);
        this.#machine.free(stage);
      }
      for (const w of waiters) {
        if (w.reject === undefined) w.resolve();
        else {
          heard = true;
          w.reject(error);
        }
      }
    }
    if (entries.length > 0 && !heard) this.#failure = error;
  }

  #throwFailure(): void {
    const failure = this.#failure;
    this.#failure = null;
    if (failure !== null) throw failure;
  }

  #copy(address: number, length: number): ArrayBuffer {
    // In memory of its own: the linear memory may be shared.
    return this.#machine.bytes().slice(address, address + length).buffer as ArrayBuffer;
  }

  /** Does entries on this thread until there are none, or until the workers are ready to. */
  async #work(): Promise<void> {
    this.#local = true;
    try {
      // The caller's own work comes first.
      await null;
      for (let entry = this.#entries[0]; entry !== undefined; entry = this.#entries[0]) {
        if (this.#pool?.ready) {
          for (const { order } of this.#entries) this.#pool.order(order);
          return;
        }
        const { order } = entry;
        if (order.kind === "run") await this.#runInSlices(order);
        else this.#machine.bytes().copyWithin(order.to, order.from, order.from + order.length);
        if (this.#closed) return;
        this.#done();
      }
    } catch (error) {
      this.#fail(new BackendError(`wasm: a kernel stopped: ${error instanceof Error ? error.message : String(error)}`, { cause: error }));
    } finally {
      this.#local = false;
    }
  }

  /** Pieces are independent and commands in order, so any number of turns in between leaves the same bits. */
  async #runInSlices({ list, end, patches }: Order & { kind: "run" }): Promise<void> {
    const machine = this.#machine;
    patch(machine.words(), patches);
    for (const command of machine.walk(list, end)) {
      const pieces = machine.words()[(command >>> 2) + 2];
      for (let piece = 0; piece < pieces; piece++) {
        if (this.#closed) return;
        machine.piece(command, piece);
        if (this.#slices.due) await this.#slices.rest();
      }
    }
  }
}

/** Puts words at addresses; both in turn. */
function patch(words: Uint32Array, patches: Uint32Array | null): void {
  for (let i = 0; patches !== null && i < patches.length; i += 2) words[patches[i] >>> 2] = patches[i + 1];
}

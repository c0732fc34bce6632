/**
 * @file The whole contract between plans and the machines that run them. A backend knows nothing of ops, layers or
 * training: it holds bytes and runs compiled plans. Implementations: src/wasm (linear memory), test/reference
 * (float64, every slot a buffer of its own).
 */
import type { UnplacedCall } from "./plan/fuse.ts";
import type { Pack } from "./plan/memory.ts";
import type { Place, Plan } from "./plan/plan.ts";
import type { Tensor } from "./tensor.ts";

/** Bytes owned by a backend. Only the backend that made it can use it. */
export interface DeviceBuffer {
  readonly bytes: number;
}

/** A plan made ready to run on one backend. */
export interface Program {
  readonly plan: Plan;
  /** Bytes that it holds on its backend. */
  readonly bytes: number;
  /** Gives back what the program holds (commands, temporaries). Running it afterwards is an error. */
  close(): void;
}

/** What a backend can do. */
export interface Limits {
  /** Byte alignment of slot offsets. */
  readonly alignment: number;
  /** Most bytes one slot or buffer may have. */
  readonly maxBytes: number;
  /** Where temporaries go: `packOffsets` where all may share one allocation, `assignSlots` where each slot is a buffer of its own (plan/memory.ts). */
  readonly pack: Pack;
  /** True where reading a result costs no more than a copy, so that results are copied out at once. */
  readonly hostMemory: boolean;
  /** True where run() returns before the work is done: loops must wait now and then (pacing.ts), and reading costs a wait for what is under way. */
  readonly asynchronous: boolean;
  /** Most tensors a fused elementwise call may read and write together. */
  readonly maxOperands: number;
  /** Most steps of a fused elementwise body. */
  readonly maxSteps: number;
  /** The temporaries that are stored as f16. `fixed`: tensors that live in bindings; `firstGradient`: the id of the first node that is not of the forward pass. Absent: none. */
  readonly halves?: (calls: readonly UnplacedCall[], fixed: ReadonlyMap<Tensor, Place>, firstGradient: number) => Set<Tensor>;
}

/** A machine that runs programs: what `open()` resolves to. Users need its `name` and `close()`; the rest is for the library and for backends of other makers. */
export interface Backend {
  readonly name: string;
  readonly limits: Limits;
  /** True after close(), and when the device was lost: models and functions then go on with the default backend. */
  readonly closed: boolean;
  /** @throws BackendError when out of memory, with the numbers. Contents are undefined. */
  alloc(bytes: number): DeviceBuffer;
  /** Gives a buffer back. Does nothing after close(): handles may be collected later. */
  free(buffer: DeviceBuffer): void;
  /** Copies host elements into `buffer` at byte `offset`, ordered with runs. */
  write(buffer: DeviceBuffer, offset: number, data: ArrayBufferView): void;
  /** The bytes `[offset, offset + bytes)` after all runs enqueued so far. */
  read(buffer: DeviceBuffer, offset: number, bytes: number): Promise<ArrayBuffer>;
  /** @throws BackendError when the plan cannot fit, with the numbers, before anything runs. */
  compile(plan: Plan): Promise<Program>;
  /** Enqueues one run; `buffers[i]` is bound to `plan.bindings[i]`. Runs are ordered. */
  run(program: Program, buffers: readonly DeviceBuffer[]): void;
  /** Resolves when everything enqueued has run; rejects with the first error since the last call. */
  sync(): Promise<void>;
  /** Resolves when everything enqueued so far has run or failed, and leaves errors to later calls. */
  caughtUp(): Promise<void>;
  /**
   * Frees everything. Later calls but free() are errors. Elements that tensors have nowhere else are brought to the host first: where
   * that takes a while, a promise resolves when it is done.
   */
  close(): void | Promise<void>;
}

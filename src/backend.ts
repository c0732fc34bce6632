/**
 * @file The whole contract between plans and the machines that run them. A backend knows nothing of ops, layers or
 * training: it holds bytes and runs compiled plans. Implementations: src/wasm (linear memory), test/reference
 * (float64, every slot a buffer of its own).
 */
import type { Device, DeviceBuffer } from "./device.ts";
import type { PlanLimits } from "./plan/limits.ts";
import type { Plan } from "./plan/plan.ts";

export type { DeviceBuffer } from "./device.ts";

/** A plan made ready to run on one backend. */
export interface Program {
  readonly plan: Plan;
  /** Bytes that it holds on its backend. */
  readonly bytes: number;
  /** Gives back what the program holds (commands, temporaries). Running it afterwards is an error. */
  close(): void;
}

/** What a backend can do. */
export interface Limits extends PlanLimits {
  /** Most bytes one slot or buffer may have. */
  readonly maxBytes: number;
  /** True where reading a result costs no more than a copy, so that results are copied out at once. */
  readonly hostMemory: boolean;
  /**
   * True where run() returns before the work is done: loops must wait now and then (pacing.ts), and reading costs a wait for what is under
   * way.
   */
  readonly asynchronous: boolean;
  /**
   * True where products round their operands to f16. Gradients, though stored in f32, then lose what is small when they become operands
   * of further products, which `lossScaleOptimizer` prevents. Default: false.
   */
  readonly halfProducts?: boolean;
}

/**
 * A machine that runs programs: what `open()` resolves to. Users need its `name` and `close()`; the rest is for the library and for
 * backends of other makers.
 */
export interface Backend extends Device {
  readonly limits: Limits;
  /** @throws BackendError when the plan cannot fit, with the numbers, before anything runs. */
  compile(plan: Plan): Promise<Program>;
  /**
   * Enqueues one run; `buffers[i]` is bound to `plan.bindings[i]`. Runs are ordered. One buffer may stand for several bindings, of which at
   * most one is written: the others are read as they were before the run.
   */
  run(program: Program, buffers: readonly DeviceBuffer[]): void;
  /** Resolves when everything enqueued has run; rejects with the first error since the last call. */
  sync(): Promise<void>;
  /**
   * Resolves when everything that is under way has run or failed, and leaves errors to later calls. Runs that are begun together have the
   * same promise; those that wait for others, to be begun with them, are not under way.
   */
  caughtUp(): Promise<void>;
  /**
   * Frees everything. Later calls but free() are errors. Elements that tensors have nowhere else are brought to the host first: where
   * that takes a while, a promise resolves when it is done.
   */
  close(): void | Promise<void>;
}

/** @file A compiled program of the WASM backend: its command list in memory, and what that was last patched with. */
import type { Program } from "../backend.ts";
import type { Plan } from "../plan/plan.ts";
import { slotBytes } from "../plan/plan.ts";
import type { WasmBuffer } from "./allocator.ts";
import type { CommandList, Encoded, Kept } from "./commands.ts";
import type { Prepared } from "./prepared.ts";

/** Programs with fewer multiply-adds (to share) than this (some 70 us) are done before a worker has woken up. */
const LEAST_WORK = 2e6;
/** What is lost where threads wait for each other, in multiply-adds that are to be shared for it. */
const BARRIER_WORK = 4e4;

export class WasmProgram implements Program {
  readonly plan: Plan;
  readonly list: CommandList;
  readonly code: WasmBuffer;
  readonly bytes: number;
  /** Worth sharing among threads. */
  readonly large: boolean;
  /** Worth handing over to another thread. */
  readonly long: boolean;
  /** Addresses the list was last patched with: of bindings, then of what is kept. */
  readonly bound: Uint32Array;
  readonly kept: readonly Kept[];
  readonly prepared: Prepared[];
  /** Bindings that a run writes. */
  readonly written: readonly number[];
  /** Copies of buffers that stand for two bindings of which one is written: by binding. */
  readonly shadows = new Map<number, WasmBuffer>();
  /** Memory that the program gives back when it is closed. */
  readonly take: (bytes: number) => WasmBuffer;
  readonly #release: () => void;

  constructor(
    plan: Plan,
    list: CommandList,
    code: WasmBuffer,
    { kept, work, sharedWork, sharedBytes }: Encoded,
    prepared: Prepared[],
    take: (bytes: number) => WasmBuffer,
    release: () => void,
  ) {
    this.plan = plan;
    this.list = list;
    this.code = code;
    this.bytes = kept.reduce((n, k) => n + k.bytes, slotBytes(plan) + sharedBytes + code.bytes);
    this.large = sharedWork >= LEAST_WORK + list.barriers * BARRIER_WORK;
    this.long = work >= LEAST_WORK;
    this.bound = new Uint32Array(plan.bindings.length + kept.length).fill(-1);
    this.kept = kept;
    this.prepared = prepared;
    this.written = plan.bindings.flatMap((b, i) => (b.written ? [i] : []));
    this.take = take;
    this.#release = release;
  }

  close(): void {
    this.#release();
  }
}

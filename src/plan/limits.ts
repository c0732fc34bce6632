/** @file What the planner asks of a backend, and the calls it makes of a graph before they have places. */
import type { BodyOf, LoweredOf } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import type { Place, Plan } from "./plan.ts";

/** A kernel call whose operands are still graph tensors. */
export interface UnplacedCall extends LoweredOf<Tensor> {
  readonly source: string;
  /** With the plan of it, once there is one. */
  readonly body?: BodyOf<Tensor> & { readonly plan?: Plan };
}

/** Bytes that are alive from call `first` to call `last`, both included. */
export interface Range {
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
}

/** How ranges get places on a kind of backend: the bytes of its slots, and where each range is, in their order. */
export type Pack = (ranges: readonly Range[], alignment: number) => { slots: number[]; places: Place[] };

/** Calls in another order, in which those of one stage, by number from 0, need nothing of each other. */
export type Stages = (
  calls: readonly UnplacedCall[],
  fixed: ReadonlyMap<Tensor, Place>,
  limits: PlanLimits,
) => { readonly calls: readonly UnplacedCall[]; readonly stageOf: readonly number[] };

/** The part of a backend's limits that plans depend on. */
export interface PlanLimits {
  /** Byte alignment of slot offsets. */
  readonly alignment: number;
  /**
   * Where temporaries go: `packOffsets` where all may share one allocation, `assignSlots` where each slot is a buffer of its own
   * (memory.ts).
   */
  readonly pack: Pack;
  /**
   * For backends that do calls which need nothing of each other in one command: `inStages` (stages.ts). Absent: calls keep their order.
   */
  readonly stages?: Stages;
  /** Most tensors a fused elementwise call may read and write together. */
  readonly maxOperands: number;
  /** Most steps of a fused elementwise body. */
  readonly maxSteps: number;
  /**
   * The temporaries that are stored as f16. `fixed`: tensors that live in bindings; `firstGradient`: the id of the first node that is not
   * of the forward pass. Absent: none.
   */
  readonly halves?: (calls: readonly UnplacedCall[], fixed: ReadonlyMap<Tensor, Place>, firstGradient: number) => Set<Tensor>;
}

/**
 * @file Where temporaries live. One-memory backends get offsets in one slot, greedily by size (Pisarchyk & Lee 2020,
 * arXiv 2001.03288); others get whole slots that are reused when their tensor has died. Elementwise results take over
 * the bytes of an operand that dies there.
 */
import { ELEMENT_BYTES, HALF_BYTES } from "../dtype.ts";
import { sizeOf, stridesOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import type { Pack, PlanLimits, UnplacedCall } from "./limits.ts";
import type { MapBody, Place } from "./plan.ts";
import { least, Runs } from "./runs.ts";
import { base } from "./simplify.ts";

/**
 * Offsets for ranges in one memory, which is one slot: largest first, each at the lowest gap that holds it. What is taken stands in a tree
 * over the calls, whose leaves are calls and whose other parts join two, so that a range of any length is a few parts, and what lives
 * together with it is in these and in those above.
 */
export const packOffsets: Pack = (ranges, alignment) => {
  const offsets = new Array<number>(ranges.length).fill(0);
  const order = ranges.map((_, i) => i).sort((a, b) => ranges[b].bytes - ranges[a].bytes || a - b);
  const leaves = 2 ** Math.ceil(Math.log2(1 + ranges.reduce((most, { last }) => Math.max(most, last), 0)));
  /** By part: bytes of ranges that live in all of its calls, and of those that live in any. */
  const all: Runs[] = [];
  const any: Runs[] = [];
  let total = 0;
  for (const i of order) {
    const { bytes, first, last } = ranges[i];
    const parts: number[] = [];
    for (let [from, to] = [first + leaves, last + leaves + 1]; from < to; from >>= 1, to >>= 1) {
      if (from & 1) parts.push(from++);
      if (to & 1) parts.push(--to);
    }
    const taken: Runs[] = [];
    for (const p of parts) if (any[p] !== undefined) taken.push(any[p]);
    // What is above a part has calls of the range and others, and so its first or its last call.
    for (let [a, b] = [first + leaves, last + leaves]; a > 0; a >>= 1, b >>= 1) {
      if (all[a] !== undefined) taken.push(all[a]);
      if (a !== b && all[b] !== undefined) taken.push(all[b]);
    }
    let at = 0;
    for (let before = -1; before < at;) {
      before = at;
      for (const runs of taken) at = Math.max(at, runs.endWithin(at, at + bytes));
    }
    offsets[i] = at;
    total = Math.max(total, at + bytes);
    const to = Math.ceil((at + bytes) / alignment) * alignment;
    for (let part of parts) {
      (all[part] ??= new Runs()).add(at, to);
      for (; part > 0; part >>= 1) (any[part] ??= new Runs()).add(at, to);
    }
  }
  return { slots: ranges.length > 0 ? [total] : [], places: offsets.map((offset) => ({ space: "slot", index: 0, offset })) };
};

/** Whole slots for ranges: the smallest free slot that holds it, else a new one. */
export const assignSlots: Pack = (ranges) => {
  const slots: number[] = [];
  const slotOf = new Array<number>(ranges.length).fill(0);
  const order = ranges.map((_, i) => i).sort((a, b) => ranges[a].first - ranges[b].first || ranges[b].bytes - ranges[a].bytes);
  /** Free slots, the smallest first, and those that become free after a call. */
  const free: number[] = [];
  const busy: number[][] = [];
  let now = 0;
  for (const i of order) {
    const { bytes, first, last } = ranges[i];
    for (; now < first; now++) {
      for (const s of busy[now] ?? []) {
        free.splice(
          least(free.length, (k) => slots[free[k]] > slots[s] || (slots[free[k]] === slots[s] && free[k] > s)),
          0,
          s,
        );
      }
    }
    const fits = least(free.length, (k) => slots[free[k]] >= bytes);
    const [slot] = fits < free.length ? free.splice(fits, 1) : [slots.push(bytes) - 1];
    (busy[last] ??= []).push(slot);
    slotOf[i] = slot;
  }
  return { slots, places: slotOf.map((index) => ({ space: "slot", index, offset: 0 })) };
};

/** True when input `k` of a map call is read at the index that is written: each element once, in order. */
export function readsInOrder(call: UnplacedCall, k: number): boolean {
  if (call.kernel.name !== "map") return false;
  const body = call.attrs.body as unknown as MapBody;
  const full = stridesOf(body.space);
  return body.strides[k].every((s, d) => s === full[d] || body.space[d] === 1);
}

/**
 * Places for all tensors that `calls` write and that have none in `fixed` yet. `halves`: those with two bytes for each element. `stageOf`:
 * the stage of each call, where those of one stage have places that are no other's; by default a call is a stage.
 */
export function placeTemporaries(
  calls: readonly UnplacedCall[],
  fixed: ReadonlyMap<Tensor, Place>,
  limits: PlanLimits,
  halves?: ReadonlySet<Tensor>,
  stageOf?: readonly number[],
): { places: Map<Tensor, Place>; slots: number[] } {
  const stage = (call: number): number => stageOf?.[call] ?? call;
  /** `only`: the call of the last stage that touches it, -1 where there are several. */
  const ranges = new Map<Tensor, { bytes: number; first: number; last: number; only: number }>();
  calls.forEach((c, i) => {
    const now = stage(i);
    for (const t of [...c.outputs, ...c.inputs]) {
      const b = t && base(t);
      if (b === null || fixed.has(b)) continue;
      const range = ranges.get(b) ?? {
        bytes: Math.max(1, sizeOf(b.shape)) * (halves?.has(b) ? HALF_BYTES : ELEMENT_BYTES),
        first: now,
        last: now,
        only: i,
      };
      range.only = range.last < now || range.only === i ? i : -1;
      range.last = now;
      ranges.set(b, range);
    }
  });

  // A map output that takes over a dying operand's bytes shares its range, which goes on: one that nobody reads would leave it to the next
  // output.
  calls.forEach((c, i) => {
    if (c.kernel.name !== "map") return;
    const now = stage(i);
    for (const out of c.outputs) {
      const own = out && ranges.get(out);
      if (!own || own.first !== now || own.last === now) continue;
      const dying = c.inputs
        .map((t) => t && base(t))
        .find((b, _, all) => {
          const range = b && ranges.get(b);
          return (
            range?.only === i && range.first !== now && range.bytes === own.bytes && all.every((o, k) => o !== b || readsInOrder(c, k))
          );
        });
      const range = dying && ranges.get(dying);
      if (!range) continue;
      range.last = own.last;
      range.only = own.only;
      ranges.set(out, range);
    }
  });

  const shared = [...new Set(ranges.values())];
  const { slots, places } = limits.pack(shared, limits.alignment);
  const placeOf = new Map(shared.map((range, i) => [range, places[i]]));
  return { places: new Map([...ranges].map(([t, range]) => [t, placeOf.get(range) as Place])), slots };
}

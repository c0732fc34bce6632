/**
 * @file Where temporaries live. One-memory backends get offsets in one slot, greedily by size (Pisarchyk & Lee 2020,
 * arXiv 2001.03288); others get whole slots that are reused when their tensor has died. Elementwise results take over
 * the bytes of an operand that dies there.
 */
import type { Limits } from "../backend.ts";
import { ELEMENT_BYTES, HALF_BYTES } from "../dtype.ts";
import { sizeOf, stridesOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import type { UnplacedCall } from "./fuse.ts";
import type { MapBody, Place } from "./plan.ts";
import { base } from "./simplify.ts";

/** Bytes that are alive from call `first` to call `last`, both included. */
export interface Range {
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
}

/** How ranges get places on a kind of backend: the bytes of its slots, and where each range is, in their order. */
export type Pack = (ranges: readonly Range[], alignment: number) => { slots: number[]; places: Place[] };

const overlap = (a: Range, b: Range): boolean => a.first <= b.last && b.first <= a.last;

/** Offsets for ranges in one memory, which is one slot: largest first, each at the lowest gap that holds it. */
export const packOffsets: Pack = (ranges, alignment) => {
  const offsets = new Array<number>(ranges.length).fill(0);
  const order = ranges.map((_, i) => i).sort((a, b) => ranges[b].bytes - ranges[a].bytes || a - b);
  const placed: number[] = [];
  let total = 0;
  for (const i of order) {
    let at = 0;
    for (const j of placed) {
      if (!overlap(ranges[i], ranges[j])) continue;
      if (offsets[j] - at >= ranges[i].bytes) break;
      at = Math.max(at, Math.ceil((offsets[j] + ranges[j].bytes) / alignment) * alignment);
    }
    offsets[i] = at;
    total = Math.max(total, at + ranges[i].bytes);
    let k = placed.length;
    while (k > 0 && offsets[placed[k - 1]] > at) k--;
    placed.splice(k, 0, i);
  }
  return { slots: ranges.length > 0 ? [total] : [], places: offsets.map((offset) => ({ space: "slot", index: 0, offset })) };
};

/** Whole slots for ranges: the smallest free slot that holds it, else a new one. */
export const assignSlots: Pack = (ranges) => {
  const slots: number[] = [];
  const busyUntil: number[] = [];
  const slotOf = new Array<number>(ranges.length).fill(0);
  const order = ranges.map((_, i) => i).sort((a, b) => ranges[a].first - ranges[b].first || ranges[b].bytes - ranges[a].bytes);
  for (const i of order) {
    let best = -1;
    slots.forEach((bytes, s) => {
      if (busyUntil[s] < ranges[i].first && bytes >= ranges[i].bytes && (best < 0 || bytes < slots[best])) best = s;
    });
    if (best < 0) best = slots.push(ranges[i].bytes) - 1;
    busyUntil[best] = ranges[i].last;
    slotOf[i] = best;
  }
  return { slots, places: slotOf.map((index) => ({ space: "slot", index, offset: 0 })) };
};

/** True when input `k` of a map call is read at the index that is written: each element once, in order. */
export function readsInOrder(call: UnplacedCall, k: number): boolean {
  if (call.kernel !== "map") return false;
  const body = call.attrs.body as unknown as MapBody;
  const full = stridesOf(body.space);
  return body.strides[k].every((s, d) => s === full[d] || body.space[d] === 1);
}

/** Places for all tensors that `calls` write and that have none in `fixed` yet. `halves`: those with two bytes for each element. */
export function placeTemporaries(calls: readonly UnplacedCall[], fixed: ReadonlyMap<Tensor, Place>, limits: Limits, halves?: ReadonlySet<Tensor>): { places: Map<Tensor, Place>; slots: number[] } {
  const ranges = new Map<Tensor, { bytes: number; first: number; last: number }>();
  calls.forEach((c, i) => {
    for (const t of [...c.outputs, ...c.inputs]) {
      const b = t && base(t);
      if (b === null || fixed.has(b)) continue;
      const range = ranges.get(b) ?? { bytes: Math.max(1, sizeOf(b.shape)) * (halves?.has(b) ? HALF_BYTES : ELEMENT_BYTES), first: i, last: i };
      range.last = i;
      ranges.set(b, range);
    }
  });

  // A map output that takes over a dying operand's bytes shares its range, which goes on: one that nobody reads would leave it to the next output.
  calls.forEach((c, i) => {
    for (const out of c.outputs) {
      const own = out && ranges.get(out);
      if (!own || own.first !== i || own.last === i) continue;
      const dying = c.inputs.map((t) => t && base(t)).find((b, _, all) => {
        const range = b && ranges.get(b);
        return range?.last === i && range.first !== i && range.bytes === own.bytes && all.every((o, k) => o !== b || readsInOrder(c, k));
      });
      const range = dying && ranges.get(dying);
      if (!range) continue;
      range.last = own.last;
      ranges.set(out, range);
    }
  });

  const shared = [...new Set(ranges.values())];
  const { slots, places } = limits.pack(shared, limits.alignment);
  const placeOf = new Map(shared.map((range, i) => [range, places[i]]));
  return { places: new Map([...ranges].map(([t, range]) => [t, placeOf.get(range) as Place])), slots };
}

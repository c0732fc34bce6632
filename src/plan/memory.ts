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
  const first = new Map<Tensor, number>();
  const last = new Map<Tensor, number>();
  const touch = (t: Tensor | null, i: number): void => {
    if (t === null) return;
    const b = base(t);
    if (fixed.has(b)) return;
    if (!first.has(b)) first.set(b, i);
    last.set(b, i);
  };
  calls.forEach((c, i) => {
    for (const t of [...c.outputs, ...c.inputs]) touch(t, i);
  });
  const bytesOf = (t: Tensor): number => Math.max(1, sizeOf(t.shape)) * (halves?.has(t) ? HALF_BYTES : ELEMENT_BYTES);

  // A map output that takes over a dying operand's bytes shares those of the first in that row.
  const owner = new Map<Tensor, Tensor>();
  const ownerOf = (t: Tensor): Tensor => owner.get(t) ?? t;
  const end = new Map(last);
  calls.forEach((c, i) => {
    const taken = new Set<Tensor>();
    for (const out of c.outputs) {
      if (out === null || fixed.has(out) || first.get(out) !== i) continue;
      const k = c.inputs.findIndex((t, j) => {
        const b = t === null ? null : base(t);
        return b !== null && !fixed.has(b) && !taken.has(b) && last.get(b) === i && first.get(b) !== i && bytesOf(b) === bytesOf(out) && readsInOrder(c, j) && c.inputs.every((o, m) => o === null || base(o) !== b || readsInOrder(c, m));
      });
      if (k < 0) continue;
      const b = base(c.inputs[k] as Tensor);
      taken.add(b);
      owner.set(out, ownerOf(b));
      end.set(ownerOf(b), last.get(out) as number);
    }
  });

  const roots = [...first.keys()].filter((t) => !owner.has(t));
  const ranges = roots.map((t): Range => ({ bytes: bytesOf(t), first: first.get(t) as number, last: end.get(t) as number }));
  const { slots, places: given } = limits.pack(ranges, limits.alignment);
  const places = new Map<Tensor, Place>(roots.map((t, i) => [t, given[i]]));
  for (const [t, first] of owner) places.set(t, places.get(first) as Place);
  return { places, slots };
}

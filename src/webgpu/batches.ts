/**
 * @file Dispatches that need nothing of each other become one, since a small one takes no longer than the wait for it. Which those are is
 * decided by the buffers that they bind, whatever the order of the plan; plans put them next to each other (stages.ts).
 */
import { once } from "../cache.ts";
import type { GpuFeatures } from "./dispatch.ts";
import { bindingOf, measured, Merger } from "./merge.ts";
import type { Measured, Member } from "./merge.ts";
import type { EncodedDispatch, Listed } from "./list.ts";

/** Workgroups beyond which a dispatch fills a GPU by itself. */
const MOST_GROUPS = 4096;
/** Workgroups of several dispatches: half of what one may have, since each may leave one half empty. */
const MOST_TOGETHER = 2 ** 15;
/** Batches that are asked for room. */
const MOST_ASKED = 16;

type Loop = Exclude<Listed<EncodedDispatch>, EncodedDispatch>;

/** Dispatches that become one. */
class Batch {
  readonly members: Member[] = [];
  /** Invocations of a workgroup, and whether one of its dispatches needs just as many. */
  threads = 0;
  #whole = false;
  #invocations = 0;
  readonly #bindings = new Set<string>();
  /** Bytes of workgroup memory by variable. */
  readonly #memory = new Map<string, number>();

  /** Adds a dispatch where there is room for it. */
  takes(dispatch: EncodedDispatch, own: Measured, { maxBuffers, maxWorkgroupBytes, maxGroups }: GpuFeatures): boolean {
    if (this.#whole && own.whole && this.threads !== own.threads) return false;
    const { groups, resources } = dispatch;
    const threads = this.#whole ? this.threads : own.whole ? own.threads : Math.max(this.threads, own.threads);
    const invocations = this.#invocations + groups[0] * groups[1] * groups[2] * own.threads;
    const bindings = resources.map((r) => bindingOf(r, own, this.members.length));
    // One that is alone has room in any case.
    if (this.members.length > 0) {
      const buffers = this.#bindings.size + bindings.filter((b) => !this.#bindings.has(b)).length;
      const bytes = [...new Map([...this.#memory, ...own.memory]).values()].reduce((a, b) => a + b, 0);
      if (buffers > maxBuffers || bytes > maxWorkgroupBytes || invocations > Math.min(MOST_TOGETHER, maxGroups / 2) * threads) return false;
    }
    this.members.push({ dispatch, own });
    this.threads = threads;
    this.#whole ||= own.whole;
    this.#invocations = invocations;
    for (const b of bindings) this.#bindings.add(b);
    for (const [name, size] of own.memory) this.#memory.set(name, size);
    return true;
  }
}

/** `list` with fewer dispatches that do the same, in an order in which each finds what it reads. */
export function together(list: readonly Listed<EncodedDispatch>[], features: GpuFeatures): Listed<EncodedDispatch>[] {
  const known = new Map<object, Measured | null>();
  const merger = new Merger();
  const batches: (Batch | EncodedDispatch | Loop)[] = [];
  /** By buffer: the number of the last batch that writes it, and of the last that reads it. */
  const [written, read] = [new Map<string, number>(), new Map<string, number>()];
  /** The first batch behind the last loop, which nothing passes. */
  let begin = 0;
  for (const item of list) {
    if ("list" in item) {
      batches.push({ steps: item.steps, list: together(item.list, features) });
      begin = batches.length;
      continue;
    }
    const buffers = item.resources.filter((r) => r.space !== "absent").map((r) => ({ key: `${r.space} ${r.index}`, writes: r.writable }));
    const own = once(known, item.declarations, () => measured(item));
    let at = batches.length;
    if (own !== null && item.groups[0] * item.groups[1] * item.groups[2] <= MOST_GROUPS) {
      const waits = buffers.map(({ key, writes }) => 1 + Math.max(written.get(key) ?? -1, writes ? (read.get(key) ?? -1) : -1));
      at = Math.max(begin, at - MOST_ASKED, ...waits);
      const asks = (batch: (typeof batches)[number]): boolean => batch instanceof Batch && batch.takes(item, own, features);
      while (at < batches.length && !asks(batches[at])) at++;
      if (at === batches.length) asks(batches[batches.push(new Batch()) - 1]);
    } else {
      batches.push(item);
    }
    for (const { key, writes } of buffers) {
      const last = writes ? written : read;
      last.set(key, Math.max(at, last.get(key) ?? -1));
    }
  }
  return batches.map((b) => {
    if (!(b instanceof Batch)) return b;
    return b.members.length === 1 ? b.members[0].dispatch : merger.merged(b.members, b.threads);
  });
}

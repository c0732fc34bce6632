/**
 * @file How long threads were ready to run while others had the processor: on a shared machine most of the noise, and no library's doing.
 * From the kernel's schedstat (ns of running, ns of waiting; https://docs.kernel.org/scheduler/sched-stats.html); zeros where there is none
 * (not Linux).
 */
import { readdirSync, readFileSync } from "node:fs";

/** ms that a thread has run and waited so far. */
function schedstat(path) {
  try {
    const [ran, waited] = readFileSync(path, "utf8").split(" ");
    return { ran: Number(ran) / 1e6, waited: Number(waited) / 1e6 };
  } catch {
    return { ran: 0, waited: 0 };
  }
}

/** Of the main thread. */
export const main = () => schedstat("/proc/self/schedstat");

/** ms that each thread has waited. */
export function all() {
  try {
    return Object.fromEntries(readdirSync("/proc/self/task").map((id) => [id, schedstat(`/proc/self/task/${id}/schedstat`).waited]));
  } catch {
    return {};
  }
}

/** The most that any thread has waited between two times. */
export const most = (before, after) => Math.max(0, ...Object.entries(after).map(([id, ms]) => ms - (before[id] ?? 0)));

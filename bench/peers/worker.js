/**
 * @file One library in a process of its own, told what to do by `index.js` through lines of JSON. A peer module exports
 * `start(options)` -> { version, prepare(kind, of) -> { values, unit, close } }: `values` are of the result, to be compared; `unit()` does
 * some of the work, waits until it is done, and tells how much that was.
 */
import { createInterface } from "node:readline";
import { all, main, most } from "./waited.js";

const [, , file, options] = process.argv;
// Libraries print to stdout; answers alone must be there.
const answer = (value) => process.stdout.write(`@${JSON.stringify(value)}\n`);
console.log = console.info = console.warn = console.error;

let peer = null;
let task = null;

const commands = {
  async start() {
    peer = await (await import(file)).start(JSON.parse(options));
    return { version: peer.version, node: process.versions.node, v8: process.versions.v8 };
  },
  async prepare({ kind, of, spec }) {
    task = null;
    task = await peer.prepare(kind, of, spec);
    return { values: [...task.values] };
  },
  /** Works for at least `ms`. `cpuMs`: processor time of all threads. `ran`, `waited`: of the main thread; `mostWaited`: of any. */
  async slice({ ms }) {
    let done = 0;
    let calls = 0;
    const before = { cpu: process.cpuUsage(), all: all(), main: main() };
    const from = performance.now();
    let now = from;
    do {
      // Batches of calls: reading the clock is not free next to a prediction of some microseconds.
      for (let i = Math.max(1, Math.min(50, calls >> 3)); i > 0; i--, calls++) done += await task.unit();
      now = performance.now();
    } while (now - from < ms);
    const after = main();
    const { user, system } = process.cpuUsage(before.cpu);
    return {
      done,
      ms: now - from,
      cpuMs: (user + system) / 1000,
      ran: after.ran - before.main.ran,
      waited: after.waited - before.main.waited,
      mostWaited: most(before.all, all()),
    };
  },
  async close() {
    task?.close?.();
    task = null;
    return {};
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...rest } = JSON.parse(line);
  try {
    answer(await commands[command](rest));
  } catch (error) {
    answer({
      error: String(error?.message ?? error)
        .split("\n")[0]
        .slice(0, 300),
    });
  }
}
process.exit(0);

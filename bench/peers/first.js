/** @file Import to first prediction in a fresh process, phase by phase: `node first.js PEER` prints milliseconds as JSON. */
import { main } from "./waited.js";

const marks = {};
let last = 0;
/** Time without that in which others had the processor. */
const clock = () => performance.now() - main().waited;
const mark = (phase) => {
  const now = clock();
  marks[phase] = now - last;
  last = now;
};
const log = console.log;
console.log = console.info = console.warn = console.error;

// Shared by all, so not a part of anyone's import.
const { dataOf } = await import("./workloads.js");
const { one } = dataOf("FFN");
last = clock();
const start = last;
const { first } = await import(`./${process.argv[2]}_peer.js`);
mark("import");
const values = await first(mark, one);
mark("predict");
log(`@${JSON.stringify({ marks, total: clock() - start, values: [...values] })}`);
process.exit(0);

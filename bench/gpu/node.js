/**
 * @file Lockstep in Node (Dawn), in a process of its own, since the adapter is chosen by its environment. Arguments: size, storage, and
 * "weights" for these alone. The result is the last line.
 */
import { globals } from "webgpu";
import { start } from "./lockstep.js";
import { measure } from "./measure.js";

Object.assign(globalThis, globals);
const [size, storage, only] = process.argv.slice(2);
const result = await measure(start, { storage }, size, (line) => console.error(line), only);
console.log(JSON.stringify(result));

/**
 * @file One library in Node (Dawn), in a process of its own, since the adapter is chosen by its environment. Argument: JSON of { module,
 * options, how }, with `how` of `measure`; `module` is lockstep.js here, or another library's bundle, which takes this for a page. What
 * there is is a line of JSON each, behind "@".
 */
import { readFileSync } from "node:fs";
import { create, globals } from "webgpu";
import { measure } from "./measure.js";

const { module, options, how, textFile } = JSON.parse(process.argv[2]);
const { stdout } = process;
Object.assign(globalThis, globals);
// Dawn ends the process when what `create` gives is collected before its devices.
const page = { userAgent: "", platform: "", language: "en", hardwareConcurrency: 1 };
if (module !== "./lockstep.js") {
  page.gpu = create(options.dawn ?? []);
  if (globalThis.navigator === undefined) globalThis.navigator = page;
  else Object.defineProperty(globalThis.navigator, "gpu", { value: page.gpu, configurable: true });
  globalThis.self ??= globalThis;
  globalThis.window ??= globalThis;
  globalThis.document ??= {
    createElement: () => ({ getContext: () => null, style: {} }),
    readyState: "complete",
    addEventListener() {},
  };
  // TensorFlow.js warns of each shader.
  console.warn = () => {};
}
const { start } = await import(module);
const text = textFile ? readFileSync(textFile, "utf8") : null;
await measure(start, options, { ...how, text }, (line) => void stdout.write(`@${JSON.stringify(line)}\n`));
stdout.write("@{}\n", () => process.exit(0));

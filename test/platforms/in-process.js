/**
 * @file The shared body in Node, Deno or Bun: prints what came out as one line of JSON. Arguments: "train" or "accidents" or "wait" or
 * "simd", and options of `open` as JSON; or "text", and what to load and to write.
 */
import { open } from "../../build/esm/index.js";
import { accidents, product, trainAll } from "./body.js";

const [what, json = "{}"] = process.argv.slice(2);
const { webWorker, ...options } = JSON.parse(json);
const script = new URL("../../build/esm/wasm/worker.js", import.meta.url);
const { Worker: Thread } = await import("node:worker_threads");
const start = webWorker ? () => new Worker(script, { type: "module" }) : () => new Thread(script);
if (webWorker) options.worker = start;

if (what === "train") console.log(JSON.stringify(await trainAll(options)));
if (what === "accidents") console.log(JSON.stringify(await accidents(start, options)));
if (what === "text") {
  const { written } = await import("./checkpoint.js");
  console.log(JSON.stringify(await written(options.source, options.prompts, options.maxTokens)));
}
if (what === "simd") console.log(JSON.stringify((await open("wasm", options)).simd));
if (what === "wait") {
  // The process must end by itself, with workers that wait.
  const backend = await open("wasm", options);
  await backend.warm();
  console.log(JSON.stringify({ hash: await product(backend), activeThreads: backend.activeThreads }));
}
if (webWorker) process.exit(0);

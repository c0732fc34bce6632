/** @file The shared body on a page, with counts of what the main thread did meanwhile. */
import { accidents, trainAll } from "./body.js";
import { calls } from "./calls.js";

/** Turns of the event loop, counted until `stop`. */
function countTurns() {
  let turns = 0;
  let running = true;
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    turns++;
    if (running) port2.postMessage(null);
    else port1.close();
  };
  port2.postMessage(null);
  return () => {
    running = false;
    return turns;
  };
}

/** Frames that were drawn, and tasks of more than 50 ms that the browser reports. */
function observe() {
  let frames = 0;
  let running = true;
  const tasks = [];
  const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map((e) => Math.round(e.duration))));
  observer.observe({ entryTypes: ["longtask"] });
  const frame = () => {
    frames++;
    if (running) requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  return () => {
    running = false;
    tasks.push(...observer.takeRecords().map((e) => Math.round(e.duration)));
    observer.disconnect();
    return { frames, longTasks: tasks };
  };
}

export async function trainHere(options) {
  const stop = countTurns();
  const observed = observe();
  const from = { ...calls };
  let counted = null;
  const out = await trainAll(options, () => {
    counted = { turns: stop(), ...observed(), calls: { run: calls.run - from.run, piece: calls.piece - from.piece } };
  });
  return { ...out, isolated: crossOriginIsolated, ...counted };
}

export function accidentsHere() {
  return accidents(() => new Worker(new URL("../../build/esm/wasm/worker.js", import.meta.url), { type: "module" }));
}

/** In a dedicated worker of this page. */
export function trainInWorker(options) {
  const worker = new Worker(new URL("./page-worker.js", import.meta.url), { type: "module" });
  return new Promise((done, fail) => {
    worker.onmessage = ({ data }) => done(data);
    worker.onerror = (event) => fail(new Error(event.message || "the worker could not start"));
    worker.postMessage(options);
  });
}

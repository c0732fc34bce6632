/** @file What both pages share. */

export const $ = (id) => document.getElementById(id);
export const count = (v) => Math.round(v).toLocaleString("en");

/** Names of backends as people know them. */
export const NAMES = { wasm: "WebAssembly", webgpu: "WebGPU" };

/** Sets text only where it differs: what has not changed costs no layout. */
export function say(id, text) {
  const element = $(id);
  if (element.textContent !== text) element.textContent = text;
}

/** Offers the backends and threads that there are. */
export function offer({ backend, threads: select }, { webgpu, threads }) {
  backend.querySelector('[value="webgpu"]').disabled = !webgpu;
  for (let n = 1; n <= threads; n = n < 4 ? n + 1 : n * 2) select.append(new Option(n, n));
  select.disabled = threads === 1;
}

/** "auto", or a number of threads. */
export const threadsOf = (value) => (value === "auto" ? value : Number(value));

export function download(bytes, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type: "application/octet-stream" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Hears a worker, also where its script was not loaded: then there is no message. */
export function hear(worker, heard) {
  worker.onmessage = ({ data }) => heard[data.type](data);
  worker.onerror = ({ message }) =>
    say(
      "status",
      message
        ? `Error in the worker: ${message}`
        : "The worker could not start: its script was not found, or a Content-Security-Policy forbids it",
    );
}

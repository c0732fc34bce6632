/** @file Opening backends: the only place that chooses one. */
import type { Backend } from "./backend.ts";
import { once } from "./cache.ts";
import { checkOptions, kindOf } from "./check.ts";
import { ArgumentError, BackendError } from "./errors.ts";
import type { Graph } from "./graph.ts";
import { kernelsOf } from "./plan/fuse.ts";
import { anticipateWasm, openWasm } from "./wasm/index.ts";
import type { WasmBackend, WasmOptions } from "./wasm/index.ts";
import type { GpuBackend, WebGpuOptions } from "./webgpu/index.ts";

/**
 * `auto`: the CPU, unless a model is compiled with it: then the first fit times one step on each backend there is and takes the fastest.
 */
export type BackendName = "auto" | "wasm" | "webgpu";

const NAMES: readonly BackendName[] = ["auto", "wasm", "webgpu"];

const WASM_OPTIONS: readonly (keyof WasmOptions)[] = ["reproducible", "maxBytes", "threads", "module", "background", "worker"];
const WEBGPU_OPTIONS: readonly (keyof WebGpuOptions)[] = ["powerPreference", "gpu", "dawn", "storage", "precision", "tune"];

let current: Promise<Backend> | null = null;

function checkName(who: string, name: string): void {
  if (!(NAMES as readonly string[]).includes(name))
    throw new ArgumentError(`${who}: unknown backend ${JSON.stringify(name)}; known: ${NAMES.map((n) => `"${n}"`).join(", ")}`);
}

/** Opens a backend. That of the GPU is loaded only here. */
async function openNamed(name: BackendName, options: WasmOptions & WebGpuOptions): Promise<Backend> {
  if (name !== "webgpu") return openWasm(options);
  const { openWebGpu } = await import("./webgpu/index.ts");
  return openWebGpu(options);
}

/**
 * Opens a backend and makes it the one that `compile`, models and ops outside of a compiled function use by default.
 * @param name `wasm` (CPU, WebAssembly SIMD), `webgpu` (browsers, Deno, and Node with the package `webgpu`) or `auto`. Default `auto`.
 * @param options see `WasmOptions` and `WebGpuOptions`.
 * @throws ArgumentError for an unknown name or option, BackendError where WebAssembly SIMD, WebGPU or an adapter is missing.
 */
export async function open(name: "webgpu", options?: WebGpuOptions): Promise<GpuBackend>;
export async function open(name?: "auto" | "wasm", options?: WasmOptions): Promise<WasmBackend>;
export async function open(name: BackendName = "auto", options: WasmOptions | WebGpuOptions = {}): Promise<Backend> {
  checkName("open", name);
  checkOptions("open", options, name === "webgpu" ? WEBGPU_OPTIONS : WASM_OPTIONS);
  const opening = openNamed(name, options);
  const backend = await opening;
  current = opening;
  return backend;
}

/** The backend opened last; opens `auto` when there is none yet, or when that was closed or lost. */
export async function defaultBackend(): Promise<Backend> {
  for (;;) {
    const last = (current ??= openWasm({}));
    const backend = await last;
    if (!backend.closed) return backend;
    // Another may have been opened meanwhile.
    if (current === last) current = null;
  }
}

/**
 * Begins to load what `auto` will need, where nothing is open yet, to run `graph`: kernels are fetched and compiled beside the calling
 * thread. What fails here fails again when it is needed.
 */
export function anticipate(graph: Graph | null = null): void {
  if (current === null) anticipateWasm(() => (graph === null ? [] : kernelsOf(graph.nodes)));
}

/** Makes `backend` the default, for backends that do not come from `open`. */
export function useBackend(backend: Backend): void {
  if (typeof (backend as Partial<Backend> | undefined)?.alloc !== "function")
    throw new ArgumentError(`useBackend: expected a backend, such as await open("wasm"), got ${kindOf(backend)}`);
  current = Promise.resolve(backend);
}

/** Makes `next` the default where `lost` was. */
export async function succeed(lost: Backend, next: Backend): Promise<void> {
  const last = current;
  if ((await last) === lost && current === last) useBackend(next);
}

/** Backends that were opened because a `backend` option named one that was not the default. */
const named = new Map<BackendName, Promise<Backend>>();

/** A backend from what `backend` options take: a name, an open backend, or nothing for the default. */
export async function resolveBackend(backend: BackendName | Backend | undefined): Promise<Backend> {
  if (backend === undefined || backend === "auto") return defaultBackend();
  if (typeof backend !== "string") return backend;
  checkName("backend", backend);
  const now = await defaultBackend();
  if (now.name === backend) return now;
  if ((await named.get(backend))?.closed) named.delete(backend);
  return once(named, backend, () => openNamed(backend, {}));
}

/** The backends that `auto` chooses among: WASM, and WebGPU where an adapter is found. */
export async function candidates(): Promise<Backend[]> {
  const wasm = await resolveBackend("wasm");
  try {
    return [wasm, await resolveBackend("webgpu")];
  } catch (error) {
    if (error instanceof BackendError) return [wasm];
    throw error;
  }
}

/** A backend that can be opened anew after its device was lost. */
interface Reopenable extends Backend {
  reopen(): Promise<Backend>;
}

/** A new device of the same kind where there is one, else WASM: also as the default backend, if `lost` was that. */
export async function replace(lost: Backend): Promise<Backend> {
  let next: Backend | undefined;
  try {
    next = await (lost as Partial<Reopenable>).reopen?.();
  } catch {
    // No new device: the CPU is always there.
  }
  next ??= await resolveBackend("wasm");
  await succeed(lost, next);
  return next;
}

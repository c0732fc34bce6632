/** @file Opening backends: the only place that chooses one. */
import type { Backend } from "./backend.ts";
import { ArgumentError } from "./errors.ts";
import { openWasm } from "./wasm/index.ts";
import type { WasmOptions } from "./wasm/index.ts";

/** `auto` takes the fastest backend there is; today that is always `wasm`. */
export type BackendName = "auto" | "wasm";

let current: Promise<Backend> | null = null;

/**
 * Opens a backend and makes it the one that `compile`, models and ops outside of a compiled function use by default.
 * @param name `wasm` (CPU, WebAssembly SIMD) or `auto`. Default `auto`.
 * @param options see `WasmOptions`.
 * @throws ArgumentError for an unknown name, BackendError where WebAssembly SIMD is missing.
 */
export async function open(name: BackendName = "auto", options: WasmOptions = {}): Promise<Backend> {
  if (name !== "auto" && name !== "wasm") throw new ArgumentError(`open: unknown backend ${JSON.stringify(name)}; known: "auto", "wasm"`);
  const opening = openWasm(options);
  const backend = await opening;
  current = opening;
  return backend;
}

/** The backend opened last; opens `auto` when there is none yet. */
export function defaultBackend(): Promise<Backend> {
  current ??= openWasm({});
  return current;
}

/** Makes `backend` the default, for backends that do not come from `open`. */
export function useBackend(backend: Backend): void {
  current = Promise.resolve(backend);
}

/** A backend from what `backend` options take: a name, an open backend, or nothing for the default. */
export async function resolveBackend(backend: BackendName | Backend | undefined): Promise<Backend> {
  if (backend === undefined || backend === "auto") return defaultBackend();
  if (typeof backend !== "string") return backend;
  if (backend !== "wasm") throw new ArgumentError(`backend: unknown ${JSON.stringify(backend)}; known: "auto", "wasm"`);
  const now = await defaultBackend();
  return now.name === "wasm" ? now : openWasm({});
}

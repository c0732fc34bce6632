/** @file The kernels on this thread: an instance of a whole module, or of the core and of the parts that programs have needed so far. */
import { once } from "../cache.ts";
import { loadPart } from "./load.ts";
import type { Kernels } from "./load.ts";
import type { KernelPart } from "./parts.ts";
import { environment, join } from "./table.ts";
import type { Environment } from "./table.ts";

export interface Exports extends WebAssembly.ModuleImports {
  /** 0 when the run was aborted. */
  run(list: number, end: number, thread: number, threads: number, scratch: number, sync: number): number;
  piece(command: number, piece: number, scratch: number): void;
}

/** Makes an instance of the core or of the whole. */
export async function instantiate(kernels: Kernels, memory: WebAssembly.Memory): Promise<KernelInstance> {
  const env = environment(memory);
  return new KernelInstance(kernels, env, await WebAssembly.instantiate(kernels.module, { env }));
}

export class KernelInstance {
  readonly exports: Exports;
  /** What other threads make their instances of: the core, or the whole, and parts by their numbers. */
  readonly modules: WebAssembly.Module[];
  readonly #kernels: Kernels;
  readonly #env: Environment;
  readonly #parts = new Map<KernelPart, Promise<void>>();

  constructor(kernels: Kernels, env: Environment, { exports }: WebAssembly.Instance) {
    this.exports = exports as unknown as Exports;
    this.modules = [kernels.module];
    this.#kernels = kernels;
    this.#env = env;
  }

  /** Loads those of `parts` that are not there; `added` hears of each. @throws BackendError where one cannot be had. */
  async need(parts: readonly KernelPart[], added: () => void): Promise<void> {
    if (this.#kernels.whole) return;
    await Promise.all(
      parts.map((part) =>
        once(this.#parts, part, async () => {
          const module = await loadPart(part, this.#kernels);
          join(part.number, await WebAssembly.instantiate(module, { env: this.#env, core: this.exports }), this.#env);
          this.modules[part.number] = module;
          added();
        }),
      ),
    );
  }
}

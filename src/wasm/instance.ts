/** @file The kernels on this thread: an instance of a whole module, or of the core and of the parts that programs have needed so far. */
import { once } from "../cache.ts";
import { loadPart } from "./load.ts";
import type { Kernels } from "./load.ts";
import type { KernelPart } from "./parts.ts";

export interface Exports extends WebAssembly.ModuleImports {
  /** 0 when the run was aborted. */
  run(list: number, end: number, thread: number, threads: number, scratch: number, sync: number): number;
  piece(command: number, piece: number, scratch: number): void;
}

export class KernelInstance {
  readonly exports: Exports;
  /** What other threads make their instances of; the first is the core, whose exports the others import. */
  readonly modules: WebAssembly.Module[];
  readonly #kernels: Kernels;
  readonly #memory: WebAssembly.Memory;
  readonly #parts = new Map<KernelPart, Promise<void>>();

  constructor(kernels: Kernels, memory: WebAssembly.Memory, { exports }: WebAssembly.Instance) {
    this.exports = exports as unknown as Exports;
    this.modules = [kernels.module];
    this.#kernels = kernels;
    this.#memory = memory;
  }

  /** Loads those of `parts` that are not there; `added` hears of each. @throws BackendError where one cannot be had. */
  async need(parts: readonly KernelPart[], added: () => void): Promise<void> {
    if (this.#kernels.whole) return;
    await Promise.all(parts.map((part) => once(this.#parts, part, async () => {
      const module = await loadPart(part, this.#kernels);
      await WebAssembly.instantiate(module, { env: { memory: this.#memory }, core: this.exports });
      this.modules.push(module);
      added();
    })));
  }
}

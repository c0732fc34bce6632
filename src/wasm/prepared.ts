/**
 * @file Memory for what the prologues of command lists make of weights (commands.ts), kept from run to run. Programs that make the same of
 * one buffer share it.
 */
import type { Allocator, WasmBuffer } from "./allocator.ts";
import type { Kept } from "./commands.ts";

export interface Prepared {
  readonly name: string;
  readonly memory: WasmBuffer;
  /** The version of the buffer that this was last made of; 0: of none. */
  version: number;
  users: number;
}

export class Preparations {
  readonly #allocator: Allocator;
  readonly #all = new Map<string, Prepared>();

  constructor(allocator: Allocator) {
    this.#allocator = allocator;
  }

  /** Memory for what is made of the buffer at `address`, which whoever takes must `leave`. @throws BackendError when out of memory. */
  take(address: number, { key, bytes }: Kept): Prepared {
    const name = `${address} ${key}`;
    const prepared = this.#all.get(name) ?? { name, memory: this.#allocator.alloc(bytes), version: 0, users: 0 };
    prepared.users++;
    this.#all.set(name, prepared);
    return prepared;
  }

  leave(prepared: Prepared): void {
    if (--prepared.users > 0) return;
    this.#all.delete(prepared.name);
    this.#allocator.free(prepared.memory);
  }

  /** A run that was to make some of it may not have done so: all is made again. */
  forget(): void {
    for (const p of this.#all.values()) p.version = 0;
  }
}

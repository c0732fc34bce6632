/** @file Where the core of the kernels and their parts meet: the core calls a part by its place in a table. */
import { PARTS } from "./opcodes.ts";

/** What the core and its parts share; a whole module takes the memory alone. */
export interface Environment extends WebAssembly.ModuleImports {
  readonly memory: WebAssembly.Memory;
  readonly table: WebAssembly.Table;
}

export function environment(memory: WebAssembly.Memory): Environment {
  return { memory, table: new WebAssembly.Table({ element: "anyfunc", initial: PARTS }) };
}

/** From now on the core calls the kernels of this part (`call` in assembly/parts/). */
export function join(number: number, { exports }: WebAssembly.Instance, { table }: Environment): void {
  table.set(number, exports.call);
}

/** @file Models of one output or several: what belongs to which, by place or by name. */
import { kindOf, unknownName } from "../check.ts";
import { ArgumentError } from "../errors.ts";
import { Tensor } from "../tensor.ts";
import { flatten, mapTree } from "../tree.ts";

/** What a model gives: a tensor, or several in a list or by name. */
export type Outputs = Tensor | readonly Tensor[] | { readonly [name: string]: Tensor };

/** One for a model of one output; for several a list with one for each, or an object by their names. Null: none for this output. */
export type ForOutputs<T> = T | readonly (T | null)[] | { readonly [output: string]: T | null };

/**
 * Names of the outputs that a model's function gave: "" for a single tensor, keys of an object, and in a list the names of the layers that
 * made them (`output` where none did), with a number behind those that come again.
 * @throws ArgumentError for what is no output
 */
export function outputNames(outputs: Outputs, madeBy: (t: Tensor) => string | undefined): string[] {
  if (outputs instanceof Tensor) return [""];
  const names: string[] = [];
  mapTree(outputs, (t, path) => {
    const own = Array.isArray(outputs) ? (madeBy(t) ?? "output") : path;
    let name = own;
    for (let i = 1; names.includes(name); i++) name = `${own}_${i}`;
    names.push(name);
    return t;
  });
  if (names.length === 0) throw new ArgumentError("model: its function must return a tensor, or a list or an object of tensors, got none");
  return names;
}

/** Outputs of that structure, from their tensors in order. */
export function outputsOf<O extends Outputs>(structure: O, tensors: readonly Tensor[]): O {
  if (structure instanceof Tensor) return tensors[0] as O;
  let i = 0;
  return mapTree(structure, () => tensors[i++]) as O;
}

/** The tensors of outputs, in order. @throws ArgumentError for what is none */
export const tensorsOf = (outputs: Outputs): Tensor[] => (outputs instanceof Tensor ? [outputs] : flatten(outputs));

/** What an output's loss or metric is called in logs. */
export const logName = (output: string, what: string): string => (output === "" ? what : output + what[0].toUpperCase() + what.slice(1));

/**
 * What was given for outputs of these names, one for each; null where there is none. `isOne`: true for what is meant for all of them.
 * @throws ArgumentError for a list of another length, an unknown name, and what is neither
 */
export function perOutput<T>(
  who: string,
  given: ForOutputs<T>,
  names: readonly string[],
  isOne: (value: unknown) => boolean,
): (T | null)[] {
  if (names[0] === "" || isOne(given)) return names.map(() => given as T);
  const outputs = `one for each output, ${names.join(", ")}`;
  if (Array.isArray(given)) {
    if (given.length !== names.length) throw new ArgumentError(`${who}: expected a list with ${outputs}, got ${given.length}`);
    return given as (T | null)[];
  }
  if (typeof given !== "object" || given === null || given instanceof Tensor || ArrayBuffer.isView(given)) {
    throw new ArgumentError(`${who}: expected a list or an object with ${outputs}, got ${given instanceof Tensor ? given : kindOf(given)}`);
  }
  const unknown = Object.keys(given).find((key) => !names.includes(key));
  if (unknown !== undefined) throw unknownName(who, unknown, names, "output ");
  return names.map((name) => (given as { readonly [output: string]: T | null })[name] ?? null);
}

/** @file The variables of a file by the layers that they are of: groups of Keras 3, and names of Keras 2 and TensorFlow.js. */
import { cut } from "../io/safetensors.ts";
import { FileError } from "../index.ts";
import type { Hdf5File } from "./hdf5.ts";
import { some } from "./fields.ts";
import { isWay } from "./place.ts";
import type { Place } from "./place.ts";
import { isNumeric } from "./variables.ts";
import type { Store, Variable } from "./variables.ts";

/** Variables of layers for random numbers, which no layer of Lockstep has, and weights of tokens, which are options. */
const isPassedOver = (path: string): boolean =>
  /(^|\/)(seed_generator(_\d+)?\/|generator\/vars\/)|\/(seed_generator_state|vars\/idf_weights)$/.test(path);

/** Reads all datasets of numbers below `path`. @throws FileError */
export async function variablesOf(file: Hdf5File, path: string): Promise<Map<string, Variable>> {
  const found = new Map<string, Variable>();
  for (const [name, { dataset, attributes }] of file) {
    if (dataset === null || !name.startsWith(path)) continue;
    const says = attributes.get("dtype")?.strings?.[0];
    const dtype = says === "bfloat16" && ["opaque", "uint16", "int16"].includes(dataset.dtype) ? says : dataset.dtype;
    if (isNumeric(dtype)) found.set(name, { name, dtype, shape: dataset.shape, bytes: await dataset.bytes() });
  }
  return found;
}

/** Whether Keras' layers have a variable of this name and number that Lockstep's do not. */
const isCount = (place: Place, index: number): boolean => place.className.startsWith("Normalization") && index === 2;

const OLDER = "_layer_checkpoint_dependencies";

/**
 * Groups as Keras 2.12 to 2.14 number them. They list a layer that has weights twice, and number both: dense, dense_2, dense_4
 * (https://github.com/keras-team/keras/blob/v2.13.1/keras/engine/functional.py).
 */
function olderGroups(names: readonly string[]): (group: string) => string {
  const known = new Map<string, string>();
  const numbered = (name: string, n: number): string => (n === 0 ? name : `${name}_${n}`);
  const inside = (prefix: string, own: string): string => {
    const key = `${prefix}/${own}`;
    const found = known.get(key);
    if (found !== undefined) return found;
    const [, name, count = "0"] = /^(.*?)(?:_(\d+))?$/.exec(own) as unknown as readonly [string, string, string?];
    let n = 0;
    for (let k = 0; k < Number(count); k++) n += names.some((path) => path.startsWith(`${prefix}/${numbered(name, n)}/`)) ? 2 : 1;
    known.set(key, numbered(name, n));
    return numbered(name, n);
  };
  return (group) => {
    let path = "";
    let isLayer = false;
    for (const part of group.split("/")) {
      path += `/${part === "layers" ? OLDER : isLayer ? inside(path, part) : part}`;
      isLayer = part === "layers";
    }
    return path;
  };
}

/** Files of Keras 3: `layers/dense_1/vars/0`. */
export function storeOfGroups(who: string, variables: ReadonlyMap<string, Variable>): Store {
  const older = [...variables.keys()].some((name) => name.startsWith(`/${OLDER}/`));
  const rooted = older ? olderGroups([...variables.keys()]) : (group: string): string => `/${group}`;
  const taken = new Set<string>();
  const extra = new Set<string>();
  return {
    take(place, layer, name, index) {
      const { group, groups } = place;
      const at = typeof groups === "string" ? ([groups, index] as const) : Object.hasOwn(groups, name) ? groups[name] : null;
      if (at === null) throw new FileError(`${who}: where Keras keeps the ${name} of ${place.className} is not known`);
      const paths = [at[0], `_${at[0]}`].map((inner) => `${rooted(inner === "" || inner === "_" ? group : `${group}/${inner}`)}/vars/`);
      const path = paths.map((p) => `${p}${at[1]}`).find((p) => variables.has(p));
      if (path === undefined)
        throw new FileError(
          `${who}: no "${cut(`${paths[0]}${at[1]}`)}", the ${name} of ${place.className} "${cut(layer.name)}"; the file has ` +
            some(variables.keys()),
        );
      taken.add(path);
      if (isCount(place, 2)) extra.add(`${paths[0]}2`);
      return variables.get(path) as Variable;
    },
    finish() {
      const left = [...variables.keys()].filter(
        (name) => name.startsWith(older ? `/${OLDER}/` : "/layers/") && !taken.has(name) && !extra.has(name) && !isPassedOver(name),
      );
      if (left.length > 0) throw new FileError(`${who}: variables that no layer takes: ${some(left)}`);
    },
  };
}

/** Variables in the order of the file, each with the names of the layers that it is of. */
export interface Named {
  /** The layer of the model, where the file keeps those of each apart. */
  readonly group: string | null;
  readonly segments: readonly string[];
  readonly variable: Variable;
}

/** Whether these names stand in `segments` in this order; a direction as the beginning of one. */
function isOf(segments: readonly string[], names: readonly string[]): boolean {
  let at = 0;
  for (const name of names) {
    while (at < segments.length && segments[at] !== name && !(isWay(name) && segments[at].startsWith(`${name}_`))) at++;
    if (at++ >= segments.length) return false;
  }
  return true;
}

/** Files that name variables by their layers: those of one layer lie in the order in which it made them. */
export function storeOfNames(who: string, all: readonly Named[]): Store {
  // Names of layers may have parts.
  const partsOf = (names: readonly string[]): readonly string[] => names.flatMap((name) => name.split("/"));
  const first = (tails: readonly (readonly string[])[], among: readonly Named[]): readonly Named[] =>
    tails.map((tail) => among.filter(({ segments }) => isOf(segments, tail))).find((list) => list.length > 0) ?? [];
  const matching = (names: readonly string[]): readonly Named[] => {
    const grouped = all.filter(({ group }) => group === names[0]);
    // Models within others leave no trace in the names of some files.
    const tailsOf = (list: readonly string[]): readonly (readonly string[])[] => list.map((_, i) => partsOf(list.slice(i)));
    if (grouped.length > 0 || all.some(({ group }) => group !== null))
      return names.length === 1 ? grouped : first(tailsOf(names.slice(1)), grouped);
    const begins = all.filter(({ segments }) => partsOf(names).every((part, i) => segments[i] === part));
    return begins.length > 0
      ? begins
      : first(
          tailsOf(names).filter((tail) => !tail.every(isWay)),
          all,
        );
  };
  const taken = new Set<Named>();
  const extra = new Set<Named>();
  const found = new Map<Place, readonly Named[]>();
  const variablesFor = (place: Place): readonly Named[] => {
    const known = found.get(place);
    if (known !== undefined) return known;
    const own = matching(place.names);
    found.set(place, own);
    for (const [i, one] of own.entries()) if (isCount(place, i) || isPassedOver(one.segments.join("/"))) extra.add(one);
    return own;
  };
  return {
    take(place, layer, name, index) {
      const list = variablesFor(place);
      const one = list[index];
      if (one === undefined)
        throw new FileError(
          `${who}: the ${name} of ${place.className} "${cut(layer.name || place.names.join("/"))}" is missing: the file has ` +
            `${list.length} variables of it; there are ${some(all.map(({ variable }) => variable.name))}`,
        );
      taken.add(one);
      return one.variable;
    },
    finish() {
      const left = all.filter((one) => !taken.has(one) && !extra.has(one) && !isPassedOver(one.segments.join("/")));
      if (left.length > 0) throw new FileError(`${who}: variables that no layer takes: ${some(left.map(({ variable }) => variable.name))}`);
    },
  };
}

/** @file What Keras 2, and Keras 3 for its sake, keep in the attributes and groups of one HDF5 file. */

import { FileError } from "../index.ts";
import { show } from "./fields.ts";
import type { Json } from "./fields.ts";
import { parseJson } from "./json.ts";
import type { Hdf5File, Node } from "./hdf5.ts";
import type { Named } from "./stores.ts";
import { variablesOf } from "./stores.ts";
import type { Variable } from "./variables.ts";

/** A text among the attributes; null where there is none. */
export const textOf = (node: Node | undefined, name: string): string | null => node?.attributes.get(name)?.strings?.[0] ?? null;

/** JSON among the attributes; null where there is none. @throws FileError */
export function jsonOf(who: string, node: Node | undefined, name: string): Json | null {
  const text = textOf(node, name);
  return text === null ? null : parseJson(`${who}: ${name}`, text);
}

/** A list of names, which may go on in attributes with numbers. */
export function namesOf(node: Node | undefined, name: string): readonly string[] {
  const whole = node?.attributes.get(name)?.strings;
  if (whole !== undefined && whole !== null) return whole;
  const all: string[] = [];
  for (let i = 0; ; i++) {
    const part = node?.attributes.get(`${name}${i}`)?.strings;
    if (part === undefined || part === null) return all;
    all.push(...part);
  }
}

/** The variables of the layers below `group`, layer after layer in the order of the file. @throws FileError */
export async function namedVariables(who: string, file: Hdf5File, group: "/model_weights" | "/"): Promise<readonly Named[]> {
  const at = group === "/" ? "" : group;
  const variables = await variablesOf(file, group);
  return namesOf(file.get(group), "layer_names").flatMap((layer) =>
    namesOf(file.get(`${at}/${layer}`), "weight_names").map((name) => ({
      group: layer,
      segments: name.replace(/:\d+$/, "").split("/"),
      variable: variableAt(who, variables, `${at}/${layer}/${name}`),
    })),
  );
}

function variableAt(who: string, variables: ReadonlyMap<string, Variable>, path: string): Variable {
  const found = variables.get(path.replace(/\/+/g, "/"));
  if (found === undefined) throw new FileError(`${who}: the variable ${show(path)}, which it lists, is not there`);
  return found;
}

/** The optimizer's state, in order. @throws FileError */
export async function optimizerVariables(who: string, file: Hdf5File): Promise<readonly Variable[]> {
  const variables = await variablesOf(file, "/optimizer_weights/");
  return namesOf(file.get("/optimizer_weights"), "weight_names").map((name) => variableAt(who, variables, `/optimizer_weights/${name}`));
}

/** @file Where the weights of Lockstep's layers stand in files of Keras. */
import { ArgumentError } from "../index.ts";
import type { Layer } from "../index.ts";
import { writtenRule } from "./layers.ts";
import { cellName, groupsIn } from "./place.ts";
import type { Place } from "./place.ts";

const OTHERS: { readonly [kind: string]: string } = {
  normalization: "Normalization",
  bidirectional: "Bidirectional",
  timeDistributed: "TimeDistributed",
  rnn: "RNN",
  stackedRnnCells: "StackedRNNCells",
};

/** What Keras calls a layer. */
function classOf(who: string, layer: Layer): string {
  if (layer.kind === "model")
    return (layer.config.model as { custom?: boolean } | undefined)?.custom === true ? "Functional" : "Sequential";
  const className = writtenRule(layer.kind)?.classes[0] ?? (Object.hasOwn(OTHERS, layer.kind) ? OTHERS[layer.kind] : null);
  if (className === null) throw new ArgumentError(`${who}: Keras has no layer like ${layer.kind} "${layer.name}"`);
  return className;
}

/**
 * Places of layers and of those within them, as Keras would number them. @throws ArgumentError for a kind of layer that Keras has not
 */
export function placesOf(
  who: string,
  layers: readonly Layer[],
  prefix: string,
  outer: readonly string[],
  into: Map<Layer, Place>,
): Map<Layer, Place> {
  const groupOf = groupsIn(prefix);
  for (const layer of layers) {
    const className = classOf(who, layer);
    const group = groupOf(className);
    const names = [...outer, layer.name];
    into.set(layer, { group, groups: writtenRule(layer.kind)?.groups ?? "", names, className });
    placesWithin(who, layer, group, names, into);
  }
  return into;
}

/** The same of what is within a layer. */
function placesWithin(who: string, layer: Layer, group: string, names: readonly string[], into: Map<Layer, Place>): void {
  if (layer.kind === "model") return void placesOf(who, layer.layers ?? [], `${group}/`, names, into);
  const cellIn = groupsIn(`${group}/`, "cells");
  for (const [i, part] of (layer.layers ?? []).entries()) {
    const way = layer.kind === "bidirectional" ? (i === 0 ? "forward" : "backward") : null;
    const folder = layer.kind === "rnn" ? "cell" : way === null ? "layer" : `${way}_layer`;
    const inner = layer.kind === "stackedRnnCells" ? cellIn(classOf(who, part)) : `${group}/${folder}`;
    const own = way !== null ? [...names, way] : layer.kind === "stackedRnnCells" ? [...names, cellName(i)] : names;
    into.set(part, { group: inner, groups: writtenRule(part.kind)?.groups ?? "", names: own, className: classOf(who, layer) });
    placesWithin(who, part, inner, own, into);
  }
}

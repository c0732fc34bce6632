/** @file Where the weights of Lockstep's layers stand in files of Keras. */
import { ArgumentError } from "../index.ts";
import type { Layer } from "../index.ts";
import { isRow } from "./kinds.ts";
import { cellName, groupsIn } from "./place.ts";
import type { Place } from "./place.ts";
import { OTHERS, writtenRule } from "./rules.ts";

/** What Keras calls a layer. */
function classOf(who: string, layer: Layer): string {
  if (layer.kind === "model") return isRow(layer) ? "Sequential" : "Functional";
  const className = writtenRule(layer.kind)?.classes[0] ?? (Object.hasOwn(OTHERS, layer.kind) ? OTHERS[layer.kind] : null);
  if (className === null) throw new ArgumentError(`${who}: Keras has no layer like ${layer.kind} "${layer.name}"`);
  return className;
}

/**
 * Places of layers and of those within them, as Keras would number them; `inside`: the layers of a model within another, in Keras' order.
 * @throws ArgumentError for a kind of layer that Keras has not
 */
export function placesOf(
  who: string,
  layers: readonly Layer[],
  prefix: string,
  outer: readonly string[],
  into: Map<Layer, Place>,
  inside: (model: Layer) => readonly Layer[] = (model) => model.layers ?? [],
): Map<Layer, Place> {
  const groupOf = groupsIn(prefix);
  for (const layer of layers) {
    const className = classOf(who, layer);
    const group = groupOf(className);
    const names = [...outer, layer.name];
    into.set(layer, { group, groups: writtenRule(layer.kind)?.groups ?? "", names, className });
    placesWithin(who, layer, group, names, into, inside);
  }
  return into;
}

/** The same of what is within a layer. */
function placesWithin(
  who: string,
  layer: Layer,
  group: string,
  names: readonly string[],
  into: Map<Layer, Place>,
  inside: (model: Layer) => readonly Layer[],
): void {
  if (layer.kind === "model") return void placesOf(who, inside(layer), `${group}/`, names, into, inside);
  const cellIn = groupsIn(`${group}/`, "cells");
  for (const [i, part] of (layer.layers ?? []).entries()) {
    const way = layer.kind === "bidirectional" ? (i === 0 ? "forward" : "backward") : null;
    const folder = layer.kind === "rnn" ? "cell" : way === null ? "layer" : `${way}_layer`;
    const inner = layer.kind === "stackedRnnCells" ? cellIn(classOf(who, part)) : `${group}/${folder}`;
    const own = way !== null ? [...names, way] : layer.kind === "stackedRnnCells" ? [...names, cellName(i)] : names;
    into.set(part, { group: inner, groups: writtenRule(part.kind)?.groups ?? "", names: own, className: classOf(who, layer) });
    placesWithin(who, part, inner, own, into, inside);
  }
}

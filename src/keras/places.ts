/** @file Where the weights of Lockstep's layers stand in files of Keras. */
import { ArgumentError } from "../index.ts";
import type { Layer } from "../index.ts";
import { groupName } from "./fields.ts";
import { writtenRule } from "./layers.ts";
import type { Place } from "./place.ts";

/** Groups of the layers of one list, which are numbered for each class. */
export function groupsIn(prefix: string): (className: string) => string {
  const used = new Map<string, number>();
  return (className) => {
    const name = groupName(className);
    const count = used.get(name) ?? 0;
    used.set(name, count + 1);
    return `${prefix}layers/${count === 0 ? name : `${name}_${count}`}`;
  };
}

const OTHERS: { readonly [kind: string]: string } = {
  normalization: "Normalization",
  bidirectional: "Bidirectional",
  timeDistributed: "TimeDistributed",
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
    if (layer.kind === "model") placesOf(who, inside(layer), `${group}/`, names, into, inside);
    else
      for (const [i, part] of (layer.layers ?? []).entries()) {
        const way = layer.kind === "bidirectional" ? (i === 0 ? "forward" : "backward") : null;
        const inner = `${group}/${way === null ? "layer" : `${way}_layer`}`;
        if (part.kind === "model") placesOf(who, inside(part), `${inner}/`, names, into, inside);
        into.set(part, {
          group: inner,
          groups: writtenRule(part.kind)?.groups ?? "",
          names: way === null ? names : [...names, way],
          className,
        });
      }
  }
  return into;
}

/** @file Weights of a file alone, put into a model. */
import { cut } from "../io/safetensors.ts";
import { ArgumentError, FileError } from "../index.ts";
import type { Layer, Model } from "../index.ts";
import type { Place } from "./place.ts";
import { placesOf } from "./places.ts";
import { inOrder } from "./save.ts";
import type { Named } from "./stores.ts";
import { weightsFrom } from "./variables.ts";
import type { Store } from "./variables.ts";

/** What a file has of weights. */
interface Weights {
  readonly who: string;
  readonly store: (places: ReadonlyMap<Layer, Place>) => Store;
  /** Names of the layers that have weights, in order; null in files of Keras 3. */
  readonly named: readonly Named[] | null;
}

/** Where the weights of a built model stand, by the order in which Keras has its layers. */
function placesIn(who: string, model: Model): { readonly places: Map<Layer, Place>; readonly layers: readonly Layer[] } {
  const made = (layers: readonly Layer[], inside?: (model: Layer) => readonly Layer[]): ReturnType<typeof placesIn> => ({
    places: placesOf(who, layers, "", [], new Map(), inside),
    layers,
  });
  try {
    const { layers, inside } = inOrder(who, model);
    return made(layers, inside);
  } catch (cause) {
    if (!(cause instanceof ArgumentError)) throw cause;
    // It computes between its layers: their order is that of the calls, which must not matter.
    const kinds = model.layers
      .filter((l) => l.weights.length > 0)
      .map((l) => `${l.kind} ${l.weights.map((w) => w.tensor.shape.join()).join(";")}`);
    if (new Set(kinds).size < kinds.length)
      throw new FileError(
        `${who}: which weights are whose cannot be told: the model has several layers of one shape, and ${cut(cause.message, 300)}`,
        {
          cause,
        },
      );
    return made(model.layers);
  }
}

/** Replaces the weights of a built model. */
export function assignInto(model: Model, contents: Weights): Model {
  const { who, named } = contents;
  if (model.inputShapes === null) throw new ArgumentError("loadKeras: the model is not built yet: give it an inputShape first");
  const { places, layers } = placesIn(who, model);
  // Names may be others; the order of layers is not.
  if (named !== null) {
    const groups = [...new Set(named.map(({ group }) => group as string))];
    const weighted = layers.filter((l) => l.weights.length > 0);
    if (groups.length !== weighted.length)
      throw new FileError(`${who}: it has weights of ${groups.length} layers, the model ${weighted.length} layers with weights`);
    if (!weighted.every((l) => groups.includes(l.name))) {
      const renamed = new Map(weighted.map((l, i) => [l.name, groups[i]]));
      for (const [layer, place] of places)
        places.set(layer, { ...place, names: [renamed.get(place.names[0]) ?? place.names[0], ...place.names.slice(1)] });
    }
  }
  const store = contents.store(places);
  const take = weightsFrom(who, store, places);
  const values: { readonly tensor: Layer["weights"][number]["tensor"]; readonly host: Float32Array }[] = [];
  const visit = (layer: Layer): void => {
    const inner = layer.layers ?? [];
    for (const part of inner) visit(part);
    if (inner.length > 0) return;
    for (const { name, tensor } of layer.weights) values.push({ tensor, host: take(layer, name, tensor.shape)?.host as Float32Array });
  };
  for (const layer of model.layers) visit(layer);
  store.finish();
  for (const { tensor, host } of values) tensor.set(host);
  return model;
}

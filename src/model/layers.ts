/** @file Anything that works as a layer, made into one: plain functions, and objects with a `call` whose tensors are weights. */
import { kindOf } from "../check.ts";
import { ArgumentError } from "../errors.ts";
import { context, layerWith, withContext } from "../nn/layer.ts";
import type { Context, Layer, Parts, Weight } from "../nn/layer.ts";
import { CUSTOM } from "../nn/options.ts";
import { Tensor } from "../tensor.ts";
import type { Outputs } from "./outputs.ts";

/** A layer, a model, a function of a tensor, or an object with a `call` whose f32 tensor properties are trainable weights. */
export type LayerLike = Layer | ((x: Tensor) => Tensor) | { call(x: Tensor): Tensor };

function isLayer(l: LayerLike): l is Layer {
  return typeof l === "object" && "kind" in l && "weights" in l && "config" in l;
}

/** Kinds of layers that were functions without a name and objects of no class: only the names that the model gave them tell them apart. */
export const isNameless = (kind: string): boolean => kind === "function" || kind === "custom";

/** Why a layer that a function made while it ran cannot be trained. */
export const madeInside = (l: Layer): string =>
  `layer "${l.name || l.kind}" was made anew when the function ran again; make layers outside of the function that calls them`;

/** Tensors held by an object, its arrays and its objects; the path is the name. */
function weightsOf(object: object, path = ""): Weight[] {
  return Object.entries(object).flatMap(([key, value]): Weight[] => {
    const name = path === "" ? key : `${path}.${key}`;
    if (value instanceof Tensor) return value.dtype === "f32" ? [{ name, tensor: value, trainable: true, regularizer: null }] : [];
    if (typeof value === "object" && value !== null && isLayer(value as LayerLike)) return [];
    return Array.isArray(value) || (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype)
      ? weightsOf(value, name)
      : [];
  });
}

/**
 * `own` are the function's weights; those of layers that it calls are added as `layer.weight`, since the model is told of this layer alone.
 */
function wrap(kind: string, own: readonly Weight[], run: (x: Tensor) => Tensor): Layer {
  const inner: Parts = [];
  let complete = false;
  const called = (l: Layer, output: Tensor | null, outer: Context): void => {
    // The weights that it reads are of a layer that the model has.
    if (output === null) return outer.called(l, null);
    if (inner.some(([known]) => known === l)) return;
    if (complete && l.weights.length > 0) throw new ArgumentError(madeInside(l));
    const key = l.name || `${l.kind}${inner.filter(([other]) => other.kind === l.kind).length || ""}`;
    inner.push([l, (name) => `${key}.${name}`]);
  };
  return layerWith(
    {
      kind,
      config: CUSTOM,
      inputs: 1,
      call: (x) => {
        const outer = context();
        const y: unknown = withContext({ called: (l, output) => called(l, output, outer) }, () => run(x));
        if (!(y instanceof Tensor)) throw new ArgumentError(`its function must return a tensor, got ${kindOf(y)}`);
        complete = true;
        return y;
      },
    },
    own,
    inner,
  );
}

/** What a model is as a layer of another: see `asLayer` of InferenceModel. */
interface ModelLike {
  readonly asLayer: Layer;
}

export function asLayers(list: readonly LayerLike[]): Layer[] {
  return list.map((l, i) => {
    if (typeof l === "object" && l !== null && "asLayer" in l) return (l as ModelLike).asLayer;
    if (typeof l === "function") return wrap(l.name || "function", [], l);
    if (typeof l === "object" && l !== null && typeof l.call === "function")
      return isLayer(l) ? l : wrap(l.constructor.name === "Object" ? "custom" : l.constructor.name, weightsOf(l), (x) => l.call(x));
    throw new ArgumentError(
      `sequential: item ${i} is no layer: expected dense(10), a function, or an object with call(x), got ${kindOf(l)}`,
    );
  });
}

/** kind, kind_1, kind_2 … for layers without a name of their own. @throws ArgumentError for two of one name. */
export function nameLayers(layers: readonly Layer[]): void {
  const taken = new Set<string>();
  for (const l of layers) {
    if (l.name === "") continue;
    if (taken.has(l.name)) throw new ArgumentError(`model: two layers are named "${l.name}"; names must differ`);
    taken.add(l.name);
  }
  for (const l of layers) {
    for (let i = 0; l.name === ""; i++) {
      const name = i === 0 ? l.kind : `${l.kind}_${i}`;
      if (!taken.has(name)) l.name = name;
    }
    taken.add(l.name);
  }
}

/** @throws ArgumentError for an empty list or something that is no layer. */
export function layersOf(layers: readonly LayerLike[]): Layer[] {
  if (!Array.isArray(layers))
    throw new ArgumentError(`sequential: expected a list of layers, got ${kindOf(layers)}; write sequential([layer, layer])`);
  const twice = layers.find((l, i) => typeof l === "object" && layers.indexOf(l) !== i);
  if (twice !== undefined)
    throw new ArgumentError("sequential: a layer stands in the list twice; to share its weights use model((x) => l.call(l.call(x)))");
  if (layers.length === 0) throw new ArgumentError("sequential: expected at least one layer, got none");
  return asLayers(layers);
}

/** @throws ArgumentError for what is no function. */
export function forwardOf<O extends Outputs>(fn: (...inputs: Tensor[]) => O): (inputs: readonly Tensor[]) => O {
  if (typeof fn !== "function")
    throw new ArgumentError(
      `model: expected a function from inputs to the output, got ${kindOf(fn)}; for layers in a row use sequential([...])`,
    );
  return (inputs) => fn(...inputs);
}

/** @file Anything that works as a layer, made into one: plain functions, and objects with a `call` whose tensors are weights. */
import { ArgumentError } from "../errors.ts";
import { scope } from "../graph.ts";
import { context, weightIn, withContext } from "../nn/layer.ts";
import type { Layer, Weight } from "../nn/layer.ts";
import { CUSTOM } from "../nn/options.ts";
import { Tensor } from "../tensor.ts";

/** A layer, a function of a tensor, or an object with a `call` whose f32 tensor properties are trainable weights. */
export type LayerLike = Layer | ((x: Tensor) => Tensor) | { call(x: Tensor): Tensor };

function isLayer(l: LayerLike): l is Layer {
  return typeof l === "object" && "kind" in l && "weights" in l && "config" in l;
}

/** Why a layer that a function made while it ran cannot be trained. */
export const madeInside = (l: Layer): string => `layer "${l.name || l.kind}" has weights that the model does not know: it was made anew when the function ran again; make layers outside of the function that calls them`;

/** Tensors held by an object, its arrays and its objects; the path is the name. */
function weightsOf(object: object, path = ""): Weight[] {
  return Object.entries(object).flatMap(([key, value]): Weight[] => {
    const name = path === "" ? key : `${path}.${key}`;
    if (value instanceof Tensor) return value.dtype === "f32" ? [{ name, tensor: value, trainable: true, regularizer: null }] : [];
    if (typeof value === "object" && value !== null && isLayer(value as LayerLike)) return [];
    return Array.isArray(value) || (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) ? weightsOf(value, name) : [];
  });
}

/** `weights` are the function's own; those of layers that it calls are added as `layer.weight`, since the model is told of this layer alone. */
function wrap(kind: string, held: readonly Weight[], run: (x: Tensor) => Tensor): Layer {
  const inner: Layer[] = [];
  let complete = false;
  const nameOf = (l: Layer): string => l.name || `${l.kind}${inner.filter((other) => other.kind === l.kind).indexOf(l) || ""}`;
  const called = (l: Layer): void => {
    if (inner.includes(l)) return;
    if (complete && l.weights.length > 0) throw new ArgumentError(madeInside(l));
    inner.push(l);
  };
  const self: Layer = {
    kind,
    trainable: true,
    name: "",
    config: CUSTOM,
    get weights() {
      const all = [...own, ...inner.flatMap((l) => l.weights.map((w) => weightIn(self, w, `${nameOf(l)}.${w.name}`)))];
      if (all.length !== weights.length) weights = all;
      return weights;
    },
    built: true,
    call(x) {
      const outer = context();
      const y = scope(self.name || kind, () => withContext({ ...outer, called }, () => run(x)));
      if (!(y instanceof Tensor)) throw new ArgumentError(`layer "${self.name || kind}": its function must return a tensor, got ${typeof y}`);
      complete = true;
      outer.called(self, y);
      return y;
    },
  };
  const own = held.map((w) => weightIn(self, w));
  let weights: readonly Weight[] = own;
  return self;
}

export function asLayers(list: readonly LayerLike[]): Layer[] {
  return list.map((l, i) => {
    if (typeof l === "function") return wrap(l.name || "function", [], l);
    if (typeof l === "object" && l !== null && typeof l.call === "function") return isLayer(l) ? l : wrap(l.constructor.name === "Object" ? "custom" : l.constructor.name, weightsOf(l), (x) => l.call(x));
    throw new ArgumentError(`sequential: item ${i} is no layer: expected a layer such as dense(10), a function, or an object with call(x), got ${l === null ? "null" : typeof l}`);
  });
}

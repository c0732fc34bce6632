/** @file Anything that works as a layer, made into one: plain functions, and objects with a `call` whose tensors are weights. */
import { ArgumentError } from "../errors.ts";
import { scope } from "../graph.ts";
import { context } from "../nn/layer.ts";
import type { Layer, Weight } from "../nn/layer.ts";
import { Tensor } from "../tensor.ts";

/** A layer, a function of a tensor, or an object with a `call` whose f32 tensor properties are trainable weights. */
export type LayerLike = Layer | ((x: Tensor) => Tensor) | { call(x: Tensor): Tensor };

function isLayer(l: LayerLike): l is Layer {
  return typeof l === "object" && "kind" in l && "weights" in l && "config" in l;
}

/** Tensors held by an object, its arrays and its objects; the path is the name. */
function weightsOf(object: object, path = ""): Weight[] {
  return Object.entries(object).flatMap(([key, value]): Weight[] => {
    const name = path === "" ? key : `${path}.${key}`;
    if (value instanceof Tensor) return value.dtype === "f32" ? [{ name, tensor: value, trainable: true, regularizer: null }] : [];
    return Array.isArray(value) || (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) ? weightsOf(value, name) : [];
  });
}

/** The configuration of what cannot be rebuilt from data. */
const CUSTOM = { custom: true } as const;

function wrap(kind: string, weights: readonly Weight[], run: (x: Tensor) => Tensor): Layer {
  const self: Layer = {
    kind,
    name: "",
    config: CUSTOM,
    weights,
    built: true,
    call(x) {
      const y = scope(self.name || kind, () => run(x));
      if (!(y instanceof Tensor)) throw new ArgumentError(`layer "${self.name || kind}": its function must return a tensor, got ${typeof y}`);
      context().called(self, y);
      return y;
    },
  };
  return self;
}

export function asLayers(list: readonly LayerLike[]): Layer[] {
  return list.map((l, i) => {
    if (typeof l === "function") return wrap(l.name || "function", [], l);
    if (typeof l === "object" && l !== null && typeof l.call === "function") return isLayer(l) ? l : wrap(l.constructor.name === "Object" ? "custom" : l.constructor.name, weightsOf(l), (x) => l.call(x));
    throw new ArgumentError(`sequential: item ${i} is no layer: expected a layer such as dense(10), a function, or an object with call(x), got ${l === null ? "null" : typeof l}`);
  });
}

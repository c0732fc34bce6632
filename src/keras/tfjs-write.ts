/** @file Models as files of TensorFlow.js. */
import { ArgumentError } from "../index.ts";
import type { Layer, Model } from "../index.ts";
import { concatBytes } from "../io/bytes.ts";
import { snake } from "./fields.ts";
import { isCell, isWay } from "./place.ts";
import { placesOf } from "./places.ts";
import { describeModel } from "./save.ts";

/** Names of layers and of those in models within, which are then all different. */
function uniqueNames(layers: readonly Layer[]): (layer: Layer) => string {
  const names = new Map<Layer, string>();
  const taken = new Set<string>();
  const visit = (list: readonly Layer[], prefix: string): void => {
    for (const layer of list) {
      let name = layer.name;
      for (let i = 0; taken.has(name); i++) name = `${prefix}${layer.name}${i === 0 ? "" : `_${i}`}`;
      taken.add(name);
      names.set(layer, name);
    }
    for (const layer of list) if (layer.kind === "model") visit(layer.layers ?? [], `${names.get(layer) as string}_`);
  };
  visit(layers, "");
  return (layer) => names.get(layer) ?? layer.name;
}

/** Layers within wrappers, with the outermost of these. */
function holdersOf(layers: readonly Layer[], into = new Map<Layer, Layer>()): ReadonlyMap<Layer, Layer> {
  const visit = (layer: Layer, holder: Layer): void => {
    for (const part of layer.layers ?? []) {
      into.set(part, holder);
      visit(part, holder);
    }
  };
  for (const layer of layers) {
    if (layer.kind === "model") holdersOf(layer.layers ?? [], into);
    else visit(layer, layer);
  }
  return into;
}

/** What TensorFlow.js calls the weights of a layer. */
function weightName(layer: Layer, name: string): string {
  return layer.kind === "depthwiseConv2d" && name === "kernel" ? "depthwise_kernel" : snake(name);
}

/** What `saveTfjs` does. */
export async function writeTfjs(model: Model): Promise<{ "model.json": Uint8Array; "weights.bin": Uint8Array }> {
  const nameOf = uniqueNames(model.layers);
  const { json, layers, inside } = describeModel({ dialect: "tfjs", who: "saveTfjs", nameOf }, model);
  const holders = holdersOf(layers);
  const places = placesOf("saveTfjs", layers, "", [], new Map(), inside);
  const named: { readonly name: string; readonly shape: readonly number[]; readonly data: Promise<unknown> }[] = [];
  for (const [layer, { names }] of places) {
    if ((layer.layers ?? []).length > 0) continue;
    const last = names.at(-1) as string;
    // Of wrappers the names of the outer layer count.
    const holder = holders.get(layer) ?? layer;
    if (holder.kind === "bidirectional" && !isWay(last))
      throw new ArgumentError(`saveTfjs: bidirectional "${holder.name}" of cells is not written; saveKeras and the file of model.save do`);
    const own = `${nameOf(holder)}${isWay(last) ? `/${last}_${layer.kind}` : isCell(last) ? `/${last}` : ""}`;
    for (const { name, tensor } of layer.weights)
      named.push({ name: `${own}/${weightName(layer, name)}`, shape: tensor.shape, data: tensor.data() });
  }
  const names = named.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new ArgumentError(`saveTfjs: two weights are called "${twice}": give one of the layers another name`);
  const data = (await Promise.all(named.map((n) => n.data))) as readonly Float32Array[];
  const weights = concatBytes(data.map((d) => new Uint8Array(d.buffer, d.byteOffset, d.byteLength)));
  const file = {
    format: "layers-model",
    generatedBy: "Lockstep",
    convertedBy: null,
    modelTopology: { keras_version: "tfjs-layers 4.22.0", backend: "tensor_flow.js", model_config: json },
    weightsManifest: [{ paths: ["weights.bin"], weights: named.map(({ name, shape }) => ({ name, shape, dtype: "float32" })) }],
  };
  return { "model.json": new TextEncoder().encode(JSON.stringify(file)), "weights.bin": weights };
}

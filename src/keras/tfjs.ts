/** @file Layers models of TensorFlow.js: model.json and the files of weights beside it. */
import { fromBits, halfBits } from "../io/safetensors.ts";
import { checkOptions } from "../check.ts";
import { FileError } from "../index.ts";
import type { Layer, Model, ModelSource } from "../index.ts";
import { concatBytes } from "../io/bytes.ts";
import { isObject, show } from "./fields.ts";
import type { Json } from "./fields.ts";
import { fileName, open } from "./files.ts";
import type { ModelFiles, Opened } from "./files.ts";
import { rebuilt } from "./load.ts";
import type { LoadKerasOptions } from "./load.ts";
import { part } from "./part.ts";
import { storeOfNames } from "./stores.ts";
import type { Named } from "./stores.ts";
import { layersInOrder } from "./topology.ts";
import type { Store, Variable } from "./variables.ts";

/** The files of a model by their names: see `ModelFiles`. */
export type TfjsFiles = ModelFiles;

/** Options of `loadTfjs`. */
export type LoadTfjsOptions = Omit<LoadKerasOptions, "model">;

interface Spec {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly quantization: { readonly dtype: string; readonly scale: number; readonly min: number } | null;
  /** Of the optimizer, not of a layer. */
  readonly isState: boolean;
}

const BYTES: { readonly [dtype: string]: number } = { float32: 4, int32: 4, bool: 1, uint8: 1, uint16: 2, float16: 2 };

/** @throws FileError for a weight that is no numbers */
function specOf(who: string, value: unknown): Spec {
  if (!isObject(value) || typeof value.name !== "string" || !Array.isArray(value.shape))
    throw new FileError(`${who}: expected a weight as { name, shape, dtype }, found ${show(value)}`);
  const { name, shape, dtype, quantization: q = null } = value;
  const isState = value.group === "optimizer";
  if (!shape.every((d) => Number.isInteger(d) && (d as number) >= 0) || shape.length > 16)
    throw new FileError(`${who}: ${show(name)} has the shape ${show(shape)}`);
  if (dtype !== "float32" && dtype !== "int32" && dtype !== "bool")
    throw new FileError(`${who}: ${show(name)} holds ${show(dtype)}; weights are numbers`);
  if (q === null) return { name, shape: shape as number[], dtype, quantization: null, isState };
  const known = isObject(q) && ["uint8", "uint16", "float16"].includes(q.dtype as string);
  const { dtype: kept, scale = 1, min = 0 } = Object(q) as { dtype: string; scale?: unknown; min?: unknown };
  if (!known || !Number.isFinite(scale) || !Number.isFinite(min))
    throw new FileError(`${who}: ${show(name)} is kept as ${show(q)}; known are uint8, uint16 with scale and min, and float16`);
  return { name, shape: shape as number[], dtype, quantization: { dtype: kept, scale: scale as number, min: min as number }, isState };
}

/** Bytes of a shape's elements. @throws FileError for a number that none can be */
function lengthOf(who: string, { name, shape, dtype, quantization }: Spec): number {
  const length = shape.reduce((a, b) => a * b, BYTES[quantization?.dtype ?? dtype]);
  if (!Number.isSafeInteger(length)) throw new FileError(`${who}: ${show(name)} has the shape ${show(shape)}`);
  return length;
}

/** The numbers of a quantized weight. */
function dequantized(bytes: Uint8Array, { dtype, quantization }: Spec): Uint8Array {
  const { dtype: kept, scale, min } = quantization as NonNullable<Spec["quantization"]>;
  const whole = kept === "uint8" ? bytes : new Uint16Array(bytes.slice().buffer);
  if (kept === "float16") return new Uint8Array(fromBits(whole, halfBits).buffer);
  // Several times as fast as Float32Array.from.
  const values = new Float32Array(whole.length);
  if (dtype === "float32") for (let i = 0; i < values.length; i++) values[i] = whole[i] * scale + min;
  else for (let i = 0; i < values.length; i++) values[i] = Math.round(whole[i] * scale + min);
  return new Uint8Array(values.buffer);
}

/** The weights of one group, which lie one behind the other in its files. */
function weightsIn(who: string, specs: readonly Spec[], bytes: Uint8Array): readonly Found[] {
  let at = 0;
  const named = specs.map((spec): Found => {
    const length = lengthOf(who, spec);
    if (at + length > bytes.length)
      throw new FileError(`${who}: the weights are truncated: ${show(spec.name)} ends at byte ${at + length} of ${bytes.length}`);
    const raw = bytes.subarray(at, at + length);
    at += length;
    const quantized = spec.quantization !== null;
    const variable = {
      name: spec.name,
      dtype: quantized ? "float32" : spec.dtype,
      shape: spec.shape,
      bytes: quantized ? dequantized(raw, spec) : raw,
    };
    return { isState: spec.isState, group: null, segments: spec.name.replace(/:\d+$/, "").split("/"), variable };
  });
  if (at !== bytes.length) throw new FileError(`${who}: the files of weights have ${bytes.length} bytes, its weights ${at}`);
  return named;
}

/** A weight, or a part of the optimizer's state. */
interface Found extends Named {
  readonly isState: boolean;
}

/** What base64 stands for. @throws FileError */
function decoded(who: string, text: string): Uint8Array {
  try {
    return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  } catch (cause) {
    throw new FileError(`${who}: its weightData is no base64`, { cause });
  }
}

async function readWeights({ who, json, read }: Opened): Promise<readonly Found[]> {
  const { weightsManifest: manifest, weightSpecs, weightData } = json;
  if (Array.isArray(weightSpecs) && typeof weightData === "string")
    return weightsIn(
      who,
      weightSpecs.map((s) => specOf(who, s)),
      decoded(who, weightData),
    );
  if (!Array.isArray(manifest)) throw new FileError(`${who}: it has no weightsManifest, which says where the weights are`);
  const named: Found[] = [];
  for (const group of manifest as readonly unknown[]) {
    if (
      !isObject(group) ||
      !Array.isArray(group.paths) ||
      !Array.isArray(group.weights) ||
      !group.paths.every((p) => typeof p === "string")
    )
      throw new FileError(`${who}: expected a group of weights as { paths, weights }, found ${show(group)}`);
    const specs = group.weights.map((s) => specOf(who, s));
    const parts: Uint8Array[] = [];
    for (const path of group.paths as readonly string[]) parts.push(await read(fileName(who, path)));
    named.push(...weightsIn(who, specs, concatBytes(parts)));
  }
  return named;
}

/** The description of a model. @throws FileError for graph models */
function topologyIn(who: string, { format, modelTopology: topology }: Json): Json {
  if (format === "graph-model" || (isObject(topology) && Array.isArray(topology.node)))
    throw new FileError(
      `${who}: a graph model, which has TensorFlow's operations and no layers: make ONNX of it ` +
        "(python -m tf2onnx.convert --tfjs model.json --output model.onnx) and read that by loadOnnx of lockstep/onnx, or save the " +
        "model that it was made from as .keras",
    );
  if (format !== undefined && format !== null && format !== "layers-model")
    throw new FileError(`${who}: a model of format ${show(format)}; layers-model is read`);
  if (!isObject(topology)) throw new FileError(`${who}: no layers model of TensorFlow.js: it has no modelTopology`);
  const { model_config: config = topology } = topology;
  if (!isObject(config)) throw new FileError(`${who}: modelTopology must be an object, found ${show(config)}`);
  return config;
}

/** Layers of which TensorFlow.js computes what does not count, or behind which it takes up a mask again that is no more. */
const UNMASKED = /^(globalAvgPool1d|bidirectional|conv1d|(max|avg)Pool1d|add|multiply|average|maximum|minimum|concatenate)$/;

/** Says that steps which a mask leaves out are left out as Keras does it, where TensorFlow.js does otherwise. */
function tellMasks(who: string, layers: readonly Layer[]): void {
  const masked = layers.some(({ kind, config }) => kind === "masking" || (kind === "embedding" && config.maskZero === true));
  const other = layers.find(({ kind }) => UNMASKED.test(kind));
  if (masked && other !== undefined)
    console.warn(
      `lockstep: ${who}: steps that a mask leaves out do not count in ${other.kind} and behind it, as in Keras; TensorFlow.js differs`,
    );
}

/**
 * Reads a layers model of TensorFlow.js: `model.json` and the files of weights beside it, also quantized ones. Compiled where the file says
 * how it learned, with the optimizer's state where it has that, so that `fit` goes on.
 * @param source the path or address of model.json, or all files by name; a `data:` address may stand for a file in base64
 * @throws FileError as `loadKeras`, for graph models, and for weights that are not beside model.json; ArgumentError for bad options
 */
export async function loadTfjs(source: ModelSource | ModelFiles, options: LoadTfjsOptions = {}): Promise<Model> {
  const {
    layers = {},
    inputShape,
    compile = true,
    backend,
  } = checkOptions("loadTfjs", options, ["layers", "inputShape", "compile", "backend"]);
  const opened = await open("loadTfjs", source);
  const { who, json } = opened;
  let state: readonly Variable[] = [];
  const read = async (): Promise<Store> => {
    const found = await readWeights(opened);
    state = found.filter(({ isState }) => isState).map(({ variable }) => variable);
    return storeOfNames(
      who,
      found.filter(({ isState }) => !isState),
    );
  };
  // Its calls go by the model, whatever is written of them.
  const file = { who, dialect: "tfjs", obeys: false, vocabularies: null } as const;
  const structure = await rebuilt(file, topologyIn(who, json), layers, read, inputShape);
  tellMasks(who, layersInOrder(structure.layers));
  const { trainingConfig: training = null } = json;
  if (compile && isObject(training))
    await (
      await part("loadTfjs", import("./parts/training.ts"))
    ).resume(
      who,
      structure.model,
      { dialect: "tfjs", training },
      { layers: layersInOrder(structure.layers), optimizer: async () => state },
      backend,
    );
  return structure.model;
}

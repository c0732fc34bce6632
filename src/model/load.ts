/**
 * @file Models from files: one safetensors file with the weights and the configuration as JSON in its metadata. What a file
 * holds for training besides is handed on as it is; save.ts, which writes such files, makes it an optimizer again.
 */
import { checkOptions, kindOf, unknownName } from "../check.ts";
import type { TypedArray } from "../dtype.ts";
import { ArgumentError, FileError, ShapeError } from "../errors.ts";
import { anticipate } from "../init.ts";
import { checksum, olderChecksum } from "../io/checksum.ts";
import { cut, decodeSafetensors, MODEL_DTYPES, parseObject, show } from "../io/safetensors.ts";
import type { Entry, SafeTensorsFile } from "../io/safetensors.ts";
import { bytesOf } from "../io/source.ts";
import type { ModelSource } from "../io/source.ts";
import { naming } from "../naming.ts";
import { layerFromConfig, layerKind } from "../nn/config.ts";
import type { LayerKind } from "../nn/config.ts";
import { withContext } from "../nn/layer.ts";
import type { Config, Layer, Regularizer } from "../nn/layer.ts";
import { sameShape, showShape, sizeOf } from "../shape.ts";
import type { OpenShape, Shape } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import type { InferenceModel, ModelOptions } from "./inference.ts";
import { sequential } from "./inference.ts";
import { asLayers, isNameless } from "./layers.ts";
import type { Outputs } from "./outputs.ts";
import type { LayerLike } from "./layers.ts";

export type { ModelSource } from "../io/source.ts";

/** What of one's own a file names: it holds no code. */
export interface LoadOptions {
  /**
   * Makes layers that are not Lockstep's own, by the name or the kind of the layer: functions, objects with a `call`, and what
   * `layer({ kind, config, ... })` made. Rarer ones of Lockstep's are in `extraLayers`: `{ layers: extraLayers }`, or
   * `{ layers: { ...extraLayers, mine: (config) => ... } }`.
   */
  readonly layers?: { readonly [nameOrKind: string]: ((config: Config) => LayerLike) | LayerKind };
  /** Functions that stood as activations, by their names. */
  readonly activations?: { readonly [name: string]: (x: Tensor) => Tensor };
}

/** What `loadModel` of `lockstep` takes besides; regularizers are of no consequence for predictions. */
interface Given extends LoadOptions {
  readonly regularizers?: { readonly [name: string]: Regularizer };
  readonly lora?: (model: never, options: object) => unknown;
}

/** Options of `loadWeights`. */
export interface LoadWeightsOptions {
  /**
   * What the file calls a weight that is `layer/weight` here: a function, or an object in which those whose names agree may be
   * missing. Default: the same.
   */
  readonly names?: ((name: string) => string) | { readonly [name: string]: string };
}

export const FORMAT = "lockstep";
export const VERSION = 1;

/** `own`: a layer that is not Lockstep's. */
interface DescribedLayer {
  readonly kind: string;
  readonly config: Config;
  readonly own?: boolean;
}
interface NamedLayer extends DescribedLayer {
  readonly name: string;
}
export interface Described {
  readonly format: string;
  readonly version: number;
  readonly name: string;
  readonly seed: number;
  readonly sequential: boolean;
  readonly inputShapes: readonly OpenShape[];
  readonly layers: readonly NamedLayer[];
  /** Options of its adapters. */
  readonly lora?: Config;
}

/** A Lockstep file's bytes, decoded and compared with their checksum; a file of someone else's has none. @throws FileError */
function decode(who: string, bytes: Uint8Array): SafeTensorsFile {
  const file = decodeSafetensors(bytes, who);
  const { metadata, tensors, data } = file;
  const expected = metadata.checksum;
  if (metadata.lockstep === undefined && expected === undefined) return file;
  const got = (/^xxh32:/.test(expected) ? checksum : olderChecksum)(
    metadata,
    Array.from(tensors, ([name, t]) => [name, t, data.subarray(t.begin, t.end)]),
  );
  if (got !== expected) throw new FileError(`${who}: damaged: it has the checksum ${got}, the file says ${expected ?? "nothing"}`);
  return file;
}

/** The elements of a tensor, in memory of their own. @throws FileError for a dtype that no weight has. */
export function elementsOf(who: string, name: string, { data, tensors }: SafeTensorsFile): TypedArray {
  const { dtype, begin, end } = tensors.get(name) as Entry;
  if (!Object.hasOwn(MODEL_DTYPES, dtype)) throw new FileError(`${who}: "${name}" holds ${dtype}, which a model has no use for`);
  return naming(`${who}: tensor "${name}"`, () => MODEL_DTYPES[dtype](data.subarray(begin, end)));
}

export function parse<T>(who: string, key: string, text: string | undefined): T {
  if (text === undefined) throw new FileError(`${who}: not a Lockstep model: its metadata has no "${key}"; use loadWeights(model, file)`);
  return naming(who, () => parseObject(`metadata "${key}"`, text)) as T;
}

const isEntry = (l: Described["layers"][number] | null): boolean =>
  typeof l?.kind === "string" && typeof l.name === "string" && typeof l.config === "object" && l.config !== null;

/** A model within a model. @throws FileError for what does not describe one */
function nestedOf(who: string, { name, config }: NamedLayer): { layers: readonly NamedLayer[]; options: ModelOptions } {
  const { layers, inputShapes, seed } = (config.model ?? {}) as { layers?: unknown; inputShapes?: unknown; seed?: number };
  if (!Array.isArray(layers) || !layers.every(isEntry) || !Array.isArray(inputShapes) || inputShapes.length !== 1) {
    throw new FileError(`${who}: the model within, "${name}", is damaged: expected its layers and one input's shape`);
  }
  return { layers, options: { inputShape: inputShapes[0] as Shape, seed, name: config.name as string | undefined } };
}

/** What `make` gives. @throws FileError for every error on the way: a configuration that cannot be followed is damaged. */
export async function rebuilt<R>(who: string, key: string, make: () => R | Promise<R>): Promise<R> {
  try {
    return await make();
  } catch (cause) {
    if (cause instanceof FileError && cause.message.startsWith(who)) throw cause;
    throw new FileError(`${who}: cannot rebuild the model from metadata "${key}": ${cut((cause as Error).message, 500)}`, { cause });
  }
}

/** Some of many names. */
const some = (names: readonly string[]): string =>
  `${names
    .slice(0, 8)
    .map((name) => cut(name))
    .join(", ")}${names.length > 8 ? ` and ${names.length - 8} more` : ""}`;

/** Weights of `model` from tensors named `layer/weight`, or as `nameOf` says. Checks all before it changes any. */
function assignWeights(who: string, model: InferenceModel<Outputs>, file: SafeTensorsFile, nameOf = (name: string): string => name): void {
  const { tensors } = file;
  const wanted = model.layers.flatMap((l) => l.weights.map((w) => ({ tensor: w.tensor, name: nameOf(`${l.name}/${w.name}`) })));
  const names = new Set(wanted.map(({ name }) => name));
  const missing = [...names].filter((name) => !tensors.has(name));
  if (missing.length > 0) {
    const unused = [...tensors.keys()].filter((name) => !names.has(name));
    throw new FileError(
      `${who}: no tensor "${missing[0]}"${missing.length > 1 ? ` (${missing.length} are missing: ${some(missing)})` : ""}; the file ` +
        `has besides: ${some(unused) || "nothing"}`,
    );
  }
  const found = wanted.map(({ name, tensor }) => {
    const { shape, dtype } = tensors.get(name) as Entry;
    if (!sameShape(shape, tensor.shape)) {
      throw new FileError(`${who}: "${name}" has shape ${showShape(shape)}, the layer needs ${showShape(tensor.shape)}`);
    }
    if (!/^B?F\d+$/.test(dtype) || !Object.hasOwn(MODEL_DTYPES, dtype)) {
      throw new FileError(`${who}: "${name}" holds ${dtype}, the layer needs F32`);
    }
    return { tensor, data: elementsOf(who, name, file) };
  });
  for (const { tensor, data } of found) tensor.set(data);
}

/**
 * Reads weights by layer and weight name into a model that has been built. What the file holds besides is passed over; nothing changes
 * when it does not fit.
 * F16, BF16 and F64 become f32. Kernels whose dimensions stand in another order, as PyTorch's, are read with `lockstep/safetensors`,
 * transposed and given to `setWeights`.
 * @param source a path, address, response, blob, stream or bytes, as in `ModelSource`.
 * @throws FileError for what cannot be read, is no safetensors, lacks weights, which it lists, or has them in other shapes; ArgumentError
 * for `names` that are none of the model's and for what is no source.
 */
export async function loadWeights(model: InferenceModel<Outputs>, source: ModelSource, options: LoadWeightsOptions = {}): Promise<void> {
  const { names = {} } = checkOptions("loadWeights", options, ["names"]);
  if (!Array.isArray((model as Partial<InferenceModel> | undefined)?.layers))
    throw new ArgumentError(`loadWeights: expected a model, got ${kindOf(model)}`);
  const { who, bytes } = await bytesOf("model file", source);
  const known = new Set(model.layers.flatMap((l) => l.weights.map((w) => `${l.name}/${w.name}`)));
  const unknown = typeof names === "function" ? undefined : Object.keys(names).find((name) => !known.has(name));
  if (unknown !== undefined) throw unknownName("loadWeights: names", unknown, [...known], "weight ");
  assignWeights(
    who,
    model,
    decode(who, bytes),
    typeof names === "function" ? names : (name) => (Object.hasOwn(names, name) ? names[name] : name),
  );
}

/**
 * The functions that stood in a layer's config, in the places of their names; regularizers are left out where nobody trains. @throws
 * FileError for one that is not given.
 */
function withFunctions(who: string, config: Config, { activations = {}, regularizers }: Given): Config {
  const entries = Object.entries(config).map(([key, value]) => {
    const { name, custom } = (value ?? {}) as { readonly name?: string; readonly custom?: boolean };
    if (custom !== true || name === undefined) return [key, value];
    const [option, given] = key.endsWith("Regularizer") ? ["regularizers", regularizers] : ["activations", activations];
    if (given === undefined) return [key, null];
    if (!Object.hasOwn(given, name)) {
      throw new FileError(`${who}: its ${key} "${name}" is a function, which a file cannot hold; pass ${option}: { ${name} } to loadModel`);
    }
    return [key, given[name]];
  });
  return Object.fromEntries(entries) as Config;
}

/** A model as a file describes it, with all else that the file holds. `make` makes it of its layers. */
export async function readModel<M extends InferenceModel>(
  source: ModelSource,
  given: Given,
  make: (layers: readonly LayerLike[], options: ModelOptions) => M,
): Promise<{ model: M; who: string; file: SafeTensorsFile }> {
  anticipate();
  const { who, bytes } = await bytesOf("model file", source);
  const file = decode(who, bytes);
  const { metadata, tensors } = file;
  const config = parse<Described>(who, "lockstep", metadata.lockstep);
  if (config.format !== FORMAT) {
    throw new FileError(`${who}: metadata "lockstep" must have the format "${FORMAT}", found ${show(config.format)}`);
  }
  if (config.version !== VERSION) {
    throw new FileError(`${who}: written by format version ${show(config.version)}, this Lockstep reads ${VERSION}`);
  }
  if (!Array.isArray(config.layers) || !config.layers.every(isEntry) || !Array.isArray(config.inputShapes))
    throw new FileError(`${who}: metadata "lockstep" is damaged: expected layers and inputShapes`);
  if (!config.sequential) {
    throw new FileError(
      `${who}: model "${show(config.name)}" was made from a function, which a file cannot hold; build it in code and use ` +
        "loadWeights(model, file)",
    );
  }
  const model = await rebuilt(who, "lockstep", () => {
    const { layers: custom = {} } = given;
    const layerOf = (
      kind: string,
      layerConfig: Config,
      own: boolean,
      name: string,
      before: readonly Layer[],
      named: Config = {},
    ): Layer => {
      const known = Object.hasOwn(custom, kind) ? custom[kind] : undefined;
      const found = own ? undefined : (layerKind(kind) ?? (known !== undefined && "make" in known ? known : undefined));
      const of = `${who}: layer "${cut(name)}"`;
      if (found === undefined) {
        const names = isNameless(kind) ? [name] : [name, kind];
        const make = names.map((k) => (Object.hasOwn(custom, k) ? custom[k] : null)).find((m) => typeof m === "function");
        if (make !== undefined) return asLayers([make(layerConfig)])[0];
        const what = cut(isNameless(kind) ? name : kind);
        throw new FileError(
          own
            ? `${of} is of the custom kind "${cut(kind)}"; pass layers: { ${what}: (config) => ... } to loadModel`
            : `${of} is of the kind "${cut(kind)}", which loadModel does not have by itself; import { extraLayers } from "lockstep", ` +
                "where rarer kinds are, and pass layers: extraLayers to loadModel",
        );
      }
      return layerFromConfig(
        kind,
        withFunctions(of, { ...layerConfig, ...named }, given),
        (inner) => {
          if (inner.kind === "model" && inner.own !== true) {
            // What holds it says for which shapes it is built.
            const { layers, options } = nestedOf(who, { name, ...inner });
            return asLayers([make(allOf(layers), { ...options, inputShape: undefined })])[0];
          }
          if (inner.shared === undefined) return layerOf(inner.kind, inner.config, inner.own === true, name, before);
          const shared = before.find((l) => l.name === inner.shared);
          if (shared === undefined) throw new FileError(`${of} shares "${show(inner.shared)}", which is not before it`);
          return shared;
        },
        found,
      );
    };
    const allOf = (layers: readonly NamedLayer[]): Layer[] => layers.reduce<Layer[]>((before, l) => [...before, namedOf(l, before)], []);
    const namedOf = (l: NamedLayer, before: readonly Layer[]): Layer => {
      const nested = l.kind === "model" && l.own !== true ? nestedOf(who, l) : null;
      const made =
        nested !== null
          ? asLayers([make(allOf(nested.layers), nested.options)])[0]
          : layerOf(l.kind, l.config, l.own === true || l.config.custom === true, l.name, before, { name: l.name });
      made.name = l.name;
      return made;
    };
    // A damaged configuration must not make weights that the file does not hold.
    const elements = Array.from(tensors.values(), ({ shape }) => sizeOf(shape)).reduce((a, b) => a + b, 0);
    let left = elements;
    const makeWeight = (_layer: Layer, name: string, shape: Shape): Tensor => {
      if (!(sizeOf(shape) <= left)) {
        throw new ShapeError(
          `its ${name} of shape ${showShape(shape)} has ${sizeOf(shape)} elements, of ${elements} in the file ${left} are left`,
        );
      }
      left -= sizeOf(shape);
      // Elements come from the file: first ones were 2 s of the start of a model of 12 million weights (Node 20).
      return new Tensor(shape, "f32", null, 0, null);
    };
    return withContext({ makeWeight, traced: anticipate }, () => {
      const made = make(allOf(config.layers), {
        inputShape: config.inputShapes.length === 1 ? config.inputShapes[0] : config.inputShapes,
        name: config.name,
        seed: config.seed,
      });
      if (config.lora !== undefined) {
        if (given.lora === undefined)
          throw new FileError(`${who}: it has adapters; pass { lora } of lockstep/lora to loadModel, or merge() them before saving`);
        given.lora(made as never, config.lora);
      }
      return made;
    });
  });
  assignWeights(who, model, file);
  return { model, who, file };
}

/**
 * Reads a model that `save` wrote; what it holds for training is passed over.
 * @param source a path, address, response, blob, stream or bytes, as in `ModelSource`.
 * @throws FileError for a file that cannot be read, is damaged, of another format or version, names layers or functions that `options` do
 * not give, or is of a model that is a function (rebuild it in code and use loadWeights); ArgumentError for what is no source.
 */
export async function loadModel(source: ModelSource, options: LoadOptions = {}): Promise<InferenceModel> {
  return (await readModel(source, checkOptions("loadModel", options, ["layers", "activations"]), sequential)).model;
}

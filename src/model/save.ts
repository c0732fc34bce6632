/**
 * @file Models as files, for training: the file that load.ts reads, with the optimizer's state where training is to go on. Loaded on
 * demand, where a model is saved, and whole in itself, as padding.ts is.
 * Names of tensors are `layer/weight` and `optimizer/name`, or `optimizer_1/name` where a layer is called `optimizer`.
 */
import { checkOptions } from "../check.ts";
import { ArgumentError, LockstepError } from "../errors.ts";
import { checksum } from "../io/checksum.ts";
import { encodeRaw, rawOf } from "../io/safetensors.ts";
import type { Config, Layer } from "../nn/layer.ts";
import { CUSTOM, isCustom } from "../nn/options.ts";
import { fault, fileSystem } from "../node/files.ts";
import type { Attr } from "../op.ts";
import type { Loss } from "../train/losses.ts";
import type { LossScale } from "../train/loss-scaling.ts";
import type { DescribedMetric, describeMetric } from "../train/metrics.ts";
import type { Optimizer } from "../train/optimizers.ts";
import { FORMAT, VERSION } from "./load.ts";
import type { Described } from "./load.ts";
import { isNameless } from "./layers.ts";
import type { AnyModel } from "./learning.ts";
import type { Tensor } from "../tensor.ts";
import type { Training } from "./training.ts";

/** Options of `save` and `toBytes`. */
export interface SaveOptions {
  /**
   * Also what training needs to go on exactly: optimizer, its state, loss and metrics; what is of one's own by name. Default true
   * for a compiled model.
   */
  readonly optimizer?: boolean;
}

/**
 * `frozen`: names of layers that are not trainable. `state`: what names of the optimizer's tensors begin with. `own`: not Lockstep's.
 * `lossScale`: of a training in half precision. Readers that do not know it begin with a scale of their own.
 */
export interface DescribedTraining {
  readonly loss: { readonly name: string; readonly config: Config };
  readonly optimizer: { readonly kind: string; readonly config: Config; readonly own?: boolean };
  readonly metrics: readonly DescribedMetric[];
  readonly frozen?: readonly string[];
  readonly state?: string;
  readonly lossScale?: { readonly [K in keyof LossScale]: number };
}

/** Tells what is Lockstep's own from what is the user's. It was noted where things were made, which is in the library. */
export interface Made {
  readonly layer: (layer: Layer) => boolean;
  readonly loss: (loss: Loss) => boolean;
  readonly optimizer: (optimizer: Optimizer) => boolean;
  readonly metric: typeof describeMetric;
}

/** What a file only names, for `loadModel` to be given: names by its options. */
type Named = Map<string, Set<string>>;

function name(named: Named, option: string, what: string): void {
  named.set(option, (named.get(option) ?? new Set()).add(what));
}

/**
 * Looks through a config for what is no plain data, notes what a file can name, and @throws ArgumentError for the rest, which JSON
 * would leave out or change.
 */
function check(who: string, key: string, value: unknown, named: Named): void {
  if (isCustom(value)) {
    const { name: of } = value as { readonly name?: string };
    if (of === undefined) {
      throw new ArgumentError(
        `save: ${who}: its ${key} is a function without a name, which a file cannot hold; name it and give it to loadModel`,
      );
    }
    name(named, key.endsWith("Regularizer") ? "regularizers" : "activations", of);
  } else if (
    typeof value === "object" &&
    value !== null &&
    (Array.isArray(value) || [Object.prototype, null].includes(Object.getPrototypeOf(value) as null))
  ) {
    const { kind, own } = value as { readonly kind?: string; readonly own?: boolean };
    if (own === true && typeof kind === "string") name(named, "layers", kind);
    for (const [inner, v] of Object.entries(value)) check(who, Array.isArray(value) ? key : inner, v, named);
  } else if (!(
    value === null ||
    value === undefined ||
    typeof value === "string" ||
    typeof value === "boolean" ||
    Number.isFinite(value)
  )) {
    const what =
      typeof value === "object"
        ? Object.prototype.toString.call(value).slice(8, -1)
        : typeof value === "number"
          ? value
          : `a ${typeof value}`;
    throw new ArgumentError(`save: ${who}: its ${key} is ${what}, which a file cannot hold`);
  }
}

function describe(model: AnyModel, named: Named, made: Made): Described {
  if (model.inputShapes === null)
    throw new LockstepError(`save: model "${model.name}" is not built yet: give inputShape, or call fit() or predict() first`);
  return {
    format: FORMAT,
    version: VERSION,
    name: model.name,
    seed: model.seed,
    sequential: model.isSequential,
    inputShapes: model.inputShapes,
    lora: model.adapters,
    // The layers of a function do not come back from the file, so that their options need not be in it.
    layers: model.isSequential
      ? describeLayers(model.layers, named, made)
      : model.layers.map((l) => ({ kind: l.kind, name: l.name, config: {}, ...(!made.layer(l) && { own: true }) })),
  };
}

function describeLayers(layers: readonly Layer[], named: Named, made: Made): Described["layers"] {
  return layers.map((l) => {
    const { name: _, model, ...config } = l.config;
    const { kind, name: own } = l;
    // A model within; that of a function says so in its config.
    if (l.layers !== undefined && model !== undefined && !isCustom(model))
      return {
        kind,
        name: own,
        config: {
          ...l.config,
          model: { ...(model as Config), layers: describeLayers(l.layers, named, made) as unknown as Attr },
        } as Config,
      };
    if (!made.layer(l) && !isCustom(model)) name(named, "layers", isNameless(kind) ? own : kind);
    // A model that layerStack and its like hold, with its layers.
    const [part] = l.layers ?? [];
    const whole =
      made.layer(l) && part?.kind === "model" ? { ...config, layer: describeLayers([part], named, made)[0] as unknown as Attr } : config;
    for (const [key, value] of Object.entries({ ...l.config, ...whole })) check(`layer "${own}"`, key, value, named);
    return { kind, name: own, config: whole, ...(!made.layer(l) && { own: true }) };
  });
}

/** Names of layers that are not trainable; those of models within have their model's name before them. */
function frozenOf(layers: readonly Layer[], path = ""): string[] {
  return layers.flatMap((l) => [
    ...(l.trainable ? [] : [path + l.name]),
    ...frozenOf(l.kind === "model" ? (l.layers ?? []) : [], `${path}${l.name}/`),
  ]);
}

function describeTraining(model: AnyModel, { outputs, optimizer }: Training, named: Named, made: Made): DescribedTraining {
  // A model of several outputs is a function, of which a file has the weights alone.
  const loss = outputs.find((o) => o.loss !== null)?.loss as Loss;
  const frozen = frozenOf(model.layers);
  const metrics = model.metrics.map(made.metric);
  const [ownLoss, ownOptimizer] = [!made.loss(loss), !made.optimizer(optimizer)];
  if (ownLoss) name(named, "losses", loss.name);
  if (ownOptimizer) name(named, "optimizer", "");
  for (const m of metrics) if (typeof m === "object" && m.own === true) name(named, "metrics", m.name);
  return {
    ...(frozen.length > 0 && { frozen }),
    loss: { name: loss.name, config: ownLoss ? CUSTOM : loss.config },
    optimizer: ownOptimizer ? { kind: optimizer.kind, config: {}, own: true } : { kind: optimizer.kind, config: optimizer.config },
    metrics,
  };
}

/** Models that were told of. */
const told = new WeakSet<AnyModel>();

/** Says once what a file cannot hold, and what `loadModel` must be given. */
function tell(model: AnyModel, named: Named): void {
  if (told.has(model) || (model.isSequential && named.size === 0)) return;
  told.add(model);
  const keyOf = (key: string): string => (/^[A-Za-z_$][\w$]*$/.test(key) ? key : JSON.stringify(key));
  const options = Array.from(named, ([option, names]) => {
    if (option === "optimizer") return option;
    const shown = Array.from(names, (key) => (option === "layers" ? `${keyOf(key)}: (config) => ...` : keyOf(key)));
    return `${option}: { ${shown.join(", ")} }`;
  }).join(", ");
  const advice = model.isSequential
    ? `To read model "${model.name}" pass loadModel(file, { ${options} })`
    : `Model "${model.name}" was made from a function, which a file cannot hold; build it in code and use loadWeights(model, file)`;
  console.warn(`save: a file holds no code. ${advice}`);
}

/** The file as bytes. */
export async function encodeModel(model: AnyModel, options: SaveOptions, made: Made): Promise<Uint8Array> {
  const { optimizer = model.training !== null } = checkOptions("save", options, ["optimizer"]);
  const missing: Named = new Map();
  const config = describe(model, missing, made);
  const named = model.layers.flatMap((l) => l.weights.map((w) => [`${l.name}/${w.name}`, w.tensor] as const));
  const metadata: { [key: string]: string } = { lockstep: JSON.stringify(config) };
  let described: DescribedTraining | null = null;
  let scale: (readonly [string, Tensor])[] = [];
  if (optimizer) {
    if (model.training === null) throw new ArgumentError("save: optimizer: true needs a model that has been compiled");
    // Layers may be named as they like, also `optimizer`.
    let state = "optimizer";
    for (let i = 1; named.some(([weight]) => weight.startsWith(`${state}/`)); i++) state = `optimizer_${i}`;
    described = { ...describeTraining(model, model.training, missing, made), ...(state !== "optimizer" && { state }) };
    scale = Object.entries(model.training.scale ?? {});
    named.push(...Object.entries(model.training.optimizer.state()).map(([key, t]) => [`${state}/${key}`, t] as const));
  }
  const names = new Set<string>();
  for (const [weight] of named) {
    if (names.has(weight)) {
      throw new ArgumentError(`save: two weights of model "${model.name}" are called "${weight}"; give one of the layers another name`);
    }
    names.add(weight);
  }
  tell(model, missing);
  // All reads are asked for at once: a training that goes on meanwhile must not leave a weight of one step beside that of the next.
  const data = await Promise.all([...named, ...scale].map(([, t]) => t.data()));
  if (described !== null) {
    const lossScale = Object.fromEntries(scale.map(([name], i) => [name, data[named.length + i][0]]));
    metadata.training = JSON.stringify({ ...described, ...(scale.length > 0 && { lossScale }) });
  }
  const tensors = named.map(([weight, { shape }], i) => [weight, rawOf(weight, { shape, data: data[i] })] as const);
  metadata.checksum = checksum(
    metadata,
    tensors.map(([weight, t]) => [weight, t, t.bytes]),
  );
  return encodeRaw(tensors, metadata);
}

/** The file at `path`. */
export async function saveModel(model: AnyModel, path: string | URL, options: SaveOptions, made: Made): Promise<void> {
  if (/\.(keras|h5|hdf5|onnx)$/i.test(String(path)))
    throw new ArgumentError(
      `save: what it writes is a safetensors file, got the name "${String(path)}"; saveKeras and saveOnnx write files of Keras and ONNX`,
    );
  fileSystem("write", path);
  const bytes = await encodeModel(model, options, made);
  const { writeBytesAtomic } = await import("../node/write.ts").catch((cause: Error) => {
    throw fault("write", path, cause.message, cause);
  });
  await writeBytesAtomic(path, bytes);
}

/** @file Models from files, with their training: what save.ts wrote, compiled again. */
import type { Backend } from "../backend.ts";
import { checkOptions } from "../check.ts";
import { FileError } from "../errors.ts";
import { resolveBackend } from "../init.ts";
import type { BackendName } from "../init.ts";
import type { Layer, Regularizer } from "../nn/layer.ts";
import { isLossName, lossFromConfig } from "../train/losses.ts";
import type { LossScale } from "../train/loss-scaling.ts";
import type { Loss, LossFunction, LossName } from "../train/losses.ts";
import { muon } from "../train/muon.ts";
import { auc, average, metricFromConfig, METRICS } from "../train/metrics.ts";
import type { DescribedMetric, Metric, MetricName } from "../train/metrics.ts";
import { perplexity } from "../train/perplexity.ts";
import { adadelta, lion, nadam, optimizerFromConfig } from "../train/optimizers.ts";
import type { Optimizer } from "../train/optimizers.ts";
import { tensor } from "../tensor.ts";
import { elementsOf, parse, readModel, rebuilt } from "./load.ts";
import type { LoadOptions, ModelSource } from "./load.ts";
import type { Model } from "./model.ts";
import { sequential } from "./model.ts";
import type { DescribedTraining } from "./save.ts";
import type { Training } from "./training.ts";

/** Options of `loadModel`: what of one's own a file names, since it holds no code, and the backend. */
export interface LoadModelOptions extends LoadOptions {
  /** Functions that stood as regularizers, by their names. */
  readonly regularizers?: { readonly [name: string]: Regularizer };
  /** Losses of one's own, by their names. */
  readonly losses?: { readonly [name: string]: Loss | LossFunction };
  /** Metrics of one's own, by their names; null goes without it. */
  readonly metrics?: { readonly [name: string]: Metric | LossFunction | null };
  /** For a model that was saved with adapters: `lora` of `lockstep/lora`, or a function that calls it and keeps what it gives. */
  readonly lora?: (model: Model, options: object) => unknown;
  /** In the place of the loss that was saved. */
  readonly loss?: LossName | Loss | LossFunction;
  /**
   * For a model whose optimizer or schedule was one's own; it takes over the state that was saved. Default: the optimizer that was
   * saved.
   */
  readonly optimizer?: Optimizer;
  /** For a model that was saved with its training. Default: the backend opened last. */
  readonly backend?: BackendName | Backend;
}

function freeze(layers: readonly Layer[], frozen: ReadonlySet<string>, path = ""): void {
  for (const l of layers) {
    const trainable = !frozen.has(path + l.name);
    // Setting it sets that of layers within, which adapters left as it should be.
    if (l.trainable !== trainable) l.trainable = trainable;
    if (l.kind === "model") freeze(l.layers ?? [], frozen, `${path}${l.name}/`);
  }
}

/**
 * Reads a model that `save` wrote. Saved with its training, it comes back compiled and `fit` goes on exactly where it ended
 * (give the same data, seed, and `initialEpoch`).
 * @param source a path, address, response, blob, stream or bytes, as in `ModelSource`.
 * @throws FileError for a file that cannot be read, is damaged, of another format or version, names layers, functions, losses or metrics
 * that `options` do not give, or is of a model that is a function (rebuild it in code and use loadWeights); ArgumentError for unknown
 * options and what is no source.
 */
export async function loadModel(source: ModelSource, options: LoadModelOptions = {}): Promise<Model> {
  const {
    layers,
    activations,
    regularizers = {},
    losses = {},
    metrics: own = {},
    lora,
  } = checkOptions("loadModel", options, [
    "layers",
    "activations",
    "regularizers",
    "losses",
    "metrics",
    "lora",
    "loss",
    "optimizer",
    "backend",
  ]);
  const { model, who, file } = await readModel(source, { layers, activations, regularizers, lora }, sequential);
  const { training } = file.metadata;
  if (training === undefined) return model;
  const { state, lossScale, ...recipe } = await rebuilt(who, "training", () => {
    const {
      loss: saved,
      optimizer: { kind, config, own: ownOptimizer },
      metrics,
      frozen = [],
      state: prefix = "optimizer",
      lossScale: scale,
    } = parse<DescribedTraining>(who, "training", training);
    const given = options.loss ?? (Object.hasOwn(losses, saved.name) ? losses[saved.name] : undefined);
    if (given === undefined && (saved.config.custom === true || !isLossName(saved.name))) {
      throw new FileError(
        `${who}: its loss "${saved.name}" is a function, which a file cannot hold; pass losses: { ${saved.name} } to loadModel`,
      );
    }
    if (ownOptimizer === true && options.optimizer === undefined) {
      throw new FileError(`${who}: its optimizer "${kind}" or its schedule is not one of Lockstep's; pass optimizer to loadModel`);
    }
    freeze(model.layers, new Set(frozen));
    return {
      loss: given ?? lossFromConfig(saved.name, saved.config),
      optimizer: options.optimizer ?? optimizerFromConfig(kind, config, { nadam, adadelta, lion, muon }),
      metrics: metrics.map((m) => metricOf(who, m, own)).filter((m) => m !== null),
      state: String(prefix),
      lossScale: scale && scaleOf(who, scale),
    };
  });
  const backend = await resolveBackend(options.backend);
  await rebuilt(who, "training", async () => {
    await model.compile({ ...recipe, backend });
    if (lossScale !== undefined) (model.training as Training).scale = lossScale;
    const named = [...file.tensors].filter(([tensor]) => tensor.startsWith(`${state}/`));
    recipe.optimizer.load(
      Object.fromEntries(
        named.map(([tensor, { shape }]) => [tensor.slice(state.length + 1), { shape, data: elementsOf(who, tensor, file) }]),
      ),
    );
  });
  return model;
}

/** @throws FileError for what is no scale of a loss */
function scaleOf(who: string, { dynamicScale, stepCounter }: NonNullable<DescribedTraining["lossScale"]>): LossScale {
  if (!(Number.isFinite(dynamicScale) && dynamicScale > 0 && Number.isInteger(stepCounter) && stepCounter >= 0))
    throw new FileError(`${who}: its loss scale must be a positive number and a count, got ${dynamicScale} and ${stepCounter}`);
  return { dynamicScale: tensor(dynamicScale, [], "f32"), stepCounter: tensor(stepCounter, [], "i32") };
}

function metricOf(
  who: string,
  metric: DescribedMetric,
  own: NonNullable<LoadModelOptions["metrics"]>,
): MetricName | Metric | LossFunction | null {
  if (typeof metric === "string") return metric as MetricName;
  const { name: as, kind = as, config = {} } = metric;
  if (metric.own !== true) return { ...metricFromConfig(kind, config, { ...METRICS, auc, perplexity }), name: as };
  if (!Object.hasOwn(own, as)) {
    throw new FileError(
      `${who}: its metric "${as}" is a function, which a file cannot hold; pass metrics: { ${as} } to loadModel, or { ${as}: null }`,
    );
  }
  const given = own[as];
  return typeof given === "function" ? average(as, {}, given) : given && { ...given, name: as };
}

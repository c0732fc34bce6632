/** @file What a model was compiled with, in both ways: losses and metrics. The optimizer is in optimizers.ts. */
import * as lockstep from "../index.ts";
import { ArgumentError, FileError } from "../index.ts";
import type { Backend, BackendName, CompileModelOptions, Layer, Loss, Metric, Model, Tensor } from "../index.ts";
import { cut } from "../io/safetensors.ts";
import { camel, described, Fields, isObject, known, show, snake } from "./fields.ts";
import type { Dialect, Json } from "./fields.ts";
import { loadState, readOptimizer, stateOf, writeOptimizer } from "./optimizers.ts";
import type { Variable } from "./variables.ts";

/** Keras' options of a loss or a metric that Lockstep takes too. */
type Options = readonly string[];
type Made<T> = { readonly [name: string]: readonly [make: (options?: never) => T, options?: Options] };

const ENTROPY: Options = ["from_logits", "label_smoothing"];

/** By the name of Keras' class in small letters. */
const LOSSES: Made<Loss> = {
  BinaryCrossentropy: [lockstep.binaryCrossentropy, ENTROPY],
  CategoricalCrossentropy: [lockstep.categoricalCrossentropy, ENTROPY],
  SparseCategoricalCrossentropy: [lockstep.sparseCategoricalCrossentropy, ["from_logits"]],
  MeanSquaredError: [lockstep.meanSquaredError],
  MeanAbsoluteError: [lockstep.meanAbsoluteError],
  MeanAbsolutePercentageError: [lockstep.meanAbsolutePercentageError],
  MeanSquaredLogarithmicError: [lockstep.meanSquaredLogarithmicError],
  Huber: [lockstep.huber, ["delta"]],
  KLDivergence: [lockstep.klDivergence],
  Hinge: [lockstep.hinge],
  SquaredHinge: [lockstep.squaredHinge],
  CategoricalHinge: [lockstep.categoricalHinge],
  LogCosh: [lockstep.logCosh],
  CosineSimilarity: [lockstep.cosineSimilarity],
  Poisson: [lockstep.poisson],
};

const METRICS: Made<Metric> = {
  BinaryAccuracy: [lockstep.binaryAccuracy, ["threshold"]],
  CategoricalAccuracy: [lockstep.categoricalAccuracy],
  SparseCategoricalAccuracy: [lockstep.sparseCategoricalAccuracy],
  TopKCategoricalAccuracy: [lockstep.topKCategoricalAccuracy, ["k"]],
  SparseTopKCategoricalAccuracy: [lockstep.topKCategoricalAccuracy, ["k"]],
  RootMeanSquaredError: [lockstep.rootMeanSquaredError],
  Precision: [lockstep.precision],
  Recall: [lockstep.recall],
  AUC: [lockstep.auc, ["num_thresholds"]],
};

/** Names of Keras' functions that are not those of its classes. */
const SHORT: { readonly [name: string]: string } = {
  bce: "BinaryCrossentropy",
  mse: "MeanSquaredError",
  mae: "MeanAbsoluteError",
  mape: "MeanAbsolutePercentageError",
  msle: "MeanSquaredLogarithmicError",
  kld: "KLDivergence",
  kullback_leibler_divergence: "KLDivergence",
  kl_divergence: "KLDivergence",
  logcosh: "LogCosh",
  rmse: "RootMeanSquaredError",
};

const small = (name: string): string => name.replace(/_/g, "").toLowerCase();

/** A class of the table from a name of Keras', of a class or a function. */
function classOf(name: string, table: object): string {
  const short = Object.hasOwn(SHORT, name.toLowerCase()) ? SHORT[name.toLowerCase()] : name;
  return Object.keys(table).find((known) => small(known) === small(short)) ?? short;
}

/** `{ class_name: "function", config: name }` as its name. */
const named = (value: unknown): unknown =>
  isObject(value) && value.class_name === "function" && typeof value.config === "string" ? value.config : value;

function made<T>(
  who: string,
  what: string,
  dialect: Dialect,
  value: unknown,
  table: Made<T>,
): { readonly value: T; readonly name: string | null } {
  const given = named(value);
  const { className, config } = typeof given === "string" ? { className: given, config: {} } : described(`${who}: ${what}`, given);
  const own = classOf(className.replace(/^.*>/, ""), table);
  const [make, options = []] = known(who, what, own, table);
  const f = new Fields(`${who}: ${what} ${own}`, dialect, config);
  f.ignore("dtype", "fn");
  f.must("reduction", "sum_over_batch_size", "auto");
  f.must("axis", -1);
  f.must("ignore_class");
  f.must("thresholds");
  f.must("top_k");
  f.must("class_id");
  for (const [option, value] of Object.entries({
    curve: "ROC",
    summation_method: "interpolation",
    multi_label: false,
    from_logits: false,
    label_smoothing: 0,
  }))
    if (!options.includes(option)) f.must(option, value, value === "ROC" ? "roc" : value);
  f.must("num_labels");
  f.must("label_weights");
  const pairs = options.filter((o) => f.has(o)).map((o) => [camel(o), typeof f.get(o) === "boolean" ? f.get(o) : f.number(o)]);
  const name = f.has("name") ? f.text("name") : null;
  f.ignore("name", ...options);
  f.done();
  return { value: make(...((pairs.length === 0 ? [] : [Object.fromEntries(pairs)]) as [])), name };
}

const readLoss = (who: string, dialect: Dialect, value: unknown): Loss => made(who, "loss", dialect, value, LOSSES).value;

/** A name stays one: what "accuracy" is depends on the loss. */
function readMetric(who: string, dialect: Dialect, value: unknown): Metric | "accuracy" | "acc" {
  const given = named(value);
  if (given === "accuracy" || given === "acc") return given;
  if (
    typeof given === "string" &&
    Object.keys(LOSSES).includes(classOf(given, LOSSES)) &&
    !Object.keys(METRICS).includes(classOf(given, METRICS))
  )
    return camel(given.toLowerCase()) as "accuracy";
  const className = isObject(given) && typeof given.class_name === "string" ? given.class_name : String(given);
  // Classes of Keras that are the mean of a loss.
  if (!Object.hasOwn(METRICS, classOf(className, METRICS)) && Object.hasOwn(LOSSES, classOf(className, LOSSES))) {
    if (isObject(given)) {
      const f = new Fields(`${who}: metric ${cut(className)}`, dialect, given.config ?? {});
      f.ignore("name", "dtype", "fn");
      for (const [option, value] of Object.entries({ from_logits: false, label_smoothing: 0, axis: -1 })) f.must(option, value);
      f.done();
    }
    return camel(snake(classOf(className, LOSSES))) as "accuracy";
  }
  const { value: metric, name } = made(who, "metric", dialect, given, METRICS);
  return name === null ? metric : { ...metric, name };
}

/** Applies `read` to one value, to each of a list, or to each by name. `isOne`: what counts as one. */
function each(value: unknown, read: (one: unknown) => unknown): unknown {
  const one = (v: unknown): boolean => typeof v === "string" || (isObject(v) && typeof v.class_name === "string");
  if (value === null || value === undefined) return null;
  if (one(value)) return read(value);
  if (Array.isArray(value)) return value.map((v: unknown) => each(v, read));
  return isObject(value) ? Object.fromEntries(Object.entries(value).map(([key, v]) => [key, each(v, read)])) : read(value);
}

/** A list of lists, of a model with one output, is a list. */
const flat = (value: unknown, outputs: number): unknown => (outputs === 1 && Array.isArray(value) ? (value.flat(4) as unknown[]) : value);

/**
 * Compiles a model as its file says, with the optimizer's state. @throws FileError for a loss, a metric or an optimizer that is not known
 */
export async function resume(
  who: string,
  model: Model,
  { dialect, training }: { readonly dialect: Dialect; readonly training: Json | null },
  { layers, optimizer: variables }: { readonly layers: readonly Layer[]; readonly optimizer: () => Promise<readonly Variable[]> },
  backend: BackendName | Backend | undefined,
): Promise<void> {
  if (!isObject(training)) return;
  const { loss, loss_weights: weights = null, metrics = null, weighted_metrics: weighted = null } = training;
  const description = training.optimizer ?? training.optimizer_config ?? null;
  if (loss === null || loss === undefined || description === null) return;
  const advice = `${who}: what it was compiled with (read it without: { compile: false })`;
  if (weighted !== null && JSON.stringify(weighted).replace(/[[\]{},]|null/g, "") !== "")
    throw new FileError(`${advice}: weighted_metrics ${show(weighted)} are not known: sample weights are of the loss alone`);
  const outputs = model.outputNames.length;
  if (outputs === 1 && weights !== null && (isObject(weights) ? Object.values(weights) : [weights].flat()).some((w) => w !== 1))
    throw new FileError(`${advice}: loss_weights ${show(weights)} of a single output are not known`);
  const read = each(loss, (one) => readLoss(advice, dialect, one));
  const optimizer = readOptimizer(advice, dialect, description);
  const list = flat(
    each(metrics, (one) => readMetric(advice, dialect, one)),
    outputs,
  );
  const options = {
    loss: outputs === 1 && Array.isArray(read) ? read[0] : read,
    optimizer,
    ...(list !== null && { metrics: Array.isArray(list) || isObject(list) ? list : [list] }),
    ...(weights !== null && outputs > 1 && { lossWeights: weights }),
    ...(backend !== undefined && { backend }),
  };
  try {
    await model.compile(options as unknown as CompileModelOptions);
  } catch (cause) {
    if (cause instanceof ArgumentError) throw new FileError(`${advice}: ${cut(cause.message, 500)}`, { cause });
    throw cause;
  }
  // TensorFlow.js keeps sums of gradients, Keras of steps.
  const { learningRate: rate } = optimizer.config;
  const scale = dialect === "tfjs" && optimizer.kind === "sgd" && typeof rate === "number" ? -rate : 1;
  loadState(who, dialect, optimizer, await variables(), model.parameters, orderOf(model, layers), scale);
}

/** The number that each trained weight has in the model, in Keras' order of layers. */
export function orderOf(model: Model, layers: readonly Layer[]): readonly number[] {
  const { parameters } = model;
  const seen = new Set<Tensor>();
  // Models within are among the layers, in front of their own.
  return layers.flatMap((l) =>
    (l.kind === "model" ? [] : l.weights).flatMap(({ tensor }) => {
      const number = parameters.indexOf(tensor);
      if (number < 0 || seen.has(tensor)) return [];
      seen.add(tensor);
      return [number];
    }),
  );
}

const described3 = (module: string, className: string, config: Json): Json => ({
  module,
  class_name: className,
  config,
  registered_name: null,
});

function writeLoss({ name, config }: Loss): Json {
  const className = classOf(name, LOSSES);
  if (!Object.hasOwn(LOSSES, className) || config.custom === true)
    throw new ArgumentError(`saveKeras: Keras has no loss like ${cut(name)}; save without it: { optimizer: false }`);
  const options = Object.entries(config).map(([option, value]) => [snake(option), value] as const);
  return described3("keras.losses", className, {
    name: snake(className),
    reduction: "sum_over_batch_size",
    ...Object.fromEntries(options),
  });
}

function writeMetric(metric: unknown): unknown {
  if (typeof metric === "string") return snake(metric);
  const { name, config } = Object(metric) as Metric;
  const className = classOf(String(name), METRICS);
  if (!Object.hasOwn(METRICS, className) && (/^acc(uracy)?$/.test(name) || Object.hasOwn(LOSSES, classOf(name, LOSSES))))
    return snake(name);
  if (!Object.hasOwn(METRICS, className))
    throw new ArgumentError(`saveKeras: Keras has no metric like ${cut(String(name))}; save without it: { optimizer: false }`);
  const [make, known = []] = METRICS[className];
  const defaults: { readonly [option: string]: unknown } = make().config;
  const other = Object.keys(config).find((o) => !known.includes(snake(o)) && JSON.stringify(config[o]) !== JSON.stringify(defaults[o]));
  if (other !== undefined)
    throw new ArgumentError(
      `saveKeras: Keras' ${className} has no option ${other} like that of ${cut(name)}; save without it: { optimizer: false }`,
    );
  const options = Object.entries(config).filter(([option]) => known.includes(snake(option)));
  return described3("keras.metrics", className, { name, ...Object.fromEntries(options.map(([o, v]) => [snake(o), v])) });
}

/**
 * What a compiled model learns by, and the optimizer's state in Keras' order; null before `compile`. `named`: it gives its outputs by name.
 * @throws ArgumentError for what Keras has not
 */
export function writeTraining(
  model: Model,
  layers: readonly Layer[],
  named: boolean,
): { readonly config: Json; readonly state: readonly Tensor[] } | null {
  const { training } = model;
  if (training === null) return null;
  const { outputs } = training;
  // One value, one for each output in order, or, where the model gives them by name, by name.
  const byOutput = (value: (output: (typeof outputs)[number]) => unknown): unknown =>
    outputs.length === 1
      ? value(outputs[0])
      : named
        ? Object.fromEntries(outputs.map((output) => [output.name, value(output)]))
        : outputs.map(value);
  // Of a single output as they were given; those of several have been resolved.
  const whole = (): unknown => model.metrics.map(writeMetric);
  const each = ({ metrics }: (typeof outputs)[number]): unknown => metrics.map(writeMetric);
  const config = {
    optimizer: writeOptimizer(training.optimizer),
    loss: byOutput(({ loss }) => (loss === null ? null : writeLoss(loss))),
    loss_weights: outputs.every(({ weight }) => weight === 1) ? null : byOutput(({ weight }) => weight),
    metrics: outputs.every(({ metrics }) => metrics.length === 0) ? null : byOutput(outputs.length === 1 ? whole : each),
    weighted_metrics: null,
    run_eagerly: false,
    steps_per_execution: 1,
    jit_compile: false,
  };
  return { config, state: stateOf(training.optimizer, orderOf(model, layers)) };
}

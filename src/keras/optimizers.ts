/** @file Optimizers and schedules, and their state, in both ways. */
import * as lockstep from "../index.ts";
import { ArgumentError, FileError } from "../index.ts";
import type { Config, Optimizer, Schedule, Tensor } from "../index.ts";
import { cut } from "../io/safetensors.ts";
import { sameShape } from "../shape.ts";
import { camel, described, Fields, isObject, known, ofKeras, show, snake } from "./fields.ts";
import type { Described, Dialect, Json } from "./fields.ts";
import { slotsOf } from "./slots.ts";
import type { Slots } from "./slots.ts";
import { floatsOf } from "./variables.ts";
import type { Variable } from "./variables.ts";

interface Rule {
  readonly kind: string;
  readonly make: (options: never) => Optimizer;
  /** Its own options, numbers and flags. */
  readonly options: readonly string[];
  /** Its state in Keras' order: tensors of one list lie side by side for each parameter. `options` as Lockstep has them. */
  readonly slots: (options: { readonly [option: string]: unknown }) => readonly (readonly string[])[];
  /** A scalar behind all. */
  readonly scalar?: string;
}

const pair = [["m", "v"]] as const;
const MOMENTS = ["beta_1", "beta_2", "epsilon", "amsgrad"];
const withMax = (o: { readonly [option: string]: unknown }): readonly (readonly string[])[] =>
  o.amsgrad === true ? [...pair, ["vMax"]] : pair;

const OPTIMIZERS: { readonly [className: string]: Rule } = {
  SGD: {
    kind: "sgd",
    make: lockstep.sgd,
    options: ["momentum", "nesterov"],
    slots: (o) => ((o.momentum ?? 0) === 0 ? [] : [["momentum"]]),
  },
  RMSprop: {
    kind: "rmsprop",
    make: lockstep.rmsprop,
    options: ["rho", "momentum", "epsilon", "centered"],
    slots: (o) => [
      ["velocity"],
      ...(Number(o.momentum ?? 0) > 0 ? [["momentum"]] : []),
      ...(o.centered === true ? [["averageGradient"]] : []),
    ],
  },
  Adam: { kind: "adam", make: lockstep.adam, options: MOMENTS, slots: withMax },
  AdamW: { kind: "adamw", make: lockstep.adamw, options: MOMENTS, slots: withMax },
  Adamax: { kind: "adamax", make: lockstep.adamax, options: MOMENTS.slice(0, 3), slots: () => [["m", "u"]] },
  Nadam: { kind: "nadam", make: lockstep.nadam, options: MOMENTS.slice(0, 3), slots: () => pair, scalar: "uProduct" },
  Adagrad: { kind: "adagrad", make: lockstep.adagrad, options: ["initial_accumulator_value", "epsilon"], slots: () => [["accumulator"]] },
  Adadelta: { kind: "adadelta", make: lockstep.adadelta, options: ["rho", "epsilon"], slots: () => [["gradients", "steps"]] },
  Lion: { kind: "lion", make: lockstep.lion, options: MOMENTS.slice(0, 2), slots: () => [["m"]] },
};

/** Options of all, as Keras has them. */
const COMMON: { readonly [option: string]: string } = {
  weight_decay: "weightDecay",
  clipnorm: "clipNorm",
  global_clipnorm: "globalClipNorm",
  clipvalue: "clipValue",
  use_ema: "useEma",
  ema_momentum: "emaMomentum",
  ema_overwrite_frequency: "emaOverwriteFrequency",
  gradient_accumulation_steps: "gradientAccumulationSteps",
};

const SCHEDULES: { readonly [className: string]: readonly [make: (options: never) => Schedule, options: readonly string[]] } = {
  ExponentialDecay: [lockstep.exponentialDecay, ["initial_learning_rate", "decay_steps", "decay_rate", "staircase"]],
  InverseTimeDecay: [lockstep.inverseTimeDecay, ["initial_learning_rate", "decay_steps", "decay_rate", "staircase"]],
  PolynomialDecay: [lockstep.polynomialDecay, ["initial_learning_rate", "decay_steps", "end_learning_rate", "power", "cycle"]],
  CosineDecay: [lockstep.cosineDecay, ["initial_learning_rate", "decay_steps", "alpha", "warmup_target", "warmup_steps"]],
  PiecewiseConstantDecay: [lockstep.piecewiseConstantDecay, ["boundaries", "values"]],
};

const numberOrFlag = (f: Fields, name: string): number | boolean =>
  typeof f.get(name) === "boolean" ? (f.get(name) as boolean) : f.number(name);

function scheduleOf(who: string, dialect: Dialect, value: unknown): Schedule {
  const { className, config } = described(`${who}: learning_rate`, value);
  const [make, options] = known(who, "schedule", className, SCHEDULES);
  const f = new Fields(`${who}: ${className}`, dialect, config);
  f.ignore("name");
  const given = options
    .filter((name) => f.has(name))
    .map((name) => [camel(name), Array.isArray(f.get(name)) ? f.get(name) : numberOrFlag(f, name)]);
  f.ignore(...options);
  f.done();
  return make(Object.fromEntries(given) as never);
}

/** Names of options that TensorFlow.js has otherwise, by class. */
const TFJS_OPTIONS: { readonly [className: string]: { readonly [option: string]: string } } = {
  Momentum: { useNesterov: "nesterov", use_nesterov: "nesterov" },
  RMSProp: { decay: "rho" },
};

/** An optimizer of TensorFlow.js with the names that Keras has for it. */
function ofTfjs(who: string, { className, config }: Pick<Described, "className" | "config">): Pick<Described, "className" | "config"> {
  if (className === "Adadelta" || config.centered === true)
    throw new FileError(
      `${who}: optimizer ${className}${config.centered === true ? " that is centered" : ""} of TensorFlow.js computes otherwise`,
    );
  const names = Object.hasOwn(TFJS_OPTIONS, className) ? TFJS_OPTIONS[className] : {};
  const own = Object.entries(config).map(([key, value]) => [
    Object.hasOwn(names, key) ? names[key] : snake(key).replace(/^beta(\d)$/, "beta_$1"),
    value,
  ]);
  return { className: className === "Momentum" ? "SGD" : className, config: Object.fromEntries(own) as Json };
}

/** The optimizer of a description. @throws FileError for classes and options that are not known */
export function readOptimizer(who: string, dialect: Dialect, value: unknown): Optimizer {
  const own: Pick<Described, "className" | "config"> =
    typeof value === "string" ? { className: value, config: {} } : ofKeras(`${who}: optimizer`, value);
  // What makes the loss of half precision larger, and the gradient smaller again: f32 needs neither.
  if (own.className === "LossScaleOptimizer" && isObject(own.config.inner_optimizer))
    return readOptimizer(who, dialect, own.config.inner_optimizer);
  const { className: given, config } = dialect === "tfjs" ? ofTfjs(who, own) : own;
  const className = Object.keys(OPTIMIZERS).find((name) => name.toLowerCase() === given.replace(/^.*>/, "").toLowerCase()) ?? given;
  const rule = known(who, "optimizer", className, OPTIMIZERS);
  const f = new Fields(`${who}: optimizer ${className}`, dialect, config);
  f.ignore("name", "jit_compile", "is_legacy_optimizer", "_use_locking");
  f.must("loss_scale_factor");
  f.must("decay", 0);
  const options: { [option: string]: unknown } = {};
  for (const [name, own] of Object.entries(COMMON)) {
    // Keras 2 writes false for none.
    if (f.has(name) && !(name === "weight_decay" && f.get(name) === false)) options[own] = numberOrFlag(f, name);
    f.ignore(name);
  }
  for (const name of rule.options) {
    if (f.has(name)) options[camel(name)] = numberOrFlag(f, name);
    f.ignore(name);
  }
  const rate = f.has("learning_rate") ? "learning_rate" : "lr";
  f.ignore("learning_rate", "lr");
  if (f.has(rate)) options.learningRate = isObject(f.get(rate)) ? scheduleOf(who, dialect, f.get(rate)) : f.number(rate);
  f.done();
  return rule.make(options as never);
}

const ruleOf = (kind: string): readonly [string, Rule] | undefined => Object.entries(OPTIMIZERS).find(([, r]) => r.kind === kind);

/** The names of an optimizer's state in Keras' order, for so many parameters; null for one of one's own. */
function stateNames({ kind, config }: Pick<Optimizer, "kind" | "config">, count: number): readonly string[] | null {
  const rule = ruleOf(kind)?.[1];
  if (rule === undefined) return null;
  const o: { readonly [option: string]: unknown } = config;
  const lists = [
    ...(o.useEma === true ? [["average"]] : []),
    ...(o.gradientAccumulationSteps ? [["gradientAccumulator"]] : []),
    ...rule.slots(o),
  ];
  const each = lists.flatMap((slots) => Array.from({ length: count }, (_, i) => slots.map((slot) => `${slot}/${i}`)).flat());
  const scheduled = typeof o.learningRate === "object";
  return ["iterations", ...(scheduled ? [] : ["learningRate"]), ...each, ...(rule.scalar === undefined ? [] : [rule.scalar])];
}

/** Names for variables that Keras 3 wrote: of all, or of a model that has not learned yet. */
function newerSlots(optimizer: Optimizer, variables: readonly Variable[], count: number): Slots | null {
  const states = [stateNames(optimizer, count), stateNames(optimizer, 0)].map((names) =>
    names?.filter((n) => variables.length > 2 || !n.includes("/")),
  );
  return states.find((list) => list !== undefined && list.length === variables.length) ?? null;
}

/** Names for variables that Keras 2 or TensorFlow.js wrote. */
function olderSlots(optimizer: Optimizer, variables: readonly Variable[], count: number): Slots | null {
  const names = (stateNames(optimizer, count) ?? []).filter((name) => name !== "learningRate" && name !== "uProduct");
  const found = slotsOf(optimizer.kind, variables, count, names);
  // All that it has must be there; what it has not, such as a momentum of 0, need not be used.
  return found !== null && names.every((name) => name === "iterations" || found.includes(name)) ? found : null;
}

/**
 * Gives `optimizer` the state that a file has. `order`: the number that each of Keras' parameters has in the model. `scale`: what the
 * numbers of slots are multiplied by. Where it is of another form a warning says that the optimizer begins anew, which is what Keras does.
 */
export function loadState(
  who: string,
  dialect: Dialect,
  optimizer: Optimizer,
  variables: readonly Variable[],
  parameters: readonly Tensor[],
  order: readonly number[],
  scale = 1,
): void {
  if (variables.length === 0) return;
  const first = optimizer.state();
  const own = new Set(stateNames(optimizer, order.length) ?? []);
  const names = (dialect === "keras3" ? newerSlots : olderSlots)(optimizer, variables, order.length);
  const placed = names
    ?.map((name, i) => {
      const [slot, number] = name.split("/");
      const own = number === undefined ? name : `${slot}/${order[Number(number)]}`;
      const shape = number === undefined ? [] : parameters[order[Number(number)]]?.shape;
      return { name, own, shape, variable: variables[i] };
    })
    .filter(({ name }) => own.has(name));
  if (placed === undefined || placed.some(({ shape, variable }) => shape === undefined || !sameShape(shape, variable.shape))) {
    console.warn(`lockstep: ${who}: the optimizer's state is of another form than is known; it begins anew`);
    return;
  }
  const scaled = (data: Float32Array, name: string): Float32Array =>
    scale === 1 || !name.includes("/") ? data : data.map((v) => v * scale);
  const saved = Object.fromEntries(
    placed.map(({ own, name, shape, variable }) => [own, { shape, data: scaled(floatsOf(who, variable), name) }]),
  );
  for (const [name, t] of Object.entries(first))
    if (!Object.hasOwn(saved, name) && !name.includes("/"))
      saved[name] = { shape: t.shape, data: Float32Array.from(t.host as Float32Array) };
  optimizer.load(saved);
}

/** An optimizer, or the one that another scales the loss for: what is read is that, and models do the scaling where it is needed. */
const innerOf = (optimizer: Pick<Optimizer, "kind" | "config">): Pick<Optimizer, "kind" | "config"> =>
  optimizer.kind === "lossScaleOptimizer"
    ? innerOf(optimizer.config.innerOptimizer as unknown as Pick<Optimizer, "kind" | "config">)
    : optimizer;

/** An optimizer as Keras has it. @throws ArgumentError for one that Keras has not */
export function writeOptimizer(optimizer: Optimizer): Json {
  const { kind, config } = innerOf(optimizer);
  const found = ruleOf(kind);
  if (found === undefined)
    throw new ArgumentError(`saveKeras: Keras has no optimizer like ${cut(kind)}; save without it: { optimizer: false }`);
  const [className, rule] = found;
  const o: { readonly [option: string]: unknown } = config;
  const own = Object.entries(COMMON).map(([name, option]) => [name, o[option] ?? null] as const);
  const options = rule.options.map((name) => [name, o[camel(name)]] as const).filter(([, value]) => value !== undefined);
  const rate = isObject(o.learningRate) ? writeSchedule(o.learningRate) : o.learningRate;
  const written = Object.fromEntries([["name", kind], ["learning_rate", rate], ...own, ["loss_scale_factor", null], ...options]) as Json;
  return { module: "keras.optimizers", class_name: className, config: written, registered_name: null };
}

function writeSchedule({ kind, config }: Json): Json {
  const found = Object.entries(SCHEDULES).find(([name]) => name.toLowerCase() === String(kind).toLowerCase());
  if (found === undefined)
    throw new ArgumentError(`saveKeras: Keras has no schedule like ${show(kind)}; save without it: { optimizer: false }`);
  const [className, [, options]] = found;
  const o = config as Config;
  const own = options.filter((name) => o[camel(name)] !== undefined).map((name) => [name, o[camel(name)]]);
  return {
    module: "keras.optimizers.schedules",
    class_name: className,
    config: Object.fromEntries([...own, ["name", className]]) as Json,
    registered_name: null,
  };
}

/** The state of an optimizer in Keras' order. */
export function stateOf(optimizer: Optimizer, order: readonly number[]): readonly Tensor[] {
  const state = optimizer.state();
  const count = Object.keys(state).some((name) => name.includes("/")) ? order.length : 0;
  return (stateNames(innerOf(optimizer), count) ?? []).map((name) => {
    const [slot, number] = name.split("/");
    return state[number === undefined ? name : `${slot}/${order[Number(number)]}`];
  });
}

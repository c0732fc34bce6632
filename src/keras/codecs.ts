/** @file Options of layers in both ways: as files of Keras have them, and as Lockstep's layers take them. */

import { add, ArgumentError, FileError, gelu, initializers, l1l2, maximum, minimum, mul } from "../index.ts";
import type { Regularizer, Shape, Tensor } from "../index.ts";
import { camel, Fields, isObject, known, ofKeras, show, snake } from "./fields.ts";
import type { Json } from "./fields.ts";

/** One option. */
export interface Codec {
  /** What Lockstep takes; undefined where its default is meant. @throws FileError */
  read(from: Fields, name: string): unknown;
  /** What Keras, or TensorFlow.js, takes; undefined where it need not be told. @throws ArgumentError for what it has not */
  write(value: unknown, who: string, dialect: "keras3" | "tfjs"): unknown;
  /** True where null is a value, which need not be the default. */
  readonly nulls?: boolean;
}

const same = (value: unknown): unknown => value;

export const NUMBER: Codec = { read: (f, name) => f.number(name), write: same };
export const COUNT: Codec = { read: (f, name) => f.count(name), write: same };
export const FLAG: Codec = { read: (f, name) => f.flag(name), write: same };
export const TEXT: Codec = { read: (f, name) => f.text(name), write: same };

/** An option that may be absent, when it is `otherwise`. */
export const optional = ({ read, write }: Codec, otherwise: unknown): Codec => ({
  read: (f, name) => (f.has(name) ? read(f, name) : (f.ignore(name), otherwise)),
  write,
});

/** One number, or one for each of `rank` dimensions, of at least `least`; Keras writes a list. */
export const sizes = (rank: number, least = 1): Codec => ({
  read(f, name) {
    const value = f.get(name);
    const fits = (v: unknown): boolean => Number.isInteger(v) && (v as number) >= least && (v as number) < 2 ** 31;
    if (fits(value)) return value;
    if (Array.isArray(value) && value.length === rank && value.every(fits)) return value as number[];
    throw f.fault(name, `an integer >= ${least} or ${rank} of them`);
  },
  write: (value) => (typeof value === "number" ? new Array<number>(rank).fill(value) : value),
});

/** A list of integers; null stands for -1. */
export const DIMS: Codec = {
  read(f, name) {
    const value = f.get(name);
    const list = Array.isArray(value) ? value.map((d: unknown) => d ?? -1) : null;
    if (list === null || !list.every(Number.isInteger)) throw f.fault(name, "a list of integers");
    return list as number[];
  },
  write: same,
};

/** A dimension, or a list of them; a list of one is that one. */
export const AXES: Codec = {
  read(f, name) {
    const value = f.get(name);
    if (Number.isInteger(value)) return value;
    if (!Array.isArray(value) || value.length === 0 || !value.every(Number.isInteger)) throw f.fault(name, "an integer or a list of them");
    return value.length === 1 ? (value[0] as number) : (value as number[]);
  },
  write: same,
};

/** A number, or one for each feature. */
export const NUMBERS: Codec = {
  read(f, name) {
    const value = f.get(name);
    if (![value].flat().every((v) => Number.isFinite(v))) throw f.fault(name, "a number or a list of them");
    return value;
  },
  write: same,
};

/** A word of several parts. */
export const MODE: Codec = { read: (f, name) => camel(f.text(name)), write: (value) => snake(String(value)) };

/** What classes and tokens become; Keras 2 had other names at first. */
export const OUTPUT_MODE: Codec = {
  read: (f, name) => (f.get(name) === "binary" ? "multiHot" : f.get(name) === "tf-idf" ? "tfIdf" : MODE.read(f, name)),
  write: MODE.write,
};

/** One dimension, which may come as a list of one. */
export const AXIS: Codec = {
  read(f, name) {
    const axis = AXES.read(f, name);
    if (Array.isArray(axis)) throw f.fault(name, "one dimension");
    return axis;
  },
  write: same,
};

/** clip(0.2 x + 0.5, 0, 1): what Keras 2 and TensorFlow.js call hard_sigmoid. */
export function hardSigmoidOfKeras2(x: Tensor): Tensor {
  return minimum(1, maximum(0, add(mul(x, 0.2), 0.5)));
}

/** The tanh form. */
export function geluApproximate(x: Tensor): Tensor {
  return gelu(x, true);
}

/** Activations by Keras' names. */
const ACTIVATIONS: { readonly [name: string]: string | ((x: Tensor) => Tensor) } = {
  linear: "linear",
  relu: "relu",
  relu6: "relu6",
  leaky_relu: "leakyRelu",
  elu: "elu",
  selu: "selu",
  tanh: "tanh",
  sigmoid: "sigmoid",
  hard_sigmoid: "hardSigmoid",
  softplus: "softplus",
  softsign: "softsign",
  exponential: "exponential",
  softmax: "softmax",
  log_softmax: "logSoftmax",
  gelu: "gelu",
  silu: "silu",
  swish: "silu",
  mish: "mish",
  hard_silu: "hardSilu",
  hard_swish: "hardSilu",
};

/** Those of TensorFlow.js and Keras 2 that are other functions, or other names. */
const OLDER: typeof ACTIVATIONS = Object.assign({}, ACTIVATIONS, { hard_sigmoid: hardSigmoidOfKeras2, gelu_new: geluApproximate });

/** Those of TensorFlow.js. */
const IN_TFJS: typeof ACTIVATIONS = Object.fromEntries(
  [
    "linear",
    "relu",
    "relu6",
    "elu",
    "selu",
    "tanh",
    "sigmoid",
    "softplus",
    "softsign",
    "softmax",
    "log_softmax",
    "gelu",
    "gelu_new",
    "swish",
    "mish",
    "hard_sigmoid",
  ].map((name) => [name, OLDER[name]]),
);

/** What an activation's value may be: a name, or a function of Keras as an object. */
function activationName(f: Fields, name: string): string {
  const value = f.get(name);
  if (typeof value === "string") return snake(value);
  if (value === null) return "linear";
  const { className, config } =
    isObject(value) && value.class_name === "function" ? functionOf(f, name, value) : ofKeras(`${f.who}: ${name}`, value);
  if (Object.keys(config).some((key) => key !== "name" && key !== "dtype" && key !== "trainable"))
    throw new FileError(`${f.who}: ${name} = ${show(className)} has options, which only a layer of its own takes`);
  return snake(className);
}

/** A function as Keras 3 writes it: `{ class_name: "function", config: name }`. */
function functionOf(f: Fields, name: string, value: Json): { className: string; config: Json } {
  ofKeras(`${f.who}: ${name}`, { ...value, class_name: String(value.config), config: {} });
  if (typeof value.config !== "string") throw new FileError(`${f.who}: expected the name of a function, found ${show(value.config)}`);
  return { className: value.config, config: {} };
}

export const ACTIVATION: Codec = {
  nulls: true,
  read: (f, name) => known(f.who, "activation", activationName(f, name), f.dialect === "keras3" ? ACTIVATIONS : OLDER),
  write(value, who, dialect) {
    const given = value ?? "linear";
    const { name = given } = Object(given) as { name?: unknown };
    const table = dialect === "tfjs" ? IN_TFJS : ACTIVATIONS;
    const found = Object.keys(table).find((key) => {
      const own = table[key];
      return (typeof own === "function" ? own.name : own) === (typeof given === "string" ? given : name) || camel(key) === given;
    });
    const clash = dialect === "tfjs" && given === "hardSigmoid";
    if (found !== undefined && !clash) return found;
    const whose = dialect === "tfjs" ? "TensorFlow.js" : "Keras";
    throw new ArgumentError(`${who}: ${whose} has no activation like ${show(name)}; it has ${Object.keys(table).join(", ")}`);
  },
};

/** Fans as Keras computes them. */
function fansOf(shape: Shape): readonly [number, number] {
  if (shape.length < 2) return [shape[0] ?? 1, shape[0] ?? 1];
  const window = shape.slice(0, -2).reduce((a, b) => a * b, 1);
  return [shape[shape.length - 2] * window, shape[shape.length - 1] * window];
}

type Make = (f: Fields) => string | ReturnType<typeof initializers.constant>;

/** Standard deviation of a normal distribution that is cut off at two of them. */
const TRUNCATED = 0.87962566103423978;

const varianceScaling: Make = (f) => {
  const [scale, mode, distribution] = [f.number("scale", 1), f.text("mode", "fan_in"), f.text("distribution", "truncated_normal")];
  f.ignore("seed");
  if (!["fan_in", "fan_out", "fan_avg"].includes(mode)) throw f.fault("mode", "fan_in, fan_out or fan_avg");
  if (!["uniform", "normal", "truncated_normal", "untruncated_normal"].includes(distribution))
    throw f.fault("distribution", "uniform, normal, truncated_normal or untruncated_normal");
  if (!(scale > 0)) throw f.fault("scale", "a positive number");
  return (shape, random) => {
    const [fanIn, fanOut] = fansOf(shape);
    const variance = scale / Math.max(1, mode === "fan_in" ? fanIn : mode === "fan_out" ? fanOut : (fanIn + fanOut) / 2);
    const limit = Math.sqrt(3 * variance);
    const deviation = Math.sqrt(variance);
    if (distribution === "uniform") return initializers.randomUniform(-limit, limit)(shape, random);
    if (distribution === "untruncated_normal") return initializers.randomNormal(0, deviation)(shape, random);
    return initializers.truncatedNormal(0, deviation / TRUNCATED)(shape, random);
  };
};

const plainInitializer =
  (name: string): Make =>
  (f) => {
    f.ignore("seed", "dtype", "input_axes", "output_axes");
    return name;
  };

/** One that takes numbers: its name, where they are the defaults. */
const numbered =
  (
    name: string,
    defaults: { readonly [option: string]: number },
    make: (...numbers: number[]) => Exclude<ReturnType<Make>, string>,
  ): Make =>
  (f) => {
    f.ignore("seed", "dtype");
    const numbers = Object.entries(defaults).map(([option, otherwise]) => f.number(option, otherwise));
    return Object.values(defaults).every((n, i) => n === numbers[i]) ? name : make(...numbers);
  };

const INITIALIZERS: { readonly [name: string]: Make } = {
  zeros: plainInitializer("zeros"),
  ones: plainInitializer("ones"),
  glorot_uniform: plainInitializer("glorotUniform"),
  glorot_normal: plainInitializer("glorotNormal"),
  he_uniform: plainInitializer("heUniform"),
  he_normal: plainInitializer("heNormal"),
  lecun_uniform: plainInitializer("lecunUniform"),
  lecun_normal: plainInitializer("lecunNormal"),
  constant: numbered("constant", { value: 0 }, initializers.constant),
  random_uniform: numbered("randomUniform", { minval: -0.05, maxval: 0.05 }, initializers.randomUniform),
  random_normal: numbered("randomNormal", { mean: 0, stddev: 0.05 }, initializers.randomNormal),
  truncated_normal: numbered("truncatedNormal", { mean: 0, stddev: 0.05 }, initializers.truncatedNormal),
  orthogonal: numbered("orthogonal", { gain: 1 }, initializers.orthogonal),
  identity: numbered("identity", { gain: 1 }, initializers.identity),
  variance_scaling: varianceScaling,
};

/** Names that are written otherwise in some files. */
const ALIASES: { readonly [name: string]: string } = {
  le_cun_uniform: "lecun_uniform",
  le_cun_normal: "lecun_normal",
  identity_initializer: "identity",
  orthogonal_initializer: "orthogonal",
  uniform: "random_uniform",
  normal: "random_normal",
  zero: "zeros",
  one: "ones",
};

const initializerName = (className: string): string => {
  const name = snake(className);
  return Object.hasOwn(ALIASES, name) ? ALIASES[name] : name;
};

/** What is in the weights already; Lockstep's default where the file does not say. */
export const INITIALIZER: Codec = {
  read(f, name) {
    const value = f.get(name);
    if (value === null) return undefined;
    const { className, config } = typeof value === "string" ? { className: value, config: {} } : ofKeras(`${f.who}: ${name}`, value);
    const who = `${f.who}: ${name}`;
    const make = known(who, "initializer", initializerName(className), INITIALIZERS);
    const fields = new Fields(who, f.dialect, config);
    fields.ignore("name");
    const made = make(fields);
    fields.done();
    return made;
  },
  write(value, _who, dialect) {
    // Weights are in the file.
    if (typeof value !== "string" || dialect === "tfjs") return undefined;
    const className = value[0].toUpperCase() + value.slice(1);
    const config = /^(zeros|ones)$/.test(value) ? {} : /^(constant|identity)$/.test(value) ? {} : { seed: null };
    return { module: "keras.initializers", class_name: className, config, registered_name: null };
  },
};

export const REGULARIZER: Codec = {
  read(f, name): Regularizer | null {
    const value = f.get(name);
    if (value === null) return null;
    const { className, config } = typeof value === "string" ? { className: value, config: {} } : ofKeras(`${f.who}: ${name}`, value);
    const kind = className.toLowerCase();
    const who = `${f.who}: ${name}`;
    if (!["l1", "l2", "l1l2", "l1_l2"].includes(kind))
      throw new FileError(`${who}: regularizer ${show(className)} is not known; known are L1, L2, L1L2`);
    const fields = new Fields(who, f.dialect, config);
    fields.ignore("name");
    // Their defaults when they are named alone; an object says both.
    const factor = typeof value === "string" ? 0.01 : 0;
    const l1 = kind === "l2" ? 0 : fields.number("l1", factor);
    const l2 = kind === "l1" ? 0 : fields.number("l2", factor);
    fields.done();
    return l1 === 0 && l2 === 0 ? null : l1l2(l1, l2);
  },
  write(value, who, dialect) {
    if (value === null || value === undefined) return null;
    const named = { l1: { l1: 0.01 }, l2: { l2: 0.01 }, l1l2: { l1: 0.01, l2: 0.01 } } as const;
    const config = typeof value === "string" && Object.hasOwn(named, value) ? named[value as keyof typeof named] : value;
    if (!isObject(config) || !("l1" in config || "l2" in config))
      throw new ArgumentError(`${who}: its regularizer is one's own, which a file of Keras cannot hold`);
    const { l1 = 0, l2 = 0 } = config as { l1?: number; l2?: number };
    const own = { class_name: "L1L2", config: { l1, l2 } };
    return dialect === "tfjs" ? own : { module: "keras.regularizers", ...own, registered_name: null };
  },
};

/**
 * @file What the layers share in reading their options: unknown keys are refused, activations are split into what kernels apply and the
 * rest, everything is kept as plain data.
 */
import { checkOneOf, kindOf, plain, shown } from "../check.ts";
import { ArgumentError, ShapeError } from "../errors.ts";
import { isKernelActivation, KERNEL_ACTIVATIONS, otherActivation } from "../ops/activation.ts";
import type { ActivationName } from "../ops/activation.ts";
import { cast } from "../ops/map.ts";
import { reshape } from "../ops/move.ts";
import { pair } from "../ops/window.ts";
import type { Pair } from "../ops/window.ts";
import { naming } from "../naming.ts";
import { optionsOf } from "../options.ts";
import type { Given } from "../options.ts";
import type { Activation } from "../plan/kernels.ts";
import type { Attr } from "../op.ts";
import { showShape } from "../shape.ts";
import type { Shape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import type { Initializer, InitializerName } from "./initializers.ts";
import { initializer } from "./initializers.ts";
import { layerFrom } from "./layer.ts";
import type { Config, Layer, LayerDescription, Regularizer, Weight, WeightOptions } from "./layer.ts";
import { maskOf, masked } from "./masks.ts";
import { regularizer } from "./regularizers.ts";
import type { RegularizerOption } from "./regularizers.ts";
import { TRAINING } from "../training.ts";

export { checkCount, checkNumber, checkOneOf } from "../check.ts";
export type { Given } from "../options.ts";

/** A name, a function of the tensor, or null for none (the same as "linear"). */
export type ActivationOption = ActivationName | ((x: Tensor) => Tensor) | null;
/** A name or a function of shape and random source. */
export type InitializerOption = InitializerName | Initializer;

/** What all layers take. */
export interface NameOption {
  /** Default: given by the model, from the kind and a number. */
  readonly name?: string;
}

/** What stands in a config for a function, which cannot be written to a file. */
export const CUSTOM = { custom: true } as const;

/** A function by its name, for `loadModel` to ask for; the option's own name is what engines call one that was given none. */
const namedCustom = ({ name }: { readonly name: string }, key: string): Attr =>
  name === "" || name === key ? CUSTOM : { ...CUSTOM, name };

/**
 * Options as plain data: functions become their own config or `CUSTOM`, with their names, except those of initializers, which are
 * left out: what they made is in the weights.
 */
function configOf(options: { readonly [key: string]: unknown }): Config {
  const config: { [key: string]: Attr } = {};
  for (const [key, value] of Object.entries(options)) {
    if (key === "name" && value === "") continue;
    if (typeof value !== "function") config[key] = value as Attr;
    else if (key.endsWith("Regularizer")) config[key] = ((value as Regularizer).config as Attr | undefined) ?? namedCustom(value, key);
    else if (!key.endsWith("Initializer")) config[key] = namedCustom(value, key);
  }
  return config;
}

const MADE = new WeakSet<Layer>();

/** True for Lockstep's own layers, whose kind and config are all that it takes to make them again. */
export const isMade = (l: Layer): boolean => MADE.has(l);

/** A model of one input and one output, which layers that hold another, such as `layerStack`, take in its place. */
export interface ModelAsLayer {
  /** Its name. */
  readonly name: string;
  /** Its weights; none before it is built. */
  readonly weights: readonly Weight[];
  /** Its layers. */
  readonly layers: readonly Layer[];
  /** What it computes. */
  call(x: Tensor): Tensor;
}

/** `given` as a layer within another: of a model the layer that it is. @throws ArgumentError for what is neither */
export function partOf(who: string, given: Layer | ModelAsLayer, such: string): Layer {
  const { asLayer = given } = Object(given) as { readonly asLayer?: unknown };
  const { kind, call } = Object(asLayer) as Partial<Layer>;
  if (typeof kind !== "string" || typeof call !== "function")
    throw new ArgumentError(`${who}: expected a layer, such as ${such}, got ${kindOf(given)}`);
  return asLayer as Layer;
}

/** A layer within the config of another. */
export const described = (inner: Layer): Attr => ({ kind: inner.kind, config: inner.config as Attr, ...(!isMade(inner) && { own: true }) });

/** [height, width] of an option that one number may stand for. @throws ArgumentError */
export function pairOf(who: string, what: string, value: Pair, least = 1): readonly [number, number] {
  return pair(`${who}: ${what}`, value, least);
}

/** An option of a window over images, or over sequences, where it is a number that may come as [number]. */
export type PairOrSingle = Pair | readonly [number];

/** The same as [height, width]; for sequences (a rank of 3), which are images of height 1, [1, length]. @throws ArgumentError */
export function windowOf(who: string, rank: 3 | 4, what: string, value: PairOrSingle): readonly [number, number] {
  if (rank === 4) return pairOf(who, what, value as Pair);
  const one: unknown = Array.isArray(value) && value.length === 1 ? value[0] : value;
  if (!Number.isInteger(one) || (one as number) < 1)
    throw new ArgumentError(
      `${who}: ${what} must be an integer >= 1, got ${Array.isArray(value) ? `[${value.join(", ")}]` : shown(value)}`,
    );
  return [1, one as number];
}

/** @throws ArgumentError for another padding; for numbers, as PyTorch takes them, it names the layer that pads by so much. */
export function checkPadding<P extends string>(kind: string, padding: P, known: readonly P[]): void {
  if (typeof padding !== "string" && kind.endsWith("2d"))
    throw new ArgumentError(`${kind}: padding must be "valid" or "same", got ${shown(padding)}; the layer zeroPadding2d pads by numbers`);
  checkOneOf(kind, "padding", padding, known);
}

/** @throws ShapeError unless `shape` is that of sequences (a rank of 3), images (4) or volumes (5). */
export function checkImages(shape: Shape, rank: number): void {
  checkRank(shape, `[batch, ${rank === 3 ? "time" : `${rank === 4 ? "" : "depth, "}height, width`}, channels]`, rank);
}

/** What `fn` gives for images; sequences, of a rank of 3, become images of height 1 and sequences again. */
export function onImages(x: Tensor, rank: 3 | 4, fn: (images: Tensor) => Tensor): Tensor {
  checkImages(x.shape, rank);
  if (rank === 4) return fn(x);
  const [batch, ...rest] = x.shape;
  const y = fn(reshape(x, [batch, 1, ...rest]));
  return reshape(y, [batch, ...y.shape.slice(2)]);
}

/** @throws ShapeError unless `shape` has a rank of at least `least` and at most `most`. */
export function checkRank(shape: Shape, meaning: string, least: number, most = least): void {
  if (shape.length >= least && shape.length <= most) return;
  // What recurrent layers give by default.
  const flat = shape.length === 2 && meaning.includes("time") ? "; a recurrent layer before it needs returnSequences: true" : "";
  throw new ShapeError(`expected ${meaning}, got ${showShape(shape)}${flat}`);
}

/** The size of the last dimension. */
export const lastOf = (shape: Shape): number => shape[shape.length - 1];

/** @throws ShapeError unless the last dimension still is what the weights were made for. */
export function checkFeatures(x: Tensor, features: number): void {
  if (lastOf(x.shape) !== features)
    throw new ShapeError(`its weights were made for ${features} features in the last dimension, got ${showShape(x.shape)}`);
}

export interface SplitActivation {
  /** What the kernel applies. */
  readonly kernel: Activation;
  /** Applies the rest. */
  readonly after: (x: Tensor) => Tensor;
  /** True where the kernel applies all of it. */
  readonly inKernel: boolean;
}

/** @throws ArgumentError for an unknown name, and for a function that was lost in a file. */
export function activationOf(who: string, option: ActivationOption): SplitActivation {
  const value: unknown = option ?? "linear";
  if (typeof value !== "string" && typeof value !== "function") {
    const why = isCustom(value) ? ": a function was there when it was saved; give it again" : "";
    const got = isLayer(value) ? "a layer: put it behind this one" : shown(value);
    throw new ArgumentError(`${who}: expected the name of an activation or a function, got ${got}${why}`);
  }
  if (typeof value === "string" && isKernelActivation(value)) return { kernel: value, after: (x) => x, inKernel: true };
  return {
    kernel: "linear",
    after: typeof value === "string" ? otherActivation(who, value) : (value as (x: Tensor) => Tensor),
    inKernel: false,
  };
}

/** All of an activation as a function. */
export const whole =
  ({ kernel, after }: SplitActivation) =>
  (x: Tensor): Tensor =>
    after(KERNEL_ACTIVATIONS[kernel](x));

const isLayer = (value: unknown): boolean => typeof (value as Partial<Layer>).call === "function";

/** True for what stands in a config for a function. */
export function isCustom(value: unknown): boolean {
  return typeof value === "object" && value !== null && (value as { custom?: unknown }).custom === true;
}

/**
 * Makes a weight, begun and penalized as the options of its name say: kernelInitializer and kernelRegularizer for kernel. `option` is that
 * name where it is another.
 */
export type MakeWeight = (name: string, shape: Shape, more?: Partial<WeightOptions>, option?: string) => Tensor;

/** What is left to say of a layer once its options are read. */
export interface OptionsDescription extends Pick<LayerDescription, "parts" | "call" | "mask" | "inputs"> {
  readonly options?: readonly string[];
  readonly build?: (inputShape: Shape, weight: MakeWeight, ...more: readonly (Shape | null)[]) => void;
  /** True for layers that take elements of any dtype as they are. The others compute in f32: `call` has x as such. */
  readonly anyDtype?: boolean;
}

/** What Keras and TensorFlow.js take as options of layers and what stands elsewhere here: its name in small letters, and what to write. */
const ELSEWHERE: readonly (readonly [name: RegExp, write: string])[] = [
  [/^(batch)?input(shape|dim|length|size)$/, "sequential([...], { inputShape: [...] })"],
  [/^(stateful|returnstate)$/, "layer.callWithStates(x, ...states)"],
  [/^trainable$/, "layer.trainable = false"],
];

/**
 * @throws ArgumentError for arguments that are given as options (TensorFlow.js takes all in one object) and options that stand elsewhere:
 * it says where.
 */
function checkPlaces(kind: string, args: { readonly [name: string]: unknown }, known: object, given: object | undefined): void {
  const names = Object.keys(args);
  const asOptions = names.filter((name) => Object.hasOwn(Object(args[name]), name));
  for (const key of [...asOptions, ...Object.keys(given ?? {}).filter((k) => !(k in known))]) {
    const small = plain(key);
    const write = names.some((name) => plain(name) === small)
      ? `${kind}(${names.join(", ")}, { ... })`
      : ELSEWHERE.find(([name]) => name.test(small))?.[1];
    if (write !== undefined) throw new ArgumentError(`${kind}: ${key} is no option of a layer; write ${write}`);
  }
}

/** @throws ArgumentError for an initializer or regularizer that is none. */
function checkBeginnings(kind: string, options: { readonly [option: string]: unknown }): void {
  naming(kind, () => {
    for (const [key, value] of Object.entries(options)) {
      if (key.endsWith("Initializer")) initializer(value as InitializerOption);
      if (key.endsWith("Regularizer")) regularizer(value as RegularizerOption);
    }
  });
}

/**
 * A layer from its positional arguments by name and its options, which together are its config.
 * @throws ArgumentError for unknown options, initializers and regularizers, and what `describe` refuses
 */
export function layerOf<D extends object>(
  kind: string,
  args: { readonly [name: string]: unknown },
  defaults: D,
  given: Given<D>,
  describe: (options: D) => OptionsDescription,
): Layer {
  if (TRAINING) checkPlaces(kind, args, defaults, given);
  const o = optionsOf(kind, defaults, given);
  const { name } = o as NameOption;
  if (typeof name !== "string") throw new ArgumentError(`${kind}: name must be a string, got ${String(name)}`);
  const of = { ...o } as { readonly [option: string]: unknown };
  if (TRAINING) checkBeginnings(kind, of);
  const { build, call, anyDtype, ...rest } = describe(o);
  const made = layerFrom({
    kind,
    config: configOf({ ...args, ...of }),
    build: (shape, weight, ...others) => {
      const make: MakeWeight = (name, size, more, option = name) => {
        // Weights that only predict get their elements from a file.
        const init = (TRAINING ? of[`${option}Initializer`] : "zeros") as InitializerOption;
        const penalty = TRAINING ? regularizer((of[`${option}Regularizer`] ?? null) as RegularizerOption) : null;
        return weight(name, size, { init, regularizer: penalty, ...more });
      };
      build?.(shape, make, ...others);
    },
    call: anyDtype ? call : (x, ...more) => call(masked(cast(x, "f32"), maskOf(x)), ...more),
    // A layer that passed over a second tensor would compute something else than was meant.
    inputs: 1,
    ...rest,
  });
  MADE.add(made);
  return made;
}

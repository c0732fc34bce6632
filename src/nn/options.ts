/** @file What the layers share in reading their options: unknown keys are refused, activations are split into what kernels apply and the rest, everything is kept as plain data. */
import { hint } from "../check.ts";
import { ArgumentError, ShapeError } from "../errors.ts";
import { activationByName, isKernelActivation } from "../ops/activation.ts";
import type { ActivationName } from "../ops/activation.ts";
import { pair } from "../ops/window.ts";
import type { Pair } from "../ops/window.ts";
import type { Activation } from "../plan/kernels.ts";
import type { Attr } from "../plan/plan.ts";
import { showShape } from "../shape.ts";
import type { Shape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import type { Initializer, InitializerName } from "./initializers.ts";
import { initializer } from "./initializers.ts";
import type { Config, Regularizer, WeightOptions } from "./layer.ts";
import { regularizer } from "./regularizers.ts";
import type { RegularizerOption } from "./regularizers.ts";

export { checkCount, checkNumber, checkOneOf } from "../check.ts";

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

/**
 * `given` over `defaults`; a value of undefined counts as not given.
 * @throws ArgumentError listing the options for a key that is none of them.
 */
export function optionsOf<D extends object>(who: string, defaults: D, given: { readonly [K in keyof D]?: D[K] | undefined }): D {
  if (typeof given !== "object" || given === null || Array.isArray(given)) throw new ArgumentError(`${who}: expected an object of options, got ${JSON.stringify(given)}; options are ${Object.keys(defaults).join(", ")}`);
  const unknown = Object.keys(given).find((key) => !Object.hasOwn(defaults, key));
  if (unknown !== undefined) throw new ArgumentError(`${who}: unknown option "${unknown}"; ${hint(unknown, Object.keys(defaults))}options are ${Object.keys(defaults).join(", ")}`);
  const { name } = given as NameOption;
  if (name !== undefined && typeof name !== "string") throw new ArgumentError(`${who}: name must be a string, got ${String(name)}`);
  return { ...defaults, ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) };
}

/** Options as plain data: functions become their own config or `CUSTOM`, except those of initializers, which are left out: what they made is in the weights. */
export function configOf(options: { readonly [key: string]: unknown }): Config {
  const config: { [key: string]: Attr } = {};
  for (const [key, value] of Object.entries(options)) {
    if (key === "name" && value === "") continue;
    if (typeof value !== "function") config[key] = value as Attr;
    else if (key.endsWith("Regularizer")) config[key] = ((value as Regularizer).config as Attr | undefined) ?? CUSTOM;
    else if (!key.endsWith("Initializer")) config[key] = CUSTOM;
  }
  return config;
}

/** [height, width] of an option that one number may stand for. @throws ArgumentError */
export function pairOf(who: string, what: string, value: Pair, least = 1): readonly [number, number] {
  return pair(`${who}: ${what}`, value, least);
}

/** The number of an option of one dimension, which may come as [number]. @throws ArgumentError */
export function singleOf(who: string, what: string, value: number | readonly [number]): number {
  const one = typeof value === "number" ? value : Array.isArray(value) && value.length === 1 ? (value[0] as number) : Number.NaN;
  if (!Number.isInteger(one) || one < 1) throw new ArgumentError(`${who}: ${what} must be an integer >= 1, got ${JSON.stringify(value)}`);
  return one;
}

/** @throws ShapeError unless `shape` has a rank of at least `least` and at most `most`. */
export function checkRank(shape: Shape, meaning: string, least: number, most = least): void {
  if (shape.length < least || shape.length > most) throw new ShapeError(`expected ${meaning}, got ${showShape(shape)}`);
}

/** The size of the last dimension. */
export const lastOf = (shape: Shape): number => shape[shape.length - 1];

/** @throws ShapeError unless the last dimension still is what the weights were made for. */
export function checkFeatures(x: Tensor, features: number): void {
  if (lastOf(x.shape) !== features) throw new ShapeError(`its weights were made for ${features} features in the last dimension, got ${showShape(x.shape)}`);
}

export interface SplitActivation {
  /** What the kernel applies. */
  readonly kernel: Activation;
  /** Applies the rest. */
  readonly after: (x: Tensor) => Tensor;
  /** All of it, as a function. */
  readonly apply: (x: Tensor) => Tensor;
  /** True where the kernel applies all of it. */
  readonly inKernel: boolean;
}

/** @throws ArgumentError for an unknown name, and for a function that was lost in a file. */
export function activationOf(who: string, option: ActivationOption): SplitActivation {
  const value: unknown = option ?? "linear";
  const same = (x: Tensor): Tensor => x;
  if (typeof value === "function") {
    const apply = value as (x: Tensor) => Tensor;
    return { kernel: "linear", after: apply, apply, inKernel: false };
  }
  if (typeof value !== "string") throw new ArgumentError(`${who}: expected the name of an activation or a function, got ${JSON.stringify(value)}${isCustom(value) ? ": a function was there when the model was saved; make the layer again with it" : ""}`);
  const apply = activationByName(who, value);
  return isKernelActivation(value) ? { kernel: value, after: same, apply, inKernel: true } : { kernel: "linear", after: apply, apply, inKernel: false };
}

/** True for what stands in a config for a function. */
export function isCustom(value: unknown): boolean {
  return typeof value === "object" && value !== null && (value as { custom?: unknown }).custom === true;
}

/** The options of `weight()` for an initializer and a regularizer. @throws ArgumentError at once for unknown ones. */
export function weightOptions(who: string, init: InitializerOption, penalty: RegularizerOption = null): WeightOptions {
  try {
    return { init: initializer(init), regularizer: regularizer(penalty) };
  } catch (error) {
    if (error instanceof ArgumentError) error.message = `${who}: ${error.message}`;
    throw error;
  }
}

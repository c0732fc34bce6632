/**
 * @file What a rule is: how one class of Keras is one kind of layer. Names of options are Keras' with Lockstep's in camelCase, so that a
 * rule lists what there is, and what must be as it is. The tables in rules/ are of such rules.
 */
import type { Config, Layer } from "../index.ts";
import { ACTIVATION, FLAG, INITIALIZER, REGULARIZER, TEXT } from "./codecs.ts";
import type { Codec } from "./codecs.ts";
import type { Fields } from "./fields.ts";

/** Where the weights of a layer stand in a file of Keras 3, below its group; by Lockstep's names where they are in groups of their own. */
export type Groups = string | { readonly [weight: string]: readonly [group: string, index: number] };

/** How one class of Keras is one kind of layer. */
export interface Rule {
  /** Keras' names of it; the first is written. */
  readonly classes: readonly string[];
  /** Lockstep's name. */
  readonly kind: string;
  readonly make: (...args: never[]) => Layer;
  /** Options that Lockstep takes as arguments, in order. */
  readonly args: readonly string[];
  readonly fields: { readonly [option: string]: Codec };
  /** Lockstep's names of options where they are others. */
  readonly names: { readonly [option: string]: string };
  /** Options that must have one of these values where they are there; the first is written. */
  readonly must: { readonly [option: string]: readonly unknown[] };
  /** Options that change no number, with what is written. */
  readonly ignored: { readonly [option: string]: unknown };
  /** Names in older files. */
  readonly older: { readonly [option: string]: string };
  /** Of a rule that is only read: another one is written for this kind. */
  readonly readOnly: boolean;
  readonly groups: Groups;
  /** @throws FileError for what this layer cannot be; before it is made */
  readonly check?: (from: Fields) => void;
  /** What TensorFlow.js computes otherwise of an input of this shape; null: nothing. */
  readonly inTfjs?: (shape: readonly number[], options: Config) => string | null;
}

/** Rules by Lockstep's kinds; several where Keras has several classes. */
export type Rules = { readonly [kind: string]: Rule | readonly Rule[] };

/** Some options, which several classes have. */
export type Part = Partial<Omit<Rule, "classes" | "kind" | "make">>;

/** Several parts as one; options of each kind add up. */
export const joined = (...parts: readonly Part[]): Part =>
  parts.reduce<Part>(
    (a, b) => ({
      ...a,
      ...b,
      fields: { ...a.fields, ...b.fields },
      must: { ...a.must, ...b.must },
      ignored: { ...a.ignored, ...b.ignored },
      names: { ...a.names, ...b.names },
      older: { ...a.older, ...b.older },
    }),
    {},
  );

export const rule = (classes: string, make: (...args: never[]) => Layer, ...parts: readonly Part[]): Rule => ({
  args: [],
  names: {},
  readOnly: false,
  groups: "",
  fields: {},
  must: {},
  ignored: {},
  older: {},
  ...joined(...parts),
  classes: classes.split(" "),
  kind: "",
  make,
});

export const weighted = (...names: readonly string[]): Part => ({
  fields: Object.fromEntries(
    names.flatMap((name) => [
      [`${name}_initializer`, INITIALIZER],
      [`${name}_regularizer`, REGULARIZER],
    ]),
  ),
  must: { activity_regularizer: [], ...Object.fromEntries(names.map((name) => [`${name}_constraint`, []])) },
});
export const BIAS: Part = joined(weighted("bias"), { fields: { use_bias: FLAG } });
export const ACTIVE: Part = { fields: { activation: ACTIVATION } };
export const CHANNELS_LAST: Part = { must: { data_format: ["channels_last"] } };
/** Keras' adapters of low rank and weights in few bits, which are other weights. */
export const PLAIN: Part = { must: { lora_rank: [], lora_alpha: [], quantization_config: [], quantization_mode: [] } };
export const PADDING: Part = { fields: { padding: TEXT } };

/** Layers that draw random numbers, of a seed that Lockstep has for the whole model. */
export const RANDOM: Part = { must: { noise_shape: [] }, ignored: { seed: null, data_format: undefined } };

/** @file One table in both directions: how a layer of Keras is made of its options, and how Lockstep's is written. */
import { camel } from "./fields.ts";
import type { Rule } from "./rule.ts";
import { ELEMENTS } from "./rules/elements.ts";
import { IMAGES } from "./rules/images.ts";
import { PREPROCESSING } from "./rules/preprocessing.ts";
import { STEPS } from "./rules/steps.ts";
import { TEXTS } from "./rules/text.ts";
import { WINDOWS } from "./rules/windows.ts";

/** Rules by the kind of layer that they make. */
export const RULES: readonly Rule[] = Object.entries(Object.assign({}, ELEMENTS, WINDOWS, IMAGES, PREPROCESSING, STEPS, TEXTS)).flatMap(
  ([kind, rules]) => (Array.isArray(rules) ? (rules as readonly Rule[]) : [rules as Rule]).map((r) => ({ ...r, kind })),
);

/** By Keras' class. */
export const BY_CLASS: { readonly [className: string]: Rule } = Object.fromEntries(
  RULES.flatMap((r) => r.classes.map((name) => [name, r] as const)),
);

/** Lockstep's name of an option. */
export const optionOf = (r: Rule, field: string): string => (Object.hasOwn(r.names, field) ? r.names[field] : camel(field));

/** The rule by which a kind of layer is written; null where there is none. */
export const writtenRule = (kind: string): Rule | null => RULES.find((r) => r.kind === kind && !r.readOnly) ?? null;

/** Keras' classes of layers that are read and written without a rule, by kind. */
export const OTHERS: { readonly [kind: string]: string } = {
  normalization: "Normalization",
  bidirectional: "Bidirectional",
  timeDistributed: "TimeDistributed",
  rnn: "RNN",
  stackedRnnCells: "StackedRNNCells",
};

/** All kinds of layers that Keras has. */
export const KINDS: readonly string[] = Array.from(new Set(RULES.map((r) => r.kind))).concat(Object.keys(OTHERS));

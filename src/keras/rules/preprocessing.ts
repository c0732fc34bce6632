/** @file Rules of layers that change images at random in training, and of those that make classes of numbers. */
import * as lockstep from "../../index.ts";
import { ArgumentError } from "../../index.ts";
import { COUNT, NUMBER, OUTPUT_MODE, TEXT } from "../codecs.ts";
import type { Codec } from "../codecs.ts";
import { CHANNELS_LAST, joined, rule } from "../rule.ts";
import type { Part, Rules } from "../rule.ts";

const isPair = (value: unknown): value is readonly [number, number] =>
  Array.isArray(value) && value.length === 2 && value.every((v) => Number.isFinite(v));

/** A number, or the two ends of where one is drawn from. */
const FACTOR: Codec = {
  read(f, name) {
    const value = f.get(name);
    if (!Number.isFinite(value) && !isPair(value)) throw f.fault(name, "a number or a pair of numbers");
    return value;
  },
  write: (value) => value,
};

/** Of contrast Keras takes the upper half alone where it is given a number, and puts the two of a pair in order. */
const CONTRAST: Codec = {
  read: FACTOR.read,
  write(value, who) {
    const [below, above] = (typeof value === "number" ? [value, value] : value) as readonly [number, number];
    if (below > above) throw new ArgumentError(`${who}: Keras would take its factor [${below}, ${above}] as [${above}, ${below}]`);
    return [below, above];
  },
};

const PAIR: Codec = {
  read(f, name) {
    const value = f.get(name);
    if (!isPair(value)) throw f.fault(name, "a pair of numbers");
    return value;
  },
  write: (value) => value,
};

/** Numbers in ascending order. */
const ASCENDING: Codec = {
  read(f, name) {
    const value = f.get(name);
    if (!Array.isArray(value) || !value.every((v, i) => Number.isFinite(v) && (i === 0 || (value as number[])[i - 1] <= (v as number))))
      throw f.fault(name, "numbers in ascending order");
    return value as readonly number[];
  },
  write: (value) => value,
};

/** What there is besides images: boxes, which no model has as its input. */
const SEEDED: Part = { ignored: { seed: null, bounding_box_format: undefined } };
const PLACED: Part = joined(SEEDED, CHANNELS_LAST, { fields: { fill_mode: TEXT, interpolation: TEXT, fill_value: NUMBER } });
const COLORED: Part = joined(SEEDED, CHANNELS_LAST, { fields: { value_range: PAIR } });
const SPARSE: Part = { must: { sparse: [false] } };

export const PREPROCESSING: Rules = {
  randomRotation: rule("RandomRotation", lockstep.randomRotation, { args: ["factor"], fields: { factor: FACTOR } }, PLACED),
  randomTranslation: rule(
    "RandomTranslation",
    lockstep.randomTranslation,
    { args: ["heightFactor", "widthFactor"], fields: { height_factor: FACTOR, width_factor: FACTOR } },
    PLACED,
  ),
  randomZoom: rule(
    "RandomZoom",
    lockstep.randomZoom,
    { args: ["heightFactor"], fields: { height_factor: FACTOR, width_factor: FACTOR } },
    PLACED,
  ),
  randomCrop: rule(
    "RandomCrop",
    lockstep.randomCrop,
    { args: ["height", "width"], fields: { height: COUNT, width: COUNT } },
    SEEDED,
    CHANNELS_LAST,
  ),
  randomContrast: rule("RandomContrast", lockstep.randomContrast, { args: ["factor"], fields: { factor: CONTRAST } }, COLORED),
  randomBrightness: rule("RandomBrightness", lockstep.randomBrightness, { args: ["factor"], fields: { factor: FACTOR } }, COLORED),
  categoryEncoding: rule(
    "CategoryEncoding",
    lockstep.categoryEncoding,
    { args: ["numTokens"], fields: { num_tokens: COUNT, output_mode: OUTPUT_MODE } },
    SPARSE,
  ),
  discretization: rule(
    "Discretization",
    lockstep.discretization,
    { fields: { bin_boundaries: ASCENDING, num_bins: COUNT, epsilon: NUMBER, output_mode: OUTPUT_MODE } },
    SPARSE,
  ),
};

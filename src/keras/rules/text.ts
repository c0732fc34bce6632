/** @file Layers with a vocabulary. */
import { integerLookup, stringLookup, textVectorization } from "../../index.ts";
import { COUNT, FLAG, OUTPUT_MODE } from "../codecs.ts";
import type { Codec } from "../codecs.ts";
import { camel, show, snake } from "../fields.ts";
import { ArgumentError, FileError } from "../../index.ts";
import { joined, rule } from "../rule.ts";
import type { Part, Rules } from "../rule.ts";

/** A list whose elements are all of one kind. */
const list = (expected: string, fits: (value: unknown) => boolean): Codec => ({
  read(f, name) {
    const value = f.get(name);
    if (!Array.isArray(value) || !value.every(fits)) throw f.fault(name, `a list of ${expected}`);
    return value as unknown[];
  },
  write: (value) => (ArrayBuffer.isView(value) ? Array.from(value as Int32Array) : value),
});

const isText = (value: unknown): boolean => typeof value === "string";
const isInteger = (value: unknown): boolean => Number.isSafeInteger(value);

/** One that may be anything of a kind, or nothing, which need not be the default. */
const token = (expected: string, fits: (value: unknown) => boolean): Codec => ({
  read(f, name) {
    const value = f.get(name);
    if (value !== null && !fits(value)) throw f.fault(name, expected);
    return value;
  },
  write: (value) => value,
  nulls: true,
});

/** The name of what is done with a text, or null; functions are code. */
const NAMED: Codec = {
  read(f, name) {
    const value = f.get(name);
    if (value === null) return null;
    if (typeof value === "string") return camel(value);
    const { config = value } = Object(value) as { config?: unknown };
    throw new FileError(
      `${f.who}: ${name} is a function, ${show(config)}, and code in a file of others is not run; give layers: { ` +
        `${f.text("name", "TextVectorization")}: (config) => textVectorization({ vocabulary: config.vocabulary, ... }) }`,
    );
  },
  write(value, who) {
    if (value === null || typeof value === "string") return value === null ? null : snake(value);
    throw new ArgumentError(`${who}: it has a function of one's own, which a file of Keras cannot hold`);
  },
  nulls: true,
};

/** A number, or a list of them. */
const NGRAMS: Codec = {
  read(f, name) {
    const value = f.get(name);
    if (value !== null && ![value].flat().every((v) => Number.isInteger(v) && (v as number) >= 1))
      throw f.fault(name, "a number or a list of them");
    return value;
  },
  write: (value) => value,
  nulls: true,
};

const vocabulary = (terms: Codec): Part => ({
  fields: {
    max_tokens: COUNT,
    output_mode: OUTPUT_MODE,
    pad_to_max_tokens: FLAG,
    vocabulary: terms,
    idf_weights: list("numbers", Number.isFinite),
  },
  must: { sparse: [false] },
  ignored: { vocabulary_size: undefined, has_input_vocabulary: undefined, vocabulary_dtype: undefined },
});

const lookup = (expected: string, fits: (value: unknown) => boolean): Part =>
  joined(vocabulary(list(expected, fits)), {
    fields: {
      num_oov_indices: { read: (f, name) => f.count(name, 1, 0), write: (value) => value },
      mask_token: token(expected, fits),
      oov_token: token(expected, fits),
      invert: FLAG,
    },
  });

export const TEXTS: Rules = {
  stringLookup: rule("StringLookup", stringLookup, lookup("texts", isText), {
    must: { encoding: ["utf-8"] },
    ignored: { oov_method: undefined },
  }),
  integerLookup: rule("IntegerLookup", integerLookup, lookup("integers", isInteger), { must: { oov_method: ["floormod"] } }),
  textVectorization: rule("TextVectorization", textVectorization, vocabulary(list("texts", isText)), {
    fields: { standardize: NAMED, split: NAMED, ngrams: NGRAMS, output_sequence_length: COUNT },
    must: { encoding: ["utf-8"], ragged: [false] },
  }),
};

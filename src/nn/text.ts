/** @file Texts as numbers: split into tokens, which are looked up in a vocabulary. */
import { checkCount, checkOneOf, kindOf } from "../check.ts";
import { ArgumentError, DataError, ShapeError } from "../errors.ts";
import type { Strings } from "../samples.ts";
import { showShape } from "../shape.ts";
import type { OpenShape, Shape } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import { hashBucket } from "./farmhash.ts";
import { adjusted, encoded, readerOf, TEXTS, withVocabulary } from "./lookup.ts";
import type { Documents, TextLayer, VocabularyLayerOptions } from "./lookup.ts";
import type { Building } from "./layer.ts";
import { isCustom, layerOf } from "./options.ts";
import { stringsOf, wellFormed } from "./strings.ts";
import { Vocabulary } from "./vocabulary.ts";
import type { OutputMode } from "./vocabulary.ts";

/** Options of `textVectorization`, with the names and defaults of Keras 3. */
export interface TextVectorizationOptions extends VocabularyLayerOptions<string> {
  /**
   * What becomes of a text first. `lower` makes small letters of A to Z and leaves all others, as TensorFlow does; `stripPunctuation` takes
   * out !"#$%&'()*+,-./:;<=>?@[\]^_`{|}~; a function does what it likes, such as `(text) => text.toLowerCase()`; null: nothing. Default
   * `lowerAndStripPunctuation`.
   */
  readonly standardize?: "lowerAndStripPunctuation" | "lower" | "stripPunctuation" | ((text: string) => string) | null;
  /**
   * What tokens are: what stands between spaces, tabs and ends of lines, each character (code point), what a function gives, or the texts
   * that come, with null. Default `whitespace`.
   */
  readonly split?: "whitespace" | "character" | ((text: string) => readonly string[]) | null;
  /** Up to so many tokens in a row, or each of these numbers of them, joined by spaces, in the place of the tokens. Default null: none. */
  readonly ngrams?: number | readonly number[] | null;
  /** As for `stringLookup`, but for `oneHot`. Default `int`: indices [batch, tokens], with 0 behind the last one of a text. */
  readonly outputMode?: Exclude<OutputMode, "oneHot">;
  /** So many indices of each text: zeros behind, or without the last ones. Default null: as many as the longest of a call has. */
  readonly outputSequenceLength?: number | null;
}

const PUNCTUATION = /[!-/:-@[-`{-~]/g;
/** What TensorFlow splits at. */
const SPACE = /[ \t\n\v\f\r]+/;

/** Small letters of A to Z. */
const lower = (text: string): string => (/[^\0-\x7f]/.test(text) ? text.replace(/[A-Z]+/g, (s) => s.toLowerCase()) : text.toLowerCase());

const strip = (text: string): string => text.replace(PUNCTUATION, "");

/** @throws ArgumentError for what is neither a name nor a function, and for one that was lost in a file */
function nameOrFunction<F>(what: string, value: unknown, known: { readonly [name: string]: F }, none: F): F {
  if (value === null) return none;
  if (typeof value === "function") return value as F;
  if (isCustom(value))
    throw new ArgumentError(
      `textVectorization: ${what}: a function was there when it was saved; give it again: layers: { textVectorization: (config) => ` +
        `textVectorization({ ...config, ${what} }) }`,
    );
  checkOneOf("textVectorization", what, value as string, Object.keys(known));
  return known[value as string];
}

/** What a function gave, if it is what it should give. @throws DataError */
function checked<R>(what: string, value: R, fits: boolean, expected: string): R {
  if (!fits) throw new DataError(`textVectorization: ${what} must give ${expected}, got ${kindOf(value)}`);
  return value;
}

/** The sizes of n-grams in the order in which they come. @throws ArgumentError */
function sizesOf(ngrams: number | readonly number[] | null): readonly number[] | null {
  if (ngrams === null) return null;
  const list: readonly number[] = typeof ngrams === "number" ? [ngrams] : ngrams;
  if (!Array.isArray(list) || list.length === 0)
    throw new ArgumentError(`textVectorization: ngrams must be a number or a list of them, got ${kindOf(ngrams)}`);
  for (const n of list as readonly number[]) checkCount("textVectorization", "ngrams", n);
  return typeof ngrams === "number" ? Array.from({ length: ngrams }, (_, i) => i + 1) : list;
}

/** All runs of `size` tokens, one size after the other. */
const gramsOf = (tokens: readonly string[], sizes: readonly number[]): readonly string[] =>
  sizes.flatMap((size) =>
    size === 1 ? tokens : Array.from({ length: Math.max(0, tokens.length - size + 1) }, (_, i) => tokens.slice(i, i + size).join(" ")),
  );

/** @throws ArgumentError for options of Keras for tensors that there are not */
function refuseTensors(options: { readonly [name: string]: unknown }): void {
  for (const name of ["ragged", "sparse"])
    if (Object.hasOwn(Object(options), name) && options[name] !== false)
      throw new ArgumentError(`textVectorization: ${name} tensors are not there: leave ${name} out, zeros fill short texts up`);
}

/**
 * Numbers of texts: each is brought to one form, split into tokens, joined to n-grams where they are wanted, and looked up in a vocabulary,
 * which is given or learned by `adapt`. Index 0 is padding, 1 stands for what is not in the vocabulary; where rows are made (`multiHot`,
 * `count`, `tfIdf`) that is 0. Tensors hold no text, so that the layer stands at an input of a model, first in `sequential` or called on an
 * input in `model(fn)`, or is used by itself: `encode(texts)`. What a model is given there, `[batch]` or `[batch, 1]` texts, is encoded on
 * the host wherever models read data: into i32 [batch, tokens], or f32 [batch, vocabulary] rows, which of many texts and a large vocabulary
 * are large: give `fit` a function that gives batches of them. In the model's programs the layer is the identity, and numbers that come in
 * the place of texts pass for what has been encoded. The `inputShape` of such an input is that of what has been encoded; without one
 * `sequential` takes sequences of any length. As Keras' TextVectorization, byte by byte of UTF-8:
 * https://keras.io/api/layers/preprocessing_layers/text/text_vectorization/
 * @throws ArgumentError for bad options
 * @example const vectorize = textVectorization({ maxTokens: 5000, outputSequenceLength: 4 });
 * await vectorize.adapt(["foo bar", "bar baz", "baz bada boom"]);
 * vectorize.encode(["foo qux bar", "qux baz"]); // [[4, 1, 3, 0], [1, 2, 0, 0]]
 */
export function textVectorization(options: TextVectorizationOptions = {}): TextLayer {
  type O = Required<TextVectorizationOptions>;
  refuseTensors(options as { readonly [name: string]: unknown });
  let vocabulary!: Vocabulary<string>;
  let tokensOf!: (who: string, data: unknown) => { readonly rows: readonly (readonly string[])[]; readonly shape: Shape };
  let length: number | null = null;
  /** Whether texts are not split, and whether they are tokens as they come. */
  let [unsplit, whole] = [false, false];
  const encode = (who: string, data: unknown, sample?: OpenShape): Tensor => {
    const { rows, shape } = tokensOf(who, data);
    const int = vocabulary.options.outputMode === "int";
    const size = length ?? rows.reduce((most, row) => Math.max(most, row.length), 0);
    // Padding is index 0, and has no place in rows.
    const indices = new Int32Array(rows.length * size).fill(int ? 0 : -1);
    for (const [i, row] of rows.entries())
      for (let k = 0; k < Math.min(size, row.length); k++) indices[i * size + k] = vocabulary.indexOf(who, row[k], hashBucket);
    // Texts that are tokens keep their shape, as in Keras.
    const flat = int && length === null && shape.length === 1 && whole;
    return vocabulary.output(who, indices, flat ? (sample === undefined ? shape : adjusted(shape, sample)) : [rows.length, size]);
  };
  const reader = readerOf(encode);
  const made = layerOf<O>(
    "textVectorization",
    {},
    {
      name: "",
      maxTokens: null,
      standardize: "lowerAndStripPunctuation",
      split: "whitespace",
      ngrams: null,
      outputMode: "int",
      outputSequenceLength: null,
      padToMaxTokens: false,
      vocabulary: null,
      idfWeights: null,
    },
    options,
    ({ maxTokens, standardize, split, ngrams, outputMode, outputSequenceLength, padToMaxTokens, ...given }) => {
      checkOneOf("textVectorization", "outputMode", outputMode, ["int", "multiHot", "count", "tfIdf"]);
      if (outputSequenceLength !== null) {
        checkCount("textVectorization", "outputSequenceLength", outputSequenceLength);
        if (outputMode !== "int")
          throw new ArgumentError(`textVectorization: outputSequenceLength is for outputMode "int", rows have the vocabulary's length`);
      }
      length = outputSequenceLength;
      unsplit = split === null;
      whole = unsplit && ngrams === null;
      vocabulary = new Vocabulary(
        "textVectorization",
        TEXTS,
        {
          ...given,
          maxTokens,
          numOovIndices: 1,
          maskToken: "",
          oovToken: "[UNK]",
          invert: false,
          outputMode,
          padToMaxTokens,
        },
        () => made.built,
      );
      const named = { lowerAndStripPunctuation: (text: string) => strip(lower(text)), lower, stripPunctuation: strip };
      const standard = nameOrFunction<(text: string) => string>("standardize", standardize, named, (text) => text);
      const splitting = nameOrFunction<((text: string) => readonly string[]) | null>(
        "split",
        split,
        { whitespace: (text) => text.split(SPACE).filter((token) => token !== ""), character: (text) => [...text] },
        null,
      );
      const sizes = sizesOf(ngrams);
      const standardOf = (text: string): string => {
        const value = standard(text);
        return typeof standardize === "function" ? wellFormed(checked("standardize", value, typeof value === "string", "a text")) : value;
      };
      const splitOf = (text: string): readonly string[] => {
        const value = (splitting as (text: string) => readonly string[])(text);
        if (typeof split !== "function") return value;
        return checked("split", value, Array.isArray(value) && value.every((v) => typeof v === "string"), "an array of texts").map(
          wellFormed,
        );
      };
      tokensOf = (who, data) => {
        const { values, shape } = stringsOf(who, data);
        if (shape.length > 2 || (splitting !== null && shape.length === 2 && shape[1] !== 1))
          throw new ShapeError(`${who}: expected texts [batch] or [batch, ${splitting === null ? "tokens" : 1}], got ${showShape(shape)}`);
        const texts = values.map(standardOf);
        const width = shape[1] ?? 1;
        const rows =
          splitting !== null ? texts.map(splitOf) : Array.from({ length: shape[0] }, (_, i) => texts.slice(i * width, (i + 1) * width));
        return { rows: sizes === null ? rows : rows.map((row) => gramsOf(row, sizes)), shape };
      };
      return { anyDtype: true, call: (x) => encoded(x, reader) };
    },
  );
  const documents: Documents<string> = async (who, batch, single) => {
    const { rows, shape } = tokensOf(who, batch);
    // Tokens that come one dimension at a time are one text.
    return shape.length === 1 && !single && unsplit ? [rows.flat()] : rows;
  };
  const more = {
    begin: (model: Building) => model.build([vocabulary.options.outputMode === "int" ? [length] : [vocabulary.depth]]),
    encode: (texts: readonly Strings[]) => encode("textVectorization: encode", texts),
  };
  return withVocabulary(made, vocabulary, documents, more);
}

/** @file Layers that look tokens up in a vocabulary: texts on the host, since tensors hold none, and integers where the tensors are. */
import { once, traceAnew } from "../cache.ts";
import { kindOf } from "../check.ts";
import { ArgumentError, DataError, ShapeError } from "../errors.ts";
import { add, cast, equal, lessEqual, minimum, mod, mul, where } from "../ops/map.ts";
import { reshape } from "../ops/move.ts";
import { gather } from "../ops/gather.ts";
import { toTensor } from "../samples.ts";
import type { Data, Strings } from "../samples.ts";
import type { OpenShape, Shape } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import { rowsOfClasses } from "./categories.ts";
import { hashBucket } from "./farmhash.ts";
import { context } from "./layer.ts";
import type { Building, Layer, Reader } from "./layer.ts";
import { layerOf } from "./options.ts";
import type { NameOption } from "./options.ts";
import { given, source } from "./sources.ts";
import { byCodePoint, isStrings, stringsOf, wellFormed } from "./strings.ts";
import { Vocabulary } from "./vocabulary.ts";
import type { OutputMode, Token, TokenKind, VocabularyOptions } from "./vocabulary.ts";

/** Options that layers with a vocabulary have in common. */
export interface VocabularyLayerOptions<T extends Token> extends NameOption {
  /** The most tokens of the vocabulary, special ones among them. Default null: as many as there are. */
  readonly maxTokens?: number | null;
  /** The tokens, in the order of their indices, with the special ones in front or without them. Default null: `adapt` finds them. */
  readonly vocabulary?: ArrayLike<T> | null;
  /** Weights of the vocabulary's tokens, for `tfIdf`. Those of special tokens are the mean of the others where they are not given. */
  readonly idfWeights?: ArrayLike<number> | null;
  /** Rows are `maxTokens` long, and not as long as the vocabulary: zeros behind. Default false. */
  readonly padToMaxTokens?: boolean;
}

/** Options of `stringLookup` and `integerLookup`, with the names and defaults of Keras 3. */
export interface LookupOptions<T extends Token> extends VocabularyLayerOptions<T> {
  /** Indices for what is not in the vocabulary; several are chosen among by a hash; 0: it is an error. Default 1. */
  readonly numOovIndices?: number;
  /** Stands for nothing: index 0 where `outputMode` is `int`, dropped in the other modes. Default null: there is none. */
  readonly maskToken?: T | null;
  /** Stands for what is not in the vocabulary. Default `"[UNK]"`, of integers -1. */
  readonly oovToken?: T;
  /** The way back, from indices to tokens. Default false. */
  readonly invert?: boolean;
  /**
   * `int`: the index of each token (i32). `oneHot`: a row for each, in the place of a last dimension of 1, else in a further one.
   * `multiHot`: a row for each sample [batch, tokens], 1 for every token that it has. `count`: how often it has them; `tfIdf`: that by the
   * token's weight. Default `int`.
   */
  readonly outputMode?: OutputMode;
}

/** A layer that has a vocabulary. */
export interface VocabularyLayer<T extends Token, D> extends Layer {
  /**
   * Learns the vocabulary from data, in the place of one that it has learned before: the most frequent tokens first, equally frequent ones
   * from the last to the first in the order of their characters or numbers, as Keras sorts them.
   * @param data arrays, whose first dimension counts the samples, or a function or an (async) iterable that gives several of them in turn
   * @throws DataError for what are no tokens, and where there is none; LockstepError where the vocabulary is an option, and where its size
   * may change no more
   */
  adapt(data: D | Iterable<D> | AsyncIterable<D> | (() => Iterable<D> | AsyncIterable<D>)): Promise<void>;
  /**
   * Tokens by their indices.
   * @param includeSpecialTokens default true; false leaves out those for a mask and for what is not in the vocabulary
   * @throws LockstepError before there is a vocabulary
   */
  getVocabulary(includeSpecialTokens?: boolean): T[];
  /** Replaces the vocabulary. @param idfWeights for `tfIdf` @throws as the options do, and LockstepError as `adapt` */
  setVocabulary(vocabulary: ArrayLike<T>, idfWeights?: ArrayLike<number> | null): void;
  /** Indices that there are, special ones among them. @throws LockstepError before there is a vocabulary */
  vocabularySize(): number;
}

/** A layer that makes numbers of texts, at an input of a model or by itself. */
export interface TextLayer extends VocabularyLayer<string, readonly Strings[]> {
  /**
   * What the layer makes of texts, as a tensor: what a model that begins with it does with what it is given. @throws DataError for what is
   * no array of strings, and for a token without an index; LockstepError before there is a vocabulary
   */
  encode(texts: readonly Strings[]): Tensor;
}

/** A lookup of texts. */
export interface StringLookupLayer extends TextLayer {
  /**
   * Tokens of indices, in arrays as these are nested: what Keras' layer gives with `invert`. An index that no token has gives `oovToken`.
   * @param indices a tensor, nested arrays or a typed array. @throws DataError for what is no integer
   */
  decode(indices: Data): Promise<Strings>;
}

/** Data that `adapt` takes, one batch after the other. */
async function* batchesOf(who: string, data: unknown): AsyncGenerator<{ readonly batch: unknown; readonly single: boolean }> {
  if (Array.isArray(data) || ArrayBuffer.isView(data) || data instanceof Tensor) return yield { batch: data, single: true };
  const list: unknown = typeof data === "function" ? (data as () => unknown)() : data;
  const iterable = Object(list) as Iterable<unknown> & AsyncIterable<unknown>;
  if (typeof list === "string" || !(Symbol.asyncIterator in iterable || Symbol.iterator in iterable))
    throw new DataError(`${who}: adapt: expected arrays, or what gives them one after the other, got ${kindOf(list)}`);
  for await (const batch of iterable) yield { batch, single: false };
}

/** How a layer reads documents of what `adapt` is given; `single`: of an array, and not of one among several. */
export type Documents<T> = (who: string, batch: unknown, single: boolean) => Promise<readonly (readonly T[])[]>;

/** `made` with what layers with a vocabulary have besides. */
export function withVocabulary<T extends Token, L extends object, D>(
  made: Layer,
  vocabulary: Vocabulary<T>,
  documents: Documents<T>,
  more: L,
): VocabularyLayer<T, D> & L {
  // Files hold the options, and so what they have become.
  const keep = (): void => {
    traceAnew();
    Object.assign(made.config, { vocabulary: vocabulary.list(true), idfWeights: vocabulary.idf });
  };
  if (vocabulary.known) keep();
  return Object.assign(made, more, {
    async adapt(data: unknown): Promise<void> {
      const all: (readonly T[])[] = [];
      for await (const { batch, single } of batchesOf(made.kind, data))
        for (const document of await documents(`${made.kind}: adapt`, batch, single)) all.push(document);
      vocabulary.adapt(all);
      keep();
    },
    getVocabulary: (includeSpecialTokens = true) => vocabulary.list(includeSpecialTokens),
    setVocabulary(tokens: ArrayLike<T>, idfWeights: ArrayLike<number> | null = null): void {
      vocabulary.set(tokens, idfWeights);
      keep();
    },
    vocabularySize: () => vocabulary.size,
  });
}

/** Rows of one length: what each item of the first dimension has, or, of one dimension, all as one or each by itself. */
function rowsOf<T>(values: readonly T[], shape: Shape, single: boolean): readonly (readonly T[])[] {
  const rows = shape.length === 1 && !single ? 1 : shape[0];
  const size = rows === 0 ? 0 : values.length / rows;
  return Array.from({ length: rows }, (_, i) => values.slice(i * size, (i + 1) * size));
}

/** Who encodes an input, while a model is traced. */
const encoders = new WeakMap<Tensor, Reader>();

/**
 * `x` as it is, where the layer stands at an input: what comes there has been encoded. @throws ArgumentError elsewhere
 */
export function encoded(x: Tensor, reader: Reader): Tensor {
  const input = source(x);
  if (context().reads?.(input, reader) === false || once(encoders, input, () => reader) !== reader)
    throw new ArgumentError("it reads text, which only a model's input can be: call it on an input that no other such layer reads");
  // A tensor of its own: those who look at layers tell it from the input.
  return reshape(reshape(x, [x.size]), x.shape);
}

/**
 * What reads texts at an input. `encode`: of those that are given for the input, of samples of the shape that the model was built for.
 */
export const readerOf = (encode: (who: string, texts: readonly Strings[], sample: OpenShape) => Tensor): Reader => ({
  encode: <X>(who: string, x: X, i: number, shapes: readonly OpenShape[]): X => {
    const single = shapes.length === 1;
    const list = x as readonly unknown[];
    const texts = single ? x : Object(list)[i];
    if (!isStrings(texts)) return x;
    const t = encode(`${who}: ${single ? "x" : `x[${i}]`}`, texts, shapes[i]);
    return (single ? t : list.map((each, k) => (k === i ? t : each))) as X;
  },
});

/** Indices [batch] as [batch, 1], or the other way round, where a model was built for such. */
export function adjusted(shape: Shape, sample: OpenShape): Shape {
  if (shape.length === sample.length + 1) return shape;
  if (shape.length === sample.length && (sample[sample.length - 1] ?? 1) === 1) return [...shape, 1];
  return shape.length === sample.length + 2 && shape[shape.length - 1] === 1 ? shape.slice(0, -1) : shape;
}

/** What there is to say of texts as tokens. */
export const TEXTS: TokenKind<string> = {
  name: "texts",
  read: (value) => (typeof value === "string" ? wellFormed(value) : null),
  order: byCodePoint,
};

const INTEGERS: TokenKind<number> = {
  name: "integers of 32 bits",
  read: (value) => (typeof value === "number" && (value | 0) === value ? value | 0 : null),
  order: (a, b) => a - b,
};

const DEFAULTS = {
  name: "",
  maxTokens: null,
  numOovIndices: 1,
  maskToken: null,
  vocabulary: null,
  idfWeights: null,
  invert: false,
  outputMode: "int",
  padToMaxTokens: false,
} as const;

/**
 * Integers of any dtype as they are in tensors. @throws DataError for others
 */
async function integersOf(who: string, data: Data): Promise<{ readonly values: readonly number[]; readonly shape: Shape }> {
  const t = toTensor(who, data);
  const values = Array.from((t.host ?? (await t.data())) as ArrayLike<number>);
  const wrong = values.findIndex((v) => INTEGERS.read(v) === null);
  if (wrong >= 0) throw new DataError(`${who}: expected integers of 32 bits, got ${values[wrong]} in element ${wrong}`);
  return { values, shape: t.shape };
}

/** Values in a row as nested arrays. */
function nested(values: readonly string[], shape: Shape): Strings {
  if (shape.length === 0) return values[0];
  const rest = shape.slice(1);
  const size = shape[0] === 0 ? 0 : values.length / shape[0];
  return Array.from({ length: shape[0] }, (_, i) => nested(values.slice(i * size, (i + 1) * size), rest));
}

/**
 * Indices of texts in a vocabulary, which is given or learned by `adapt`; no text is split (see `textVectorization`). Tensors hold no text,
 * so that the layer stands at an input of a model, first in `sequential` or called on an input in `model(fn)`, or is used by itself:
 * `encode(texts)`. What a model is given there, `[batch]` or `[batch, tokens]` texts, is encoded on the host wherever models read data;
 * in the model's programs the layer is the identity, and numbers that come in the place of texts pass for what has been encoded. The
 * `inputShape` of such an input is that of what has been encoded. Several indices for what is not in the vocabulary are chosen among by
 * FarmHash Fingerprint64, as in TensorFlow. https://keras.io/api/layers/preprocessing_layers/categorical/string_lookup/
 * @throws ArgumentError for bad options; when called, also with `invert`, whose texts no tensor can be: see `decode`
 * @example const city = stringLookup({ vocabulary: ["Oslo", "Rome"] });
 * const net = sequential([city, embedding(city.vocabularySize(), 4)]);
 * await net.predict(["Rome", "Oslo", "Bern"]); // of the indices 2, 1 and 0
 */
export function stringLookup(options: LookupOptions<string> = {}): StringLookupLayer {
  type O = Required<LookupOptions<string>>;
  let vocabulary!: Vocabulary<string>;
  /** `sample`: in a model. */
  const encode = (who: string, data: unknown, sample?: OpenShape): Tensor => {
    const { invert, outputMode } = vocabulary.options;
    if (invert) throw new ArgumentError(`${who}: it was made with invert: true, and gives texts of indices: await layer.decode(indices)`);
    const { values, shape: own } = stringsOf(who, data);
    const many = !["int", "oneHot"].includes(outputMode);
    const shape = sample === undefined ? own : many && own.length === 1 ? [...own, 1] : outputMode === "int" ? adjusted(own, sample) : own;
    return vocabulary.output(
      who,
      values.map((token) => vocabulary.indexOf(who, token, hashBucket)),
      shape,
    );
  };
  const reader = readerOf(encode);
  const made = layerOf<O>("stringLookup", {}, { ...DEFAULTS, oovToken: "[UNK]" }, options, (o) => {
    vocabulary = new Vocabulary("stringLookup", TEXTS, o as VocabularyOptions<string>, () => made.built);
    return {
      anyDtype: true,
      call: (x) => {
        if (o.invert) throw new ArgumentError("invert: true gives texts, which no tensor can be: await layer.decode(indices)");
        return encoded(x, reader);
      },
    };
  });
  const documents: Documents<string> = async (who, batch, single) => {
    const { values, shape } = stringsOf(who, batch);
    return rowsOf(values, shape, single);
  };
  return withVocabulary(made, vocabulary, documents, {
    begin: (model: Building, x: unknown) => {
      if (isStrings(x))
        model.build([encode("stringLookup", x.slice(0, 1), made.config.outputMode === "int" ? undefined : []).shape.slice(1)]);
    },
    encode: (texts: readonly Strings[]) => encode("stringLookup: encode", texts),
    async decode(indices: Data): Promise<Strings> {
      const { values, shape } = await integersOf("stringLookup: decode", indices);
      return nested(
        values.map((index) => vocabulary.tokenOf(index)),
        shape,
      );
    },
  });
}

/** A vocabulary of integers as a program has it. */
interface Table {
  /** From the least to the greatest. */
  readonly keys: Tensor;
  readonly values: Tensor;
}

function tableOf(pairs: readonly (readonly [key: number, value: number])[]): Table {
  const sorted = [...pairs].sort(([a], [b]) => a - b);
  const row = (i: 0 | 1): Tensor =>
    new Tensor(
      [sorted.length],
      "i32",
      null,
      0,
      Int32Array.from(sorted, (pair) => pair[i]),
    );
  return { keys: row(0), values: row(1) };
}

/** What the table has for each element of `x` (i32), else `otherwise`: a search by halves, one step for each doubling of the table. */
function search({ keys, values }: Table, x: Tensor, otherwise: Tensor | number): Tensor {
  const count = keys.shape[0];
  // Of special tokens alone.
  if (count === 0) return add(mul(x, 0), otherwise);
  let at = mul(x, 0);
  for (let step = 2 ** Math.floor(Math.log2(count)); step >= 1; step /= 2) {
    const next = minimum(add(at, step), count - 1);
    at = where(lessEqual(gather(keys, next), x), next, at);
  }
  return where(equal(gather(keys, at), x), gather(values, at), otherwise);
}

/**
 * Indices of integers in a vocabulary, which is given or learned by `adapt`: i32 [batch, ...] -> i32 of the same shape, or rows (f32) as
 * `outputMode` says; with `invert` integers of indices. Computed where the tensors are, anywhere in a model or by itself, by a search in
 * the sorted vocabulary. Several indices for what is not in the vocabulary are chosen among by x mod n, as Keras does
 * (`oov_method="floormod"`): https://keras.io/api/layers/preprocessing_layers/categorical/integer_lookup/
 * @throws ArgumentError for bad options; when called, LockstepError before there is a vocabulary, ShapeError for a shape that the mode does
 * not take, and with `numOovIndices: 0` ArgumentError elsewhere than at an input of a model, which then refuses other integers with a
 * DataError
 */
export function integerLookup(options: LookupOptions<number> = {}): VocabularyLayer<number, Data> {
  type O = Required<LookupOptions<number>>;
  let vocabulary!: Vocabulary<number>;
  let tables: { readonly of: readonly number[]; readonly table: Table } | null = null;
  const made = layerOf<O>("integerLookup", {}, { ...DEFAULTS, oovToken: -1 }, options, (o) => {
    vocabulary = new Vocabulary("integerLookup", INTEGERS, o as VocabularyOptions<number>, () => made.built);
    const { invert, maskToken, numOovIndices, outputMode, oovToken } = o;
    const first = maskToken !== null && outputMode === "int" ? 1 : 0;
    const reader: Reader = {
      async check(who, x) {
        for (const value of x.host ?? (await x.data())) vocabulary.indexOf(who, Math.trunc(value), () => 0);
      },
    };
    const tableNow = (): Table => {
      const list = vocabulary.list(false);
      if (tables === null || tables.of.length !== list.length || tables.of.some((v, i) => v !== list[i])) {
        const start = first + numOovIndices;
        tables = { of: list, table: tableOf(list.map((token, i) => (invert ? [start + i, token] : [token, start + i]))) };
      }
      return tables.table;
    };
    return {
      anyDtype: true,
      call: (input) => {
        const x = reshape(cast(given(input), "i32"), input.shape);
        const table = tableNow();
        if (invert) {
          const tokens = search(table, x, oovToken);
          return maskToken === null ? tokens : where(equal(x, 0), maskToken, tokens);
        }
        if (numOovIndices === 0 && !context().reads?.(source(input), reader))
          throw new ArgumentError(
            "with numOovIndices: 0 it refuses integers that are not in the vocabulary, which is seen at an input of a model alone; set " +
              "numOovIndices: 1",
          );
        const oov = numOovIndices > 1 ? add(mod(x, numOovIndices), first) : first;
        const found = search(table, x, oov);
        const index = maskToken === null ? found : where(equal(x, maskToken), first === 1 ? 0 : -1, found);
        if (outputMode === "int") return index;
        const rows = rowsOfClasses(index, vocabulary.depth, outputMode);
        const weights = vocabulary.idf;
        return weights === null ? rows : mul(rows, [...weights, ...new Array<number>(vocabulary.depth - weights.length).fill(0)]);
      },
    };
  });
  const documents: Documents<number> = async (who, batch, single) => {
    const { values, shape } = await integersOf(who, batch as Data);
    if (shape.length === 0) throw new ShapeError(`${who}: expected a dimension of samples, got a number`);
    return rowsOf(values, shape, single);
  };
  return withVocabulary(made, vocabulary, documents, {});
}

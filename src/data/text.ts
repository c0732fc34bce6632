/** @file Text for language models: characters or tokens of a vocabulary as numbers and back, and the windows that models learn from. */
import { checkCount, checkOptions, checkPart, kindOf } from "../check.ts";
import { ArgumentError, DataError } from "../errors.ts";
import type { Shape } from "../shape.ts";

/** Ids of tokens: bytes where the vocabulary has at most 256 tokens. */
export type TokenIds = Uint8Array | Int32Array;

/** Options of `text`. */
export interface TextOptions {
  /**
   * The tokens, of one character or more; an id is a place in this list. Where several fit, the longest is taken. Default: the characters
   * (code points) of the text, in the order of their numbers.
   */
  readonly vocabulary?: readonly string[];
  /** The token of the vocabulary that stands for characters of which no token is made. Default: there is none, and they are an error. */
  readonly unknown?: string;
  /** The part of the ids, from the end of the text, that is not trained on; in [0, 1). Default 0.1. */
  readonly validationSplit?: number;
}

/** A text as numbers: what `text` gives. */
export interface Text {
  /** The tokens by id. Kept with a model, it is what `text("", { vocabulary })` reads prompts by. */
  readonly vocabulary: readonly string[];
  /** The whole text. */
  readonly ids: TokenIds;
  /** Its beginning, floor(ids.length * (1 - validationSplit)) ids: a view of `ids`. */
  readonly train: TokenIds;
  /** The rest of it: a view of `ids`. */
  readonly validation: TokenIds;
  /** Ids of another text. @throws DataError naming the first character of which no token is made, ArgumentError for what is no text */
  encode(text: string): TokenIds;
  /** The text of ids. @throws DataError naming the first that is no id */
  decode(ids: ArrayLike<number>): string;
}

/** `"é" (U+00E9)` */
const shown = (character: string): string =>
  `${JSON.stringify(character)} (U+${(character.codePointAt(0) as number).toString(16).toUpperCase().padStart(4, "0")})`;

/** Characters by their numbers, as Python sorts them; JavaScript would sort halves of pairs. */
const byCodePoint = (a: string, b: string): number => (a.codePointAt(0) as number) - (b.codePointAt(0) as number);

/** @throws ArgumentError unless these are tokens, each once */
function checkVocabulary(vocabulary: readonly string[]): void {
  if (!Array.isArray(vocabulary)) throw new ArgumentError(`text: vocabulary must be a list of tokens, got ${kindOf(vocabulary)}`);
  const seen = new Set<unknown>();
  for (const [id, token] of (vocabulary as readonly unknown[]).entries()) {
    if (typeof token !== "string" || token === "")
      throw new ArgumentError(`text: a vocabulary has tokens of one character or more, got ${kindOf(token)} at ${id}`);
    if (seen.has(token)) throw new ArgumentError(`text: the vocabulary has ${JSON.stringify(token)} twice, the second time at ${id}`);
    seen.add(token);
  }
}

/**
 * A text as ids: one for each character (code point), or for each token of a vocabulary, with what makes ids of other texts and text of
 * ids. The ids are bytes where there are at most 256 tokens, and stay bytes on backends.
 * @example const { train, vocabulary } = text(await readFile("shakespeare.txt", "utf8"));
 * const { x, y } = tokenWindows(train, { length: 64 });
 * await model.fit(x, y, { batchSize: 12, stepsPerEpoch: 500 });
 * @throws DataError for a character that the vocabulary has no token for, and for an empty text without a vocabulary; ArgumentError for
 * what is no text and for bad options
 */
export function text(source: string, options: TextOptions = {}): Text {
  const { unknown, validationSplit = 0.1, ...given } = checkOptions("text", options, ["vocabulary", "unknown", "validationSplit"]);
  checkPart("text", "validationSplit", validationSplit);
  checkText("text", source);
  if (given.vocabulary !== undefined) checkVocabulary(given.vocabulary);
  const vocabulary: readonly string[] = given.vocabulary?.slice() ?? [...new Set(source)].sort(byCodePoint);
  if (vocabulary.length === 0) throw new DataError("text: an empty text has no characters; give it a vocabulary");
  const idOf = new Map(vocabulary.map((token, id) => [token, id]));
  if (unknown !== undefined && !idOf.has(unknown))
    throw new ArgumentError(`text: unknown must be a token of the vocabulary, got ${kindOf(unknown)}`);
  // In UTF-16 units, as strings are cut.
  const longest = vocabulary.reduce((most, token) => Math.max(most, token.length), 0);
  const fallback = unknown === undefined ? undefined : idOf.get(unknown);

  const encode = (other: string): TokenIds => {
    checkText("encode", other);
    const ids: number[] = [];
    for (let at = 0; at < other.length;) {
      const character = String.fromCodePoint(other.codePointAt(at) as number);
      let length = Math.min(longest, other.length - at);
      let id = idOf.get(other.slice(at, at + length));
      while (id === undefined && length > 1) id = idOf.get(other.slice(at, at + --length));
      if (id === undefined) {
        id = fallback;
        length = character.length;
      }
      if (id === undefined) {
        throw new DataError(
          `text: the vocabulary has no token for ${shown(character)} at ${at}; add one, or name a token for such as \`unknown\``,
        );
      }
      ids.push(id);
      at += length;
    }
    return vocabulary.length <= 256 ? Uint8Array.from(ids) : Int32Array.from(ids);
  };

  const ids = encode(source);
  const split = Math.floor(ids.length * (1 - validationSplit));
  return {
    vocabulary,
    ids,
    train: ids.subarray(0, split),
    validation: ids.subarray(split),
    encode,
    decode(list) {
      if (typeof list?.length !== "number" || typeof list === "string")
        throw new ArgumentError(`decode: expected an array of ids, got ${kindOf(list)}`);
      return Array.from(list, (id, i) => {
        const token = vocabulary[id];
        if (token === undefined) throw new DataError(`decode: ids are 0 to ${vocabulary.length - 1}, got ${String(id)} at index ${i}`);
        return token;
      }).join("");
    },
  };
}

/** @throws ArgumentError for bytes and all else that is no text */
function checkText(who: string, source: string): void {
  if (typeof source === "string") return;
  const advice = ArrayBuffer.isView(source) ? "bytes; decode them with new TextDecoder().decode(bytes)" : kindOf(source);
  throw new ArgumentError(`${who}: expected a text, got ${advice}`);
}

/** Options of `tokenWindows`. */
export interface TokenWindowsOptions {
  /** Ids of a window. */
  readonly length: number;
  /** Ids from the beginning of a window to that of the next. Default 1: a window at every place. */
  readonly stride?: number;
}

/** Windows of `data`, which lie in it where they are: `[windows, length]`. See `OverlappingData` of `lockstep`. */
export interface TokenWindows<T> {
  readonly data: T;
  readonly shape: Shape;
  readonly stride: number;
  readonly offset: number;
}

/**
 * All windows of a row of ids, and for each the ids that follow: `x` is `[n, length]`, and `y` the same moved on by one, which is what a
 * language model predicts at each place. n = floor((ids.length - length - 1) / stride) + 1.
 *
 * Nothing is copied: `fit(x, y)` and `evaluate(x, y)` keep the ids once on the backend and gather the windows of a batch there. With a
 * stride of 1 an epoch of all windows is long: `stepsPerEpoch` ends it where you like. A stride of `length` gives windows side by side, as
 * one wants to evaluate a text by.
 * @param ids a typed array (of `text`, or of a tokenizer)
 * @throws DataError for ids too few for one window, ArgumentError for what are no ids and for bad options
 */
export function tokenWindows<T extends ArrayBufferView & ArrayLike<number>>(
  ids: T,
  options: TokenWindowsOptions,
): { x: TokenWindows<T>; y: TokenWindows<T> } {
  const { length, stride = 1 } = checkOptions("tokenWindows", options, ["length", "stride"]);
  checkCount("tokenWindows", "length", length);
  checkCount("tokenWindows", "stride", stride);
  if (!ArrayBuffer.isView(ids) || ids instanceof DataView)
    throw new ArgumentError(`tokenWindows: expected a typed array of ids, got ${kindOf(ids)}`);
  if (ids.length <= length) {
    throw new DataError(`tokenWindows: windows of ${length} ids and the next one need at least ${length + 1} ids, got ${ids.length}`);
  }
  const shape = [Math.floor((ids.length - length - 1) / stride) + 1, length];
  return { x: { data: ids, shape, stride, offset: 0 }, y: { data: ids, shape, stride, offset: 1 } };
}

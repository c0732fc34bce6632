/** @file Models that begin with texts: the vocabularies in files, and what inputs of texts are once they are encoded. */
import { ArgumentError, FileError } from "../index.ts";
import { cut } from "../io/safetensors.ts";
import type { Layer, OpenShape, TextLayer, Token } from "../index.ts";
import type { Written } from "./hdf5-write.ts";
import { show } from "./fields.ts";
import type { Json } from "./fields.ts";
import type { Recording } from "./record.ts";
import { floatsOf } from "./variables.ts";
import type { Variable } from "./variables.ts";

/** What archives keep of vocabularies that were learned: files beside the configuration, and weights of tokens. */
export interface Vocabularies {
  /** By path. */
  readonly assets: ReadonlyMap<string, string>;
  readonly variables: ReadonlyMap<string, Variable>;
}

/** The members of an archive that are vocabularies. */
export const isVocabulary = (name: string): boolean => /^assets\/(.*\/)?vocabulary\.txt$/.test(name);

const CLASSES = ["TextVectorization", "StringLookup", "IntegerLookup"];

/** The tokens of a file of lines, as many as the configuration says where it does. @throws FileError */
function tokensOf(who: string, text: string, size: unknown, integers: boolean): readonly Token[] {
  const lines = text.split(/\r\n|[\r\n]/);
  // The empty text may be a token, and a file may end with the end of a line.
  while (lines.length > 0 && lines[lines.length - 1] === "" && (typeof size === "number" ? lines.length > size : true)) lines.pop();
  if (typeof size === "number" && lines.length !== size)
    throw new FileError(`${who}: its vocabulary.txt has ${lines.length} tokens, the configuration says ${size}`);
  const wrong = integers ? lines.find((line) => !/^-?\d{1,19}$/.test(line)) : undefined;
  if (wrong !== undefined) throw new FileError(`${who}: its vocabulary.txt must have integers, found ${show(wrong)}`);
  return integers ? lines.map(Number) : lines;
}

/**
 * The options of a layer with a vocabulary, which is put in where the file keeps it elsewhere; those of others as they are. `group`: of its
 * weights. @throws FileError where there is none, unless `optional`
 */
export function withVocabulary(
  who: string,
  { className, config }: { readonly className: string; readonly config: Json },
  group: string,
  found: Vocabularies | null,
  optional = false,
): Json {
  if (!CLASSES.includes(className) || (config.vocabulary !== null && config.vocabulary !== undefined)) return config;
  const older = (path: string): string => path.replace(/\blayers\b/g, "_layer_checkpoint_dependencies");
  const read = <V>(of: ReadonlyMap<string, V> | undefined, path: string): V | undefined => of?.get(path) ?? of?.get(older(path));
  const text = read(found?.assets, `assets/${group}/vocabulary.txt`);
  if (text === undefined) {
    if (optional) return config;
    const name = typeof config.name === "string" ? config.name : className;
    throw new FileError(
      `${who}: its vocabulary is not in the file (one that was learned is in .keras archives alone); give layers: { ${cut(name)}: () => ` +
        `${className[0].toLowerCase()}${className.slice(1)}({ vocabulary, ... }) }`,
    );
  }
  const vocabulary = tokensOf(who, text, config.vocabulary_size, className === "IntegerLookup");
  const weights = read(found?.variables, `/${group}/vars/idf_weights`);
  // Rows that are filled up have weights of 0 there.
  const idf = weights === undefined ? null : Array.from(floatsOf(who, weights)).slice(0, vocabulary.length);
  return { ...config, vocabulary, ...(idf !== null && { idf_weights: idf }) };
}

/** Whether a layer reads texts. */
export const readsText = (layer: Layer): layer is TextLayer => layer.begin !== undefined;

const isSingle = (shape: OpenShape): boolean => shape.length > 0 && shape[shape.length - 1] === 1;

/** The options that shapes depend on. */
interface Shaping {
  readonly outputMode?: string;
  readonly split?: unknown;
  readonly ngrams?: unknown;
  readonly outputSequenceLength?: number | null;
  readonly maxTokens?: number | null;
  readonly padToMaxTokens?: boolean;
}

/** The shape that an encoded sample has where one of texts is `texts`, or unknown. */
export function encodedShape(layer: TextLayer, texts: OpenShape | null): OpenShape | null {
  const { outputMode, split, ngrams, outputSequenceLength: length, maxTokens, padToMaxTokens } = layer.config as Shaping;
  const isText = layer.kind === "textVectorization";
  if (outputMode === "int") {
    if (!isText || (split === null && ngrams === null && length === null)) return texts;
    return [length ?? null];
  }
  const depth = padToMaxTokens === true ? (maxTokens as number) : layer.vocabularySize();
  if (outputMode !== "oneHot") return [depth];
  return texts && [...(isSingle(texts) ? texts.slice(0, -1) : texts), depth];
}

/** The shape of texts that become samples of the shape `encoded`. */
function textsShape(layer: TextLayer, encoded: OpenShape): OpenShape {
  const { outputMode, split, ngrams, outputSequenceLength: length } = layer.config as Shaping;
  const whole = split === null && ngrams === null && length === null;
  if (layer.kind === "textVectorization" && split !== null) return [1];
  if (outputMode === "int") return layer.kind === "stringLookup" || whole ? encoded : [null];
  if (outputMode !== "oneHot") return [null];
  return encoded.length === 1 ? [1] : encoded.slice(0, -1);
}

/** The layer that reads texts at the beginning of a row, in which models may stand. */
const firstOf = (layers: readonly Layer[]): Layer | undefined =>
  layers[0]?.kind === "model" ? firstOf(layers[0].layers ?? []) : layers[0];

/** The layers that are given input `i`, those within models among them. */
const takersOf = (recording: Recording, i: number): readonly Layer[] =>
  [...recording.calls].flatMap(([layer, calls]) =>
    calls.flatMap(({ tensors }) => {
      const at = tensors.findIndex((made) => made !== null && made.layer === null && made.node === i);
      if (at < 0) return [];
      const inside = recording.inside.get(layer);
      return inside === undefined ? [layer] : takersOf(inside, at);
    }),
  );

/** An input as files say it: of which shape, and of what. */
export interface InputType {
  readonly shape: OpenShape;
  readonly dtype: "float32" | "int64" | "string";
}

function typeOf(layer: Layer | undefined, shape: OpenShape): InputType {
  if (layer !== undefined && readsText(layer)) return { shape: textsShape(layer, shape), dtype: "string" };
  return { shape, dtype: layer?.kind === "integerLookup" ? "int64" : "float32" };
}

/** The input of a row of layers. */
export const rowInput = (layers: readonly Layer[], shape: OpenShape): InputType => typeOf(firstOf(layers), shape);

/** Input `i` of a graph. */
export function graphInput(recording: Recording, i: number, shape: OpenShape): InputType {
  const takers = takersOf(recording, i);
  const same = takers.every(({ kind }) => kind === "integerLookup") ? takers[0] : undefined;
  return typeOf(takers.find(readsText) ?? same, shape);
}

/** What files of Keras 3 keep of a layer besides its options: the weights of tokens, where it and the lookup within it look for them. */
export function writtenWeights(layer: Layer, group: string): readonly (readonly [path: string, data: Written])[] {
  const { idfWeights, outputMode, maxTokens, padToMaxTokens } = layer.config as Shaping & { readonly idfWeights?: readonly number[] };
  if (outputMode !== "tfIdf") return [];
  const own = idfWeights ?? [];
  const data = new Float32Array(padToMaxTokens === true ? (maxTokens as number) : own.length);
  data.set(own);
  const places = layer.kind === "textVectorization" ? [group, `${group}/_lookup_layer`] : [group];
  return places.map((place) => [`${place}/vars/idf_weights`, { shape: [data.length], data }] as const);
}

/** @throws ArgumentError for a layer whose vocabulary is not known yet */
export function checkVocabulary(who: string, { kind, config }: Layer): void {
  if (["textVectorization", "stringLookup", "integerLookup"].includes(kind) && (config.vocabulary ?? null) === null)
    throw new ArgumentError(`${who}: it has no vocabulary: await layer.adapt(data) first`);
}

/** @file An encoder with its tokenizer: vectors of tokens and of texts. */
import { checkOptions } from "../check.ts";
import { ArgumentError, DataError, ShapeError, Tensor, tensor } from "../index.ts";
import type { Model, NestedArray, TypedArray } from "../index.ts";
import { Pretrained } from "./pretrained.ts";
import type { Pooling, Sentences } from "./sentences.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** What an encoder reads: lists of equal length, one for each text, or a tensor [batch, time]. */
export interface EncoderInputs {
  readonly inputIds: readonly (readonly number[])[] | Tensor;
  /** Which of two texts each token is of. Default all 0. */
  readonly tokenTypeIds?: readonly (readonly number[])[] | Tensor;
  /** 1 for tokens, 0 for padding. Default all 1. */
  readonly attentionMask?: readonly (readonly number[])[] | Tensor;
}

/** What an encoder gives. */
export interface EncoderOutputs {
  /** f32 [batch, time, features]. Rows of padding mean nothing. */
  readonly lastHiddenState: Tensor;
  /** f32 [batch, features]; null where the checkpoint has no pooler. */
  readonly poolerOutput: Tensor | null;
  /**
   * Of a checkpoint that classifies texts, f32 [batch, labels], or their tokens or the ends of answers, f32 [batch, time, labels], by
   * `config.id2label`; null where it has no such head.
   */
  readonly logits: Tensor | null;
}

/** Options of `embed`. */
export interface EmbedOptions {
  /** Default: what the checkpoint says in 1_Pooling/config.json, else "mean". */
  readonly pooling?: Pooling;
  /** Bring each vector to length 1, so that products are cosines. Default: what the checkpoint says in modules.json, else true. */
  readonly normalize?: boolean;
}

/** What an encoder computes with. */
type EncoderModel = Model<{ readonly lastHiddenState: Tensor; readonly poolerOutput?: Tensor; readonly logits?: Tensor }>;

const POOLINGS: readonly Pooling[] = ["mean", "cls", "max"];

/**
 * Integers [batch, time] as a tensor, of the shape of `like`. @throws ArgumentError for what is none, DataError for fractions, ShapeError
 * for another shape and more than `most` tokens
 */
function matrix(name: string, given: readonly (readonly number[])[] | Tensor, like: Tensor | null, most: number | null = null): Tensor {
  if (!Array.isArray(given) && !(given instanceof Tensor))
    throw new ArgumentError(`encode: ${name} must be a list of lists of equal length, or a tensor [batch, time]`);
  const wrong = Array.isArray(given) ? given.flat().find((v) => !Number.isInteger(v)) : undefined;
  if (wrong !== undefined) throw new DataError(`encode: ${name} must be integers, got ${String(wrong)}`);
  const t = given instanceof Tensor ? given : tensor(given as NestedArray, undefined, "i32");
  if (t.rank !== 2 || t.size === 0) throw new ShapeError(`encode: ${name} must be [batch, time] with at least one token, got ${t}`);
  if (like !== null && (t.shape[0] !== like.shape[0] || t.shape[1] !== like.shape[1]))
    throw new ShapeError(`encode: ${name} must have the shape of inputIds, [${like.shape.join(", ")}], got ${t}`);
  if (most !== null && t.shape[1] > most)
    throw new ShapeError(`encode: ${t.shape[1]} tokens are more than the contextLength of ${most}; embed() cuts texts`);
  return t;
}

/** An encoder of a checkpoint. */
export class Encoder extends Pretrained {
  declare readonly task: "feature-extraction";
  /** Maps ids, types and mask, [batch, time] each, to lastHiddenState and poolerOutput. */
  declare readonly model: EncoderModel;
  /** The most tokens of a text. */
  readonly contextLength: number | null;
  readonly #sentences: Sentences;
  /** The most tokens of a text that \`embed\` reads. */
  readonly #textLength: number;
  readonly #padding: number;

  /** @internal */
  constructor(
    model: EncoderModel,
    tokenizer: Tokenizer,
    config: Pretrained["config"],
    given: Sentences & { readonly contextLength: number | null; readonly padding: number },
  ) {
    super("feature-extraction", model, tokenizer, config);
    this.contextLength = given.contextLength;
    this.#sentences = given;
    this.#textLength = Math.min(given.contextLength ?? Infinity, given.textLength ?? Infinity);
    this.#padding = given.padding;
  }

  /**
   * Vectors of all tokens of a batch. @throws ShapeError for inputs of other shapes, DataError for ids outside of the vocabulary
   * @example await bert.encode({ inputIds: [[101, 7592, 102, 0]], attentionMask: [[1, 1, 1, 0]] });
   */
  async encode(given: EncoderInputs): Promise<EncoderOutputs> {
    const { inputIds, tokenTypeIds, attentionMask } = checkOptions("encode", given, ["inputIds", "tokenTypeIds", "attentionMask"]);
    const ids = matrix("inputIds", inputIds, null, this.contextLength);
    const all = (value: number): Tensor => tensor(new Int32Array(ids.size).fill(value), ids.shape, "i32");
    const inputs = [
      ids,
      tokenTypeIds ? matrix("tokenTypeIds", tokenTypeIds, ids) : all(0),
      attentionMask ? matrix("attentionMask", attentionMask, ids) : all(1),
    ];
    const batchSize = Math.max(1, ids.shape[0] ?? 1);
    const { lastHiddenState, poolerOutput = null, logits = null } = await this.model.predict(inputs, { batchSize });
    return { lastHiddenState, poolerOutput, logits };
  }

  /**
   * One vector for each text, [texts, features]: f32. Texts are cut at `contextLength` tokens, or fewer where the checkpoint says so
   * (sentence_bert_config.json).
   * @throws ArgumentError for bad options, no texts, and where the checkpoint has no tokenizer
   */
  async embed(texts: string | readonly string[], options: EmbedOptions = {}): Promise<Tensor> {
    const own = this.#sentences;
    const { pooling = own.pooling, normalize = own.normalize } = checkOptions("embed", options, ["pooling", "normalize"]);
    if (!POOLINGS.includes(pooling))
      throw new ArgumentError(`embed: pooling must be one of ${POOLINGS.join(", ")}, got ${String(pooling)}`);
    if (typeof normalize !== "boolean") throw new ArgumentError(`embed: normalize must be true or false, got ${String(normalize)}`);
    const list = typeof texts === "string" ? [texts] : texts;
    if (!Array.isArray(list) || list.length === 0) throw new ArgumentError("embed: expected a text or a list of texts");
    const encoded = list.map((text) =>
      this.#cut(this.tokenizer.encodePair("embed", own.lowerCase ? (text.toLowerCase?.() ?? text) : text)),
    );
    const time = Math.max(...encoded.map(({ ids }) => ids.length));
    const padded = (row: readonly number[], value: number): number[] => [...row, ...new Array<number>(time - row.length).fill(value)];
    const { lastHiddenState: y } = await this.encode({
      inputIds: encoded.map(({ ids }) => padded(ids, this.#padding)),
      tokenTypeIds: encoded.map(({ typeIds }) => padded(typeIds, 0)),
      attentionMask: encoded.map(({ ids }) => padded(new Array<number>(ids.length).fill(1), 0)),
    });
    const features = y.shape[2];
    const data = await y.data();
    const out = new Float32Array(list.length * features);
    encoded.forEach(({ ids }, i) => {
      const row = out.subarray(i * features, (i + 1) * features);
      pool(data.subarray(i * time * features, (i * time + ids.length) * features), row, pooling);
      if (normalize) toLengthOne(row);
    });
    return tensor(out, [list.length, features]);
  }

  /** At most so many tokens as count, of which the last stays, which ends a text. */
  #cut({ ids, typeIds }: { ids: number[]; typeIds: number[] }): { ids: number[]; typeIds: number[] } {
    const most = this.#textLength;
    if (ids.length <= most) return { ids, typeIds };
    const cutOff = (list: number[]): number[] => [...list.slice(0, most - 1), list[list.length - 1]];
    return { ids: cutOff(ids), typeIds: cutOff(typeIds) };
  }
}

/** One vector of those in `rows`. */
function pool(rows: TypedArray, into: Float32Array, pooling: Pooling): void {
  const features = into.length;
  const count = rows.length / features;
  for (let f = 0; f < features; f++) {
    let value = rows[f];
    for (let r = 1; r < count && pooling !== "cls"; r++) {
      const next = rows[r * features + f];
      value = pooling === "max" ? Math.max(value, next) : value + next;
    }
    into[f] = pooling === "mean" ? value / count : value;
  }
}

function toLengthOne(row: Float32Array): void {
  const length = Math.sqrt(row.reduce((sum, v) => sum + v * v, 0));
  if (length > 0) row.forEach((v, i) => (row[i] = v / length));
}

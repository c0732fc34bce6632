/** @file Vocabularies of lookup layers, as Keras 3 has them: given, or learned from data; and what layers make of indices in them. */
import { checkCount, kindOf } from "../check.ts";
import { checkShape } from "../elements.ts";
import { ArgumentError, DataError, LockstepError, ShapeError } from "../errors.ts";
import { showShape, sizeOf } from "../shape.ts";
import type { Shape } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import { checkOneOf } from "./options.ts";

/** What a layer makes of indices: see `LookupOptions`. */
export type OutputMode = "int" | "oneHot" | "multiHot" | "count" | "tfIdf";

/** What has a place in a vocabulary: texts, or integers of 32 bits. */
export type Token = string | number;

/** Options of a vocabulary, with defaults filled in. */
export interface VocabularyOptions<T extends Token> {
  readonly maxTokens: number | null;
  readonly numOovIndices: number;
  readonly maskToken: T | null;
  readonly oovToken: T;
  readonly vocabulary: ArrayLike<T> | null;
  readonly idfWeights: ArrayLike<number> | null;
  readonly invert: boolean;
  readonly outputMode: OutputMode;
  readonly padToMaxTokens: boolean;
}

/** What kind of tokens a vocabulary has. */
export interface TokenKind<T extends Token> {
  readonly name: string;
  /** As the vocabulary keeps it; null for what is none. */
  readonly read: (value: unknown) => T | null;
  readonly order: (a: T, b: T) => number;
}

/** ln(1 + x) for x > 0, the same on every engine: e ln 2 + 2 (s + s^3/3 + s^5/5 + ...), with s = (m - 1) / (m + 1) below 0.172. */
function logOnePlus(x: number): number {
  let m = 1 + x;
  let e = 0;
  for (; m > Math.SQRT2; e++) m /= 2;
  const s = (m - 1) / (m + 1);
  let sum = 0;
  for (let k = 1, power = s; k < 24; k += 2, power *= s * s) sum += power / k;
  return e * Math.LN2 + 2 * sum;
}

/** Finite numbers in a list. @throws ArgumentError */
function numbersOf(who: string, values: ArrayLike<number>): Float32Array {
  const list = Array.from(values);
  const wrong = list.findIndex((v) => !Number.isFinite(v));
  if (wrong >= 0) throw new ArgumentError(`${who}: idfWeights must be finite numbers, got ${kindOf(list[wrong])} at ${wrong}`);
  return Float32Array.from(list);
}

const average = (values: Float32Array): number => values.reduce((a, b) => a + b, 0) / values.length;

/**
 * Tokens and their indices: the mask's first where it has one, those for what is not in the vocabulary, then the tokens in order.
 * Where rows are made of indices (all modes but `int`) the mask has none, and is dropped.
 */
export class Vocabulary<T extends Token> {
  readonly options: VocabularyOptions<T>;
  readonly #who: string;
  readonly #kind: TokenKind<T>;
  /** Whether the size may change no more: a network was built for it. */
  readonly #fixed: () => boolean;
  /** In order, without the special ones; null before there are any. */
  #tokens: readonly T[] | null = null;
  #indices: ReadonlyMap<T, number> = new Map();
  /** By index. */
  #idf: Float32Array | null = null;

  /** @throws ArgumentError for options that are wrong, or do not go together */
  constructor(who: string, kind: TokenKind<T>, options: VocabularyOptions<T>, fixed: () => boolean) {
    const { maxTokens, numOovIndices, maskToken, oovToken, outputMode, vocabulary, idfWeights, invert, padToMaxTokens } = options;
    this.#who = who;
    this.#kind = kind;
    this.options = options;
    this.#fixed = fixed;
    if (maxTokens !== null) checkCount(who, "maxTokens", maxTokens, 2);
    checkCount(who, "numOovIndices", numOovIndices, 0);
    checkOneOf(who, "outputMode", outputMode, ["int", "oneHot", "multiHot", "count", "tfIdf"]);
    for (const [name, token] of Object.entries({ ...(maskToken !== null && { maskToken }), oovToken }))
      if (kind.read(token) === null) throw new ArgumentError(`${who}: ${name} must be ${kind.name}, got ${kindOf(token)}`);
    if (invert && outputMode !== "int")
      throw new ArgumentError(`${who}: invert: true gives tokens, which goes with outputMode "int" alone`);
    if (padToMaxTokens && maxTokens === null) throw new ArgumentError(`${who}: padToMaxTokens: true needs maxTokens`);
    if (idfWeights !== null && vocabulary === null) throw new ArgumentError(`${who}: idfWeights go with a vocabulary of as many tokens`);
    if (vocabulary !== null) this.set(vocabulary, idfWeights);
  }

  /** Whether it has tokens. */
  get known(): boolean {
    return this.#tokens !== null;
  }

  /** The index of what is not in the vocabulary, the first of several. */
  get #oov(): number {
    return this.options.maskToken !== null && this.options.outputMode === "int" ? 1 : 0;
  }

  /** The index of the first token. */
  get #start(): number {
    return this.#oov + this.options.numOovIndices;
  }

  #special(): readonly T[] {
    const { maskToken, oovToken, numOovIndices } = this.options;
    return [...(this.#oov === 1 ? [maskToken as T] : []), ...new Array<T>(numOovIndices).fill(oovToken)];
  }

  /** Indices that there are. @throws LockstepError before there is a vocabulary */
  get size(): number {
    return this.#start + this.#known().length;
  }

  /** The size of rows. @throws LockstepError before it is known */
  get depth(): number {
    const { padToMaxTokens, maxTokens } = this.options;
    return padToMaxTokens ? (maxTokens as number) : this.size;
  }

  #known(): readonly T[] {
    if (this.#tokens === null)
      throw new LockstepError(`${this.#who}: it has no vocabulary: await layer.adapt(data), or give it the option vocabulary`);
    return this.#tokens;
  }

  /** Tokens by index; without special ones where they are not asked for. */
  list(special: boolean): T[] {
    return [...(special ? this.#special() : []), ...this.#known()];
  }

  /** Weights by index, as `tfIdf` has them; null in other modes. */
  get idf(): readonly number[] | null {
    return this.#idf && Array.from(this.#idf);
  }

  /**
   * Takes these tokens, with the special ones in front or without them.
   * @throws ArgumentError for what are no tokens, or twice the same, for more than there may be, and for weights that do not go with them;
   * LockstepError for another number of them where a network was built for one
   */
  set(vocabulary: ArrayLike<T>, idfWeights: ArrayLike<number> | null): void {
    const who = this.#who;
    const { maxTokens, maskToken, oovToken, invert, outputMode } = this.options;
    if (!(Array.isArray(vocabulary) || ArrayBuffer.isView(vocabulary)))
      throw new ArgumentError(`${who}: vocabulary must be a list of tokens, got ${kindOf(vocabulary)}`);
    const all = Array.from(vocabulary as ArrayLike<unknown>, (value, i) => {
      const token = this.#kind.read(value);
      if (token === null) throw new ArgumentError(`${who}: a vocabulary has ${this.#kind.name}, got ${kindOf(value)} at ${i}`);
      return token;
    });
    if (all.length === 0) throw new ArgumentError(`${who}: the vocabulary is empty`);
    const special = this.#special();
    const whole = special.every((token, i) => token === all[i]);
    const tokens = whole ? all.slice(special.length) : all;
    const indices = new Map<T, number>();
    for (const [i, token] of tokens.entries()) {
      if (indices.has(token)) throw new ArgumentError(`${who}: the vocabulary has ${JSON.stringify(token)} twice`);
      if ((token === maskToken && maskToken !== null) || (invert && token === oovToken))
        throw new ArgumentError(
          `${who}: the vocabulary has ${JSON.stringify(token)}, which stands for something else, at ${i}; leave special tokens out, or ` +
            `let it begin with all of them: ${JSON.stringify(special)}`,
        );
      indices.set(token, this.#start + i);
    }
    const size = this.#start + tokens.length;
    if (maxTokens !== null && size > maxTokens)
      throw new ArgumentError(`${who}: a vocabulary of ${size} tokens, special ones among them; maxTokens is ${maxTokens}`);
    this.#take(tokens, indices, outputMode === "tfIdf" || idfWeights !== null ? this.#weightsOf(all, whole, idfWeights) : null);
  }

  /** Weights for all indices; those that are not given are the mean of the others. */
  #weightsOf(all: readonly T[], whole: boolean, given: ArrayLike<number> | null): Float32Array {
    const who = this.#who;
    if (this.options.outputMode !== "tfIdf") throw new ArgumentError(`${who}: idfWeights are for outputMode "tfIdf"`);
    if (given === null) throw new ArgumentError(`${who}: a vocabulary for outputMode "tfIdf" needs idfWeights, or adapt() instead`);
    const weights = numbersOf(who, given);
    if (weights.length !== all.length)
      throw new ArgumentError(`${who}: idfWeights must be as many as the vocabulary's ${all.length} tokens, got ${weights.length}`);
    return whole ? weights : this.#withFront(weights);
  }

  #withFront(weights: Float32Array): Float32Array {
    return Float32Array.from([...new Array<number>(this.#start).fill(average(weights)), ...weights]);
  }

  #take(tokens: readonly T[], indices: ReadonlyMap<T, number>, idf: Float32Array | null): void {
    const { outputMode, padToMaxTokens } = this.options;
    const before = this.#tokens?.length ?? tokens.length;
    if (outputMode !== "int" && !padToMaxTokens && before !== tokens.length && this.#fixed())
      throw new LockstepError(
        `${this.#who}: what stands behind it was built for rows of ${this.depth}, a vocabulary of ${tokens.length} tokens has rows of ` +
          `${this.#start + tokens.length}; set maxTokens with padToMaxTokens: true, or make a new model`,
      );
    this.#tokens = tokens;
    this.#indices = indices;
    this.#idf = idf;
  }

  /**
   * Learns the tokens of documents: the most frequent ones first, those of one number in falling order, as many as there may be; for
   * `tfIdf` also ln(1 + documents / (1 + documents with the token)) of each, in double precision.
   * @throws LockstepError where a vocabulary was given, DataError for documents without any token
   */
  adapt(documents: Iterable<readonly T[]>): void {
    const { vocabulary, maxTokens, maskToken, oovToken, outputMode } = this.options;
    if (vocabulary !== null)
      throw new LockstepError(`${this.#who}: adapt: its vocabulary was given as an option; setVocabulary() replaces it`);
    const counts = new Map<T, number>();
    const within = new Map<T, number>();
    let count = 0;
    for (const tokens of documents) {
      count++;
      for (const token of tokens) counts.set(token, (counts.get(token) ?? 0) + 1);
      if (outputMode === "tfIdf") for (const token of new Set(tokens)) within.set(token, (within.get(token) ?? 0) + 1);
    }
    if (maskToken !== null) counts.delete(maskToken);
    counts.delete(oovToken);
    if (counts.size === 0) throw new DataError(`${this.#who}: adapt: the data has no token`);
    const sorted = [...counts].sort(([a, n], [b, m]) => m - n || this.#kind.order(b, a)).map(([token]) => token);
    const tokens = sorted.slice(0, maxTokens === null ? sorted.length : Math.max(0, maxTokens - this.#start));
    if (tokens.length === 0)
      throw new ArgumentError(`${this.#who}: adapt: maxTokens: ${String(maxTokens)} leaves no place beside ${this.#start} special tokens`);
    const idf = Float32Array.from(tokens, (token) => logOnePlus(count / (1 + (within.get(token) as number))));
    this.#take(tokens, new Map(tokens.map((token, i) => [token, this.#start + i])), outputMode === "tfIdf" ? this.#withFront(idf) : null);
  }

  /**
   * The index of a token; -1 for a mask that has none. `bucket` chooses among several indices for what is not in the vocabulary. @throws
   * DataError for a token that is not, where there is no index for such, LockstepError before there is a vocabulary
   */
  indexOf(who: string, token: T, bucket: (token: T, count: number) => number): number {
    const { maskToken, numOovIndices, outputMode } = this.options;
    if (token === maskToken && maskToken !== null) return outputMode === "int" ? 0 : -1;
    const index = this.#indices.get(token);
    if (index !== undefined) return index;
    this.#known();
    if (numOovIndices === 0)
      throw new DataError(`${who}: ${JSON.stringify(token)} is not in the vocabulary, and numOovIndices: 0 leaves no index for it`);
    return this.#oov + (numOovIndices === 1 ? 0 : bucket(token, numOovIndices));
  }

  /** The token of an index; what stands for those that are not in the vocabulary where there is none. */
  tokenOf(index: number): T {
    const { maskToken, oovToken } = this.options;
    const tokens = this.#known();
    if (index === 0 && this.#oov === 1) return maskToken as T;
    return tokens[index - this.#start] ?? oovToken;
  }

  /**
   * Indices as the mode says: i32 as they are, or f32 rows, those of a last dimension together, or one for each. An index below 0 has no
   * place.
   * @throws ShapeError for dimensions that the mode does not take
   */
  output(who: string, indices: ArrayLike<number>, shape: Shape): Tensor {
    const { outputMode } = this.options;
    if (outputMode === "int") {
      const host = indices instanceof Int32Array ? indices : Int32Array.from(indices);
      return new Tensor(shape, "i32", null, 0, host);
    }
    const last = shape[shape.length - 1];
    // Keras encodes a last dimension of 1 in its place.
    const single = outputMode === "oneHot" && !(shape.length > 1 && last === 1);
    if (outputMode !== "oneHot" && shape.length > 2)
      throw new ShapeError(`${who}: outputMode "${outputMode}" takes [batch, tokens], got ${showShape(shape)}`);
    const { depth } = this;
    const own = [...(single ? shape : shape.slice(0, -1)), depth];
    checkShape(who, own);
    const rows = new Float32Array(sizeOf(own));
    const each = single ? 1 : last;
    for (let i = 0; i < indices.length; i++) {
      const index = indices[i];
      if (index < 0) continue;
      const at = Math.floor(i / each) * depth + index;
      rows[at] = outputMode === "count" || outputMode === "tfIdf" ? rows[at] + 1 : 1;
    }
    const weights = this.#idf;
    if (weights !== null) for (let i = 0; i < rows.length; i++) rows[i] *= weights[i % depth] ?? 0;
    return new Tensor(own, "f32", null, 0, rows);
  }
}

/** @file A decoder with its tokenizer: logits, and text that it writes. */
import { ArgumentError, DataError, generator, tensor } from "../index.ts";
import type { GenerateOptions, Model, Tensor, Tokens } from "../index.ts";
import { Pretrained } from "./pretrained.ts";
import { TextStream } from "./stream.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** What `generate` of a language model gives for each token. */
export interface GeneratedToken {
  readonly id: number;
  /** What it adds to the text: nothing where it ends in the middle of a character, or is no text. "" where there is no tokenizer. */
  readonly text: string;
}

/** A language model of a checkpoint. */
export class LanguageModel extends Pretrained {
  declare readonly task: "text-generation";
  /** Maps ids [batch, time] to logits [batch, time, vocabulary]: a Lockstep model, to be summarized, trained or saved. */
  declare readonly model: Model;
  /** Ids that end a text, where `generate` is not told others. */
  readonly eosTokenIds: readonly number[];
  /** The id that begins texts, null where the configuration has none. */
  readonly bosTokenId: number | null;
  /** The most tokens of a text, prompt included; null: any number. */
  readonly contextLength: number | null;

  /** @internal */
  constructor(
    model: Model,
    tokenizer: Tokenizer,
    config: Pretrained["config"],
    tokens: { readonly eos: readonly number[]; readonly bos: number | null; readonly contextLength: number | null },
  ) {
    super("text-generation", model, tokenizer, config);
    this.eosTokenIds = tokens.eos;
    this.bosTokenId = tokens.bos;
    this.contextLength = tokens.contextLength;
  }

  /**
   * The logits behind each token of one text: f32 [tokens, vocabulary]. @throws DataError for ids outside of the vocabulary, ArgumentError
   * for none, and for more than `contextLength`
   */
  async logits(ids: Tokens): Promise<Tensor> {
    const list = this.#ids("logits", ids);
    const y = await this.model.predict(tensor(Int32Array.from(list), [1, list.length], "i32"));
    const out = tensor(await y.data(), [list.length, y.shape[2]]);
    y.dispose();
    return out;
  }

  /**
   * Writes what comes behind a prompt, token by token: `for await (const { text } of lm.generate("Once upon a time"))`. A text is encoded
   * with the special tokens of the tokenizer; ids are taken as they are. Several prompts, a list of texts or of lists of ids, are generated
   * together, and give a list of tokens at each step, null for texts that are complete. The likeliest token is taken unless an option of
   * drawing is given: `temperature`, `topK`, `topP`, `minP` or `seed`. Options as of `generate`; `stop` defaults to `eosTokenIds`, and what
   * ends a text is given, without a text of its own.
   * @throws ArgumentError where prompt and `maxTokens` are more than `contextLength`, and where a text is given and there is no tokenizer;
   * otherwise as `generate`
   */
  generate(prompt: string | Tokens, options?: GenerateOptions): AsyncGenerator<GeneratedToken, void, void>;
  generate(prompts: readonly (string | Tokens)[], options?: GenerateOptions): AsyncGenerator<(GeneratedToken | null)[], void, void>;
  async *generate(
    prompt: string | Tokens | readonly (string | Tokens)[],
    options: GenerateOptions = {},
  ): AsyncGenerator<GeneratedToken | (GeneratedToken | null)[], void, void> {
    const several = isPrompts(prompt);
    const lists = (several ? prompt : [prompt]).map((p) => (typeof p === "string" ? this.tokenizer.encode(p) : this.#ids("generate", p)));
    const { contextLength } = this;
    const longest = Math.max(...lists.map(({ length }) => length));
    const room = contextLength === null ? Infinity : contextLength - longest + 1;
    const wanted = options.maxTokens ?? Math.min(MOST_TOKENS, room);
    if (wanted > room || room < 1) {
      throw new ArgumentError(
        `generate: ${longest} tokens and ${wanted} to be generated are more than the contextLength of ${contextLength}; give a ` +
          "shorter prompt or a smaller maxTokens",
      );
    }
    const stop = options.stop ?? this.eosTokenIds;
    const texts = lists.map((ids) => ({
      made: [] as number[],
      stream: this.tokenizer.isAvailable ? new TextStream(this.tokenizer, ids) : null,
    }));
    const draws = DRAWING.some((name) => options[name] !== undefined);
    const temperature = options.temperature ?? (draws ? 1 : 0);
    const { cache = "f32" } = options;
    const session = await generator(this.model, { capacity: this.#capacity(longest + wanted), batch: lists.length, cache });
    try {
      for await (const ids of session.generate(lists, { ...options, temperature, maxTokens: wanted, stop })) {
        const tokens = texts.map(({ made, stream }, i) => {
          const id = ids[i];
          if (id === null) return null;
          made.push(id);
          const text = stream?.put(id) ?? "";
          return { id, text: made.length === wanted || endsWith(made, stop) ? text + (stream?.end() ?? "") : text };
        });
        yield several ? tokens : (tokens[0] as GeneratedToken);
      }
    } finally {
      session.close();
    }
  }

  /** Room for so many tokens, a power of two, so that texts of many lengths share programs. */
  #capacity(tokens: number): number {
    return Math.min(this.contextLength ?? Infinity, Math.max(LEAST_CAPACITY, 2 ** Math.ceil(Math.log2(tokens))));
  }

  #ids(who: string, ids: Tokens): number[] {
    if (!Array.isArray(ids) && !ArrayBuffer.isView(ids)) throw new ArgumentError(`${who}: expected a list of ids such as [1, 2, 3]`);
    if (ids.length === 0)
      throw new ArgumentError(
        `${who}: expected at least one id${this.bosTokenId === null ? "" : `, such as ${this.bosTokenId}, which begins texts`}`,
      );
    if (this.contextLength !== null && ids.length > this.contextLength)
      throw new ArgumentError(`${who}: ${ids.length} ids are more than the contextLength of ${this.contextLength}`);
    const list = Array.from(ids as ArrayLike<number>);
    const wrong = list.findIndex((id) => !(Number.isSafeInteger(id) && id >= 0));
    if (wrong >= 0) throw new DataError(`${who}: ids are integers from 0, got ${String(list[wrong])} at place ${wrong}`);
    return list;
  }
}

/** Whether it is a list of prompts: ids alone are numbers. */
const isPrompts = (x: string | Tokens | readonly (string | Tokens)[]): x is readonly (string | Tokens)[] =>
  Array.isArray(x) && x.length > 0 && x.every((p) => typeof p !== "number");

/** Whether tokens end with one of `stops`. */
const endsWith = (tokens: readonly number[], stops: NonNullable<GenerateOptions["stop"]>): boolean =>
  stops.some((stop) => [stop].flat().every((id, i, { length }) => tokens[tokens.length - length + i] === id));

/** Options of which any says that tokens are drawn. */
const DRAWING = ["temperature", "topK", "topP", "minP", "seed"] as const;

/** Tokens without an option. */
const MOST_TOKENS = 256;

/** What there is room for at least. */
const LEAST_CAPACITY = 256;

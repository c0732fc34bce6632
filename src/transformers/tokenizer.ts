/**
 * @file Text as ids and back, through the packages of Hugging Face that do it: they are optional, loaded on demand, and named where they
 * are missing.
 */
import { checkOptions } from "../check.ts";
import { ArgumentError, DataError, LockstepError } from "../index.ts";
import type { TokenizerFiles } from "./checkpoint.ts";
import type { Json } from "./config.ts";

/** What of `@huggingface/tokenizers` is used. */
export interface TokenizersModule {
  /** Made from the contents of tokenizer.json and tokenizer_config.json. */
  readonly Tokenizer: new (
    tokenizer: object,
    config: object,
  ) => {
    /** Ids of a text. */
    encode(
      text: string,
      options?: { text_pair?: string | null; add_special_tokens?: boolean; return_token_type_ids?: boolean | null },
    ): { readonly ids: number[]; readonly token_type_ids?: number[] };
    /** The text of ids. */
    decode(ids: number[], options?: { skip_special_tokens?: boolean; clean_up_tokenization_spaces?: boolean | null }): string;
    /** The id of a token. */
    token_to_id(token: string): number | undefined;
  };
}

/** What of `@huggingface/jinja` is used. */
export interface JinjaModule {
  /** Made from the text of a template. */
  readonly Template: new (template: string) => {
    /** The text that it makes of variables. */
    render(items?: Record<string, unknown>): string;
  };
}

/** A turn of a conversation. */
export interface Message {
  /** system, user, assistant … */
  readonly role: string;
  readonly content: string;
  /** What else a template knows. */
  readonly [key: string]: unknown;
}

/** Options of `encode`. */
export interface EncodeOptions {
  /** Put in what the model was trained with at the beginning or end of texts. Default true. */
  readonly addSpecialTokens?: boolean;
  /** A second text behind the first, for models of pairs. Default none. */
  readonly pair?: string;
}

/** Options of `decode`. */
export interface DecodeOptions {
  /** Leave out tokens that are no text, such as that of an end. Default true. */
  readonly skipSpecialTokens?: boolean;
}

/** Options of `applyChatTemplate`. */
export interface ChatTemplateOptions {
  /** End with the beginning of the assistant's turn. Default true. */
  readonly addGenerationPrompt?: boolean;
  /** The template, in place of the checkpoint's. */
  readonly template?: string;
  /** What else the template is given: `tools`, `enable_thinking` … */
  readonly variables?: { readonly [name: string]: unknown };
}

/** A package by a name that bundlers do not follow: it is an optional peer. */
const load = <T>(name: string): Promise<T> => import(/* webpackIgnore: true */ /* @vite-ignore */ name) as Promise<T>;

/** Whether a text stands in place of a special token; old files have objects. */
const textOf = (token: unknown): string | undefined =>
  typeof token === "string" ? token : (token as { content?: string } | null)?.content;

/** Text as ids and back, as the checkpoint's tokenizer.json says. */
export class Tokenizer {
  readonly #inner: InstanceType<TokenizersModule["Tokenizer"]> | Error;
  readonly #jinja: JinjaModule | Error;
  readonly #config: Json;

  /** @internal */
  constructor(inner: InstanceType<TokenizersModule["Tokenizer"]> | Error, jinja: JinjaModule | Error, config: Json) {
    this.#inner = inner;
    this.#jinja = jinja;
    this.#config = config;
  }

  /** Whether there is one, with the package that reads it. */
  get isAvailable(): boolean {
    return !(this.#inner instanceof Error);
  }

  #use(who: string): InstanceType<TokenizersModule["Tokenizer"]> {
    if (!(this.#inner instanceof Error)) return this.#inner;
    if (this.#inner instanceof LockstepError) throw new LockstepError(`${who}: ${this.#inner.message}`, { cause: this.#inner });
    throw new LockstepError(
      `${who}: tokenizers need the package @huggingface/tokenizers (npm install @huggingface/tokenizers), or, where an application is ` +
        'bundled, loadPretrained(source, { tokenizers: await import("@huggingface/tokenizers") }); models take ids without it',
      { cause: this.#inner },
    );
  }

  /**
   * The ids of a text.
   * @throws LockstepError where the package @huggingface/tokenizers is missing, ArgumentError for what is no text
   */
  encode(text: string, options: EncodeOptions = {}): number[] {
    return this.encodePair("encode", text, options).ids;
  }

  /** @internal Ids, and which of two texts each is of. */
  encodePair(who: string, text: string, options: EncodeOptions = {}): { ids: number[]; typeIds: number[] } {
    const { addSpecialTokens = true, pair } = checkOptions(who, options, ["addSpecialTokens", "pair"]);
    if (typeof text !== "string") throw new ArgumentError(`${who}: expected a text, got ${typeof text}`);
    const { ids, token_type_ids: typeIds } = this.#use(who).encode(text, {
      text_pair: pair ?? null,
      add_special_tokens: addSpecialTokens,
      return_token_type_ids: true,
    });
    return { ids, typeIds: typeIds ?? ids.map(() => 0) };
  }

  /** The text of ids. @throws LockstepError where the package @huggingface/tokenizers is missing */
  decode(ids: Iterable<number>, options: DecodeOptions = {}): string {
    const { skipSpecialTokens = true } = checkOptions("decode", options, ["skipSpecialTokens"]);
    const list = [...ids];
    const wrong = list.find((id) => !(Number.isSafeInteger(id) && id >= 0));
    if (wrong !== undefined) throw new DataError(`decode: ids are integers from 0, got ${String(wrong)}`);
    const inner = this.#use("decode");
    // It refuses an empty list.
    if (list.length === 0) return "";
    return inner.decode(list, {
      skip_special_tokens: skipSpecialTokens,
      clean_up_tokenization_spaces: this.#config.clean_up_tokenization_spaces === true,
    });
  }

  /** The id of a token by its text, null where there is none. @throws LockstepError where the package is missing */
  tokenId(token: string): number | null {
    return this.#use("tokenId").token_to_id(token) ?? null;
  }

  /** The template of conversations that the checkpoint has, null for none. */
  get chatTemplate(): string | null {
    const given = this.#config.chat_template;
    if (typeof given === "string") return given;
    // Several by name.
    const list = Array.isArray(given) ? (given as { name?: unknown; template?: unknown }[]) : [];
    const found = list.find(({ name }) => name === "default")?.template;
    return typeof found === "string" ? found : null;
  }

  /**
   * A conversation as the text that the model was trained with; `encode(text, { addSpecialTokens: false })` makes ids of it.
   * @throws LockstepError where the package @huggingface/jinja is missing, ArgumentError where there is no template, and for messages
   * that it refuses
   */
  applyChatTemplate(messages: readonly Message[], options: ChatTemplateOptions = {}): string {
    const known = ["addGenerationPrompt", "template", "variables"];
    const { addGenerationPrompt = true, template = this.chatTemplate, variables = {} } = checkOptions("applyChatTemplate", options, known);
    if (template === null) throw new ArgumentError('applyChatTemplate: the checkpoint has no chat template; give one: { template: "..." }');
    if (this.#jinja instanceof LockstepError) throw new LockstepError(`applyChatTemplate: ${this.#jinja.message}`, { cause: this.#jinja });
    if (this.#jinja instanceof Error) {
      throw new LockstepError(
        "applyChatTemplate: chat templates need the package @huggingface/jinja (npm install @huggingface/jinja), or, where an " +
          'application is bundled, loadPretrained(source, { jinja: await import("@huggingface/jinja") })',
        { cause: this.#jinja },
      );
    }
    const special = ["bos_token", "eos_token", "unk_token", "pad_token"].map((name) => [name, textOf(this.#config[name])] as const);
    try {
      return new this.#jinja.Template(template).render({
        messages,
        add_generation_prompt: addGenerationPrompt,
        ...Object.fromEntries(special.filter(([, text]) => text !== undefined)),
        ...variables,
      });
    } catch (cause) {
      throw new ArgumentError(`applyChatTemplate: the template failed: ${(cause as Error).message}`, { cause });
    }
  }
}

/** What `work` gives, or why it fails. */
async function orError<T>(work: () => T | Promise<T>): Promise<T | Error> {
  try {
    return await work();
  } catch (error) {
    return error as Error;
  }
}

/** The tokenizer of a checkpoint. Models take ids without one, so that what is wrong with it is said when it is used. */
export async function tokenizerOf(
  files: TokenizerFiles | LockstepError | null,
  given: { readonly tokenizers: TokenizersModule | undefined; readonly jinja: JinjaModule | undefined },
): Promise<Tokenizer> {
  const missing = files === null ? new LockstepError("the checkpoint has no tokenizer.json; give ids in place of text") : null;
  if (files === null || files instanceof LockstepError)
    return new Tokenizer(missing ?? (files as LockstepError), missing ?? (files as LockstepError), {});
  const tokenizers = given.tokenizers ?? (await orError(() => load<TokenizersModule>("@huggingface/tokenizers")));
  const jinja = given.jinja ?? (await orError(() => load<JinjaModule>("@huggingface/jinja")));
  if (tokenizers instanceof Error) return new Tokenizer(tokenizers, jinja, files.config as Json);
  const inner = await orError(() => new tokenizers.Tokenizer(files.tokenizer, files.config));
  if (!(inner instanceof Error)) return new Tokenizer(inner, jinja, files.config as Json);
  const cause = new LockstepError(`@huggingface/tokenizers cannot read the checkpoint's tokenizer.json: ${inner.message}`, {
    cause: inner,
  });
  return new Tokenizer(cause, jinja, files.config as Json);
}

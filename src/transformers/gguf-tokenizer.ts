/** @file The tokenizer that a GGUF file describes, as the tokenizer.json that says the same. */
import { cut } from "../io/safetensors.ts";
import { FileError } from "../errors.ts";
import type { GgufValue } from "../gguf/index.ts";
import type { TokenizerFiles } from "./checkpoint.ts";

type Metadata = ReadonlyMap<string, GgufValue>;

/** Kinds of tokens. */
const UNKNOWN = 2;
const CONTROL = 3;
const USER = 4;

/** Texts of tokens that end a turn or a text, whatever the file says of its end. */
const ENDS = new Set(["<|eot_id|>", "<|im_end|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>", "<end_of_turn>", "<|eom_id|>"]);

const key = (name: string): string => `tokenizer.ggml.${name}`;

/** A list of the metadata. @throws FileError for what is none, and for one of another length */
function listOf<T>(metadata: Metadata, name: string, type: "string" | "number", length?: number): readonly T[] | null {
  const value = metadata.get(key(name));
  if (value === undefined) return null;
  if (!Array.isArray(value) || !value.every((v) => typeof v === type) || (length !== undefined && value.length !== length))
    throw new FileError(`${key(name)} must be a list of ${length === undefined ? "" : `${length} `}${type}s`);
  return value as readonly T[];
}

/** Ids that end a text. */
export function eosTokens(metadata: Metadata): number[] {
  const named = ["eos_token_id", "eot_token_id", "eom_token_id"].map((name) => metadata.get(key(name)));
  const tokens = metadata.get(key("tokens"));
  const types = metadata.get(key("token_type"));
  const texts =
    Array.isArray(tokens) && Array.isArray(types) ? tokens.flatMap((t, i) => (types[i] === CONTROL && ENDS.has(String(t)) ? [i] : [])) : [];
  return [...new Set([...named.filter((v) => typeof v === "number"), ...texts])];
}

/** The pattern by which text is split before bytes are joined, by the name that llama.cpp gives it. */
const LLAMA3 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const SPLITS: {
  readonly [pre: string]: { readonly pattern: string | null; readonly digits?: true; readonly nfc?: true; readonly llama3?: true };
} = {
  default: { pattern: null },
  "gpt-2": { pattern: null },
  smollm: { pattern: null, digits: true },
  "llama-bpe": { pattern: LLAMA3, llama3: true },
  llama3: { pattern: LLAMA3, llama3: true },
  "llama-v3": { pattern: LLAMA3, llama3: true },
  qwen2: { pattern: LLAMA3.replace("\\p{N}{1,3}", "\\p{N}"), nfc: true },
  "deepseek-r1-qwen": { pattern: LLAMA3.replace("\\p{N}{1,3}", "\\p{N}"), nfc: true },
};

/**
 * Pairs in the order in which they are joined: those that make the token of the highest score first, as Hugging Face's converter of
 * SentencePiece models finds them.
 */
function mergesOf(tokens: readonly string[], scores: readonly number[]): string[][] {
  const ids = new Map(tokens.map((t, i) => [t, i]));
  const all: { readonly pair: string[]; readonly score: number; readonly left: number; readonly right: number }[] = [];
  tokens.forEach((token, id) => {
    if (ids.get(token) !== id) return;
    const letters = [...token];
    const own: typeof all = [];
    for (let i = 1; i < letters.length; i++) {
      const pair = [letters.slice(0, i).join(""), letters.slice(i).join("")];
      if (pair.every((p) => ids.has(p))) own.push({ pair, score: scores[id], left: i, right: letters.length - i });
    }
    const at = ({ pair }: (typeof all)[number], k: number): number => ids.get(pair[k]) as number;
    all.push(...own.sort((a, b) => at(a, 0) - at(b, 0) || at(a, 1) - at(b, 1)));
  });
  return all.sort((a, b) => b.score - a.score || b.left - a.left || b.right - a.right).map(({ pair }) => pair);
}

/** What is put before and behind a text. */
function template(tokens: readonly string[], begin: number | null, end: number | null): object | null {
  const special = [begin, end].filter((id) => id !== null);
  if (special.length === 0) return null;
  const around = (name: "A" | "B", type: number): object[] => [
    ...(begin === null ? [] : [{ SpecialToken: { id: tokens[begin], type_id: type } }]),
    { Sequence: { id: name, type_id: type } },
    ...(end === null ? [] : [{ SpecialToken: { id: tokens[end], type_id: type } }]),
  ];
  return {
    type: "TemplateProcessing",
    single: around("A", 0),
    pair: [...around("A", 0), ...around("B", 1)],
    special_tokens: Object.fromEntries(special.map((id) => [tokens[id], { id: tokens[id], ids: [id], tokens: [tokens[id]] }])),
  };
}

/** Pieces of SentencePiece: spaces are "▁", what is no piece becomes bytes. */
function sentencePiece(metadata: Metadata, tokens: readonly string[], unknown: string | null): object {
  const scores = listOf<number>(metadata, "scores", "number", tokens.length);
  if (scores === null) throw new FileError(`${key("scores")} must be there for a tokenizer of the model llama`);
  const prefix = metadata.get(key("add_space_prefix")) !== false;
  const spaces = { type: "Replace", pattern: { String: " " }, content: "▁" };
  return {
    normalizer: { type: "Sequence", normalizers: [...(prefix ? [{ type: "Prepend", prepend: "▁" }] : []), spaces] },
    pre_tokenizer: null,
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...(prefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: "BPE",
      unk_token: unknown,
      fuse_unk: true,
      byte_fallback: tokens.includes("<0x00>"),
      ignore_merges: false,
      merges: mergesOf(tokens, scores),
    },
  };
}

/** Bytes as characters, joined by a list of pairs. */
function byteLevel(metadata: Metadata): object {
  const merges = listOf<string>(metadata, "merges", "string");
  if (merges === null) throw new FileError(`${key("merges")} must be there for a tokenizer of the model gpt2`);
  const pre = metadata.get(key("pre")) ?? "default";
  if (typeof pre !== "string" || !Object.hasOwn(SPLITS, pre))
    throw new FileError(`${key("pre")} must be one of ${Object.keys(SPLITS).join(", ")}, found ${cut(String(pre))}`);
  const { pattern, digits, nfc, llama3 } = SPLITS[pre];
  const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: pattern === null };
  const before =
    pattern !== null
      ? [{ type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false }]
      : digits
        ? [{ type: "Digits", individual_digits: true }]
        : [];
  return {
    normalizer: nfc ? { type: "NFC" } : null,
    pre_tokenizer: { type: "Sequence", pretokenizers: [...before, bytes] },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      unk_token: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: llama3 === true,
      merges: merges.map((m) => m.split(" ")),
    },
  };
}

/** tokenizer.json and tokenizer_config.json of a file's metadata; null where it has no tokenizer. @throws FileError for one not known */
export function tokenizerOfGguf(metadata: Metadata): TokenizerFiles | null {
  const kind = metadata.get(key("model"));
  const tokens = listOf<string>(metadata, "tokens", "string");
  if (kind === undefined || kind === "none" || kind === "no_vocab" || tokens === null) return null;
  const types = listOf<number>(metadata, "token_type", "number", tokens.length) ?? tokens.map(() => 1);
  const idOf = (name: string): number | null => {
    const id = metadata.get(key(`${name}_token_id`));
    return typeof id === "number" && id >= 0 && id < tokens.length ? id : null;
  };
  const [bos, eos] = [idOf("bos"), idOf("eos")];
  const unknownId = idOf("unknown") ?? (types.includes(UNKNOWN) ? types.indexOf(UNKNOWN) : null);
  const unknown = unknownId === null ? null : tokens[unknownId];
  if (kind !== "llama" && kind !== "gpt2") throw new FileError(`${key("model")} must be llama or gpt2, found ${cut(String(kind))}`);
  const parts = kind === "llama" ? sentencePiece(metadata, tokens, unknown) : byteLevel(metadata);
  const { model, ...rest } = parts as { readonly model: object };
  const llama3 = kind === "gpt2" && SPLITS[String(metadata.get(key("pre")) ?? "default")].llama3 === true;
  const begins = metadata.get(key("add_bos_token")) ?? (kind === "llama" || llama3);
  const ends = metadata.get(key("add_eos_token")) ?? false;
  const added = tokens.flatMap((content, id) =>
    types[id] === CONTROL || types[id] === USER || types[id] === UNKNOWN
      ? [{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: types[id] !== USER }]
      : [],
  );
  const chat = metadata.get("tokenizer.chat_template");
  return {
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: added,
      ...rest,
      post_processor: template(tokens, begins === true ? bos : null, ends === true ? eos : null),
      model: {
        ...model,
        dropout: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        vocab: Object.fromEntries(tokens.map((t, i) => [t, i])),
      },
    },
    config: {
      ...(bos !== null && { bos_token: tokens[bos] }),
      ...(eos !== null && { eos_token: tokens[eos] }),
      ...(unknown !== null && { unk_token: unknown }),
      ...(typeof chat === "string" && { chat_template: chat }),
    },
  };
}

/** @file What Sentence Transformers' files say of how vectors of tokens become one of a text. */
import { FileError } from "../index.ts";
import { cut, show } from "../io/safetensors.ts";
import { Config } from "./config.ts";
import type { Json } from "./config.ts";
import type { Folder } from "./files.ts";

/** How vectors of tokens become one of the text. */
export type Pooling = "mean" | "cls" | "max";

/** How texts become vectors. */
export interface Sentences {
  readonly pooling: Pooling;
  /** Whether vectors have the length 1 where `embed` is not told. */
  readonly normalize: boolean;
  /** Whether texts are written in small letters first. */
  readonly lowerCase: boolean;
  /** The most tokens of a text that count; null: as many as the model reads. */
  readonly textLength: number | null;
}

export const DEFAULT_SENTENCES: Sentences = { pooling: "mean", normalize: true, lowerCase: false, textLength: null };

const MODES: { readonly [key: string]: Pooling } = {
  pooling_mode_cls_token: "cls",
  pooling_mode_max_tokens: "max",
  pooling_mode_mean_tokens: "mean",
};

/** @throws FileError for what is not there, which would give other vectors */
function poolingOf(who: string, file: string, values: Json): Pooling {
  const fault = (found: string): FileError =>
    new FileError(`${who}: ${file} must ask for one of cls, max and mean, found ${found}; take lastHiddenState of encode()`);
  if (typeof values.pooling_mode === "string") {
    const mode = Object.values(MODES).find((m) => m === values.pooling_mode);
    if (mode === undefined) throw fault(show(values.pooling_mode));
    return mode;
  }
  const asked = Object.keys(values).filter((key) => key.startsWith("pooling_mode_") && values[key] === true);
  if (asked.length !== 1 || !Object.hasOwn(MODES, asked[0])) throw fault(asked.length === 0 ? "none" : asked.join(", "));
  return MODES[asked[0]];
}

/** What each of the modules is, and the folder of its files. @throws FileError for parts that are not computed here */
function modulesOf(who: string, text: string): Map<string, unknown> {
  let list: unknown = null;
  try {
    list = JSON.parse(text);
  } catch {
    // No list either.
  }
  if (!Array.isArray(list)) throw new FileError(`${who}: modules.json must be a list of modules`);
  const modules = new Map<string, unknown>();
  for (const module of list as readonly (Json | null)[]) {
    const [, kind] = /\.(Transformer|Pooling|Normalize)$/.exec(String(module?.type)) ?? [];
    if (kind === undefined) throw new FileError(`${who}: modules.json names ${show(module?.type)}; known: Transformer, Pooling, Normalize`);
    modules.set(kind, module?.path);
  }
  if (!modules.has("Pooling"))
    throw new FileError(`${who}: modules.json must name a Pooling; take lastHiddenState of encode() of a folder without it`);
  return modules;
}

/** @throws FileError for parts that are not computed here */
export async function sentencesOf(folder: Folder): Promise<Sentences> {
  const { who } = folder;
  const text = await folder.text("modules.json");
  const modules = text === null ? null : modulesOf(who, text);
  const path = String(modules?.get("Pooling") ?? "1_Pooling");
  // A name with a slash would leave the folder.
  if (!/^\w[\w.-]*$/.test(path)) throw new FileError(`${who}: modules.json: path must be a folder of the model's, found ${show(path)}`);
  const file = `${path}/config.json`;
  const pooling = await folder.json(file);
  if (pooling === null && modules !== null) throw new FileError(`${who}: no ${cut(file)}, which modules.json names`);
  const own = await folder.json("sentence_bert_config.json");
  const config = new Config(`${who}: sentence_bert_config.json`, own ?? {});
  return {
    pooling: pooling === null ? "mean" : poolingOf(who, cut(file), pooling),
    normalize: modules?.has("Normalize") ?? true,
    lowerCase: config.flag("do_lower_case", false),
    textLength: config.has("max_seq_length") ? config.count("max_seq_length") : null,
  };
}

/** @file What Sentence Transformers' files say of how vectors of tokens become one of a text. */
import { FileError } from "../index.ts";
import { show } from "../io/safetensors.ts";
import type { Json } from "./config.ts";
import type { Pooling } from "./encoder.ts";
import type { Folder } from "./files.ts";

/** How texts become vectors. */
export interface Sentences {
  readonly pooling: Pooling;
  /** The most tokens of a text that count; null: as many as the model reads. */
  readonly textLength: number | null;
}

export const DEFAULT_SENTENCES: Sentences = { pooling: "mean", textLength: null };

const POOLING_FILE = "1_Pooling/config.json";
const MODES: { readonly [key: string]: Pooling } = {
  pooling_mode_cls_token: "cls",
  pooling_mode_max_tokens: "max",
  pooling_mode_mean_tokens: "mean",
};

/** @throws FileError for what is not there, which would give other vectors */
function poolingOf(who: string, values: Json): Pooling {
  const fault = (found: string): FileError =>
    new FileError(`${who}: ${POOLING_FILE} must ask for one of cls, max and mean, found ${found}; take lastHiddenState of encode()`);
  if (typeof values.pooling_mode === "string") {
    const mode = Object.values(MODES).find((m) => m === values.pooling_mode);
    if (mode === undefined) throw fault(show(values.pooling_mode));
    return mode;
  }
  const asked = Object.keys(values).filter((key) => key.startsWith("pooling_mode_") && values[key] === true);
  if (asked.length !== 1 || !Object.hasOwn(MODES, asked[0])) throw fault(asked.length === 0 ? "none" : asked.join(", "));
  return MODES[asked[0]];
}

function modulesOf(who: string, text: string | null): readonly unknown[] {
  let modules: unknown = null;
  try {
    modules = JSON.parse(text ?? "[]");
  } catch {
    // No list either.
  }
  if (!Array.isArray(modules)) throw new FileError(`${who}: modules.json must be a list of modules`);
  return modules;
}

/** @throws FileError for parts that are not computed here */
export async function sentencesOf(folder: Folder): Promise<Sentences> {
  for (const module of modulesOf(folder.who, await folder.text("modules.json"))) {
    const type = String((module as Json | null)?.type);
    if (!/\.(Transformer|Pooling|Normalize)$/.test(type))
      throw new FileError(`${folder.who}: modules.json names ${show(type)}; known: Transformer, Pooling, Normalize`);
  }
  const pooling = await folder.json(POOLING_FILE);
  const length = (await folder.json("sentence_bert_config.json"))?.max_seq_length ?? null;
  if (length !== null && !(Number.isSafeInteger(length) && (length as number) > 0))
    throw new FileError(`${folder.who}: sentence_bert_config.json: max_seq_length must be a number of tokens, found ${show(length)}`);
  return { pooling: pooling === null ? "mean" : poolingOf(folder.who, pooling), textLength: length as number | null };
}

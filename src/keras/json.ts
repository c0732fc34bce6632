/** @file JSON of files, as Python writes it. */
import { cut, parseObject } from "../io/safetensors.ts";
import { FileError } from "../index.ts";
import type { Json } from "./fields.ts";

/** How deep objects may lie in each other: what looks through them calls itself. */
const MOST_DEPTH = 200;

/** The deepest nesting of a text of JSON, without its texts. */
function depthOf(text: string): number {
  let [depth, most, inside] = [0, 0, false];
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (inside) {
      if (c === "\\") i++;
      else if (c === '"') inside = false;
    } else if (c === '"') inside = true;
    else if (c === "{" || c === "[") most = Math.max(most, ++depth);
    else if (c === "}" || c === "]") depth--;
  }
  return most;
}

/** The object that a text of JSON is. @throws FileError for what is none */
export function parseJson(who: string, text: string): Json {
  if (depthOf(text) > MOST_DEPTH) throw new FileError(`${cut(who, 240)}: objects lie in each other more than ${MOST_DEPTH} deep`);
  return parseObject(cut(who, 240), text) as Json;
}

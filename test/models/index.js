/** @file Folders and files of models that tests load: those beside the repository where they are (LOCKSTEP_SHARED), else those here. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const shared = process.env.LOCKSTEP_SHARED ?? fileURLToPath(new URL("../../../shared", import.meta.url));

/** The path of "hf/gpt2", "gguf/x.gguf" and the like; null where it is not there. */
export function modelPath(name) {
  return [join(shared, "models", name), join(here, name)].find(existsSync) ?? null;
}

/** What a file of JSON says. */
export const json = (path) => JSON.parse(readFileSync(path, "utf8"));

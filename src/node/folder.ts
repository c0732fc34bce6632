/** @file Where programs of a user keep what can be made or fetched again. */
import { builtin } from "./files.ts";

/** The user's folder for that: in Node, Deno and Bun. */
export function cacheFolder(): string {
  const { env } = process;
  const base = env.XDG_CACHE_HOME || env.LOCALAPPDATA || `${builtin("node:os")?.homedir() ?? "."}/.cache`;
  return `${base}/lockstep`;
}

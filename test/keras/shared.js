/** @file Data of others: LOCKSTEP_SHARED names the folder that has them. */
import { existsSync } from "node:fs";
import { join } from "node:path";

/** The path of something in that folder; null where it is not there, which is said. */
export function shared(name) {
  const path = join(process.env.LOCKSTEP_SHARED ?? "", name);
  if (process.env.LOCKSTEP_SHARED && existsSync(path)) return path;
  console.log(`left out: LOCKSTEP_SHARED is not set, or has no ${name}`);
  return null;
}

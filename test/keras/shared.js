/** @file Data of others: LOCKSTEP_SHARED names the folder that has them. Files that need them leave where it is not set. */
import { existsSync } from "node:fs";
import { join } from "node:path";

/** The path of something in that folder. Without it the process says so and ends: there is nothing to test. */
export function shared(name) {
  const path = join(process.env.LOCKSTEP_SHARED ?? "", name);
  if (process.env.LOCKSTEP_SHARED && existsSync(path)) return path;
  console.log(`skipped: LOCKSTEP_SHARED is not set, or has no ${name}`);
  process.exit(0);
}

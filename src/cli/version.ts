/** @file The version of the package. */
import { builtin } from "../node/files.ts";

/** As package.json says, which is beside the folder of this file, or of the modules around it. */
export function version(): string {
  const fs = builtin("node:fs");
  for (const up of ["../package.json", "../../../package.json"]) {
    try {
      const json = JSON.parse(fs?.readFileSync(new URL(up, import.meta.url), "utf8") ?? "{}") as { name?: string; version?: string };
      if (json.name === "lockstep" && json.version !== undefined) return json.version;
    } catch {
      // Elsewhere.
    }
  }
  return "of unknown version";
}

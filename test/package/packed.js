/** @file The package as it is installed: what `npm pack` takes, in a project of its own. */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** The files of the package with their sizes, `{ path, size }`. */
export function packedFiles() {
  const npm = process.platform === "win32" ? "npm.cmd" : "npm";
  const [{ files }] = JSON.parse(
    execFileSync(npm, ["pack", "--dry-run", "--json", "--ignore-scripts"], {
      cwd: root,
      encoding: "utf8",
      shell: process.platform === "win32",
      stdio: ["ignore", "pipe", "ignore"],
    }),
  );
  return files;
}

/** A new project build/`name` in which the package is installed. Packages of the repository are found from there. */
export function project(name) {
  const folder = join(root, "build", name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const { path } of packedFiles()) {
    const target = join(folder, "node_modules/lockstep", path);
    mkdirSync(dirname(target), { recursive: true });
    cpSync(join(root, path), target);
  }
  return folder;
}

/** The script behind a command of a development package. */
export function command(name, bin = name) {
  const folder = join(root, "node_modules", name);
  const { bin: bins } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  return join(folder, typeof bins === "string" ? bins : bins[bin]);
}

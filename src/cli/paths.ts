/** @file Files and folders that users name: what is looked at before anything is computed, and results as files. */
import { builtin, readBytes } from "../node/files.ts";
import type { Builtins } from "../node/files.ts";
import { Failure, UsageError } from "./command.ts";

/** Whether a path is that of a folder. @throws Failure where there is neither a file nor a folder */
export function isFolder(path: string): boolean {
  const fs = builtin("node:fs") as Builtins["node:fs"];
  try {
    return fs.statSync(path).isDirectory();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Failure(`cannot read ${JSON.stringify(path)}: ${code === "ENOENT" ? "there is no such file" : message}`);
  }
}

/** The bytes of a file. @throws Failure, FileError */
export async function readFile(path: string): Promise<Uint8Array> {
  if (isFolder(path)) throw new Failure(`cannot read ${JSON.stringify(path)}: it is a folder`);
  return readBytes(path);
}

/** Writes a file. @throws FileError */
export async function writeFile(path: string, bytes: Uint8Array | string): Promise<void> {
  const { writeBytesAtomic } = await import("../node/write.ts");
  await writeBytesAtomic(path, typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes);
}

/** @throws Failure where no file of this name can be written: it is a folder, or there is no folder for it */
export function checkWritable(path: string): void {
  const fs = builtin("node:fs") as Builtins["node:fs"];
  const { dirname } = builtin("node:path") as Builtins["node:path"];
  const folder = dirname(path);
  const there = fs.statSync(path, { throwIfNoEntry: false });
  if (there?.isDirectory()) throw new Failure(`cannot write ${path}: it is a folder`);
  // A pipe or a device.
  if (there !== undefined && !there.isFile()) return;
  if (!fs.existsSync(folder)) throw new Failure(`cannot write ${path}: there is no folder ${folder}`);
  try {
    fs.accessSync(folder, fs.constants.W_OK);
  } catch (cause) {
    throw new Failure(`cannot write ${path}: ${(cause as Error).message}`);
  }
}

/** The path of a drawing. @throws UsageError for a name of another kind of picture */
export function checkSvg(option: string, path: string | undefined): string | undefined {
  if (path !== undefined && !/\.svg$/i.test(path)) throw new UsageError(`--${option} must end in .svg, got ${path}`);
  return path;
}

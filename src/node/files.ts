/**
 * @file Whole files in Node, Deno and Bun. The file system is imported on the first call, so that this module can stand
 * in a bundle for browsers.
 */
import { FileError } from "../errors.ts";

/** @throws FileError naming the path when it cannot be read. */
export async function readBytes(path: string): Promise<Uint8Array> {
  const { readFile } = await import("node:fs/promises");
  try {
    return await readFile(path);
  } catch (cause) {
    throw fault("cannot read", path, cause);
  }
}

/**
 * Replaces a file as a whole: after a crash at any moment the path holds either the old bytes or the new ones. They go to
 * a temporary file in the same folder, which is renamed when they are on the disk and removed when anything fails.
 * @throws FileError naming the path.
 */
export async function writeBytesAtomic(path: string, bytes: Uint8Array): Promise<void> {
  const { open, rename, rm } = await import("node:fs/promises");
  const temporary = `${path}.${crypto.randomUUID()}.tmp`;
  try {
    const file = await open(temporary, "wx");
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => {}); // the first error is the one to report
    throw fault("cannot write", path, cause);
  }
}

function fault(what: string, path: string, cause: unknown): FileError {
  return new FileError(`${what} "${path}": ${(cause as Error).message}`, { cause });
}

/**
 * @file Whole files in Node, Deno and Bun. The file system is imported on the first call, so that this module can stand
 * in a bundle for browsers.
 */
import { FileError } from "../errors.ts";

/** @throws FileError naming the path when it cannot be read. */
export async function readBytes(path: string | URL): Promise<Uint8Array> {
  const { readFile } = await fileSystem("read", path);
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
  const { open, rename, rm } = await fileSystem("write", path);
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

/** @throws FileError where there are no files. */
async function fileSystem(what: string, path: string | URL): Promise<typeof import("node:fs/promises")> {
  try {
    return await import("node:fs/promises");
  } catch (cause) {
    throw new FileError(`cannot ${what} "${String(path)}": this runtime has no file system; pass bytes, for example those of fetch(), and write what toBytes() gives`, { cause });
  }
}

function fault(what: string, path: string | URL, cause: unknown): FileError {
  return new FileError(`${what} "${String(path)}": ${(cause as Error).message}`, { cause });
}

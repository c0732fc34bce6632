/** @file Whole files in Node, Deno and Bun, and what else their built-in modules do for us. */
import { FileError } from "../errors.ts";

/** Reading up to so many bytes takes less than the way through the event loop, which is 1 ms of a program's start. */
const AT_ONCE_BYTES = 2 ** 20;

interface Builtins {
  "node:fs": typeof import("node:fs");
  "node:zlib": typeof import("node:zlib");
}

/** A built-in module where there are any: Node 20.16, Deno 2.1, Bun 1.2. Unlike an import it concerns no bundler, and waits for nothing. */
export function builtin<Name extends keyof Builtins>(name: Name): Builtins[Name] | undefined {
  const { process } = globalThis as { process?: { getBuiltinModule?(name: Name): Builtins[Name] | undefined } };
  return process?.getBuiltinModule?.(name);
}

function fault(what: string, path: string | URL, why: string, cause?: unknown): FileError {
  return new FileError(`cannot ${what} "${String(path)}": ${why}`, { cause });
}

/** @throws FileError where there are no files. */
function fileSystem(what: string, path: string | URL): Builtins["node:fs"] {
  const fs = builtin("node:fs");
  if (fs === undefined) throw fault(what, path, "this runtime has no file system; pass bytes, for example those of fetch(), and write what toBytes() gives");
  return fs;
}

/** @throws FileError naming the path when it cannot be read. */
export async function readBytes(path: string | URL): Promise<Uint8Array> {
  const fs = fileSystem("read", path);
  try {
    return fs.statSync(path).size <= AT_ONCE_BYTES ? fs.readFileSync(path) : await fs.promises.readFile(path);
  } catch (cause) {
    throw fault("read", path, (cause as Error).message, cause);
  }
}

/**
 * Replaces a file as a whole: after a crash at any moment the path holds either the old bytes or the new ones. They go to
 * a temporary file in the same folder, which is renamed when they are on the disk and removed when anything fails.
 * @throws FileError naming the path.
 */
export async function writeBytesAtomic(path: string, bytes: Uint8Array): Promise<void> {
  const { open, rename, rm } = fileSystem("write", path).promises;
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
    throw fault("write", path, (cause as Error).message, cause);
  }
}

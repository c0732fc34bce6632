/** @file Reading files in Node, Deno and Bun, and what else their built-in modules do for us. */
import { FileError } from "../errors.ts";

/** Reading up to so many bytes takes less than the way through the event loop, which is 1 ms of a program's start. */
const AT_ONCE_BYTES = 2 ** 20;

export interface Builtins {
  "node:fs": typeof import("node:fs");
  "node:os": typeof import("node:os");
  "node:path": typeof import("node:path");
  "node:url": typeof import("node:url");
  "node:zlib": typeof import("node:zlib");
}

/** A built-in module where there are any: Node 20.16, Deno 2.1, Bun 1.2. Unlike an import it concerns no bundler, and waits for nothing. */
export function builtin<Name extends keyof Builtins>(name: Name): Builtins[Name] | undefined {
  const { process } = globalThis as { process?: { getBuiltinModule?(name: Name): Builtins[Name] | undefined } };
  return process?.getBuiltinModule?.(name);
}

export function fault(what: string, path: string | URL, why: string, cause?: unknown): FileError {
  return new FileError(`cannot ${what} "${String(path)}": ${why}`, { cause });
}

/** @throws FileError where there are no files. */
export function fileSystem(what: string, path: string | URL): Builtins["node:fs"] {
  const fs = builtin("node:fs");
  if (fs === undefined) throw fault(what, path, "this runtime has no file system; pass bytes, and write what toBytes() gives");
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
 * A file as it is now: its size, and a text that another one in its place does not have. Null for what has no bytes to choose from:
 * pipes, devices.
 */
export interface FileState {
  readonly size: number;
  readonly version: string;
}

const stateOf = ({ size, ino, mtimeMs }: import("node:fs").Stats): FileState => ({ size, version: `${size} ${ino} ${mtimeMs}` });

/** @throws FileError naming the path. */
export async function fileState(path: string | URL): Promise<FileState | null> {
  try {
    const stat = await fileSystem("read", path).promises.stat(path);
    return stat.isFile() ? stateOf(stat) : null;
  } catch (cause) {
    throw cause instanceof FileError ? cause : fault("read", path, (cause as Error).message, cause);
  }
}

/**
 * Bytes [begin, end) of the file whose state is known, in `into`, or in memory of their own. @throws FileError naming the path, also where
 * another file has taken its place.
 */
export async function readRange(
  path: string | URL,
  { version }: FileState,
  begin: number,
  end: number,
  into?: Uint8Array,
): Promise<Uint8Array> {
  try {
    const file = await fileSystem("read", path).promises.open(path);
    try {
      const bytes = into?.subarray(0, end - begin) ?? new Uint8Array(end - begin);
      let at = 0;
      for (let got = 1; at < bytes.length && got > 0; at += got)
        got = (await file.read(bytes, at, bytes.length - at, begin + at)).bytesRead;
      if (at < bytes.length || stateOf(await file.stat()).version !== version) {
        throw fault("read", path, "it has changed since its header was read");
      }
      return bytes;
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw cause instanceof FileError ? cause : fault("read", path, (cause as Error).message, cause);
  }
}

/** @file Files that callbacks write. */
import { builtin, fault, fileSystem } from "../node/files.ts";
import type { Builtins } from "../node/files.ts";

/** What stands in the place of paths: a path, also of a file: URL. */
function pathOf(path: string | URL): string {
  return path instanceof URL || /^file:/i.test(path) ? (builtin("node:url") as Builtins["node:url"]).fileURLToPath(String(path)) : path;
}

/** `name` in a folder. */
export const inside = (folder: string | URL, name: string): string => `${pathOf(folder).replace(/[/\\]+$/, "")}/${name}`;

/** Runs `work` on the file system. @throws FileError naming the path, where there are no files and where it fails. */
async function doing<R>(
  what: string,
  path: string | URL,
  work: (fs: Builtins["node:fs"]["promises"], path: string) => Promise<R>,
): Promise<R> {
  const { promises } = fileSystem(what, path);
  try {
    return await work(promises, pathOf(path));
  } catch (cause) {
    throw fault(what, path, (cause as Error).message, cause);
  }
}

/** Makes a folder and those around it, unless they are there. @throws FileError */
export const makeFolder = (path: string | URL): Promise<unknown> => doing("write", path, (fs, p) => fs.mkdir(p, { recursive: true }));

/** Writes behind what a file has. @throws FileError */
export const append = (path: string | URL, data: string | Uint8Array): Promise<void> =>
  doing("write", path, (fs, p) => fs.appendFile(p, data));

/** Writes a file anew. @throws FileError */
export const overwrite = (path: string | URL, data: string | Uint8Array): Promise<void> =>
  doing("write", path, (fs, p) => fs.writeFile(p, data));

/** The bytes of a file; null where there is none. @throws FileError */
export const readIfThere = (path: string | URL): Promise<Uint8Array | null> =>
  doing("read", path, (fs, p) =>
    fs.readFile(p).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return null;
      throw error;
    }),
  );

/** Renames a file, if it is there, over another. @throws FileError */
export const renameIfThere = (from: string | URL, to: string): Promise<void> =>
  doing("write", from, (fs, p) =>
    fs.rename(p, to).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
    }),
  );

/** Removes a file, if it is there. @throws FileError */
export const remove = (path: string | URL): Promise<void> => doing("remove", path, (fs, p) => fs.rm(p, { force: true }));

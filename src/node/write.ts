/** @file Writing files in Node, Deno and Bun: loaded on demand, since pages never do. */
import { FileError } from "../errors.ts";
import { hex, xxh32 } from "../io/checksum.ts";
import { builtin, fault, fileSystem } from "./files.ts";
import type { Builtins } from "./files.ts";

/** Where a path leads: symbolic links are followed, also those to a file that is not there yet. */
async function targetOf(path: string): Promise<string> {
  const { readlink, realpath } = fileSystem("write", path).promises;
  const { dirname, resolve } = builtin("node:path") as Builtins["node:path"];
  try {
    return await realpath(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ELOOP") throw error;
    const link = await readlink(path).catch(() => null);
    return link === null ? path : targetOf(resolve(dirname(path), link));
  }
}

/**
 * Tells processes of one machine, which see each other by their numbers, from those elsewhere that share a folder with it.
 * Containers have a name or numbers of their own.
 */
function machine(fs: Builtins["node:fs"]): string {
  let name = "";
  try {
    name += builtin("node:os")?.hostname();
    name += fs.readlinkSync("/proc/self/ns/pid");
  } catch {} // not Linux, or not allowed
  return hex(xxh32(new TextEncoder().encode(name)));
}

/** True while the process of that number may run. */
function mayRun(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/**
 * Removes what killed saves left: of the temporary files in `folder` whose names begin so, those whose process has ended, or bears the
 * number of this one and wrote before it started. Others may still be written.
 */
async function removeLeftovers({ promises: { readdir, rm, stat } }: Builtins["node:fs"], folder: string, begin: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const [, pid] = (name.startsWith(begin) && /^(\d+)-[\da-f]{8}\.tmp$/.exec(name.slice(begin.length))) || [];
    if (pid === undefined) continue;
    const file = `${folder}/${name}`;
    // A second of grace, for file systems that round times.
    const started = Date.now() - 1000 * process.uptime() - 1000;
    const dead = Number(pid) === process.pid ? (await stat(file)).mtimeMs < started : !mayRun(Number(pid));
    if (dead) await rm(file, { force: true });
  }
}

/** A path, also of a file: URL. @throws FileError for other addresses. */
function pathOf(path: string | URL): string {
  const name = String(path);
  if (/^[a-z]{2,}:\/\//i.test(name) && !/^file:/i.test(name)) throw fault("write", path, "it is no path; send what toBytes() gives");
  return path instanceof URL || /^file:/i.test(name) ? (builtin("node:url") as Builtins["node:url"]).fileURLToPath(name) : path;
}

/**
 * Replaces a file as a whole: after a crash at any moment the path holds either the old bytes or the new ones. They go to a temporary file
 * in the same folder, which is renamed when they are on the disk and removed when anything fails; what is left of a process that was killed
 * meanwhile, the next call removes. The file keeps its mode and, where that is allowed, its owner; symbolic links stay, and what they lead
 * to is replaced.
 * @param path a path or file: URL
 * @throws FileError naming the path.
 */
export async function writeBytesAtomic(path: string | URL, bytes: Uint8Array): Promise<void> {
  const fs = fileSystem("write", path);
  const { open, rename, rm, stat, writeFile } = fs.promises;
  let temporary: string | null = null;
  try {
    const target = await targetOf(pathOf(path));
    const old = await stat(target).catch(() => null);
    // A pipe or a device cannot be replaced.
    if (old !== null && !old.isFile() && !old.isDirectory()) return await writeFile(target, bytes);
    const { basename, dirname } = builtin("node:path") as Builtins["node:path"];
    const begin = `${basename(target)}.lockstep-${machine(fs)}-`;
    await removeLeftovers(fs, dirname(target), begin).catch(() => {}); // a folder that cannot be listed can still be written to
    temporary = `${dirname(target)}/${begin}${process.pid}-${crypto.randomUUID().slice(0, 8)}.tmp`;
    const file = await open(temporary, "wx");
    try {
      if (old !== null) {
        await file.chown(old.uid, old.gid).catch(() => {});
        await file.chmod(old.mode & 0o7777);
      }
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, target);
  } catch (cause) {
    if (temporary !== null) await rm(temporary, { force: true }).catch(() => {}); // the first error is the one to report
    throw cause instanceof FileError ? cause : fault("write", path, (cause as Error).message, cause);
  }
}

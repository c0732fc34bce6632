/**
 * @file What was found out about an adapter, kept for later programs: in a file in Node, Deno and Bun, in pages in the Cache API.
 */
import { builtin } from "../node/files.ts";
import { cacheFolder } from "../node/folder.ts";

/** Texts by name. */
export interface Store {
  read(): Promise<Map<string, string>>;
  /** What was there before, of other programs too, stays. */
  add(found: ReadonlyMap<string, string>): Promise<void>;
}

/** One text. */
interface Place {
  read(): Promise<string | null>;
  write(text: string): Promise<void>;
}

/** Most names that are kept: the last. */
const MOST = 4096;

/** What a text says, of which nothing is trusted: nothing where it is no JSON object; of one, what are texts. */
function parsed(text: string | null): Map<string, string> {
  try {
    const all: unknown = JSON.parse(text ?? "{}");
    const entries = typeof all === "object" && all !== null ? Object.entries(all) : [];
    return new Map(entries.filter((entry): entry is [string, string] => typeof entry[1] === "string"));
  } catch {
    return new Map();
  }
}

export function storeAt(place: Place): Store {
  const read = async (): Promise<Map<string, string>> => parsed(await place.read());
  return {
    read,
    async add(found) {
      const all = [...(await read()), ...found].slice(-MOST);
      await place.write(JSON.stringify(Object.fromEntries(all), null, 1));
    },
  };
}

const fileName = (adapter: string): string => `webgpu-${adapter.replace(/[^\w.-]+/g, "_").slice(0, 120)}.json`;

function inFolder(folder: string, adapter: string): Place {
  const { promises } = builtin("node:fs") as typeof import("node:fs");
  const path = `${folder}/${fileName(adapter)}`;
  return {
    read: () => promises.readFile(path, "utf8").catch(() => null),
    async write(text) {
      await promises.mkdir(folder, { recursive: true });
      // Another process may write the same; a file appears whole or not at all.
      const part = `${path}.${process.pid}.part`;
      await promises.writeFile(part, text);
      await promises.rename(part, path);
    },
  };
}

/** Under an address that no server is asked for. */
async function inCacheApi(adapter: string): Promise<Place> {
  const cache = await caches.open("lockstep");
  const address = `/lockstep/${encodeURIComponent(fileName(adapter))}`;
  return {
    read: async () => (await (await cache.match(address))?.text()) ?? null,
    write: (text) => cache.put(address, new Response(text)),
  };
}

/**
 * The place for an adapter; null where there is none. Deno asks people before it reads a folder that nobody named: there and in pages it is
 * the Cache API.
 * @param keep true: the user's folder for such things; text: a folder
 */
export async function findStore(keep: true | string, adapter: string): Promise<Store | null> {
  try {
    const files = builtin("node:fs") !== undefined && (keep !== true || !("Deno" in globalThis));
    if (files) return storeAt(inFolder(keep === true ? cacheFolder() : keep, adapter));
    return typeof caches === "undefined" ? null : storeAt(await inCacheApi(adapter));
  } catch {
    return null;
  }
}

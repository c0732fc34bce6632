/**
 * @file Copies of what came over the network, in pages: in the cache of the page (Cache API), or where there are files, in a folder. A file
 * is what its server says it is, by its ETag or date, or where it tells neither, by its size and what it begins with; where the server
 * cannot be reached it is what was there last.
 */
import { rangesOf } from "../../io/ranges.ts";
import type { Ranges } from "../../io/ranges.ts";
import { FileError } from "../../errors.ts";
import { builtin } from "../../node/files.ts";
import { cacheFolder } from "../../node/folder.ts";
import { stopIfAborted } from "../pages.ts";
import type { Reading } from "../pages.ts";

const PAGE_BYTES = 2 ** 21;

/** Bytes by key, of one address. */
interface Store {
  get(key: string): Promise<Uint8Array | null>;
  put(key: string, bytes: Uint8Array): Promise<void>;
  remove(key: string): Promise<void>;
}

/** In the Cache API, under addresses that no server is asked for. */
async function inCacheApi(address: string): Promise<Store> {
  const cache = await caches.open("lockstep");
  const url = (key: string): string => `${address}${address.includes("?") ? "&" : "?"}lockstep=${key}`;
  return {
    get: async (key) => {
      const found = await cache.match(url(key));
      return found === undefined ? null : new Uint8Array(await found.arrayBuffer());
    },
    put: (key, bytes) => cache.put(url(key), new Response(new Uint8Array(bytes))),
    remove: async (key) => void (await cache.delete(url(key))),
  };
}

/** A short text for bytes. */
async function hashOf(bytes: Uint8Array): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new Uint8Array(bytes)));
  return Array.from(hash.subarray(0, 8), (b) => b.toString(16).padStart(2, "0")).join("");
}

/** A name for an address: what can be read of it, and a hash, since names are short. */
const nameFor = async (address: string): Promise<string> =>
  `${address.replace(/[^\w.-]+/g, "_").slice(-80)}-${await hashOf(new TextEncoder().encode(address))}`;

/** In a folder: of its own for each address. */
async function inFolder(folder: string, address: string): Promise<Store> {
  const { promises } = builtin("node:fs") as typeof import("node:fs");
  const own = `${folder}/${await nameFor(address)}`;
  let tries = 0;
  return {
    // What cannot be read is fetched again.
    get: (key) => promises.readFile(`${own}/${key}`).catch(() => null),
    async put(key, bytes) {
      await promises.mkdir(own, { recursive: true });
      // Another process may write the same; a page appears whole or not at all.
      const part = `${own}/${key}.${process.pid}.${tries++}.part`;
      await promises.writeFile(part, bytes);
      await promises.rename(part, `${own}/${key}`);
    },
    remove: (key) => promises.rm(`${own}/${key}`, { force: true }),
  };
}

/** @throws FileError where there is neither a file system nor a Cache API */
async function storeFor(address: string, cache: true | string): Promise<Store> {
  if (builtin("node:fs") !== undefined) return inFolder(cache === true ? cacheFolder() : cache, address);
  if (typeof caches === "undefined" || cache !== true)
    throw new FileError(`cannot keep "${address}": this runtime has no ${cache === true ? "Cache API" : "file system"}; leave cache out`);
  return inCacheApi(address);
}

/** What is known of a file: its size, -1 where there is none, and its version. */
interface Info {
  readonly size: number;
  readonly version: string;
}

const INFO = "info";

async function knownInfo(store: Store): Promise<Info | null> {
  const bytes = await store.get(INFO);
  if (bytes === null) return null;
  try {
    const { size, version } = JSON.parse(new TextDecoder().decode(bytes)) as Partial<Info>;
    return Number.isSafeInteger(size) && typeof version === "string" ? { size: size as number, version } : null;
  } catch {
    return null;
  }
}

const keyOf = (page: number): string => `at${page * PAGE_BYTES}`;

const pagesIn = (size: number): number => Math.max(0, Math.ceil(size / PAGE_BYTES));

/** What is kept of the file from now on; pages of another version go. */
async function remember(store: Store, known: Info | null, next: Info): Promise<void> {
  if (known !== null && known.size === next.size && known.version === next.version) return;
  for (let p = 0; known !== null && p < pagesIn(known.size); p++) await store.remove(keyOf(p));
  await store.put(INFO, new TextEncoder().encode(JSON.stringify(next)));
}

const ABSENT = /HTTP status (403|404|410)/;

/** The file at an address, by way of the cache. */
export async function cached(address: string, reading: Reading & { readonly cache: true | string }): Promise<Ranges> {
  const { signal, cache } = reading;
  const store = await storeFor(address, cache);
  const known = await knownInfo(store);
  let fresh: Ranges | null = null;
  try {
    fresh = await rangesOf(address, address, reading);
  } catch (error) {
    stopIfAborted(signal);
    const absent = error instanceof FileError && ABSENT.test(error.message);
    if (absent) await remember(store, known, { size: -1, version: "" });
    if (absent || known === null) throw error;
    if (known.size < 0) throw new FileError(`cannot read "${address}": the answer was HTTP status 404 when it could last be reached`);
  }
  if (fresh !== null && fresh.size === null) return fresh;
  const info: Info =
    fresh === null ? (known as Info) : { size: fresh.size as number, version: fresh.version ?? (await hashOf(fresh.begin)) };
  if (fresh !== null) await remember(store, known, info);
  // The last page that was read is kept: what is asked for lies side by side.
  let last = -1;
  let bytes: Uint8Array = new Uint8Array(0);
  const page = async (p: number): Promise<Uint8Array> => {
    if (p === last) return bytes;
    const [from, to] = [p * PAGE_BYTES, Math.min(info.size, (p + 1) * PAGE_BYTES)];
    const kept = await store.get(keyOf(p));
    last = -1;
    if (kept !== null && kept.length === to - from) bytes = kept;
    else {
      const source = fresh ?? (await rangesOf(address, address, reading));
      bytes = to <= source.begin.length ? source.begin.subarray(from, to) : await source.read(from, to);
      stopIfAborted(signal);
      await store.put(keyOf(p), bytes);
    }
    last = p;
    return bytes;
  };
  const read = async (begin: number, end: number, into?: Uint8Array): Promise<Uint8Array> => {
    const out = into?.subarray(0, end - begin) ?? new Uint8Array(end - begin);
    for (let at = begin; at < end;) {
      const p = Math.floor(at / PAGE_BYTES);
      const part = (await page(p)).subarray(at - p * PAGE_BYTES, end - p * PAGE_BYTES);
      out.set(part, at - begin);
      at += part.length;
    }
    return out;
  };
  const begin = info.size <= PAGE_BYTES ? await page(0) : (fresh?.begin ?? (await page(0)));
  return { who: address, size: info.size, begin: info.size === 0 ? new Uint8Array(0) : begin, version: info.version, read };
}

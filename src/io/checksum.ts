/**
 * @file What tells damage of a model file: XXH32 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md), which four lanes of
 * words compute at several bytes a
 * cycle without tables, so that neither a large file nor the start of a small program waits for it.
 */
import type { Shape } from "../shape.ts";
import { showShape } from "../shape.ts";

const P1 = 0x9e3779b1 | 0, P2 = 0x85ebca77 | 0, P3 = 0xc2b2ae3d | 0, P4 = 0x27d4eb2f, P5 = 0x165667b1;

const turned = (x: number, by: number): number => (x << by) | (x >>> (32 - by));

/** `hash` with a value: a product, a turn to the left, another product. */
const mixed = (hash: number, value: number, by: number, turn: number, then: number): number =>
  Math.imul(turned(hash + Math.imul(value, by), turn), then);

/** XXH32 of bytes. With the sum of what came before as seed it goes on from part to part. */
export function xxh32(bytes: Uint8Array, seed = 0): number {
  const { length } = bytes;
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  const words = new Int32Array(aligned.buffer, aligned.byteOffset, Math.floor(length / 4));
  let i = 0;
  let hash = (seed + P5) | 0;
  if (length >= 16) {
    let a = (seed + P1 + P2) | 0, b = (seed + P2) | 0, c = seed | 0, d = (seed - P1) | 0;
    for (const end = words.length - 3; i < end; i += 4) {
      a = mixed(a, words[i], P2, 13, P1);
      b = mixed(b, words[i + 1], P2, 13, P1);
      c = mixed(c, words[i + 2], P2, 13, P1);
      d = mixed(d, words[i + 3], P2, 13, P1);
    }
    hash = turned(a, 1) + turned(b, 7) + turned(c, 12) + turned(d, 18);
  }
  hash = (hash + (length | 0)) | 0;
  for (; i < words.length; i++) hash = mixed(hash, words[i], P3, 17, P4);
  for (let k = 4 * i; k < length; k++) hash = mixed(hash, aligned[k], P5, 11, P1);
  hash = Math.imul(hash ^ (hash >>> 15), P2);
  hash = Math.imul(hash ^ (hash >>> 13), P3);
  return (hash ^ (hash >>> 16)) >>> 0;
}

type Metadata = { readonly [key: string]: string };
/** What is summed of a tensor. */
export type Summed = readonly [name: string, tensor: { readonly dtype: string; readonly shape: Shape }, bytes: Uint8Array];

const byName = ([a]: readonly [string, ...unknown[]], [b]: readonly [string, ...unknown[]]): number => (a < b ? -1 : 1);
export const hex = (hash: number): string => (hash >>> 0).toString(16).padStart(8, "0");

/**
 * The sum of a file's content, whatever the order in which a program writes it again: XXH32 of the UTF-8 of JSON, which holds all
 * metadata but the sum itself as
 * `[[key, text] ...]` and all tensors as `[[name, dtype, shape] ...]`, both by name, going on with the bytes of each tensor.
 */
export function checksum(metadata: Metadata, tensors: readonly Summed[]): string {
  const sorted = [...tensors].sort(byName);
  const said = Object.entries(metadata).filter(([key]) => key !== "checksum").sort(byName);
  const text = JSON.stringify([said, sorted.map(([name, { dtype, shape }]) => [name, dtype, shape])]);
  return `xxh32:${hex(sorted.reduce((hash, [, , bytes]) => xxh32(bytes, hash), xxh32(new TextEncoder().encode(text))))}`;
}

/** FNV-1a goes on with the units of a text or with words. */
function fnv(hash: number, length: number, at: (i: number) => number): number {
  let next = hash;
  for (let i = 0; i < length; i++) next = Math.imul(next ^ at(i), 0x01000193);
  return next;
}

/**
 * The sum of files that were written before `checksum`: of units of UTF-16 and of whole words, so that a second change in the
 * highest bits takes back the first.
 */
export function olderChecksum({ lockstep = "", training = "" }: Metadata, tensors: readonly Summed[]): string {
  const text = (hash: number, s: string): number => fnv(hash, s.length, (i) => s.charCodeAt(i));
  return hex([...tensors].sort(byName).reduce((hash, [name, { shape }, bytes]) => {
    const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    return fnv(text(hash, `${name} ${showShape(shape)}`), Math.floor(bytes.length / 4), (i) => words.getInt32(4 * i, true));
  }, text(text(0x811c9dc5, lockstep), training)));
}

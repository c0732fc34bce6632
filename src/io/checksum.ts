/**
 * @file What tells damage of a model file: XXH32 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md), which four lanes of
 * words compute at several bytes a cycle without tables, so that neither a large file nor the start of a small program waits for it.
 */
import type { Shape } from "../shape.ts";
import { showShape } from "../shape.ts";

const P1 = 0x9e3779b1 | 0;
const P2 = 0x85ebca77 | 0;
const P3 = 0xc2b2ae3d | 0;
const P4 = 0x27d4eb2f;
const P5 = 0x165667b1;

const turned = (x: number, by: number): number => (x << by) | (x >>> (32 - by));

/** `hash` with a value: a product, a turn to the left, another product. */
const mixed = (hash: number, value: number, by: number, turn: number, then: number): number =>
  Math.imul(turned(hash + Math.imul(value, by), turn), then);

/** Whole words of bytes. */
function wordsOf(bytes: Uint8Array): Int32Array {
  const { buffer, byteOffset, length } = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  return new Int32Array(buffer, byteOffset, Math.floor(length / 4));
}

/** XXH32 of bytes. With the sum of what came before as seed it goes on from part to part. */
export function xxh32(bytes: Uint8Array, seed = 0): number {
  const { length } = bytes;
  const words = wordsOf(bytes);
  const lanes = Int32Array.of(seed + P1 + P2, seed + P2, seed, seed - P1);
  let i = 0;
  for (const end = words.length - (words.length % 4); i < end; i++) lanes[i & 3] = mixed(lanes[i & 3], words[i], P2, 13, P1);
  let hash = i === 0 ? seed + P5 : lanes.reduce((sum, lane, k) => sum + turned(lane, [1, 7, 12, 18][k]), 0);
  hash = (hash + length) | 0;
  for (; i < words.length; i++) hash = mixed(hash, words[i], P3, 17, P4);
  for (let k = 4 * i; k < length; k++) hash = mixed(hash, bytes[k], P5, 11, P1);
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
 * The sum of a file's content, whatever the order in which a program writes it again: XXH32 of the UTF-8 of JSON, which holds all metadata
 * but the sum itself as `[[key, text] ...]` and all tensors as `[[name, dtype, shape] ...]`, both by name, going on with the bytes of each
 * tensor.
 */
export function checksum(metadata: Metadata, tensors: readonly Summed[]): string {
  const sorted = [...tensors].sort(byName);
  const said = Object.entries(metadata)
    .filter(([key]) => key !== "checksum")
    .sort(byName);
  const text = JSON.stringify([said, sorted.map(([name, { dtype, shape }]) => [name, dtype, shape])]);
  return `xxh32:${hex(sorted.reduce((hash, [, , bytes]) => xxh32(bytes, hash), xxh32(new TextEncoder().encode(text))))}`;
}

/** FNV-1a goes on with words, or with the units of a text. */
const fnv = (hash: number, units: ArrayLike<number>): number =>
  Array.prototype.reduce.call(units, (sum, unit) => Math.imul((sum as number) ^ (unit as number), 0x01000193), hash) as number;
const fnvOfText = (hash: number, s: string): number =>
  fnv(
    hash,
    Uint16Array.from({ length: s.length }, (_, i) => s.charCodeAt(i)),
  );

/**
 * The sum of files that were written before `checksum`: of units of UTF-16 and of whole words, so that a second change in the
 * highest bits takes back the first.
 */
export const olderChecksum = ({ lockstep = "", training = "" }: Metadata, tensors: readonly Summed[]): string =>
  hex(
    [...tensors]
      .sort(byName)
      .reduce(
        (hash, [name, { shape }, bytes]) => fnv(fnvOfText(hash, `${name} ${showShape(shape)}`), wordsOf(bytes)),
        fnvOfText(fnvOfText(0x811c9dc5, lockstep), training),
      ),
  );

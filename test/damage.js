/** @file Files that are damaged, the same in every run: what tests of readers feed them. */
import { Random } from "../build/esm/random.js";

/** What stands in the place of a value in JSON. */
const TEXTS = [
  "-1",
  "0",
  "1e308",
  "9007199254740991",
  "1073741824",
  "null",
  "[]",
  "{}",
  '""',
  "true",
  "0.5",
  '"F64"',
  '"__proto__"',
  "[[",
  "}",
  '"',
  ",",
  "2",
  "33",
  "\\u0000",
  '"../../x"',
  "[[[1]]]",
  '{"class_name":"Dense","config":{}}',
  '"constructor"',
];

/** How many damaged files of each kind a test makes: LOCKSTEP_MUTATIONS, or 150. */
export const COUNT = Number(process.env.LOCKSTEP_MUTATIONS ?? 150);

/** Damages files by numbers that follow from `seed`. */
export function damages(seed) {
  const random = new Random(seed);
  const below = (n) => Math.min(n - 1, Math.floor(random.uniform(1)[0] * n));
  const pick = (list) => list[below(list.length)];
  return {
    /** A number below n. */
    below,
    pick,
    /**
     * `bytes` with a number of bits turned, a part left out, doubled, or of other bytes; most of them in the first `head`. Where there are
     * `others`, also with a part of one of these.
     */
    damaged(bytes, head = bytes.length, others = []) {
      const at = below(below(3) > 0 ? Math.min(head, bytes.length) : bytes.length);
      const kind = below(others.length > 0 ? 7 : 6);
      if (kind === 0) return bytes.slice(0, at);
      const out = bytes.slice();
      if (kind < 3) {
        for (let n = 1 + below(3); n > 0; n--) out[Math.min(out.length - 1, at + below(8))] ^= 1 << below(8);
        return out;
      }
      const length = 1 + below(16);
      if (kind === 3) return Uint8Array.from([...out.subarray(0, at), ...out.subarray(at + length)]);
      if (kind === 4) return Uint8Array.from([...out.subarray(0, at), ...out.subarray(at, at + length), ...out.subarray(at)]);
      const other = kind === 6 ? pick(others) : Uint8Array.of(pick([0, 1, 127, 128, 255]), pick([0, 1, 255]), 0, pick([0, 0x40, 0xff]));
      const from = kind === 6 ? below(other.length) : 0;
      out.set(other.subarray(from, from + Math.min(kind === 6 ? length : 4, out.length - at)), at);
      return out;
    },
    /** JSON with one value, or piece of text, in the place of another. */
    damagedText(bytes) {
      const text = new TextDecoder().decode(bytes);
      const places = [...text.matchAll(/[:,[]\s*("(?:[^"\\]|\\.)*"|[-\d.e]+|true|false|null)/g)];
      const { index, 0: found, 1: value } = pick(places);
      const from = below(4) === 0 ? below(text.length) : index + found.length - value.length;
      return new TextEncoder().encode(text.slice(0, from) + pick(TEXTS) + text.slice(from + (below(3) > 0 ? value.length : below(3))));
    },
  };
}

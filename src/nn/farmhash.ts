/**
 * @file FarmHash Fingerprint64 (Geoff Pike, Google, 2014: https://github.com/google/farmhash), by which TensorFlow's
 * `to_hash_bucket_fast` chooses among several indices for strings that are not in a vocabulary.
 */
const K0 = 0xc3a5c85c97cb3127n;
const K1 = 0xb492b66fbe98f273n;
const K2 = 0x9ae16a3b2f90404fn;

const u64 = (x: bigint): bigint => BigInt.asUintN(64, x);
const times = (a: bigint, b: bigint): bigint => u64(a * b);
const rotated = (x: bigint, right: bigint): bigint => u64((x >> right) | (x << (64n - right)));
const mixed = (x: bigint): bigint => x ^ (x >> 47n);

/** Two words as one. */
function joined(u: bigint, v: bigint, by: bigint): bigint {
  const a = mixed(times(u ^ v, by));
  return times(mixed(times(v ^ a, by)), by);
}

/** A word for 32 bytes at `at`, twice over, from two words of state. */
function pairOf(view: DataView, at: number, seedA: bigint, seedB: bigint): readonly [bigint, bigint] {
  const word = (i: number): bigint => view.getBigUint64(at + 8 * i, true);
  const a = u64(seedA + word(0));
  const sum = u64(a + word(1) + word(2));
  const b = u64(rotated(u64(seedB + a + word(3)), 21n) + rotated(sum, 44n));
  return [u64(sum + word(3)), u64(b + a)];
}

/** Of at most 16 bytes. */
function short(view: DataView): bigint {
  const n = view.byteLength;
  const by = u64(K2 + 2n * BigInt(n));
  if (n >= 8) {
    const [first, last] = [view.getBigUint64(0, true), view.getBigUint64(n - 8, true)];
    const a = u64(first + K2);
    return joined(u64(times(rotated(last, 37n), by) + a), times(u64(rotated(a, 25n) + last), by), by);
  }
  if (n >= 4) return joined(BigInt(n) + (BigInt(view.getUint32(0, true)) << 3n), BigInt(view.getUint32(n - 4, true)), by);
  if (n === 0) return K2;
  const y = BigInt(view.getUint8(0) + (view.getUint8(n >> 1) << 8));
  const z = BigInt(n + (view.getUint8(n - 1) << 2));
  return times(mixed(times(y, K2) ^ times(z, K0)), K2);
}

/** Of 17 to 64 bytes. */
function middle(view: DataView): bigint {
  const n = view.byteLength;
  const word = (at: number): bigint => view.getBigUint64(at < 0 ? n + at : at, true);
  const by = u64(K2 + 2n * BigInt(n));
  const a = times(word(0), n <= 32 ? K1 : K2);
  const b = word(8);
  const c = times(word(-8), by);
  const d = times(word(-16), K2);
  const y = u64(rotated(u64(a + b), 43n) + rotated(c, 30n) + d);
  const z = joined(y, u64(a + rotated(u64(b + K2), 18n) + c), by);
  if (n <= 32) return z;
  const e = times(word(16), by);
  const f = word(24);
  const g = times(u64(y + word(-32)), by);
  const h = times(u64(z + word(-24)), by);
  return joined(u64(rotated(u64(e + f), 43n) + rotated(g, 30n) + h), u64(e + rotated(u64(f + a), 18n) + g), by);
}

/** The fingerprint of bytes, 64 bits. */
export function fingerprint64(bytes: Uint8Array): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const n = view.byteLength;
  if (n <= 16) return short(view);
  if (n <= 64) return middle(view);
  const word = (at: number): bigint => view.getBigUint64(at, true);
  let x = u64(81n * K2 + word(0));
  let y = u64(81n * K1 + 113n);
  let z = times(mixed(u64(y * K2 + 113n)), K2);
  let [v, w]: (readonly [bigint, bigint])[] = [
    [0n, 0n],
    [0n, 0n],
  ];
  /** Takes 64 bytes; those at the end, which may have been taken, weigh differently. */
  const take = (at: number, by: bigint, weight: bigint): void => {
    x = times(rotated(u64(x + y + v[0] + word(at + 8)), 37n), by) ^ times(w[1], weight);
    y = u64(times(rotated(u64(y + v[1] + word(at + 48)), 42n), by) + times(v[0], weight) + word(at + 40));
    z = times(rotated(u64(z + w[0]), 33n), by);
    const [seed, next] = [times(v[1], by), u64(x + w[0])];
    v = pairOf(view, at, seed, next);
    w = pairOf(view, at + 32, u64(z + w[1]), u64(y + word(at + 16)));
    [x, z] = [z, x];
  };
  let at = 0;
  for (; n - at > 64; at += 64) take(at, K1, 1n);
  const by = u64(K1 + ((z & 0xffn) << 1n));
  w = [u64(w[0] + BigInt((n - 1) & 63)), w[1]];
  v = [u64(v[0] + w[0]), v[1]];
  w = [u64(w[0] + v[0]), w[1]];
  take(n - 64, by, 9n);
  return joined(u64(joined(v[0], w[0], by) + times(mixed(y), K0) + z), u64(joined(v[1], w[1], by) + x), by);
}

/** TensorFlow's `to_hash_bucket_fast`: one of `buckets` numbers for a text. */
export const hashBucket = (text: string, buckets: number): number =>
  Number(fingerprint64(new TextEncoder().encode(text)) % BigInt(buckets));

/** @file The checksum of HDF5's newer structures: Bob Jenkins' lookup3 (https://burtleburtle.net/bob/c/lookup3.c), hashlittle of seed 0. */

const turned = (x: number, k: number): number => (x << k) | (x >>> (32 - k));

export function lookup3(bytes: Uint8Array): number {
  const start = (0xdeadbeef + bytes.length) | 0;
  let [a, b, c] = [start, start, start];
  const at = (i: number): number =>
    (bytes[i] ?? 0) | ((bytes[i + 1] ?? 0) << 8) | ((bytes[i + 2] ?? 0) << 16) | ((bytes[i + 3] ?? 0) << 24);
  let i = 0;
  for (; bytes.length - i > 12; i += 12) {
    a = (a + at(i)) | 0;
    b = (b + at(i + 4)) | 0;
    c = (c + at(i + 8)) | 0;
    a = (a - c) ^ turned(c, 4);
    c = (c + b) | 0;
    b = (b - a) ^ turned(a, 6);
    a = (a + c) | 0;
    c = (c - b) ^ turned(b, 8);
    b = (b + a) | 0;
    a = (a - c) ^ turned(c, 16);
    c = (c + b) | 0;
    b = (b - a) ^ turned(a, 19);
    a = (a + c) | 0;
    c = (c - b) ^ turned(b, 4);
    b = (b + a) | 0;
  }
  if (i === bytes.length) return c >>> 0;
  a = (a + at(i)) | 0;
  b = (b + at(i + 4)) | 0;
  c = (c + at(i + 8)) | 0;
  c = ((c ^ b) - turned(b, 14)) | 0;
  a = ((a ^ c) - turned(c, 11)) | 0;
  b = ((b ^ a) - turned(a, 25)) | 0;
  c = ((c ^ b) - turned(b, 16)) | 0;
  a = ((a ^ c) - turned(c, 4)) | 0;
  b = ((b ^ a) - turned(a, 14)) | 0;
  return ((c ^ b) - turned(b, 24)) >>> 0;
}

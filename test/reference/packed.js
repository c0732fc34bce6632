/** @file Packed matrices: elements are bytes as float64 numbers, decoded here by the layout that docs/packed.md describes. */
import { activation as activationOf } from "./activation.js";

const word = (bytes, at) => bytes[at] + 256 * bytes[at + 1];

/** IEEE 754 half. */
function half(bits) {
  const [sign, exponent, fraction] = [bits >= 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * 2 ** Math.max(exponent - 15, -14) * ((exponent > 0 ? 1 : 0) + fraction / 1024);
}

const bfloat = (bits) => new Float32Array(Uint32Array.of(bits * 65536).buffer)[0];

/** Whether a storage is that of a packed matrix. */
export const isPacked = (storage) => typeof storage === "object" && storage !== null;

/** Bytes of a packed matrix. */
export function bytesOfPacked({ format, rows, k }) {
  if (format === "f16" || format === "bf16") return Math.ceil((rows * k) / 2) * 4;
  return Math.ceil(rows / 4) * 4 * (k / 32) * { q8: 34, q4: 18, q4m: 20 }[format];
}

/** Element `i` of row `r` of `rows` rows of `k`. */
export function element(bytes, { format, rows, k }, r, i) {
  if (format === "f16") return half(word(bytes, (r * k + i) * 2));
  if (format === "bf16") return bfloat(word(bytes, (r * k + i) * 2));
  const [blocks, groups] = [k / 32, Math.ceil(rows / 4)];
  const unit = Math.floor(r / 4) * blocks + Math.floor(i / 32);
  const [lane, inBlock] = [r % 4, i % 32];
  const unitBytes = format === "q8" ? 128 : 64;
  const scales = groups * blocks * unitBytes;
  const at = (unit * 4 + lane) * 2;
  const d = half(word(bytes, scales + at));
  if (format === "q8") {
    const q = bytes[unit * 128 + Math.floor(inBlock / 4) * 16 + lane * 4 + (inBlock % 4)];
    return (q > 127 ? q - 256 : q) * d;
  }
  const byte = bytes[unit * 64 + Math.floor(inBlock / 8) * 16 + lane * 4 + (inBlock % 4)];
  const q = inBlock % 8 < 4 ? byte % 16 : Math.floor(byte / 16);
  return format === "q4" ? (q - 8) * d : q * d + half(word(bytes, scales + groups * blocks * 8 + at));
}

export function packedMatmul({ m, k, n, format, activation }, [a, b, bias], [y]) {
  const shape = { format, rows: n, k };
  const { f } = activationOf(activation);
  for (let c = 0; c < n; c++) {
    const row = Float64Array.from({ length: k }, (_, i) => element(b, shape, c, i));
    for (let r = 0; r < m; r++) {
      let sum = bias ? bias[c] : 0;
      for (let i = 0; i < k; i++) sum += a[r * k + i] * row[i];
      y[r * n + c] = f(sum);
    }
  }
}

export function packedRows({ rows, k, count, format }, [x, index], [y]) {
  for (let j = 0; j < count; j++) {
    const r = Math.min(Math.max(index[j], 0), rows - 1);
    for (let i = 0; i < k; i++) y[j * k + i] = element(x, { format, rows, k }, r, i);
  }
}

export function unpack({ rows, k, format, transposed }, [x], [y]) {
  for (let r = 0; r < rows; r++)
    for (let i = 0; i < k; i++) y[transposed ? i * rows + r : r * k + i] = element(x, { format, rows, k }, r, i);
}

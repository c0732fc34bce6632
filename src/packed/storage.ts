/** @file The storage of a packed matrix: its layout, and how it is read. */
import type { PackedStorage } from "../dtype.ts";
import { BLOCK, byteOf, fromBfloat, fromHalf, isHalves, isUpper, layoutOf, unitOf, GROUP } from "./layout.ts";
import type { PackedFormat } from "./layout.ts";
import { readingOf } from "./reading.ts";

/** How a tensor [rows, k], or transposed [k, rows], is stored in `format`. `pack`: as of `PackedStorage`. */
export function packedStorage(
  format: PackedFormat,
  rows: number,
  k: number,
  transposed: boolean,
  pack: PackedStorage["pack"],
): PackedStorage {
  const name = transposed ? `${format}.T` : format;
  const storage: PackedStorage = {
    name,
    format,
    rows,
    k,
    transposed,
    bytes: layoutOf(format, rows, k).bytes,
    get reading() {
      return readingOf(storage);
    },
    toString: () => name,
    pack,
    unpack: (bytes) => unpack(format, rows, k, transposed, bytes),
  };
  return storage;
}

function unpack(format: PackedFormat, rows: number, k: number, transposed: boolean, bytes: Uint8Array): Float32Array {
  const values = new Float32Array(rows * k);
  const [perRow, perK] = transposed ? [1, rows] : [k, 1];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const half = format === "bf16" ? fromBfloat : fromHalf;
  if (isHalves(format)) {
    for (let r = 0; r < rows; r++) for (let i = 0; i < k; i++) values[r * perRow + i * perK] = half(view.getUint16((r * k + i) * 2, true));
    return values;
  }
  const layout = layoutOf(format, rows, k);
  for (let r = 0; r < rows; r++) {
    const lane = r % GROUP;
    for (let b = 0; b < layout.blocks; b++) {
      const unit = unitOf(layout, r, b);
      const at = (unit * GROUP + lane) * 2;
      const scale = fromHalf(view.getUint16(layout.scales + at, true));
      const minimum = format === "q4m" ? fromHalf(view.getUint16(layout.minimums + at, true)) : 0;
      for (let i = 0; i < BLOCK; i++) {
        const where = unit * layout.unit + byteOf(format, lane, i);
        const value = format === "q8" ? view.getInt8(where) : (bytes[where] >> (isUpper(i) ? 4 : 0)) & 15;
        values[r * perRow + (b * BLOCK + i) * perK] = (format === "q4" ? value - 8 : value) * scale + minimum;
      }
    }
  }
  return values;
}

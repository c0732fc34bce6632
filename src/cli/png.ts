/** @file Pictures in PNG (https://www.w3.org/TR/png-3/): all color types and depths, interlaced or not. */
import { FileError } from "../errors.ts";
import { builtin } from "../node/files.ts";
import type { Builtins } from "../node/files.ts";

/** Pixels, row-major, `channels` samples each from 0 to 255: whole numbers, but where the file has 16 bits. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly data: Uint8Array | Float32Array;
}

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
/** By color type: samples of a pixel, and the bits that one may have. */
const COLORS: { readonly [type: number]: readonly [samples: number, depths: readonly number[]] } = {
  0: [1, [1, 2, 4, 8, 16]],
  2: [3, [8, 16]],
  3: [1, [1, 2, 4, 8]],
  4: [2, [8, 16]],
  6: [4, [8, 16]],
};
const PALETTE = 3;
const MOST_PIXELS = 2 ** 28;
/** Adam7: first column and row, and steps, of each pass. */
const PASSES = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]] as const;
const NO_PASSES = [[0, 0, 1, 1]] as const;

export const isPng = (bytes: Uint8Array): boolean => SIGNATURE.every((byte, i) => bytes[i] === byte);

/** Undoes the filters of the rows that begin at `from`. `pixel`: bytes to the pixel before, at least one. */
function unfiltered(raw: Uint8Array, from: number, height: number, stride: number, pixel: number): Uint8Array | null {
  const out = new Uint8Array(height * stride);
  for (let y = 0; y < height; y++) {
    const row = from + y * (stride + 1);
    const filter = raw[row];
    if (filter > 4) return null;
    const to = y * stride;
    for (let x = 0; x < stride; x++) {
      const left = x >= pixel ? out[to + x - pixel] : 0;
      const up = y > 0 ? out[to + x - stride] : 0;
      const corner = x >= pixel && y > 0 ? out[to + x - stride - pixel] : 0;
      let predicted = 0;
      if (filter === 1) predicted = left;
      else if (filter === 2) predicted = up;
      else if (filter === 3) predicted = (left + up) >> 1;
      else if (filter === 4) {
        const p = left + up - corner;
        const [a, b, c] = [Math.abs(p - left), Math.abs(p - up), Math.abs(p - corner)];
        predicted = a <= b && a <= c ? left : b <= c ? up : corner;
      }
      out[to + x] = raw[row + 1 + x] + predicted;
    }
  }
  return out;
}

/** What a PNG says of itself, and its data. */
interface Parts {
  readonly header: DataView;
  readonly palette: Uint8Array | null;
  readonly data: readonly Uint8Array[];
}

/** @throws FileError, by `fault` */
function partsOf(bytes: Uint8Array, fault: (why: string) => FileError): Parts {
  const { crc32 } = builtin("node:zlib") as Builtins["node:zlib"];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let header: DataView | null = null;
  let palette: Uint8Array | null = null;
  const parts: Uint8Array[] = [];
  for (let at = SIGNATURE.length; at + 12 <= bytes.length;) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (at + 12 + length > bytes.length) throw fault("the PNG is truncated");
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (/^[A-Z]/.test(type) && crc32(bytes.subarray(at + 4, at + 8 + length)) !== view.getUint32(at + 8 + length))
      throw fault(`the PNG is damaged: its part ${type} has another checksum`);
    if (type === "IHDR" && length === 13) header = new DataView(data.buffer, data.byteOffset, length);
    else if (type === "PLTE") palette = data;
    else if (type === "IDAT") parts.push(data);
    else if (type === "IEND") break;
    at += 12 + length;
  }
  if (header === null || parts.length === 0) throw fault("the PNG has no header or no data");
  return { header, palette, data: parts };
}

/** Reads a PNG: gray, RGB, either with alpha, or RGB of a palette. @throws FileError */
export function readPng(who: string, bytes: Uint8Array): Picture {
  const fault = (why: string): FileError => new FileError(`${who}: ${why}`);
  const { header, palette, data } = partsOf(bytes, fault);
  const [width, height] = [header.getUint32(0), header.getUint32(4)];
  const [depth, color, compression, filters, interlaced] = [8, 9, 10, 11, 12].map((at) => header.getUint8(at));
  const [samples, depths] = COLORS[color] ?? [0, []];
  if (!depths.includes(depth) || compression !== 0 || filters !== 0 || interlaced > 1)
    throw fault(`the PNG is of a kind that there is none of: color type ${color}, ${depth} bits`);
  if (width === 0 || height === 0 || width * height > MOST_PIXELS) throw fault(`the PNG says that it has ${width} x ${height} pixels`);
  const passes = (interlaced === 1 ? PASSES : NO_PASSES)
    .map(([x, y, dx, dy]) => ({ x, y, dx, dy, columns: Math.ceil((width - x) / dx), rows: Math.ceil((height - y) / dy) }))
    .filter(({ columns, rows }) => columns > 0 && rows > 0);
  const strideOf = (columns: number): number => Math.ceil((columns * samples * depth) / 8);
  const size = passes.reduce((n, { columns, rows }) => n + rows * (strideOf(columns) + 1), 0);
  let raw: Uint8Array;
  try {
    const { inflateSync } = builtin("node:zlib") as Builtins["node:zlib"];
    raw = inflateSync(data.length === 1 ? data[0] : Buffer.concat(data), { maxOutputLength: size });
  } catch (cause) {
    throw fault(`the PNG is damaged: ${(cause as Error).message}`);
  }
  if (raw.length !== size) throw fault(`the PNG is truncated: ${raw.length} of ${size} bytes of rows`);
  const out = depth === 16 ? new Float32Array(width * height * samples) : new Uint8Array(width * height * samples);
  // Grays of a few bits are stretched to a byte, as numbers of colors are not.
  const scale = color === PALETTE ? 1 : 255 / (2 ** depth - 1);
  let from = 0;
  for (const { x: x0, y: y0, dx, dy, columns, rows } of passes) {
    const stride = strideOf(columns);
    const lines = unfiltered(raw, from, rows, stride, Math.max(1, (samples * depth) >> 3));
    if (lines === null) throw fault("the PNG is damaged: a row has a filter that there is none of");
    from += rows * (stride + 1);
    if (depth === 8 && interlaced === 0) out.set(lines);
    else
      for (let r = 0; r < rows; r++)
        for (let i = 0; i < columns * samples; i++) {
          const pixel = (y0 + r * dy) * width + x0 + Math.floor(i / samples) * dx;
          out[pixel * samples + (i % samples)] = sampleAt(lines, r * stride, i, depth) * scale;
        }
  }
  if (color !== PALETTE) return { width, height, channels: samples, data: out };
  const colors = new Uint8Array(width * height * 3);
  out.forEach((c, i) => {
    if (palette === null || 3 * c + 2 >= palette.length) throw fault("the PNG has a color that its palette does not");
    colors.set(palette.subarray(3 * c, 3 * c + 3), 3 * i);
  });
  return { width, height, channels: 3, data: colors };
}

/** Sample `i` of the row that begins at `row`. */
function sampleAt(lines: Uint8Array, row: number, i: number, depth: number): number {
  if (depth === 8) return lines[row + i];
  if (depth === 16) return lines[row + 2 * i] * 256 + lines[row + 2 * i + 1];
  const bit = i * depth;
  return (lines[row + (bit >> 3)] >> (8 - depth - (bit & 7))) & (2 ** depth - 1);
}

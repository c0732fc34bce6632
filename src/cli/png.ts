/** @file Pictures in PNG (https://www.w3.org/TR/png-3/) of 8 bits and without interlacing; other pictures by the package sharp. */
import { FileError } from "../errors.ts";
import { builtin } from "../node/files.ts";
import type { Builtins } from "../node/files.ts";
import { Failure } from "./command.ts";

/** Pixels, row-major, `channels` bytes each. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly data: Uint8Array;
}

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
/** Samples of a pixel, by color type. */
const SAMPLES: { readonly [type: number]: number } = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const MOST_PIXELS = 2 ** 28;

export const isPng = (bytes: Uint8Array): boolean => SIGNATURE.every((byte, i) => bytes[i] === byte);

/** Undoes the filters of rows. */
function unfiltered(raw: Uint8Array, height: number, stride: number, pixel: number): Uint8Array {
  const out = new Uint8Array(height * stride);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (stride + 1)];
    const [from, to] = [y * (stride + 1) + 1, y * stride];
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
      out[to + x] = raw[from + x] + predicted;
    }
  }
  return out;
}

/** Reads a PNG: gray, RGB, either with alpha, or RGB of a palette. @throws FileError */
export function readPng(who: string, bytes: Uint8Array): Picture {
  const fault = (why: string): FileError => new FileError(`${who}: ${why}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let header: DataView | null = null;
  let palette: Uint8Array | null = null;
  const parts: Uint8Array[] = [];
  for (let at = SIGNATURE.length; at + 12 <= bytes.length;) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (at + 12 + length > bytes.length) throw fault("the PNG is truncated");
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (type === "IHDR" && length === 13) header = new DataView(data.buffer, data.byteOffset, length);
    else if (type === "PLTE") palette = data;
    else if (type === "IDAT") parts.push(data);
    else if (type === "IEND") break;
    at += 12 + length;
  }
  if (header === null || parts.length === 0) throw fault("the PNG has no header or no data");
  const [width, height, depth, color, interlaced] = [
    header.getUint32(0),
    header.getUint32(4),
    header.getUint8(8),
    header.getUint8(9),
    header.getUint8(12),
  ];
  const samples = SAMPLES[color];
  if (depth !== 8 || interlaced !== 0 || samples === undefined)
    throw new Failure(
      `${who}: a PNG of ${depth} bits${interlaced ? ", interlaced," : ""} is not read; write it with 8 bits, or npm install sharp`,
    );
  if (width === 0 || height === 0 || width * height > MOST_PIXELS) throw fault(`the PNG says that it has ${width} x ${height} pixels`);
  const size = height * (width * samples + 1);
  let raw: Uint8Array;
  try {
    const { inflateSync } = builtin("node:zlib") as Builtins["node:zlib"];
    raw = inflateSync(parts.length === 1 ? parts[0] : Buffer.concat(parts), { maxOutputLength: size });
  } catch (cause) {
    throw fault(`the PNG is damaged: ${(cause as Error).message}`);
  }
  if (raw.length !== size) throw fault(`the PNG is truncated: ${raw.length} of ${size} bytes of rows`);
  const data = unfiltered(raw, height, width * samples, samples);
  if (color !== 3) return { width, height, channels: samples, data };
  const colors = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i++) {
    if (palette === null || 3 * data[i] + 2 >= palette.length) throw fault("the PNG has a color that its palette does not");
    colors.set(palette.subarray(3 * data[i], 3 * data[i] + 3), 3 * i);
  }
  return { width, height, channels: 3, data: colors };
}

interface Sharp {
  default(bytes: Uint8Array): {
    raw(): {
      toBuffer(o: { resolveWithObject: true }): Promise<{ data: Uint8Array; info: { width: number; height: number; channels: number } }>;
    };
  };
}

/** Reads a picture. @throws FileError; Failure where a package is needed that is not installed */
export async function readPicture(who: string, bytes: Uint8Array): Promise<Picture> {
  if (isPng(bytes)) return readPng(who, bytes);
  let sharp: Sharp;
  try {
    sharp = (await import(String("sharp"))) as Sharp;
  } catch {
    throw new Failure(`${who}: pictures other than PNG are read by the package sharp: npm install sharp`);
  }
  try {
    const { data, info } = await sharp.default(bytes).raw().toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, channels: info.channels, data };
  } catch (cause) {
    throw new FileError(`${who}: ${(cause as Error).message}`, { cause });
  }
}

/**
 * A picture as elements [height, width, channels] of another size (bilinear, pixel centers aligned), each divided by `scale`. Gray becomes
 * three equal channels, colors become gray by Rec. 601; alpha is left out.
 */
export function pictureAs(picture: Picture, height: number, width: number, channels: number, scale: number): Float32Array {
  const out = new Float32Array(height * width * channels);
  const colors = picture.channels >= 3 ? 3 : 1;
  const sample = (y: number, x: number, c: number): number => picture.data[(y * picture.width + x) * picture.channels + c];
  /** Where a pixel of the new size is among `size` of the old: two neighbours, and the part of the second. */
  const place = (i: number, of: number, size: number): readonly [number, number, number] => {
    const at = Math.min(size - 1, Math.max(0, ((i + 0.5) * size) / of - 0.5));
    const first = Math.floor(at);
    return [first, Math.min(size - 1, first + 1), at - first];
  };
  for (let y = 0; y < height; y++) {
    const [y0, y1, dy] = place(y, height, picture.height);
    for (let x = 0; x < width; x++) {
      const [x0, x1, dx] = place(x, width, picture.width);
      const value = (c: number): number =>
        (sample(y0, x0, c) * (1 - dx) + sample(y0, x1, c) * dx) * (1 - dy) + (sample(y1, x0, c) * (1 - dx) + sample(y1, x1, c) * dx) * dy;
      const gray = (): number => (colors === 1 ? value(0) : 0.299 * value(0) + 0.587 * value(1) + 0.114 * value(2));
      for (let c = 0; c < channels; c++) {
        const v = channels === 1 ? gray() : colors === 1 ? value(0) : value(c);
        out[(y * width + x) * channels + c] = v / scale;
      }
    }
  }
  return out;
}

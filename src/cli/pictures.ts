/** @file Pictures as elements: PNG, others by the package sharp, in the size and with the channels that a model takes. */
import { FileError } from "../errors.ts";
import { Failure } from "./command.ts";
import { isPng, readPng } from "./png.ts";
import type { Picture } from "./png.ts";

interface Sharp {
  default(bytes: Uint8Array): {
    rotate(): ReturnType<Sharp["default"]>;
    toColourspace(name: "srgb"): ReturnType<Sharp["default"]>;
    raw(o: { depth: "uchar" }): {
      toBuffer(o: { resolveWithObject: true }): Promise<{ data: Uint8Array; info: { width: number; height: number; channels: number } }>;
    };
  };
}

/** Reads a picture, upright where it says how it was taken. @throws FileError; Failure where a package is needed that is not installed */
export async function readPicture(who: string, bytes: Uint8Array): Promise<Picture> {
  if (isPng(bytes)) return readPng(who, bytes);
  let sharp: Sharp;
  try {
    sharp = (await import(String("sharp"))) as Sharp;
  } catch {
    throw new Failure(`${who}: pictures other than PNG are read by the package sharp: npm install sharp`);
  }
  try {
    const picture = sharp.default(bytes).rotate().toColourspace("srgb").raw({ depth: "uchar" });
    const { data, info } = await picture.toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, channels: info.channels, data };
  } catch (cause) {
    throw new FileError(`${who}: ${(cause as Error).message}`, { cause });
  }
}

/** What becomes of a sample: what is subtracted from it, and what it is divided by then, for each channel or for all. */
export interface Scaling {
  readonly mean: readonly number[];
  readonly scale: readonly number[];
}

/**
 * A picture as elements [height, width, channels] of another size (bilinear, pixel centers aligned, as Keras' `resize`), each less the
 * mean and divided by the scale. Gray becomes three equal channels, colors become gray by Rec. 601; alpha is left out.
 */
export function pictureAs(picture: Picture, height: number, width: number, channels: number, { mean, scale }: Scaling): Float32Array {
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
        out[(y * width + x) * channels + c] = (v - mean[c % mean.length]) / scale[c % scale.length];
      }
    }
  }
  return out;
}

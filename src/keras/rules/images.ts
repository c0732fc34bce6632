/** @file Rules of layers that frame, crop, enlarge and prepare images, sequences and volumes. */
import * as lockstep from "../../index.ts";
import { FileError } from "../../index.ts";
import { COUNT, FLAG, MODE, NUMBER, NUMBERS, sizes, TEXT } from "../codecs.ts";
import type { Codec } from "../codecs.ts";
import type { Fields } from "../fields.ts";
import { CHANNELS_LAST, rule } from "../rule.ts";
import type { Part, Rules } from "../rule.ts";

const SIZED: Part = { args: ["height", "width"], fields: { height: COUNT, width: COUNT } };
/** Frames: one number, one for each of `rank` dimensions, or both sides of each. */
const frame = (rank: number): Codec => ({
  read(f, name) {
    const value = f.get(name);
    const count = (v: unknown): boolean => Number.isInteger(v) && (v as number) >= 0 && (v as number) < 2 ** 31;
    const list = (v: unknown, length: number, fits: (v: unknown) => boolean): boolean =>
      Array.isArray(v) && v.length === length && v.every(fits);
    if (!count(value) && !list(value, rank, count) && !list(value, rank, (v) => list(v, 2, count)))
      throw f.fault(name, `a number, ${rank} of them, or ${rank} pairs of them`);
    return value;
  },
  write: (value) => value,
});

export const IMAGES: Rules = {
  rescaling: rule("Rescaling", lockstep.rescaling, { args: ["scale"], fields: { scale: NUMBERS, offset: NUMBERS } }),
  resizing: rule("Resizing", lockstep.resizing, SIZED, CHANNELS_LAST, {
    fields: {
      interpolation: TEXT,
      crop_to_aspect_ratio: FLAG,
      pad_to_aspect_ratio: FLAG,
      fill_value: NUMBER,
      antialias: FLAG,
    },
    must: { fill_mode: ["constant"] },
    ignored: { bounding_box_format: undefined },
    check: notOfTfjs,
  }),
  centerCrop: rule("CenterCrop", lockstep.centerCrop, SIZED, CHANNELS_LAST, {
    ignored: { bounding_box_format: undefined },
    inTfjs: ([, h, w], { height, width }) =>
      h < Number(height) || w < Number(width)
        ? "it resizes smaller images whatever their shape is"
        : w - Number(width) === 1
          ? "of one column that is too many it leaves out the first"
          : null,
  }),
  randomFlip: rule("RandomFlip", lockstep.randomFlip, CHANNELS_LAST, {
    fields: { mode: MODE },
    ignored: { seed: null, bounding_box_format: undefined },
  }),
  zeroPadding1d: rule("ZeroPadding1D", lockstep.zeroPadding1d, { args: ["padding"], fields: { padding: sizes(2, 0) } }, CHANNELS_LAST),
  cropping1d: rule("Cropping1D", lockstep.cropping1d, { args: ["cropping"], fields: { cropping: sizes(2, 0) } }),
  zeroPadding2d: rule("ZeroPadding2D", lockstep.zeroPadding2d, { args: ["padding"], fields: { padding: frame(2) } }, CHANNELS_LAST),
  cropping2d: rule("Cropping2D", lockstep.cropping2d, { args: ["cropping"], fields: { cropping: frame(2) } }, CHANNELS_LAST),
  upSampling1d: rule("UpSampling1D", lockstep.upSampling1d, { args: ["size"], fields: { size: COUNT } }),
  upSampling2d: rule(
    "UpSampling2D",
    lockstep.upSampling2d,
    { args: ["size"], fields: { size: sizes(2), interpolation: TEXT }, check: halfPixels },
    CHANNELS_LAST,
  ),
  zeroPadding3d: rule("ZeroPadding3D", lockstep.zeroPadding3d, { args: ["padding"], fields: { padding: frame(3) } }, CHANNELS_LAST),
  cropping3d: rule("Cropping3D", lockstep.cropping3d, { args: ["cropping"], fields: { cropping: frame(3) } }, CHANNELS_LAST),
  upSampling3d: rule("UpSampling3D", lockstep.upSampling3d, { args: ["size"], fields: { size: sizes(3) } }, CHANNELS_LAST),
};

/** The layer of TensorFlow.js puts the corners of both images on each other, and shares out the distance. */
function notOfTfjs(f: Fields): void {
  if (f.dialect === "tfjs")
    throw new FileError(
      `${f.who}: TensorFlow.js measures from the corners of images, which Lockstep does not; give layers: { Resizing: ... }`,
    );
}

/** TensorFlow.js interpolates from the corners of pixels, Keras from their centers. */
function halfPixels(f: Fields): void {
  if (f.dialect === "tfjs") f.must("interpolation", "nearest");
}

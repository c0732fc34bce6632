/** @file Layers that frame, crop and enlarge volumes [batch, depth, height, width, channels]. */
import { shown } from "../check.ts";
import { ArgumentError, ShapeError } from "../errors.ts";
import { broadcastTo, pad, reshape, slice } from "../ops/move.ts";
import type { Layer } from "./layer.ts";
import { checkImages, layerOf } from "./options.ts";
import type { NameOption } from "./options.ts";
import { tripleOf } from "./sizes.ts";
import type { Triple } from "./sizes.ts";

/** What lies around a volume: one number for all six sides, one for each direction, or [before, after] for each. */
export type Frame3d = Triple | readonly [readonly [number, number], readonly [number, number], readonly [number, number]];

type Ends = readonly [number, number];

/** [before, after] of each direction. @throws ArgumentError */
function frameOf(who: string, what: string, value: Frame3d): readonly Ends[] {
  const isCount = (v: unknown): boolean => Number.isSafeInteger(v) && (v as number) >= 0;
  const list: readonly unknown[] = Array.isArray(value) ? value : [value, value, value];
  const ends = list.map((v) => (isCount(v) ? [v, v] : v));
  if (ends.length !== 3 || !ends.every((e) => Array.isArray(e) && e.length === 2 && e.every(isCount)))
    throw new ArgumentError(
      `${who}: ${what} must be an integer >= 0, three of them, or three pairs [before, after], got ` +
        `${Array.isArray(value) ? JSON.stringify(value) : shown(value)}`,
    );
  return ends as unknown as readonly Ends[];
}

/**
 * Zeros around volumes: [batch, depth, height, width, channels] -> the same with each dimension `padding` longer at both ends. `padding`:
 * one number, [depth, height, width], or [before, after] for each; default 1. As Keras' `ZeroPadding3D`. @throws ArgumentError for negative
 * numbers; when called, ShapeError for another rank
 */
export function zeroPadding3d(padding: Frame3d = 1, options: NameOption = {}): Layer {
  return layerOf("zeroPadding3d", { padding }, { name: "" }, options, () => {
    const ends = frameOf("zeroPadding3d", "padding", padding);
    return {
      anyDtype: true,
      call: (x) => {
        checkImages(x.shape, 5);
        return pad(x, [[0, 0], ...ends, [0, 0]]);
      },
    };
  });
}

/**
 * Volumes without what lies at their sides: [batch, depth, height, width, channels] -> the same with each dimension `cropping` shorter at
 * both ends. `cropping` as in `zeroPadding3d`; default 1. As Keras' `Cropping3D`. @throws ArgumentError for negative numbers; when called,
 * ShapeError for another rank and when nothing is left
 */
export function cropping3d(cropping: Frame3d = 1, options: NameOption = {}): Layer {
  return layerOf("cropping3d", { cropping }, { name: "" }, options, () => {
    const ends = frameOf("cropping3d", "cropping", cropping);
    return {
      anyDtype: true,
      call: (x) => {
        checkImages(x.shape, 5);
        const sizes = x.shape.slice(1, 4);
        const left = sizes.map((size, i) => size - ends[i][0] - ends[i][1]);
        if (left.some((size) => size < 1))
          throw new ShapeError(`cropping ${JSON.stringify(cropping)} leaves nothing of the ${sizes.join("x")} input`);
        return slice(x, [0, ...ends.map(([before]) => before), 0], [x.shape[0], ...left, x.shape[4]]);
      },
    };
  });
}

/**
 * Volumes enlarged by whole factors, each element repeated: [batch, depth, height, width, channels] -> [batch, depth * size[0], height *
 * size[1], width * size[2], channels]. `size` default 2. As Keras' `UpSampling3D`. @throws ArgumentError for sizes below 1; when called,
 * ShapeError for another rank
 */
export function upSampling3d(size: Triple = 2, options: NameOption = {}): Layer {
  return layerOf("upSampling3d", { size }, { name: "" }, options, () => {
    const [i, j, k] = tripleOf("upSampling3d", "size", size);
    return {
      anyDtype: true,
      call: (x) => {
        checkImages(x.shape, 5);
        const [n, d, h, w, c] = x.shape;
        const wide = broadcastTo(reshape(x, [n * d * h * w, 1, c]), [n * d * h * w, k, c]);
        const row = w * k * c;
        return reshape(broadcastTo(reshape(wide, [n * d, 1, h, 1, row]), [n * d, i, h, j, row]), [n, d * i, h * j, w * k, c]);
      },
    };
  });
}

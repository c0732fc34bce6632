/** @file Regions of images: each of one size, and read between pixels. */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import { sizeOf } from "../call.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { Value, checkShape } from "../value.ts";
import { component, cornersOf, pixelsAt, read } from "./sampling.ts";

const { add, mul, reshape, sub } = lockstep;

/** Where regions are read: rows and columns [regions, cells, samples], and which part each sample is of its cell. */
interface Samples {
  readonly rows: Tensor;
  readonly columns: Tensor;
  readonly share: Tensor | number;
}

/** What all regions share. */
interface Grid {
  readonly scale: number;
  readonly offset: number;
  /** Regions are at least one pixel. */
  readonly isOld: boolean;
  readonly height: number;
  readonly width: number;
}

/** So many samples along both sides of each cell, the same for all regions, which may be computed. */
function regular(rois: Tensor, grid: Grid, ratio: number): Samples {
  const { height, width, scale, offset } = grid;
  const count = rois.shape[0];
  const cells = height * width;
  const edge = (i: number): Tensor => reshape(sub(mul(component(rois, i), scale), offset), [count, 1, 1]);
  const along = (low: Tensor, high: Tensor, isRow: boolean): Tensor => {
    const size = sub(high, low);
    const whole = grid.isOld ? lockstep.maximum(size, 1) : size;
    const places = Float32Array.from({ length: cells * ratio * ratio }, (_, i) => {
      const [cell, sample] = [Math.floor(i / (ratio * ratio)), i % (ratio * ratio)];
      const [c, s] = isRow ? [Math.floor(cell / width), Math.floor(sample / ratio)] : [cell % width, sample % ratio];
      return (c + (s + 0.5) / ratio) / (isRow ? height : width);
    });
    return add(low, mul(whole, lockstep.tensor(places, [1, cells, ratio * ratio])));
  };
  return { rows: along(edge(1), edge(3), true), columns: along(edge(0), edge(2), false), share: 1 / (ratio * ratio) };
}

/** About one sample for each pixel: as many as the largest region needs, of which some count for nothing. */
function adaptive(rois: readonly number[], grid: Grid): Samples {
  const { height, width, scale, offset } = grid;
  const regions = Array.from({ length: rois.length / 4 }, (_, r) => {
    const [x0, y0, x1, y1] = rois.slice(4 * r, 4 * r + 4).map((v) => v * scale - offset);
    const side = (a: number, b: number): number => (grid.isOld ? Math.max(b - a, 1) : b - a);
    const [w, h] = [side(x0, x1), side(y0, y1)];
    return { x0, y0, w, h, columns: Math.max(0, Math.ceil(w / width)), rows: Math.max(0, Math.ceil(h / height)) };
  });
  const most = Math.max(1, ...regions.map(({ rows, columns }) => rows * columns));
  const cells = height * width;
  const [rows, columns, share] = [0, 1, 2].map(() => new Float32Array(regions.length * cells * most));
  regions.forEach((region, r) => {
    const count = region.rows * region.columns;
    for (let cell = 0; cell < cells; cell++) {
      for (let s = 0; s < most; s++) {
        const at = (r * cells + cell) * most + s;
        // What is too much repeats the first.
        const sample = s < count ? s : 0;
        const [iy, ix] = [Math.floor(sample / Math.max(1, region.columns)), sample % Math.max(1, region.columns)];
        rows[at] = region.y0 + (region.h / height) * (Math.floor(cell / width) + (iy + 0.5) / Math.max(1, region.rows));
        columns[at] = region.x0 + (region.w / width) * ((cell % width) + (ix + 0.5) / Math.max(1, region.columns));
        share[at] = s < count ? 1 / count : 0;
      }
    }
  });
  const shape = [regions.length, cells, most];
  return { rows: lockstep.tensor(rows, shape), columns: lockstep.tensor(columns, shape), share: lockstep.tensor(share, shape) };
}

/** Mean, or largest, of samples of each cell of regions [x0, y0, x1, y1] (He et al. 2017, arXiv 1703.06870). */
const RoiAlign: Operator = (call) => {
  const [x, rois, index] = [0, 1, 2].map((i) => call.input(i));
  const [batch, channels, ...sizes] = x.shape;
  if (sizes.length !== 2 || rois.rank !== 2 || rois.shape[1] !== 4 || index.size !== rois.shape[0])
    throw call.mismatch(`[${x.shape.join()}] with regions [${rois.shape.join()}] of images [${index.shape.join()}]`);
  const isOld = call.opset < 16 || call.word("coordinate_transformation_mode", ["half_pixel", "output_half_pixel"]) !== "half_pixel";
  const grid: Grid = {
    scale: call.float("spatial_scale", 1),
    offset: isOld ? 0 : 0.5,
    isOld,
    height: call.int("output_height", 1),
    width: call.int("output_width", 1),
  };
  const isMax = call.word("mode", ["avg", "max"]) === "max";
  const count = rois.shape[0];
  const shape = [count, grid.height, grid.width, channels];
  if (sizeOf(shape) === 0) return Value.channelsLast(x.type, lockstep.zeros(shape));
  const ratio = call.int("sampling_ratio", 0);
  const samples = ratio > 0 ? regular(rois.tensor, grid, ratio) : adaptive(call.numbers(1) as number[], grid);
  const seen = [samples.rows, samples.columns].map((t, i) => lockstep.and(lockstep.greaterEqual(t, -1), lockstep.lessEqual(t, sizes[i])));
  const pixels = [samples.rows, samples.columns].map((t, i) => pixelsAt(t, sizes[i], "linear", "border", [0, sizes[i] - 1]));
  const image = reshape(lockstep.cast(index.tensor, "i32"), [count, 1, 1]);
  const isSeen = lockstep.and(seen[0], seen[1]);
  const corners = cornersOf(image, pixels, sizes).map(({ row, weight }) => ({ row, weight: lockstep.where(isSeen, weight, 0) }));
  const parts = read(reshape(x.last, [batch * sizeOf(sizes), channels]), corners);
  // Of a maximum each pixel takes part by itself.
  const largest = (): Tensor =>
    lockstep.max(
      parts.reduce((a, b) => lockstep.maximum(a, b)),
      { axis: 2 },
    );
  const mean = (): Tensor => {
    const sum = parts.reduce((a, b) => add(a, b));
    const share = typeof samples.share === "number" ? samples.share : lockstep.expandDims(samples.share, 3);
    return lockstep.sum(mul(sum, share), { axis: 2 });
  };
  return Value.channelsLast(x.type, reshape(isMax ? largest() : mean(), shape));
};

/** To the nearest integer, halves away from 0. */
const rounded = (x: number): number => Math.sign(x) * Math.floor(Math.abs(x) + 0.5);

/** Pixels [begin, end) of cell `i` of `cells` that a region from pixel `low` to `high` is cut into, within an image of `size`. */
function cellOf(low: number, high: number, i: number, cells: number, size: number): [number, number] {
  const step = Math.max(high - low + 1, 1) / cells;
  const inside = (at: number): number => Math.min(size, Math.max(0, at + low));
  return [inside(Math.floor(i * step)), inside(Math.ceil((i + 1) * step))];
}

/**
 * The largest of each cell of regions [image, x0, y0, x1, y1], in whole pixels (Girshick 2015, arXiv 1504.08083); 0 where there are
 * none.
 */
const MaxRoiPool: Operator = (call) => {
  const [x, rois] = [call.input(0), call.input(1)];
  const [batch, channels, rows, columns] = x.shape;
  const [height, width] = call.ints("pooled_shape") ?? [];
  if (x.rank !== 4 || rois.rank !== 2 || rois.shape[1] !== 5 || !(height > 0 && width > 0))
    throw call.mismatch(`[${x.shape.join()}] with regions [${rois.shape.join()}] in cells of [${call.ints("pooled_shape")?.join() ?? ""}]`);
  const [count, cells] = [rois.shape[0], height * width];
  const scale = call.float("spatial_scale", 1);
  if (count * channels === 0) return Value.channelsLast(x.type, lockstep.zeros([count, height, width, channels]));
  const numbers = call.numbers(1) as number[];
  const boxes = Array.from({ length: count * cells }, (_, i) => {
    const at = Math.floor(i / cells) * 5;
    const image = numbers[at];
    if (!(image >= 0 && image < batch)) throw call.mismatch(`a region is of image ${image}, there are ${batch}`);
    const [x0, y0, x1, y1] = numbers.slice(at + 1, at + 5).map((v) => rounded(Math.fround(v * scale)));
    const cell = i % cells;
    return { image, down: cellOf(y0, y1, Math.floor(cell / width), height, rows), along: cellOf(x0, x1, cell % width, width, columns) };
  });
  const sizeOfBox = ({ down, along }: (typeof boxes)[number]): number => Math.max(0, down[1] - down[0]) * Math.max(0, along[1] - along[0]);
  const most = Math.max(1, ...boxes.map(sizeOfBox));
  const places = new Int32Array(sizeOf(checkShape([count, cells, most])));
  boxes.forEach((box, i) => {
    const [{ image, down, along }, n] = [box, sizeOfBox(box)];
    const across = along[1] - along[0];
    // What is too much repeats the first.
    for (let s = 0; s < most; s++) {
      const at = s < n ? s : 0;
      const pixel = n === 0 ? 0 : (down[0] + Math.floor(at / across)) * columns + along[0] + (at % across);
      places[i * most + s] = image * rows * columns + pixel;
    }
  });
  const pixels = lockstep.gather(
    reshape(x.last, [batch * rows * columns, channels]),
    lockstep.tensor(places, [count * cells, most], "i32"),
  );
  const isEmpty = lockstep.tensor(
    boxes.map((box) => sizeOfBox(box) === 0),
    [count * cells, 1],
    "bool",
  );
  const y = lockstep.where(isEmpty, 0, lockstep.max(pixels, { axis: 1 }));
  return Value.channelsLast(x.type, reshape(y, [count, height, width, channels]));
};

/** Blocks of channels as pixels. */
function blocksOf(call: Call, x: Value): number {
  const size = call.int("blocksize", 0);
  if (x.rank !== 4 || size < 1) throw call.fault(`blocks of ${size} for [${x.shape.join()}]`);
  return size;
}

const DepthToSpace: Operator = (call) => {
  const x = call.input(0);
  const b = blocksOf(call, x);
  const [n, channels, h, w] = x.shape;
  const c = channels / (b * b);
  if (!Number.isInteger(c)) throw call.mismatch(`${channels} channels are no blocks of ${b}x${b}`);
  const isRowMajor = call.word("mode", ["DCR", "CRD"]) === "DCR";
  const t = reshape(x.last, isRowMajor ? [n, h, w, b, b, c] : [n, h, w, c, b, b]);
  const y = lockstep.transpose(t, isRowMajor ? [0, 1, 3, 2, 4, 5] : [0, 1, 4, 2, 5, 3]);
  return Value.channelsLast(x.type, reshape(y, [n, h * b, w * b, c]));
};

const SpaceToDepth: Operator = (call) => {
  const x = call.input(0);
  const b = blocksOf(call, x);
  const [n, c, h, w] = x.shape;
  if (h % b !== 0 || w % b !== 0) throw call.mismatch(`${h}x${w} pixels are no blocks of ${b}x${b}`);
  const isRowMajor = call.word("mode", ["DCR", "CRD"]) === "DCR";
  const t = lockstep.transpose(reshape(x.last, [n, h / b, b, w / b, b, c]), isRowMajor ? [0, 1, 3, 2, 4, 5] : [0, 1, 3, 5, 2, 4]);
  return Value.channelsLast(x.type, reshape(t, [n, h / b, w / b, c * b * b]));
};

/** Columns of windows added up where they were taken: the reverse of im2col. */
const Col2Im: Operator = (call) => {
  const x = call.input(0);
  const [image, block] = [call.numbers(1) ?? [], call.numbers(2) ?? []];
  const n = image.length;
  const [strides, dilations] = ["strides", "dilations"].map((name) => call.ints(name) ?? image.map(() => 1));
  const pads = call.ints("pads") ?? [...image, ...image].map(() => 0);
  const taps = sizeOf(block);
  const counts = image.map((size, i) => Math.floor((size + pads[i] + pads[n + i] - dilations[i] * (block[i] - 1) - 1) / strides[i]) + 1);
  const [batch, rows] = x.shape;
  if (block.length !== n || x.rank !== 3 || rows % taps !== 0 || x.shape[2] !== sizeOf(counts))
    throw call.mismatch(`[${x.shape.join()}] with blocks [${block.join()}] is no image [${image.join()}]`);
  const channels = rows / taps;
  const pixels = sizeOf(image);
  const places = new Int32Array(taps * x.shape[2]);
  for (let i = 0; i < places.length; i++) {
    let [tap, window, place, step] = [Math.floor(i / x.shape[2]), i % x.shape[2], 0, 1];
    for (let d = n - 1; d >= 0; d--) {
      const at = (window % counts[d]) * strides[d] - pads[d] + (tap % block[d]) * dilations[d];
      // What is of the padding goes behind the image.
      place = at < 0 || at >= image[d] ? Infinity : place + at * step;
      [tap, window, step] = [Math.floor(tap / block[d]), Math.floor(window / counts[d]), step * image[d]];
    }
    places[i] = Math.min(place, pixels);
  }
  const flat = reshape(x.tensor, [batch * channels, places.length]);
  const sum = lockstep.scatterAdd(flat, lockstep.tensor(places, [places.length], "i32"), pixels + 1, 1);
  return Value.of(x.type, reshape(lockstep.slice(sum, [0, 0], [batch * channels, pixels]), [batch, channels, ...image]));
};

export const REGIONS: Operators = { RoiAlign, MaxRoiPool, DepthToSpace, SpaceToDepth, Col2Im };

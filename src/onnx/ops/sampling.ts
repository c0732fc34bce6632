/** @file Reading images at places that are computed: between pixels, and beyond the border. */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import type { Operator, Operators } from "../call.ts";
import { sizeOf } from "../call.ts";
import { Value } from "../value.ts";

const { add, cast, clip, mul, reshape, sub, transpose, where } = lockstep;

/** What is read beyond the border: zeros, the nearest pixel, or the image as in a mirror. */
export type Beyond = "zeros" | "border" | "reflection";

/** One of the pixels that a place reads, along one dimension. */
interface Pixel {
  /** i32, inside the image. */
  readonly place: Tensor;
  readonly weight: Tensor;
}

/** `x` as in a mirror at both ends. */
function mirrored(x: Tensor, low: number, high: number): Tensor {
  const span = high - low;
  if (span <= 0) return mul(x, 0);
  const way = lockstep.mod(lockstep.abs(sub(x, low)), 2 * span);
  return add(lockstep.minimum(way, sub(2 * span, way)), low);
}

/** Weights of the cubic of Keys (1981) with a = -0.75, at a distance below 1 from the second of four pixels. */
function cubicWeights(x: Tensor): Tensor[] {
  const a = -0.75;
  const near = (t: Tensor): Tensor => add(mul(mul(sub(mul(t, a + 2), a + 3), t), t), 1);
  const far = (t: Tensor): Tensor => sub(mul(add(mul(sub(mul(t, a), 5 * a), t), 8 * a), t), 4 * a);
  const rest = sub(1, x);
  return [far(add(x, 1)), near(x), near(rest), far(add(rest, 1))];
}

/** The pixels that places `x` read along a dimension of `size`. `ends`: where the image ends, for what is beyond. */
export function pixelsAt(
  x: Tensor,
  size: number,
  mode: "nearest" | "linear" | "cubic",
  beyond: Beyond,
  ends: readonly [number, number],
): Pixel[] {
  const inside = (t: Tensor): Tensor =>
    beyond === "reflection" ? mirrored(t, ends[0], ends[1]) : beyond === "border" ? clip(t, 0, size - 1) : t;
  const pixel = (at: Tensor, weight: Tensor): Pixel => {
    const seen = lockstep.and(lockstep.greaterEqual(at, 0), lockstep.lessEqual(at, size - 1));
    return {
      place: cast(clip(inside(at), 0, size - 1), "i32"),
      weight: beyond === "zeros" ? where(seen, weight, 0) : weight,
    };
  };
  if (mode === "nearest") {
    const at = lockstep.round(x);
    return [pixel(beyond === "zeros" ? at : lockstep.round(inside(at)), add(mul(at, 0), 1))];
  }
  // A cubic looks beyond the border from where it is.
  const place = mode === "cubic" && beyond === "border" ? x : inside(x);
  const first = lockstep.floor(place);
  const part = sub(place, first);
  if (mode === "linear") return [pixel(first, sub(1, part)), pixel(add(first, 1), part)];
  return cubicWeights(part).map((weight, i) => pixel(add(first, i - 1), weight));
}

/** A pixel that a place reads: its row among those of all images, and its weight. */
export interface Corner {
  readonly row: Tensor;
  readonly weight: Tensor;
}

/** All combinations of pixels along the dimensions. `image`: i32, the image that each place is of. */
export function cornersOf(image: Tensor, dimensions: readonly (readonly Pixel[])[], sizes: readonly number[]): Corner[] {
  let corners: { row: Tensor; weight: Tensor | null }[] = [{ row: image, weight: null }];
  dimensions.forEach((pixels, i) => {
    corners = corners.flatMap(({ row, weight }) =>
      pixels.map((p) => ({
        row: add(mul(row, sizes[i]), p.place),
        weight: weight === null ? p.weight : mul(weight, p.weight),
      })),
    );
  });
  return corners as Corner[];
}

/** Rows [rows, C] of corners, each times its weight: [..., C] each. */
export const read = (rows: Tensor, corners: readonly Corner[]): Tensor[] =>
  corners.map(({ row, weight }) => mul(lockstep.gather(rows, row), lockstep.expandDims(weight, weight.rank)));

export const total = (parts: readonly Tensor[]): Tensor => parts.reduce((a, b) => add(a, b));

/** Component `i` of the last dimension. */
export function component(t: Tensor, i: number): Tensor {
  const lead = t.shape.slice(0, -1);
  return reshape(lockstep.slice(t, [...lead.map(() => 0), i], [...lead, 1]), lead);
}

const MODES: { readonly [name: string]: "nearest" | "linear" | "cubic" } = {
  linear: "linear",
  bilinear: "linear",
  nearest: "nearest",
  cubic: "cubic",
  bicubic: "cubic",
};

const GridSample: Operator = (call) => {
  const [x, grid] = [call.input(0), call.input(1)];
  const mode = MODES[call.word("mode", ["linear", "bilinear", "nearest", "cubic", "bicubic"])];
  const beyond = call.word("padding_mode", ["zeros", "border", "reflection"]) as Beyond;
  const aligns = call.flag("align_corners");
  const n = x.rank - 2;
  if (n < 1 || grid.rank !== x.rank || grid.shape[n + 1] !== n || grid.shape[0] !== x.shape[0])
    throw call.mismatch(`[${x.shape.join()}] by a grid [${grid.shape.join()}]`);
  const sizes = x.shape.slice(2);
  const [batch, channels] = x.shape;
  const out = [batch, ...grid.shape.slice(1, -1)];
  if (sizeOf(out) * channels === 0 || x.size === 0) return Value.channelsLast(x.type, lockstep.zeros([...out, channels]));
  const image = reshape(lockstep.iota([batch]), [batch, ...out.slice(1).map(() => 1)]);
  const pixels = sizes.map((size, i) => {
    // The last dimension comes first.
    const g = component(grid.tensor, n - 1 - i);
    const at = aligns ? mul(add(g, 1), (size - 1) / 2) : mul(sub(mul(add(g, 1), size), 1), 0.5);
    return pixelsAt(at, size, mode, beyond, aligns ? [0, size - 1] : [-0.5, size - 0.5]);
  });
  const rows = reshape(x.last, [batch * sizeOf(sizes), channels]);
  return Value.channelsLast(x.type, total(read(rows, cornersOf(image, pixels, sizes))));
};

/** A grid for GridSample: places of an image under an affine map. */
const AffineGrid: Operator = (call) => {
  const theta = call.input(0);
  const size = call.numbers(1) ?? [];
  const image = size.slice(2);
  const n = image.length;
  const aligns = call.flag("align_corners");
  if (n < 2 || n > 3 || theta.shape.join() !== `${size[0]},${n},${n + 1}`)
    throw call.mismatch(`a map [${theta.shape.join()}] for images [${size.join()}]`);
  const at = (i: number, of: number): number => (aligns ? (of === 1 ? 0 : -1 + (2 * i) / (of - 1)) : -1 + (2 * i + 1) / of);
  const places: number[] = [];
  for (let i = 0; i < sizeOf(image); i++) {
    let rest = i;
    // Columns first.
    for (let d = n - 1; d >= 0; d--) {
      places.push(at(rest % image[d], image[d]));
      rest = Math.floor(rest / image[d]);
    }
    places.push(1);
  }
  const base = lockstep.tensor(Float32Array.from(places), [sizeOf(image), n + 1]);
  return Value.of(theta.type, reshape(lockstep.matmul(base, theta.tensor, { transposeB: true }), [size[0], ...image, n]));
};

/** A convolution whose taps are moved, each by offsets of its own. */
const DeformConv: Operator = (call) => {
  const [x, w, offset] = [0, 1, 2].map((i) => call.input(i));
  const mask = call.optional(4);
  const [groups, parts] = [call.int("group", 1), call.int("offset_group", 1)];
  if (x.rank !== 4) throw call.fault(`images have 2 dimensions here, got [${x.shape.join()}]`);
  const [batch, channels, ...sizes] = x.shape;
  const [filters, , ...taps] = w.shape;
  const [oh, ow] = offset.shape.slice(2);
  const k = sizeOf(taps);
  const [strides, dilations] = ["strides", "dilations"].map((name) => call.ints(name) ?? [1, 1]);
  const pads = call.ints("pads") ?? [0, 0, 0, 0];
  const count = sizes.map((size, i) => Math.floor((size + pads[i] + pads[i + 2] - (taps[i] - 1) * dilations[i] - 1) / strides[i]) + 1);
  const fits =
    channels % parts === 0 &&
    w.shape[1] * groups === channels &&
    filters % groups === 0 &&
    offset.shape.join() === [batch, parts * k * 2, ...count].join() &&
    (mask === null || mask.shape.join() === [batch, parts * k, ...count].join());
  if (!fits) throw call.mismatch(`[${x.shape.join()}] with filters [${w.shape.join()}] and offsets [${offset.shape.join()}]`);
  // [batch, rows, columns, taps, parts]
  const moved = transpose(reshape(offset.tensor, [batch, parts, k, 2, oh, ow]), [3, 0, 4, 5, 2, 1]);
  const shape = [batch, oh, ow, k, parts];
  const own = (dimension: number): Tensor => {
    const list = Float32Array.from({ length: oh * ow * k }, (_, i) => {
      const [tap, pixel] = [i % k, Math.floor(i / k)];
      const place = dimension === 0 ? Math.floor(pixel / ow) : pixel % ow;
      const t = dimension === 0 ? Math.floor(tap / taps[1]) : tap % taps[1];
      return place * strides[dimension] - pads[dimension] + t * dilations[dimension];
    });
    return lockstep.tensor(list, [1, oh, ow, k, 1]);
  };
  const pixels = sizes.map((size, i) => {
    const by = reshape(lockstep.slice(moved, [i, 0, 0, 0, 0, 0], [1, ...shape]), shape);
    return pixelsAt(add(by, own(i)), size, "linear", "zeros", [0, size - 1]);
  });
  const image = reshape(lockstep.iota([batch]), [batch, 1, 1, 1, 1]);
  // Rows are of the channels that are moved together.
  const part = lockstep.iota([1, 1, 1, 1, parts]);
  const corners = cornersOf(image, pixels, sizes).map(({ row, weight }) => ({ row: add(mul(row, parts), part), weight }));
  const rows = reshape(x.last, [batch * sizeOf(sizes) * parts, channels / parts]);
  let columns = total(read(rows, corners));
  if (mask !== null)
    columns = mul(columns, lockstep.expandDims(transpose(reshape(mask.tensor, [batch, parts, k, oh, ow]), [0, 3, 4, 2, 1]), 5));
  const kernel = reshape(transpose(w.tensor, [2, 3, 1, 0]), [1, k, channels / groups, filters]);
  const y = lockstep.ops.conv2d(reshape(columns, [batch * oh * ow, 1, k, channels]), kernel, {
    groups,
    bias: call.optional(3)?.tensor ?? null,
  });
  return Value.channelsLast(x.type, reshape(y, [batch, oh, ow, filters]));
};

export const SAMPLING: Operators = { GridSample, AffineGrid, DeformConv };
/** Of the domain com.microsoft. */
export const SAMPLING_MICROSOFT: Operators = { GridSample };

/** @file GPU encoders of the convolutions (kernels/conv.wgsl): products whose A is gathered, with groups as their batch. */
import type { ConvAttrs } from "../../plan/kernels.ts";
import type { Constants, DispatchWriter, GpuEncoder, Hooks } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";
import { activationFunction, addUp, biasOf, encodeMatmul, encodeProduct } from "./matmul.ts";
import { splitOf } from "./tiles.ts";

/** Groups with fewer columns than this are computed element by element: see `isNarrow`. */
const LEAST_COLUMNS = 8;
const DIRECT_THREADS = 64;
/** Elements of dw that a workgroup of direct_filter_grad makes, and invocations for each. */
const DIRECT_FILTERS = 16;
const DIRECT_PIXELS = 16;

export const isNarrow = (groups: number, columns: number): boolean => groups > 1 && columns < LEAST_COLUMNS;

/** A convolution that reads every pixel once where it stands: a product of matrices in memory. */
const isPointwise = (a: ConvAttrs): boolean =>
  a.r === 1 &&
  a.s === 1 &&
  a.groups === 1 &&
  a.strideH === 1 &&
  a.strideW === 1 &&
  a.padTop === 0 &&
  a.padLeft === 0 &&
  a.p === a.h &&
  a.q === a.w;

/** Divisors are at least 1 where there is nothing to divide. */
function geometry(a: ConvAttrs): Constants {
  return {
    IMAGE: [a.h, a.w],
    OUTPUT: [a.p, a.q],
    TAPS: [a.r, a.s],
    STRIDE: [a.strideH, a.strideW],
    DILATION: [a.dilationH, a.dilationW],
    PAD: [a.padTop, a.padLeft],
    C: a.c,
    F: a.f,
    CHANNELS: Math.max(1, a.c / a.groups),
    FILTERS: Math.max(1, a.f / a.groups),
  };
}

/** Hooks of a product whose operands have runs of so many elements. */
const access = (a: number, b: number, y: number): Hooks => ({
  load_a: a % 4 === 0 ? "vector_a" : "lanes_a",
  load_b: b % 4 === 0 ? "vector_b" : "lanes_b",
  write_y: y % 4 === 0 ? "vector_y" : "lanes_y",
});

/** `conv2d(x, w, bias?) -> y` */
export const conv2d: GpuEncoder = (call, out) => {
  const attrs = call.attrs as unknown as ConvAttrs;
  const { n, p, q, r, s, c, f, groups, activation } = attrs;
  const [x, w, bias] = call.inputs;
  const channels = c / groups;
  const filters = f / groups;
  const pixels = n * p * q;
  const k = r * s * channels;
  const sizeY = pixels * f;
  if (sizeY === 0) return;
  const operands = { a: k === 0 ? null : read(x), b: k === 0 ? null : read(w), bias: read(bias ?? null), y: write(call.outputs[0]) };
  if (isPointwise(attrs)) {
    return encodeMatmul(out, {
      batch: 1,
      m: pixels,
      n: f,
      k,
      ...operands,
      stridesA: { batch: 0, along: c, k: 1 },
      stridesB: { batch: 0, along: 1, k: f },
      activation,
    });
  }
  if (isNarrow(groups, filters)) {
    return out.dispatch(
      {
        file: "conv",
        entry: "direct",
        constants: { ...geometry(attrs), M: pixels, K: k, ELEMENTS: sizeY, HAS_BIAS: bias != null },
        hooks: { activate: activationFunction(activation) },
      },
      [operands.a, operands.b, operands.bias, operands.y],
      Math.ceil(sizeY / DIRECT_THREADS),
    );
  }
  encodeProduct(out, {
    file: "conv",
    batch: groups,
    m: pixels,
    n: filters,
    k,
    ...operands,
    sizeY,
    columnsY: f,
    biasStride: filters,
    activation,
    constants: { ...geometry(attrs), B_BATCH: filters, B_COLUMN: 1, B_K: f, A_ALONG_K: true, B_ALONG_K: false },
    hooks: { ...access(channels, filters, filters), ...biasOf(filters), place_a: "place_window", place_y: "place_row" },
  });
};

/** `conv2dFilterGrad(x, dy) -> dw` */
export const conv2dFilterGrad: GpuEncoder = (call, out) => {
  const attrs = call.attrs as unknown as ConvAttrs;
  const { n, p, q, r, s, c, f, groups } = attrs;
  const [x, dy] = call.inputs;
  const channels = c / groups;
  const filters = f / groups;
  const pixels = n * p * q;
  const rows = r * s * channels;
  const sizeY = rows * f;
  if (sizeY === 0) return;
  const operands = { a: pixels === 0 ? null : read(x), b: pixels === 0 ? null : read(dy), bias: null, y: write(call.outputs[0]) };
  if (isPointwise(attrs)) {
    return encodeMatmul(out, {
      batch: 1,
      m: c,
      n: f,
      k: pixels,
      ...operands,
      stridesA: { batch: 0, along: 1, k: c },
      stridesB: { batch: 0, along: 1, k: f },
      activation: "linear",
    });
  }
  if (isNarrow(groups, filters)) return directFilterGrad(out, attrs, operands, { rows, pixels, sizeY });
  encodeProduct(out, {
    file: "conv",
    batch: groups,
    m: rows,
    n: filters,
    k: pixels,
    ...operands,
    sizeY,
    columnsY: f,
    biasStride: 0,
    activation: "linear",
    constants: { ...geometry(attrs), B_BATCH: filters, B_COLUMN: 1, B_K: f, A_ALONG_K: false, B_ALONG_K: false },
    hooks: { ...access(channels, filters, filters), place_a: "place_window_of_tap", place_y: "place_row" },
  });
};

type Operands = Pick<Parameters<typeof encodeProduct>[1], "a" | "b" | "y">;

function directFilterGrad(
  out: DispatchWriter,
  attrs: ConvAttrs,
  { a, b, y }: Operands,
  { rows, pixels, sizeY }: { rows: number; pixels: number; sizeY: number },
): void {
  const blocks = Math.ceil(sizeY / DIRECT_FILTERS);
  const { splits, chunk } = splitOf(pixels, DIRECT_PIXELS, blocks * DIRECT_FILTERS * DIRECT_PIXELS, sizeY);
  const parts = splits > 1 ? out.temporary(4 * splits * sizeY) : null;
  out.dispatch(
    {
      file: "conv",
      entry: "direct_filter_grad",
      constants: { ...geometry(attrs), M: rows, K: pixels, ELEMENTS: sizeY, SPLITS: splits, CHUNK: chunk },
      hooks: { place_a: "place_window_of_tap" },
    },
    [a, b, null, parts ? parts.write : y],
    blocks * splits,
  );
  if (parts) addUp(out, parts.read, null, y, { splits, sizeY, columnsY: attrs.f, activation: "linear" });
}

/** `conv2dInputGrad(dy, w) -> dx`: a product for each phase of x's rows and columns, all in one dispatch. */
export const conv2dInputGrad: GpuEncoder = (call, out) => {
  const attrs = call.attrs as unknown as ConvAttrs;
  const { n, h, w: width, p, q, c, f, groups } = attrs;
  const [dy, w] = call.inputs;
  const channels = c / groups;
  const filters = f / groups;
  const sizeY = n * h * width * c;
  if (sizeY === 0) return;
  const rows = phasesOf(h, attrs.r, attrs.strideH, attrs.dilationH);
  const columns = phasesOf(width, attrs.s, attrs.strideW, attrs.dilationW);
  const k = n * p * q === 0 ? 0 : rows.taps * columns.taps * filters;
  const operands = { a: k === 0 ? null : read(dy), b: k === 0 ? null : read(w), bias: null, y: write(call.outputs[0]) };
  if (isPointwise(attrs)) {
    return encodeMatmul(out, {
      batch: 1,
      m: n * h * width,
      n: c,
      k,
      ...operands,
      stridesA: { batch: 0, along: f, k: 1 },
      stridesB: { batch: 0, along: f, k: 1 },
      activation: "linear",
    });
  }
  if (isNarrow(groups, channels)) {
    return out.dispatch(
      { file: "conv", entry: "direct_input_grad", constants: { ...geometry(attrs), ELEMENTS: sizeY } },
      [operands.a, operands.b, null, operands.y],
      Math.ceil(sizeY / DIRECT_THREADS),
    );
  }
  encodeProduct(out, {
    file: "conv",
    batch: groups * rows.phases * columns.phases,
    m: n * Math.ceil(h / rows.phases) * Math.ceil(width / columns.phases),
    n: channels,
    k,
    ...operands,
    sizeY,
    columnsY: c,
    biasStride: 0,
    activation: "linear",
    constants: {
      ...geometry(attrs),
      A_ALONG_K: true,
      B_ALONG_K: true,
      PHASES: [rows.phases, columns.phases],
      GCD: [rows.gcd, columns.gcd],
      TAP_STEP: [rows.step, columns.step],
      INVERSE: [rows.inverse, columns.inverse],
      PHASE_TAPS: [rows.taps, columns.taps],
    },
    hooks: {
      ...access(filters, filters, channels),
      place_a: "place_target",
      place_b: "place_tap",
      place_y: "place_pixel",
      depth: "depth_of_phase",
    },
  });
};

/**
 * How positions of one dimension of x meet taps: position h and tap r at (h + pad - r * dilation) / stride of y, where that divides.
 * Positions with the same remainder by the stride, a phase, meet every `step`-th tap, `taps` of them at most.
 */
function phasesOf(
  size: number,
  taps: number,
  stride: number,
  dilation: number,
): { phases: number; gcd: number; step: number; inverse: number; taps: number } {
  const gcd = greatestCommonDivisor(stride, dilation);
  const step = stride / gcd;
  // The inverse of dilation / gcd modulo step, which have no common divisor.
  let inverse = 0;
  while (step > 1 && (inverse * (dilation / gcd)) % step !== 1) inverse++;
  return { phases: Math.min(stride, size), gcd, step, inverse, taps: Math.ceil(taps / step) };
}

const greatestCommonDivisor = (a: number, b: number): number => (b === 0 ? a : greatestCommonDivisor(b, a % b));

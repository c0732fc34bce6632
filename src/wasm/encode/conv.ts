/**
 * @file Encodes the convolutions as products whose A is gathered (assembly/conv.ts), where neither tiles (conv/winograd.ts) nor windows
 * read in place (assembly/conv/narrow.ts) are faster. Groups are the product's batch.
 */
import type { ConvAttrs } from "../../plan/kernels.ts";
import type { Call } from "../../plan/plan.ts";
import { CONV2D, CONV2D_DEPTHWISE, CONV2D_FILTER_GRAD, CONV2D_NARROW, CONV2D_NARROW_FILTER_GRAD } from "../opcodes.ts";
import { at, read, write } from "../writer.ts";
import type { CommandWriter, Encoder, Word } from "../writer.ts";
import { ONE_TAP, activationCode, encodeCombine, encodeProduct } from "./matmul.ts";
import { encodeWinograd, encodeWinogradFilterGrad, encodeWinogradInputGrad } from "./conv/winograd.ts";
import { TRAINING } from "../../training.ts";

/** Pixels of a piece of CONV2D_NARROW, about, and fewest columns: a tile has 6 pixels of one or two rows. */
const NARROW_PIXELS = 256;
const NARROW_COLUMNS = 6;
/**
 * Most elements of a window there and of all filters, which stay in L1: with 8,192 it was as fast as packing, with fewer up to twice as
 * fast.
 */
const NARROW_K = 256;
const NARROW_FILTERS = 6144;
/** Most bytes that a piece copies of an image, to put zeros around. */
const NARROW_BYTES = 1 << 19;
/**
 * The gradient of the filters: most pixels of a piece (assembly/conv/narrow-grad.ts), and sums that are added up in the end, each of some
 * pieces.
 */
const NARROW_MOST_PIXELS = 1024;
const NARROW_PARTS = 16;

/**
 * The words that CONV2D_NARROW and its gradient share, from the image's rows on, and pieces of all images; null for convolutions that are
 * not theirs (assembly/conv/narrow.ts).
 */
function narrow(attrs: ConvAttrs, shift: boolean): { words: number[]; pieces: number; shifted: boolean; pixels: number } | null {
  const { n, h, w: columns, p, q, r, s, c, f, strideH, strideW, dilationH, dilationW, padTop, padLeft } = attrs;
  const k = r * s * c;
  if (attrs.groups !== 1 || f % 8 !== 0 || q < NARROW_COLUMNS || k > NARROW_K || k * f > NARROW_FILTERS) return null;
  const rows = Math.ceil(p / Math.ceil((p * q) / NARROW_PIXELS));
  const pieces = Math.ceil(p / rows);
  const span = (r - 1) * dilationH + 1;
  const width = (q - 1) * strideW + (s - 1) * dilationW + 1;
  const height = (rows - 1) * strideH + span;
  const shifted = shift && c * strideH * strideW === 1 && s * height * q * 4 <= NARROW_BYTES;
  const inside = padTop + padLeft === 0 && width <= columns && (p - 1) * strideH + span <= h;
  if (!inside && !shifted && height * width * c * 4 > NARROW_BYTES) return null;
  const words = [
    h,
    columns,
    c,
    p,
    q,
    f,
    strideH,
    strideW,
    dilationH,
    dilationW,
    padTop,
    padLeft,
    r,
    s,
    rows,
    pieces,
    shifted ? q : inside ? 0 : width,
  ];
  return { words, pieces: n * pieces, shifted, pixels: rows * q };
}

/** `conv2d` of few channels or filters; false, and nothing written, for others. */
function encodeNarrow({ inputs: [x, w, bias], outputs, attrs: given }: Call, out: CommandWriter): boolean {
  const attrs = given as unknown as ConvAttrs;
  const found = narrow(attrs, true);
  if (!found) return false;
  out.command(CONV2D_NARROW, found.pieces, [
    read(x),
    read(w),
    read(bias ?? null),
    write(outputs[0]),
    ...found.words,
    activationCode[attrs.activation],
    found.shifted ? attrs.s : 0,
  ]);
  return true;
}

/** The same for `conv2dFilterGrad`. */
function encodeNarrowFilterGrad({ inputs: [x, dy], outputs, attrs: given }: Call, out: CommandWriter): boolean {
  const attrs = given as unknown as ConvAttrs;
  const found = narrow(attrs, false);
  if (!found || found.pieces === 0 || found.pixels > NARROW_MOST_PIXELS) return false;
  const rows = attrs.r * attrs.s * attrs.c;
  const perPiece = Math.ceil(found.pieces / NARROW_PARTS);
  const pieces = Math.ceil(found.pieces / perPiece);
  const parts = pieces > 1 ? out.shared(pieces * rows * attrs.f * 4) : null;
  const y = write(outputs[0]);
  out.command(CONV2D_NARROW_FILTER_GRAD, pieces, [read(x), read(dy), 0, parts?.write ?? y, ...found.words, found.pieces, 0, perPiece]);
  if (parts) encodeCombine(out, { parts: parts.read, count: pieces, bias: 0, y, rows, columns: attrs.f, activation: "linear" });
  return true;
}

/** Multiply-adds of a piece of CONV2D_DEPTHWISE, about. */
const DEPTHWISE_WORK = 1 << 16;

/**
 * `conv2d` of as many groups as there are channels and filters; false, and nothing written, for others. `turned`: with the taps from the
 * last to the first, as its gradient by the input has them.
 */
function encodeDepthwise(operands: readonly Word[], attrs: ConvAttrs, turned: boolean, out: CommandWriter): boolean {
  const { n, h, w, c, p, q, r, s, f, groups } = attrs;
  if (groups === 1 || groups !== c || f !== c) return false;
  const rows = Math.max(1, Math.min(p, Math.round(DEPTHWISE_WORK / Math.max(1, q * c * r * s))));
  const pieces = Math.ceil(p / rows);
  out.command(CONV2D_DEPTHWISE, n * pieces, [
    ...operands,
    h,
    w,
    c,
    p,
    q,
    attrs.strideH,
    attrs.strideW,
    attrs.dilationH,
    attrs.dilationW,
    attrs.padTop >>> 0,
    attrs.padLeft >>> 0,
    r,
    s,
    rows,
    pieces,
    activationCode[attrs.activation],
    (turned ? -c * 4 : c * 4) >>> 0,
    turned ? (r * s - 1) * c * 4 : 0,
  ]);
  return true;
}

/** `conv2d(x, w, bias?) -> y`: [N*P*Q, R*S*C] windows of x times w as it is. */
export const conv2d: Encoder = (call, out) => {
  if (encodeWinograd(call, out) || encodeNarrow(call, out)) return;
  const attrs = call.attrs as unknown as ConvAttrs;
  const { n, p, q, r, s, c, f, groups } = attrs;
  const filters = f / groups;
  const [x, w, bias] = call.inputs;
  if (encodeDepthwise([read(x), read(w), read(bias ?? null), write(call.outputs[0])], attrs, false, out)) return;
  encodeProduct(
    out,
    CONV2D,
    {
      batch: groups,
      m: n * p * q,
      n: filters,
      k: (r * s * c) / groups,
      a: read(x),
      strideA: (c / groups) * 4,
      b: { word: read(w), stride: groups === 1 ? 0 : filters * 4, ld: f * 4, transposed: false, taps: ONE_TAP },
      bias: read(bias ?? null),
      strideBias: filters * 4,
      c: write(call.outputs[0]),
      strideC: filters * 4,
      rowsC: n * p * q,
      columnsC: f,
      activation: attrs.activation,
    },
    [...windowsOfX(attrs), 0],
  );
};

/** `conv2dFilterGrad(x, dy) -> dw`: the transposed windows of x times dy[N*P*Q, F]. */
export const conv2dFilterGrad: Encoder = (call, out) => {
  if (encodeWinogradFilterGrad(call, out) || encodeNarrowFilterGrad(call, out)) return;
  const attrs = call.attrs as unknown as ConvAttrs;
  const { n, p, q, r, s, c, f, groups } = attrs;
  const filters = f / groups;
  const rows = (r * s * c) / groups;
  const [x, dy] = call.inputs;
  encodeProduct(
    out,
    CONV2D_FILTER_GRAD,
    {
      batch: groups,
      m: rows,
      n: filters,
      k: n * p * q,
      a: read(x),
      strideA: (c / groups) * 4,
      b: { word: read(dy), stride: groups === 1 ? 0 : filters * 4, ld: f * 4, transposed: false, taps: ONE_TAP },
      bias: 0,
      strideBias: 0,
      c: write(call.outputs[0]),
      strideC: filters * 4,
      rowsC: rows,
      columnsC: f,
      activation: "linear",
    },
    windowsOfX(attrs),
  );
};

/**
 * `conv2dInputGrad(dy, w) -> dx`: for each pixel of x the window of dy that it went into, [N*H*W, R*S*F], times w with C and F exchanged.
 * Rows of x with the same remainder by the stride (a phase) meet the same taps; each pair of phases is a product of its own.
 */
export const conv2dInputGrad: Encoder = (call, out) => {
  if (TRAINING && encodeWinogradInputGrad(call, out)) return;
  const attrs = call.attrs as unknown as ConvAttrs;
  const { n, h, w: width, p, q, s, c, f, groups } = attrs;
  const channels = c / groups;
  const filters = f / groups;
  const [dy, w] = call.inputs;
  if (TRAINING && attrs.strideH * attrs.strideW === 1) {
    const padTop = (attrs.r - 1) * attrs.dilationH - attrs.padTop;
    const padLeft = (s - 1) * attrs.dilationW - attrs.padLeft;
    const back: ConvAttrs = { ...attrs, h: p, w: q, p: h, q: width, padTop, padLeft, activation: "linear" };
    if (encodeDepthwise([read(dy), read(w), 0, write(call.outputs[0])], back, true, out)) return;
  }
  const tapBytes = channels * f * 4;
  const rows = phases(h, attrs.r, attrs.strideH, attrs.dilationH, attrs.padTop).flatMap((phase) => withoutBorder(phase, attrs.strideH, p));
  const spread = rows.length > 1 || attrs.strideW > 1;
  for (const row of rows) {
    for (const column of phases(width, s, attrs.strideW, attrs.dilationW, attrs.padLeft)) {
      encodeProduct(
        out,
        CONV2D,
        {
          batch: groups,
          m: n * row.count * column.count,
          n: channels,
          k: row.taps * column.taps * filters,
          a: read(dy),
          strideA: filters * 4,
          b: {
            word: at(read(w), (row.tap * s + column.tap) * tapBytes),
            stride: groups === 1 ? 0 : filters * 4,
            ld: f * 4,
            transposed: true,
            taps: { rows: row.taps, columns: column.taps, rowStride: row.tapStep * s * tapBytes, columnStride: column.tapStep * tapBytes },
          },
          bias: 0,
          strideBias: 0,
          c: write(call.outputs[0]),
          strideC: channels * 4,
          rowsC: n * h * width,
          columnsC: c,
          activation: "linear",
          spread,
        },
        [
          // With no tap at all (K = 0) the kernel still divides by the last two.
          p,
          q,
          f * 4,
          row.count,
          column.count,
          row.taps,
          Math.max(1, column.taps),
          Math.max(1, filters),
          1,
          row.first >>> 0,
          -row.dilation >>> 0,
          1,
          column.first >>> 0,
          -column.dilation >>> 0,
          spread ? h : 0,
          width,
          row.phase,
          column.phase,
          attrs.strideH,
          attrs.strideW,
        ],
      );
    }
  }
};

interface Phase {
  /** Positions phase, phase + stride, ... of x: `count` of them. */
  readonly phase: number;
  readonly count: number;
  /** Taps tap, tap + tapStep, ...: `taps` of them. */
  readonly tap: number;
  readonly tapStep: number;
  readonly taps: number;
  /** Position i and the j-th of these taps meet at first + i - j * dilation of y. */
  readonly first: number;
  readonly dilation: number;
}

/** Position h of x and tap r meet at (h + pad - r * dilation) / stride of y, where that divides. */
function phases(size: number, taps: number, stride: number, dilation: number, pad: number): Phase[] {
  const list: Phase[] = [];
  for (let phase = 0; phase < Math.min(stride, size); phase++) {
    const matching = Array.from({ length: taps }, (_, r) => r).filter((r) => (phase + pad - r * dilation) % stride === 0);
    const tap = matching[0] ?? 0;
    const tapStep = matching.length > 1 ? matching[1] - tap : 0;
    list.push({
      phase,
      count: Math.ceil((size - phase) / stride),
      tap,
      tapStep,
      taps: matching.length,
      first: matching.length === 0 ? 0 : (phase + pad - tap * dilation) / stride,
      dilation: (tapStep * dilation) / stride,
    });
  }
  return list;
}

/**
 * A phase cut into runs of positions that meet the same taps inside the `size` rows of y, so that products leave out rows of zeros, where
 * that saves more than a tenth of the work: convolutions without padding, of large filters. (Columns as well would make products of few
 * rows.)
 */
function withoutBorder(phase: Phase, stride: number, size: number): Phase[] {
  const { count, taps, tapStep, dilation } = phase;
  if (taps < 2 || count === 0) return [phase];
  const runs: Phase[] = [];
  let work = 0;
  let from = 0;
  const low = (i: number): number => Math.max(0, Math.ceil((phase.first + i - size + 1) / dilation));
  const high = (i: number): number => Math.min(taps, Math.floor((phase.first + i) / dilation) + 1);
  for (let i = 0; i < count; i++) {
    const least = low(i);
    const inside = Math.max(0, high(i) - least);
    work += inside;
    if (i + 1 < count && low(i + 1) === least && high(i + 1) === high(i)) continue;
    runs.push({
      phase: phase.phase + from * stride,
      count: i + 1 - from,
      tap: inside === 0 ? 0 : phase.tap + least * tapStep,
      tapStep,
      taps: inside,
      first: inside === 0 ? 0 : phase.first + from - least * dilation,
      dilation,
    });
    from = i + 1;
  }
  return work < 0.9 * count * taps ? runs : [phase];
}

/** The geometry words of assembly/conv.ts for windows of x on the grid of y. */
function windowsOfX(attrs: ConvAttrs): number[] {
  const { h, w, c, p, q, r, s, groups } = attrs;
  // Where windows stay inside the rows of x and take all channels, a row of taps is one run of memory.
  const whole = groups === 1 && attrs.dilationW === 1 && attrs.padLeft === 0 && (q - 1) * attrs.strideW + s <= w;
  return [
    h,
    w,
    c * 4,
    p,
    q,
    r,
    whole ? 1 : s,
    whole ? s * c : c / groups,
    attrs.strideH,
    -attrs.padTop >>> 0,
    attrs.dilationH,
    attrs.strideW,
    -attrs.padLeft >>> 0,
    attrs.dilationW,
  ];
}

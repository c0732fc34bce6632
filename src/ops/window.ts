/** @file Geometry that convolution and pooling share. */
import { checkOneOf, shown } from "../check.ts";
import { ArgumentError, ShapeError } from "../errors.ts";
import type { WindowAttrs } from "../plan/kernels.ts";
import { showShape } from "../shape.ts";
import type { Shape } from "../shape.ts";

/** One number for both directions, or [height, width]. */
export type Pair = number | readonly [number, number];
/** `valid`: none; `same`: so that the output is ceil(input / stride), the odd element at the end. */
export type Padding = "valid" | "same";
/** And `causal`: as much as the window reaches back, all at the start, so that no output sees later inputs. */
export type ConvPadding = Padding | "causal";
/** So many rows and columns around: [[top, bottom], [left, right]]. */
export type Pads = readonly [readonly [number, number], readonly [number, number]];

export function pair(who: string, value: Pair, least = 1): readonly [number, number] {
  const both = typeof value === "number" ? [value, value] : value;
  if (!Array.isArray(both) || both.length !== 2 || both.some((v) => !Number.isInteger(v) || v < least)) {
    throw new ArgumentError(
      `${who}: expected an integer >= ${least} or two of them, got ${Array.isArray(value) ? JSON.stringify(value) : shown(value)}`,
    );
  }
  return [both[0], both[1]];
}

/** Output length and padding before of one dimension, by TensorFlow's rules: the odd element of SAME goes at the end. */
export function along(
  size: number,
  kernel: number,
  stride: number,
  dilation: number,
  padding: ConvPadding | readonly [number, number],
): readonly [number, number] {
  const span = (kernel - 1) * dilation + 1;
  if (padding === "valid") padding = [0, 0];
  if (typeof padding !== "string") {
    const [before, after] = padding;
    return [Math.max(0, Math.floor((size + before + after - span) / stride) + 1), before];
  }
  const out = Math.ceil(size / stride);
  if (padding === "causal") return [out, span - 1];
  return [out, Math.floor(Math.max(0, (out - 1) * stride + span - size) / 2)];
}

/** @throws ArgumentError unless it is [[top, bottom], [left, right]] */
function checkPads(who: string, padding: unknown): void {
  const isCount = (v: unknown): boolean => Number.isInteger(v) && (v as number) >= 0;
  const isPair = (v: unknown, item: (of: unknown) => boolean): boolean => Array.isArray(v) && v.length === 2 && v.every(item);
  if (!isPair(padding, (p) => isPair(p, isCount)))
    throw new ArgumentError(`${who}: padding in numbers is [[top, bottom], [left, right]], integers >= 0, got ${shown(padding)}`);
}

/** A window as options give it; rows come before columns. */
interface WindowOptions {
  readonly size: readonly [number, number];
  readonly strides: readonly [number, number];
  /** Default 1. */
  readonly dilation?: readonly [number, number];
  readonly padding: ConvPadding | Pads;
  /** What `padding` may be, beside numbers. Default `valid` and `same`. */
  readonly paddings?: readonly ConvPadding[];
}

/**
 * The windows of an input [N, H, W, C]. @throws ShapeError unless that is its shape and the window fits, ArgumentError for an unknown
 * padding.
 */
export function windowOf(who: string, shape: Shape, options: WindowOptions): WindowAttrs {
  const {
    size: [r, s],
    strides,
    dilation = [1, 1],
    padding,
    paddings = ["valid", "same"],
  } = options;
  if (shape.length !== 4) throw new ShapeError(`${who}: expected [batch, height, width, channels], got ${showShape(shape)}`);
  if (typeof padding === "string") checkOneOf(who, "padding", padding, paddings);
  else checkPads(who, padding);
  const [rows, columns] = typeof padding === "string" ? [padding, padding] : padding;
  const [n, h, w, c] = shape;
  const [p, padTop] = along(h, r, strides[0], dilation[0], rows);
  const [q, padLeft] = along(w, s, strides[1], dilation[1], columns);
  if (p === 0 || q === 0) {
    const span = `${(r - 1) * dilation[0] + 1}x${(s - 1) * dilation[1] + 1}`;
    throw new ShapeError(`${who}: a window of ${span} does not fit into the ${h}x${w} input; use padding "same" or a smaller window`);
  }
  return {
    n,
    h,
    w,
    c,
    p,
    q,
    r,
    s,
    strideH: strides[0],
    strideW: strides[1],
    dilationH: dilation[0],
    dilationW: dilation[1],
    padTop,
    padLeft,
  };
}

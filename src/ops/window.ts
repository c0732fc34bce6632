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
function along(size: number, kernel: number, stride: number, dilation: number, padding: ConvPadding): readonly [number, number] {
  const span = (kernel - 1) * dilation + 1;
  if (padding === "valid") return [Math.max(0, Math.floor((size - span) / stride) + 1), 0];
  const out = Math.ceil(size / stride);
  if (padding === "causal") return [out, span - 1];
  return [out, Math.floor(Math.max(0, (out - 1) * stride + span - size) / 2)];
}

/** A window as options give it; rows come before columns. */
interface WindowOptions {
  readonly size: readonly [number, number];
  readonly strides: readonly [number, number];
  /** Default 1. */
  readonly dilation?: readonly [number, number];
  readonly padding: ConvPadding;
  /** What `padding` may be. Default `valid` and `same`. */
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
  checkOneOf(who, "padding", padding, paddings);
  const [n, h, w, c] = shape;
  const [p, padTop] = along(h, r, strides[0], dilation[0], padding);
  const [q, padLeft] = along(w, s, strides[1], dilation[1], padding);
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

/** @file Windows of convolutions and pooling along each dimension of an image, as attributes give them. */
import type { DepthWindows } from "../ops/volumes.ts";
import type { Call } from "./call.ts";

/** A window along one dimension. */
export interface Along extends DepthWindows {
  /** Elements of the input. */
  readonly size: number;
}

/** From the first tap to the last. */
export const spanOf = (taps: number, dilation: number): number => (taps - 1) * dilation + 1;

/** Numbers of an attribute, one for each dimension, none below `least`. */
export function perDimension(call: Call, name: string, dimensions: number, absent: number, least: number): number[] {
  const list = call.ints(name) ?? new Array<number>(dimensions).fill(absent);
  if (list.length !== dimensions || list.some((v) => v < least))
    throw call.fault(`${name} must be ${dimensions} integers of at least ${least}, got [${list.join()}]`);
  return list;
}

/** Padding in numbers: before and behind each dimension. */
export function padsOf(call: Call, dimensions: number): [number, number][] {
  const list = call.ints("pads") ?? new Array<number>(2 * dimensions).fill(0);
  if (list.length !== 2 * dimensions || list.some((v) => v < 0))
    throw call.fault(`pads must be ${2 * dimensions} integers of at least 0, got [${list.join()}]`);
  return Array.from({ length: dimensions }, (_, i) => [list[i], list[dimensions + i]]);
}

export const autoPad = (call: Call): string => call.word("auto_pad", ["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]);

/** Half of a padding goes before, the odd element where `auto_pad` says. */
export function shared(total: number, isLower: boolean): [number, number] {
  const less = Math.floor(total / 2);
  return isLower ? [total - less, less] : [less, total - less];
}

/** Windows of `taps` over dimensions of `sizes`. `ceil`: a last window may reach beyond the padding. */
export function windowsOf(call: Call, sizes: readonly number[], taps: readonly number[], ceil = false): Along[] {
  const n = sizes.length;
  if (taps.length !== n || taps.some((t) => t < 1)) throw call.fault(`kernel_shape [${taps.join()}] for ${n} dimensions`);
  const strides = perDimension(call, "strides", n, 1, 1);
  const dilations = perDimension(call, "dilations", n, 1, 1);
  const auto = autoPad(call);
  const pads = auto === "NOTSET" ? padsOf(call, n) : null;
  return sizes.map((size, i) => {
    const [stride, dilation] = [strides[i], dilations[i]];
    const span = spanOf(taps[i], dilation);
    const same = Math.ceil(size / stride);
    const [begin, end] =
      pads?.[i] ?? (auto === "VALID" ? [0, 0] : shared(Math.max(0, (same - 1) * stride + span - size), auto === "SAME_LOWER"));
    const steps = (size + begin + end - span) / stride;
    let count = pads !== null && ceil ? Math.ceil(steps) + 1 : Math.floor(steps) + 1;
    // None begins behind the input: it would see nothing.
    if (pads !== null && ceil && (count - 1) * stride >= size + begin) count--;
    return { size, taps: taps[i], stride, dilation, begin, end, count: Math.max(0, count) };
  });
}

/** Elements behind the input that windows reach. */
export const reachOf = ({ size, taps, stride, dilation, begin, count }: Along): number =>
  Math.max(0, (count - 1) * stride + spanOf(taps, dilation) - size - begin);

/** Taps of each window inside [-before, size + behind). */
export const insideOf = ({ size, taps, stride, dilation, begin, count }: Along, before = 0, behind = 0): number[] =>
  Array.from({ length: count }, (_, i) => {
    let n = 0;
    for (let t = 0; t < taps; t++) {
      const at = i * stride - begin + t * dilation;
      if (at >= -before && at < size + behind) n++;
    }
    return n;
  });

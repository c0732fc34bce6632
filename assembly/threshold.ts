/**
 * @file The element of each row from which on the largest hold a given weight.
 *
 * massThreshold  x, weights?, mass, y, rows, cols, shared, rowsPerPiece
 *                A piece is a run of rows. Bisection, in turns between values and between the integers that are ordered as floats are, so
 *                that it takes few steps where values are spread evenly, and at most 64. Where a fourth of the elements is left between
 *                the ends, these go on alone. Sums are taken in blocks, in an order that the row alone decides.
 */
import { SCRATCH_BYTES } from "../src/wasm/opcodes";
import { tailMask, vmax, vmin } from "./simd";

/** Elements that are added as f32 before they join the sum, which is f64. */
const BLOCK: u32 = 1024;
/** In scratch: how many elements are at least the pivot, then those that are left, and their weights. */
const COUNT: usize = 0;
const LEFT: usize = 16;
const MOST_LEFT: u32 = (SCRATCH_BYTES - 64) / 8;
const LEFT_WEIGHTS: usize = LEFT + 16 + 4 * MOST_LEFT;
/** So few are not worth being made fewer. */
const FEW: u32 = 64;

/** The number that is ordered among integers as a float is among floats, and back. */
// @ts-ignore: decorator
@inline
function keyOf(v: f32): i32 {
  const bits = reinterpret<i32>(v);
  return bits ^ (<i32>((<u32>(bits >> 31)) >> 1));
}

// @ts-ignore: decorator
@inline
function valueOf(key: i32): f32 {
  return reinterpret<f32>(key ^ (<i32>((<u32>(key >> 31)) >> 1)));
}

// @ts-ignore: decorator
@inline
function sumOf(v: v128): f64 {
  const halves = f64x2.add(f64x2.promote_low_f32x4(v), f64x2.promote_low_f32x4(i32x4.shuffle(v, v, 2, 3, 0, 1)));
  return f64x2.extract_lane(halves, 0) + f64x2.extract_lane(halves, 1);
}

// @ts-ignore: decorator
@inline
function total(v: v128): u32 {
  const s = i32x4.add(v, i32x4.shuffle(v, v, 2, 3, 0, 1));
  return i32x4.extract_lane(s, 0) + i32x4.extract_lane(s, 1);
}

/** What of the weights at w those weigh of which the bits in `mask` are set. */
// @ts-ignore: decorator
@inline
function weightOf(w: usize, mask: v128): v128 {
  return v128.and(mask, vmax(v128.load(w), f32x4.splat(0)));
}

/** What the elements weigh that are at least `least`; how many they are is left at `count`. */
function weightFrom(x: usize, w: usize, n: u32, least: f32, count: usize): f64 {
  const pivot = f32x4.splat(least);
  let counted = i32x4.splat(0),
    sum: f64 = 0;
  while (n > 0) {
    let here = min(n, BLOCK);
    n -= here;
    let a = f32x4.splat(0),
      b = a;
    for (; here >= 8; here -= 8, x += 32, w += 32) {
      const first = f32x4.ge(v128.load(x), pivot),
        second = f32x4.ge(v128.load(x, 16), pivot);
      a = f32x4.add(a, weightOf(w, first));
      b = f32x4.add(b, weightOf(w + 16, second));
      counted = i32x4.sub(i32x4.sub(counted, first), second);
    }
    for (; here; x += 16, w += 16) {
      const mask = v128.and(f32x4.ge(v128.load(x), pivot), tailMask(here));
      a = f32x4.add(a, weightOf(w, mask));
      counted = i32x4.sub(counted, mask);
      here -= min(here, 4);
    }
    sum += sumOf(f32x4.add(a, b));
  }
  store<u32>(count, total(counted));
  return sum;
}

/** The same where each element weighs 1. */
function countFrom(x: usize, n: u32, least: f32, count: usize): f64 {
  const pivot = f32x4.splat(least);
  let a = i32x4.splat(0),
    b = a;
  for (; n >= 8; n -= 8, x += 32) {
    a = i32x4.sub(a, f32x4.ge(v128.load(x), pivot));
    b = i32x4.sub(b, f32x4.ge(v128.load(x, 16), pivot));
  }
  for (; n; x += 16) {
    a = i32x4.sub(a, v128.and(f32x4.ge(v128.load(x), pivot), tailMask(n)));
    n -= min(n, 4);
  }
  const counted = total(i32x4.add(a, b));
  store<u32>(count, counted);
  return <f64>counted;
}

/** Puts the elements in [low, high], and their weights, one after another into scratch, which they may come from. Gives their number. */
function keepBetween(x: usize, w: usize, n: u32, low: f32, high: f32, scratch: usize): u32 {
  const from = f32x4.splat(low),
    to = f32x4.splat(high);
  let kept: u32 = 0;
  for (let i: u32 = 0; i < n; i += 4) {
    const v = v128.load(x + (i << 2));
    let inside = i32x4.bitmask(v128.and(v128.and(f32x4.ge(v, from), f32x4.le(v, to)), tailMask(n - i)));
    while (inside) {
      const at = (i + ctz(inside)) << 2;
      inside &= inside - 1;
      store<f32>(scratch + LEFT + (kept << 2), load<f32>(x + at));
      if (w) store<f32>(scratch + LEFT_WEIGHTS + (kept << 2), load<f32>(w + at));
      kept++;
    }
  }
  return kept;
}

/** The threshold of a row. */
function thresholdOf(x: usize, w: usize, n: u32, mass: f64, scratch: usize): f32 {
  let most = f32x4.splat(-Infinity),
    least = f32x4.splat(Infinity),
    numbers = f32x4.eq(least, least);
  for (let i: u32 = 0; i < n; i += 4) {
    // Past the end the row's first element again.
    const v = v128.bitselect(v128.load(x + (i << 2)), v128.load32_splat(x), tailMask(n - i));
    most = vmax(v, most);
    least = vmin(v, least);
    numbers = v128.and(numbers, f32x4.eq(v, v));
  }
  least = v128.bitselect(least, f32x4.splat(-Infinity), numbers);
  most = vmax(i32x4.shuffle(most, most, 2, 3, 0, 1), most);
  least = vmin(i32x4.shuffle(least, least, 2, 3, 0, 1), least);
  // + 0: both zeros are one.
  const largest = max(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1)) + 0;
  const smallest = min(f32x4.extract_lane(least, 0), f32x4.extract_lane(least, 1)) + 0;
  if (mass <= 0) return largest;

  let low = keyOf(smallest),
    high = keyOf(largest);
  /** Weights of what is before all that is left and of what is beyond `high`; how many of what is left are at least `low`, and beyond. */
  let before: f64 = 0,
    above: f64 = 0;
  let fromLow = n,
    beyond: u32 = 0;
  for (let turn: u32 = 0; low < high; turn++) {
    const apart = <u32>high - <u32>low;
    let middle = low + <i32>(apart - (apart >> 1));
    const between = keyOf(valueOf(low) * 0.5 + valueOf(high) * 0.5);
    if (!(turn & 1) && between > low && between <= high) middle = between;
    const pivot = valueOf(middle);
    const weight = before + (w ? weightFrom(x, w, n, pivot, scratch + COUNT) : countFrom(x, n, pivot, scratch + COUNT));
    const count = load<u32>(scratch, COUNT);
    if (weight >= mass) {
      low = middle;
      fromLow = count;
    } else {
      // Neither zero: they are equal.
      high = middle == 0 ? -2 : middle - 1;
      beyond = count;
      above = weight;
    }
    const left = fromLow - beyond;
    if (n > FEW && left <= n >> 2 && left <= MOST_LEFT) {
      n = keepBetween(x, w, n, valueOf(low), valueOf(high), scratch);
      x = scratch + LEFT;
      if (w) w = scratch + LEFT_WEIGHTS;
      before = above;
      fromLow = n;
      beyond = 0;
    }
  }
  const found = valueOf(low);
  if (found == smallest) return smallest;
  // Sums of fewer elements may be rounded otherwise than those of all, so that what was found may lie below the element that it stands for.
  let next: f32 = largest;
  for (let i: u32 = 0; i < n; i++) {
    const v = load<f32>(x + (i << 2));
    if (v >= found) next = min(next, v);
  }
  return next + 0;
}

export function massThreshold(c: usize, piece: u32, scratch: usize): void {
  const x = <usize>load<u32>(c),
    w = <usize>load<u32>(c, 4),
    mass = <usize>load<u32>(c, 8),
    y = <usize>load<u32>(c, 12);
  const rows = load<u32>(c, 16),
    cols = load<u32>(c, 20),
    shared = load<u32>(c, 24),
    perPiece = load<u32>(c, 28);
  const last = min(rows, (piece + 1) * perPiece);
  for (let row = piece * perPiece; row < last; row++) {
    const at = (row * cols) << 2;
    store<f32>(y + (row << 2), thresholdOf(x + at, w ? w + at : 0, cols, load<f32>(shared ? mass : mass + (row << 2)), scratch));
  }
}

/**
 * @file Tiles of a product: sums in registers, over the k's of one block. What a block's tiles have in common stands in the fields of the
 * piece at `f` (gemm.ts): 40 bytes between rows of y  44 K  48 bytes between k's of A  52 between panels of A  56 between k's of B
 * 60 between rows of init, 0 where all begin with the same  64 floor.
 */
import { madd, storeTail, vmax } from "../simd";

/**
 * Rows of a tile. The FMA build keeps 12 sums, 2 vectors of B and 1 of A in V8's 15 registers. Without FMA older V8 loads all of A first,
 * and spills above 4.
 */
export const MR: u32 = ASC_FEATURE_RELAXED_SIMD ? 6 : 4;
/** Columns of a tile. */
export const NR: u32 = 8;
/** Rows of B that a product of one row reads at once. */
const ROWS_AT_ONCE: u32 = 8;
/** Bytes from one k to the next in a packed panel of A. */
export const A_STEP: u32 = MR * 4;

/**
 * The fields at `f` that `multiplyTiles` reads, for products that are no piece of a command: K, the bytes between k's and between panels of
 * A, between k's of B, between rows of init (0: all begin with the same) and of y.
 */
// @ts-ignore: decorator
@inline
export function setTiles(f: usize, k: u32, aStep: u32, aPanel: u32, bStep: u32, initStep: u32, ldc: u32): void {
  store<u32>(f, ldc, 40);
  store<u32>(f, k, 44);
  store<u32>(f, aStep, 48);
  store<u32>(f, aPanel, 52);
  store<u32>(f, bStep, 56);
  store<u32>(f, initStep, 60);
  store<f32>(f, -Infinity, 64);
}

/**
 * y[R, 4V] = max(init + A panel * B panel, floor) for `tiles` panels of A under each other; `cols` columns are stored.
 * The rest (K, steps, floor) is in the fields at `f`.
 */
// @ts-ignore: decorator
@inline
function tile(R: u32, V: u32, f: usize, tiles: u32, panel: usize, bPanel: usize, y: usize, init: usize, cols: u32): void {
  const aStep = load<u32>(f, 48);
  const aPanel = load<u32>(f, 52);
  const bStep = load<u32>(f, 56);
  const initStep = load<u32>(f, 60);
  const ldc = load<u32>(f, 40);
  const end = bPanel + load<u32>(f, 44) * bStep;
  const low = v128.load_splat<f32>(f, 64);
  for (; tiles; tiles--, panel += aPanel) {
    let c00 = v128.load(init);
    let c01 = c00;
    if (V > 1) c01 = v128.load(init, 16);
    init += initStep;
    let c10 = c00;
    let c11 = c00;
    let c20 = c00;
    let c21 = c00;
    let c30 = c00;
    let c31 = c00;
    let c40 = c00;
    let c41 = c00;
    let c50 = c00;
    let c51 = c00;
    if (R > 1) {
      c10 = v128.load(init);
      if (V > 1) c11 = v128.load(init, 16);
      init += initStep;
    }
    if (R > 2) {
      c20 = v128.load(init);
      if (V > 1) c21 = v128.load(init, 16);
      init += initStep;
    }
    if (R > 3) {
      c30 = v128.load(init);
      if (V > 1) c31 = v128.load(init, 16);
      init += initStep;
    }
    if (R > 4) {
      c40 = v128.load(init);
      if (V > 1) c41 = v128.load(init, 16);
      init += initStep;
    }
    if (R > 5) {
      c50 = v128.load(init);
      if (V > 1) c51 = v128.load(init, 16);
      init += initStep;
    }
    let a = panel;
    // V8 unrolls this itself. By hand, Binaryen moves multiply-adds of one k behind the loads of the next, and registers run out.
    for (let b = bPanel; b != end; b += bStep) {
      const b0 = v128.load(b);
      let b1 = b0;
      if (V > 1) b1 = v128.load(b, 16);
      const a0 = v128.load_splat<f32>(a);
      c00 = madd(a0, b0, c00);
      if (V > 1) c01 = madd(a0, b1, c01);
      if (R > 1) {
        const x = v128.load_splat<f32>(a, 4);
        c10 = madd(x, b0, c10);
        if (V > 1) c11 = madd(x, b1, c11);
      }
      if (R > 2) {
        const x = v128.load_splat<f32>(a, 8);
        c20 = madd(x, b0, c20);
        if (V > 1) c21 = madd(x, b1, c21);
      }
      if (R > 3) {
        const x = v128.load_splat<f32>(a, 12);
        c30 = madd(x, b0, c30);
        if (V > 1) c31 = madd(x, b1, c31);
      }
      if (R > 4) {
        const x = v128.load_splat<f32>(a, 16);
        c40 = madd(x, b0, c40);
        if (V > 1) c41 = madd(x, b1, c41);
      }
      if (R > 5) {
        const x = v128.load_splat<f32>(a, 20);
        c50 = madd(x, b0, c50);
        if (V > 1) c51 = madd(x, b1, c51);
      }
      a += aStep;
    }
    put(V, y, vmax(low, c00), vmax(low, c01), cols);
    y += ldc;
    if (R > 1) {
      put(V, y, vmax(low, c10), vmax(low, c11), cols);
      y += ldc;
    }
    if (R > 2) {
      put(V, y, vmax(low, c20), vmax(low, c21), cols);
      y += ldc;
    }
    if (R > 3) {
      put(V, y, vmax(low, c30), vmax(low, c31), cols);
      y += ldc;
    }
    if (R > 4) {
      put(V, y, vmax(low, c40), vmax(low, c41), cols);
      y += ldc;
    }
    if (R > 5) {
      put(V, y, vmax(low, c50), vmax(low, c51), cols);
      y += ldc;
    }
  }
}

/**
 * y = max(init + a b, floor): one row of a times `panels` panels of row-major B, side by side. Each element of B is used once, so it is
 * read as it lies in memory, some rows at a time, and the sums, which stay in L1, are read and written as often. `initStep`: bytes between
 * panels of init.
 */
export function multiplyRow(
  a: usize,
  aStep: u32,
  b: usize,
  bStep: u32,
  kc: u32,
  y: usize,
  init: usize,
  initStep: u32,
  panels: u32,
  floor: f32,
): void {
  const end = y + panels * NR * 4;
  for (; kc >= ROWS_AT_ONCE; kc -= ROWS_AT_ONCE) {
    addRows(true, a, aStep, b, bStep, y, end, init, initStep, kc == ROWS_AT_ONCE ? floor : -Infinity);
    a += ROWS_AT_ONCE * aStep;
    b += ROWS_AT_ONCE * bStep;
    init = y;
    initStep = NR * 4;
  }
  for (; kc; kc--) {
    addRows(false, a, aStep, b, bStep, y, end, init, initStep, kc == 1 ? floor : -Infinity);
    a += aStep;
    b += bStep;
    init = y;
    initStep = NR * 4;
  }
}

// @ts-ignore: decorator
@inline
function addRows(
  all: bool,
  a: usize,
  aStep: u32,
  b: usize,
  bStep: u32,
  y: usize,
  end: usize,
  init: usize,
  initStep: u32,
  floor: f32,
): void {
  const low = f32x4.splat(floor);
  const x0 = v128.load_splat<f32>(a);
  let x1 = x0;
  let x2 = x0;
  let x3 = x0;
  let x4 = x0;
  let x5 = x0;
  let x6 = x0;
  let x7 = x0;
  if (all) {
    x1 = v128.load_splat<f32>(a + aStep);
    x2 = v128.load_splat<f32>(a + 2 * aStep);
    x3 = v128.load_splat<f32>(a + 3 * aStep);
    x4 = v128.load_splat<f32>(a + 4 * aStep);
    x5 = v128.load_splat<f32>(a + 5 * aStep);
    x6 = v128.load_splat<f32>(a + 6 * aStep);
    x7 = v128.load_splat<f32>(a + 7 * aStep);
  }
  for (; y != end; y += NR * 4, init += initStep, b += NR * 4) {
    let s = madd(x0, v128.load(b), v128.load(init));
    let t = madd(x0, v128.load(b, 16), v128.load(init, 16));
    if (all) {
      let p = b + bStep;
      s = madd(x1, v128.load(p), s);
      t = madd(x1, v128.load(p, 16), t);
      p += bStep;
      s = madd(x2, v128.load(p), s);
      t = madd(x2, v128.load(p, 16), t);
      p += bStep;
      s = madd(x3, v128.load(p), s);
      t = madd(x3, v128.load(p, 16), t);
      p += bStep;
      s = madd(x4, v128.load(p), s);
      t = madd(x4, v128.load(p, 16), t);
      p += bStep;
      s = madd(x5, v128.load(p), s);
      t = madd(x5, v128.load(p, 16), t);
      p += bStep;
      s = madd(x6, v128.load(p), s);
      t = madd(x6, v128.load(p, 16), t);
      p += bStep;
      s = madd(x7, v128.load(p), s);
      t = madd(x7, v128.load(p, 16), t);
    }
    v128.store(y, vmax(low, s));
    v128.store(y, vmax(low, t), 16);
  }
}

// @ts-ignore: decorator
@inline
function put(V: u32, y: usize, v0: v128, v1: v128, cols: u32): void {
  if (V > 1) {
    v128.store(y, v0);
    if (cols == 8) v128.store(y, v1, 16);
    else storeTail(y + 16, v1, cols - 4);
  } else if (cols == 4) v128.store(y, v0);
  else storeTail(y, v0, cols);
}

function tiles1x8(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(1, 2, f, m, a, b, y, init, cols);
}
function tiles2x8(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(2, 2, f, m, a, b, y, init, cols);
}
function tiles3x8(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(3, 2, f, m, a, b, y, init, cols);
}
function tiles4x8(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(4, 2, f, m, a, b, y, init, cols);
}
function tiles5x8(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(5, 2, f, m, a, b, y, init, cols);
}
function tiles6x8(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(6, 2, f, m, a, b, y, init, cols);
}
function tiles1x4(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(1, 1, f, m, a, b, y, init, cols);
}
function tiles2x4(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(2, 1, f, m, a, b, y, init, cols);
}
function tiles3x4(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(3, 1, f, m, a, b, y, init, cols);
}
function tiles4x4(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(4, 1, f, m, a, b, y, init, cols);
}
function tiles5x4(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(5, 1, f, m, a, b, y, init, cols);
}
function tiles6x4(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(6, 1, f, m, a, b, y, init, cols);
}

/** The core's `multiplyTiles`. */
// @ts-ignore: decorator
@external("core", "multiplyTiles")
declare function multiplyTilesOfCore(rows: u32, f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void;

/** The tile of 1 to MR rows that fits. Each is a function of its own, so that V8 allocates registers for it alone. */
export function multiplyTiles(rows: u32, f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  if (PART) return multiplyTilesOfCore(rows, f, m, a, b, y, init, cols);
  if (cols > 4) {
    if (MR >= 6 && rows == 6) return tiles6x8(f, m, a, b, y, init, cols);
    if (MR >= 5 && rows == 5) return tiles5x8(f, m, a, b, y, init, cols);
    if (rows == 4) return tiles4x8(f, m, a, b, y, init, cols);
    if (rows == 3) return tiles3x8(f, m, a, b, y, init, cols);
    if (rows == 2) return tiles2x8(f, m, a, b, y, init, cols);
    return tiles1x8(f, m, a, b, y, init, cols);
  }
  if (MR >= 6 && rows == 6) return tiles6x4(f, m, a, b, y, init, cols);
  if (MR >= 5 && rows == 5) return tiles5x4(f, m, a, b, y, init, cols);
  if (rows == 4) return tiles4x4(f, m, a, b, y, init, cols);
  if (rows == 3) return tiles3x4(f, m, a, b, y, init, cols);
  if (rows == 2) return tiles2x4(f, m, a, b, y, init, cols);
  return tiles1x4(f, m, a, b, y, init, cols);
}

/**
 * @file reduce: y[outer, inner] = op over size of x[outer, size, inner], x in memory or computed tile by tile by a map body.
 *
 * Arguments: op | integer << 8, outer, size, inner, y, x (0: the map block follows), rows or columns per piece, pieces a row;
 * then a map block (see map.ts) with one output, which stays in scratch.
 * With inner = 1 a piece is a block of rows; else a block of at most MAP_TILE columns of one outer index. (A computed tile is whole
 * rows, or one row of some columns.)
 * Sums are taken in blocks (of a tile, of up to BLOCK rows) that are then added in pairs, and pairs in pairs: the error grows with the
 * logarithm of the length (Higham, "The Accuracy of Floating Point Summation", 1993). Which elements meet is decided by the shape alone.
 */
import {
  MAP_TILE,
  REDUCE_ARGMAX,
  REDUCE_ARGMIN,
  REDUCE_HEADER,
  REDUCE_MAX,
  REDUCE_MIN,
  REDUCE_PROD,
  REDUCE_SUM,
} from "../src/wasm/opcodes";
import { fillTile, mapSetup, mapTile, slotPointer } from "./map";
import { hsum, storeTail } from "./simd";

/** Rows in memory of a block, and the fewest of a block of computed ones, which are added one tile after another. */
const BLOCK: u32 = 128;
const LEAST_BLOCK: u32 = 16;
// Behind the tiles of map in scratch: column totals of a block, of 2, 4, ... blocks, each this far from the one before.
const TOTALS: usize = 786432;
const TOTAL_BYTES: usize = 4 * MAP_TILE;

export function reduce(c: usize, piece: u32, scratch: usize): void {
  if (load<u32>(c, 12) == 1) rows(c, piece, scratch);
  else columns(c, piece, scratch);
}

/** Elements [begin, begin + n) of x as a pointer. */
// @ts-ignore: decorator
@inline
function values(c: usize, x: usize, begin: u32, n: u32, scratch: usize): usize {
  if (x) return x + (begin << 2);
  const block = c + 4 * REDUCE_HEADER;
  mapTile(block, begin, n, false, scratch);
  return slotPointer(scratch, load<u32>(block, 4));
}

// @ts-ignore: decorator
@inline
function startF(op: u32): f32 {
  return op == REDUCE_PROD ? 1 : op == REDUCE_SUM ? 0 : op == REDUCE_MAX || op == REDUCE_ARGMAX ? -Infinity : Infinity;
}

// @ts-ignore: decorator
@inline
function startI(op: u32): i32 {
  return op == REDUCE_PROD ? 1 : op == REDUCE_SUM ? 0 : op == REDUCE_MAX || op == REDUCE_ARGMAX ? i32.MIN_VALUE : i32.MAX_VALUE;
}

// @ts-ignore: decorator
@inline
function sum16(p: usize): v128 {
  return f32x4.add(f32x4.add(load<v128>(p), load<v128>(p, 16)), f32x4.add(load<v128>(p, 32), load<v128>(p, 48)));
}

/** In pairs as far as registers go, which also leaves one addition of 16 to wait for the one before. */
function sumF(p: usize, n: u32): f32 {
  let s = f32x4.splat(0);
  for (; n >= 64; n -= 64, p += 256) {
    s = f32x4.add(s, f32x4.add(f32x4.add(sum16(p), sum16(p + 64)), f32x4.add(sum16(p + 128), sum16(p + 192))));
  }
  if (!n) return hsum(s);
  for (; n >= 16; n -= 16, p += 64) s = f32x4.add(s, sum16(p));
  for (; n >= 4; n -= 4, p += 16) s = f32x4.add(s, load<v128>(p));
  let total = hsum(s);
  for (; n; n--, p += 4) total += load<f32>(p);
  return total;
}

/** The sum of elements [begin, begin + n) of a row, in halves down to a few tiles. */
function longSum(c: usize, x: usize, begin: u32, n: u32, scratch: usize): f32 {
  if (n <= 4 * <u32>MAP_TILE) {
    let sum: f32 = 0;
    for (const end = begin + n; begin < end; begin += MAP_TILE) {
      const some = min<u32>(MAP_TILE, end - begin);
      sum += sumF(values(c, x, begin, some, scratch), some);
    }
    return sum;
  }
  const half = ((n >> 1) + (MAP_TILE - 1)) & ~(MAP_TILE - 1);
  const sum = longSum(c, x, begin, half, scratch);
  return sum + longSum(c, x, begin + half, n - half, scratch);
}

function combineF(op: u32, p: usize, n: u32, total: f32): f32 {
  const end = p + (n << 2);
  if (op == REDUCE_MAX) for (; p < end; p += 4) total = max<f32>(total, load<f32>(p));
  else if (op == REDUCE_MIN) for (; p < end; p += 4) total = min<f32>(total, load<f32>(p));
  else for (; p < end; p += 4) total *= load<f32>(p);
  return total;
}

function combineI(op: u32, p: usize, n: u32, total: i32): i32 {
  const end = p + (n << 2);
  if (op == REDUCE_SUM) for (; p < end; p += 4) total += load<i32>(p);
  else if (op == REDUCE_MAX) for (; p < end; p += 4) total = max(total, load<i32>(p));
  else if (op == REDUCE_MIN) for (; p < end; p += 4) total = min(total, load<i32>(p));
  else for (; p < end; p += 4) total *= load<i32>(p);
  return total;
}

/**
 * XORed with values it turns their order round, so that a search for the smallest is one for the largest: -x of a float, -1 - x of an
 * integer.
 */
// @ts-ignore: decorator
@inline
function flipOf(op: u32, integer: bool): i32 {
  return op == REDUCE_ARGMAX ? 0 : integer ? -1 : i32.MIN_VALUE;
}

/** True when v goes before best: strictly, so that the first of equals stays; a NaN goes before everything but a NaN. */
// @ts-ignore: decorator
@inline
function before(integer: bool, v: i32, best: i32): bool {
  if (integer) return v > best;
  const a = reinterpret<f32>(v);
  const b = reinterpret<f32>(best);
  return !(a <= b) && b == b;
}

function rows(c: usize, piece: u32, scratch: usize): void {
  const word = load<u32>(c);
  const op = word & 255;
  const integer = word >> 8 != 0;
  const outer = load<u32>(c, 4);
  const size = load<u32>(c, 8);
  const y: usize = load<u32>(c, 16);
  const x: usize = load<u32>(c, 20);
  const per = load<u32>(c, 24);
  if (!x) mapSetup(c + 4 * REDUCE_HEADER, scratch);
  const end = min(outer, (piece + 1) * per);
  // Short rows share a tile.
  const together = size == 0 ? <u32>1 : max<u32>(1, MAP_TILE / size);
  for (let o = piece * per; o < end; o += together) {
    const many = min(together, end - o);
    if (many > 1 || size <= <u32>MAP_TILE) {
      let p = size == 0 ? x : values(c, x, o * size, many * size, scratch);
      let q = y + (o << 2);
      for (const last = q + (many << 2); q < last; q += 4, p += size << 2) {
        // Asking what to do in finishRow costs sums of 16 to 64 elements 8 to 20 % (Xeon, Node 20).
        if (op == REDUCE_SUM && !integer) store<f32>(q, sumF(p, size));
        else finishRow(op, integer, q, p, size);
      }
    } else {
      longRow(c, op, integer, y + (o << 2), x, o * size, size, scratch);
    }
  }
}

// @ts-ignore: decorator
@inline
function isArg(op: u32): bool {
  return op >= <u32>REDUCE_ARGMAX;
}

function finishRow(op: u32, integer: bool, y: usize, p: usize, n: u32): void {
  if (isArg(op)) store<u32>(y, <u32>((argOf(op, integer, p, n) - p) >> 2));
  else if (integer) store<i32>(y, combineI(op, p, n, startI(op)));
  else store<f32>(y, combineF(op, p, n, startF(op)));
}

/** Where the first of n elements is that goes before all others. */
function argOf(op: u32, integer: bool, p: usize, n: u32): usize {
  const flip = flipOf(op, integer);
  let at = p;
  let best = load<i32>(p) ^ flip;
  for (const end = p + (n << 2); (p += 4) < end;) {
    const v = load<i32>(p) ^ flip;
    if (before(integer, v, best)) {
      at = p;
      best = v;
    }
  }
  return at;
}

function longRow(c: usize, op: u32, integer: bool, y: usize, x: usize, begin: u32, size: u32, scratch: usize): void {
  if (op == REDUCE_SUM && !integer) {
    store<f32>(y, longSum(c, x, begin, size, scratch));
    return;
  }
  let f = startF(op);
  let i = startI(op);
  for (let r: u32 = 0; r < size; r += MAP_TILE) {
    const n = min<u32>(MAP_TILE, size - r);
    const p = values(c, x, begin + r, n, scratch);
    if (isArg(op)) {
      const at = argOf(op, integer, p, n);
      const v = load<i32>(at) ^ flipOf(op, integer);
      if (r == 0 || before(integer, v, i)) {
        i = v;
        store<u32>(y, r + <u32>((at - p) >> 2));
      }
    } else if (integer) {
      i = combineI(op, p, n, i);
    } else {
      f = combineF(op, p, n, f);
    }
  }
  if (isArg(op)) return;
  store<u32>(y, integer ? i : reinterpret<i32>(f));
}

/** One block of columns [first, first + n) of one outer index. */
function columns(c: usize, piece: u32, scratch: usize): void {
  const word = load<u32>(c);
  const op = word & 255;
  const integer = word >> 8 != 0;
  const size = load<u32>(c, 8);
  const inner = load<u32>(c, 12);
  const x: usize = load<u32>(c, 20);
  const per = load<u32>(c, 24);
  const across = load<u32>(c, 28);
  const o = piece / across;
  const first = (piece % across) * per;
  const n = min(per, inner - first);
  const y = <usize>load<u32>(c, 16) + ((o * inner + first) << 2);
  if (!x) mapSetup(c + 4 * REDUCE_HEADER, scratch);
  if (isArg(op)) {
    argColumns(c, op, integer, y, x, o * size * inner + first, size, inner, n, scratch);
    return;
  }
  const totals = scratch + TOTALS;
  let top = totals;
  const start = integer ? startI(op) : reinterpret<i32>(startF(op));
  for (let k: u32 = 0; k < n; k++) store<i32>(y + (k << 2), start);
  // In memory all rows of a block are at hand. Computed: several rows of all columns make one tile, of some columns one row at a time.
  const together = x ? BLOCK : n == inner ? max<u32>(1, MAP_TILE / n) : 1;
  const step = (x ? inner : n) << 2;
  const block = max(LEAST_BLOCK, together);
  for (let r: u32 = 0, blocks: u32 = 0; r < size; r += block) {
    const last = min(size, r + block);
    fillTile(top, start, n << 2);
    for (let q = r; q < last; q += together) {
      const many = min(together, last - q);
      let p = values(c, x, (o * size + q) * inner + first, many * n, scratch);
      if (op == REDUCE_SUM && !integer && many >= 4) addRows(top, p, step, many, n);
      else for (let m: u32 = 0; m < many; m++, p += step) addRow(op, integer, top, p, n);
    }
    // What is of as many blocks joins, as digits carry when one counts.
    for (let count = ++blocks; !(count & 1); count >>= 1) {
      top -= TOTAL_BYTES;
      addRow(op, integer, top, top + TOTAL_BYTES, n);
    }
    top += TOTAL_BYTES;
  }
  if (!size) return;
  while ((top -= TOTAL_BYTES) > totals) addRow(op, integer, top - TOTAL_BYTES, top, n);
  addRow(op, integer, y, totals, n);
}

// @ts-ignore: decorator
@inline
function sumOf4(p: usize, step: usize): v128 {
  const q = p + 2 * step;
  return f32x4.add(f32x4.add(v128.load(p), v128.load(p + step)), f32x4.add(v128.load(q), v128.load(q + step)));
}

/**
 * d[k] += p[k] + p[k + step] + ... of `rows` rows, four of them in pairs, never writing past n. Sums stay in registers: added in memory
 * each row would wait for the one before.
 */
function addRows(d: usize, p: usize, step: u32, rows: u32, n: u32): void {
  for (; n >= 16; n -= 16, d += 64, p += 64) {
    let s0 = v128.load(d);
    let s1 = v128.load(d, 16);
    let s2 = v128.load(d, 32);
    let s3 = v128.load(d, 48);
    let q = p;
    let r = rows;
    for (; r >= 4; r -= 4, q += step << 2) {
      s0 = f32x4.add(s0, sumOf4(q, step));
      s1 = f32x4.add(s1, sumOf4(q + 16, step));
      s2 = f32x4.add(s2, sumOf4(q + 32, step));
      s3 = f32x4.add(s3, sumOf4(q + 48, step));
    }
    for (; r; r--, q += step) {
      s0 = f32x4.add(s0, v128.load(q));
      s1 = f32x4.add(s1, v128.load(q, 16));
      s2 = f32x4.add(s2, v128.load(q, 32));
      s3 = f32x4.add(s3, v128.load(q, 48));
    }
    v128.store(d, s0);
    v128.store(d, s1, 16);
    v128.store(d, s2, 32);
    v128.store(d, s3, 48);
  }
  for (; n; d += 16, p += 16) {
    const columns = min<u32>(n, 4);
    let s = v128.load(d);
    let q = p;
    let r = rows;
    for (; r >= 4; r -= 4, q += step << 2) s = f32x4.add(s, sumOf4(q, step));
    for (; r; r--, q += step) s = f32x4.add(s, v128.load(q));
    if (columns == 4) v128.store(d, s);
    else storeTail(d, s, columns);
    n -= columns;
  }
}

/** d[k] = d[k] op p[k], never writing past n. */
function addRow(op: u32, integer: bool, d: usize, p: usize, n: u32): void {
  if (op == REDUCE_SUM && !integer) {
    const end = d + ((n & ~3) << 2);
    for (; d < end; d += 16, p += 16) store<v128>(d, f32x4.add(load<v128>(d), load<v128>(p)));
    for (const stop = d + ((n & 3) << 2); d < stop; d += 4, p += 4) store<f32>(d, load<f32>(d) + load<f32>(p));
    return;
  }
  for (const end = d + (n << 2); d < end; d += 4, p += 4) {
    if (integer) store<i32>(d, combineI(op, p, 1, load<i32>(d)));
    else
      store<f32>(
        d,
        op == REDUCE_PROD
          ? load<f32>(d) * load<f32>(p)
          : op == REDUCE_MAX
            ? max<f32>(load<f32>(d), load<f32>(p))
            : min<f32>(load<f32>(d), load<f32>(p)),
      );
  }
}

function argColumns(c: usize, op: u32, integer: bool, y: usize, x: usize, begin: u32, size: u32, inner: u32, n: u32, scratch: usize): void {
  const flip = flipOf(op, integer);
  for (let r: u32 = 0; r < size; r++) {
    const p = values(c, x, begin + r * inner, n, scratch);
    for (let k: u32 = 0; k < n; k++) {
      const v = load<i32>(p + (k << 2)) ^ flip;
      const best = scratch + TOTALS + (k << 2);
      if (r == 0 || before(integer, v, load<i32>(best))) {
        store<i32>(best, v);
        store<u32>(y + (k << 2), r);
      }
    }
  }
}

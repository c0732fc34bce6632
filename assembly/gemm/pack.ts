/** @file Packing rows of A into the panels that tiles read (tiles.ts). */
import { A_STEP, MR } from "./tiles";

/** Packs `n` k's of MR rows, each contiguous from its own address: dst[k * MR + i] = p_i[k]. Rows past MR are ignored. */
export function packRows(dst: usize, n: u32, p0: usize, p1: usize, p2: usize, p3: usize, p4: usize, p5: usize): void {
  for (; n >= 4; n -= 4) {
    const r0 = v128.load(p0);
    const r1 = v128.load(p1);
    const r2 = v128.load(p2);
    const r3 = v128.load(p3);
    const t0 = v128.shuffle<i32>(r0, r1, 0, 4, 1, 5);
    const t1 = v128.shuffle<i32>(r0, r1, 2, 6, 3, 7);
    const t2 = v128.shuffle<i32>(r2, r3, 0, 4, 1, 5);
    const t3 = v128.shuffle<i32>(r2, r3, 2, 6, 3, 7);
    v128.store(dst, v128.shuffle<i64>(t0, t2, 0, 2));
    v128.store(dst, v128.shuffle<i64>(t0, t2, 1, 3), MR * 4);
    v128.store(dst, v128.shuffle<i64>(t1, t3, 0, 2), MR * 8);
    v128.store(dst, v128.shuffle<i64>(t1, t3, 1, 3), MR * 12);
    if (MR > 4) {
      const r4 = v128.load(p4);
      const r5 = v128.load(p5);
      const lo = v128.shuffle<i32>(r4, r5, 0, 4, 1, 5);
      const hi = v128.shuffle<i32>(r4, r5, 2, 6, 3, 7);
      v128.store64_lane(dst, lo, 0, 16);
      v128.store64_lane(dst, lo, 1, MR * 4 + 16);
      v128.store64_lane(dst, hi, 0, MR * 8 + 16);
      v128.store64_lane(dst, hi, 1, MR * 12 + 16);
      p4 += 16;
      p5 += 16;
    }
    p0 += 16;
    p1 += 16;
    p2 += 16;
    p3 += 16;
    dst += A_STEP * 4;
  }
  for (; n; n--) {
    store<f32>(dst, load<f32>(p0));
    store<f32>(dst, load<f32>(p1), 4);
    store<f32>(dst, load<f32>(p2), 8);
    store<f32>(dst, load<f32>(p3), 12);
    if (MR > 4) {
      store<f32>(dst, load<f32>(p4), 16);
      store<f32>(dst, load<f32>(p5), 20);
      p4 += 4;
      p5 += 4;
    }
    p0 += 4;
    p1 += 4;
    p2 += 4;
    p3 += 4;
    dst += A_STEP;
  }
}

/** Packs `n` k's of `rows` rows that lie next to each other: dst[k * MR + i] = src[k * step / 4 + i], i < rows. */
export function packColumns(dst: usize, src: usize, step: u32, n: u32, rows: u32): void {
  if (rows >= 4) {
    if (MR > 4 && rows == 6) {
      for (; n; n--, dst += A_STEP, src += step) {
        v128.store(dst, v128.load(src));
        store<u64>(dst, load<u64>(src, 16), 16);
      }
      return;
    }
    for (; n; n--, dst += A_STEP, src += step) {
      v128.store(dst, v128.load(src));
      if (MR > 4 && rows > 4) store<u32>(dst, load<u32>(src, 16), 16);
    }
    return;
  }
  if (rows == 1) {
    for (; n; n--, dst += A_STEP, src += step) store<u32>(dst, load<u32>(src));
    return;
  }
  for (; n; n--, dst += A_STEP, src += step) {
    store<u64>(dst, load<u64>(src));
    if (rows > 2) store<u32>(dst, load<u32>(src, 8), 8);
  }
}

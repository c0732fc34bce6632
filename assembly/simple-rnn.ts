/**
 * @file The plain recurrent layer over whole sequences, and its gradient. Layouts: xw, h, dxw [B,T,U]; h0, dh0, factors [B,U];
 * mask i32 [B,T]. Where mask is 0 the state is kept, and dxw is 0. Absent operands are address 0.
 *
 * `simpleRnn`, argument words: h, xw, w, kStride, panelStride, h0?, mask?, factors?, B, T, U, rows, activation, reverse. w with
 * its strides is wr[U,U] in a form that `product` (recurrent.ts) reads.
 *   h[t] = activation(xw[t] + h[t-1] wr)
 *
 * `simpleRnnGrad`, argument words: dxw, dh0?, dh?, w, h, mask?, factors?, B, T, U, rows, activation, reverse. w is wr transposed and
 * packed. (0 where no product is needed: T is 1 at most and dh0 absent.)
 *
 * A piece is `rows` sequences over all of their steps. Scratch per row: paddedBytes(U) for both, twice that where there are factors.
 *
 * Elman, "Finding Structure in Time", 1990.
 */
import { activateRow, derivative } from "./activation";
import { addDropped, addRow, copyRow, dropRows, paddedBytes, product } from "./recurrent";
import { storeUpTo } from "./simd";

export function simpleRnn(args: usize, piece: u32, scratch: usize): void {
  const h = <usize>load<u32>(args);
  const xw = <usize>load<u32>(args, 4);
  const w = <usize>load<u32>(args, 8);
  const kStride = <usize>load<u32>(args, 12);
  const panelStride = <usize>load<u32>(args, 16);
  const mask = <usize>load<u32>(args, 24);
  let factors: usize = TRAINING ? <usize>load<u32>(args, 28) : 0;
  const steps = load<u32>(args, 36);
  const u = load<u32>(args, 40);
  const rows = load<u32>(args, 44);
  const act = load<u32>(args, 48);
  const reverse = load<u32>(args, 52);

  const first = piece * rows;
  const count = min(rows, load<u32>(args, 32) - first);
  const units = (<usize>u) << 2;
  const stride = paddedBytes(u);
  const dropped = scratch + <usize>rows * stride;
  if (factors) factors += <usize>first * units;
  let hPrev = <usize>load<u32>(args, 20);
  if (hPrev) hPrev += <usize>first * units;
  let hStride = units;
  for (let s: u32 = 0; s < steps; s++) {
    const at = first * steps + (reverse ? steps - 1 - s : s);
    for (let r: u32 = 0; r < count; r++) {
      copyRow(scratch + <usize>r * stride, xw + <usize>(at + r * steps) * units, u);
    }
    if (hPrev && factors) {
      dropRows(count, u, hPrev, hStride, factors, dropped, stride);
      product(count, u, u, dropped, stride, w, kStride, panelStride, scratch, stride);
    } else if (hPrev) product(count, u, u, hPrev, hStride, w, kStride, panelStride, scratch, stride);
    for (let r: u32 = 0; r < count; r++) {
      const row = at + r * steps;
      const state = h + <usize>row * units;
      if (mask && !load<u32>(mask + ((<usize>row) << 2))) copyRow(state, hPrev ? hPrev + <usize>r * hStride : 0, u);
      else activateRow(act, state, scratch + <usize>r * stride, u);
    }
    hPrev = h + <usize>at * units;
    hStride = <usize>steps * units;
  }
}

/** One sequence, one step back: `dhNext` is set to zero for the product that follows. */
function cellGrad(u: u32, act: u32, dh: usize, dhNext: usize, h: usize, dxw: usize): void {
  for (let j: u32 = 0; j < u; j += 4) {
    const at = (<usize>j) << 2;
    let gradient = v128.load(dhNext + at);
    if (dh) gradient = f32x4.add(gradient, v128.load(dh + at));
    storeUpTo(dxw + at, f32x4.mul(gradient, derivative(act, v128.load(h + at))), u - j);
    v128.store(dhNext + at, f32x4.splat(0));
  }
}

export function simpleRnnGrad(args: usize, piece: u32, scratch: usize): void {
  const dxw = <usize>load<u32>(args);
  const dh0 = <usize>load<u32>(args, 4);
  const dh = <usize>load<u32>(args, 8);
  const w = <usize>load<u32>(args, 12);
  const h = <usize>load<u32>(args, 16);
  const mask = <usize>load<u32>(args, 20);
  let factors = <usize>load<u32>(args, 24);
  const steps = load<u32>(args, 32);
  const u = load<u32>(args, 36);
  const rows = load<u32>(args, 40);
  const act = load<u32>(args, 44);
  const reverse = load<u32>(args, 48);

  const first = piece * rows;
  const count = min(rows, load<u32>(args, 28) - first);
  const units = (<usize>u) << 2;
  const stride = paddedBytes(u);
  // The gradient of h * factors, where there are some.
  const read = scratch + <usize>rows * stride;
  if (factors) {
    factors += <usize>first * units;
    memory.fill(read, 0, <usize>count * stride);
  }
  for (let r: u32 = 0; r < count; r++) copyRow(scratch + <usize>r * stride, 0, u);
  for (let s = steps; s-- > 0;) {
    const at = first * steps + (reverse ? steps - 1 - s : s);
    for (let r: u32 = 0; r < count; r++) {
      const row = at + r * steps;
      const state = <usize>row * units;
      const next = scratch + <usize>r * stride;
      const dhRow = dh ? dh + state : 0;
      if (mask && !load<u32>(mask + ((<usize>row) << 2))) {
        if (dhRow) addRow(next, dhRow, u);
        copyRow(dxw + state, 0, u);
      } else {
        cellGrad(u, act, dhRow, next, h + state, dxw + state);
      }
    }
    if (s || dh0) {
      product(count, u, u, dxw + <usize>at * units, <usize>steps * units, w, 32, units << 3, factors ? read : scratch, stride);
      if (factors) addDropped(count, u, read, factors, scratch, stride);
    }
  }
  if (!dh0) return;
  for (let r: u32 = 0; r < count; r++) copyRow(dh0 + <usize>(first + r) * units, scratch + <usize>r * stride, u);
}

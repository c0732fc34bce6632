/**
 * @file The GRU over whole sequences, and its gradient. Layouts: h [B,T,U]; xw, dxw, dhw [B,T,3U] in gate order z r h~; gates [B,T,4U]: z,
 * r, h~ after their activations and then `side`, which is q = h[t-1] wr_h + bias2_h with resetAfter and p = r * h[t-1] without; bias2 [3U];
 * h0, dh0, factors [B,U]; mask i32 [B,T]. Where mask is 0 the state is kept, and gates, dxw and dhw are 0. Absent operands are address 0.
 *
 * `gru`, argument words: h, gates?, xw, w, wCandidate, kStride, panelStride, bias2?, h0?, mask?, factors?, B, T, U, rows,
 * activation, recurrentActivation, reverse, resetAfter. w with its strides is wr[U,3U] in a form that `product` (recurrent.ts)
 * reads; without resetAfter it is only the columns of z and r, and wCandidate those of h~.
 *   h~ = activation(xw_h + r * q) or activation(xw_h + p wr_h);  h[t] = z * h[t-1] + (1 - z) * h~
 * Factors multiply h[t-1] everywhere but in this last sum.
 *
 * `gruGrad`, argument words: dxw, dhw?, dh0?, dh?, w, h, gates, h0?, mask?, factors?, B, T, U, rows, activation, recurrentActivation,
 * reverse, resetAfter. w is wr transposed and packed: panels over U, 3U deep. (0 where no product is needed: T is 1 at most, h0 and dh0
 * absent.) dxw and dhw are the gradients of xw and of h[t-1] wr + bias2; without resetAfter they are equal.
 *
 * A piece is `rows` sequences over all of their steps. Scratch per row: paddedBytes(2U) + 2 paddedBytes(U) for gru,
 * 2 paddedBytes(U) + paddedBytes(3U) for gruGrad; where there are factors one paddedBytes(U) more for gru, two for gruGrad.
 *
 * Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014; resetAfter is the variant of cuDNN.
 */
import { activateRow, derivative, gateSlope, slope, usual } from "./activation";
import { addDropped, addRow, copyRow, dropRows, paddedBytes, product } from "./recurrent";
import { madd, storeUpTo } from "./simd";

/** z and r of one sequence, in place; without resetAfter also p, into `side`. hPrev is 0 for a zero state. */
function gateCell(u: u32, gateAct: u32, pre: usize, hPrev: usize, side: usize): void {
  activateRow(gateAct, pre, pre, u << 1);
  if (!side) return;
  if (!hPrev) return copyRow(side, 0, u);
  const gate = (<usize>u) << 2;
  for (let at: usize = 0; at < gate; at += 16) v128.store(side + at, f32x4.mul(v128.load(pre + gate + at), v128.load(hPrev + at)));
}

/**
 * h of one sequence from z and r in `pre`. With resetAfter `side` is q, and `xw` the projected input of h~; without, `side` is p, and
 * `xw` the whole pre-activation of h~.
 */
function candidateCell(u: u32, act: u32, resetAfter: u32, pre: usize, xw: usize, side: usize, hPrev: usize, h: usize, gates: usize): void {
  const gate = (<usize>u) << 2;
  const r = pre + gate;
  if (gates) {
    copyRow(gates, pre, u << 1);
    copyRow(gates + gate * 3, side, u);
  }
  // Without gates h~ takes the place of r.
  const candidate = gates ? gates + (gate << 1) : r;
  if (resetAfter) {
    for (let at: usize = 0, left = u; at < gate; at += 16, left -= 4)
      storeUpTo(candidate + at, madd(v128.load(r + at), v128.load(side + at), v128.load(xw + at)), left);
    xw = candidate;
  }
  activateRow(act, candidate, xw, u);
  for (let at: usize = 0, left = u; at < gate; at += 16, left -= 4) {
    const z = v128.load(pre + at);
    let state = f32x4.mul(f32x4.sub(f32x4.splat(1), z), v128.load(candidate + at));
    if (hPrev) state = madd(z, v128.load(hPrev + at), state);
    storeUpTo(h + at, state, left);
  }
}

/** The sums that the products of a step add to: xw, with resetAfter bias2 and, for h~, bias2 alone. */
function start(u: u32, resetAfter: u32, pre: usize, preCandidate: usize, xw: usize, bias: usize): void {
  copyRow(pre, xw, u << 1);
  if (!resetAfter) {
    copyRow(preCandidate, xw + ((<usize>u) << 3), u);
    return;
  }
  if (bias) addRow(pre, bias, u << 1);
  copyRow(preCandidate, bias ? bias + ((<usize>u) << 3) : 0, u);
}

export function gru(args: usize, piece: u32, scratch: usize): void {
  const h = <usize>load<u32>(args);
  const gates = TRAINING ? <usize>load<u32>(args, 4) : 0;
  const xw = <usize>load<u32>(args, 8);
  const w = <usize>load<u32>(args, 12);
  const wCandidate = <usize>load<u32>(args, 16);
  const kStride = <usize>load<u32>(args, 20);
  const panelStride = <usize>load<u32>(args, 24);
  const bias = <usize>load<u32>(args, 28);
  const mask = <usize>load<u32>(args, 36);
  let factors: usize = TRAINING ? <usize>load<u32>(args, 40) : 0;
  const steps = load<u32>(args, 48);
  const u = load<u32>(args, 52);
  const rows = load<u32>(args, 56);
  const act = load<u32>(args, 60);
  const gateAct = load<u32>(args, 64);
  const reverse = load<u32>(args, 68);
  const resetAfter = load<u32>(args, 72);

  const first = piece * rows;
  const count = min(rows, load<u32>(args, 44) - first);
  const units = (<usize>u) << 2;
  const stride = paddedBytes(u);
  const preStride = paddedBytes(u << 1) + stride;
  // One product over 3U needs the sums side by side, two products whole panels each.
  const candidate = resetAfter ? units << 1 : paddedBytes(u << 1);
  const sides = scratch + <usize>rows * preStride;
  const dropped = sides + <usize>rows * stride;
  if (factors) factors += <usize>first * units;
  let hPrev = <usize>load<u32>(args, 32);
  if (hPrev) hPrev += <usize>first * units;
  let hStride = units;
  for (let s: u32 = 0; s < steps; s++) {
    const at = first * steps + (reverse ? steps - 1 - s : s);
    for (let r: u32 = 0; r < count; r++) {
      const pre = scratch + <usize>r * preStride;
      start(u, resetAfter, pre, pre + candidate, xw + <usize>(at + r * steps) * units * 3, bias);
    }
    let read = hPrev;
    let readStride = hStride;
    if (hPrev && factors) {
      dropRows(count, u, hPrev, hStride, factors, dropped, stride);
      read = dropped;
      readStride = stride;
    }
    if (read) product(count, resetAfter ? u * 3 : u << 1, u, read, readStride, w, kStride, panelStride, scratch, preStride);
    for (let r: u32 = 0; r < count; r++) {
      const last = read ? read + <usize>r * readStride : 0;
      gateCell(u, gateAct, scratch + <usize>r * preStride, last, resetAfter ? 0 : sides + <usize>r * stride);
    }
    if (hPrev && !resetAfter) {
      product(count, u, u, sides, stride, wCandidate, kStride, panelStride, scratch + candidate, preStride);
    }
    for (let r: u32 = 0; r < count; r++) {
      const row = at + r * steps;
      const state = h + <usize>row * units;
      const last = hPrev ? hPrev + <usize>r * hStride : 0;
      const saved = gates ? gates + ((<usize>row * units) << 2) : 0;
      if (mask && !load<u32>(mask + ((<usize>row) << 2))) {
        copyRow(state, last, u);
        if (saved) copyRow(saved, 0, u << 2);
        continue;
      }
      const pre = scratch + <usize>r * preStride;
      const x = resetAfter ? xw + <usize>row * units * 3 + (units << 1) : pre + candidate;
      const side = resetAfter ? pre + candidate : sides + <usize>r * stride;
      candidateCell(u, act, resetAfter, pre, x, side, last, state, saved);
    }
    hPrev = h + <usize>at * units;
    hStride = <usize>steps * units;
  }
}

/**
 * One sequence, one step back: z and h~, with resetAfter also r and dhw (which may not be 0 then). `dhNext` is left with z * dh.
 * `hPrev` is 0 for a zero state.
 */
function candidateGrad(
  u: u32,
  act: u32,
  gateAct: u32,
  resetAfter: u32,
  dh: usize,
  dhNext: usize,
  hPrev: usize,
  gates: usize,
  dxw: usize,
  dhw: usize,
): void {
  if (usual(act, gateAct)) candidateGradRow(true, u, act, gateAct, resetAfter, dh, dhNext, hPrev, gates, dxw, dhw);
  else candidateGradRow(false, u, act, gateAct, resetAfter, dh, dhNext, hPrev, gates, dxw, dhw);
}

// @ts-ignore: decorator
@inline
function candidateGradRow(
  fast: bool,
  u: u32,
  act: u32,
  gateAct: u32,
  resetAfter: u32,
  dh: usize,
  dhNext: usize,
  hPrev: usize,
  gates: usize,
  dxw: usize,
  dhw: usize,
): void {
  const gate = (<usize>u) << 2;
  const gate2 = gate << 1;
  const one = f32x4.splat(1);
  for (let j: u32 = 0; j < u; j += 4) {
    const at = (<usize>j) << 2;
    const left = u - j;
    const z = v128.load(gates + at);
    const candidate = v128.load(gates + gate2 + at);
    let gradient = v128.load(dhNext + at);
    if (dh) gradient = f32x4.add(gradient, v128.load(dh + at));
    let turn = f32x4.neg(candidate);
    if (hPrev) turn = f32x4.add(turn, v128.load(hPrev + at));
    const dz = f32x4.mul(f32x4.mul(gradient, turn), gateSlope(fast, gateAct, z));
    const dcandidate = f32x4.mul(f32x4.mul(gradient, f32x4.sub(one, z)), slope(fast, act, candidate));
    v128.store(dhNext + at, f32x4.mul(gradient, z));
    storeUpTo(dxw + at, dz, left);
    storeUpTo(dxw + gate2 + at, dcandidate, left);
    if (resetAfter) {
      const r = v128.load(gates + gate + at);
      const q = v128.load(gates + gate2 + gate + at);
      const dr = f32x4.mul(f32x4.mul(dcandidate, q), gateSlope(fast, gateAct, r));
      storeUpTo(dxw + gate + at, dr, left);
      storeUpTo(dhw + at, dz, left);
      storeUpTo(dhw + gate + at, dr, left);
      storeUpTo(dhw + gate2 + at, f32x4.mul(dcandidate, r), left);
    }
  }
}

/** Without resetAfter: r of one sequence from dp, the gradient of r * h[t-1]; `dhNext` gets its part of it. */
function resetGrad(u: u32, gateAct: u32, dp: usize, dhNext: usize, hPrev: usize, gates: usize, dxw: usize): void {
  const gate = (<usize>u) << 2;
  for (let j: u32 = 0; j < u; j += 4) {
    const at = (<usize>j) << 2;
    const r = v128.load(gates + gate + at);
    const d = v128.load(dp + at);
    let dr = f32x4.splat(0);
    if (hPrev) dr = f32x4.mul(f32x4.mul(d, v128.load(hPrev + at)), derivative(gateAct, r));
    storeUpTo(dxw + gate + at, dr, u - j);
    v128.store(dhNext + at, madd(d, r, v128.load(dhNext + at)));
  }
}

export function gruGrad(args: usize, piece: u32, scratch: usize): void {
  const dxw = <usize>load<u32>(args);
  const dhw = <usize>load<u32>(args, 4);
  const dh0 = <usize>load<u32>(args, 8);
  const dh = <usize>load<u32>(args, 12);
  const w = <usize>load<u32>(args, 16);
  const h = <usize>load<u32>(args, 20);
  const gates = <usize>load<u32>(args, 24);
  const h0 = <usize>load<u32>(args, 28);
  const mask = <usize>load<u32>(args, 32);
  let factors = <usize>load<u32>(args, 36);
  const steps = load<u32>(args, 44);
  const u = load<u32>(args, 48);
  const rows = load<u32>(args, 52);
  const act = load<u32>(args, 56);
  const gateAct = load<u32>(args, 60);
  const reverse = load<u32>(args, 64);
  const resetAfter = load<u32>(args, 68);

  const first = piece * rows;
  const count = min(rows, load<u32>(args, 40) - first);
  const units = (<usize>u) << 2;
  const wide = units * 3;
  const stride = paddedBytes(u);
  const panelStride = wide << 3;
  const dp = scratch + <usize>rows * stride;
  const ownDhw = dp + <usize>rows * stride;
  const ownStride = paddedBytes(u * 3);
  // h * factors and its gradient, where there are some.
  const dropped = ownDhw + <usize>rows * ownStride;
  let through = scratch;
  if (factors) {
    factors += <usize>first * units;
    through = dropped + <usize>rows * stride;
    memory.fill(through, 0, <usize>count * stride);
  }
  for (let r: u32 = 0; r < count; r++) copyRow(scratch + <usize>r * stride, 0, u);
  for (let s = steps; s-- > 0;) {
    const at = first * steps + (reverse ? steps - 1 - s : s);
    let hPrev = h0 ? h0 + <usize>first * units : 0;
    let hStride = units;
    if (s) {
      hPrev = h + <usize>(reverse ? at + 1 : at - 1) * units;
      hStride = <usize>steps * units;
    }
    const from = dxw + <usize>at * wide;
    const fromStride = <usize>steps * wide;
    const recurrent = dhw ? dhw + <usize>at * wide : ownDhw;
    const recurrentStride = dhw ? fromStride : ownStride;
    for (let r: u32 = 0; r < count; r++) {
      const row = at + r * steps;
      const dhRow = dh ? dh + <usize>row * units : 0;
      const next = scratch + <usize>r * stride;
      const dxwRow = from + <usize>r * fromStride;
      const dhwRow = recurrent + <usize>r * recurrentStride;
      if (!resetAfter) copyRow(dp + <usize>r * stride, 0, u);
      if (mask && !load<u32>(mask + ((<usize>row) << 2))) {
        if (dhRow) addRow(next, dhRow, u);
        copyRow(dxwRow, 0, u * 3);
        if (resetAfter) copyRow(dhwRow, 0, u * 3);
      } else {
        const last = hPrev ? hPrev + <usize>r * hStride : 0;
        candidateGrad(u, act, gateAct, resetAfter, dhRow, next, last, gates + ((<usize>row * units) << 2), dxwRow, dhwRow);
      }
    }
    const wanted = hPrev || dh0;
    if (resetAfter) {
      if (s || dh0) product(count, u, u * 3, recurrent, recurrentStride, w, 32, panelStride, through, stride);
      if (factors) addDropped(count, u, through, factors, scratch, stride);
      continue;
    }
    let read = hPrev;
    let readStride = hStride;
    if (hPrev && factors) {
      dropRows(count, u, hPrev, hStride, factors, dropped, stride);
      read = dropped;
      readStride = stride;
    }
    // The candidate's rows of the packed weights are the last U.
    if (wanted) product(count, u, u, from + (units << 1), fromStride, w + (units << 4), 32, panelStride, dp, stride);
    for (let r: u32 = 0; r < count; r++) {
      const row = at + r * steps;
      if (mask && !load<u32>(mask + ((<usize>row) << 2))) continue;
      const last = read ? read + <usize>r * readStride : 0;
      resetGrad(
        u,
        gateAct,
        dp + <usize>r * stride,
        through + <usize>r * stride,
        last,
        gates + ((<usize>row * units) << 2),
        from + <usize>r * fromStride,
      );
    }
    if (s || dh0) product(count, u, u << 1, from, fromStride, w, 32, panelStride, through, stride);
    if (factors) addDropped(count, u, through, factors, scratch, stride);
    if (dhw) {
      for (let r: u32 = 0; r < count; r++) copyRow(recurrent + <usize>r * recurrentStride, from + <usize>r * fromStride, u * 3);
    }
  }
  if (!dh0) return;
  for (let r: u32 = 0; r < count; r++) copyRow(dh0 + <usize>(first + r) * units, scratch + <usize>r * stride, u);
}

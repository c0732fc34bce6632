/**
 * @file The LSTM over whole sequences, and its gradient. Layouts: h, c [B,T,U]; xw, gates, dgates [B,T,4U] in gate order i f c~ o,
 * gates after their activations; h0 c0 dh0 dc0 dcLast factors [B,U]; mask i32 [B,T]. Where mask is 0 the state is kept, and gates and
 * dgates are 0. Absent operands are address 0.
 *
 * `lstm`, argument words: h, c, gates?, xw, w, kStride, panelStride, h0?, c0?, mask?, factors?, B, T, U, rows, activation,
 * recurrentActivation, reverse. w with its strides is wr[U,4U] in a form that `product` (recurrent.ts) reads.
 *   c[t] = f * c[t-1] + i * c~;  h[t] = o * activation(c[t])
 *
 * `lstmGrad`, argument words: dgates, dh0?, dc0?, dh?, dcLast?, w, c, gates, c0?, mask?, factors?, B, T, U, rows, activation,
 * recurrentActivation, reverse. w is wr transposed and packed: panels over U, 4U deep. (0 where no product is needed: T is 1 at
 * most and dh0 absent.) dgates is the gradient before the activations, dcLast the cell's gradient after the last computed step.
 *
 * A piece is `rows` sequences over all of their steps: sequences are independent, so that no step needs a barrier. Scratch per
 * row: lstm paddedBytes(4U), lstmGrad 2 paddedBytes(U), each with one paddedBytes(U) more where there are factors; lstmGrad's has
 * one paddedBytes(U) more.
 *
 * Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997, with the forget gate of Gers et al., 2000. The projection of the
 * inputs of all steps is one product done before: Appleyard et al., "Optimizing Performance of Recurrent Neural Networks on
 * GPUs", 2016.
 */
import { activateRow, gateSlope, slope, usual } from "./activation";
import { addDropped, addRow, copyRow, dropRows, paddedBytes, product } from "./recurrent";
import { madd, storeUpTo } from "./simd";

/** One sequence, one step: from the four pre-activations `pre`[4U] to h, c and, if wanted, gates. cPrev is 0 for a zero state. */
function cell(u: u32, act: u32, gateAct: u32, pre: usize, cPrev: usize, h: usize, c: usize, gates: usize): void {
  const gate = (<usize>u) << 2;
  const gate2 = gate << 1;
  const gate3 = gate2 + gate;
  if (!gates) gates = pre;
  activateRow(gateAct, gates, pre, u << 1);
  activateRow(act, gates + gate2, pre + gate2, u);
  activateRow(gateAct, gates + gate3, pre + gate3, u);
  for (let at: usize = 0, left = u; at < gate; at += 16, left -= 4) {
    let state = f32x4.mul(v128.load(gates + at), v128.load(gates + gate2 + at));
    if (cPrev) state = madd(v128.load(gates + gate + at), v128.load(cPrev + at), state);
    storeUpTo(c + at, state, left);
  }
  activateRow(act, h, c, u);
  for (let at: usize = 0, left = u; at < gate; at += 16, left -= 4)
    storeUpTo(h + at, f32x4.mul(v128.load(gates + gate3 + at), v128.load(h + at)), left);
}

export function lstm(args: usize, piece: u32, scratch: usize): void {
  const xw = <usize>load<u32>(args, 12);
  const w = <usize>load<u32>(args, 16);
  const kStride = <usize>load<u32>(args, 20);
  const panelStride = <usize>load<u32>(args, 24);
  const mask = <usize>load<u32>(args, 36);
  let factors: usize = TRAINING ? <usize>load<u32>(args, 40) : 0;
  const steps = load<u32>(args, 48);
  const u = load<u32>(args, 52);
  const rows = load<u32>(args, 56);
  const act = load<u32>(args, 60);
  const gateAct = load<u32>(args, 64);
  const reverse = load<u32>(args, 68);

  const first = piece * rows;
  const count = min(rows, load<u32>(args, 44) - first);
  const units = (<usize>u) << 2;
  const wide = units << 2;
  if (factors) factors += <usize>first * units;
  const preStride = paddedBytes(u << 2);
  const h = <usize>load<u32>(args);
  const c = <usize>load<u32>(args, 4);
  const gates = TRAINING ? <usize>load<u32>(args, 8) : 0;

  // The states before this step: rows of h0 and c0, later of h and c.
  let hPrev = <usize>load<u32>(args, 28);
  let cPrev = <usize>load<u32>(args, 32);
  if (hPrev) hPrev += <usize>first * units;
  if (cPrev) cPrev += <usize>first * units;
  let hStride = units;
  let cStride = units;
  for (let s: u32 = 0; s < steps; s++) {
    const at = first * steps + (reverse ? steps - 1 - s : s);
    for (let r: u32 = 0; r < count; r++) {
      copyRow(scratch + <usize>r * preStride, xw + <usize>(at + r * steps) * wide, u << 2);
    }
    if (hPrev && factors) {
      const dropped = scratch + <usize>rows * preStride;
      dropRows(count, u, hPrev, hStride, factors, dropped, paddedBytes(u));
      product(count, u << 2, u, dropped, paddedBytes(u), w, kStride, panelStride, scratch, preStride);
    } else if (hPrev) product(count, u << 2, u, hPrev, hStride, w, kStride, panelStride, scratch, preStride);
    for (let r: u32 = 0; r < count; r++) {
      const row = at + r * steps;
      const state = <usize>row * units;
      const last = cPrev ? cPrev + <usize>r * cStride : 0;
      const saved = gates ? gates + <usize>row * wide : 0;
      if (mask && !load<u32>(mask + ((<usize>row) << 2))) {
        copyRow(h + state, hPrev ? hPrev + <usize>r * hStride : 0, u);
        copyRow(c + state, last, u);
        if (saved) copyRow(saved, 0, u << 2);
      } else {
        cell(u, act, gateAct, scratch + <usize>r * preStride, last, h + state, c + state, saved);
      }
    }
    hPrev = h + <usize>at * units;
    cPrev = c + <usize>at * units;
    hStride = cStride = <usize>steps * units;
  }
}

/**
 * One sequence, one step back. `dh` (0: absent) and what came from the later step, `dhNext`, make the gradient of h; `dhNext` is set to
 * zero for the product that follows, `dc` turned from the gradient of this step's cell into that of the step before. `out` is a row to work
 * in.
 */
function cellGrad(
  u: u32,
  act: u32,
  gateAct: u32,
  dh: usize,
  dhNext: usize,
  dc: usize,
  out: usize,
  c: usize,
  cPrev: usize,
  gates: usize,
  dgates: usize,
): void {
  activateRow(act, out, c, u);
  if (usual(act, gateAct)) cellGradRow(true, u, act, gateAct, dh, dhNext, dc, out, cPrev, gates, dgates);
  else cellGradRow(false, u, act, gateAct, dh, dhNext, dc, out, cPrev, gates, dgates);
}

// @ts-ignore: decorator
@inline
function cellGradRow(
  fast: bool,
  u: u32,
  act: u32,
  gateAct: u32,
  dh: usize,
  dhNext: usize,
  dc: usize,
  out: usize,
  cPrev: usize,
  gates: usize,
  dgates: usize,
): void {
  const gate = (<usize>u) << 2;
  const gate2 = gate << 1;
  const gate3 = gate2 + gate;
  for (let at: usize = 0, left = u; at < gate; at += 16, left -= 4) {
    const i = v128.load(gates + at);
    const f = v128.load(gates + gate + at);
    const g = v128.load(gates + gate2 + at);
    const o = v128.load(gates + gate3 + at);
    const y = v128.load(out + at);
    let gradient = v128.load(dhNext + at);
    if (dh) gradient = f32x4.add(gradient, v128.load(dh + at));
    const dcell = f32x4.add(v128.load(dc + at), f32x4.mul(f32x4.mul(gradient, o), slope(fast, act, y)));
    let df = f32x4.splat(0);
    if (cPrev) df = f32x4.mul(f32x4.mul(dcell, v128.load(cPrev + at)), gateSlope(fast, gateAct, f));
    storeUpTo(dgates + at, f32x4.mul(f32x4.mul(dcell, g), gateSlope(fast, gateAct, i)), left);
    storeUpTo(dgates + gate + at, df, left);
    storeUpTo(dgates + gate2 + at, f32x4.mul(f32x4.mul(dcell, i), slope(fast, act, g)), left);
    storeUpTo(dgates + gate3 + at, f32x4.mul(f32x4.mul(gradient, y), gateSlope(fast, gateAct, o)), left);
    v128.store(dc + at, f32x4.mul(dcell, f));
    v128.store(dhNext + at, f32x4.splat(0));
  }
}

export function lstmGrad(args: usize, piece: u32, scratch: usize): void {
  const dgates = <usize>load<u32>(args);
  const dh0 = <usize>load<u32>(args, 4);
  const dc0 = <usize>load<u32>(args, 8);
  const dh = <usize>load<u32>(args, 12);
  const dcLast = <usize>load<u32>(args, 16);
  const w = <usize>load<u32>(args, 20);
  const c = <usize>load<u32>(args, 24);
  const gates = <usize>load<u32>(args, 28);
  const c0 = <usize>load<u32>(args, 32);
  const mask = <usize>load<u32>(args, 36);
  let factors = <usize>load<u32>(args, 40);
  const steps = load<u32>(args, 48);
  const u = load<u32>(args, 52);
  const rows = load<u32>(args, 56);
  const act = load<u32>(args, 60);
  const gateAct = load<u32>(args, 64);
  const reverse = load<u32>(args, 68);

  const first = piece * rows;
  const count = min(rows, load<u32>(args, 44) - first);
  const units = (<usize>u) << 2;
  const wide = units << 2;
  const stride = paddedBytes(u);
  const dhNext = scratch;
  const dc = dhNext + <usize>rows * stride;
  const out = dc + <usize>rows * stride;
  // The gradient of h * factors, where there are some.
  const read = out + stride;
  if (factors) {
    factors += <usize>first * units;
    memory.fill(read, 0, <usize>count * stride);
  }
  for (let r: u32 = 0; r < count; r++) {
    copyRow(dhNext + <usize>r * stride, 0, u);
    copyRow(dc + <usize>r * stride, dcLast ? dcLast + <usize>(first + r) * units : 0, u);
  }
  for (let s = steps; s-- > 0;) {
    const t = reverse ? steps - 1 - s : s;
    const before = reverse ? t + 1 : t - 1;
    for (let r: u32 = 0; r < count; r++) {
      const row = (first + r) * steps + t;
      const dhRow = dh ? dh + <usize>row * units : 0;
      const dgatesRow = dgates + <usize>row * wide;
      if (mask && !load<u32>(mask + ((<usize>row) << 2))) {
        if (dhRow) addRow(dhNext + <usize>r * stride, dhRow, u);
        copyRow(dgatesRow, 0, u << 2);
        continue;
      }
      let cPrev: usize = 0;
      if (s) cPrev = c + <usize>(row - t + before) * units;
      else if (c0) cPrev = c0 + <usize>(first + r) * units;
      cellGrad(
        u,
        act,
        gateAct,
        dhRow,
        dhNext + <usize>r * stride,
        dc + <usize>r * stride,
        out,
        c + <usize>row * units,
        cPrev,
        gates + <usize>row * wide,
        dgatesRow,
      );
    }
    if (s || dh0) {
      const from = dgates + <usize>(first * steps + t) * wide;
      product(count, u, u << 2, from, <usize>steps * wide, w, 32, wide << 3, factors ? read : dhNext, stride);
      if (factors) addDropped(count, u, read, factors, dhNext, stride);
    }
  }
  for (let r: u32 = 0; r < count; r++) {
    const state = <usize>(first + r) * units;
    if (dh0) copyRow(dh0 + state, dhNext + <usize>r * stride, u);
    if (dc0) copyRow(dc0 + state, dc + <usize>r * stride, u);
  }
}

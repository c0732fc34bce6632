/**
 * @file lstm, gru, simpleRnn and their gradients by backpropagation through time, one sequence and one step at a time.
 * xw[B,T,G*U] holds x Wx + bias. Factors [B,U] multiply what a step reads of h, but not what the GRU's last sum does.
 * The saved gates of masked steps are zeros: gradients never read them.
 */
import { activation } from "./activation.js";

const rowOf = (x, width, i) => x.subarray(i * width, (i + 1) * width);

/** v[U] times columns [from, from + count) of w[U, columns]. */
function timesColumns(v, w, columns, from, count) {
  return Float64Array.from({ length: count }, (_, j) => v.reduce((sum, x, k) => sum + x * w[k * columns + from + j], 0));
}

/** Adds d[count] times the transpose of columns [from, from + count) of w[U, columns] to out[U]. */
function addTransposed(out, d, w, columns, from) {
  for (let k = 0; k < out.length; k++) d.forEach((x, j) => (out[k] += x * w[k * columns + from + j]));
}

/** Rows b*T + t of one sequence in the order they are computed, each with the row computed before it (null for the first). */
function stepsOf({ t, reverse }, b) {
  const rows = Array.from({ length: t }, (_, i) => b * t + (reverse ? t - 1 - i : i));
  return rows.map((row, i) => ({ row, previous: i === 0 ? null : rows[i - 1] }));
}

/** The state before a step: that of the previous row of states[B*T, U], or the initial one, or zeros. */
function stateBefore({ u }, states, initial, b, previous) {
  if (previous !== null) return rowOf(states, u, previous);
  return initial ? rowOf(initial, u, b) : new Float64Array(u);
}

/** What a step reads of the state. */
const droppedOf = (hPrevious, factors, b) => (factors ? hPrevious.map((x, j) => x * factors[b * hPrevious.length + j]) : hPrevious);

const isMasked = (mask, row) => Boolean(mask) && mask[row] === 0;

export function lstm(attrs, [xw, wr, h0, c0, mask, factors], [h, c, gates]) {
  const { b: B, u: U } = attrs;
  const { f: act } = activation(attrs.activation);
  const { f: gate } = activation(attrs.recurrentActivation);
  if (gates) gates.fill(0);
  for (let b = 0; b < B; b++) {
    for (const { row, previous } of stepsOf(attrs, b)) {
      const hPrevious = stateBefore(attrs, h, h0, b, previous);
      const cPrevious = stateBefore(attrs, c, c0, b, previous);
      if (isMasked(mask, row)) {
        h.set(hPrevious, row * U);
        c.set(cPrevious, row * U);
        continue;
      }
      const recurrent = timesColumns(droppedOf(hPrevious, factors, b), wr, 4 * U, 0, 4 * U);
      const z = rowOf(xw, 4 * U, row).map((x, j) => x + recurrent[j]);
      const activated = z.map((x, j) => (Math.floor(j / U) === 2 ? act(x) : gate(x)));
      for (let j = 0; j < U; j++) {
        const [i, f, candidate, o] = [0, 1, 2, 3].map((g) => activated[g * U + j]);
        c[row * U + j] = f * cPrevious[j] + i * candidate;
        h[row * U + j] = o * act(c[row * U + j]);
      }
      if (gates) gates.set(activated, row * 4 * U);
    }
  }
}

/** One unmasked step back: fills `dz`[4U], turns carry.dc from the gradient of c into that of c_prev. dh is the whole gradient of h. */
function lstmStepBack(attrs, dh, carry, c, cPrevious, gates, dz) {
  const U = attrs.u;
  const act = activation(attrs.activation);
  const { derivative: gateSlope } = activation(attrs.recurrentActivation);
  for (let j = 0; j < U; j++) {
    const [i, f, candidate, o] = [0, 1, 2, 3].map((g) => gates[g * U + j]);
    const cellOutput = act.f(c[j]);
    const dc = carry.dc[j] + dh[j] * o * act.derivative(cellOutput);
    dz[j] = dc * candidate * gateSlope(i);
    dz[U + j] = dc * cPrevious[j] * gateSlope(f);
    dz[2 * U + j] = dc * i * act.derivative(candidate);
    dz[3 * U + j] = dh[j] * cellOutput * gateSlope(o);
    carry.dc[j] = dc * f;
  }
}

/** The gradient of the state after a step: what later steps handed back plus that of the output. */
function outputGradient(carried, dh, row) {
  return carried.map((x, j) => x + (dh ? dh[row * carried.length + j] : 0));
}

export function lstmGrad(attrs, [dh, dcLast, wr, c, gates, h0, c0, mask, factors], [dgates, dh0, dc0]) {
  const { b: B, u: U } = attrs;
  dgates.fill(0);
  for (let b = 0; b < B; b++) {
    const carry = { dh: new Float64Array(U), dc: dcLast ? rowOf(dcLast, U, b).slice() : new Float64Array(U) };
    for (const { row, previous } of stepsOf(attrs, b).reverse()) {
      carry.dh = outputGradient(carry.dh, dh, row);
      if (isMasked(mask, row)) continue;
      const dz = rowOf(dgates, 4 * U, row);
      const cPrevious = stateBefore(attrs, c, c0, b, previous);
      lstmStepBack(attrs, carry.dh, carry, rowOf(c, U, row), cPrevious, rowOf(gates, 4 * U, row), dz);
      carry.dh.fill(0);
      addTransposed(carry.dh, dz, wr, 4 * U, 0);
      carry.dh = droppedOf(carry.dh, factors, b);
    }
    if (dh0) dh0.set(carry.dh, b * U);
    if (dc0) dc0.set(carry.dc, b * U);
  }
}

/** Values of one GRU step: z, r, h~ and the fourth saved part, each [U]. */
function gruGates(attrs, xw, hPrevious, wr, bias2) {
  const U = attrs.u;
  const { f: act } = activation(attrs.activation);
  const { f: gate } = activation(attrs.recurrentActivation);
  const bias = (g, j) => (bias2 ? bias2[g * U + j] : 0);
  const part = (g, v) => timesColumns(v, wr, 3 * U, g * U, U).map((x, j) => x + bias(g, j));
  const [z, r] = [0, 1].map((g) => part(g, hPrevious).map((x, j) => gate(xw[g * U + j] + x)));
  if (attrs.resetAfter) {
    const inner = part(2, hPrevious);
    return { z, r, candidate: inner.map((x, j) => act(xw[2 * U + j] + r[j] * x)), saved: inner };
  }
  const reset = hPrevious.map((x, j) => r[j] * x);
  return { z, r, candidate: part(2, reset).map((x, j) => act(xw[2 * U + j] + x)), saved: reset };
}

export function gru(attrs, [xw, wr, bias2, h0, mask, factors], [h, gates]) {
  const { b: B, u: U } = attrs;
  if (gates) gates.fill(0);
  for (let b = 0; b < B; b++) {
    for (const { row, previous } of stepsOf(attrs, b)) {
      const hPrevious = stateBefore(attrs, h, h0, b, previous);
      if (isMasked(mask, row)) {
        h.set(hPrevious, row * U);
        continue;
      }
      const { z, r, candidate, saved } = gruGates(attrs, rowOf(xw, 3 * U, row), droppedOf(hPrevious, factors, b), wr, bias2);
      h.set(
        candidate.map((x, j) => z[j] * hPrevious[j] + (1 - z[j]) * x),
        row * U,
      );
      if (gates) [z, r, candidate, saved].forEach((part, g) => gates.set(part, (row * 4 + g) * U));
    }
  }
}

/** One unmasked step back: fills dxw[3U] and dhw[3U] of the step and gives the gradient of h_prev. */
function gruStepBack(attrs, dh, hPrevious, drop, gates, wr, dxw, dhw) {
  const U = attrs.u;
  const [z, r, candidate, saved] = [0, 1, 2, 3].map((g) => rowOf(gates, U, g));
  const { derivative: slope } = activation(attrs.activation);
  const { derivative: gateSlope } = activation(attrs.recurrentActivation);
  const dz = dh.map((d, j) => d * (hPrevious[j] - candidate[j]) * gateSlope(z[j]));
  const dCandidate = dh.map((d, j) => d * (1 - z[j]) * slope(candidate[j]));
  const dInner = attrs.resetAfter ? dCandidate.map((d, j) => d * r[j]) : dCandidate;
  // What enters the candidate through its recurrent weights: h_prev (resetAfter) or r * h_prev.
  const dEntering = new Float64Array(U);
  addTransposed(dEntering, dInner, wr, 3 * U, 2 * U);
  const dr = attrs.resetAfter
    ? dCandidate.map((d, j) => d * saved[j] * gateSlope(r[j]))
    : dEntering.map((d, j) => d * drop(hPrevious)[j] * gateSlope(r[j]));
  [dz, dr, dCandidate].forEach((part, g) => dxw.set(part, g * U));
  [dz, dr, dInner].forEach((part, g) => dhw.set(part, g * U));
  const dRead = dEntering.map((d, j) => (attrs.resetAfter ? d : d * r[j]));
  addTransposed(dRead, dz, wr, 3 * U, 0);
  addTransposed(dRead, dr, wr, 3 * U, U);
  return drop(dRead).map((d, j) => dh[j] * z[j] + d);
}

export function gruGrad(attrs, [dh, wr, h, gates, h0, mask, factors], [dxw, dhw, dh0]) {
  const { b: B, u: U } = attrs;
  dxw.fill(0);
  if (dhw) dhw.fill(0);
  for (let b = 0; b < B; b++) {
    let carried = new Float64Array(U);
    for (const { row, previous } of stepsOf(attrs, b).reverse()) {
      carried = outputGradient(carried, dh, row);
      if (isMasked(mask, row)) continue;
      const hPrevious = stateBefore(attrs, h, h0, b, previous);
      const dhwRow = dhw ? rowOf(dhw, 3 * U, row) : new Float64Array(3 * U);
      carried = gruStepBack(
        attrs,
        carried,
        hPrevious,
        (v) => droppedOf(v, factors, b),
        rowOf(gates, 4 * U, row),
        wr,
        rowOf(dxw, 3 * U, row),
        dhwRow,
      );
    }
    if (dh0) dh0.set(carried, b * U);
  }
}

export function simpleRnn(attrs, [xw, wr, h0, mask, factors], [h]) {
  const { b: B, u: U } = attrs;
  const { f: act } = activation(attrs.activation);
  for (let b = 0; b < B; b++) {
    for (const { row, previous } of stepsOf(attrs, b)) {
      const hPrevious = stateBefore(attrs, h, h0, b, previous);
      const recurrent = timesColumns(droppedOf(hPrevious, factors, b), wr, U, 0, U);
      const next = rowOf(xw, U, row).map((x, j) => act(x + recurrent[j]));
      h.set(isMasked(mask, row) ? hPrevious : next, row * U);
    }
  }
}

export function simpleRnnGrad(attrs, [dh, wr, h, _h0, mask, factors], [dxw, dh0]) {
  const { b: B, u: U } = attrs;
  const { derivative: slope } = activation(attrs.activation);
  dxw.fill(0);
  for (let b = 0; b < B; b++) {
    let carried = new Float64Array(U);
    for (const { row } of stepsOf(attrs, b).reverse()) {
      carried = outputGradient(carried, dh, row);
      if (isMasked(mask, row)) continue;
      const dz = rowOf(dxw, U, row);
      dz.set(carried.map((d, j) => d * slope(h[row * U + j])));
      carried = new Float64Array(U);
      addTransposed(carried, dz, wr, U, 0);
      carried = droppedOf(carried, factors, b);
    }
    if (dh0) dh0.set(carried, b * U);
  }
}

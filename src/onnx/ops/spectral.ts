/** @file Windows, Fourier transforms, and the mel scale. */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import { sizeOf } from "../call.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { fit } from "../known.ts";
import { elementType, isFloat } from "../types.ts";
import type { ElementType } from "../types.ts";
import { Value, checkShape } from "../value.ts";

const { add, concat, matmul, mul, reshape, slice, sub, transpose } = lockstep;

const asType = (type: ElementType, x: number): number => fit(type, isFloat(type) ? x : Math.trunc(x));

/** Windows and matrices of more elements are refused. */
const MOST_MADE = 2 ** 24;

function checkMade(call: Call, shape: readonly number[]): number {
  const size = sizeOf(checkShape(shape));
  if (size > MOST_MADE) throw call.fault(`[${shape.join()}] has ${size} elements; at most ${MOST_MADE} are made`);
  return size;
}

/** A sum of cosines: a0 - a1 cos(2 pi n / N) + a2 cos(4 pi n / N). */
const window =
  (a0: number, a1: number, a2: number): Operator =>
  (call) => {
    const size = call.number(0) as number;
    const type = elementType(call.who, call.int("output_datatype", 1));
    const period = call.flag("periodic", true) ? size : size - 1;
    checkMade(call, [size]);
    const at = (n: number): number =>
      period === 0 ? 1 : a0 - a1 * Math.cos((2 * Math.PI * n) / period) + a2 * Math.cos((4 * Math.PI * n) / period);
    return Value.numbers(
      type,
      Array.from({ length: size }, (_, n) => asType(type, at(n))),
    );
  };

/** Triangles on the mel scale, 2595 log10(1 + f / 700), as columns over the frequencies of a transform. */
const MelWeightMatrix: Operator = (call) => {
  const [bands, length, rate, low, high] = [0, 1, 2, 3, 4].map((i) => call.number(i) as number);
  const type = elementType(call.who, call.int("output_datatype", 1));
  const rows = Math.floor(length / 2) + 1;
  const mel = (f: number): number => 2595 * Math.log10(1 + f / 700);
  const step = (mel(high) - mel(low)) / (bands + 2);
  const out = new Array<number>(checkMade(call, [rows, bands])).fill(0);
  const edge = (i: number): number => Math.floor(((length + 1) * 700 * (10 ** ((i * step + mel(low)) / 2595) - 1)) / rate);
  const put = (row: number, column: number, value: number): void => {
    if (row < 0 || row >= rows) throw call.fault(`the upper edge ${high} is beyond the frequencies of a sample rate of ${rate}`);
    out[row * bands + column] = value;
  };
  for (let i = 0; i < bands; i++) {
    const [left, center, right] = [edge(i), edge(i + 1), edge(i + 2)];
    if (center === left) put(center, i, 1);
    else for (let j = left; j <= center; j++) put(j, i, (j - left) / (center - left));
    for (let j = center; j < right; j++) put(j, i, (right - j) / (right - center));
  }
  return Value.numbers(
    type,
    out.map((x) => asType(type, x)),
    [rows, bands],
  );
};

/** Real and imaginary parts. */
type Complex = readonly [Tensor, Tensor];

/** The cosines and sines of -2 pi j k / n (2 pi j k / n, `sign` 1) for j below `rows` and k below `columns`. */
function turns(rows: number, columns: number, n: number, sign: number): Complex {
  const angles = Array.from({ length: rows * columns }, (_, i) => (2 * Math.PI * ((Math.floor(i / columns) * (i % columns)) % n)) / n);
  const of = (fn: (a: number) => number): Tensor => lockstep.tensor(Float32Array.from(angles, fn), [rows, columns]);
  return [of(Math.cos), of((a) => sign * Math.sin(a))];
}

const times = ([a, b]: Complex, [c, d]: Complex): Complex => [sub(mul(a, c), mul(b, d)), add(mul(a, d), mul(b, c))];
const timesMatrix = ([a, b]: Complex, [c, d]: Complex): Complex => [sub(matmul(a, c), matmul(b, d)), add(matmul(a, d), matmul(b, c))];

/** Transforms of more elements are made of smaller ones. */
const MOST_DIRECT = 64;
/** A prime number of elements needs a matrix. */
const MOST_PRIME = 2048;
/** The most elements of a transform. */
const MOST_LONG = 2 ** 20;

/** The transform of each row [rows, n], by Cooley and Tukey's way for any factors; `sign` -1, or 1 for the inverse without 1 / n. */
function fourier(call: Call, x: Complex, sign: number): Complex {
  const [rows, n] = x[0].shape;
  let a = Math.floor(Math.sqrt(n));
  while (a > 1 && n % a !== 0) a--;
  if (n <= MOST_DIRECT || a === 1) {
    if (n > MOST_PRIME) throw call.fault(`a transform of ${n} elements, a prime number: at most ${MOST_PRIME} are computed`);
    return timesMatrix(x, turns(n, n, n, sign));
  }
  const b = n / a;
  const swapped = (z: Complex, shape: readonly number[]): Complex =>
    [0, 1].map((i) => transpose(reshape(z[i], shape), [0, 2, 1])) as unknown as Complex;
  const flat = (z: Complex, shape: readonly number[]): Complex => [0, 1].map((i) => reshape(z[i], shape)) as unknown as Complex;
  // Element b i + j stands at [i, j]: transforms over i, turned by j k / n, then over j.
  const first = fourier(call, flat(swapped(x, [rows, a, b]), [rows * b, a]), sign);
  const turned = times(flat(first, [rows, b, a]), turns(b, a, n, sign));
  const second = fourier(call, flat(swapped(turned, [rows, b, a]), [rows * a, b]), sign);
  return flat(swapped(second, [rows, a, b]), [rows, n]);
}

/** The first `count` of the last axis, or zeros behind it. */
function resized(x: Tensor, count: number): Tensor {
  const [rows, n] = x.shape;
  return count <= n ? slice(x, [0, 0], [rows, count]) : lockstep.pad(x, [[0, 0], [0, count - n]]);
}

/** Rows of x[..., n, 1 or 2] along an axis, as [others, n]; the imaginary part is 0 where there is none. */
function rowsAlong(x: Tensor, axis: number): { readonly z: Complex; readonly order: number[]; readonly outer: number[] } {
  const last = x.rank - 1;
  const order = [last, ...x.shape.map((_, i) => i).filter((i) => i !== axis && i !== last), axis];
  const t = transpose(x, order);
  const outer = t.shape.slice(1, -1);
  const rows = [sizeOf(outer), x.shape[axis]];
  const part = (i: number): Tensor => reshape(slice(t, [i, ...t.shape.slice(1).map(() => 0)], [1, ...t.shape.slice(1)]), rows);
  const real = part(0);
  return { z: [real, t.shape[0] === 2 ? part(1) : lockstep.broadcastTo(0, rows)], order, outer };
}

/** The spectrum of a real signal, of which the other half is the mirrored conjugate. */
function whole([re, im]: Complex, n: number): Complex {
  const rows = re.shape[0];
  const behind = n - re.shape[1];
  const mirrored = (t: Tensor): Tensor =>
    lockstep.flip(slice(t, [0, n % 2 === 0 ? t.shape[1] - 1 - behind : t.shape[1] - behind], [rows, behind]), 1);
  if (behind <= 0) return [re, im];
  return [concat([re, mirrored(re)], 1), concat([im, lockstep.neg(mirrored(im))], 1)];
}

const DFT: Operator = (call) => {
  const x = call.input(0);
  const [isInverse, isOneSided] = [call.flag("inverse"), call.flag("onesided")];
  const axis = call.axis(call.opset < 20 ? call.int("axis", 1) : (call.number(2) ?? -2), x.rank);
  const parts = x.shape[x.rank - 1];
  if (x.rank < 2 || axis === x.rank - 1 || (parts !== 1 && parts !== 2))
    throw call.mismatch(
      `a signal is [..., 1] or, complex, [..., 2], transformed along another axis than the last; got [${x.shape.join()}]`,
    );
  if (isOneSided && parts !== (isInverse ? 2 : 1)) throw call.fault("onesided is for real signals, and inverse for their spectra");
  const size = x.shape[axis];
  const n = call.number(1) ?? (isOneSided && isInverse ? 2 * (size - 1) : size);
  if (!(n >= 1 && n <= MOST_LONG)) throw call.fault(`a transform of ${n} elements; at most ${MOST_LONG} are computed`);
  checkShape([x.size / size, n]);
  const { z, order, outer } = rowsAlong(x.tensor, axis);
  const half = Math.floor(n / 2) + 1;
  const cut = z.map((t) => resized(t, isOneSided && isInverse ? half : n)) as unknown as Complex;
  const given = isOneSided && isInverse ? whole(cut, n) : cut;
  let y = fourier(call, given, isInverse ? 1 : -1);
  if (isInverse) y = [mul(y[0], 1 / n), mul(y[1], 1 / n)];
  if (isOneSided && !isInverse) y = [resized(y[0], half), resized(y[1], half)];
  const list = isOneSided && isInverse ? [y[0]] : y;
  const stacked = lockstep.stack(
    list.map((t) => reshape(t, [...outer, t.shape[1]])),
    0,
  );
  return Value.of(
    x.type,
    transpose(
      stacked,
      order.map((_, i) => order.indexOf(i)),
    ),
  );
};

/** Transforms of frames of a signal [batch, length, 1 or 2], each times a window. */
const STFT: Operator = (call) => {
  const x = call.input(0);
  const step = call.number(1) as number;
  const weights = call.optional(2);
  const size = call.number(3) ?? weights?.size ?? 0;
  const signal = x.rank === 2 ? reshape(x.tensor, [...x.shape, 1]) : x.tensor;
  const isOneSided = call.flag("onesided", true);
  const [batch, length, parts] = signal.shape;
  if (signal.rank !== 3 || !(step >= 1) || !(size >= 1 && size <= length))
    throw call.mismatch(`frames of ${size} by steps of ${step} of a signal [${x.shape.join()}]`);
  if (size > MOST_LONG) throw call.fault(`frames of ${size}; at most ${MOST_LONG} are computed`);
  if (weights !== null && weights.size !== size)
    throw call.mismatch(`frames of ${size} need a window as long, got [${weights.shape.join()}]`);
  if (isOneSided && parts === 2) throw call.fault("onesided is for real signals");
  const frames = Math.floor((length - size) / step) + 1;
  checkShape([batch, frames, size, 2]);
  const places = add(mul(lockstep.iota([frames, 1], { axis: 0 }), step), lockstep.iota([1, size]));
  const rows = (part: number): Tensor => {
    const all = lockstep.gather(reshape(slice(signal, [0, 0, part], [batch, length, 1]), [batch, length]), places, 1);
    return reshape(weights === null ? all : mul(all, reshape(weights.tensor, [size])), [batch * frames, size]);
  };
  const z: Complex = [rows(0), parts === 2 ? rows(1) : lockstep.broadcastTo(0, [batch * frames, size])];
  const bins = isOneSided ? Math.floor(size / 2) + 1 : size;
  const y = fourier(call, z, -1).map((t) => reshape(resized(t, bins), [batch, frames, bins]));
  return Value.of(x.type, lockstep.stack(y, 3));
};

export const SPECTRAL: Operators = {
  HannWindow: window(0.5, 0.5, 0),
  HammingWindow: window(25 / 46, 1 - 25 / 46, 0),
  BlackmanWindow: window(0.42, 0.5, 0.08),
  MelWeightMatrix,
  DFT,
  STFT,
};

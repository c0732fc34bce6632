/**
 * @file Products and convolutions of integers of 8 bits. Kernels multiply floats, which hold integers exactly up to 2^24: where sums may
 * grow larger one operand is taken in two parts of 4 bits, and of long sums so many terms at a time; parts are put together as integers.
 * Where what is read of sums is floats, these are computed as floats, which is several times as fast.
 */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import { mapped, sizeOf } from "../call.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { INTEGERS, dtypeOf } from "../types.ts";
import type { ElementType } from "../types.ts";
import { Value } from "../value.ts";
import { convolve, convolved, geometryOf } from "./convolution.ts";
import { matmulOf, matmulShape } from "./products.ts";
import { POOLING, onLast } from "./pooling.ts";
import { byRange, narrow, wide } from "./quantization.ts";
import { LSTM } from "./recurrent.ts";
import type { Along } from "../windows.ts";

const { add, cast, mul, reshape, sub } = lockstep;

/** Integers of at most so much below it are exact in f32. */
const EXACT = 2 ** 24;

/** Integers as floats, less their zero point, and what none exceeds. */
interface Centred {
  readonly t: Tensor;
  readonly most: number;
}

/** Larger than 8 bits are sums of products beyond what is exact. */
function centred(call: Call, x: Value, zero: Tensor | null): Centred {
  const range = INTEGERS[x.type];
  if (range === undefined || range.bits > 8) throw call.fault(`expected integers of 8 bits, got ${x.type}`);
  const t = cast(x.tensor, "f32");
  return zero === null ? { t, most: Math.max(range.most, -range.least) } : { t: sub(t, cast(zero, "f32")), most: range.most - range.least };
}

/**
 * The product of integers as i32. `multiply` computes terms [begin, end) of the `size` that are summed, of which each stands for `each`
 * terms.
 */
function exactly(
  a: Centred,
  b: Centred,
  size: number,
  each: number,
  multiply: (a: Tensor, b: Tensor, begin: number, end: number) => Tensor,
): Tensor {
  const inParts = (t: Tensor, most: number): Tensor => {
    const step = Math.max(1, Math.floor(EXACT / (a.most * most * each)));
    let sum: Tensor | null = null;
    for (let begin = 0; begin < size; begin += step) {
      const part = cast(multiply(a.t, t, begin, Math.min(size, begin + step)), "i32");
      sum = sum === null ? part : add(sum, part);
    }
    return sum as Tensor;
  };
  if (a.most * b.most * each * size <= EXACT) return inParts(b.t, b.most);
  const high = lockstep.floor(mul(add(b.t, 8), 1 / 16));
  const low = sub(b.t, mul(high, 16));
  const most = Math.max(8, Math.floor((b.most + 8) / 16));
  return add(mul(inParts(high, most), 16), inParts(low, most));
}

/** The most that a sum of `size` products of two values of these types can be. */
function mostOf(call: Call, a: Value, b: Value, size: number): number {
  const [p, q] = [a, b].map(({ type }) => INTEGERS[type]);
  if (p === undefined || q === undefined || p.bits > 8 || q.bits > 8)
    throw call.fault(`expected integers of 8 bits, got ${a.type} and ${b.type}`);
  return (p.most - p.least) * (q.most - q.least) * size;
}

/** Integers as floats, less their zero point `zero`, which `spread` gives a shape that broadcasts. Of weights it is made once. */
const floatsOf = (call: Call, x: Value, zero: Value | null, spread: (zero: Tensor) => Tensor): Value =>
  call.made("float32", x.shape, "floats", zero === null ? [x] : [x, zero], (t, z?: Tensor) =>
    z === undefined ? cast(t, "f32") : sub(cast(t, "f32"), cast(spread(z), "f32")),
  );

/** A zero point or scale of each row of a matrix. */
const perRow = (t: Tensor): Tensor => (t.rank === 1 && t.size > 1 ? reshape(t, [t.size, 1]) : t.size === 1 ? reshape(t, []) : t);
const perColumn = (t: Tensor): Tensor => (t.size === 1 ? reshape(t, []) : t);

/** a b as i32, less zero points. */
function integerMatmul(call: Call, a: Value, b: Value, zeroA: Tensor | null, zeroB: Tensor | null): Tensor {
  const [x, y] = [centred(call, a, zeroA && perRow(zeroA)), centred(call, b, zeroB && perColumn(zeroB))];
  return matmulOf(call, x.t, y.t, (p, q) => {
    const k = p.shape[p.rank - 1];
    const part = (t: Tensor, axis: number, begin: number, end: number): Tensor =>
      begin === 0 && end === k
        ? t
        : lockstep.slice(
            t,
            t.shape.map((_, i) => (i === axis ? begin : 0)),
            t.shape.map((d, i) => (i === axis ? end - begin : d)),
          );
    return exactly({ t: p, most: x.most }, { t: q, most: y.most }, k, 1, (u, v, begin, end) =>
      lockstep.matmul(part(u, u.rank - 1, begin, end), part(v, v.rank - 2, begin, end)),
    );
  });
}

const zeroOf = (call: Call, place: number): Tensor | null => call.optional(place)?.tensor ?? null;

/** a b as floats, less zero points. */
const floatMatmul = (call: Call, a: Value, b: Value, zeroA: Value | null, zeroB: Value | null): Tensor =>
  matmulOf(call, floatsOf(call, a, zeroA, perRow).tensor, floatsOf(call, b, zeroB, perColumn).tensor, (x, y) => lockstep.matmul(x, y));

const MatMulInteger: Operator = (call) => {
  const [a, b] = [call.input(0), call.input(1)];
  const exact = (): Tensor => {
    const y = integerMatmul(call, a, b, zeroOf(call, 2), zeroOf(call, 3));
    return y.dtype === "f32" ? cast(y, "i32") : y;
  };
  if (mostOf(call, a, b, a.shape[a.rank - 1] ?? 1) <= EXACT) return Value.of("int32", exact());
  const shape = matmulShape(a.shape, b.shape);
  if (shape === null) return Value.of("int32", exact());
  const y = Value.lazy("int32", shape, exact);
  y.floats = () => Value.of("float32", floatMatmul(call, a, b, call.optional(2), call.optional(3)));
  return y;
};

/** round(x) + zero, as integers of few bits, of which those that are beyond become the nearest end. */
function saturated(call: Call, x: Tensor, type: ElementType, zero: Tensor | null): Tensor {
  const range = INTEGERS[type];
  if (range === undefined) throw call.fault(`expected integers, got ${type}`);
  const rounded = lockstep.round(x);
  return cast(lockstep.clip(zero === null ? rounded : add(rounded, cast(zero, "f32")), range.least, range.most), dtypeOf(call.who, type));
}

const QLinearMatMul: Operator = (call) => {
  const [a, b] = [call.input(0), call.input(3)];
  const y = floatMatmul(call, a, b, call.optional(2), call.optional(5));
  const scale = lockstep.div(mul(perRow(call.tensor(1)), perColumn(call.tensor(4))), perColumn(call.tensor(6)));
  const { type } = call.input(7);
  return Value.of(type, saturated(call, mul(y, scale), type, perColumn(call.tensor(7))));
};

/**
 * A convolution as i32, channels-last. Rows of a filter are taken as a further dimension, whose taps become channels: so no 3x3 filter is
 * left, which kernels may compute on tiles with fractions.
 */
function integerConv(call: Call, x: Value, w: Value, zeroX: Tensor | null, zeroW: Tensor | null): Tensor {
  const { windows, groups } = geometryOf(call, x, w);
  if (windows.length > 2) throw call.fault(`images of integers have 1 or 2 dimensions here, got [${x.shape.join()}]`);
  const perFilter = zeroW && (zeroW.size === 1 ? reshape(zeroW, []) : reshape(zeroW, [zeroW.size, ...w.shape.slice(1).map(() => 1)]));
  const [p, q] = [centred(call, x, zeroX && reshape(zeroX, [])), centred(call, w, perFilter)];
  const idle: Along = { size: 1, taps: 1, stride: 1, dilation: 1, begin: 0, end: 0, count: 1 };
  const isFlat = windows.length === 1;
  const [rows, columns] = isFlat ? [idle, windows[0]] : windows;
  const [batch, c] = x.shape;
  const [f, channels] = w.shape;
  const image = reshape(lockstep.transpose(p.t, [0, ...windows.map((_, i) => i + 2), 1]), [batch, rows.size, 1, columns.size, c]);
  const filters = reshape(lockstep.transpose(q.t, [...windows.map((_, i) => i + 2), 1, 0]), [rows.taps, 1, columns.taps, channels, f]);
  const each = rows.taps * columns.taps;
  // Channels of groups are not taken apart.
  const step = groups === 1 ? { size: channels, each } : { size: 1, each: each * channels };
  if (step.each * p.most * 16 > EXACT) throw call.fault(`filters [${w.shape.join()}] have more taps than are summed exactly`);
  const y = exactly({ t: image, most: p.most }, { t: filters, most: q.most }, step.size, step.each, (u, v, begin, end) => {
    const part = (t: Tensor, axis: number): Tensor =>
      groups > 1 || (begin === 0 && end === channels)
        ? t
        : lockstep.slice(
            t,
            t.shape.map((_, i) => (i === axis ? begin : 0)),
            t.shape.map((d, i) => (i === axis ? end - begin : d)),
          );
    return convolve(part(u, 4), lockstep.mergeTaps(part(v, 3)), [rows, idle, columns], groups, {});
  });
  return reshape(y, [batch, ...windows.map(({ count }) => count), f]);
}

/** The same as floats, by whatever kernel is fastest; null where integers are exact anyway, and floats of tiles would not be. */
function floatConv(call: Call, x: Value, w: Value, zeroX: Value | null, zeroW: Value | null): (() => Value) | null {
  if (mostOf(call, x, w, sizeOf(w.shape.slice(1))) <= EXACT || x.size === 0) return null;
  const flat = (z: Tensor): Tensor => reshape(z, []);
  return () => {
    const zero = zeroX && cast(flat(zeroX.tensor), "f32");
    const image = mapped(x, (t) => (zero === null ? cast(t, "f32") : sub(cast(t, "f32"), zero)), "float32");
    const filters = floatsOf(call, w, zeroW, (z) => (z.size === 1 ? flat(z) : reshape(z, [z.size, ...w.shape.slice(1).map(() => 1)])));
    return convolved(call, image, filters);
  };
}

const ConvInteger: Operator = (call) => {
  const [x, w] = [call.input(0), call.input(1)];
  const exact = (): Tensor => integerConv(call, x, w, zeroOf(call, 2), zeroOf(call, 3));
  const floats = floatConv(call, x, w, call.optional(2), call.optional(3));
  if (floats === null) return Value.channelsLast("int32", exact());
  const { windows } = geometryOf(call, x, w);
  const y = Value.later("int32", [x.shape[0], w.shape[0], ...windows.map(({ count }) => count)], exact);
  y.floats = floats;
  return y;
};

const QLinearConv: Operator = (call) => {
  const [x, w] = [call.input(0), call.input(3)];
  const bias = zeroOf(call, 8);
  const scale = lockstep.div(mul(perColumn(call.tensor(1)), perColumn(call.tensor(4))), perColumn(call.tensor(6)));
  const floats = floatConv(call, x, w, call.optional(2), call.optional(5));
  const sum = floats === null ? integerConv(call, x, w, zeroOf(call, 2), zeroOf(call, 5)) : floats().last;
  const y = floats === null ? cast(bias === null ? sum : add(sum, bias), "f32") : bias === null ? sum : add(sum, cast(bias, "f32"));
  const { type } = call.input(7);
  return Value.channelsLast(type, saturated(call, mul(y, scale), type, perColumn(call.tensor(7))));
};

/** An integer product that is scaled back to floats. */
const MatMulIntegerToFloat: Operator = (call) => {
  const y = floatMatmul(call, call.input(0), call.input(1), call.optional(4), call.optional(5));
  const scaled = mul(y, mul(perRow(call.tensor(2)), perColumn(call.tensor(3))));
  const bias = zeroOf(call, 6);
  return Value.of(call.input(2).type, bias === null ? scaled : add(scaled, bias));
};

/** The same of floats that are made integers of 8 bits on the way, by their range. */
const DynamicQuantizeMatMul: Operator = (call) => {
  const { q, scale, zero } = byRange(call.input(0));
  const y = floatMatmul(call, q, call.input(1), Value.of("uint8", zero), call.optional(3));
  const scaled = mul(y, mul(scale, perColumn(call.tensor(2))));
  const bias = zeroOf(call, 4);
  return Value.of("float32", bias === null ? scaled : add(scaled, bias));
};

/**
 * An LSTM of weights in 8 bits, [directions, inputs, gates] each. The state stays in floats: ONNX Runtime makes it integers before each
 * product, as it does with the input, so that its numbers are coarser.
 */
const DynamicQuantizeLSTM: Operator = (call) => {
  const matrix = (place: number, behind: number): Value => {
    const [w, scale, zero] = [call.input(place), call.input(behind), call.optional(behind + 1)];
    if (w.rank !== 3) throw call.mismatch(`weights have 3 dimensions, got [${w.shape.join()}]`);
    const [d, k, gates] = w.shape;
    // One for each direction, or for each of its gates.
    const spread = (t: Tensor): Tensor => reshape(t, t.size === 1 ? [] : t.rank === 1 ? [d, 1, 1] : [d, 1, gates]);
    const values = zero === null ? [w, scale] : [w, scale, zero];
    return call.made("float32", [d, gates, k], "floats of rows", values, (t, s, z?: Tensor) => {
      const floats = z === undefined ? cast(t, "f32") : sub(cast(t, "f32"), cast(spread(z), "f32"));
      return lockstep.transpose(mul(floats, spread(s)), [0, 2, 1]);
    });
  };
  return LSTM(call.withInputs([call.input(0), matrix(1, 8), matrix(2, 10), ...[3, 4, 5, 6, 7].map((place) => call.optional(place))]));
};

const QLinearAveragePool: Operator = (call) => {
  const x = wide(call, 0);
  const pool = call.flag("channels_last") ? onLast(POOLING["AveragePool"]) : POOLING["AveragePool"];
  const [y] = [pool(call.withInputs([x]))].flat() as Value[];
  return narrow(call, call.input(0).type, y, 3);
};

export const QUANTIZED: Operators = { MatMulInteger, QLinearMatMul, ConvInteger, QLinearConv };
export const QUANTIZED_MICROSOFT: Operators = { MatMulIntegerToFloat, DynamicQuantizeMatMul, DynamicQuantizeLSTM, QLinearAveragePool };

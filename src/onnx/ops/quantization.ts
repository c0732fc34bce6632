/** @file Floats as integers of few bits, with a scale and a zero point: for all, for each place along an axis, or for blocks of them. */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import { mapped, sizeOf } from "../call.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { INTEGERS, elementType, isFloat } from "../types.ts";
import type { ElementType } from "../types.ts";
import { Value } from "../value.ts";
import { together } from "./arithmetic.ts";
import { reshaped } from "./shapes.ts";

const { add, cast, clip, div, mul, round, sub } = lockstep;

/** A scale or zero point in a shape that broadcasts to `x`. */
function spread(call: Call, v: Value, x: Value, block: number): Value {
  if (v.size === 1 && (v.rank < 2 || block === 0)) return reshaped(v, []);
  const given = x.rank === 1 ? 0 : call.axis(call.int("axis", 1), x.rank);
  if (block === 0) {
    if (v.rank !== 1 || v.size !== x.shape[given])
      throw call.mismatch(`a scale for each of ${x.shape[given]} along axis ${given} is [${x.shape[given]}], got [${v.shape.join()}]`);
    return reshaped(
      v,
      x.shape.slice(given).map((d, i) => (i === 0 ? d : 1)),
    );
  }
  const wanted = x.shape.map((d, i) => (i === given ? Math.ceil(d / block) : d));
  if (v.shape.join() !== wanted.join())
    throw call.mismatch(`scales of blocks of ${block} along axis ${given} are [${wanted.join()}], got [${v.shape.join()}]`);
  const [outer, blocks, inner] = [sizeOf(wanted.slice(0, given)), wanted[given], sizeOf(wanted.slice(given + 1))];
  const copies = lockstep.broadcastTo(lockstep.reshape(v.tensor, [outer, blocks, 1, inner]), [outer, blocks, block, inner]);
  const all = lockstep.reshape(copies, [outer, blocks * block, inner]);
  return Value.of(v.type, lockstep.reshape(lockstep.slice(all, [0, 0, 0], [outer, x.shape[given], inner]), x.shape));
}

/** The nearest integers within those that a type has, halves to the even ones, as i32. */
export function quantized(type: ElementType, x: Tensor, scale: Tensor | number, zero: Tensor | number | null): Tensor {
  const { least, most } = INTEGERS[type] as { least: number; most: number };
  const nearest = round(div(x, scale));
  return cast(clip(zero === null ? nearest : add(nearest, zero), least, most), "i32");
}

const floats = (x: Tensor): Tensor => cast(x, "f32");

/** `x` minus its zero point, times its scale. */
export const dequantized = (x: Tensor, scale: Tensor, zero: Tensor | null): Tensor => mul(floats(zero === null ? x : sub(x, zero)), scale);

function checkInteger(call: Call, type: ElementType): void {
  if (INTEGERS[type] === undefined || (INTEGERS[type]?.bits ?? 0) > 16) throw call.fault(`${type} is no type that is quantized to`);
}

const QuantizeLinear: Operator = (call) => {
  const [x, zero] = [call.input(0), call.optional(2)];
  const code = call.int("output_dtype", 0);
  const type = zero?.type ?? (code === 0 ? "uint8" : elementType(call.who, code));
  if (code !== 0 && elementType(call.who, code) !== type) throw call.fault(`output_dtype and the zero point differ: ${type}`);
  checkInteger(call, type);
  const block = call.int("block_size", 0);
  const [scale, point] = [spread(call, call.input(1), x, block), zero && spread(call, zero, x, block)];
  if (point === null) return together(call, type, [x, scale], (t, s) => quantized(type, floats(t), s, null));
  return together(call, type, [x, scale, point], (t, s, z) => quantized(type, floats(t), s, z));
};

const DequantizeLinear: Operator = (call) => {
  const [x, zero] = [call.input(0), call.optional(2)];
  if (isFloat(x.type)) throw call.fault(`the input is of an integer type, got ${x.type}`);
  const code = call.int("output_dtype", 0);
  const type = code === 0 ? call.input(1).type : elementType(call.who, code);
  const block = call.int("block_size", 0);
  const factor = call.input(1);
  if (x.origin !== null) {
    const like = (v: Value, t: Tensor): Tensor => spread(call, Value.of(v.type, t), x, block).tensor;
    const values = zero === null ? [x, factor] : [x, factor, zero];
    return call.made(type, x.shape, `floats ${block} ${call.int("axis", 1)}`, values, (t, s, z?: Tensor) =>
      dequantized(t, like(factor, s), zero && z ? like(zero, z) : null),
    );
  }
  const [scale, point] = [spread(call, factor, x, block), zero && spread(call, zero, x, block)];
  if (point === null) return together(call, type, [x, scale], (t, s) => dequantized(t, s, null));
  return together(call, type, [x, scale, point], dequantized);
};

/** To uint8, by the range of the input. */
const DynamicQuantizeLinear: Operator = (call) => {
  const x = call.input(0);
  // Whatever the order: all elements count.
  const t = x.isChannelsLast ? x.last : x.tensor;
  const [least, most] = [lockstep.minimum(lockstep.min(t), 0), lockstep.maximum(lockstep.max(t), 0)];
  const range = sub(most, least);
  const scale = div(lockstep.where(lockstep.equal(range, 0), 1, range), 255);
  const zero = round(clip(div(lockstep.neg(least), scale), 0, 255));
  return [mapped(x, (v) => quantized("uint8", v, scale, zero), "uint8"), Value.of("float32", scale), Value.of("uint8", cast(zero, "i32"))];
};

/** An input with the scale and zero point behind it, as floats. */
function wide(call: Call, place: number, zeroIsOptional = true): Value {
  const [x, scale, zero] = [call.input(place), call.input(place + 1), call.optional(place + 2)];
  if (scale.size !== 1 || (zero !== null && zero.size !== 1) || (zero === null && !zeroIsOptional))
    throw call.mismatch(`one scale and one zero point are taken, got [${scale.shape.join()}] and [${zero?.shape.join() ?? ""}]`);
  const [s, z] = [reshaped(scale, []).tensor, zero && reshaped(zero, []).tensor];
  return mapped(x, (t) => dequantized(t, s, z), "float32");
}

/** Floats as integers by the scale and zero point at `place`. */
function narrow(call: Call, type: ElementType, y: Value, place: number): Value {
  const zero = call.optional(place + 1);
  const to = zero?.type ?? type;
  checkInteger(call, to);
  const [s, z] = [reshaped(call.input(place), []).tensor, zero && reshaped(zero, []).tensor];
  return mapped(y, (t) => quantized(to, t, s, z), to);
}

const quantizedBinary =
  (fn: (a: Tensor, b: Tensor) => Tensor): Operator =>
  (call) =>
    narrow(call, call.input(0).type, together(call, "float32", [wide(call, 0), wide(call, 3)], fn), 6);

const quantizedUnary =
  (fn: (x: Tensor, call: Call) => Tensor): Operator =>
  (call) =>
    narrow(
      call,
      call.input(0).type,
      mapped(wide(call, 0), (t) => fn(t, call)),
      3,
    );

const QLinearConcat: Operator = (call) => {
  const values: Value[] = [];
  for (let place = 2; place < call.inputs.length; place += 3) values.push(wide(call, place));
  if (values.length === 0) throw call.fault("there is nothing to join");
  const axis = call.axis(call.int("axis", 0), values[0].rank);
  const all = lockstep.concat(
    values.map((v) => v.tensor),
    axis,
  );
  return narrow(call, call.input(2).type, Value.of("float32", all), 0);
};

/** Along one axis; of files before opset 13 over all dimensions from it on. */
const QLinearSoftmax: Operator = (call) => {
  const x = wide(call, 0);
  const isOld = call.int("opset", 13) < 13;
  const axis = call.axis(call.int("axis", -1), x.rank);
  const flat = [sizeOf(x.shape.slice(0, axis)), sizeOf(x.shape.slice(axis))];
  const y = isOld ? lockstep.softmax(lockstep.reshape(x.tensor, flat), 1) : lockstep.softmax(x.tensor, axis);
  return narrow(call, call.input(0).type, Value.of("float32", lockstep.reshape(y as Tensor, x.shape) as Tensor), 3);
};

/** The mean of each picture's places. */
const QLinearGlobalAveragePool: Operator = (call) => {
  const x = wide(call, 0);
  if (x.rank < 3) throw call.mismatch(`pictures are [batch, channels, ...], got [${x.shape.join()}]`);
  const isLast = call.flag("channels_last");
  const places = x.shape.map((_, i) => i).slice(isLast ? 1 : 2, isLast ? -1 : undefined);
  const mean = lockstep.mean(x.tensor, { axis: places, keepDims: true });
  return narrow(call, call.input(0).type, Value.of("float32", mean), 3);
};

/** alpha A B + C of integers less their zero points, C by the scale of the product; as floats where no scale of the result is given. */
const QGemm: Operator = (call) => {
  const [a, b, c] = [call.input(0), call.input(3), call.optional(6)];
  if (a.rank !== 2 || b.rank !== 2) throw call.mismatch(`matrices are multiplied, got [${a.shape.join()}] and [${b.shape.join()}]`);
  const whole = (x: Value, zero: Value | null, isTurned: boolean): Tensor => {
    const t = floats(zero === null ? x.tensor : sub(x.tensor, zero.size === 1 ? reshaped(zero, []).tensor : zero.tensor));
    return isTurned ? lockstep.transpose(t) : t;
  };
  // Zero points and scales of B may be one for each column; B turned has columns as rows.
  const isTurned = call.flag("transB");
  const zeros = call.optional(5);
  const columns = zeros !== null && zeros.size > 1 && isTurned ? reshaped(zeros, [zeros.size, 1]) : zeros;
  const product = lockstep.matmul(whole(a, call.optional(2), call.flag("transA")), whole(b, columns, isTurned));
  const sums = c === null ? product : add(product, floats(c.tensor));
  const scaleOf = (place: number): Tensor => {
    const v = call.input(place);
    return v.size === 1 ? reshaped(v, []).tensor : v.tensor;
  };
  const y = mul(sums, mul(mul(scaleOf(1), scaleOf(4)), call.float("alpha", 1)));
  return call.optional(7) === null ? Value.of("float32", y) : narrow(call, a.type, Value.of("float32", y), 7);
};

export const QUANTIZATION: Operators = { QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear };

/** Those of com.microsoft. */
export const MICROSOFT_QUANTIZATION: Operators = {
  QuantizeLinear,
  DequantizeLinear,
  QLinearAdd: quantizedBinary((a, b) => add(a, b)),
  QLinearMul: quantizedBinary((a, b) => mul(a, b)),
  QLinearSigmoid: quantizedUnary((x) => lockstep.sigmoid(x)),
  QLinearLeakyRelu: quantizedUnary((x, call) => lockstep.where(lockstep.less(x, 0), mul(x, call.float("alpha", 0.01)), x)),
  QLinearConcat,
  QLinearSoftmax,
  QLinearGlobalAveragePool,
  QGemm,
};

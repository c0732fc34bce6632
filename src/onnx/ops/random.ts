/**
 * @file Random numbers, of Lockstep's counter-based generator: another sequence than other runtimes have, the same for each program that is
 * loaded anew. Each run draws other numbers; a node's `seed` tells its numbers from those of others.
 */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { dtypeOf, elementType, isFloat } from "../types.ts";
import type { ElementType } from "../types.ts";
import { Value, checkShape } from "../value.ts";
import { wrapped } from "./arithmetic.ts";
import { filled } from "./reductions.ts";

/** A node's own stream: the bits of its seed. */
function streamOf(call: Call): { readonly stream?: number } {
  const seed = call.float("seed") ?? (call.has("seed") ? call.int("seed") : null);
  return seed === null ? {} : { stream: new Uint32Array(Float32Array.of(seed).buffer)[0] };
}

/** The type that an attribute names, or else that of `like`. */
function typed(call: Call, like: ElementType): ElementType {
  const code = call.int("dtype");
  const type = code === null ? like : elementType(call.who, code);
  if (type === "string") throw call.fault("strings are not drawn");
  return type;
}

const normal = (call: Call, shape: readonly number[]): Tensor => {
  const drawn = lockstep.randomNormal(lockstep.randomKey(), shape, streamOf(call));
  return lockstep.add(lockstep.mul(drawn, call.float("scale", 1)), call.float("mean", 0));
};

const uniform = (call: Call, shape: readonly number[]): Tensor => {
  const [low, high] = [call.float("low", 0), call.float("high", 1)];
  return lockstep.add(lockstep.mul(lockstep.randomUniform(lockstep.randomKey(), shape, streamOf(call)), high - low), low);
};

function drawn(call: Call, type: ElementType, shape: readonly number[], draw: (call: Call, shape: readonly number[]) => Tensor): Value {
  if (!isFloat(type)) throw call.fault(`floats are drawn, got the type ${type}`);
  if (checkShape(shape).includes(0)) return filled(call, type, 0, shape);
  return Value.of(type, draw(call, shape));
}

const ofShape =
  (draw: (call: Call, shape: readonly number[]) => Tensor): Operator =>
  (call) => {
    const shape = call.ints("shape");
    if (shape === null) throw call.fault("no shape is given");
    return drawn(call, typed(call, "float32"), shape, draw);
  };

const likeInput =
  (draw: (call: Call, shape: readonly number[]) => Tensor): Operator =>
  (call) =>
    drawn(call, typed(call, call.input(0).type), call.input(0).shape, draw);

/** 1 with the probability that the input says, else 0. */
const Bernoulli: Operator = (call) => {
  const x = call.input(0);
  const type = typed(call, x.type);
  if (x.size === 0) return filled(call, type, 0, x.shape);
  const isOne = lockstep.less(lockstep.randomUniform(lockstep.randomKey(), x.shape, streamOf(call)), x.tensor);
  const dtype = dtypeOf(call.who, type);
  return Value.of(type, dtype === "bool" ? isOne : wrapped(type, lockstep.cast(isOne, dtype)));
};

/** Classes drawn by their log-probabilities [batch, classes]. */
const Multinomial: Operator = (call) => {
  const x = call.input(0);
  if (x.rank !== 2) throw call.mismatch(`log-probabilities are [batch, classes], got [${x.shape.join()}]`);
  const count = call.int("sample_size", 1);
  const type = typed(call, "int32");
  if (type !== "int32" && type !== "int64") throw call.fault(`classes are int32 or int64, got ${type}`);
  return Value.of(type, lockstep.randomCategorical(lockstep.randomKey(), x.tensor, count, streamOf(call)));
};

/** In training elements are dropped with the probability `ratio`, the others grow; else nothing happens. The mask says what is kept. */
const Dropout: Operator = (call) => {
  const x = call.input(0);
  const isTraining = call.opset >= 12 ? (call.number(2) ?? 0) !== 0 : call.opset < 7 && call.has("is_test") && !call.flag("is_test");
  const ratio = isTraining ? (call.number(1) ?? call.float("ratio", 0.5)) : 0;
  if (!(ratio >= 0 && ratio < 1)) throw call.fault(`the ratio is in [0, 1), got ${ratio}`);
  const maskType = call.opset >= 10 ? "bool" : x.type;
  if (ratio === 0 || x.size === 0) return call.wants(1) ? [x, filled(call, maskType, 1, x.shape)] : [x];
  const isKept = lockstep.greaterEqual(lockstep.randomUniform(lockstep.randomKey(), x.shape, streamOf(call)), ratio);
  const y = lockstep.where(isKept, lockstep.mul(x.tensor, 1 / (1 - ratio)), 0);
  return [Value.of(x.type, y), Value.of(maskType, maskType === "bool" ? isKept : lockstep.cast(isKept, "f32"))];
};

export const RANDOM: Operators = {
  RandomNormal: ofShape(normal),
  RandomNormalLike: likeInput(normal),
  RandomUniform: ofShape(uniform),
  RandomUniformLike: likeInput(uniform),
  Bernoulli,
  Multinomial,
  Dropout,
};

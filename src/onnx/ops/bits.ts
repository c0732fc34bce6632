/** @file Bits of integers, and kinds of floats. */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import { mapped } from "../call.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { areKnown, mapKnown } from "../known.ts";
import { decoded, encoded } from "../tensors.ts";
import { INTEGERS, bitsOf, dtypeOf, elementType, isFloat } from "../types.ts";
import type { IntegerRange } from "../types.ts";
import { Value } from "../value.ts";
import { together, wrapped } from "./arithmetic.ts";

const { and, greater, isFinite, less, not } = lockstep;

/** Two inputs of one integer type. */
function integers(call: Call): [Value, Value] {
  const [a, b] = [call.input(0), call.input(1)];
  if (a.type !== b.type || INTEGERS[a.type] === undefined)
    throw call.fault(`operands are of one integer type, got ${a.type} and ${b.type}`);
  return [a, b];
}

/** In two's complement of 64 bits, which numbers that are known may have. */
const bitwise =
  (fn: (a: Tensor, b: Tensor) => Tensor, known: (a: bigint, b: bigint) => bigint): Operator =>
  (call) => {
    const [a, b] = integers(call);
    const isSigned = (INTEGERS[a.type]?.least ?? 0) < 0;
    const exact = (x: number, y: number): number => {
      const bits = known(BigInt(x), BigInt(y));
      return Number(isSigned ? BigInt.asIntN(64, bits) : BigInt.asUintN(64, bits));
    };
    return (
      (areKnown([a, b]) ? mapKnown(a.type, [a, b], exact) : null) ?? together(call, a.type, [a, b], (x, y) => wrapped(a.type, fn(x, y)))
    );
  };

const BitwiseNot: Operator = (call) => {
  const x = call.input(0);
  if (INTEGERS[x.type] === undefined) throw call.fault(`the input is of an integer type, got ${x.type}`);
  // The upper half of the result has ones where that of the input has zeros.
  if (x.type === "uint64") throw call.fault("the complement of 64 bits without a sign is beyond 32 bits, in which integers are computed");
  return mapped(x, (t) => wrapped(x.type, not(t)));
};

/**
 * By multiplication with a power of two, or division by it. A shift by all bits or more, or by less than none, leaves what the sign is
 * continued by: -1 of a negative number that is shifted to the right, else 0.
 */
const BitShift: Operator = (call) => {
  const [a, b] = integers(call);
  const isLeft = call.word("direction", ["LEFT", "RIGHT"], "") === "LEFT";
  const own = (INTEGERS[a.type] as IntegerRange).bits;
  const isSigned = (INTEGERS[a.type] as IntegerRange).least < 0;
  if (areKnown([a, b])) {
    const shifted = (x: number, y: number): number => {
      const by = y < 0 || y >= own ? BigInt(own) : BigInt(y);
      const bits = isLeft ? BigInt(x) << by : BigInt(x) >> by;
      return Number(isSigned ? BigInt.asIntN(own, bits) : BigInt.asUintN(own, bits));
    };
    const result = mapKnown(a.type, [a, b], shifted);
    if (result !== null) return result;
  }
  const dtype = dtypeOf(call.who, a.type);
  const bits = Math.min(32, own);
  const powers = lockstep.tensor(
    Array.from({ length: bits }, (_, i) => (dtype === "i32" ? (2 ** i) | 0 : 2 ** i)),
    [bits],
    dtype,
  );
  return together(call, a.type, [a, b], (x, y) => {
    const isInside = dtype === "u32" ? less(y, bits) : and(lockstep.greaterEqual(y, 0), less(y, bits));
    const power = lockstep.gather(powers, lockstep.cast(lockstep.minimum(lockstep.maximum(y, 0), bits - 1), "i32"));
    // 2^31 has no place among 32 bits with a sign: halves come first.
    const divided = isSigned && own >= 32 ? halved(x, y) : lockstep.floorDiv(x, power);
    const fill = isSigned && !isLeft ? lockstep.cast(lockstep.where(less(x, 0), -1, 0), "i32") : 0;
    return wrapped(a.type, lockstep.where(isInside, isLeft ? lockstep.mul(x, power) : divided, fill));
  });
};

/** x / 2^y, rounded down, for y of 0 to 31. */
function halved(x: Tensor, y: Tensor): Tensor {
  const powers = lockstep.tensor(
    Array.from({ length: 31 }, (_, i) => 2 ** i),
    [31],
    "i32",
  );
  const by = lockstep.minimum(lockstep.maximum(y, 0), 31);
  const rest = lockstep.floorDiv(x, lockstep.gather(powers, lockstep.minimum(by, 30)));
  return lockstep.where(lockstep.equal(by, 31), lockstep.floorDiv(rest, 2), rest);
}

/** The bits of an element as another type has them. Integers of 32 bits keep them; others are computed of known elements. */
const BitCast: Operator = (call) => {
  const x = call.input(0);
  const type = elementType(call.who, call.int("to", 0));
  if (bitsOf(type) !== bitsOf(x.type) || type === "bool" || type === "string")
    throw call.fault(`${x.type} and ${type} do not have the same bits`);
  if (type === x.type) return x;
  if (!isFloat(x.type) && !isFloat(type) && x.known === null) {
    const dtype = dtypeOf(call.who, type);
    return mapped(x, (t) => wrapped(type, lockstep.cast(t, dtype)), type);
  }
  return Value.numbers(type, decoded(type, encoded(x.type, x.elements), x.size), x.shape);
};

/** Told by comparisons, which hold of NaN on every device. */
const isNaN = (x: Tensor): Tensor => and(not(isFinite(x)), and(not(greater(x, 0)), not(less(x, 0))));

const IsInf: Operator = (call) => {
  const [high, low] = [call.flag("detect_positive", true), call.flag("detect_negative", true)];
  return mapped(
    call.input(0),
    (x) => {
      const side =
        high && low ? lockstep.or(greater(x, 0), less(x, 0)) : high ? greater(x, 0) : low ? less(x, 0) : and(less(x, 0), greater(x, 0));
      return and(not(isFinite(x)), side);
    },
    "bool",
  );
};

export const BITS: Operators = {
  BitwiseAnd: bitwise(
    (a, b) => lockstep.and(a, b),
    (a, b) => a & b,
  ),
  BitwiseOr: bitwise(
    (a, b) => lockstep.or(a, b),
    (a, b) => a | b,
  ),
  BitwiseXor: bitwise(
    (a, b) => lockstep.xor(a, b),
    (a, b) => a ^ b,
  ),
  BitwiseNot,
  BitShift,
  BitCast,
  IsInf,
  IsNaN: (call) => mapped(call.input(0), isNaN, "bool"),
};

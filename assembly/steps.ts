/**
 * @file One elementwise step over a tile: `step(op, d, a, b, c, bytes)` writes bytes/16 vectors to d from the operands
 * at a, b, c. Numbers are those of src/wasm/steps.ts; integer variants are op + TYPE_I32 and so on. d may equal an operand.
 * Three functions keep each small enough to be optimised at once: plain arithmetic, transcendental functions, integers.
 */
import { ACT_SIGMOID, ACT_TANH } from "../src/wasm/opcodes";
import * as S from "../src/wasm/steps";
import { activateRow } from "./activation";
import * as M from "./math";
import { madd, msub } from "./simd";

/** bool is 0 or 1: the lowest bit of a comparison's mask. */
// @ts-ignore: decorator
@inline
function bool01(mask: v128): v128 {
  return v128.and(mask, i32x4.splat(1));
}

// @ts-ignore: decorator
@inline
function signOf(x: v128): v128 {
  const one = v128.or(v128.and(x, f32x4.splat(-0.0)), f32x4.splat(1));
  return v128.bitselect(x, one, v128.or(f32x4.eq(x, f32x4.splat(0)), f32x4.ne(x, x)));
}

/** Exponent bits not all ones: neither infinite nor NaN. */
// @ts-ignore: decorator
@inline
function finite(x: v128): v128 {
  const exponent = i32x4.splat(0x7f800000);
  return bool01(i32x4.ne(v128.and(x, exponent), exponent));
}

/** Of the bits of a positive f32: its exponent, that of subnormal numbers as it counts, and its digits as a whole number. */
// @ts-ignore: decorator
@inline
function exponentOf(bits: u32): u32 {
  return max<u32>(bits >> 23, 1);
}

// @ts-ignore: decorator
@inline
function digitsOf(bits: u32): u32 {
  return bits - ((exponentOf(bits) - 1) << 23);
}

/** The remainder with the divisor's sign: exact, by whole numbers, since a quotient may have more digits than an f32. */
function floorMod(x: f32, y: f32): f32 {
  const b = reinterpret<u32>(y) & 0x7fffffff;
  let rest = reinterpret<u32>(x) & 0x7fffffff;
  if (b == 0 || b > 0x7f800000 || rest >= 0x7f800000) return reinterpret<f32>(0x7fc00000);
  if (rest >= b) {
    const exponent = exponentOf(b);
    const divisor = digitsOf(b);
    let left = exponentOf(rest) - exponent;
    rest = digitsOf(rest) % divisor;
    while (left > 0) {
      const digits = min<u32>(left, 8);
      rest = (rest << digits) % divisor;
      left -= digits;
    }
    if (rest > 0) {
      const up = min<u32>(clz<u32>(rest) - 8, exponent - 1);
      rest = (rest << up) + ((exponent - up - 1) << 23);
    }
  }
  if (rest == 0) return copysign<f32>(0, y);
  const r = copysign<f32>(reinterpret<f32>(rest), x);
  return r < 0 != y < 0 ? r + y : r;
}

export function step(op: u32, d: usize, a: usize, b: usize, c: usize, bytes: usize): void {
  const end = d + bytes;
  switch (op) {
    case S.STEP_ADD: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, f32x4.add(load<v128>(a), load<v128>(b)));
      return;
    }
    case S.STEP_SUB: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, f32x4.sub(load<v128>(a), load<v128>(b)));
      return;
    }
    case S.STEP_MUL: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, f32x4.mul(load<v128>(a), load<v128>(b)));
      return;
    }
    case S.STEP_DIV: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, f32x4.div(load<v128>(a), load<v128>(b)));
      return;
    }
    case S.STEP_MAXIMUM: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, f32x4.max(load<v128>(a), load<v128>(b)));
      return;
    }
    case S.STEP_MINIMUM: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, f32x4.min(load<v128>(a), load<v128>(b)));
      return;
    }
    case S.STEP_MOD: {
      for (; d < end; d += 4, a += 4, b += 4) store<f32>(d, floorMod(load<f32>(a), load<f32>(b)));
      return;
    }
    case S.STEP_EQUAL: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, bool01(f32x4.eq(load<v128>(a), load<v128>(b))));
      return;
    }
    case S.STEP_NOTEQUAL: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, bool01(f32x4.ne(load<v128>(a), load<v128>(b))));
      return;
    }
    case S.STEP_LESS: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, bool01(f32x4.lt(load<v128>(a), load<v128>(b))));
      return;
    }
    case S.STEP_LESSEQUAL: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, bool01(f32x4.le(load<v128>(a), load<v128>(b))));
      return;
    }
    case S.STEP_GREATER: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, bool01(f32x4.gt(load<v128>(a), load<v128>(b))));
      return;
    }
    case S.STEP_GREATEREQUAL: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, bool01(f32x4.ge(load<v128>(a), load<v128>(b))));
      return;
    }
    case S.STEP_NEG: {
      for (; d < end; d += 16, a += 16) store<v128>(d, f32x4.neg(load<v128>(a)));
      return;
    }
    case S.STEP_ABS: {
      for (; d < end; d += 16, a += 16) store<v128>(d, f32x4.abs(load<v128>(a)));
      return;
    }
    case S.STEP_SIGN: {
      for (; d < end; d += 16, a += 16) store<v128>(d, signOf(load<v128>(a)));
      return;
    }
    case S.STEP_FLOOR: {
      for (; d < end; d += 16, a += 16) store<v128>(d, f32x4.floor(load<v128>(a)));
      return;
    }
    case S.STEP_CEIL: {
      for (; d < end; d += 16, a += 16) store<v128>(d, f32x4.ceil(load<v128>(a)));
      return;
    }
    case S.STEP_ROUND: {
      for (; d < end; d += 16, a += 16) store<v128>(d, f32x4.nearest(load<v128>(a)));
      return;
    }
    case S.STEP_SQRT: {
      for (; d < end; d += 16, a += 16) store<v128>(d, f32x4.sqrt(load<v128>(a)));
      return;
    }
    case S.STEP_RSQRT: {
      for (; d < end; d += 16, a += 16) store<v128>(d, f32x4.div(f32x4.splat(1), f32x4.sqrt(load<v128>(a))));
      return;
    }
    case S.STEP_SQUARE: {
      for (; d < end; d += 16, a += 16) store<v128>(d, f32x4.mul(load<v128>(a), load<v128>(a)));
      return;
    }
    case S.STEP_RECIPROCAL: {
      for (; d < end; d += 16, a += 16) store<v128>(d, f32x4.div(f32x4.splat(1), load<v128>(a)));
      return;
    }
    case S.STEP_ISFINITE: {
      for (; d < end; d += 16, a += 16) store<v128>(d, finite(load<v128>(a)));
      return;
    }
    // A NaN stays: pmax keeps its first operand unless the second is larger.
    case S.STEP_RELU: {
      for (; d < end; d += 16, a += 16) store<v128>(d, f32x4.pmax(load<v128>(a), f32x4.splat(0)));
      return;
    }
    case S.STEP_WHERE: {
      // The condition is 0 or 1; negated it is a mask.
      for (; d < end; d += 16, a += 16, b += 16, c += 16)
        store<v128>(d, v128.bitselect(load<v128>(b), load<v128>(c), i32x4.neg(load<v128>(a))));
      return;
    }
    case S.STEP_MADD: {
      for (; d < end; d += 16, a += 16, b += 16, c += 16) store<v128>(d, madd(load<v128>(a), load<v128>(b), load<v128>(c)));
      return;
    }
    case S.STEP_MSUB: {
      for (; d < end; d += 16, a += 16, b += 16, c += 16) store<v128>(d, msub(load<v128>(a), load<v128>(b), load<v128>(c)));
      return;
    }
    case S.STEP_STORE: {
      for (; d < end; d += 16, a += 16) store<v128>(d, load<v128>(a));
      return;
    }
    default:
      if (op < <u32>S.TYPE_I32) transcendental(op, d, a, b, end);
      else if (op >= <u32>S.STEP_CASTS) castStep(op, d, a, end);
      else integer(op, d, a, b, end);
  }
}

function transcendental(op: u32, d: usize, a: usize, b: usize, end: usize): void {
  switch (op) {
    case S.STEP_EXP: {
      for (; d < end; d += 16, a += 16) store<v128>(d, M.exp(load<v128>(a)));
      return;
    }
    case S.STEP_LOG: {
      for (; d < end; d += 16, a += 16) store<v128>(d, M.log(load<v128>(a)));
      return;
    }
    case S.STEP_EXPM1: {
      for (; d < end; d += 16, a += 16) store<v128>(d, M.expm1(load<v128>(a)));
      return;
    }
    case S.STEP_LOG1P: {
      for (; d < end; d += 16, a += 16) store<v128>(d, M.log1p(load<v128>(a)));
      return;
    }
    case S.STEP_SIN: {
      for (; d < end; d += 16, a += 16) store<v128>(d, M.sin(load<v128>(a)));
      return;
    }
    case S.STEP_COS: {
      for (; d < end; d += 16, a += 16) store<v128>(d, M.cos(load<v128>(a)));
      return;
    }
    case S.STEP_TANH: {
      activateRow(ACT_TANH, d, a, (<u32>(end - d)) >> 2);
      return;
    }
    case S.STEP_SIGMOID: {
      activateRow(ACT_SIGMOID, d, a, (<u32>(end - d)) >> 2);
      return;
    }
    case S.STEP_ERF: {
      for (; d < end; d += 16, a += 16) store<v128>(d, M.erf(load<v128>(a)));
      return;
    }
    case S.STEP_ERFC: {
      for (; d < end; d += 16, a += 16) store<v128>(d, M.erfc(load<v128>(a)));
      return;
    }
    case S.STEP_POW: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, M.pow(load<v128>(a), load<v128>(b)));
      return;
    }
    default:
      unreachable();
  }
}

/** One lane at a time: SIMD128 has no integer division. */
// @ts-ignore: decorator
@inline
function divide(x: i32, y: i32, signed: bool): i32 {
  if (y == 0) return 0;
  if (!signed) return <i32>(<u32>x / <u32>y);
  return y == -1 ? -x : x / y;
}

// @ts-ignore: decorator
@inline
function modulo(x: i32, y: i32, signed: bool): i32 {
  if (y == 0) return 0;
  if (!signed) return <i32>(<u32>x % <u32>y);
  if (y == -1) return 0;
  const r = x % y;
  return r != 0 && (r ^ y) < 0 ? r + y : r;
}

function integer(op: u32, d: usize, a: usize, b: usize, end: usize): void {
  switch (op) {
    case S.STEP_ADD + S.TYPE_I32:
    case S.STEP_ADD + S.TYPE_U32: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, i32x4.add(load<v128>(a), load<v128>(b)));
      return;
    }
    case S.STEP_SUB + S.TYPE_I32:
    case S.STEP_SUB + S.TYPE_U32: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, i32x4.sub(load<v128>(a), load<v128>(b)));
      return;
    }
    case S.STEP_MUL + S.TYPE_I32:
    case S.STEP_MUL + S.TYPE_U32: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, i32x4.mul(load<v128>(a), load<v128>(b)));
      return;
    }
    case S.STEP_MAXIMUM + S.TYPE_I32: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, i32x4.max_s(load<v128>(a), load<v128>(b)));
      return;
    }
    case S.STEP_MAXIMUM + S.TYPE_U32: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, i32x4.max_u(load<v128>(a), load<v128>(b)));
      return;
    }
    case S.STEP_MINIMUM + S.TYPE_I32: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, i32x4.min_s(load<v128>(a), load<v128>(b)));
      return;
    }
    case S.STEP_MINIMUM + S.TYPE_U32: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, i32x4.min_u(load<v128>(a), load<v128>(b)));
      return;
    }
    case S.STEP_NEG + S.TYPE_I32:
    case S.STEP_NEG + S.TYPE_U32: {
      for (; d < end; d += 16, a += 16) store<v128>(d, i32x4.neg(load<v128>(a)));
      return;
    }
    case S.STEP_ABS + S.TYPE_I32: {
      for (; d < end; d += 16, a += 16) store<v128>(d, i32x4.abs(load<v128>(a)));
      return;
    }
    case S.STEP_ABS + S.TYPE_U32: {
      for (; d < end; d += 16, a += 16) store<v128>(d, load<v128>(a));
      return;
    }
    case S.STEP_SIGN + S.TYPE_I32: {
      for (; d < end; d += 16, a += 16)
        store<v128>(d, v128.or(i32x4.shr_s(load<v128>(a), 31), bool01(i32x4.gt_s(load<v128>(a), i32x4.splat(0)))));
      return;
    }
    case S.STEP_SIGN + S.TYPE_U32: {
      for (; d < end; d += 16, a += 16) store<v128>(d, bool01(i32x4.ne(load<v128>(a), i32x4.splat(0))));
      return;
    }
    case S.STEP_SQUARE + S.TYPE_I32:
    case S.STEP_SQUARE + S.TYPE_U32: {
      for (; d < end; d += 16, a += 16) store<v128>(d, i32x4.mul(load<v128>(a), load<v128>(a)));
      return;
    }
    case S.STEP_DIV + S.TYPE_I32: {
      for (; d < end; d += 4, a += 4, b += 4) store<i32>(d, divide(load<i32>(a), load<i32>(b), true));
      return;
    }
    case S.STEP_DIV + S.TYPE_U32: {
      for (; d < end; d += 4, a += 4, b += 4) store<i32>(d, divide(load<i32>(a), load<i32>(b), false));
      return;
    }
    case S.STEP_MOD + S.TYPE_I32: {
      for (; d < end; d += 4, a += 4, b += 4) store<i32>(d, modulo(load<i32>(a), load<i32>(b), true));
      return;
    }
    case S.STEP_MOD + S.TYPE_U32: {
      for (; d < end; d += 4, a += 4, b += 4) store<i32>(d, modulo(load<i32>(a), load<i32>(b), false));
      return;
    }
    case S.STEP_EQUAL + S.TYPE_I32:
    case S.STEP_EQUAL + S.TYPE_U32:
    case S.STEP_EQUAL + S.TYPE_BOOL: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, bool01(i32x4.eq(load<v128>(a), load<v128>(b))));
      return;
    }
    case S.STEP_NOTEQUAL + S.TYPE_I32:
    case S.STEP_NOTEQUAL + S.TYPE_U32:
    case S.STEP_NOTEQUAL + S.TYPE_BOOL: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, bool01(i32x4.ne(load<v128>(a), load<v128>(b))));
      return;
    }
    case S.STEP_LESS + S.TYPE_I32: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, bool01(i32x4.lt_s(load<v128>(a), load<v128>(b))));
      return;
    }
    case S.STEP_LESS + S.TYPE_U32: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, bool01(i32x4.lt_u(load<v128>(a), load<v128>(b))));
      return;
    }
    case S.STEP_LESSEQUAL + S.TYPE_I32: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, bool01(i32x4.le_s(load<v128>(a), load<v128>(b))));
      return;
    }
    case S.STEP_LESSEQUAL + S.TYPE_U32: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, bool01(i32x4.le_u(load<v128>(a), load<v128>(b))));
      return;
    }
    case S.STEP_GREATER + S.TYPE_I32: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, bool01(i32x4.gt_s(load<v128>(a), load<v128>(b))));
      return;
    }
    case S.STEP_GREATER + S.TYPE_U32: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, bool01(i32x4.gt_u(load<v128>(a), load<v128>(b))));
      return;
    }
    case S.STEP_GREATEREQUAL + S.TYPE_I32: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, bool01(i32x4.ge_s(load<v128>(a), load<v128>(b))));
      return;
    }
    case S.STEP_GREATEREQUAL + S.TYPE_U32: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, bool01(i32x4.ge_u(load<v128>(a), load<v128>(b))));
      return;
    }
    case S.STEP_AND + S.TYPE_I32:
    case S.STEP_AND + S.TYPE_U32:
    case S.STEP_AND + S.TYPE_BOOL: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, v128.and(load<v128>(a), load<v128>(b)));
      return;
    }
    case S.STEP_OR + S.TYPE_I32:
    case S.STEP_OR + S.TYPE_U32:
    case S.STEP_OR + S.TYPE_BOOL: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, v128.or(load<v128>(a), load<v128>(b)));
      return;
    }
    case S.STEP_XOR + S.TYPE_I32:
    case S.STEP_XOR + S.TYPE_U32:
    case S.STEP_XOR + S.TYPE_BOOL: {
      for (; d < end; d += 16, a += 16, b += 16) store<v128>(d, v128.xor(load<v128>(a), load<v128>(b)));
      return;
    }
    case S.STEP_NOT + S.TYPE_I32:
    case S.STEP_NOT + S.TYPE_U32: {
      for (; d < end; d += 16, a += 16) store<v128>(d, v128.not(load<v128>(a)));
      return;
    }
    case S.STEP_NOT + S.TYPE_BOOL: {
      for (; d < end; d += 16, a += 16) store<v128>(d, v128.xor(load<v128>(a), i32x4.splat(1)));
      return;
    }
    default:
      unreachable();
  }
}

function castStep(op: u32, d: usize, a: usize, end: usize): void {
  switch (op) {
    case S.STEP_CAST_F32_I32: {
      for (; d < end; d += 16, a += 16) store<v128>(d, i32x4.trunc_sat_f32x4_s(load<v128>(a)));
      return;
    }
    case S.STEP_CAST_F32_U32: {
      for (; d < end; d += 16, a += 16) store<v128>(d, i32x4.trunc_sat_f32x4_u(load<v128>(a)));
      return;
    }
    case S.STEP_CAST_F32_BOOL: {
      for (; d < end; d += 16, a += 16) store<v128>(d, bool01(f32x4.ne(load<v128>(a), f32x4.splat(0))));
      return;
    }
    case S.STEP_CAST_I32_F32: {
      for (; d < end; d += 16, a += 16) store<v128>(d, f32x4.convert_i32x4_s(load<v128>(a)));
      return;
    }
    case S.STEP_CAST_U32_F32: {
      for (; d < end; d += 16, a += 16) store<v128>(d, f32x4.convert_i32x4_u(load<v128>(a)));
      return;
    }
    case S.STEP_CAST_INT_BOOL: {
      for (; d < end; d += 16, a += 16) store<v128>(d, bool01(i32x4.ne(load<v128>(a), i32x4.splat(0))));
      return;
    }
    default:
      unreachable();
  }
}

/**
 * @file Elementwise ops. One row each: name, dtypes, gradient. Operands broadcast by NumPy's rule; dtypes by that of promote.ts. All of
 * them are steps of the `map` kernel, fused with their neighbours by plan/fuse.ts; the step of the same name is in assembly/map.ts.
 */
import { apply } from "../apply.ts";
import type { DType } from "../dtype.ts";
import { DTypeError } from "../errors.ts";
import { asTensor, constantOp, currentGraph } from "../graph.ts";
import type { Op, Vjp, VjpContext } from "../graph.ts";
import { broadcastShapes, sameShape } from "../shape.ts";
import { checkDType } from "../tensor.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import { TRAINING } from "../training.ts";
import { sumTo } from "./broadcast.ts";
import { cast, promoted, toFloat } from "./promote.ts";

export { cast, castOp } from "./promote.ts";

const NUMBERS: readonly DType[] = ["f32", "i32", "u32"];
const FLOAT: readonly DType[] = ["f32"];
const LOGICAL: readonly DType[] = ["bool", "i32", "u32"];
const ALL: readonly DType[] = ["f32", "i32", "u32", "bool"];

type Rule = (c: { dy: Tensor; y: Tensor; a: Tensor; b: Tensor; needs: readonly boolean[] }) => readonly (Tensor | null)[];

/** Wraps a rule of one output into the general form and folds broadcast dimensions of the results back by summing. */
function elementwise(rule: Rule): Vjp {
  return ({ dy, y, x, needs }: VjpContext) => {
    const grads = rule({ dy: dy[0] as Tensor, y: y[0], a: x[0] as Tensor, b: x[x.length > 1 ? 1 : 0] as Tensor, needs });
    return grads.map((g, i) => (g === null || !needs[i] ? null : sumTo(g, (x[i] as Tensor).shape)));
  };
}

/** An elementwise op: operands of one dtype out of `allowed`, result of that dtype or of `result`. */
function row(name: string, allowed: readonly DType[], rule: Rule | null, result: DType | null = null): Op {
  return {
    name,
    infer: (inputs) => {
      const list = inputs as readonly Tensor[];
      for (const t of list) {
        checkDType(name, t, allowed);
        if (t.dtype !== list[0].dtype)
          throw new DTypeError(`${name}: operands must have one dtype, got ${list.join(" and ")}; convert one with cast()`);
      }
      return [
        {
          shape: broadcastShapes(
            name,
            list.map((t) => t.shape),
          ),
          dtype: result ?? list[0].dtype,
        },
      ];
    },
    vjp: TRAINING && rule !== null ? elementwise(rule) : null,
    lower: "map",
  };
}

/** The number that `t` is known to be while tracing, or null. */
export function constantValue(t: Tensor): number | null {
  return t.node !== null && t.node.op === constantOp ? (t.node.attrs.value as number) : null;
}

// Constants are folded where one IEEE rounding of exact arithmetic gives what the kernel would.
const FOLD: { readonly [name: string]: (a: number, b: number) => number } = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  neg: (a) => -a,
  abs: (a) => Math.abs(a),
  sqrt: (a) => Math.sqrt(a),
  maximum: (a, b) => Math.max(a, b),
  minimum: (a, b) => Math.min(a, b),
};

/** The second operand that leaves the first as it is; that of add and mul does so also as the first. */
const NEUTRAL: { readonly [name: string]: number } = { add: 0, sub: 0, mul: 1, div: 1 };

function call(op: Op, operands: readonly Tensor[]): Tensor {
  const graph = currentGraph();
  if (graph === null) return apply(op, operands)[0];
  const values = operands.map(constantValue);
  const fold = FOLD[op.name];
  if (fold !== undefined && operands.every((t, i) => values[i] !== null && t.dtype === "f32")) {
    const shape = broadcastShapes(
      op.name,
      operands.map((t) => t.shape),
    );
    return graph.constant(
      Math.fround(fold(Math.fround(values[0] as number), Math.fround(values[values.length - 1] as number))),
      "f32",
      shape,
    );
  }
  const [a, b] = operands;
  const neutral = NEUTRAL[op.name];
  if (neutral !== undefined && values[1] === neutral && b.rank === 0) return a;
  if (neutral !== undefined && values[0] === neutral && a.rank === 0 && (op === addOp || op === mulOp)) return b;
  return apply(op, withoutBroadcasts(op, operands))[0];
}

/** A broadcast tensor need not exist where another operand already has the full shape: map reads with stride 0. */
function withoutBroadcasts(op: Op, operands: readonly Tensor[]): readonly Tensor[] {
  if (!operands.some((t) => t.node?.op.name === "broadcastTo")) return operands;
  const { shape } = op.infer(operands, {})[0];
  const sources = operands.map((t) => (t.node?.op.name === "broadcastTo" ? (t.node.inputs[0] as Tensor) : t));
  return sameShape(
    broadcastShapes(
      op.name,
      sources.map((t) => t.shape),
    ),
    shape,
  )
    ? sources
    : operands;
}

/** Of integers too. */
function unary(op: Op) {
  return (x: TensorLike): Tensor => call(op, [asTensor(x, "f32", op.name)]);
}

/** Of f32 alone. */
function float(op: Op) {
  return (x: TensorLike): Tensor => call(op, [toFloat(op.name, x)]);
}

/** To integers, which integers are. */
function rounding(op: Op) {
  return (x: TensorLike): Tensor => {
    const t = asTensor(x, "f32", op.name);
    return t.dtype === "f32" ? call(op, [t]) : t;
  };
}

/** Of f32, tensors and numbers, without the rule of dtypes. */
export const onFloats =
  (op: Op) =>
  (...operands: readonly (Tensor | number)[]): Tensor =>
    call(
      op,
      operands.map((x) => asTensor(x, "f32", op.name)),
    );

/** `bools`: what is done with two bools, another op, or this one as another dtype. By default an error. */
function binary(op: Op, bools: Op | DType = op) {
  return (a: TensorLike, b: TensorLike): Tensor => {
    const operands = promoted(op.name, [a, b]);
    if (operands[0].dtype !== "bool") return call(op, operands);
    return typeof bools === "string"
      ? call(
          op,
          operands.map((t) => cast(t, bools)),
        )
      : call(bools, operands);
  };
}

export const addOp = row("add", NUMBERS, TRAINING ? ({ dy }) => [dy, dy] : null);
export const subOp = row("sub", NUMBERS, TRAINING ? ({ dy, needs }) => [dy, needs[1] ? neg(dy) : null] : null);
export const mulOp = row(
  "mul",
  NUMBERS,
  TRAINING ? ({ dy, a, b, needs }) => [needs[0] ? mul(dy, b) : null, needs[1] ? mul(dy, a) : null] : null,
);
export const divOp = row(
  "div",
  NUMBERS,
  TRAINING ? ({ dy, y, b, needs }) => [needs[0] ? div(dy, b) : null, needs[1] ? neg(mul(dy, div(y, b))) : null] : null,
);
/** b - 1, but 0 where b is: a^0 is 1 everywhere, also where a^-1 is infinite. */
const lowered = (b: Tensor): Tensor => ((constantValue(b) ?? 0) === 0 ? where(equal(b, 0), 0, sub(b, 1)) : sub(b, 1));
/** d(a^b) = b a^(b-1) da + a^b log(a) db; the second term counts only where a > 0. */
export const powOp = row(
  "pow",
  FLOAT,
  TRAINING
    ? ({ dy, y, a, b, needs }) => [
        needs[0] ? mul(dy, mul(b, pow(a, lowered(b)))) : null,
        needs[1] ? mul(dy, where(greater(a, 0), mul(y, log(where(greater(a, 0), a, 1))), 0)) : null,
      ]
    : null,
);
/** On ties the gradient goes to the first operand, as in TensorFlow. */
export const maximumOp = row(
  "maximum",
  NUMBERS,
  TRAINING ? ({ dy, a, b }) => [where(greaterEqual(a, b), dy, 0), where(less(a, b), dy, 0)] : null,
);
export const minimumOp = row(
  "minimum",
  NUMBERS,
  TRAINING ? ({ dy, a, b }) => [where(lessEqual(a, b), dy, 0), where(greater(a, b), dy, 0)] : null,
);
/** Floor modulo: the result has the sign of b. d/da = 1, d/db = -floor(a/b). */
export const modOp = row("mod", NUMBERS, TRAINING ? ({ dy, a, b, needs }) => [dy, needs[1] ? neg(mul(dy, floor(div(a, b)))) : null] : null);

export const negOp = row("neg", NUMBERS, TRAINING ? ({ dy }) => [neg(dy)] : null);
export const absOp = row("abs", NUMBERS, TRAINING ? ({ dy, a }) => [mul(dy, sign(a))] : null);
export const signOp = row("sign", NUMBERS, null);
export const floorOp = row("floor", FLOAT, null);
export const ceilOp = row("ceil", FLOAT, null);
export const roundOp = row("round", FLOAT, null);
export const expOp = row("exp", FLOAT, TRAINING ? ({ dy, y }) => [mul(dy, y)] : null);
export const logOp = row("log", FLOAT, TRAINING ? ({ dy, a }) => [div(dy, a)] : null);
export const expm1Op = row("expm1", FLOAT, TRAINING ? ({ dy, y }) => [mul(dy, add(y, 1))] : null);
export const log1pOp = row("log1p", FLOAT, TRAINING ? ({ dy, a }) => [div(dy, add(a, 1))] : null);
export const sqrtOp = row("sqrt", FLOAT, TRAINING ? ({ dy, y }) => [div(mul(dy, 0.5), y)] : null);
/** d(x^-1/2) = -1/2 x^-3/2 */
export const rsqrtOp = row("rsqrt", FLOAT, TRAINING ? ({ dy, y }) => [mul(mul(dy, -0.5), mul(y, mul(y, y)))] : null);
/** 2 dy a, the product first: so that nothing but a itself is kept from the forward pass. */
export const squareOp = row("square", NUMBERS, TRAINING ? ({ dy, a }) => [mul(mul(dy, a), 2)] : null);
export const reciprocalOp = row("reciprocal", FLOAT, TRAINING ? ({ dy, y }) => [neg(mul(dy, mul(y, y)))] : null);
export const sinOp = row("sin", FLOAT, TRAINING ? ({ dy, a }) => [mul(dy, cos(a))] : null);
export const cosOp = row("cos", FLOAT, TRAINING ? ({ dy, a }) => [neg(mul(dy, sin(a)))] : null);
export const tanhOp = row("tanh", FLOAT, TRAINING ? ({ dy, y }) => [mul(dy, sub(1, mul(y, y)))] : null);
export const sigmoidOp = row("sigmoid", FLOAT, TRAINING ? ({ dy, y }) => [mul(dy, mul(y, sub(1, y)))] : null);
/** d erf(x) = 2/sqrt(pi) exp(-x^2) */
export const erfOp = row("erf", FLOAT, TRAINING ? ({ dy, a }) => [mul(dy, mul(1.1283791670955126, exp(neg(mul(a, a)))))] : null);
/** d erfc(x) = -2/sqrt(pi) exp(-x^2) */
export const erfcOp = row("erfc", FLOAT, TRAINING ? ({ dy, a }) => [mul(dy, mul(-1.1283791670955126, exp(neg(mul(a, a)))))] : null);
/** max(x, 0), with gradient 0 at 0. */
export const reluOp = row("relu", FLOAT, TRAINING ? ({ dy, y }) => [where(greater(y, 0), dy, 0)] : null);

export const equalOp = row("equal", ALL, null, "bool");
export const notEqualOp = row("notEqual", ALL, null, "bool");
export const lessOp = row("less", NUMBERS, null, "bool");
export const lessEqualOp = row("lessEqual", NUMBERS, null, "bool");
export const greaterOp = row("greater", NUMBERS, null, "bool");
export const greaterEqualOp = row("greaterEqual", NUMBERS, null, "bool");
export const andOp = row("and", LOGICAL, null);
export const orOp = row("or", LOGICAL, null);
export const xorOp = row("xor", LOGICAL, null);
export const notOp = row("not", LOGICAL, null);
/** By integer bit test, so that no compiler's idea of NaN matters. */
export const isFiniteOp = row("isFinite", FLOAT, null, "bool");

export const whereOp: Op = {
  name: "where",
  infer: (inputs) => {
    const [c, a, b] = inputs as readonly Tensor[];
    if (c.dtype !== "bool") throw new DTypeError(`where: the condition must be bool, got ${c}; compare first`);
    if (a.dtype !== b.dtype) throw new DTypeError(`where: both branches must have one dtype, got ${a} and ${b}`);
    return [{ shape: broadcastShapes("where", [c.shape, a.shape, b.shape]), dtype: a.dtype }];
  },
  vjp: TRAINING
    ? ({ dy, x, needs }) => {
        const [c, a, b] = x as readonly Tensor[];
        const d = dy[0] as Tensor;
        return [null, needs[1] ? sumTo(where(c, d, 0), a.shape) : null, needs[2] ? sumTo(where(c, 0, d), b.shape) : null];
      }
    : null,
  lower: "map",
};

/** a + b, elementwise. Operands broadcast, dtypes promote. @throws DTypeError for i32 with u32, ShapeError where shapes do not fit. */
export const add = binary(addOp, orOp);
/** a - b, elementwise. Operands broadcast, dtypes promote. @throws DTypeError for i32 with u32, ShapeError where shapes do not fit. */
export const sub = binary(subOp);
/** a * b, elementwise. Operands broadcast, dtypes promote. @throws DTypeError for i32 with u32, ShapeError where shapes do not fit. */
export const mul = binary(mulOp, andOp);
/**
 * a / b, elementwise, as f32 also for integers and bools (`floorDiv` divides integers). Operands broadcast. @throws ShapeError where
 * shapes do not fit.
 */
export const div = (a: TensorLike, b: TensorLike): Tensor => call(divOp, [toFloat("div", a), toFloat("div", b)]);

/**
 * floor(a / b) of integers, exactly; 0 where b is 0. Operands broadcast. @throws DTypeError unless both are of one integer dtype (or
 * bool), ShapeError where shapes do not fit.
 */
export function floorDiv(a: TensorLike, b: TensorLike): Tensor {
  const [x, y] = promoted("floorDiv", [a, b]).map((t) => (t.dtype === "bool" ? cast(t, "i32") : t));
  if (x.dtype === "f32") throw new DTypeError("floorDiv: expected integers, got f32; write floor(div(a, b))");
  // The kernels truncate: one too many where the quotient is negative and not whole.
  return sub(call(divOp, [x, y]), cast(and(notEqual(mod(x, y), 0), less(xor(x, y), 0)), x.dtype));
}

/** @internal What `floorDiv` gives for an i32 tensor and a number where neither is negative, in one step. */
export const quotient = (a: Tensor, b: number): Tensor => call(divOp, promoted("quotient", [a, b]));

/**
 * a^b, elementwise, by IEEE 754's rules for signs, zeros and infinities. Integers stay integers where b is a number, a whole one of at
 * least 0, and wrap. Operands broadcast, dtypes promote (docs/numbers.md). The gradient of a is 0 where b is 0; that of b counts where a is
 * above 0. @throws DTypeError for integers or bools with other exponents, ShapeError where shapes do not fit.
 */
export function pow(a: TensorLike, b: TensorLike): Tensor {
  const [x, y] = promoted("pow", [a, b]);
  if (x.dtype === "f32") return call(powOp, [x, y]);
  if (typeof b !== "number" || b < 0 || x.dtype === "bool") {
    throw new DTypeError(
      `pow: integers take a number of at least 0 as exponent, got ${x} and ${typeof b === "number" ? b : y}; convert with cast(x, "f32")`,
    );
  }
  let [result, square, rest] = [add(mul(x, 0), 1), x, b];
  for (; rest > 0; rest = Math.floor(rest / 2), square = mul(square, square)) if (rest % 2 === 1) result = mul(result, square);
  return result;
}

/**
 * The larger of each pair; NaN where either is NaN. On ties the gradient goes to `a`, as in TensorFlow. Operands broadcast, dtypes
 * promote. @throws DTypeError for i32 with u32, ShapeError where shapes do not fit.
 */
export const maximum = binary(maximumOp, orOp);
/**
 * The smaller of each pair; NaN where either is NaN. On ties the gradient goes to `a`. Operands broadcast, dtypes promote. @throws
 * DTypeError for i32 with u32, ShapeError where shapes do not fit.
 */
export const minimum = binary(minimumOp, andOp);
/**
 * a - b * floor(a / b), elementwise: the result has the sign of b. Exact for integers (0 where b is 0) and, in f32, for quotients below
 * 2^24; NaN for an infinite b. Operands broadcast, dtypes promote. @throws DTypeError for i32 with u32, ShapeError where shapes do not
 * fit.
 */
export const mod = binary(modOp, "i32");
/** -x, elementwise. f32, i32 or u32. Shape of x. @throws DTypeError for bools. */
export const neg = unary(negOp);
/** |x|, with gradient 0 at 0. f32, i32 or u32. Shape of x. @throws DTypeError for bools. */
export const abs = unary(absOp);
/** -1, 0 or 1. No gradient. f32, i32 or u32. Shape of x. @throws DTypeError for bools. */
export const sign = unary(signOp);
/** The largest integer not above x. No gradient. Integers and bools are returned as they are. Shape of x. */
export const floor = rounding(floorOp);
/** The smallest integer not below x. No gradient. Integers and bools are returned as they are. Shape of x. */
export const ceil = rounding(ceilOp);
/** To the nearest integer, halves to even. No gradient. Integers and bools are returned as they are. Shape of x. */
export const round = rounding(roundOp);
/** e^x, elementwise. f32, also of integers and bools. Shape of x. */
export const exp = float(expOp);
/** Natural logarithm: -Infinity at 0, NaN below. f32, also of integers and bools. Shape of x. */
export const log = float(logOp);
/** exp(x) - 1, accurate near 0. f32, also of integers and bools. Shape of x. */
export const expm1 = float(expm1Op);
/** log(1 + x), accurate near 0. f32, also of integers and bools. Shape of x. */
export const log1p = float(log1pOp);
/** Square root; NaN below 0. The gradient is infinite at 0. f32, also of integers and bools. Shape of x. */
export const sqrt = float(sqrtOp);
/** 1 / sqrt(x), elementwise. f32, also of integers and bools. Shape of x. */
export const rsqrt = float(rsqrtOp);
/** x * x, elementwise. f32, i32 or u32. Shape of x. @throws DTypeError for bools. */
export const square = unary(squareOp);
/** 1 / x, elementwise. f32, also of integers and bools. Shape of x. */
export const reciprocal = float(reciprocalOp);
/** Sine; x in radians. f32, also of integers and bools. Shape of x. */
export const sin = float(sinOp);
/** Cosine; x in radians. f32, also of integers and bools. Shape of x. */
export const cos = float(cosOp);
/** Hyperbolic tangent. f32, also of integers and bools. Shape of x. */
export const tanh = float(tanhOp);
/** 1 / (1 + exp(-x)), elementwise. f32, also of integers and bools. Shape of x. */
export const sigmoid = float(sigmoidOp);
/** Gauss' error function. f32, also of integers and bools. Shape of x. */
export const erf = float(erfOp);
/**
 * 1 - erf(x), the complementary error function, to 4 units in the last place also where it is tiny (0 from 10.06 on), and 1 - erf(x)
 * gives 0. f32, also of integers and bools. Shape of x. After Cody 1969 and Shepherd & Laframboise 1981.
 */
export const erfc = float(erfcOp);
/** max(x, 0), with gradient 0 at 0. f32. Shape of x. @throws DTypeError for bools. */
export function relu(x: TensorLike): Tensor {
  const t = asTensor(x, "f32", "relu");
  return t.dtype === "f32" ? call(reluOp, [t]) : maximum(t, 0);
}
/**
 * True where a = b. Result bool. Operands broadcast, dtypes promote. @throws DTypeError for i32 with u32, ShapeError where shapes do not
 * fit.
 */
export const equal = binary(equalOp);
/**
 * True where a is not b; NaN is not itself. Result bool. Operands broadcast, dtypes promote. @throws DTypeError for i32 with u32,
 * ShapeError where shapes do not fit.
 */
export const notEqual = binary(notEqualOp);
/**
 * True where a < b; false where either is NaN. Result bool. Operands broadcast, dtypes promote. @throws DTypeError for i32 with u32,
 * ShapeError where shapes do not fit.
 */
export const less = binary(lessOp, "i32");
/**
 * True where a <= b; false where either is NaN. Result bool. Operands broadcast, dtypes promote. @throws DTypeError for i32 with u32,
 * ShapeError where shapes do not fit.
 */
export const lessEqual = binary(lessEqualOp, "i32");
/**
 * True where a > b; false where either is NaN. Result bool. Operands broadcast, dtypes promote. @throws DTypeError for i32 with u32,
 * ShapeError where shapes do not fit.
 */
export const greater = binary(greaterOp, "i32");
/**
 * True where a >= b; false where either is NaN. Result bool. Operands broadcast, dtypes promote. @throws DTypeError for i32 with u32,
 * ShapeError where shapes do not fit.
 */
export const greaterEqual = binary(greaterEqualOp, "i32");
/**
 * a and b: logical for bool, bitwise for integers. bool, i32 or u32. Operands broadcast, dtypes promote. @throws DTypeError for i32 with
 * u32, ShapeError where shapes do not fit.
 */
export const and = binary(andOp);
/**
 * a or b: logical for bool, bitwise for integers. bool, i32 or u32. Operands broadcast, dtypes promote. @throws DTypeError for i32 with
 * u32, ShapeError where shapes do not fit.
 */
export const or = binary(orOp);
/**
 * Either, not both: logical for bool, bitwise for integers. bool, i32 or u32. Operands broadcast, dtypes promote. @throws DTypeError for
 * i32 with u32, ShapeError where shapes do not fit.
 */
export const xor = binary(xorOp);
/** Logical for bool, bitwise for integers. bool, i32 or u32. Shape of x. @throws DTypeError for bools. */
export const not = unary(notOp);
/** True where x is neither infinite nor NaN. Result bool. Shape of x. */
export const isFinite = float(isFiniteOp);

/**
 * `a` where `condition` (bool) holds, `b` elsewhere; the three broadcast, dtypes of the branches promote (docs/numbers.md). A gradient
 * that is infinite or NaN in the branch not taken stays NaN (0 times infinity): keep such arguments out of it, as in `where(c,
 * sqrt(where(c, x, 1)), 0)`. @throws DTypeError for a condition that is not bool, ShapeError where shapes do not fit.
 */
export function where(condition: TensorLike, a: TensorLike, b: TensorLike): Tensor {
  return call(whereOp, [asTensor(condition, "bool", "where"), ...promoted("where", [a, b])]);
}

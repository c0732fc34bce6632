/**
 * @file Functions of Keras (keras.ops) that stand between the layers of a functional model, as functions of tensors:
 * https://keras.io/api/ops/. What they are called with is checked as options of layers are.
 */
import * as lockstep from "../index.ts";
import { FileError, ops, Tensor } from "../index.ts";
import { cut } from "../io/safetensors.ts";
import type { Fields } from "./fields.ts";
import { itemOf } from "./items.ts";

/** Computes the outputs of one call. */
export type Apply = (args: readonly unknown[]) => readonly Tensor[];
type Operand = Tensor | number;

/** A function by its options; `names`: what its operands are called. */
interface Rule {
  readonly names: readonly string[];
  readonly make: (f: Fields) => Apply;
}

const one = (names: string, make: (f: Fields) => (...operands: never[]) => Tensor): Rule => ({
  names: names.split(" "),
  make: (f) => {
    const fn = make(f) as (...operands: unknown[]) => Tensor;
    return (args) => [fn(...args)];
  },
});

/** Of one tensor, without options. */
const plain = (fn: (x: Tensor) => Tensor): Rule => one("x", () => fn);
/** Of two operands. */
const pair = (fn: (a: Operand, b: Operand) => Tensor): Rule => one("x1 x2", () => fn);

/** null, a dimension, or a list of them. */
function axesIn(f: Fields, name = "axis"): number | readonly number[] | null {
  const value = f.get(name);
  if (value === null || Number.isInteger(value)) return value as number | null;
  if (Array.isArray(value) && value.every(Number.isInteger)) return value as number[];
  throw f.fault(name, "absent, an integer or a list of them");
}

/** A list of integers; null stands for -1. */
function dimsIn(f: Fields, name: string): readonly number[] {
  const value = f.get(name);
  const list = (Array.isArray(value) ? value : [value]).map((d: unknown) => d ?? -1);
  if (!list.every(Number.isInteger)) throw f.fault(name, "a list of integers");
  return list as number[];
}

/** An integer; null, which is all elements for Keras, is no default. */
const integerIn = (f: Fields, name: string, otherwise?: number): number => {
  const value = f.number(name, Object.hasOwn(f.values, name) ? undefined : otherwise);
  if (!Number.isInteger(value)) throw f.fault(name, "an integer");
  return value;
};

const reduced = (fn: (x: Tensor, options: { axis?: number | readonly number[] | null; keepDims?: boolean }) => Tensor): Rule =>
  one("x", (f) => {
    const options = { axis: axesIn(f), keepDims: f.flag("keepdims", false) };
    if (f.has("initial")) throw f.fault("initial", "absent");
    f.ignore("initial", "dtype");
    return (x: Tensor) => fn(x, options);
  });

const DTYPES: { readonly [name: string]: "f32" | "i32" | "bool" } = {
  float32: "f32",
  float16: "f32",
  bfloat16: "f32",
  float64: "f32",
  int32: "i32",
  int64: "i32",
  bool: "bool",
};

function normalized(axis: number, rank: number, who: string): number {
  const at = axis < 0 ? axis + rank : axis;
  if (at < 0 || at >= rank) throw new FileError(`${who}: there is no dimension ${axis} of ${rank}`);
  return at;
}

/** x without dimensions of one; null: all of them but the batch. */
function squeezed(x: Tensor, axis: number | readonly number[] | null, who: string): Tensor {
  const axes = axis === null ? null : [axis].flat().map((a) => normalized(a, x.rank, who));
  if (axes?.some((a) => x.shape[a] !== 1) === true) throw new FileError(`${who}: its axes [${axes.join(", ")}] are not all 1 in ${x}`);
  return ops.reshape(
    x,
    x.shape.filter((d, i) => (axes === null ? i === 0 || d !== 1 : !axes.includes(i))),
  );
}

function expanded(x: Tensor, axis: readonly number[], who: string): Tensor {
  const rank = x.rank + axis.length;
  const axes = axis.map((a) => normalized(a, rank, who));
  const rest = [...x.shape];
  return ops.reshape(
    x,
    Array.from({ length: rank }, (_, i) => (axes.includes(i) ? 1 : (rest.shift() as number))),
  );
}

/** The parts of x along an axis: so many of one size, or with ends at these places. */
function parts(x: Tensor, sections: number | readonly number[], at: number): readonly Tensor[] {
  const size = x.shape[at];
  if (typeof sections === "number" && size % sections !== 0)
    throw new FileError(`${size} elements along axis ${at} cannot be split into ${sections} parts of one size`);
  const ends = typeof sections === "number" ? Array.from({ length: sections }, (_, i) => ((i + 1) * size) / sections) : [...sections, size];
  return ends.map((end, i) => {
    const from = i === 0 ? 0 : ends[i - 1];
    const whole = (value: number, own: number): number[] => x.shape.map((_, d) => (d === at ? own : value));
    return lockstep.slice(
      x,
      whole(0, from),
      x.shape.map((d, k) => (k === at ? Math.max(0, end - from) : d)),
    );
  });
}

const tensorsOf = (value: unknown): readonly Tensor[] => (Array.isArray(value) ? (value as Tensor[]) : [value as Tensor]);

const RULES: { readonly [name: string]: Rule } = {
  Abs: plain(lockstep.abs),
  Absolute: plain(lockstep.abs),
  Ceil: plain(lockstep.ceil),
  Copy: plain((x) => x),
  Cos: plain(lockstep.cos),
  Erf: plain(lockstep.erf),
  Exp: plain(lockstep.exp),
  Expm1: plain(lockstep.expm1),
  Floor: plain(lockstep.floor),
  HardSigmoid: plain(lockstep.hardSigmoid),
  HardSilu: plain((x) => lockstep.mul(x, lockstep.hardSigmoid(x))),
  Log: plain(lockstep.log),
  Log1p: plain(lockstep.log1p),
  LogicalNot: plain(lockstep.not),
  Negative: plain(lockstep.neg),
  Reciprocal: plain(lockstep.reciprocal),
  Relu: plain((x) => lockstep.relu(x)),
  Relu6: plain((x) => lockstep.minimum(lockstep.relu(x), 6)),
  Round: one("x", (f) => {
    f.must("decimals", 0);
    return (x: Tensor) => lockstep.round(x);
  }),
  Rsqrt: plain(lockstep.rsqrt),
  Selu: plain(lockstep.selu),
  Sigmoid: plain(lockstep.sigmoid),
  Sign: plain(lockstep.sign),
  Silu: plain(lockstep.silu),
  Sin: plain(lockstep.sin),
  Softplus: plain(lockstep.softplus),
  Softsign: plain(lockstep.softsign),
  Sqrt: plain(lockstep.sqrt),
  Square: plain(lockstep.square),
  Tanh: plain(lockstep.tanh),
  StopGradient: one("variable", () => lockstep.stopGradient),
  Add: pair((a, b) => lockstep.add(a, b)),
  Subtract: pair(lockstep.sub),
  Multiply: pair(lockstep.mul),
  Divide: pair(lockstep.div),
  TrueDivide: pair(lockstep.div),
  FloorDivide: pair(lockstep.floorDiv),
  Mod: pair(lockstep.mod),
  Power: pair(lockstep.pow),
  Maximum: pair(lockstep.maximum),
  Minimum: pair(lockstep.minimum),
  Equal: pair(lockstep.equal),
  NotEqual: pair(lockstep.notEqual),
  Greater: pair(lockstep.greater),
  GreaterEqual: pair(lockstep.greaterEqual),
  Less: pair(lockstep.less),
  LessEqual: pair(lockstep.lessEqual),
  LogicalAnd: pair(lockstep.and as (a: Operand, b: Operand) => Tensor),
  LogicalOr: pair(lockstep.or as (a: Operand, b: Operand) => Tensor),
  Matmul: one("x1 x2", () => (a: Tensor, b: Tensor) => {
    if (a.rank < 2 || b.rank < 2) throw new FileError(`matmul of ${a} and ${b}: tensors of a rank below 2 are not multiplied`);
    return lockstep.matmul(a, b);
  }),
  Where: one("condition x1 x2", () => (c: Tensor, a: Operand, b: Operand) => {
    return lockstep.where(c.dtype === "bool" ? c : lockstep.notEqual(c, 0), a, b);
  }),
  Sum: reduced(lockstep.sum),
  Mean: reduced(lockstep.mean),
  Max: reduced(lockstep.max),
  Amax: reduced(lockstep.max),
  Min: reduced(lockstep.min),
  Amin: reduced(lockstep.min),
  Prod: reduced(lockstep.prod),
  Var: reduced(lockstep.variance),
  Std: reduced((x, options) => lockstep.sqrt(lockstep.variance(x, options))),
  Softmax: one("x", (f) => {
    const axis = integerIn(f, "axis", -1);
    return (x: Tensor) => lockstep.softmax(x, axis);
  }),
  LogSoftmax: one("x", (f) => {
    const axis = integerIn(f, "axis", -1);
    return (x: Tensor) => lockstep.logSoftmax(x, axis);
  }),
  LeakyRelu: one("x", (f) => {
    const slope = f.number("negative_slope", 0.2);
    return (x: Tensor) => lockstep.leakyRelu(x, slope);
  }),
  Elu: one("x", (f) => {
    const alpha = f.number("alpha", 1);
    return (x: Tensor) => lockstep.elu(x, alpha);
  }),
  // The function's default is the other one than the activation's.
  Gelu: one("x", (f) => {
    const approximate = f.flag("approximate", true);
    return (x: Tensor) => lockstep.gelu(x, approximate);
  }),
  Clip: one("x", (f) => {
    const [least, most] = [f.number("x_min"), f.number("x_max")];
    return (x: Tensor) => lockstep.clip(x, least, most);
  }),
  Cast: one("x", (f) => {
    const name = f.text("dtype");
    if (!Object.hasOwn(DTYPES, name)) throw f.fault("dtype", Object.keys(DTYPES).join(", "));
    return (x: Tensor) => lockstep.cast(x, DTYPES[name]);
  }),
  Reshape: one("x", (f) => {
    const shape = dimsIn(f, "newshape");
    return (x: Tensor) => ops.reshape(x, shape);
  }),
  Transpose: one("x", (f) => {
    const axes = f.has("axes") ? dimsIn(f, "axes") : undefined;
    f.ignore("axes");
    return (x: Tensor) => lockstep.transpose(x, axes);
  }),
  Swapaxes: one("x", (f) => {
    const axes = [integerIn(f, "axis1"), integerIn(f, "axis2")];
    return (x: Tensor) => {
      const [a, b] = axes.map((axis) => normalized(axis, x.rank, f.who));
      return lockstep.transpose(
        x,
        x.shape.map((_, i) => (i === a ? b : i === b ? a : i)),
      );
    };
  }),
  ExpandDims: one("x", (f) => {
    const axes = dimsIn(f, "axis");
    return (x: Tensor) => expanded(x, axes, f.who);
  }),
  Squeeze: one("x", (f) => {
    const axes = axesIn(f);
    return (x: Tensor) => squeezed(x, axes, f.who);
  }),
  Concatenate: one("xs", (f) => {
    const axis = integerIn(f, "axis", 0);
    return (xs: unknown) => lockstep.concat(tensorsOf(xs), axis);
  }),
  Stack: one("x", (f) => {
    const axis = integerIn(f, "axis", 0);
    return (xs: unknown) => lockstep.stack(tensorsOf(xs), axis);
  }),
  Flip: one("x", (f) => {
    const axes = axesIn(f);
    return (x: Tensor) => (axes === null ? x.shape.map((_, i) => i) : [axes].flat()).reduce((y, axis) => lockstep.flip(y, axis), x);
  }),
  Split: {
    names: ["x"],
    make: (f) => {
      const given = f.get("indices_or_sections");
      const sections = typeof given === "number" ? f.count("indices_or_sections") : dimsIn(f, "indices_or_sections");
      const axis = integerIn(f, "axis", 0);
      return ([x]) => parts(x as Tensor, sections, normalized(axis, (x as Tensor).rank, f.who));
    },
  },
  GetItem: one("x key", () => itemOf as (x: Tensor, key: unknown) => Tensor),
};

/** Names of functions that are read. */
export const FUNCTION_NAMES: readonly string[] = Object.keys(RULES);

/**
 * What computes the function of this name with these options, of operands in order; null for one that is not known.
 * @throws FileError for options that are not known
 */
export function functionOf(name: string, f: Fields): { readonly names: readonly string[]; readonly apply: Apply } | null {
  if (!Object.hasOwn(RULES, name)) return null;
  const { names, make } = RULES[name];
  f.ignore("name", "trainable", "dtype");
  const apply = make(f);
  f.done();
  return {
    names,
    apply: (args) => {
      const missing = names.findIndex((_, i) => args[i] === undefined || args[i] === null);
      if (missing >= 0) throw new FileError(`${cut(f.who)}: it is called without its ${names[missing]}`);
      return apply(args);
    },
  };
}

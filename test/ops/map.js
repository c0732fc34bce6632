/** @file Cases of elementwise ops. The kernel's tile is 512 elements, its piece 16384. */
import * as m from "../../build/esm/ops/map.js";
import * as activation from "../../build/esm/ops/activation.js";
import { reshape } from "../../build/esm/ops/move.js";
import { ULP, b, bytes, f, fixed, i, u, values } from "./harness.js";

const SPECIAL = [
  NaN,
  Infinity,
  -Infinity,
  0,
  -0,
  1,
  -1,
  0.5,
  -0.5,
  2.5,
  -3.5,
  3.4028234663852886e38,
  -3.4028234663852886e38,
  1e-45,
  -1e-45,
  1e-39,
  1.17549435e-38,
  88.5,
  -87.5,
  1e-8,
  -1e-8,
];
/** Beyond some millions sine and cosine promise an absolute error only. */
const MODERATE = SPECIAL.filter((x) => !(Math.abs(x) > 1e6 && Number.isFinite(x)));
const PAIRS = SPECIAL.flatMap((x) => SPECIAL.map((y) => [x, y]));

// Name, range, the case's tolerance in ulp where more than the default.
const UNARY = [
  ["neg"],
  ["abs"],
  ["sign"],
  ["floor", -9, 9],
  ["ceil", -9, 9],
  ["round", -9, 9],
  ["exp", -8, 8],
  ["log", 0.05, 9],
  ["expm1", -3, 3],
  ["log1p", -0.9, 9],
  ["sqrt", 0.05, 9],
  ["rsqrt", 0.05, 9],
  ["square"],
  ["reciprocal", 0.2, 4],
  ["sin", -9, 9],
  ["cos", -9, 9],
  ["tanh", -4, 4],
  ["sigmoid", -6, 6],
  ["erf", -3, 3],
  ["erfc", -3, 9],
  ["relu"],
];
const BINARY = [["add"], ["sub"], ["mul"], ["div", 0.3, 4], ["pow", 0.3, 3], ["maximum"], ["minimum"], ["mod", 0.7, 3]];
const COMPARE = ["equal", "notEqual", "less", "lessEqual", "greater", "greaterEqual"];
/** What uses the kernels' step for integers where the op itself makes them f32. */
const INTEGERS = { div: m.floorDiv };
const SIZES = [0, 1, 3, 4, 5, 511, 512, 513, 997];

/** Pairs of shapes that broadcast: scalar, trailing, leading, middle, both sides, rank 5, empty. */
const SHAPES = [
  [[], []],
  [[5], []],
  [[], [5]],
  [[3, 4], [4]],
  [[3, 5], [3, 1]],
  [[2, 3, 4], [2, 1, 4]],
  [[4, 1], [1, 3]],
  [[2, 3, 1], [1, 5]],
  [[2, 1, 3, 1, 2], [1, 4, 1, 2, 1]],
  [[1, 1, 1, 1, 7], [3, 1, 2, 1, 1]],
  [[3, 0], [3, 1]],
  [[0], [1]],
  [[23, 29], [23, 29]],
  [[17, 31], [31]],
  [[31, 17], [31, 1]],
];

const sizes = (list, make) => list.map((n) => make([n]));
const broadcast = (shape) => shape.join("x") || "scalar";

export const cases = [
  ...UNARY.flatMap(([op, low, high]) => [
    ...sizes(SIZES, (shape) => ({
      op,
      name: `f32 ${shape}`,
      inputs: [f(shape, low, high)],
      fn: m[op],
      tolerance: 4 * ULP,
      gradTolerance: 1e-5,
    })),
    { op, name: "special values", inputs: [values(op === "sin" || op === "cos" ? MODERATE : SPECIAL)], fn: m[op], grad: false },
  ]),
  ...["neg", "abs", "sign", "square"].map((op) => ({ op, name: "i32", inputs: [i([37])], fn: m[op], grad: false })),
  ...["neg", "square"].map((op) => ({
    op,
    name: "u32 wraps",
    inputs: [values([0, 1, 5, 65537, 4294967295], "u32")],
    fn: m[op],
    grad: false,
  })),
  ...["neg", "abs", "square"].map((op) => ({
    op,
    name: "i32 wraps",
    inputs: [values([-2147483648, 2147483647, 65537, 0], "i32")],
    fn: m[op],
    grad: false,
  })),

  ...BINARY.flatMap(([op, low, high]) => [
    ...SHAPES.map(([x, y]) => ({
      op,
      name: `f32 ${broadcast(x)} with ${broadcast(y)}`,
      inputs: [f(x, low, high), f(y, low, high)],
      fn: m[op],
      tolerance: 2 * ULP,
    })),
    ...SHAPES.filter((_, k) => op !== "pow" && k % 3 === 0).flatMap(([x, y]) => [
      {
        op,
        name: `i32 ${broadcast(x)} with ${broadcast(y)}`,
        inputs: [i(x), op === "div" || op === "mod" ? i(y, 1, 7) : i(y)],
        fn: INTEGERS[op] ?? m[op],
        grad: false,
      },
      {
        op,
        name: `u32 ${broadcast(x)} with ${broadcast(y)}`,
        inputs: [u(x), op === "div" || op === "mod" ? u(y, 1, 7) : u(y)],
        fn: INTEGERS[op] ?? m[op],
        grad: false,
      },
    ]),
    ...sizes([511, 513, 16383, 16384, 16385], (shape) => ({
      op,
      name: `f32 ${shape}`,
      inputs: [f(shape, low, high), f(shape, low, high)],
      fn: m[op],
      tolerance: 2 * ULP,
      grad: false,
    })),
    {
      op,
      name: "one tensor twice",
      inputs: [f([7], low, high)],
      fn: (x) => m[op](x, x),
      grad: !["div", "maximum", "minimum", "mod"].includes(op),
    },
    { op, name: "numbers", inputs: [f([7], 0.4, 3)], fn: (x) => [m[op](x, 1.5), m[op](1.5, x)] },
  ]),
  ...["add", "sub", "mul", "div", "mod", "pow", "maximum", "minimum"].map((op) => ({
    op,
    name: "special values",
    inputs: [values(PAIRS.map((p) => p[0])), values(PAIRS.map((p) => p[1]))],
    fn: m[op],
    grad: false,
  })),
  ...["add", "sub", "mul", "maximum", "minimum", "div", "mod"].flatMap((op) => [
    {
      op,
      name: "i32 extremes",
      inputs: [values([2147483647, -2147483648, 65537, -7, 7, -7, 7], "i32"), values([1, -1, 65537, 2, -2, -2, 2], "i32")],
      fn: INTEGERS[op] ?? m[op],
      grad: false,
    },
    {
      op,
      name: "u32 extremes",
      inputs: [values([4294967295, 0, 4294967295, 2147483648, 7], "u32"), values([1, 1, 4294967295, 2147483649, 3], "u32")],
      fn: INTEGERS[op] ?? m[op],
      grad: false,
    },
    { op, name: "i32 by zero", inputs: [values([7, -7, 0], "i32"), values([0, 0, 0], "i32")], fn: INTEGERS[op] ?? m[op], grad: false },
  ]),
  {
    op: "erfc",
    name: "its tail, to where it is subnormal and then 0",
    inputs: [values([3, 4, 5, 6, 7, 8, 9, 9.19, 9.3, 9.7, 10, 10.05, 10.06, 10.1, 11, 1e30])],
    fn: m.erfc,
    grad: false,
  },
  { op: "mod", name: "signs", inputs: [values([5, -5, 5, -5, 5.5, 6, -6, 0]), values([3, 3, -3, -3, 2, 3, 3, 2])], fn: m.mod, grad: false },
  {
    op: "mod",
    name: "quotients that are no f32, or next to a whole number",
    inputs: [
      values([100, 0.3, 5.3, -5.3, 1e7, 1e10, -1e10, 3e9, 1e20, -1e38, 1, -1, 1, -1, 7]),
      values([1.1, 0.1, 0.1, 0.1, 0.7, 3, 3, 0.001, -7, 3e-30, Infinity, Infinity, -Infinity, -Infinity, Infinity]),
    ],
    fn: m.mod,
    grad: false,
    tolerance: 0,
  },
  {
    op: "pow",
    name: "negative base, whole exponents",
    inputs: [f([9], -3, -0.5), fixed(values([0, 1, 2, 3, -1, -2, -3, 4, 5]))],
    fn: m.pow,
  },
  { op: "pow", name: "gradient of the exponent is 0 at base 0", inputs: [values([0, 0]), values([2, 3])], fn: m.pow, grad: false },
  {
    op: "add",
    name: "adding 0, multiplying by 1",
    inputs: [f([5])],
    fn: (x) => [m.add(x, 0), m.mul(1, m.add(0, x)), m.sub(x, 0), m.div(x, 1)],
  },
  {
    op: "add",
    name: "a long chain",
    inputs: [f([700])],
    fn: (x) => Array.from({ length: 60 }).reduce((y, _, k) => m.tanh(m.add(m.mul(y, 1 + k / 64), k / 32)), x),
    tolerance: 64 * ULP,
  },
  {
    op: "mul",
    name: "many outputs",
    inputs: [f([700]), f([700])],
    fn: (x, y) => Array.from({ length: 12 }, (_, k) => m.mul(m.add(x, k), y)),
    accumulates: true,
  },

  ...COMPARE.flatMap((op) => [
    ...SHAPES.filter((_, k) => k % 2 === 0).map(([x, y]) => ({
      op,
      name: `f32 ${broadcast(x)} with ${broadcast(y)}`,
      inputs: [f(x), f(y)],
      fn: m[op],
    })),
    { op, name: "special values", inputs: [values(PAIRS.map((p) => p[0])), values(PAIRS.map((p) => p[1]))], fn: m[op] },
    { op, name: "i32", inputs: [i([41], -2, 2), i([41], -2, 2)], fn: m[op] },
    { op, name: "i32 signs", inputs: [values([-1, 1, -2147483648], "i32"), values([1, -1, 2147483647], "i32")], fn: m[op] },
    {
      op,
      name: "u32 above 2^31",
      inputs: [values([4294967295, 1, 2147483648], "u32"), values([1, 4294967295, 2147483647], "u32")],
      fn: m[op],
    },
  ]),
  ...["equal", "notEqual"].map((op) => ({ op, name: "bool", inputs: [b([33]), b([33])], fn: m[op] })),
  ...["and", "or", "xor"].flatMap((op) => [
    { op, name: "bool", inputs: [b([513]), b([513])], fn: m[op] },
    { op, name: "bool broadcast", inputs: [b([5, 1]), b([7])], fn: m[op] },
    { op, name: "i32", inputs: [i([37]), i([37])], fn: m[op] },
    { op, name: "u32", inputs: [u([37]), u([])], fn: m[op] },
  ]),
  { op: "not", name: "bool", inputs: [b([37])], fn: m.not },
  { op: "not", name: "i32", inputs: [i([37])], fn: m.not },
  { op: "not", name: "u32", inputs: [u([5])], fn: m.not },
  { op: "isFinite", name: "special values", inputs: [values(SPECIAL)], fn: m.isFinite },
  { op: "isFinite", name: "513", inputs: [f([513])], fn: m.isFinite },

  ...[[[5], [5], [5]], [[3, 1], [4], []], [[], [2, 3], [3]], [[4, 1, 2], [3, 1], [1, 3, 2]], [[0], [0], [0]], [[513], [513], [513]]].map(
    (s) => ({ op: "where", name: s.map(broadcast).join(" "), inputs: [b(s[0]), f(s[1]), f(s[2])], fn: m.where }),
  ),
  {
    op: "where",
    name: "NaN in the branch not taken",
    inputs: [values([1, 0, 1], "bool"), values([1, NaN, 3]), values([NaN, 2, Infinity])],
    fn: m.where,
    grad: false,
  },
  { op: "where", name: "i32", inputs: [b([9]), i([9]), i([9])], fn: m.where, grad: false },
  { op: "where", name: "bool", inputs: [b([9]), b([9]), b([9])], fn: m.where, grad: false },
  { op: "where", name: "numbers", inputs: [b([9]), f([9])], fn: (c, x) => [m.where(c, x, 0), m.where(c, 1, x)] },

  {
    op: "cast",
    name: "f32 to i32",
    inputs: [values([0, 0.9, -0.9, 1.5, -2.5, 3e9, -3e9, NaN, Infinity, -Infinity, 16777217])],
    fn: (x) => m.cast(x, "i32"),
    grad: false,
  },
  {
    op: "cast",
    name: "f32 to u32",
    inputs: [values([0, 0.9, -0.9, 1.5, -2.5, 3e9, 5e9, NaN, Infinity, -Infinity])],
    fn: (x) => m.cast(x, "u32"),
    grad: false,
  },
  { op: "cast", name: "f32 to bool", inputs: [values([0, -0, 0.1, -1, NaN, 1e-45, Infinity])], fn: (x) => m.cast(x, "bool"), grad: false },
  {
    op: "cast",
    name: "i32 to others",
    inputs: [values([0, 1, -1, 2147483647, -2147483648, 16777217], "i32")],
    fn: (x) => ["f32", "u32", "bool"].map((t) => m.cast(x, t)),
    grad: false,
  },
  {
    op: "cast",
    name: "u32 to others",
    inputs: [values([0, 1, 4294967295, 2147483648, 16777217], "u32")],
    fn: (x) => ["f32", "i32", "bool"].map((t) => m.cast(x, t)),
    grad: false,
  },
  { op: "cast", name: "bool to others", inputs: [b([13])], fn: (x) => ["f32", "i32", "u32"].map((t) => m.cast(x, t)), grad: false },
  ...[...SIZES, 16389].map((n) => ({
    op: "cast",
    name: `${n} bytes to others`,
    inputs: [bytes([n])],
    fn: (x) => ["f32", "u32", "bool"].map((t) => m.cast(x, t)),
    grad: false,
    tolerance: 0,
  })),
  { op: "cast", name: "bytes in another shape, as they are", inputs: [bytes([5, 6])], fn: (x) => reshape(x, [3, 10]), grad: false },
  {
    op: "div",
    name: "bytes of images less a mean for each channel",
    inputs: [bytes([3, 5, 4]), fixed(f([4])), fixed(f([4], 0.5, 2))],
    fn: (x, mean, scale) => m.div(m.sub(m.cast(x, "f32"), mean), scale),
    grad: false,
  },
  {
    op: "mul",
    name: "bytes that broadcast, and that are read twice",
    inputs: [bytes([5, 1]), bytes([7]), bytes([5, 7])],
    fn: (x, y, z) => m.add(m.mul(m.mul(x, y), z), z),
    grad: false,
  },
  { op: "cast", name: "gradient passes an f32 cast", inputs: [f([5]), b([5])], fn: (x, c) => m.mul(m.cast(c, "f32"), x) },
  {
    op: "cast",
    name: "to bool and back stops gradients",
    inputs: [f([5]), f([5])],
    fn: (x, y) => m.mul(m.cast(m.cast(m.greater(x, 0), "bool"), "f32"), y),
  },

  ...Object.entries({ ...activation.KERNEL_ACTIVATIONS, ...activation.OTHER_ACTIVATIONS })
    .filter(([name]) => !/softmax/i.test(name))
    .flatMap(([name, fn]) =>
      sizes([5, 513], (shape) => ({
        op: "tanh",
        name: `activation ${name} ${shape}`,
        inputs: [f(shape, -2.9, 2.9)],
        fn,
        accumulates: true,
        tolerance: 16 * ULP,
        gradTolerance: 1e-5,
      })),
    ),
];

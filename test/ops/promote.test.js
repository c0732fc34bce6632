/**
 * Tests of the rule of dtypes: every binary op with operands of every pair of dtypes and with numbers, eager and traced, against NumPy's
 * rule in 32 bits written down here.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile } from "../../build/esm/compile.js";
import * as ops from "../../build/esm/ops/public.js";
import { Tensor, tensor } from "../../build/esm/tensor.js";
import { INTEGER, LOGICAL, PREDICATE, REAL } from "../reference/elementwise.js";

const DTYPES = ["bool", "i32", "u32", "f32"];
const VALUES = { bool: [0, 1, 1, 0], i32: [-3, 2, 7, 0], u32: [3, 2, 7, 4294967295], f32: [0.5, -1.5, 2, 3] };
/** A second operand without zeros, which div and mod would divide by. */
const OTHERS = { bool: [1, 1, 1, 1], i32: [2, -2, 3, 5], u32: [1, 2, 3, 5], f32: [1.5, 2, -0.5, 3] };
const make = (values, dtype) => tensor(values, undefined, dtype);

/** The common dtype of operands; null: an error. */
function common(a, b) {
  if (a === b) return a;
  const pair = [a, b];
  if (pair.includes("f32")) return "f32";
  if (pair.includes("bool")) return a === "bool" ? b : a;
  return null;
}

const ARITHMETIC = ["add", "sub", "mul", "maximum", "minimum", "mod"];
const COMPARISONS = ["equal", "notEqual", "less", "lessEqual", "greater", "greaterEqual"];
const BITS = ["and", "or", "xor"];
const BOOLS = { add: "or", mul: "and", maximum: "or", minimum: "and" };

/** What `op` of operands of dtypes a and b is computed as and gives: [dtype, result dtype, function of two numbers]; null: an error. */
function rule(op, a, b) {
  if (op === "div") return ["f32", "f32", REAL.div];
  const dtype = common(a, b);
  if (dtype === null) return null;
  const integer = dtype === "i32" || dtype === "u32";
  if (op === "floorDiv")
    return dtype === "f32"
      ? null
      : [dtype === "bool" ? "i32" : dtype, dtype === "bool" ? "i32" : dtype, (x, y) => (y === 0 ? 0 : Math.floor(x / y))];
  // Integers to the power of a tensor may be negative powers, which NumPy refuses.
  if (op === "pow") return dtype === "f32" ? ["f32", "f32", REAL.pow] : null;
  if (COMPARISONS.includes(op)) return [dtype, "bool", PREDICATE[op]];
  if (BITS.includes(op)) return dtype === "f32" ? null : [dtype, dtype, (integer ? INTEGER : LOGICAL)[op]];
  if (dtype !== "bool") return [dtype, dtype, (integer ? INTEGER : REAL)[op]];
  if (op === "sub") return null;
  return BOOLS[op] ? ["bool", "bool", LOGICAL[BOOLS[op]]] : ["i32", "i32", INTEGER[op]];
}

const HOST = { f32: Float32Array, i32: Int32Array, u32: Uint32Array, bool: Uint32Array };
/** Numbers as elements of `dtype`. */
const as = (values, dtype) => [...HOST[dtype].from(values)];

async function both(op, a, b) {
  const eager = ops[op](a, b);
  const tensors = [a, b].filter((x) => x instanceof Tensor);
  const traced = await compile((...list) => {
    const next = (x) => (x instanceof Tensor ? list.shift() : x);
    const [x, y] = [next(a), next(b)];
    return ops[op](x, y);
  })(...tensors);
  assert.is(traced.dtype, eager.dtype, `${op}: traced as eager`);
  const [first, second] = [[...(await eager.data())], [...(await traced.data())]];
  assert.equal(second, first, `${op}: traced as eager`);
  return { dtype: eager.dtype, values: first };
}

function refuses(op, a, b, what) {
  assert.throws(
    () => ops[op](a, b),
    (e) => e.name === "DTypeError" && e.message.startsWith(`${op}: `),
    what,
  );
}

for (const op of [...ARITHMETIC, "div", "floorDiv", "pow", ...COMPARISONS, ...BITS]) {
  test(`${op}: every pair of dtypes`, async () => {
    for (const a of DTYPES) {
      for (const b of DTYPES) {
        const what = `${op}(${a}, ${b})`;
        const expected = rule(op, a, b);
        const [x, y] = [make(VALUES[a], a), make(OTHERS[b], b)];
        if (expected === null) {
          refuses(op, x, y, what);
          continue;
        }
        const [dtype, result, fn] = expected;
        const [u, v] = [as(VALUES[a], dtype), as(OTHERS[b], dtype)];
        const got = await both(op, x, y);
        assert.is(got.dtype, result, what);
        assert.equal(
          got.values.map((n) => n + 0),
          as(
            u.map((n, k) => fn(n, v[k])),
            result,
          ).map((n) => n + 0),
          what,
        );
      }
    }
  });

  test(`${op}: numbers follow a tensor where it can hold them`, async () => {
    for (const a of DTYPES) {
      for (const number of [3, 1, 1.5, -2, Infinity]) {
        const what = `${op}(${a}, ${number})`;
        const x = make(VALUES[a], a);
        const own = !Number.isInteger(number) ? "f32" : a === "bool" ? "i32" : a;
        if (op === "pow" && common(a, own) !== "f32") continue;
        if (own === "u32" && number < 0 && op !== "div") {
          assert.throws(
            () => ops[op](x, number),
            (e) => e.name === "DataError" && e.message.startsWith(`${op}: -2 is out of the range of u32`),
            what,
          );
          continue;
        }
        const expected = rule(op, a, own);
        if (expected === null) {
          refuses(op, x, number, what);
          continue;
        }
        const [dtype, result, fn] = expected;
        for (const [operands, swapped] of [[[x, number], false], [[number, x], true]]) {
          // Division by elements of 0.
          if (swapped && (op === "div" || op === "mod" || op === "floorDiv" || op === "pow")) continue;
          const got = await both(op, ...operands);
          const [u, v] = [
            as(VALUES[a], dtype),
            as(
              VALUES[a].map(() => number),
              dtype,
            ),
          ];
          assert.is(got.dtype, result, what);
          assert.equal(
            got.values.map((n) => n + 0),
            as(
              u.map((n, k) => (swapped ? fn(v[k], n) : fn(n, v[k]))),
              result,
            ).map((n) => n + 0),
            what,
          );
        }
      }
    }
  });
}

test("bytes times a fraction, and means of integers", async () => {
  assert.equal(
    [...(await ops.mul(tensor(Uint8Array.of(255, 128)), 1 / 255).data())],
    [...Float32Array.of(255 * Math.fround(1 / 255), 128 * Math.fround(1 / 255))],
  );
  assert.is(await ops.mean(tensor(Int32Array.of(10, 20, 30))).item(), 20);
  assert.is(await ops.mean(tensor([true, false, true, true])).item(), 0.75);
  assert.is(await ops.mean(tensor(Int32Array.of(2147483647, 2147483647))).item(), 2 ** 31, "no sum wraps");
  assert.is(await ops.variance(tensor(Int32Array.of(1, 2, 3, 4))).item(), 1.25);
  assert.is(await ops.variance(tensor(Uint32Array.of(1, 2, 3, 4))).item(), 1.25);
  assert.is(await ops.norm(tensor(Int32Array.of(60000, 80000))).item(), 100000, "no square wraps");
});

test("numbers with two numbers, and nested arrays, are f32; beside integers they follow", async () => {
  assert.is(ops.add(1, 2).dtype, "f32");
  assert.is(ops.add(tensor(Int32Array.of(1, 2)), [3, 16777217]).dtype, "i32");
  assert.equal([...(await ops.add(tensor(Int32Array.of(1, 2)), [3, 16777217]).data())], [4, 16777219]);
  assert.equal([...(await ops.add([0.5, 1], tensor(Int32Array.of(1, 2))).data())], [1.5, 3]);
  assert.equal([...(await ops.and([true, false], [true, true]).data())], [1, 0]);
  assert.is(ops.add(tensor([true]), [2]).dtype, "i32");
  assert.equal([...(await ops.mul(tensor([0.5, 2]), Int32Array.of(3, 4)).data())], [1.5, 8]);
  assert.is(await ops.mean([1, 2, 3]).item(), 2);
});

test("folding constants and dropping neutral operands keep the rule", async () => {
  const x = tensor(Int32Array.of(3, -4));
  for (const [fn, dtype, values] of [
    [(t) => ops.div(t, 1), "f32", [3, -4]],
    [(t) => ops.add(t, 0), "i32", [3, -4]],
    [(t) => ops.mul(1, t), "i32", [3, -4]],
    [(t) => ops.mul(t, ops.add(0.25, 0.25)), "f32", [1.5, -2]],
    [(t) => ops.add(ops.greater(t, 0), 0), "i32", [1, 0]],
    [(t) => ops.mul(ops.greater(t, 0), 1), "i32", [1, 0]],
    [(t) => ops.sub(t, 0), "i32", [3, -4]],
    [(t) => ops.add(t, ops.div(1, 2)), "f32", [3.5, -3.5]],
  ]) {
    const y = await compile(fn)(x);
    assert.is(y.dtype, dtype, String(fn));
    assert.equal([...(await y.data())], values, String(fn));
    assert.is(fn(x).dtype, dtype, String(fn));
  }
});

test("where, concat, stack, pad, clip, matmul promote", async () => {
  const [i, f, b, u] = [tensor(Int32Array.of(1, 2)), tensor([0.5, 1.5]), tensor([true, false]), tensor(Uint32Array.of(1, 2))];
  for (const [t, dtype, values] of [
    [ops.where(b, i, f), "f32", [1, 1.5]],
    [ops.where(b, i, 0.5), "f32", [1, 0.5]],
    [ops.where(b, i, 7), "i32", [1, 7]],
    [ops.where(b, 1, 2.5), "f32", [1, 2.5]],
    [ops.where([false, true], i, 0), "i32", [0, 2]],
    [ops.where(b, b, 5), "i32", [1, 5]],
    [ops.concat([i, f]), "f32", [1, 2, 0.5, 1.5]],
    [ops.concat([b, i]), "i32", [1, 0, 1, 2]],
    [ops.concat([i, [3]]), "i32", [1, 2, 3]],
    [ops.stack([b, f], 1), "f32", [1, 0.5, 0, 1.5]],
    [ops.pad(i, [[1, 0]], 9), "i32", [9, 1, 2]],
    [ops.pad(i, [[1, 0]], 0.5), "f32", [0.5, 1, 2]],
    [ops.pad(b, [[0, 1]]), "bool", [1, 0, 0]],
    [ops.pad(b, [[0, 1]], 2), "i32", [1, 0, 2]],
    [ops.clip(i, 0, 1.5), "f32", [1, 1.5]],
    [ops.clip(i, 2, 5), "i32", [2, 2]],
    [ops.matmul([[1, 0.5]], ops.reshape(i, [2, 1])), "f32", [2]],
    [ops.dot(b, f), "f32", [0.5]],
    [ops.sum(b), "i32", [1]],
    [ops.sum(u), "u32", [3]],
    [ops.prod(u), "u32", [2]],
    [ops.prod(b), "i32", [0]],
    [ops.max(b), "bool", [1]],
    [ops.min(b), "bool", [0]],
    [ops.argMin(b), "i32", [1]],
    [ops.sum(tensor(Uint32Array.of(4000000000, 5))), "u32", [4000000005]],
    [ops.floor(i), "i32", [1, 2]],
    [ops.relu(tensor(Int32Array.of(-1, 16777217))), "i32", [0, 16777217]],
    [ops.pow(tensor(Int32Array.of(3, 46341, -2)), 2), "i32", [9, -2147479015, 4]],
    [ops.pow(i, 0), "i32", [1, 1]],
    [ops.pow(i, 0.5), "f32", [1, Math.fround(Math.SQRT2)]],
    [ops.isFinite(i), "bool", [1, 1]],
  ]) {
    assert.is(t.dtype, dtype);
    assert.equal([...(await t.data())], values, String(t));
  }
  for (const use of [
    () => ops.where(b, i, u),
    () => ops.concat([i, u]),
    () => ops.stack([u, i]),
    () => ops.matmul(ops.reshape(i, [1, 2]), ops.reshape(i, [2, 1])),
    () => ops.where(i, 1, 2),
    () => ops.pow(i, -1),
    () => ops.max(u),
  ]) {
    assert.throws(use, (e) => e.name === "DTypeError", String(use));
  }
});

test("functions of f32 alone take integers and bools, with the value of the same f32", async () => {
  const names = [
    "exp",
    "log",
    "expm1",
    "log1p",
    "sqrt",
    "rsqrt",
    "reciprocal",
    "sin",
    "cos",
    "tanh",
    "sigmoid",
    "erf",
    "erfc",
    "softplus",
    "softsign",
    "elu",
    "selu",
    "leakyRelu",
    "silu",
    "gelu",
    "mish",
    "hardSigmoid",
    "hardSilu",
    "softmax",
    "logSoftmax",
    "logSumExp",
  ];
  for (const name of names) {
    for (const [values, dtype] of [[[0, 3, 1, 5], "u32"], [[0, 3, -1, 5], "i32"], [[0, 1, 1, 0], "bool"]]) {
      const [y, expected] = [ops[name](make(values, dtype)), ops[name](make(values, "f32"))];
      assert.is(y.dtype, "f32", name);
      assert.equal([...(await y.data())], [...(await expected.data())], `${name} of ${dtype}`);
    }
  }
});

test("floorDiv is NumPy's floor_divide", async () => {
  const divide = async (a, b, T) => [...(await ops.floorDiv(tensor(T.from(a)), tensor(T.from(b))).data())];
  assert.equal(
    await divide([-7, 7, -7, 7, -2147483648, -2147483648, 5, -5], [2, -2, -2, 2, 3, -1, 0, 0], Int32Array),
    [-4, -4, 3, 3, -715827883, -2147483648, 0, 0],
  );
  assert.equal(await divide([4294967295, 7, 5], [2, 2, 0], Uint32Array), [2147483647, 3, 0]);
  assert.equal([...(await ops.floorDiv(tensor(Int32Array.of(-7, 7)), 2).data())], [-4, 3]);
});

test.run();

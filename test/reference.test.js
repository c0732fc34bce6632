/** Tests of the reference backend itself: known answers, how it runs plans and which it refuses. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { erf, erfc } from "./reference/elementwise.js";
import { KERNELS, referenceBackend } from "./reference/index.js";
import { sizeOf, zeros } from "./reference/numeric.js";
import { philox } from "./reference/random.js";

/** Runs a body of one step over lists of equal length; `types` are the dtypes of the arguments, the last that of the result. */
function mapOnce(op, types, ...lists) {
  const dtype = types.at(-1);
  const args = lists.map((_, i) => i);
  const body = { space: [lists[0].length], strides: lists.map(() => [1]), steps: [{ op, args, dtype }], results: [lists.length] };
  const y = zeros(lists[0].length);
  KERNELS.map(
    { body },
    lists.map((l) => Float64Array.from(l)),
    [y],
    { inputs: lists.map((_, i) => ({ dtype: types[i] })) },
  );
  return [...y];
}

const F1 = ["f32", "f32"];
const F2 = ["f32", "f32", "f32"];
const I2 = ["i32", "i32", "i32"];
const U2 = ["u32", "u32", "u32"];
const [MIN, MAX] = [-(2 ** 31), 2 ** 31 - 1];

for (const [op, types, args, expected] of [
  ["round", F1, [[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.4, -2.6]], [-2, -2, -0, 0, 2, 2, 2, -3]],
  ["mod", F2, [[5, -5, 5, -5, 5.5, 6], [3, 3, -3, -3, 2, 3]], [2, 1, -1, -2, 1.5, 0]],
  ["pow", F2, [[2, 1, NaN, -2], [-1, NaN, 0, 3]], [0.5, 1, 1, -8]],
  ["maximum", F2, [[1, NaN, 3], [2, 1, NaN]], [2, NaN, NaN]],
  ["relu", F1, [[-1, 2, NaN]], [0, 2, NaN]],
  ["sign", F1, [[-3, 0, 4]], [-1, 0, 1]],
  ["rsqrt", F1, [[4]], [0.5]],
  ["isFinite", ["f32", "bool"], [[1, Infinity, NaN]], [1, 0, 0]],
  ["add", I2, [[MAX, MIN], [1, -1]], [MIN, MAX]],
  ["mul", I2, [[65537, -3], [65537, 5]], [131073, -15]],
  ["div", I2, [[7, -7, MIN, 7], [2, 2, -1, 0]], [3, -3, MIN, 0]],
  ["mod", I2, [[7, -7, 7, -7], [3, 3, -3, -3]], [1, 2, -2, -1]],
  ["pow", I2, [[3, -2, 2, 2, -1], [4, 3, 32, -1, -3]], [81, -8, 0, 0, -1]],
  ["sub", U2, [[0], [1]], [2 ** 32 - 1]],
  ["mul", U2, [[2 ** 32 - 1], [2 ** 32 - 1]], [1]],
  ["xor", U2, [[0xf0f0f0f0], [0xffffffff]], [0x0f0f0f0f]],
  ["not", ["i32", "i32"], [[0, 5]], [-1, -6]],
  ["not", ["bool", "bool"], [[0, 1]], [1, 0]],
  ["xor", ["bool", "bool", "bool"], [[0, 0, 1, 1], [0, 1, 0, 1]], [0, 1, 1, 0]],
  ["less", ["f32", "f32", "bool"], [[1, 2, NaN], [2, 2, 2]], [1, 0, 0]],
  ["where", ["bool", "f32", "f32", "f32"], [[1, 0], [2, 3], [4, 5]], [2, 5]],
  ["cast", ["f32", "i32"], [[1.9, -1.9, 1e10, NaN]], [1, -1, MAX, 0]],
  ["cast", ["i32", "u32"], [[-1]], [2 ** 32 - 1]],
  ["cast", ["f32", "bool"], [[0, 0.5, -0]], [0, 1, 0]],
]) {
  test(`map ${op} ${types.join(" ")}`, () => {
    const got = mapOnce(op, types, ...args);
    got.forEach((g, i) =>
      assert.ok(g === expected[i] || (Number.isNaN(g) && Number.isNaN(expected[i])), `[${i}]: got ${g}, expected ${expected[i]}`),
    );
  });
}

test("erf to 1e-14", () => {
  const known = {
    0.1: 0.1124629160182849,
    0.5: 0.5204998778130465,
    1: 0.8427007929497149,
    1.9: 0.9927904292352575,
    2: 0.9953222650189527,
    3: 0.9999779095030014,
  };
  for (const [x, y] of Object.entries(known)) {
    assert.ok(Math.abs(erf(Number(x)) - y) < 1e-14, x);
    assert.is(erf(-x), -erf(Number(x)));
  }
  assert.is(erf(Infinity), 1);
});

test("erfc to 1e-12 of itself", () => {
  const known = {
    "-1": 1.8427007929497149,
    0: 1,
    0.5: 0.4795001221869535,
    1.9: 0.007209570764742484,
    2: 0.004677734981047265,
    5: 1.5374597944280347e-12,
    10: 2.088487583762545e-45,
  };
  for (const [x, y] of Object.entries(known)) assert.ok(Math.abs(erfc(Number(x)) / y - 1) < 1e-12, x);
  assert.equal([Infinity, -Infinity].map(erfc), [0, 2]);
  assert.ok(Number.isNaN(erfc(NaN)));
});

test("Philox4x32-10: the known answers of its authors", () => {
  const hex = (words) => words.map((w) => w.toString(16).padStart(8, "0")).join(" ");
  assert.is(hex(philox([0, 0, 0, 0], [0, 0])), "6627e8d5 e169c58d bc57ac4c 9b00dbd8");
  const pi = philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]);
  assert.is(hex(pi), "d16cfe09 94fdcceb 5001e420 24126ea1");
});

test("reduce: all operations over the middle axis, integers wrap, first of equals", () => {
  const x = Float64Array.of(1, 5, 3, 5, 3, -2);
  const run = (op, dtype = "f32", values = x, [outer, size, inner] = [1, 3, 2]) => {
    const y = zeros(outer, inner);
    KERNELS.reduce({ op, outer, size, inner, body: null }, [values], [y], { inputs: [{ dtype }] });
    return [...y];
  };
  assert.equal(run("sum"), [7, 8]);
  assert.equal(run("prod"), [9, -50]);
  assert.equal(run("max"), [3, 5]);
  assert.equal(run("min"), [1, -2]);
  assert.equal(run("argmax"), [1, 0]);
  assert.equal(run("argmin"), [0, 2]);
  assert.equal(run("sum", "i32", Float64Array.of(MAX, 1), [1, 2, 1]), [MIN]);
  assert.equal(run("sum", "f32", zeros(0), [2, 0, 1]), [0, 0]);
});

test("reduce with a body: the sum of x * row over a broadcast row", () => {
  const body = { space: [2, 3], strides: [[3, 1], [0, 1]], steps: [{ op: "mul", args: [0, 1], dtype: "f32" }], results: [2] };
  const y = zeros(2);
  const call = { inputs: [{ dtype: "f32" }, { dtype: "f32" }] };
  KERNELS.reduce(
    { op: "sum", outer: 2, size: 3, inner: 1, body },
    [Float64Array.of(1, 2, 3, 4, 5, 6), Float64Array.of(1, 10, 100)],
    [y],
    call,
  );
  assert.equal([...y], [321, 654]);
});

test("matmul: transposes, a shared matrix, bias, activation, K = 0", () => {
  const attrs = { batch: 2, batchA: 2, batchB: 1, m: 1, k: 2, n: 2, transposeA: true, transposeB: true, activation: "relu" };
  const y = zeros(4);
  KERNELS.matmul(attrs, [Float64Array.of(1, 2, -3, 4), Float64Array.of(1, 2, 3, 4), Float64Array.of(0.5, -8)], [y]);
  assert.equal([...y], [5.5, 3, 5.5, 0]);
  KERNELS.matmul({ ...attrs, k: 0 }, [zeros(0), zeros(0), Float64Array.of(2, -1)], [y]);
  assert.equal([...y], [2, 0, 2, 0]);
});

/** One row of windows over one row of input. */
const rowWindow = (w, q, s, more) => ({
  n: 1,
  h: 1,
  w,
  c: 1,
  p: 1,
  q,
  r: 1,
  s,
  strideH: 1,
  strideW: 1,
  dilationH: 1,
  dilationW: 1,
  padTop: 0,
  padLeft: 0,
  ...more,
});
const transposeWindow = (a) => ({
  ...a,
  h: a.w,
  w: a.h,
  p: a.q,
  q: a.p,
  r: a.s,
  s: a.r,
  strideH: a.strideW,
  strideW: a.strideH,
  dilationH: a.dilationW,
  dilationW: a.dilationH,
  padTop: a.padLeft,
  padLeft: a.padTop,
});

test("conv2d: stride, dilation and padding along both axes; groups, bias and activation", () => {
  const attrs = { ...rowWindow(6, 3, 2, { strideW: 2, dilationW: 3, padLeft: 1 }), f: 1, groups: 1, activation: "linear" };
  for (const a of [attrs, transposeWindow(attrs)]) {
    const y = zeros(3);
    KERNELS.conv2d(a, [Float64Array.of(1, 2, 3, 4, 5, 6), Float64Array.of(10, 1), null], [y]);
    assert.equal([...y], [3, 25, 40]);
  }
  const y = zeros(2, 2);
  const grouped = { ...rowWindow(2, 2, 1), c: 2, f: 2, groups: 2, activation: "relu" };
  KERNELS.conv2d(grouped, [Float64Array.of(1, 2, 3, 4), Float64Array.of(10, -1), Float64Array.of(0.5, 3)], [y]);
  assert.equal([...y], [10.5, 1, 30.5, 0]);
});

test("pooling: only elements inside count; the first of equals", () => {
  const attrs = rowWindow(3, 4, 2, { padLeft: 1 });
  for (const a of [attrs, transposeWindow(attrs)]) {
    const [y, index] = [zeros(4), zeros(4)];
    KERNELS.avgPool(a, [Float64Array.of(1, 2, 3)], [y]);
    assert.equal([...y], [1, 1.5, 2.5, 3]);
    KERNELS.maxPool(a, [Float64Array.of(-2, -2, 3)], [y, index]);
    assert.equal([...y, ...index], [-2, -2, 3, 3, 1, 0, 1, 0]);
  }
});

test("softmax of large logits does not overflow", () => {
  const y = zeros(2);
  KERNELS.softmax({ rows: 1, cols: 2 }, [Float64Array.of(1000, 1000)], [y]);
  assert.equal([...y], [0.5, 0.5]);
});

test("copy reverses and pads; iota counts along its axis", () => {
  const y = zeros(5);
  const call = { outputs: [{ dtype: "f32" }] };
  KERNELS.copy(
    { shape: [3], xOffset: 2, xStrides: [-1], yOffset: 1, yStrides: [1], fill: 9, partial: false },
    [Float64Array.of(1, 2, 3)],
    [y],
    call,
  );
  assert.equal([...y], [9, 3, 2, 1, 9]);
  const counted = zeros(2, 2, 2);
  KERNELS.iota({ size: 2, inner: 2 }, [], [counted]);
  assert.equal([...counted], [0, 0, 1, 1, 0, 0, 1, 1]);
});

test("random: bits, uniforms and normals of one stream; a partial last block", () => {
  const draw = (kind, count) => {
    const y = zeros(count);
    KERNELS.random({ kind, stream: 3, count }, [Float64Array.of(1, 2, 3, 4)], [y]);
    return y;
  };
  assert.equal([...draw("bits", 8)], [...philox([0, 3, 3, 4], [1, 2]), ...philox([1, 3, 3, 4], [1, 2])]);
  assert.equal(
    [...draw("uniform", 6)],
    [...draw("bits", 6)].map((b) => Math.floor(b / 256) / 2 ** 24),
  );
  const normals = draw("normal", 20000);
  const mean = normals.reduce((a, x) => a + x, 0) / normals.length;
  const variance = normals.reduce((a, x) => a + x * x, 0) / normals.length;
  assert.ok(Math.abs(mean) < 0.03 && Math.abs(variance - 1) < 0.05, `mean ${mean}, variance ${variance}`);
});

for (const size of [1, 2, 3, 7, 64, 65, 1000]) {
  test(`permutation of ${size}: a bijection, shifted by its start`, () => {
    const draw = (start, count) => {
      const y = zeros(count);
      KERNELS.permutation({ size, stream: 5, count }, [Float64Array.of(1, 2, 3, 4), Float64Array.of(start)], [y]);
      return [...y];
    };
    const all = draw(0, size);
    assert.equal(
      [...all].sort((a, b) => a - b),
      Array.from({ length: size }, (_, i) => i),
    );
    assert.equal(draw(size - 1, 3), [all[size - 1], all[0], all[1 % size]]);
    if (size === 1000) assert.ok(all.filter((v, i) => v === i).length < 10, "it hardly moves anything");
  });
}

const at = (space, index, shape, dtype = "f32", offset = 0) => ({ place: { space, index, offset }, shape, dtype });
const binding = (kind, shape, written, dtype = "f32") => ({ kind, shape, dtype, bytes: sizeOf(shape) * 4, written });
const fill = (y, value) => ({ kernel: "fill", inputs: [], outputs: [y], attrs: { value }, source: "" });

/** y = x op x over [n] by a map call. */
function square(x, y, strides = [1]) {
  const body = { space: x.shape, strides: [strides], steps: [{ op: "mul", args: [0, 0], dtype: x.dtype }], results: [1] };
  return { kernel: "map", inputs: [x], outputs: [y], attrs: { body }, source: "test" };
}

const [X, Y, SLOT] = [at("binding", 0, [3]), at("binding", 1, [3]), at("slot", 0, [3])];
const BINDINGS = [binding("input", [3], false), binding("output", [3], true)];

async function runPlan(plan, views) {
  const backend = referenceBackend();
  const buffers = plan.bindings.map((b) => backend.alloc(b.bytes));
  views.forEach((view, i) => backend.write(buffers[i], 0, view));
  backend.run(await backend.compile(plan), buffers);
  await backend.sync();
  return { backend, buffers };
}

test("a plan runs through slots, in place too; values are not rounded, read is", async () => {
  const plan = { bindings: BINDINGS, slots: [12], calls: [square(X, SLOT), square(SLOT, SLOT), square(SLOT, Y)] };
  const { backend, buffers } = await runPlan(plan, [Float64Array.of(1, 2, 1.1)]);
  assert.equal([...backend.values(buffers[1])], [1, 256, ((1.1 ** 2) ** 2) ** 2]);
  assert.equal([...new Float32Array(await backend.read(buffers[1], 4, 8))], [256, Math.fround(1.1 ** 8)]);
});

test("read encodes the dtype last written", async () => {
  const y = at("binding", 0, [2], "u32");
  const { backend, buffers } = await runPlan({ bindings: [binding("output", [2], true, "u32")], slots: [], calls: [fill(y, -1)] }, []);
  assert.equal([...new Uint32Array(await backend.read(buffers[0], 0, 8))], [2 ** 32 - 1, 2 ** 32 - 1]);
  backend.write(buffers[0], 4, Int32Array.of(-5));
  assert.equal([...new Int32Array(await backend.read(buffers[0], 4, 4))], [-5]);
});

const matmulAttrs = { batch: 1, batchA: 1, batchB: 1, m: 1, k: 3, n: 1, transposeA: false, transposeB: false, activation: "linear" };
const call = (kernel, inputs, outputs, attrs) => ({ kernel, inputs, outputs, attrs, source: "test" });
const partial = { shape: [1], xOffset: 0, xStrides: [1], yOffset: 0, yStrides: [1], fill: null, partial: true };

for (const [what, pattern, calls, bindings = BINDINGS] of [
  ["an unknown kernel", /no such kernel/, [call("dance", [X], [Y], {})]],
  [
    "an unknown operation",
    /no operation "dance"/,
    [{ ...square(X, Y), attrs: { body: { ...square(X, Y).attrs.body, steps: [{ op: "dance", args: [0], dtype: "f32" }] } } }],
  ],
  ["a slot read before it is written", /before it is written/, [square(SLOT, Y)]],
  ["a partial copy into nothing", /before it is written/, [call("copy", [X], [SLOT], partial), square(SLOT, Y)]],
  ["another dtype than was written", /was written as i32/, [fill({ ...SLOT, dtype: "i32" }, 1), square(SLOT, Y)]],
  ["an operand past its slot", /end past/, [fill({ ...SLOT, place: { ...SLOT.place, offset: 4 } }, 1), fill(Y, 0)]],
  ["a slot that is not there", /no slot 1/, [fill(at("slot", 1, [3]), 1), fill(Y, 0)]],
  ["strides past an input", /elements 0 to 4 of 3/, [square(X, Y, [2])]],
  [
    "an operand of another size",
    /input b has 2 elements/,
    [fill(at("slot", 0, [2]), 1), call("matmul", [X, at("slot", 0, [2])], [at("binding", 1, [1])], matmulAttrs)],
  ],
  ["an output that is not written", /holds nothing/, [square(X, SLOT)]],
  ["an output written in part", /holds nothing/, [fill(at("binding", 1, [2]), 0)]],
  ["an input written secretly", /said to be only read/, [fill(X, 0), fill(Y, 0)]],
  ["a binding of the wrong size", /16 bytes for .* expected 12/, [fill(Y, 0)], [BINDINGS[0], { ...BINDINGS[1], bytes: 16 }]],
]) {
  test(`compile refuses ${what}`, async () => {
    const plan = { bindings, slots: [12], calls };
    const error = await referenceBackend()
      .compile(plan)
      .then(
        () => null,
        (e) => e,
      );
    assert.ok(error, "it was accepted");
    assert.match(error.message, /^internal: /);
    assert.match(error.message, pattern);
  });
}

test("run refuses operands that overlap, except elementwise in place", async () => {
  const wide = at("slot", 0, [4]);
  const shifted = { ...SLOT, place: { ...SLOT.place, offset: 4 } };
  const softmax = call("softmax", [SLOT], [SLOT], { rows: 1, cols: 3 });
  for (const bad of [square(SLOT, shifted), square(SLOT, SLOT, [0]), softmax]) {
    const plan = { bindings: BINDINGS, slots: [16], calls: [fill(wide, 1), bad, square(shifted, Y)] };
    const error = await runPlan(plan, [Float32Array.of(1, 2, 3)]).then(
      () => null,
      (e) => e,
    );
    assert.match(error?.message ?? "nothing thrown", /^internal: .* output 0 overlaps input 0$/);
  }
});

test("what a copy leaves out is NaN", async () => {
  const { backend, buffers } = await runPlan(
    { bindings: BINDINGS, slots: [], calls: [call("copy", [X], [Y], { ...partial, partial: false })] },
    [Float32Array.of(1, 2, 3)],
  );
  assert.equal([...backend.values(buffers[1])], [1, NaN, NaN]);
});

test("run refuses wrong buffers, and closed or freed things are errors", async () => {
  const backend = referenceBackend();
  const program = await backend.compile({ bindings: BINDINGS, slots: [], calls: [square(X, Y)] });
  const buffer = backend.alloc(12);
  assert.throws(() => backend.run(program, [buffer]), /1 buffers for 2 bindings/);
  assert.throws(() => backend.run(program, [buffer, backend.alloc(8)]), /needs 12 bytes, its buffer has 8/);
  assert.throws(() => backend.write(buffer, 8, Float32Array.of(1, 2)), /not whole elements inside/);
  assert.throws(() => backend.write(buffer, 0, Int8Array.of(1)), /cannot write a Int8Array/);
  assert.throws(() => backend.alloc(2 ** 31 + 4), /at most 2147483648 bytes/);
  const freed = backend.alloc(12);
  backend.free(freed);
  assert.throws(() => backend.run(program, [buffer, freed]), /was freed/);
  program.close();
  assert.throws(() => backend.run(program, [buffer, backend.alloc(12)]), /program is closed/);
  backend.close();
  assert.throws(() => backend.alloc(4), /it is closed/);
  backend.free(buffer);
});

test.run();

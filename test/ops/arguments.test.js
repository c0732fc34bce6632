/** Tests of what ops say to arguments that are no tensors. All exports of ops/public.ts are tried, so that a new op is too. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile } from "../../build/esm/compile.js";
import * as dual from "../../build/esm/dual.js";
import { LockstepError } from "../../build/esm/errors.js";
import { grad, gradients, valueAndGrad } from "../../build/esm/grad.js";
import { assign } from "../../build/esm/graph.js";
import * as ops from "../../build/esm/ops/public.js";
import { Tensor, tensor } from "../../build/esm/tensor.js";
import { adam } from "../../build/esm/train/optimizers.js";

const t = tensor([[1, 2], [3, 4]]);
const promise = Promise.resolve(t);
const NO_TENSORS = {
  undefined,
  null: null,
  promise,
  text: "text",
  empty: "",
  object: {},
  function: () => t,
  symbol: Symbol("s"),
  bigint: 10n,
  map: new Map(),
  date: new Date(0),
  ragged: [[[1], [1, 2]]],
  holes: [undefined],
  "text in an array": ["1"],
};
/** What may stand for a number, an axis, a shape or options, but is none. */
const NO_OPTIONS = { ...NO_TENSORS, NaN, Infinity, negative: -1, fraction: 1.5, true: true, array: [], "array of NaN": [NaN] };

/** The name of what is thrown, now or when elements come; "" where nothing is. */
async function outcome(fn, args) {
  try {
    const result = fn(...args);
    for (const y of result instanceof Tensor ? [result] : Object.values(result)) await y.data();
    return "";
  } catch (error) {
    if (error instanceof LockstepError) return error.name;
    throw error;
  }
}

for (const [name, fn] of Object.entries(ops)) {
  test(`${name}: what is no tensor`, async () => {
    for (const [what, value] of Object.entries(NO_TENSORS)) {
      // What takes a function and gives one.
      if (fn === ops.checkpoint && typeof value === "function") continue;
      for (const rest of [[], [value], [value, value], [t], [t, t], [[2, 2]], [1, 2]])
        assert.is.not(await outcome(fn, [value, ...rest]), "", `${name}(${what}, ${rest.map(String)})`);
    }
  });

  test(`${name}: further arguments`, async () => {
    for (const value of Object.values(NO_OPTIONS)) {
      // An argument more than a function has is ignored, as everywhere in JavaScript; nothing may fail in another way than by an error
      // that is ours.
      for (const first of [t, tensor([0, 1], undefined, "i32"), tensor(Uint32Array.of(1, 2, 3, 4))]) {
        const result = await outcome(fn, [first, value]);
        if (fn.length > 1 && (value === null || typeof value === "string" || typeof value === "symbol" || value === promise))
          assert.is.not(result, "", `${name}(${first}, ${String(value)})`);
      }
    }
  });
}

const failsWith = (fn, pattern, name = "ArgumentError") =>
  assert.throws(fn, (e) => {
    assert.is(e.name, name, e.message);
    assert.match(e.message, pattern);
    return true;
  });

test("texts say who, and what came", () => {
  failsWith(() => ops.sub(promise, 1), /^sub: expected a tensor, .*got a Promise; await it first/);
  failsWith(() => dual.add(promise, 1), /^add: .*await it first/);
  failsWith(() => dual.add(undefined, 1), /^add: .*got undefined/);
  failsWith(() => dual.add(t), /^add: .*got undefined/);
  failsWith(() => dual.relu(promise), /^relu: .*await it first/);
  failsWith(() => dual.reshape(promise, [1]), /^reshape: .*await it first/);
  failsWith(() => ops.mul(t, null), /^mul: .*got null/);
  failsWith(() => ops.mean(ops.softmaxCrossEntropy(t, t)), /^mean: .*an object with loss, probs/);
  failsWith(() => ops.reshape("text", [2]), /^reshape: .*got "text"/);
  failsWith(() => ops.matmul(t, () => t), /^matmul: .*got function/);
  failsWith(() => ops.where(promise, 1, 2), /^where: .*await it first/);
  failsWith(() => ops.sum(t, 1), /^sum: expected an object of options, got 1; known: axis, keepDims/);
  failsWith(() => ops.argMax(t, { axis: 0 }), /^argMax: axis must be an integer .*got options; give the number alone: 0/, "ShapeError");
  failsWith(() => ops.argMin(t, "0"), /^argMin: axis must be an integer in \[-2, 1\] for rank 2, got 0/, "ShapeError");
  failsWith(() => ops.softmax(t, { axis: 1 }), /^softmax: axis must be .*give the number alone: 1/, "ShapeError");
  failsWith(() => ops.mean(t, { axes: 1 }), /^mean: unknown option "axes"; did you mean "axis"/);
  failsWith(() => ops.matmul(t, t, { transpose_a: true }), /^matmul: unknown option/);
  failsWith(() => ops.cast(t, "float32"), /^cast: dtype must be one of "f32"/);
  failsWith(() => ops.add(tensor([1], undefined, "i32"), 3e9), /^add: 3000000000 is out of the range of i32/, "DataError");
});

test("rows to write and thresholds: what does not fit", () => {
  const [x, index] = [tensor([[1, 2], [3, 4], [5, 6]]), tensor([0, 2], undefined, "i32")];
  const integers = tensor([[1, 2], [3, 4]], undefined, "i32");
  failsWith(() => ops.scatterUpdate(1, index, x), /^scatterUpdate: expected x \[size, \.\.\.\], got a scalar/, "ShapeError");
  failsWith(() => ops.scatterUpdate(x, [0.5, 1], t), /^scatterUpdate: the index must be i32, got f32\[2\]; convert/, "DTypeError");
  failsWith(() => ops.scatterUpdate(x, [[0], [1]], t), /^scatterUpdate: the index must be \[count\], got \[2, 1\]/, "ShapeError");
  failsWith(
    () => ops.scatterUpdate(x, index, x),
    /^scatterUpdate: 2 indices into \[3, 2\] need updates \[2, 2\], got \[3, 2\]/,
    "ShapeError",
  );
  failsWith(() => ops.scatterUpdate(x, index, integers), /^scatterUpdate: x and updates must have one dtype, got .* and i32/, "DTypeError");
  failsWith(() => ops.massThreshold(3, 1), /^massThreshold: expected rows of at least one element, got \[\]/, "ShapeError");
  failsWith(() => ops.massThreshold(x, [1, 2]), /^massThreshold: mass must be a number or have the shape \[3\], got \[2\]/, "ShapeError");
  failsWith(
    () => ops.massThreshold(x, 1, { weights: t }),
    /^massThreshold: weights must have the shape of x, \[3, 2\], got \[2, 2\]/,
    "ShapeError",
  );
});

test("dual names take arrays where the layer takes options", async () => {
  assert.equal([...(await dual.relu([-1, 2]).data())], [0, 2]);
  assert.is(dual.softmax([1, 2]).shape.length, 1);
  assert.is(dual.reshape([4]).kind, "reshape");
  assert.is(dual.add().kind, "add");
  assert.equal([...(await dual.add([1, 2], [3, 4]).data())], [4, 6]);
});

test("indices in nested arrays are exact", async () => {
  const table = tensor([10, 20, 30]);
  assert.equal([...(await ops.gather(table, [[2, 0]]).data())], [30, 10]);
  const [index] = [ops.gather(ops.iota([16777220]), [[16777217, 16777219]])];
  assert.equal([...(await index.data())], [16777217, 16777219]);
  assert.equal([...(await ops.oneHot([1, 0], 2).data())], [0, 1, 1, 0]);
  assert.equal([...(await ops.scatterAdd([1, 2], [1, 1], 2).data())], [0, 3]);
  assert.equal([...(await ops.scatterUpdate([1, 2], [1, 1], [5, 6]).data())], [1, 6]);
  failsWith(() => ops.gather(table, [0.5]), /^gather: the index must be i32, got f32/, "DTypeError");
});

test("doors of compiled functions and gradients", async () => {
  const inside = async (fn) =>
    compile(() => {
      fn();
      return t;
    })();
  const rejects = async (fn, pattern, name = "ArgumentError") => {
    let error = null;
    await fn().catch((e) => (error = e));
    assert.is(error?.name, name, String(error));
    assert.match(error.message, pattern);
  };
  const step = compile((x) => ops.mul(x, 2));
  await rejects(() => step(promise), /got a Promise; await it first at "0"/);
  await rejects(() => step(), /^mul: .*got undefined/);
  await rejects(() => step(null), /got null at "0"/);
  await rejects(() => step({ a: "text" }), /got "text" at "0.a"/);
  await rejects(() => step(new Map([[1, t]])), /got a Map/);
  await rejects(() => compile(() => promise.then(() => t))(), /must not be async/);
  await rejects(() => compile(() => 3)(), /got 3/);
  failsWith(() => compile(t), /compile: expected a function/);
  const loss = (x) => ops.sum(ops.square(x));
  for (const value of [undefined, null, 0])
    failsWith(() => grad(loss, value), /^grad: params: .* got (undefined|null|0); write grad\(fn, params\)/);
  for (const value of [undefined, null, "text", promise, 3]) {
    await rejects(() => inside(() => valueAndGrad(() => loss(t), value)()), /valueAndGrad: params: expected tensors/);
    await rejects(() => inside(() => grad(value, [t])()), /expected a function/);
    await rejects(() => inside(() => gradients(value, [t])), /gradients: expected the loss/);
    await rejects(() => inside(() => gradients(loss(t), value)), /gradients: expected an array/);
    await rejects(() => inside(() => gradients(loss(t), [value])), /gradients: expected tensors/);
    await rejects(() => inside(() => grad(() => value, [t])()), /must return a scalar tensor/);
    await rejects(() => inside(() => assign(value, t)), /assign: expected a tensor/);
    await rejects(() => inside(() => adam().update(value, [t])), /expected tensors/);
    await rejects(() => inside(() => adam().update([t], value)), /expected tensors/);
    if (value !== 3) await rejects(() => inside(() => assign(t, value)), /assign: expected a tensor/);
  }
  await rejects(
    () => inside(() => valueAndGrad(() => loss(t), [tensor(Int32Array.of(1))])()),
    /expected dtype f32, got i32\[1\]/,
    "DTypeError",
  );
});

test.run();

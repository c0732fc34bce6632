/** Tests of compile: programs by shape, trees in and out, captured and assigned tensors, errors of tracing, flat memory. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile } from "../build/esm/compile.js";
import { grad, gradients, valueAndGrad } from "../build/esm/grad.js";
import { assign } from "../build/esm/graph.js";
import { open, useBackend } from "../build/esm/init.js";
import { mean } from "../build/esm/ops/composite.js";
import { add, mul, square, sub, tanh } from "../build/esm/ops/map.js";
import { matmul } from "../build/esm/ops/matmul.js";
import { gather } from "../build/esm/ops/gather.js";
import { flip, reshape, transpose } from "../build/esm/ops/move.js";
import { lstmSequence } from "../build/esm/ops/recurrent.js";
import { sum } from "../build/esm/ops/reduce.js";
import { tensor, zeros } from "../build/esm/tensor.js";
import { referenceBackend } from "./reference/index.js";

const backend = await open("wasm");

async function rejects(promise, name, pattern) {
  try {
    await promise;
  } catch (error) {
    assert.is(error.name, name, error.message);
    assert.match(error.message, pattern);
    return;
  }
  assert.unreachable("nothing was thrown");
}

test("bytes as arguments, captured and returned: programs tell them from words", async () => {
  const table = tensor(
    Uint8Array.from({ length: 21 }, (_, i) => 250 - i),
    [7, 3],
  );
  const f = compile((x, index) => ({ same: x, sum: add(x, 1), rows: gather(table, index), shaped: reshape(table, [21]) }));
  const index = tensor(Int32Array.of(6, 0));
  for (const x of [Uint8Array.of(1, 2, 255), Int32Array.of(1, -2, 300), Uint8Array.of(3, 4, 5)]) {
    const y = await f(tensor(x), index);
    assert.equal(await y.same.data(), Int32Array.from(x));
    assert.equal(
      await y.sum.data(),
      Int32Array.from(x, (v) => v + 1),
    );
    assert.equal(await y.rows.array(), [[232, 231, 230], [250, 249, 248]]);
    assert.equal(
      await y.shaped.data(),
      Int32Array.from({ length: 21 }, (_, i) => 250 - i),
    );
  }
  // Rows are read where the bytes are; for the rest of the function there are words.
  const text = await f.print(tensor(Uint8Array.of(1, 2, 255)), index);
  assert.match(text, /%0 input u8\[3\]/);
  assert.match(text, /gather\(%2:u8\[7, 3\], %1:i32\[2\]\)/);
  assert.not.match(text, /unpack/);
  const before = (await f(tensor(Uint8Array.of(1, 2, 255)), index)).rows;
  table.set(Uint8Array.from({ length: 21 }, () => 7));
  assert.equal(await (await f(tensor(Uint8Array.of(1, 2, 255)), index)).rows.array(), [[7, 7, 7], [7, 7, 7]]);
  assert.equal(await before.array(), [[232, 231, 230], [250, 249, 248]]);
  await rejects(
    compile((x) => assign(table, mul(x, 2)))(tensor(new Int32Array(21), [7, 3])),
    "DTypeError",
    /assign: i32:u8\[7, 3\] is kept in fewer bits.*await data\(\)/,
  );
  // Kept in another tensor, they are words.
  const kept = zeros([3], "i32");
  await compile((x) => assign(kept, x))(tensor(Uint8Array.of(1, 2, 255)));
  assert.equal(await kept.data(), Int32Array.of(1, 2, 255));
  f.close();
});

test("traces once per shapes, dtypes and structure of the arguments", async () => {
  let traces = 0;
  const double = compile((x) => {
    traces++;
    return mul(x, 2);
  });
  assert.equal(await (await double(tensor([1, 2]))).array(), [2, 4]);
  assert.equal(await (await double(tensor([3, 4]))).array(), [6, 8]);
  assert.is(traces, 1);
  assert.equal(await (await double(tensor([[3]]))).array(), [[6]]);
  assert.equal([...(await (await double(tensor(Int32Array.of(3, 4)))).data())], [6, 8]);
  assert.is(traces, 3);
  let structures = 0;
  const total = compile((t) => {
    structures++;
    return Object.values(t).reduce((a, b) => add(a, b));
  });
  const [a, b] = [tensor(1), tensor(2)];
  await total({ a, b });
  await total({ a: b, b: a });
  await total({ a, c: b });
  await total([a, b]);
  assert.is(structures, 3);
});

test("concurrent first calls share one trace, and every call gets its own result", async () => {
  let traces = 0;
  const double = compile((x) => {
    traces++;
    return mul(x, 2);
  });
  const results = await Promise.all([1, 2, 3, 4].map((n) => double(tensor([n]))));
  assert.equal(await Promise.all(results.map((t) => t.item())), [2, 4, 6, 8]);
  assert.is(traces, 1);
});

test("trees in and out", async () => {
  const fn = compile(({ x, list: [y, z] }, w) => ({ sums: [add(x, y), add(z, w)], same: x, twice: [x, x] }));
  const out = await fn({ x: tensor([1, 2]), list: [tensor([10, 20]), tensor(5)] }, tensor([100]));
  assert.equal(await out.sums[0].array(), [11, 22]);
  assert.equal(await out.sums[1].array(), [105]);
  assert.equal(await out.same.array(), [1, 2]);
  assert.equal(await out.twice[1].array(), [1, 2]);
  assert.is(await compile(() => {})(), undefined);
});

test("results are values of their own: later calls do not change them", async () => {
  const fn = compile((x) => add(x, 1));
  const first = await fn(tensor([1]));
  await fn(tensor([5]));
  assert.equal(await first.array(), [2]);
});

test("a result may be used as an argument", async () => {
  const fn = compile((x) => mul(x, 2));
  let t = tensor([1]);
  for (let k = 0; k < 10; k++) t = await fn(t);
  assert.is(await t.item(), 1024);
});

test("captured tensors are read anew at each run", async () => {
  const w = tensor([1, 2]);
  const fn = compile((x) => mul(x, w));
  assert.equal(await (await fn(tensor([3, 3]))).array(), [3, 6]);
  w.set([10, 20]);
  assert.equal(await (await fn(tensor([3, 3]))).array(), [30, 60]);
  w.dispose();
  await rejects(fn(tensor([3, 3])), "LockstepError", /disposed/);
});

test("results of ops outside may be captured and passed at once", async () => {
  const w = add(tensor([1, 2]), 1);
  const fn = compile((x) => mul(x, w));
  assert.equal(await (await fn(mul(tensor([1, 1]), 3))).array(), [6, 9]);
});

test("assign takes place after all reads, and persists", async () => {
  const [a, b] = [tensor([1, 2]), tensor([3, 4])];
  const swap = compile(() => {
    assign(a, b);
    assign(b, a);
    return [a, add(a, b)];
  });
  const [old, total] = await swap();
  assert.equal(await old.array(), [1, 2]);
  assert.equal(await total.array(), [4, 6]);
  assert.equal([await a.array(), await b.array()], [[3, 4], [1, 2]]);
  await swap();
  assert.equal([await a.array(), await b.array()], [[1, 2], [3, 4]]);
  const step = compile((x) => assign(a, add(a, x)));
  for (let k = 0; k < 3; k++) await step(tensor([1, 10]));
  assert.equal(await a.array(), [4, 32]);
  a.set([0, 0]);
  await step(tensor([1, 10]));
  assert.equal(await a.array(), [1, 10]);
});

test("elements read before an assignment are not changed by it", async () => {
  const a = tensor([1, 2]);
  const step = compile(() => assign(a, mul(a, 2)));
  await step();
  const before = await a.data();
  await step();
  assert.equal([...before], [2, 4]);
  assert.equal([...(await a.data())], [4, 8]);
});

test("one tensor assigned by one program and captured by another", async () => {
  const w = tensor([1]);
  const [bump, read] = [compile(() => assign(w, add(w, 1))), compile(() => mul(w, 10))];
  const seen = [];
  for (let k = 0; k < 3; k++) {
    seen.push(await (await read()).item());
    await bump();
  }
  assert.equal(seen, [10, 20, 30]);
});

test("an argument that is also captured and assigned is read before it changes", async () => {
  const w = tensor([2]);
  w.upload(backend);
  const fn = compile((x) => {
    assign(w, mul(x, 10));
    return add(x, w);
  });
  assert.equal(await (await fn(w)).array(), [4]);
  assert.equal(await w.array(), [20]);
});

test("an argument that is also assigned is read as it was, whatever is written first", async () => {
  const others = [await open("wasm", { background: true, threads: 2 }), referenceBackend()];
  for (const on of [backend, ...others]) {
    const [w, v] = [tensor([1, 2, 3, 4, 5]), tensor([0, 0, 0, 0, 0])];
    const fn = compile(
      (x) => {
        assign(w, flip(x));
        assign(v, add(v, mul(x, 1)));
      },
      { backend: on },
    );
    for (let k = 0; k < 3; k++) await fn(w);
    assert.equal(await w.array(), [5, 4, 3, 2, 1], on.name);
    assert.equal(await v.array(), [7, 8, 9, 10, 11], on.name);
    // Another tensor in its place.
    await fn(tensor([1, 0, 0, 0, 0]));
    assert.equal([await w.array(), await v.array()], [[0, 0, 0, 0, 1], [8, 8, 9, 10, 11]], on.name);
  }
  for (const on of others) on.close();
  useBackend(backend);
});

test("training goes the same way on wasm and on the reference", async () => {
  const run = async (on) => {
    const params = { w: tensor([[0.5], [-0.25]]), bias: tensor([0]) };
    const loss = (x, y) => mean(square(sub(matmul(x, params.w, { bias: params.bias, activation: "tanh" }), y)));
    const step = compile(
      (x, y) => {
        const { value, grads } = valueAndGrad(loss, params)(x, y);
        for (const k of ["w", "bias"]) assign(params[k], sub(params[k], mul(grads[k], 0.1)));
        return value;
      },
      { backend: on },
    );
    const [x, y] = [tensor([[1, 2], [3, 4], [5, -6]]), tensor([[0.3], [0.7], [0.2]])];
    const losses = [];
    for (let k = 0; k < 20; k++) losses.push(await (await step(x, y)).item());
    return [...losses, ...(await params.w.data()), ...(await params.bias.data())];
  };
  const [got, want] = [await run(backend), await run(referenceBackend())];
  got.forEach((v, k) => assert.ok(Math.abs(v - want[k]) < 1e-5, `${k}: ${v} and ${want[k]}`));
  assert.ok(want[19] < want[0]);
});

test("inference with an LSTM needs neither cell states nor gates", async () => {
  const fn = compile((xw, wr) => lstmSequence(xw, wr).h);
  assert.equal((await fn(zeros([2, 3, 8]), zeros([2, 8]))).shape, [2, 3, 2]);
});

test("reading elements while tracing is an error", async () => {
  for (const [use, pattern] of [
    [(x) => x.item(), /must not be async|being traced/],
    [(x) => x.set([1]), /set\(\) was called .* being traced/],
    [(x) => x.upload(backend), /being traced/],
  ]) {
    await rejects(compile((x) => use(x))(tensor([1])), use.toString().includes("item") ? "ArgumentError" : "LockstepError", pattern);
  }
  let caught;
  await compile((x) => {
    caught = x.item().catch((e) => e);
    return x;
  })(tensor([1]));
  assert.match((await caught).message, /data\(\) was called on f32\[1\] while its function is being traced/);
});

test("number coercion, async functions and wrong results are errors that say what to do", async () => {
  const x = tensor([1]);
  await rejects(compile((t) => (t > 0 ? t : mul(t, 2)))(x), "LockstepError", /such as add\(a, b\)/);
  await rejects(compile(async (t) => t)(x), "ArgumentError", /must not be async/);
  await rejects(compile(() => 5)(), "ArgumentError", /expected tensors.*got 5/);
  await rejects(compile(() => ({ loss: 5 }))(), "ArgumentError", /^compile: what the function returns: expected tensors.*at "loss"/);
  await rejects(
    compile((t) => ({ y: t, state: [t, null] }))(x),
    "ArgumentError",
    /^compile: what the function returns: .*got null at "state.1"; leave out what there is none of/,
  );
  await rejects(compile((t) => t)(5), "ArgumentError", /^compile: the arguments: .*got 5/);
  assert.is(await compile(() => null)(), undefined);
  await rejects(compile((t) => t, { backend: "cuda" })(x), "ArgumentError", /unknown backend "cuda"/);
});

test("symbols that leave their function are refused afterwards", async () => {
  let leaked;
  await compile((t) => {
    leaked = add(t, 1);
    return t;
  })(tensor([1]));
  await rejects(leaked.data(), "LockstepError", /being traced|traced/);
  assert.throws(() => mul(leaked, 2), /has ended/);
  await rejects(compile((t) => add(t, leaked))(tensor([1])), "LockstepError", /belongs to another traced function/);
  await rejects(compile(() => leaked)(), "LockstepError", /belongs to another/);
  await rejects(compile((t) => t)(leaked), "LockstepError", /./);
});

test("an error while tracing leaves nothing behind: the next call traces again", async () => {
  let fail = true;
  const fn = compile((x) => {
    if (fail) throw new RangeError("mine");
    return add(x, 1);
  });
  await rejects(fn(tensor([1])), "RangeError", /mine/);
  fail = false;
  assert.equal(await (await fn(tensor([1]))).array(), [2]);
  await rejects(compile((x) => matmul(x, x))(zeros([2, 3])), "ShapeError", /inner dimensions differ/);
});

test("gradients inside, by closure", async () => {
  const w = tensor([1, 2, 3]);
  const fn = compile((x) => grad((v) => sum(mul(square(w), v)), w)(x));
  assert.equal(await (await fn(tensor([1, 10, 100]))).array(), [2, 40, 600]);
});

test("print gives the plan without running it", async () => {
  const w = tensor([1]);
  const fn = compile((x) => {
    assign(w, add(w, x));
    return tanh(x);
  });
  const text = await fn.print(tensor([5]));
  assert.match(text, /%0 input f32\[1\]\n%1 capture f32\[1\] written\n%2 output f32\[1\] written/);
  assert.match(text, /tanh\(i\d\)/);
  assert.equal(await w.array(), [1]);
});

test("close frees the programs; calling again compiles again", async () => {
  const before = backend.memory().buffers;
  const fn = compile((x) => transpose(mul(x, 2)));
  await fn(zeros([3, 4]));
  await fn(zeros([4, 4]));
  assert.ok(backend.memory().buffers > before);
  fn.close();
  await new Promise((resolve) => setTimeout(resolve, 0));
  assert.is(backend.memory().buffers, before);
  assert.equal((await fn(zeros([3, 4]))).shape, [4, 3]);
  fn.close();
});

test("many different shapes give one warning", async () => {
  const warnings = [];
  const { warn } = console;
  console.warn = (text) => warnings.push(text);
  try {
    const fn = compile((x) => mul(x, 2), { warnAfter: 3 });
    for (let n = 1; n < 10; n++) await fn(zeros([n]));
    fn.close();
  } finally {
    console.warn = warn;
  }
  assert.is(warnings.length, 1);
  assert.match(warnings[0], /4 different argument shapes/);
});

test("gradients: tensors with elements are targets as well as symbols", async () => {
  const w = tensor([3]);
  const both = compile((x) => gradients(sum(mul(w, x)), [w, x]), { backend });
  const [dw, dx] = await both(tensor([2]));
  assert.equal([await dw.item(), await dx.item()], [2, 3]);
});

/** Less is fine: a collection may free what earlier tests left. */
function assertNotAbove(after, before) {
  for (const key of ["linear", "buffers", "bytes"]) assert.ok(after[key] <= before[key], `${key}: ${after[key]}, before ${before[key]}`);
}

test("memory stays flat over 10,000 calls", async () => {
  const params = { w: tensor([[0.5], [0.1]]), bias: tensor([0]) };
  const step = compile((x, y) => {
    const { value, grads } = valueAndGrad(() => mean(square(sub(matmul(x, params.w, { bias: params.bias }), y))), params)();
    for (const k of ["w", "bias"]) assign(params[k], sub(params[k], mul(grads[k], 0.001)));
    return value;
  });
  const call = () => step(tensor([[1, 2], [3, 4], [5, 6]]), tensor([[0.3], [0.7], [0.2]]));
  await call();
  const before = backend.memory();
  for (let k = 0; k < 10000; k++) await call();
  assertNotAbove(backend.memory(), before);
  step.close();
});

test("memory stays flat over many ops outside of compiled functions", async () => {
  const x = tensor([1, 2, 3]);
  const run = async () => (await mul(add(x, 1), 2).data())[0];
  await run();
  const before = backend.memory();
  for (let k = 0; k < 1000; k++) assert.is(await run(), 4);
  assertNotAbove(backend.memory(), before);
});

test("the backend option: a name, a backend, or the one opened last", async () => {
  const other = referenceBackend();
  useBackend(other);
  const fn = compile((x) => add(x, 1));
  assert.equal(await (await fn(tensor([1]))).array(), [2]);
  assert.is(await (await compile((x) => x, { backend })(tensor(3))).item(), 3);
  assert.is(await (await compile((x) => x, { backend: "wasm" })(tensor(4))).item(), 4);
  useBackend(backend);
});

test("arguments that are a part of themselves are refused, and deep ones are not", async () => {
  const first = compile((tree) => {
    let t = tree;
    while (Array.isArray(t)) t = t[0];
    return t;
  });
  let deep = tensor([1, 2]);
  for (let i = 0; i < 900; i++) deep = [deep];
  assert.equal(await (await first(deep)).array(), [1, 2]);
  const cyclic = [];
  cyclic.push(cyclic);
  await first(cyclic).then(assert.unreachable, (error) => assert.match(`${error.name} ${error.message}`, /ArgumentError.*part of itself/));
});

test.run();

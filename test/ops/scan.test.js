/** @file Tests of loops beyond the op table: plans, threads, what is drawn and assigned inside, mistakes. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as lockstep from "../../build/esm/index.js";

const {
  assign,
  batchNorm,
  compile,
  dropout,
  gradients,
  ones,
  open,
  ops,
  randomKey,
  randomUniform,
  stopGradient,
  tensor,
  valueAndGrad,
  zeros,
} = lockstep;
const { add, checkpoint, concat, matmul, mean, mul, scan, scatterUpdate, slice, sum, tanh } = ops;

/** Numbers in [-1, 1) that are always the same. */
const numbers = (shape, seed = 1) => {
  const n = shape.reduce((a, d) => a * d, 1);
  return tensor(
    Float32Array.from({ length: n }, (_, i) => (Math.imul(i + 7 * seed, 2654435761) >>> 8) / 2 ** 23 - 1),
    shape,
  );
};

const [w, wr] = [numbers([6, 8], 2), numbers([8, 8], 3)];
/** The loss of a recurrent layer, and its gradients. */
const training = (options) => (xs) =>
  valueAndGrad(
    () => {
      const [, hs] = scan(
        (h, x) => {
          const next = tanh(add(matmul(x, w), mul(matmul(h, wr), 0.2)));
          return [next, next];
        },
        zeros([4, 8]),
        xs,
        options,
      );
      return mean(mul(hs, hs));
    },
    { w, wr },
  )();

const flat = async ({ value, grads }) => {
  const all = await Promise.all([value, grads.w, grads.wr].map((t) => t.data()));
  return all.flatMap((data) => [...data]);
};

test("plans do not depend on the number of steps", async () => {
  const step = compile(training());
  const text = async (steps) => (await step.print(numbers([steps, 4, 6]))).replaceAll(String(steps), "T").split("\n");
  const [few, many] = [await text(10), await text(1111)];
  assert.is(few.length, many.length);
  assert.ok(many.length < 60, `${many.length} lines`);
});

test("what is computed again is not kept", async () => {
  const deep = (remat) => (x) =>
    gradients(sum(scan((h, y) => [tanh(tanh(tanh(tanh(add(h, y))))), null], zeros([300]), x, { remat })[0]), [x]);
  const bytes = async (remat) => Number(/#0 slot (\d+) B/.exec(await compile(deep(remat)).print(numbers([500, 300])))[1]);
  const [kept, again] = [await bytes(false), await bytes(true)];
  // Four values of tanh a step, or what the step began with.
  assert.ok(again < 0.3 * kept, `${again} of ${kept} bytes`);
});

test("what the gradient computes again gives the same gradients", async () => {
  const xs = numbers([9, 4, 6]);
  const [kept, again] = await Promise.all([{}, { remat: true }].map(async (o) => flat(await compile(training(o))(xs))));
  kept.forEach((v, i) => assert.ok(Math.abs(v - again[i]) <= 1e-6, `${i}: ${v}, ${again[i]}`));
});

test("layers in a loop compile as one does", async () => {
  const deep = (depth) =>
    compile((x, ws) => gradients(mean(scan((h, v) => [add(h, tanh(matmul(h, v))), null], x, ws)[0]), [ws])[0]).print(
      numbers([3, 8]),
      numbers([depth, 8, 8]),
    );
  const [one, hundred] = [await deep(2), await deep(100)];
  assert.is(one.split("\n").length, hundred.split("\n").length);
});

test("the same bits on one thread, on two, and piece by piece on a thread that may not wait", async () => {
  const big = (x, v) => valueAndGrad(() => mean(scan((h, y) => [tanh(add(matmul(h, v), y)), null], zeros([64, 192]), x)[0]), { v })();
  const [x, v] = [numbers([6, 64, 192]), numbers([192, 192], 5)];
  const results = [];
  for (const options of [{ threads: 1 }, { threads: 2 }, { threads: 1, background: true }]) {
    const backend = await open("wasm", { reproducible: true, ...options });
    if (options.threads === 2) await backend.warm();
    const { value, grads } = await compile(big, { backend })(x, v);
    results.push([...(await value.data()), ...(await grads.v.data())]);
    backend.close();
  }
  assert.equal(results[1], results[0]);
  assert.equal(results[2], results[0]);
  await open("wasm");
});

test("each step draws numbers of its own, and each loop", async () => {
  const draws = compile(() => {
    const loop = () => scan(() => [null, randomUniform(randomKey(), [2])], null, null, { length: 50 })[1];
    return concat([loop(), loop(), loop()], 0);
  });
  const [first, second] = [await (await draws()).data(), await (await draws()).data()];
  assert.is(new Set([...first, ...second]).size, 600);
  const again = compile(() => scan(() => [null, randomUniform(randomKey(), [2])], null, null, { length: 50 })[1]);
  assert.equal(await (await again()).data(), first.slice(0, 100), "the same key and the same program give the same numbers");
});

test("dropout in a step that is computed again drops the same elements", async () => {
  const layer = dropout(0.5);
  const x = numbers([5, 40]);
  for (const remat of [false, true]) {
    const run = compile(
      (t) => {
        const y = scan((_, row) => [null, layer.call(row)], null, t, { remat })[1];
        return [y, ...gradients(sum(mul(y, y)), [t])];
      },
      { training: true },
    );
    const [y, dx] = await Promise.all((await run(x)).map((t) => t.data()));
    // y = 2x where kept: the gradient of its square is 8x there.
    y.forEach((v, i) => assert.ok(Math.abs(dx[i] - 4 * v) < 1e-5, `${v}, ${dx[i]}`));
    assert.ok(
      y.some((v) => v === 0) &&
        new Set(Array.from({ length: 5 }, (_, r) => [...y.slice(40 * r, 40 * r + 40)].map((v) => v === 0).join())).size === 5,
    );
  }
});

test("a layer that keeps averages moves them at each step", async () => {
  const looped = batchNorm();
  const unrolled = batchNorm();
  const xs = numbers([4, 16, 3]);
  const parts = Array.from({ length: 4 }, (_, t) => t);
  await compile((x) => scan((_, y) => [null, looped.call(y)], null, x)[1], { training: true })(xs);
  await compile((x) => parts.map((t) => unrolled.call(ops.reshape(slice(x, [t, 0, 0], [1, 16, 3]), [16, 3]))), { training: true })(xs);
  for (const [k, { name, tensor: t }] of looped.weights.entries()) {
    const [got, want] = [await t.data(), await unrolled.weights[k].tensor.data()];
    got.forEach((v, i) => assert.ok(Math.abs(v - want[i]) <= 1e-6, `${name}: ${v}, ${want[i]}`));
  }
});

test("what a step assigns is read at the next one", async () => {
  const count = zeros([]);
  const run = compile(() => scan(() => (assign(count, add(count, 2)), [null, add(count, 0.5)]), null, null, { length: 3 })[1]);
  assert.equal([...(await (await run()).data())], [0.5, 2.5, 4.5]);
  assert.equal([...(await (await run()).data())], [6.5, 8.5, 10.5]);
  assert.is((await count.data())[0], 12);
});

test("gradients that would go through what a loop assigns are refused", async () => {
  const [state, v] = [ones([3]), ones([3])];
  const loop = (stop) => (x) =>
    gradients(
      sum(
        scan(
          (l) => {
            const next = tanh(mul(state, v));
            const read = add(l, state);
            assign(state, stop ? stopGradient(next) : next);
            return [read, null];
          },
          x,
          null,
          { length: 3 },
        )[0],
      ),
      [v],
    )[0];
  const refused = compile(loop(false))(zeros([3]));
  await refused.then(
    () => assert.unreachable("no error"),
    (error) => assert.match(error.message, /a loop assigns f32\[3\].* return it in the carry/),
  );
  assert.equal([...(await (await compile(loop(true))(zeros([3]))).data())], [0, 0, 0]);
});

test("a tensor that is assigned before a loop and in it is refused", async () => {
  const count = zeros([]);
  const run = compile(() => {
    assign(count, 5);
    scan(() => (assign(count, add(count, 1)), [null, null]), null, null, { length: 2 });
    return add(count, 0);
  });
  await run().then(
    () => assert.unreachable("no error"),
    (error) => assert.match(error.message, /is assigned before a loop and in it/),
  );
});

test("a table of which each step changes a row is changed where it is", async () => {
  const table = zeros([100, 4]);
  const run = compile((rows) => {
    const at = zeros([1], "i32");
    const [, ys] = scan(
      (k, row) => {
        const before = sum(table);
        assign(table, scatterUpdate(table, k, row));
        return [add(k, 3), before];
      },
      at,
      rows,
    );
    return ys;
  });
  const rows = ones([5, 1, 4]);
  assert.equal([...(await (await run(rows)).data())], [0, 4, 8, 12, 16]);
  const changed = await table.data();
  assert.equal(
    Array.from({ length: 20 }, (_, i) => changed[4 * i]),
    Array.from({ length: 20 }, (_, i) => Number(i < 15 && i % 3 === 0)),
  );
  const copies = (await run.print(rows)).split("\n").filter((line) => /\[(100, 4|400)\].* = map\(/.test(line));
  assert.equal(copies, []);
});

test("outside of a compiled function a loop runs at once", async () => {
  const [total, sums] = scan((s, x) => [add(s, x), add(s, x)], zeros([]), tensor([1, 2, 3]));
  assert.is((await total.data())[0], 6);
  assert.equal([...(await sums.data())], [1, 3, 6]);
  const twice = checkpoint((x) => mul(x, 2));
  assert.equal([...(await twice(tensor([1, 2])).data())], [2, 4]);
});

test("gradients of gradients", async () => {
  // y = x^8 by three squarings: y'' = 56 x^6
  const power = (x) => scan((y) => [mul(y, y), null], x, null, { length: 3 })[0];
  const second = compile((x) => {
    const [first] = gradients(power(x), [x]);
    return gradients(first, [x])[0];
  });
  const [got] = await (await second(tensor(1.1))).data();
  assert.ok(Math.abs(got / (56 * 1.1 ** 6) - 1) < 1e-5, got);
});

test("gradients through a layer of which nobody said whether it trains are refused in a loop too", async () => {
  const layer = dropout(0.5);
  const run = compile((x) => gradients(sum(scan((_, y) => [null, layer.call(y)], null, x)[1]), [x]));
  await run(numbers([2, 3])).then(
    () => assert.unreachable("no error"),
    (error) => assert.match(error.message, /does something else in training/),
  );
});

test("a tensor of a loop is no tensor of what is around it", async () => {
  let inner = null;
  const run = compile((x) => {
    scan((s, y) => ((inner = y), [add(s, y), null]), zeros([]), x);
    return mul(inner, 2);
  });
  await run(tensor([1, 2])).then(
    () => assert.unreachable("no error"),
    (error) => assert.match(error.message, /belongs to another traced function/),
  );
});

const MISTAKES = [
  ["no function", () => scan(3, null, null), /scan: expected a function/],
  ["no steps", () => scan(() => [null, null], null, null), /how many steps/],
  ["lengths that differ", () => scan((c) => [c, null], null, [zeros([2]), zeros([3])]), /with 2 steps, got \[3\]/],
  ["a scalar of xs", () => scan((c) => [c, null], null, zeros([])), /expected xs \[steps, \.\.\.\]/],
  ["another length", () => scan((c) => [c, null], null, zeros([2]), { length: 5 }), /with 5 steps, got \[2\]/],
  ["no pair", () => scan((c) => c, zeros([2]), zeros([2])), /must return \[carry, y\]/],
  ["another shape", () => scan((c) => [concat([c, c], 0), null], zeros([2]), zeros([2])), /was given \[2\] and carries on \[4\]/],
  ["another dtype", () => scan((c) => [ops.greater(c, 0), null], zeros([2]), zeros([2])), /was given f32 and carries on bool/],
  ["another structure", () => scan((c) => [[c, c], null], zeros([2]), zeros([2])), /must carry on what it was given/],
  ["nothing carried on", () => scan(() => [null, null], zeros([2]), zeros([2])), /must carry on what it was given/],
  ["a promise", () => scan(async (c) => [c, null], zeros([2]), zeros([2])), /must return \[carry, y\]/],
  ["a number as what is collected", () => scan((c) => [c, 1], zeros([2]), zeros([2])), /scan: y: expected tensors/],
  ["an unknown option", () => scan((c) => [c, null], null, zeros([2]), { steps: 2 }), /steps/],
  ["no function to checkpoint", () => checkpoint(zeros([2])), /checkpoint: expected a function/],
];
for (const [name, make, message] of MISTAKES) {
  test(`refused: ${name}`, () => assert.throws(make, (error) => error instanceof lockstep.LockstepError && message.test(error.message)));
}

test.run();

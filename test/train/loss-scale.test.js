/** @file Losses scaled for half precision: what scale does, how it adapts, what an update that does not take place leaves as it was. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ArgumentError, FileError, LockstepError } from "../../build/esm/errors.js";
import { adam, compile, dense, gradients, lossScaleOptimizer, open, sequential, sgd, tensor } from "../../build/esm/index.js";
import { mul, square, sub, sum } from "../../build/esm/ops/public.js";

const backend = await open("wasm", { threads: 1 });

const values = async (state) =>
  Object.fromEntries(await Promise.all(Object.entries(state).map(async ([name, t]) => [name, [...(await t.data())]])));
const scaleOf = async (optimizer) => (await values(optimizer.state())).dynamicScale[0];

/** A step down factor * (w - 1)^2, by an optimizer. */
async function stepper(optimizer) {
  const w = tensor([3, -1]);
  const step = await compile(
    (factor) => {
      const loss = mul(sum(square(sub(w, 1))), factor);
      const [g] = gradients(optimizer.scaleLoss?.(loss) ?? loss, [w]);
      optimizer.update([w], [g]);
      return loss;
    },
    { backend },
  );
  return { w, step: (factor = 1) => step(tensor(factor, [])) };
}

test("updates are those of the inner optimizer, to the bit with powers of two", async () => {
  const [plain, scaled] = [
    adam({ learningRate: 0.1, globalClipNorm: 1 }),
    lossScaleOptimizer(adam({ learningRate: 0.1, globalClipNorm: 1 })),
  ];
  const [a, b] = [await stepper(plain), await stepper(scaled)];
  for (let i = 0; i < 5; i++) assert.is(await (await a.step()).item(), await (await b.step()).item());
  assert.equal(await b.w.data(), await a.w.data());
  const { dynamicScale, stepCounter, ...rest } = await values(scaled.state());
  assert.equal(rest, await values(plain.state()));
  assert.equal([dynamicScale, stepCounter], [[2 ** 15], [5]]);
});

test("a gradient that is not finite: nothing changes, no step is counted, and the scale is halved", async () => {
  const optimizer = lossScaleOptimizer(adam({ learningRate: 0.1, useEma: true }));
  const { w, step } = await stepper(optimizer);
  await step();
  const before = { w: [...(await w.data())], ...(await values(optimizer.state())) };
  for (const factor of [Infinity, NaN, 3e38]) await step(factor);
  assert.equal([...(await w.data())], before.w);
  const after = await values(optimizer.state());
  assert.equal(after, { ...Object.fromEntries(Object.entries(before).slice(1)), dynamicScale: [2 ** 12], stepCounter: [0] });
  await step();
  assert.not.equal([...(await w.data())], before.w);
  assert.is(await optimizer.iterations.item(), 2);
});

test("the scale is doubled after so many updates in a row, and stays between 1 and 2^126", async () => {
  const optimizer = lossScaleOptimizer(sgd({ learningRate: 0.01 }), { initialScale: 4, dynamicGrowthSteps: 3 });
  const { step } = await stepper(optimizer);
  const seen = [];
  for (const factor of [1, 1, 1, 1, 1, NaN, 1, 1, 1, NaN, NaN, NaN, NaN]) {
    await step(factor);
    seen.push(await scaleOf(optimizer));
  }
  assert.equal(seen, [4, 4, 8, 8, 8, 4, 4, 4, 8, 4, 2, 1, 1]);
  const large = lossScaleOptimizer(sgd(), { initialScale: 2 ** 126, dynamicGrowthSteps: 1 });
  const { step: next } = await stepper(large);
  await next(0);
  assert.is(await scaleOf(large), 2 ** 126);
});

test("apply, without a traced function: gradients of the scaled loss", async () => {
  const optimizer = lossScaleOptimizer(sgd({ learningRate: 1 }), { initialScale: 8 });
  const w = tensor([1, 2]);
  await optimizer.apply({ w }, { w: tensor([8, 16]) });
  assert.equal([...(await w.data())], [0, 0]);
  await optimizer.apply({ w }, { w: tensor([8, NaN]) });
  assert.equal([...(await w.data())], [0, 0]);
  assert.is(await scaleOf(optimizer), 4);
});

test("state is saved and loaded", async () => {
  const make = () => lossScaleOptimizer(adam({ learningRate: 0.1 }), { dynamicGrowthSteps: 2 });
  const [first, second] = [make(), make()];
  const a = await stepper(first);
  for (let i = 0; i < 3; i++) await a.step();
  const state = first.state();
  const saved = Object.fromEntries(
    await Promise.all(Object.entries(state).map(async ([name, t]) => [name, { shape: t.shape, data: (await t.data()).slice() }])),
  );
  second.load(saved);
  const b = await stepper(second);
  b.w.set(await a.w.data());
  await Promise.all([a.step(), b.step()]);
  assert.equal(await b.w.data(), await a.w.data());
  assert.equal(await values(second.state()), await values(first.state()));
  const { dynamicScale: _, ...without } = saved;
  assert.throws(
    () => make().load(without),
    (e) => e instanceof FileError && /dynamicScale/.test(e.message),
  );
});

test("a model trains with it on any backend, and its loss is not scaled", async () => {
  const train = async (optimizer) => {
    const model = sequential([dense(4, { activation: "tanh" }), dense(1)], { inputShape: [1], seed: 1 });
    await model.compile({ loss: "mse", optimizer, backend });
    const { history } = await model.fit([[1], [2], [3]], [[1], [4], [9]], { epochs: 5, verbose: 0, seed: 1 });
    return history.loss;
  };
  assert.equal(await train(lossScaleOptimizer(adam({ learningRate: 0.01 }))), await train(adam({ learningRate: 0.01 })));
});

test("bad options are refused", () => {
  for (const [options, pattern] of [
    [{ initialScale: 0 }, /initialScale/],
    [{ dynamicGrowthSteps: 0 }, /dynamicGrowthSteps/],
    [{ scale: 2 }, /unknown option "scale"/],
  ])
    assert.throws(
      () => lossScaleOptimizer(sgd(), options),
      (e) => e instanceof ArgumentError && pattern.test(e.message),
    );
  const optimizer = lossScaleOptimizer(sgd());
  assert.throws(
    () => optimizer.update([], []),
    (e) => e instanceof LockstepError && /compile\(fn\)/.test(e.message),
  );
  optimizer.learningRate = 0.5;
  assert.is(optimizer.learningRate, 0.5);
});

test.after(() => backend.close());
test.run();

/** Optimizers beyond the conformance cases: the shape of their plans, state, resuming, clipping, schedules. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile } from "../../build/esm/compile.js";
import { tensor } from "../../build/esm/tensor.js";
import { naturalLog } from "../../build/esm/train/log.js";
import * as optimizers from "../../build/esm/train/optimizers.js";
import * as schedules from "../../build/esm/train/schedules.js";
import { makeGrads, makeParams, normal, saved, SHAPES, snapshot, stepOf } from "./helpers.js";

const { optimizerByName, optimizerFromConfig, OPTIMIZER_NAMES } = optimizers;
const VARIANTS = {
  sgd: () => optimizers.sgd(),
  "sgd with momentum": () => optimizers.sgd({ momentum: 0.9 }),
  "sgd with Nesterov momentum": () => optimizers.sgd({ momentum: 0.9, nesterov: true }),
  rmsprop: () => optimizers.rmsprop(),
  "rmsprop, centered, with momentum": () => optimizers.rmsprop({ centered: true, momentum: 0.5 }),
  adam: () => optimizers.adam(),
  amsgrad: () => optimizers.adam({ amsgrad: true }),
  adamw: () => optimizers.adamw(),
  adamax: () => optimizers.adamax(),
  adagrad: () => optimizers.adagrad(),
  nadam: () => optimizers.nadam(),
  adadelta: () => optimizers.adadelta(),
  lion: () => optimizers.lion(),
  "adam, accumulating, with averages": () => optimizers.adam({ gradientAccumulationSteps: 2, useEma: true, emaOverwriteFrequency: 3 }),
};

for (const [name, make] of Object.entries(VARIANTS)) {
  test(`${name}: one map for each parameter, one for the step size, one for what weight decay leaves, in place`, async () => {
    const plan = await stepOf(make(), makeParams().slice(0, 2)).print(makeGrads(0).slice(0, 2));
    const calls = plan.split("\n").filter((line) => / = \w+\(/.test(line));
    const expected = 3 + Number(make().config.weightDecay !== null);
    assert.is(calls.filter((line) => line.includes("= map(")).length, expected, plan);
    assert.is(calls.length, expected, plan);
  });

  test(`${name}: a training resumed from saved state goes on bit for bit`, async () => {
    const [whole, wholeParams] = [make(), makeParams()];
    const wholeStep = stepOf(whole, wholeParams);
    for (let t = 0; t < 5; t++) await wholeStep(makeGrads(t));

    const [first, params] = [make(), makeParams()];
    const firstStep = stepOf(first, params);
    for (let t = 0; t < 2; t++) await firstStep(makeGrads(t));
    const state = await saved(first);

    // Loaded before the first update, and into an optimizer that has already run elsewhere.
    const [fresh, used] = [make(), make()];
    const freshParams = (await snapshot(params)).map((data, i) => tensor(Float32Array.from(data), SHAPES[i]));
    const usedParams = makeParams();
    const usedStep = stepOf(used, usedParams);
    await usedStep(makeGrads(7));
    fresh.load(state);
    used.load(state);
    for (const [i, data] of (await snapshot(params)).entries()) usedParams[i].set(Float32Array.from(data));
    const freshStep = stepOf(fresh, freshParams);
    for (let t = 2; t < 5; t++) {
      await freshStep(makeGrads(t));
      await usedStep(makeGrads(t));
    }
    const want = await snapshot(wholeParams);
    assert.equal(await snapshot(freshParams), want);
    assert.equal(await snapshot(usedParams), want);
    assert.equal(await saved(fresh), await saved(whole));
    assert.equal(await saved(used), await saved(whole));
    assert.is(await fresh.iterations.item(), 5);
  });
}

test("state names", async () => {
  const adam = optimizers.adam({ amsgrad: true });
  assert.equal(Object.keys(adam.state()), ["iterations", "learningRate"]);
  await stepOf(adam, makeParams().slice(0, 2))(makeGrads(0).slice(0, 2));
  assert.equal(Object.keys(adam.state()), ["iterations", "learningRate", "m/0", "v/0", "vMax/0", "m/1", "v/1", "vMax/1"]);
});

test("state is kept by parameter, whatever function is traced", async () => {
  const run = async (together) => {
    const [optimizer, params] = [optimizers.adam(), makeParams()];
    const one = stepOf(optimizer, params);
    const other = together ? one : compile((grads) => optimizer.update(params, grads));
    for (let t = 0; t < 4; t++) await (t % 2 ? one : other)(makeGrads(t));
    return [await snapshot(params), Object.keys(optimizer.state()).length];
  };
  assert.equal(await run(false), await run(true));
});

const refused = (fn, message) => assert.throws(fn, (error) => error.name === "FileError" && message.test(error.message));

test("saved state that does not fit is refused before anything changes", async () => {
  const params = makeParams();
  const adam = optimizers.adam();
  const step = stepOf(adam, params);
  await step(makeGrads(0));
  const good = await saved(adam);
  await step(makeGrads(1));
  const before = await saved(adam);
  const { "v/1": _, ...missing } = good;
  const misshapen = { ...good, "v/1": { shape: [4], data: new Float32Array(4) } };
  const short = { ...good, "v/1": { shape: [5], data: new Float32Array(4) } };
  const other = { ...good, "u/0": good["v/0"] };
  for (const target of [adam, optimizers.adam()]) {
    refused(() => target.load(missing), /has no "v\/1"/);
    refused(() => target.load(misshapen), /"v\/1" must have shape \[5\]/);
    refused(() => target.load(short), /"v\/1" must have shape \[5\]/);
    refused(() => target.load(other), /"u\/0"/);
    refused(() => target.load({}), /has no "iterations"/);
  }
  refused(() => optimizers.sgd({ momentum: 0.9 }).load(good), /"m\/0"/);
  assert.equal(await saved(adam), before);
});

test("state that was loaded first must fit the parameters of the first update", async () => {
  const source = optimizers.adam();
  await stepOf(source, makeParams())(makeGrads(0));
  const state = await saved(source);
  const attempt = async (shapes, message) => {
    const adam = optimizers.adam();
    adam.load(state);
    assert.equal(await saved(adam), state);
    const params = shapes.map((shape, i) => normal(shape, i));
    await stepOf(
      adam,
      params,
    )(params).then(assert.unreachable, (error) => assert.ok(error.name === "FileError" && message.test(error.message), error.message));
  };
  await attempt([[3, 4], [6], []], /parameter 1 is m \[5\], v \[5\], expected m \[6\], v \[6\]/);
  await attempt([[3, 4], [5]], /of 3 parameters, there are 2/);
});

test("the learning rate can be set between steps without compiling again", async () => {
  const [sgd, params] = [optimizers.sgd({ learningRate: 0.5 }), [tensor([0])]];
  const step = stepOf(sgd, params);
  await step([tensor([1])]);
  assert.equal(await snapshot(params), [[-0.5]]);
  sgd.learningRate = 0.25;
  assert.is(sgd.learningRate, 0.25);
  await step([tensor([1])]);
  assert.equal(await snapshot(params), [[-0.75]]);
  assert.throws(() => (sgd.learningRate = NaN), /learningRate must be/);
  assert.throws(() => (sgd.learningRate = -1), /learningRate must be/);
  assert.is(sgd.learningRate, 0.25);
});

test("a loaded learning rate is the one that is read; one that is equal keeps its digits", async () => {
  const source = optimizers.adam({ learningRate: 0.001 });
  source.learningRate = 0.25;
  const target = optimizers.adam();
  target.load(await saved(source));
  assert.is(target.learningRate, 0.25);
  const same = optimizers.adam();
  same.load(await saved(optimizers.adam()));
  assert.is(same.learningRate, 0.001);
});

/** The weights after one step of plain descent from 0 with rate 1: minus the clipped gradients. */
async function clipped(options, grads) {
  const params = grads.map((g) => tensor(g.map(() => 0)));
  await stepOf(optimizers.sgd({ learningRate: 1, ...options }), params)(grads.map((g) => tensor(g)));
  return (await snapshot(params)).map((p) => p.map((v) => -v));
}
const near = (got, want) =>
  got.forEach((list, i) =>
    list.forEach((v, k) => assert.ok(Math.abs(v - want[i][k]) < 1e-6, `${JSON.stringify(got)}, expected ${JSON.stringify(want)}`)),
  );

test("clipping", async () => {
  near(await clipped({ clipNorm: 1 }, [[3, 4], [0.3, 0.4], [0, 0]]), [[0.6, 0.8], [0.3, 0.4], [0, 0]]);
  near(await clipped({ globalClipNorm: 6.5 }, [[3, 4], [12]]), [[1.5, 2], [6]]);
  near(await clipped({ globalClipNorm: 100 }, [[3, 4], [12]]), [[3, 4], [12]]);
  near(await clipped({ globalClipNorm: 1 }, [[0, 0], [0]]), [[0, 0], [0]]);
  near(await clipped({ clipValue: 2 }, [[3, -4], [1]]), [[2, -2], [1]]);
  assert.throws(() => optimizers.adam({ clipNorm: 1, clipValue: 1 }), /one of clipNorm and clipValue/);
  assert.throws(() => optimizers.adam({ clipNorm: 0 }), /clipNorm must be a positive number/);
});

test("weight decay is decoupled, with every optimizer", async () => {
  for (const kind of OPTIMIZER_NAMES) {
    const params = [tensor([2])];
    await stepOf(optimizerFromConfig(kind, { learningRate: 0.5, weightDecay: 0.1 }), params)([tensor([0])]);
    near(await snapshot(params), [[2 - 2 * 0.1 * 0.5]]);
  }
});

test("Adam's bias correction keeps its digits", async () => {
  // With a constant gradient m and v are g and g^2 after correction, at any step: each step moves by the learning rate.
  const [adam, params] = [optimizers.adam({ learningRate: 1, epsilon: 0, beta2: 0.9999 }), [tensor([0])]];
  const step = stepOf(adam, params);
  for (let t = 1; t <= 20; t++) {
    await step([tensor([3])]);
    const [[w]] = await snapshot(params);
    assert.ok(Math.abs(w + t) < 3e-6 * t, `step ${t}: ${w}`);
  }
});

test("beta 0 is allowed", async () => {
  const params = [tensor([0])];
  await stepOf(optimizers.adam({ learningRate: 1, beta1: 0, beta2: 0, epsilon: 0 }), params)([tensor([4])]);
  assert.equal(await snapshot(params), [[-1]]);
  assert.throws(() => optimizers.adam({ beta1: 1 }), /beta1 must be a number in \[0, 1\)/);
});

test("the logarithm is that of Math.log to the last bits", () => {
  for (const x of [0.9, 0.99, 0.999, 0.9999, 0.5, 1e-3, 1e-300, 1, 1.4142, 2, 10, 1e300])
    assert.ok(Math.abs(naturalLog(x) - Math.log(x)) <= 4e-16 * Math.abs(Math.log(x)), `ln ${x}`);
});

const pi = Math.PI;
const initialLearningRate = 0.1;
const SCHEDULES = [
  [schedules.exponentialDecay({ initialLearningRate, decaySteps: 10, decayRate: 0.5 }), (t) => 0.1 * 0.5 ** (t / 10)],
  [
    schedules.exponentialDecay({ initialLearningRate, decaySteps: 10, decayRate: 0.5, staircase: true }),
    (t) => 0.1 * 0.5 ** Math.floor(t / 10),
  ],
  [schedules.inverseTimeDecay({ initialLearningRate, decaySteps: 10, decayRate: 0.5 }), (t) => 0.1 / (1 + 0.5 * (t / 10))],
  [
    schedules.inverseTimeDecay({ initialLearningRate, decaySteps: 10, decayRate: 0.5, staircase: true }),
    (t) => 0.1 / (1 + 0.5 * Math.floor(t / 10)),
  ],
  [schedules.polynomialDecay({ initialLearningRate, decaySteps: 10 }), (t) => (0.1 - 1e-4) * (1 - Math.min(t, 10) / 10) + 1e-4],
  [
    schedules.polynomialDecay({ initialLearningRate, decaySteps: 10, power: 2, endLearningRate: 0.01 }),
    (t) => 0.09 * (1 - Math.min(t, 10) / 10) ** 2 + 0.01,
  ],
  [
    schedules.polynomialDecay({ initialLearningRate, decaySteps: 10, cycle: true, endLearningRate: 0.01 }),
    (t) => 0.09 * (1 - t / (10 * Math.max(1, Math.ceil(t / 10)))) + 0.01,
  ],
  [
    schedules.cosineDecay({ initialLearningRate, decaySteps: 10, alpha: 0.2 }),
    (t) => 0.1 * (0.8 * 0.5 * (1 + Math.cos((pi * Math.min(t, 10)) / 10)) + 0.2),
  ],
  [
    schedules.cosineDecay({ initialLearningRate, decaySteps: 10, warmupTarget: 0.5, warmupSteps: 4 }),
    (t) => (t < 4 ? 0.1 + 0.4 * (t / 4) : 0.5 * 0.5 * (1 + Math.cos((pi * Math.min(t - 4, 10)) / 10))),
  ],
  [
    // nanoGPT's: https://github.com/karpathy/nanoGPT, get_lr in train.py
    schedules.cosineDecay({ initialLearningRate: 0, warmupTarget: 0.1, warmupSteps: 4, decaySteps: 10, alpha: 0.1 }),
    (t) => (t < 4 ? (0.1 * t) / 4 : 0.01 + 0.5 * (1 + Math.cos((pi * Math.min(t - 4, 10)) / 10)) * 0.09),
  ],
  [schedules.linearWarmup({ learningRate: 0.1, warmupSteps: 4 }), (t) => 0.1 * Math.min(t / 4, 1)],
  [
    schedules.linearWarmup({
      learningRate: schedules.exponentialDecay({ initialLearningRate, decaySteps: 10, decayRate: 0.5 }),
      warmupSteps: 4,
      initialLearningRate: 0.02,
    }),
    (t) => (t < 4 ? 0.02 + 0.08 * (t / 4) : 0.1 * 0.5 ** ((t - 4) / 10)),
  ],
  [schedules.piecewiseConstantDecay({ boundaries: [3, 12], values: [1, 0.5, 0.1] }), (t) => (t <= 3 ? 1 : t <= 12 ? 0.5 : 0.1)],
];

for (const [schedule, formula] of SCHEDULES) {
  test(`${schedule.kind} ${JSON.stringify(schedule.config)}`, async () => {
    const value = compile((t) => schedule.value(t));
    const again = compile((t) => schedules.scheduleFromConfig(schedule.kind, JSON.parse(JSON.stringify(schedule.config))).value(t));
    for (const t of [0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 20, 25, 100]) {
      const got = await (await value(tensor(t))).item();
      assert.ok(Math.abs(got - formula(t)) < 3e-7, `step ${t}: ${got}, expected ${formula(t)}`);
      assert.is(await (await again(tensor(t))).item(), got);
    }
  });
}

test("an optimizer follows its schedule from step 0, and refuses to have its rate set", async () => {
  const schedule = schedules.piecewiseConstantDecay({ boundaries: [0, 1], values: [1, 10, 100] });
  const [sgd, params] = [optimizers.sgd({ learningRate: schedule }), [tensor([0])]];
  const step = stepOf(sgd, params);
  const seen = [];
  for (let t = 0; t < 4; t++) {
    await step([tensor([1])]);
    seen.push(await sgd.state().learningRate.item());
  }
  assert.equal(seen, [1, 10, 100, 100]);
  assert.equal(await snapshot(params), [[-211]]);
  assert.throws(() => (sgd.learningRate = 1), /follows piecewiseConstantDecay/);
  assert.throws(() => sgd.learningRate, /follows piecewiseConstantDecay/);
  const again = optimizerFromConfig(sgd.kind, JSON.parse(JSON.stringify(sgd.config)));
  assert.equal(again.config, sgd.config);
  again.load(await saved(sgd));
  const next = [tensor([0])];
  await stepOf(again, next)([tensor([1])]);
  assert.equal(await snapshot(next), [[-100]]);
});

test("schedules check their options", () => {
  assert.throws(() => schedules.cosineDecay({ initialLearningRate, decaySteps: 0 }), /decaySteps must be a positive number/);
  assert.throws(() => schedules.exponentialDecay({ decaySteps: 1, decayRate: 1 }), /initialLearningRate must be a number/);
  assert.throws(() => schedules.piecewiseConstantDecay({ boundaries: [1, 1], values: [1, 2, 3] }), /rising boundaries/);
  assert.throws(() => schedules.scheduleFromConfig("linear", {}), /known: exponentialDecay/);
});

test("names and configs", () => {
  for (const kind of OPTIMIZER_NAMES) {
    const optimizer = optimizerByName(kind);
    assert.is(optimizer.kind, kind);
    assert.equal(optimizerFromConfig(kind, JSON.parse(JSON.stringify(optimizer.config))).config, optimizer.config);
  }
  assert.is(optimizerByName("sgd").learningRate, 0.01);
  assert.is(optimizerByName("adam").learningRate, 0.001);
  assert.is(optimizerByName("adamw").config.weightDecay, 0.004);
  assert.throws(
    () => optimizerByName("adma"),
    (error) => error.name === "ArgumentError" && OPTIMIZER_NAMES.every((n) => error.message.includes(n)),
  );
  assert.throws(() => optimizerByName(null), /expected a name or an optimizer/);
  assert.throws(() => optimizers.adam({ learningRate: "fast" }), /learningRate must be/);
});

test("update refuses gradients of another structure, and to run outside of a traced function", async () => {
  const params = makeParams();
  await compile((g) => optimizers.sgd().update(params, [g]))(tensor([1])).then(assert.unreachable, (error) =>
    assert.is(error.name, "ShapeError"),
  );
  assert.throws(() => optimizers.sgd().update(params, params), /inside compile/);
});

test("gradients belong to parameters by name, whatever the order of keys, and must have their structure", async () => {
  const [a, b] = [tensor([1]), tensor([1])];
  const optimizer = optimizers.sgd({ learningRate: 0.1 });
  await optimizer.apply({ a, b }, { b: tensor([-1]), a: tensor([1]) });
  assert.equal([await a.item(), await b.item()], [Math.fround(0.9), Math.fround(1.1)]);
  for (const grads of [{ a: tensor([1]), c: tensor([1]) }, [tensor([1]), tensor([1])], { a: tensor([1]) }]) {
    let error;
    try {
      await optimizer.apply({ a, b }, grads);
    } catch (e) {
      error = e;
    }
    assert.match(String(error), /ShapeError: sgd: expected gradients of the structure of the parameters, a, b, got/);
  }
});

test("an optimizer serves one set of parameters", async () => {
  const optimizer = optimizers.adam();
  await optimizer.apply([tensor([1])], [tensor([1])]);
  let error;
  try {
    await optimizer.apply([tensor([1])], [tensor([1])]);
  } catch (e) {
    error = e;
  }
  assert.match(String(error), /adam: it has updated other parameters before; make an optimizer for each set/);
});

test.run();

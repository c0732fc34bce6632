/** @file Layers that make classes of numbers and rows of classes, beside loops; bins of data as NumPy finds them. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as L from "../../build/esm/index.js";

const wasm = await L.open("wasm");
test.after(() => wasm.close());

const run = async (layer, ...inputs) => {
  const y = await L.compile((...t) => layer.call(...t))(...inputs);
  return { shape: y.shape, dtype: y.dtype, data: [...(await y.data())] };
};
const i32 = (values, shape) => L.tensor(Int32Array.from(values), shape);
const refuses = (promise, type, message = /./) =>
  promise.then(assert.unreachable, (error) => {
    assert.instance(error, type);
    assert.match(error.message, message);
  });

test("categoryEncoding writes classes as rows", async () => {
  const classes = [3, 2, 0, 1, 1, 1];
  const hot = (k) => [0, 1, 2, 3].map((j) => Number(j === k));
  const oneHot = L.categoryEncoding(4, { outputMode: "oneHot" });
  assert.equal(await run(oneHot, i32(classes, [6])), { shape: [6, 4], dtype: "f32", data: classes.flatMap(hot) });
  assert.equal((await run(oneHot, i32(classes, [6, 1]))).shape, [6, 4]);
  assert.equal(await run(oneHot, i32(classes, [2, 3])), { shape: [2, 3, 4], dtype: "f32", data: classes.flatMap(hot) });
  assert.equal((await run(oneHot, i32(classes, [1, 2, 3]))).shape, [1, 2, 3, 4]);

  // Rows of 3 classes each.
  const counts = [1, 0, 1, 1, 0, 3, 0, 0];
  assert.equal(await run(L.categoryEncoding(4), i32(classes, [2, 3])), {
    shape: [2, 4],
    dtype: "f32",
    data: counts.map((n) => Math.min(n, 1)),
  });
  const count = L.categoryEncoding(4, { outputMode: "count" });
  assert.equal(await run(count, i32(classes, [2, 3])), { shape: [2, 4], dtype: "f32", data: counts });
  assert.equal((await run(count, L.tensor(classes, [2, 3]))).data, counts, "of f32");
  const weighted = await run(count, i32(classes, [2, 3]), L.tensor([1, 2, 4, 8, 16, 32], [2, 3]));
  assert.equal(weighted.data, [4, 0, 2, 1, 0, 56, 0, 0]);
  assert.equal((await run(count, L.zeros([2, 0], "i32"))).data, new Array(8).fill(0));
});

test("categoryEncoding says what it cannot do", async () => {
  for (const make of [
    () => L.categoryEncoding(0),
    () => L.categoryEncoding(3, { outputMode: "int" }),
    () => L.categoryEncoding({ numTokens: 3 }),
  ])
    assert.throws(make, (error) => error instanceof L.ArgumentError);
  const rows = i32([0, 1, 2, 0], [2, 2]);
  await refuses(run(L.categoryEncoding(3), rows, rows), L.ArgumentError);
  await refuses(run(L.categoryEncoding(3, { outputMode: "count" }), rows, L.ones([2, 1])), L.ShapeError);
  await refuses(run(L.categoryEncoding(3), i32([0, 1], [2])), L.ShapeError);
  const model = L.sequential([L.categoryEncoding(3), L.dense(1)], { inputShape: [2] });
  await model.predict(rows);
  await model.predict(i32([0, 3], [1, 2])).then(assert.unreachable, (error) => {
    assert.instance(error, L.DataError);
    assert.match(error.message, /category encoding takes indices 0 to 2, got 3 .* numTokens/);
  });
});

test("discretization finds the bin of each element", async () => {
  const values = [-1.5, 1, 3.4, 0.5, 0, 3, 1.3, -0, NaN, Infinity, -Infinity, 0.99999994];
  const bins = [0, 2, 3, 1, 1, 3, 2, 1, 3, 3, 0, 1];
  const x = L.tensor(values, [4, 3]);
  const layer = L.discretization({ binBoundaries: [0, 1, 2] });
  assert.equal(await run(layer, x), { shape: [4, 3], dtype: "i32", data: bins });
  const hot = bins.flatMap((k) => [0, 1, 2, 3].map((j) => Number(j === k)));
  assert.equal(await run(L.discretization({ binBoundaries: [0, 1, 2], outputMode: "oneHot" }), x), {
    shape: [4, 3, 4],
    dtype: "f32",
    data: hot,
  });
  const counts = [0, 1, 2, 3].flatMap((n) => [0, 1, 2, 3].map((j) => bins.slice(3 * n, 3 * n + 3).filter((k) => k === j).length));
  assert.equal(await run(L.discretization({ binBoundaries: [0, 1, 2], outputMode: "count" }), x), {
    shape: [4, 4],
    dtype: "f32",
    data: counts,
  });
  const multiHot = await run(L.discretization({ binBoundaries: [0, 1, 2], outputMode: "multiHot" }), x);
  assert.equal(
    multiHot.data,
    counts.map((n) => Math.min(n, 1)),
  );
  assert.equal((await run(L.discretization({ binBoundaries: [] }), x)).data, new Array(12).fill(0));
  assert.equal((await run(L.discretization({ binBoundaries: [2, 2] }), L.tensor([1, 2, 3]))).data, [0, 2, 2]);
});

/** What NumPy computes by the functions of Keras' layer, of these data. */
const CASES = [
  { n: 8, scale: 1, bins: 4, epsilon: 0.01, boundaries: [-0.13331668078899384, 0.24072149395942688, 0.4493754506111145] },
  {
    n: 8,
    scale: 1,
    bins: 12,
    epsilon: 0.01,
    boundaries: [
      -0.29870089888572693, -0.13331668078899384, 0.07533726096153259, 0.24072149395942688, 0.2839912176132202, 0.4493754506111145,
      0.49264514446258545,
    ],
  },
  {
    n: 150,
    scale: 3,
    bins: 7,
    epsilon: 0.01,
    boundaries: [-0.4823925793170929, -0.039388805627822876, 0.3768055737018585, 0.8210520148277283, 1.259088397026062, 1.6814929246902466],
  },
  {
    n: 1000,
    scale: 10,
    bins: 10,
    epsilon: 0.01,
    boundaries: [
      -1.9967029094696045, -1.0063972473144531, 0.002895824844017625, 1.0031960010528564, 2.0024964809417725, 3.0027968883514404,
      4.003097057342529, 4.993403911590576, 6.002697467803955,
    ],
  },
  {
    n: 12345,
    scale: 1,
    bins: 5,
    epsilon: 0.1,
    boundaries: [-0.1002398356795311, 0.09972018003463745, 0.29958024621009827, 0.49944040179252625],
  },
  { n: 1, scale: 1, bins: 3, epsilon: 0.01, boundaries: [] },
  { n: 30, scale: 4, bins: 1, epsilon: 0.05, boundaries: [] },
  {
    n: 333,
    scale: 1000000.0,
    bins: 16,
    epsilon: 0.02,
    boundaries: [
      -237887.1875, -175771.921875, -115485.34375, -52368.26953125, 11681.8828125, 71370.0859375, 135991.078125, 198401.109375,
      261004.796875, 320723.0, 384945.59375, 446287.75, 506223.25, 568154.75, 631150.75,
    ],
  },
];
/** The same of longer lists: how many, and their sum. */
const LONGER = [
  { n: 1000, scale: 10, bins: 49, epsilon: 0.01, count: 49, sum: 103.07413936406374 },
  { n: 777, scale: 5, bins: 150, epsilon: 0.01, count: 99, sum: 98.27031689230353 },
  { n: 2500, scale: 7, bins: 64, epsilon: 0.004, count: 63, sum: 88.03316886723042 },
];
const dataOf = (n, scale) => Float32Array.from({ length: n }, (_, i) => (((i * 7919 + 13) % 10007) / 10007 - 0.3) * scale);

test("adapt finds the boundaries that Keras finds", async () => {
  for (const { n, scale, bins, epsilon, boundaries } of CASES) {
    const layer = L.discretization({ numBins: bins, epsilon });
    await layer.adapt(dataOf(n, scale), [n]);
    assert.equal(layer.config.binBoundaries, boundaries, JSON.stringify({ n, scale, bins, epsilon }));
  }
  for (const { n, scale, bins, epsilon, count, sum } of LONGER) {
    const layer = L.discretization({ numBins: bins, epsilon });
    await layer.adapt(dataOf(n, scale));
    const found = layer.config.binBoundaries;
    assert.is(found.length, count);
    assert.is(
      found.reduce((a, b) => a + b, 0),
      sum,
    );
  }
  // The example of Keras' page.
  const x = L.tensor([-1.5, 1, 3.4, 0.5, 0, 3, 1.3, 0], [2, 4]);
  const layer = L.discretization({ numBins: 4, epsilon: 0.01 });
  await layer.adapt(x);
  assert.equal((await run(layer, x)).data, [0, 2, 3, 2, 1, 3, 3, 1]);
});

test("a model learns bins before it is used, again later, and keeps them in files", async () => {
  const layer = L.discretization({ numBins: 3, outputMode: "count" });
  await refuses(run(layer, L.ones([1, 2])), L.LockstepError, /it has seen no data: call await layer.adapt/);
  const x = L.tensor([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], [6, 2]);
  await layer.adapt(x);
  const model = L.sequential([layer, L.dense(2)], { inputShape: [2], seed: 1 });
  const own = L.sequential([L.discretization({ binBoundaries: layer.config.binBoundaries, outputMode: "count" }), L.dense(2)], {
    inputShape: [2],
    seed: 1,
  });
  const before = await (await model.predict(x)).data();
  assert.equal(before, await (await own.predict(x)).data());
  // The program that was made takes the new ones.
  await layer.adapt([-3, -2, -1, 0, 1, 2, 3, 4, 5]);
  const after = await (await model.predict(x)).data();
  assert.not.equal(after, before);
  const again = await L.loadModel(await model.toBytes(), { layers: L.extraLayers });
  assert.equal(await (await again.predict(x)).data(), after);
  assert.equal(again.layers[0].config.binBoundaries, layer.config.binBoundaries);
  await again.layers[0].adapt(x);
  assert.equal(await (await again.predict(x)).data(), before);

  await refuses(layer.adapt([1, 2]), L.ShapeError);
  await refuses(layer.adapt([]), L.DataError);
  await refuses(layer.adapt([1, NaN, 3]), L.DataError);
  await refuses(L.discretization({ binBoundaries: [1] }).adapt([1, 2]), L.ArgumentError);
  for (const make of [
    () => L.discretization(),
    () => L.discretization({ binBoundaries: [1, 0] }),
    () => L.discretization({ binBoundaries: [NaN] }),
    () => L.discretization({ binBoundaries: 3 }),
    () => L.discretization({ numBins: 0 }),
    () => L.discretization({ numBins: 3, epsilon: 0 }),
    () => L.discretization({ numBins: 3, outputMode: "tfIdf" }),
    () => L.discretization([0, 1]),
  ])
    assert.throws(make, (error) => error instanceof L.ArgumentError, make.toString());
});

test.run();

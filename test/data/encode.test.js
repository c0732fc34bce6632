import { test } from "uvu";
import * as assert from "uvu/assert";
import { ArgumentError, DataError } from "../../build/esm/errors.js";
import { oneHot, trainTestSplit, windows } from "../../build/esm/data/index.js";

const throws = (action, type, ...parts) =>
  assert.throws(action, (e) => e instanceof type && parts.every((part) => e.message.includes(part)));

test("oneHot", () => {
  assert.equal(oneHot([2, 0], 3), Float32Array.of(0, 0, 1, 1, 0, 0));
  assert.equal(oneHot(Uint8Array.of(0), 1), Float32Array.of(1));
  assert.equal(oneHot([], 4), new Float32Array(0));
  for (const [label, text] of [[3, "got 3"], [-1, "got -1"], [0.5, "got 0.5"], [NaN, "got NaN"]]) {
    throws(() => oneHot([0, 2, label, 9], 3), DataError, "[0, 2]", `${text} at index 2`);
  }
  for (const classes of [0, -1, 1.5, NaN]) throws(() => oneHot([0], classes), ArgumentError, `got ${classes}`);
});

/** Rows that tell where they come from: row r of x is [10r, 10r+1], of y is r. */
function numbered(rows) {
  return [
    { shape: [rows, 2], data: Float32Array.from({ length: rows * 2 }, (_, i) => 10 * (i >> 1) + (i & 1)) },
    { shape: [rows], data: Uint8Array.from({ length: rows }, (_, i) => i) },
  ];
}

test("trainTestSplit parts every row once and keeps x with y", () => {
  const [x, y] = numbered(50);
  const { xTrain, yTrain, xTest, yTest } = trainTestSplit(x, y, { testFraction: 0.3, seed: 7 });
  assert.equal([xTrain.shape, yTrain.shape, xTest.shape, yTest.shape], [[35, 2], [35], [15, 2], [15]]);
  assert.instance(yTest.data, Uint8Array);
  for (const [xs, ys] of [[xTrain, yTrain], [xTest, yTest]]) {
    ys.data.forEach((row, i) => assert.equal([...xs.data.slice(2 * i, 2 * i + 2)], [10 * row, 10 * row + 1]));
  }
  const order = [...yTest.data, ...yTrain.data];
  assert.equal(
    [...order].sort((a, b) => a - b),
    [...y.data],
  );
  assert.not.equal(order, [...y.data], "shuffled");
});

test("trainTestSplit repeats with the seed only", () => {
  const [x, y] = numbered(40);
  const test = (options) => [...trainTestSplit(x, y, options).yTest.data];
  assert.equal(test({ seed: 3 }), test({ seed: 3 }));
  assert.not.equal(test({ seed: 3 }), test({ seed: 4 }));
  assert.equal(test(), test({ seed: 0, testFraction: 0.2 }));
  assert.is(test().length, 8);
});

test("trainTestSplit refuses what does not fit", () => {
  const [x, y] = numbered(10);
  throws(() => trainTestSplit(x, numbered(9)[1]), DataError, "[10, 2] and [9]");
  throws(() => trainTestSplit({ shape: [10, 3], data: x.data }, y), DataError, "x of shape [10, 3]", "30", "20");
  throws(() => trainTestSplit({ shape: [], data: Float32Array.of(1) }, y), DataError, "x of shape []");
  for (const testFraction of [0, 1, -0.1, NaN]) throws(() => trainTestSplit(x, y, { testFraction }), ArgumentError, `got ${testFraction}`);
  throws(() => trainTestSplit(x, y, { testFraction: 0.01 }), DataError, "10 for training and 0 for test");
  throws(() => trainTestSplit(...numbered(0)), DataError, "0 rows");
  throws(() => trainTestSplit(x, y, { seed: -1 }), ArgumentError, "got -1");
});

test("windows", () => {
  const { x, y } = windows([1, 2, 3, 4, 5], 3);
  assert.equal(x, { shape: [2, 3, 1], data: Float32Array.of(1, 2, 3, 2, 3, 4) });
  assert.equal(y, { shape: [2, 1], data: Float32Array.of(4, 5) });
  assert.equal(windows(Float32Array.of(1, 2), 1).x.shape, [1, 1, 1]);
  throws(() => windows([1, 2, 3], 3), DataError, "at least 4, got 3");
  throws(() => windows([1, NaN, 3], 1), DataError, "NaN at index 1");
  throws(() => windows([1, 2, 1e39], 1), DataError, "1e+39 at index 2");
  for (const length of [0, 1.5, -1]) throws(() => windows([1, 2], length), ArgumentError, `got ${length}`);
});

test.run();

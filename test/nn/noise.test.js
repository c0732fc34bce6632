/** @file Layers that disturb in training alone, rescaling, identity, and frames and convolutions of sequences, beside Keras' formulas. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as L from "../../build/esm/index.js";

const wasm = await L.open("wasm");
test.after(() => wasm.close());

const SHAPE = [20, 20, 30];
const size = SHAPE.reduce((a, b) => a * b, 1);
const x = L.tensor(
  Float32Array.from({ length: size }, (_, i) => ((i * 37 + 11) % 101) / 50 - 1),
  SHAPE,
);

/** What a layer gives in training and in inference, by a model with a seed. */
async function outputs(layer, input = x) {
  const run = (training) => {
    const fn = L.compile((t, key) => layer.call(t, { training }) && layer.call(t, { training }), { seed: 5 });
    return fn;
  };
  const [trained, inferred] = [await run(true)(input), await run(false)(input)];
  return [await trained.data(), await inferred.data()];
}
const meanOf = (list) => list.reduce((a, b) => a + b, 0) / list.length;
const deviationOf = (list) => Math.sqrt(meanOf(list.map((v) => (v - meanOf(list)) ** 2)));

test("in inference they are the identity, in training noise is as they say", async () => {
  const data = await x.data();
  for (const layer of [L.gaussianNoise(0.5), L.gaussianDropout(0.3), L.alphaDropout(0.3), L.spatialDropout1d(0.3)]) {
    const [trained, inferred] = await outputs(layer);
    assert.equal(inferred, data, layer.kind);
    assert.not.equal(trained.slice(0, 300), data.slice(0, 300), layer.kind);
    if (layer.kind === "gaussianNoise") {
      const noise = Array.from(trained, (v, i) => v - data[i]);
      assert.ok(Math.abs(meanOf(noise)) < 0.02 && Math.abs(deviationOf(noise) - 0.5) < 0.02);
    }
    if (layer.kind === "gaussianDropout") {
      const factors = Array.from(trained, (v, i) => v / data[i]).filter((_, i) => Math.abs(data[i]) > 0.01);
      assert.ok(Math.abs(meanOf(factors) - 1) < 0.03 && Math.abs(deviationOf(factors) - Math.sqrt(0.3 / 0.7)) < 0.03);
    }
    if (layer.kind === "alphaDropout") {
      // Keras: a x + b of what stays, and of the least value of selu.
      const least = -1.7580993408473766;
      const a = 1 / Math.sqrt(0.7 * (1 + 0.3 * least ** 2));
      const b = -a * least * 0.3;
      const dropped = Array.from(trained).filter((v, i) => {
        const kept = Math.abs(v - (a * data[i] + b)) < 1e-5;
        assert.ok(kept || Math.abs(v - (a * least + b)) < 1e-5);
        return !kept;
      });
      assert.ok(Math.abs(dropped.length / size - 0.3) < 0.02);
    }
    if (layer.kind === "spatialDropout1d") {
      let dropped = 0;
      for (let n = 0; n < SHAPE[0]; n++)
        for (let c = 0; c < SHAPE[2]; c++) {
          const steps = Array.from({ length: SHAPE[1] }, (_, t) => (n * SHAPE[1] + t) * SHAPE[2] + c);
          const gone = steps.every((i) => trained[i] === 0);
          if (gone) dropped++;
          else for (const i of steps) assert.ok(Math.abs(trained[i] - data[i] / 0.7) < 1e-5);
        }
      assert.ok(Math.abs(dropped / (SHAPE[0] * SHAPE[2]) - 0.3) < 0.08);
    }
  }
});

test("channels of images are dropped whole", async () => {
  const images = L.ones([6, 4, 5, 8]);
  const [trained] = await outputs(L.spatialDropout2d(0.5), images);
  for (let n = 0; n < 6; n++)
    for (let c = 0; c < 8; c++) assert.is(new Set(Array.from({ length: 20 }, (_, p) => trained[(n * 20 + p) * 8 + c])).size, 1);
  assert.equal([...new Set(trained)].sort(), [0, 2]);
});

test("rescaling, identity, and frames of sequences", async () => {
  const t = L.tensor([1, 2, 3, 4, 5, 6], [1, 3, 2]);
  const of = async (layer) => {
    const y = await L.compile((a) => layer.call(a))(t);
    return [y.shape, [...(await y.data())]];
  };
  assert.equal(await of(L.rescaling(0.5, { offset: -1 })), [[1, 3, 2], [-0.5, 0, 0.5, 1, 1.5, 2]]);
  assert.equal(await of(L.rescaling([1, 10], { offset: [0, 1] })), [[1, 3, 2], [1, 21, 3, 41, 5, 61]]);
  assert.equal(await of(L.identity()), [[1, 3, 2], [1, 2, 3, 4, 5, 6]]);
  assert.equal(await of(L.zeroPadding1d([1, 0])), [[1, 4, 2], [0, 0, 1, 2, 3, 4, 5, 6]]);
  assert.equal(await of(L.zeroPadding1d()), [[1, 5, 2], [0, 0, 1, 2, 3, 4, 5, 6, 0, 0]]);
  assert.equal(await of(L.cropping1d([1, 0])), [[1, 2, 2], [3, 4, 5, 6]]);
  assert.equal(await of(L.cropping1d()), [[1, 1, 2], [3, 4]]);
  await of(L.cropping1d(2)).then(assert.unreachable, (error) => assert.instance(error, L.ShapeError));
  for (const make of [
    () => L.gaussianNoise(-1),
    () => L.gaussianDropout(1),
    () => L.alphaDropout(1),
    () => L.spatialDropout1d(2),
    () => L.rescaling("x"),
    () => L.zeroPadding1d(-1),
    () => L.depthwiseConv1d(3, { padding: "causal" }),
  ])
    assert.throws(make, (error) => error instanceof L.ArgumentError);
});

test("convolutions of single channels of sequences, beside loops", async () => {
  const [time, channels, multiplier, width, filters] = [7, 3, 2, 3, 4];
  const sequences = L.tensor(
    Float32Array.from({ length: time * channels }, (_, i) => Math.sin(i * 1.3)),
    [1, time, channels],
  );
  const s = await sequences.data();
  const one = L.sequential([L.depthwiseConv1d(width, { depthMultiplier: multiplier, strides: 2 })], {
    inputShape: [time, channels],
    seed: 2,
  });
  const two = L.sequential([L.separableConv1d(filters, width, { depthMultiplier: multiplier, dilationRate: 2 })], {
    inputShape: [time, channels],
    seed: 2,
  });
  const depthwise = (kernel, steps, stride, dilation) =>
    Array.from({ length: steps * channels * multiplier }, (_, i) => {
      const [m, c, t] = [i % multiplier, Math.floor(i / multiplier) % channels, Math.floor(i / (multiplier * channels))];
      let sum = 0;
      for (let k = 0; k < width; k++) sum += s[(t * stride + k * dilation) * channels + c] * kernel[(k * channels + c) * multiplier + m];
      return sum;
    });
  const near = (got, want) => want.forEach((w, i) => assert.ok(Math.abs(got[i] - w) < 1e-5, `${i}: ${got[i]} is not ${w}`));

  const [kernel] = await one.getWeights();
  assert.equal(kernel.shape, [width, channels, multiplier]);
  const y = await one.predict(sequences);
  assert.equal(y.shape, [1, 3, channels * multiplier]);
  near(await y.data(), depthwise(await kernel.data(), 3, 2, 1));

  const [first, second] = await two.getWeights();
  assert.equal([first.shape, second.shape], [[width, channels, multiplier], [1, channels * multiplier, filters]]);
  const inner = depthwise(await first.data(), 3, 1, 2);
  const p = await second.data();
  const want = Array.from({ length: 3 * filters }, (_, i) => {
    let sum = 0;
    for (let c = 0; c < channels * multiplier; c++)
      sum += inner[Math.floor(i / filters) * channels * multiplier + c] * p[c * filters + (i % filters)];
    return sum;
  });
  near(await (await two.predict(sequences)).data(), want);
});

const described = ({ kind, config: { name: _, ...options } }) => [kind, options];

test("they come back from files", async () => {
  const model = L.sequential(
    [
      L.identity(),
      L.rescaling(2, { offset: [1, 2] }),
      L.gaussianNoise(0.1),
      L.gaussianDropout(0.1),
      L.alphaDropout(0.1),
      L.spatialDropout1d(0.1),
      L.zeroPadding1d(2),
      L.cropping1d([1, 1]),
      L.depthwiseConv1d(2),
      L.separableConv1d(2, 2),
      L.reshape([2, -1, 2]),
      L.spatialDropout2d(0.1),
    ],
    { inputShape: [6, 2] },
  );
  const again = await L.loadModel(await model.toBytes());
  assert.equal(again.layers.map(described), model.layers.map(described));
});

test.run();

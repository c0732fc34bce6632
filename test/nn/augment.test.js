/** @file Layers that change images in training alone, beside loops in double precision that are given the same random numbers. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as L from "../../build/esm/index.js";

const wasm = await L.open("wasm");
test.after(() => wasm.close());

const [batch, height, width, channels] = [5, 6, 9, 2];
const images = (rows = height, columns = width, count = batch) =>
  L.tensor(
    Float32Array.from({ length: count * rows * columns * channels }, (_, i) => ((i * 37 + 11) % 101) / 50 - 1),
    [count, rows, columns, channels],
  );
const x = images();
const data = await x.data();
const FILL_MODES = ["reflect", "wrap", "constant", "nearest"];

/** What a layer gives in training, and the numbers from 0 to 1 that it drew, `draws` of each image. */
async function trained(layer, draws, { input = x, seed = 3, count = input.shape[0] } = {}) {
  const fn = L.compile(
    (t) => [
      layer.call(t, { training: true }),
      ...Array.from({ length: draws }, (_, stream) => L.randomUniform(L.randomKey(), [count], { stream })),
    ],
    { seed },
  );
  const [y, ...drawn] = await fn(input);
  return { shape: y.shape, y: await y.data(), drawn: await Promise.all(drawn.map((t) => t.data())) };
}
const inferred = async (layer, input = x) => (await L.compile((t) => layer.call(t))(input)).data();
const between = (low, high, u) => low + (high - low) * u;

/** Number `k` of a side of `size`, by going there step by step; null: there is nothing. */
function folded(k, size, mode) {
  while (k < 0 || k >= size) {
    if (mode === "constant") return null;
    if (mode === "nearest") return k < 0 ? 0 : size - 1;
    if (mode === "wrap") k += k < 0 ? size : -size;
    else k = k < 0 ? -1 - k : 2 * size - 1 - k;
  }
  return k;
}

/** What an image has at (row, column): all values that rounding of the place could give. */
function lookUp(n, row, column, channel, { fillMode, interpolation, fillValue }) {
  const pixel = (r, c) => {
    const [i, j] = [folded(r, height, fillMode), folded(c, width, fillMode)];
    return i === null || j === null ? fillValue : data[((n * height + i) * width + j) * channels + channel];
  };
  const near = (v) => [...new Set([Math.round(v - 1e-4), Math.round(v + 1e-4)])];
  if (interpolation === "nearest") return near(row).flatMap((r) => near(column).map((c) => pixel(r, c)));
  const [r, c] = [Math.floor(row), Math.floor(column)];
  const [p, q] = [row - r, column - c];
  return [(1 - p) * ((1 - q) * pixel(r, c) + q * pixel(r, c + 1)) + p * ((1 - q) * pixel(r + 1, c) + q * pixel(r + 1, c + 1))];
}

/** Compares with what is found by `place(n, row, column)`. */
function comparePlaces(what, y, place, options) {
  for (let n = 0, i = 0; n < batch; n++)
    for (let r = 0; r < height; r++)
      for (let c = 0; c < width; c++)
        for (let k = 0; k < channels; k++, i++) {
          const want = lookUp(n, ...place(n, r, c), k, options);
          assert.ok(
            want.some((w) => Math.abs(y[i] - w) < 1e-4),
            `${what}: image ${n} at ${r}, ${c}: ${y[i]} is not ${want.join(" or ")}`,
          );
        }
}

const eachWay = async (fn) => {
  for (const fillMode of FILL_MODES)
    for (const interpolation of ["bilinear", "nearest"])
      await fn({ fillMode, interpolation, fillValue: fillMode === "constant" ? 0.7 : 0 });
};

test("randomRotation turns each image about its middle", async () => {
  await eachWay(async (options) => {
    for (const factor of [0.5, [-0.1, 0.3]]) {
      const [low, high] = typeof factor === "number" ? [-factor, factor] : factor;
      const { y, shape, drawn } = await trained(L.randomRotation(factor, options), 1);
      assert.equal(shape, x.shape);
      const place = (n, r, c) => {
        const angle = 2 * Math.PI * between(low, high, drawn[0][n]);
        const [cx, cy] = [(width - 1) / 2, (height - 1) / 2];
        // Keras: a0 x + a1 y + a2 and b0 x + b1 y + b2.
        const [a0, a1, b0, b1] = [Math.cos(angle), -Math.sin(angle), Math.sin(angle), Math.cos(angle)];
        return [b0 * c + b1 * r + cy - cx * b0 - cy * b1, a0 * c + a1 * r + cx - cx * a0 - cy * a1];
      };
      comparePlaces(`randomRotation ${JSON.stringify({ factor, ...options })}`, y, place, options);
    }
  });
});

test("randomTranslation moves each image", async () => {
  await eachWay(async (options) => {
    for (const [vertical, horizontal] of [
      [1, 1],
      [[-0.3, -0.1], 0],
      [0, [0.9, 0.2]],
    ]) {
      const { y, drawn } = await trained(L.randomTranslation(vertical, horizontal, options), 2);
      const range = (f) => (typeof f === "number" ? [-f, f] : f.slice().sort((a, b) => a - b));
      const place = (n, r, c) => [
        r - between(...range(vertical), drawn[0][n]) * height,
        c - between(...range(horizontal), drawn[1][n]) * width,
      ];
      comparePlaces(`randomTranslation ${JSON.stringify([vertical, horizontal, options])}`, y, place, options);
    }
  });
});

test("randomZoom shows more or less of each image", async () => {
  await eachWay(async (options) => {
    for (const [vertical, widthFactor] of [
      [1, null],
      [[-0.5, -0.2], [0.5, 0.8]],
      [0.4, 0.1],
    ]) {
      const { y, drawn } = await trained(L.randomZoom(vertical, { widthFactor, ...options }), 2);
      const range = (f) => (typeof f === "number" ? [-f, f] : f);
      const place = (n, r, c) => {
        const tall = 1 + between(...range(vertical), drawn[0][n]);
        const wide = widthFactor === null ? tall : 1 + between(...range(widthFactor), drawn[1][n]);
        // Keras: zy y + (height - 1) / 2 (1 - zy).
        return [tall * r + ((height - 1) / 2) * (1 - tall), wide * c + ((width - 1) / 2) * (1 - wide)];
      };
      comparePlaces(`randomZoom ${JSON.stringify([vertical, widthFactor, options])}`, y, place, options);
    }
  });
});

test("what is not drawn is as one would draw it", async () => {
  const letters = L.tensor([1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 3, 3, 1]);
  const of = async (layer) => [...(await trained(layer, 0, { input: letters })).y].map((v) => Math.round(v * 1e4) / 1e4);
  // A quarter of a turn against the clock.
  assert.equal(await of(L.randomRotation([0.25, 0.25])), [3, 6, 9, 2, 5, 8, 1, 4, 7]);
  assert.equal(await of(L.randomTranslation([1 / 3, 1 / 3], 0, { fillMode: "constant", fillValue: -1 })), [-1, -1, -1, 1, 2, 3, 4, 5, 6]);
  assert.equal(await of(L.randomTranslation(0, [-1 / 3, -1 / 3])), [2, 3, 3, 5, 6, 6, 8, 9, 9]);
  assert.equal(await of(L.randomTranslation([1 / 3, 1 / 3], 0, { fillMode: "wrap" })), [7, 8, 9, 1, 2, 3, 4, 5, 6]);
  assert.equal(await of(L.randomZoom([-0.5, -0.5])), [3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7]);
  assert.equal(await of(L.randomZoom([1, 1], { fillMode: "nearest" })), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.equal(await of(L.randomRotation(0)), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

/** The largest part about the middle of the shape of rows x columns, resized: by the shares of pixels. */
function smartResize(image, h, w, rows, columns) {
  const [tall, wide] = [
    Math.max(Math.min(h, Math.trunc((w * rows) / columns)), 1),
    Math.max(Math.min(w, Math.trunc((h * columns) / rows)), 1),
  ];
  const [top, left] = [Math.trunc((h - tall) / 2), Math.trunc((w - wide) / 2)];
  const ends = (i, to, from) => {
    const at = ((i + 0.5) * from) / to - 0.5;
    const low = Math.floor(at);
    const clamp = (v) => Math.min(Math.max(v, 0), from - 1);
    return [
      [clamp(low), 1 - (at - low)],
      [clamp(low + 1), at - low],
    ];
  };
  return (n, r, c, k) => {
    let sum = 0;
    for (const [i, p] of ends(r, rows, tall)) for (const [j, q] of ends(c, columns, wide)) sum += p * q * image(n, top + i, left + j, k);
    return sum;
  };
}

test("randomCrop takes a part at one place of all images", async () => {
  const found = new Set();
  for (let seed = 0; seed < 50; seed++) {
    const { y, shape, drawn } = await trained(L.randomCrop(4, 7), 2, { seed, count: 1 });
    assert.equal(shape, [batch, 4, 7, channels]);
    const [top, left] = [Math.floor(drawn[0][0] * 3), Math.floor(drawn[1][0] * 3)];
    found.add(`${top} ${left}`);
    y.forEach((v, i) => {
      const [k, c, r, n] = [
        i % channels,
        Math.floor(i / channels) % 7,
        Math.floor(i / (channels * 7)) % 4,
        Math.floor(i / (channels * 28)),
      ];
      assert.is(v, data[((n * height + top + r) * width + left + c) * channels + k]);
    });
  }
  assert.is(found.size, 9);
});

test("randomCrop and centerCrop resize what is too small, randomCrop in inference too", async () => {
  for (const [rows, columns, all] of [
    [8, 5, true],
    [7, 20, true],
    [12, 9, true],
    [3, 3, false],
    [6, 4, false],
  ]) {
    const at = smartResize((n, r, c, k) => data[((n * height + r) * width + c) * channels + k], height, width, rows, columns);
    const outputs = [await inferred(L.randomCrop(rows, columns))];
    if (all) outputs.push((await trained(L.randomCrop(rows, columns), 0)).y, await inferred(L.centerCrop(rows, columns)));
    for (const y of outputs) {
      assert.is(y.length, batch * rows * columns * channels);
      y.forEach((v, i) => {
        const [k, c, r] = [i % channels, Math.floor(i / channels) % columns, Math.floor(i / (channels * columns)) % rows];
        const want = at(Math.floor(i / (channels * columns * rows)), r, c, k);
        assert.ok(Math.abs(v - want) < 1e-5, `${rows} x ${columns}: ${v} is not ${want}`);
      });
    }
  }
  assert.equal(await inferred(L.randomCrop(height, width)), data);
});

test("randomContrast and randomBrightness change the values of an image alike, within the range", async () => {
  const valueRange = [-0.8, 0.9];
  const clip = (v) => Math.min(Math.max(v, valueRange[0]), valueRange[1]);
  const size = height * width * channels;
  for (const factor of [0.6, [0.9, 0.1], [0.1, 0.9], [0, 1]]) {
    const [a, b] = [factor].flat().length === 2 ? factor : [factor, factor];
    const { y, drawn } = await trained(L.randomContrast(factor, { valueRange }), 1);
    for (let n = 0; n < batch; n++)
      for (let k = 0; k < channels; k++) {
        const own = Array.from({ length: height * width }, (_, i) => n * size + i * channels + k);
        const mean = own.reduce((s, i) => s + data[i], 0) / own.length;
        const c = between(1 - a, 1 + b, drawn[0][n]);
        for (const i of own) assert.ok(Math.abs(y[i] - clip((data[i] - mean) * c + mean)) < 1e-5);
      }
  }
  for (const factor of [0.6, [0.9, -0.2]]) {
    const [low, high] = typeof factor === "number" ? [-factor, factor] : [-0.2, 0.9];
    const { y, drawn } = await trained(L.randomBrightness(factor, { valueRange }), 1);
    y.forEach((v, i) => {
      const want = clip(data[i] + between(low, high, drawn[0][Math.floor(i / size)]) * 1.7);
      assert.ok(Math.abs(v - want) < 1e-5, `${v} is not ${want}`);
    });
  }
});

const ALL = () => [
  L.randomRotation(0.3),
  L.randomTranslation(0.2, 0.3),
  L.randomZoom(0.3, { widthFactor: [0.1, 0.2], fillMode: "constant" }),
  L.randomContrast(0.4, { valueRange: [-5, 5] }),
  L.randomBrightness(0.4, { valueRange: [-5, 5] }),
];

test("they do nothing outside of training, and repeat themselves by the seed", async () => {
  for (const layer of ALL()) {
    assert.equal(await inferred(layer), data, layer.kind);
    const fn = L.compile((t) => layer.call(t, { training: true }), { seed: 8 });
    const [first, second] = [await (await fn(x)).data(), await (await fn(x)).data()];
    assert.not.equal(first, data, layer.kind);
    assert.not.equal(second, first, layer.kind);
    const again = L.compile((t) => layer.call(t, { training: true }), { seed: 8 });
    assert.equal(await (await again(x)).data(), first, layer.kind);
  }
});

test("gradients flow back to the places that were looked up", async () => {
  const weights = L.tensor(
    Float32Array.from({ length: x.size }, (_, i) => ((i * 53 + 7) % 89) / 44 - 1),
    x.shape,
  );
  for (const layer of [
    L.randomRotation(0.3),
    L.randomZoom(0.5, { fillMode: "constant" }),
    L.randomTranslation(0.4, 0.4, { fillMode: "wrap" }),
  ]) {
    // The layer is linear: with weights w, sum(w A x) = sum(gradient x).
    const loss = (t) => L.sum(L.mul(layer.call(t, { training: true }), weights));
    const { value, grads } = await L.compile((t) => L.valueAndGrad(loss, [t])(t), { seed: 2 })(x);
    const gradient = await grads[0].data();
    const total = gradient.reduce((s, g, i) => s + g * data[i], 0);
    assert.ok(Math.abs((await value.item()) - total) < 1e-3, `${layer.kind}: ${await value.item()} is not ${total}`);
    assert.ok(gradient.filter((g) => g !== 0).length > x.size / 2);
  }
});

test("a model trains with them, and predicts without", async () => {
  const model = L.sequential([...ALL(), L.randomCrop(4, 4), L.flatten(), L.dense(2)], { inputShape: [height, width, channels], seed: 1 });
  await model.compile({ loss: "mse", optimizer: "adam" });
  const { history } = await model.fit(x, L.ones([batch, 2]), { epochs: 8, batchSize: 2, verbose: 0 });
  assert.ok(history.loss.at(-1) < history.loss[0]);
  const plain = L.sequential([L.randomCrop(4, 4), L.flatten(), L.dense(2)], { inputShape: [height, width, channels] });
  plain.setWeights(await model.getWeights());
  assert.equal(await (await model.predict(x)).data(), await (await plain.predict(x)).data());
});

test("what they cannot do is said", async () => {
  for (const make of [
    () => L.randomRotation(1.5),
    () => L.randomRotation([0, 2]),
    () => L.randomRotation("0.1"),
    () => L.randomRotation([0.1]),
    () => L.randomRotation(0.1, { fillMode: "mirror" }),
    () => L.randomRotation(0.1, { interpolation: "cubic" }),
    () => L.randomRotation(0.1, { fillValue: NaN }),
    () => L.randomTranslation(0.1),
    () => L.randomZoom(-1),
    () => L.randomZoom([-1, 0]),
    () => L.randomZoom(0.2, { widthFactor: 2 }),
    () => L.randomCrop(0, 4),
    () => L.randomContrast(-0.1),
    () => L.randomContrast(2),
    () => L.randomContrast(0.1, { valueRange: [1, 0] }),
    () => L.randomBrightness(-1.1),
    () => L.randomBrightness(0.1, { valueRange: 255 }),
    () => L.randomBrightness(0.1, { range: [0, 1] }),
  ])
    assert.throws(make, (error) => error instanceof L.ArgumentError, make.toString());
  for (const layer of [L.randomRotation(0.1), L.randomCrop(2, 2), L.randomContrast(0.1)])
    await L.compile((t) => layer.call(t, { training: true }))(L.ones([2, 3])).then(assert.unreachable, (error) =>
      assert.instance(error, L.ShapeError),
    );
});

test.run();

/** @file Layers that images go through before a network, beside loops. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as L from "../../build/esm/index.js";

const wasm = await L.open("wasm");
test.after(() => wasm.close());

const [batch, rows, columns, channels] = [2, 5, 4, 3];
const x = L.tensor(
  Float32Array.from({ length: batch * rows * columns * channels }, (_, i) => ((i * 37 + 11) % 101) / 50 - 1),
  [batch, rows, columns, channels],
);
const data = await x.data();
const at = (n, r, c, k) => data[((n * rows + r) * columns + c) * channels + k];
const of = async (layer, training = false) => L.compile((t) => layer.call(t, { training }), { seed: 3 })(x);

/** [n, height, width, channels] by a function of places. */
const made = (height, width, fn) =>
  Array.from({ length: batch * height * width * channels }, (_, i) => {
    const [k, c] = [i % channels, Math.floor(i / channels) % width];
    const r = Math.floor(i / (channels * width)) % height;
    return fn(Math.floor(i / (channels * width * height)), r, c, k);
  });
const near = (got, want) => want.forEach((w, i) => assert.ok(Math.abs(got[i] - w) < 1e-5, `${i}: ${got[i]} is not ${w}`));
const clamp = (v, most) => Math.min(Math.max(v, 0), most);

test("resizing interpolates between the centers of pixels", async () => {
  for (const [height, width] of [
    [7, 9],
    [3, 2],
    [5, 8],
  ]) {
    const y = await of(L.resizing(height, width));
    assert.equal(y.shape, [batch, height, width, channels]);
    const places = (i, to, from) => {
      const center = ((i + 0.5) * from) / to - 0.5;
      const low = Math.floor(center);
      return [
        [clamp(low, from - 1), 1 - (center - low)],
        [clamp(low + 1, from - 1), center - low],
      ];
    };
    near(
      await y.data(),
      made(height, width, (n, r, c, k) => {
        let sum = 0;
        for (const [i, p] of places(r, height, rows)) for (const [j, q] of places(c, width, columns)) sum += at(n, i, j, k) * p * q;
        return sum;
      }),
    );
  }
});

test("resizing takes the nearest pixel, and centerCrop the middle", async () => {
  const y = await of(L.resizing(7, 3, { interpolation: "nearest" }));
  near(
    await y.data(),
    made(7, 3, (n, r, c, k) => at(n, Math.floor(((r + 0.5) * rows) / 7), Math.floor(((c + 0.5) * columns) / 3), k)),
  );
  const middle = await of(L.centerCrop(2, 2));
  near(
    await middle.data(),
    made(2, 2, (n, r, c, k) => at(n, r + 1, c + 1, k)),
  );
});

test("resizing keeps the shape of what is seen, by leaving out or by framing", async () => {
  for (const interpolation of ["bilinear", "nearest"])
    for (const [height, width] of [
      [7, 3],
      [2, 9],
      [10, 8],
    ]) {
      // Keras: int(float(width * target_height) / target_width), and the same of the height.
      const [tall, wide] = [Math.trunc((columns * height) / width), Math.trunc((rows * width) / height)];
      const [h, w] = [Math.max(Math.min(rows, tall), 1), Math.max(Math.min(columns, wide), 1)];
      const part = L.slice(x, [0, Math.trunc((rows - h) / 2), Math.trunc((columns - w) / 2), 0], [batch, h, w, channels]);
      const cropped = await of(L.resizing(height, width, { interpolation, cropToAspectRatio: true }));
      assert.equal(await cropped.data(), await L.resizing(height, width, { interpolation }).call(part).data());

      const [top, left] = [Math.trunc((Math.max(rows, tall) - rows) / 2), Math.trunc((Math.max(columns, wide) - columns) / 2)];
      const framed = L.pad(x, [[0, 0], [top, top], [left, left], [0, 0]], 0.5);
      const padded = await of(L.resizing(height, width, { interpolation, padToAspectRatio: true, fillValue: 0.5 }));
      assert.equal(await padded.data(), await L.resizing(height, width, { interpolation }).call(framed).data());
    }
});

test("resizing smooths what becomes smaller", async () => {
  const [height, width] = [2, 6];
  // A triangle around each place, as wide as the pixels are that it stands for, of what lies in the image.
  const shares = (i, to, from) => {
    const scale = Math.max(from / to, 1);
    const center = ((i + 0.5) * from) / to - 0.5;
    const all = Array.from({ length: from }, (_, k) => Math.max(0, 1 - Math.abs(center - k) / scale));
    const sum = all.reduce((a, b) => a + b, 0);
    return all.map((share) => share / sum);
  };
  const y = await of(L.resizing(height, width, { antialias: true }));
  near(
    await y.data(),
    made(height, width, (n, r, c, k) => {
      let sum = 0;
      for (const [i, p] of shares(r, height, rows).entries())
        for (const [j, q] of shares(c, width, columns).entries()) sum += at(n, i, j, k) * p * q;
      return sum;
    }),
  );
  for (const options of [
    { cropToAspectRatio: true, padToAspectRatio: true },
    { antialias: 1 },
    { fillValue: "x" },
    { interpolation: "bicubic" },
  ])
    assert.throws(
      () => L.resizing(2, 2, options),
      (error) => error instanceof L.ArgumentError,
    );
});

test("randomFlip mirrors whole images in training alone", async () => {
  assert.equal(await (await of(L.randomFlip())).data(), data);
  const mirrored = { horizontal: [0, 1], vertical: [1, 0], horizontalAndVertical: [1, 1] };
  for (const [mode, [vertical, horizontal]] of Object.entries(mirrored)) {
    const layer = L.randomFlip({ mode });
    const fn = L.compile((t) => layer.call(t, { training: true }), { seed: 3 });
    const found = new Set();
    for (let i = 0; i < 24; i++) {
      const y = await (await fn(x)).data();
      for (let n = 0; n < batch; n++) {
        const size = rows * columns * channels;
        const image = y.slice(n * size, (n + 1) * size);
        const kind = [0, 1, 2, 3].find((m) => {
          const [v, h] = [m >> 1, m & 1];
          return image.every((value, j) => {
            const [k, c, r] = [j % channels, Math.floor(j / channels) % columns, Math.floor(j / (channels * columns))];
            return value === at(n, v ? rows - 1 - r : r, h ? columns - 1 - c : c, k);
          });
        });
        assert.ok(kind !== undefined, mode);
        found.add(kind);
      }
    }
    const want = [0, ...(horizontal ? [1] : []), ...(vertical ? [2] : []), ...(horizontal && vertical ? [3] : [])];
    assert.equal([...found].sort(), want, mode);
  }
  assert.throws(
    () => L.randomFlip({ mode: "diagonal" }),
    (error) => error instanceof L.ArgumentError,
  );
  assert.throws(
    () => L.resizing(0, 2),
    (error) => error instanceof L.ArgumentError,
  );
});

test("they come back from files", async () => {
  const model = L.sequential([L.randomFlip({ mode: "horizontal" }), L.resizing(6, 5), L.centerCrop(3, 2)], {
    inputShape: [rows, columns, channels],
  });
  const again = await L.loadModel(await model.toBytes(), { layers: L.extraLayers });
  assert.equal(await (await again.predict(x)).data(), await (await model.predict(x)).data());
});

test.run();

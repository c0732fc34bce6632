/** @file Layers of volumes beside naive loops in double precision, and what they refuse. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as L from "../../build/esm/index.js";

const wasm = await L.open("wasm");
test.after(() => wasm.close());

const numbers = (shape, seed = 1) =>
  Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => (((i + seed) * 37) % 101) / 50 - 1);
const volume = (shape, seed) => L.tensor(numbers(shape, seed), shape);
/** An element of a volume; 0 outside. */
const at = (data, [, D, H, W, C], n, d, h, w, c) =>
  d < 0 || d >= D || h < 0 || h >= H || w < 0 || w >= W ? 0 : data[(((n * D + d) * H + h) * W + w) * C + c];

/** What a layer gives: shape and elements. */
async function of(layer, x) {
  const y = await L.compile((t) => layer.call(t))(x);
  return { shape: y.shape, data: [...(await y.data())] };
}

/** Elements of `shape`, each by its place. */
function filled(shape, fn) {
  const out = [];
  const [N, D, H, W, C] = shape;
  for (let n = 0; n < N; n++)
    for (let d = 0; d < D; d++)
      for (let h = 0; h < H; h++) for (let w = 0; w < W; w++) for (let c = 0; c < C; c++) out.push(fn(n, d, h, w, c));
  return { shape, data: out };
}

const SHAPE = [2, 4, 3, 5, 2];

test("frames of volumes: zeros around, cropped, repeated", async () => {
  const [x, data] = [volume(SHAPE), numbers(SHAPE)];
  const shifted = (shape, [d0, h0, w0]) => filled(shape, (n, d, h, w, c) => at(data, SHAPE, n, d - d0, h - h0, w - w0, c));
  assert.equal(await of(L.zeroPadding3d(), x), shifted([2, 6, 5, 7, 2], [1, 1, 1]));
  assert.equal(await of(L.zeroPadding3d([1, 0, 2]), x), shifted([2, 6, 3, 9, 2], [1, 0, 2]));
  const sides = [
    [1, 2],
    [0, 1],
    [2, 0],
  ];
  assert.equal(await of(L.zeroPadding3d(sides), x), shifted([2, 7, 4, 7, 2], [1, 0, 2]));
  assert.equal(await of(L.cropping3d(), x), shifted([2, 2, 1, 3, 2], [-1, -1, -1]));
  assert.equal(await of(L.cropping3d(sides), x), shifted([2, 1, 2, 3, 2], [-1, 0, -2]));
  assert.equal(
    await of(L.upSampling3d([2, 3, 1]), x),
    filled([2, 8, 9, 5, 2], (n, d, h, w, c) => at(data, SHAPE, n, Math.floor(d / 2), Math.floor(h / 3), w, c)),
  );
  assert.equal((await of(L.upSampling3d(), x)).shape, [2, 8, 6, 10, 2]);
});

test("channels of volumes are dropped whole", async () => {
  const x = L.ones([6, 2, 3, 2, 8]);
  const layer = L.spatialDropout3d(0.5);
  const trained = await (await L.compile((t) => layer.call(t, { training: true }), { seed: 5 })(x)).data();
  for (let n = 0; n < 6; n++)
    for (let c = 0; c < 8; c++) assert.is(new Set(Array.from({ length: 12 }, (_, p) => trained[(n * 12 + p) * 8 + c])).size, 1);
  assert.equal([...new Set(trained)].sort(), [0, 2]);
  assert.equal([...(await (await L.compile((t) => layer.call(t, { training: false }))(x)).data())], new Array(6 * 12 * 8).fill(1));
});

test("what the layers of volumes refuse", async () => {
  const x = volume(SHAPE);
  for (const [make, message] of [
    [() => L.zeroPadding3d(-1), /zeroPadding3d: padding must be an integer >= 0, three of them, or three pairs \[before, after\], got -1/],
    [() => L.zeroPadding3d([1, 2]), /three of them.*got \[1,2\]/],
    [() => L.cropping3d("1"), /cropping3d: cropping must be.*got "1"/],
    [() => L.upSampling3d([1, 0, 1]), /upSampling3d: size must be an integer >= 1 or three of them, got \[1,0,1\]/],
    [() => L.upSampling3d(2, { interpolation: "nearest" }), /upSampling3d.*unknown.*interpolation/],
    [() => L.spatialDropout3d(2), /spatialDropout3d: rate must be a number in \[0, 1\], got 2/],
    [() => L.cropping3d([2, 0, 0]).call(x), /cropping \[2,0,0\] leaves nothing of the 4x3x5 input/],
    [() => L.zeroPadding3d().call(L.ones([2, 3, 4, 5])), /expected \[batch, depth, height, width, channels\], got \[2, 3, 4, 5\]/],
    [() => L.spatialDropout2d(0.5).call(x), /expected \[batch, height, width, channels\]/],
  ])
    assert.throws(make, message);
});

test.run();

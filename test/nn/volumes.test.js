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

/** Sizes and beginnings of windows by TensorFlow's rules. */
function geometry(size, taps, stride, dilation, padding) {
  const span = (taps - 1) * dilation + 1;
  if (padding === "valid") return { count: Math.floor((size - span) / stride) + 1, begin: 0 };
  const count = Math.ceil(size / stride);
  return { count, begin: Math.floor(Math.max(0, (count - 1) * stride + span - size) / 2) };
}
const three = (v) => (typeof v === "number" ? [v, v, v] : v);

/** A convolution in double precision: `each(output, x, w, [n, p, f], term)` of every product. */
function eachProduct(xShape, wShape, o, visit) {
  const [N, ...rest] = xShape;
  const [sizes, C] = [rest.slice(0, 3), rest[3]];
  const [taps, perGroup, F] = [wShape.slice(0, 3), wShape[3], wShape[4]];
  const [strides, dilations] = [three(o.strides ?? 1), three(o.dilationRate ?? 1)];
  const along = sizes.map((size, i) => geometry(size, taps[i], strides[i], dilations[i], o.padding ?? "valid"));
  const out = [N, ...along.map((a) => a.count), F];
  const places = (i, p) =>
    Array.from({ length: taps[i] }, (_, t) => [t, p * strides[i] - along[i].begin + t * dilations[i]]).filter(
      ([, q]) => q >= 0 && q < sizes[i],
    );
  let y = 0;
  for (let n = 0; n < N; n++)
    for (let a = 0; a < out[1]; a++)
      for (let b = 0; b < out[2]; b++)
        for (let c = 0; c < out[3]; c++)
          for (let f = 0; f < F; f++, y++) {
            const group = Math.floor((f * (o.groups ?? 1)) / F);
            for (const [i, d] of places(0, a))
              for (const [j, h] of places(1, b))
                for (const [k, w] of places(2, c))
                  for (let ch = 0; ch < perGroup; ch++)
                    visit(
                      y,
                      (((n * sizes[0] + d) * sizes[1] + h) * sizes[2] + w) * C + group * perGroup + ch,
                      (((i * taps[1] + j) * taps[2] + k) * perGroup + ch) * F + f,
                    );
          }
  return out;
}

const near = (got, want, most = 1e-5) => {
  assert.is(got.length, want.length);
  const scale = Math.max(1, ...want.map(Math.abs));
  for (const [i, v] of want.entries()) assert.ok(Math.abs(got[i] - v) <= most * scale, `element ${i}: ${got[i]} is not ${v}`);
};

/** Numbers for the weights of a layer, and those that it then has. */
function stir(layer) {
  layer.weights.forEach(({ tensor }, i) => tensor.set(numbers(tensor.shape, 50 + i)));
  return layer.weights.map(({ tensor }) => [...tensor.host]);
}

/** Output and gradients of sum(y * dy) of a layer, by x and by its weights. */
async function derived(layer, x, dy) {
  const weights = layer.weights.map(({ tensor }) => tensor);
  const run = L.compile(
    (t, ...ws) => {
      const y = layer.call(t);
      return [y, ...L.gradients(L.sum(L.mul(y, dy)), [t, ...weights])];
    },
    { training: false },
  );
  return Promise.all((await run(x)).map(async (t) => [...(await t.data())]));
}

const CONVOLUTIONS = [
  [3, 3, {}],
  [4, [2, 3, 1], { strides: [2, 1, 2], padding: "same" }],
  [4, [3, 2, 2], { dilationRate: [1, 2, 3], groups: 2, padding: "same", activation: "relu" }],
  [2, [3, 1, 2], { dilationRate: [2, 1, 1], useBias: false }],
  [6, 1, { groups: 2 }],
  [1, [3, 3, 3], { padding: "same" }],
  [1, [2, 3, 3], { padding: "same", strides: [1, 2, 3], dilationRate: [3, 1, 1] }],
  [4, [2, 2, 2], { strides: [3, 2, 1], groups: 4 }],
];
for (const [filters, kernelSize, options] of CONVOLUTIONS) {
  test(`conv3d(${filters}, ${JSON.stringify(kernelSize)}, ${JSON.stringify(options)}), and its gradients`, async () => {
    const shape = [2, 6, 5, 7, 4];
    const [x, data] = [volume(shape), numbers(shape)];
    const layer = L.conv3d(filters, kernelSize, options);
    await of(layer, x);
    const [kernel, bias = new Array(filters).fill(0)] = stir(layer);
    const wShape = [...three(kernelSize), 4 / (options.groups ?? 1), filters];
    assert.equal(layer.weights[0].tensor.shape, wShape);
    assert.equal(
      layer.weights.map((w) => w.name),
      options.useBias === false ? ["kernel"] : ["kernel", "bias"],
    );
    const want = [];
    const out = eachProduct(shape, wShape, options, (y, i, k) => (want[y] = (want[y] ?? 0) + data[i] * kernel[k]));
    const size = out.reduce((a, b) => a * b);
    const sums = Array.from({ length: size }, (_, i) => (want[i] ?? 0) + bias[i % filters]);
    const isOn = (i) => options.activation !== "relu" || sums[i] > 0;
    const got = await of(layer, x);
    assert.equal(got.shape, out);
    near(
      got.data,
      sums.map((v, i) => (isOn(i) ? v : 0)),
    );
    const dy = numbers(out, 9);
    const [dx, dw, db] = [new Array(data.length).fill(0), new Array(kernel.length).fill(0), new Array(filters).fill(0)];
    eachProduct(shape, wShape, options, (y, i, k) => {
      if (!isOn(y)) return;
      dx[i] += dy[y] * kernel[k];
      dw[k] += dy[y] * data[i];
    });
    sums.forEach((_, i) => (db[i % filters] += isOn(i) ? dy[i] : 0));
    const [, gx, gw, gb = db] = await derived(layer, x, L.tensor(dy, out));
    near(gx, dx);
    near(gw, dw);
    near(gb, db);
  });
}

const TRANSPOSED = [
  [3, 3, {}],
  [2, 2, { strides: 2 }],
  [3, [3, 2, 4], { strides: [2, 3, 1], padding: "same", activation: "relu" }],
  [2, [5, 1, 3], { strides: [2, 2, 2], useBias: false }],
  [1, [1, 2, 2], { strides: [3, 1, 2], padding: "same" }],
];
for (const [filters, kernelSize, options] of TRANSPOSED) {
  test(`conv3dTranspose(${filters}, ${JSON.stringify(kernelSize)}, ${JSON.stringify(options)}) is the gradient of conv3d, and its own`, async () => {
    const shape = [2, 3, 2, 4, 3];
    const [x, data] = [volume(shape), numbers(shape)];
    const layer = L.conv3dTranspose(filters, kernelSize, options);
    await of(layer, x);
    const [kernel, bias = new Array(filters).fill(0)] = stir(layer);
    const [sizes, strides] = [three(kernelSize), three(options.strides ?? 1)];
    assert.equal(layer.weights[0].tensor.shape, [...sizes, filters, 3]);
    const same = options.padding === "same";
    const out = [
      2,
      ...[0, 1, 2].map((i) => (same ? shape[i + 1] * strides[i] : (shape[i + 1] - 1) * strides[i] + Math.max(sizes[i], strides[i]))),
      filters,
    ];
    // Of the convolution whose input is this output: y there is x here.
    const wShape = [...sizes, filters, 3];
    const sums = Array.from({ length: out.reduce((a, b) => a * b) }, (_, i) => bias[i % filters]);
    const back = eachProduct(out, wShape, options, (y, i, k) => (sums[i] += data[y] * kernel[k]));
    assert.equal(back, shape);
    const isOn = (i) => options.activation !== "relu" || sums[i] > 0;
    const got = await of(layer, x);
    assert.equal(got.shape, out);
    near(
      got.data,
      sums.map((v, i) => (isOn(i) ? v : 0)),
    );
    const dy = numbers(out, 9).map((v, i) => (isOn(i) ? v : 0));
    const [dx, dw, db] = [new Array(data.length).fill(0), new Array(kernel.length).fill(0), new Array(filters).fill(0)];
    eachProduct(out, wShape, options, (y, i, k) => {
      dx[y] += dy[i] * kernel[k];
      dw[k] += dy[i] * data[y];
    });
    dy.forEach((v, i) => (db[i % filters] += v));
    const [, gx, gw, gb = db] = await derived(layer, x, L.tensor(dy, out));
    near(gx, dx);
    near(gw, dw);
    near(gb, db);
  });
}

/** All that a window covers: `reduce(elements)`, with gradients by `share(elements, k)`. */
function pooled(shape, sizes, counts, windowOf, data, dy, reduce, share) {
  const [N, , , , C] = shape;
  const [out, dx] = [[], new Array(data.length).fill(0)];
  for (let n = 0; n < N; n++)
    for (let a = 0; a < counts[0]; a++)
      for (let b = 0; b < counts[1]; b++)
        for (let c = 0; c < counts[2]; c++)
          for (let ch = 0; ch < C; ch++) {
            const [ds, hs, ws] = [a, b, c].map((p, i) => windowOf(i, p));
            const places = ds.flatMap((d) =>
              hs.flatMap((h) => ws.map((w) => (((n * sizes[0] + d) * sizes[1] + h) * sizes[2] + w) * C + ch)),
            );
            const list = places.map((p) => data[p]);
            places.forEach((p, k) => (dx[p] += dy === null ? 0 : dy[out.length] * share(list, k)));
            out.push(reduce(list));
          }
  return { out, dx };
}
const most = [(list) => Math.max(...list), (list, k) => Number(k === list.indexOf(Math.max(...list)))];
const mean = [(list) => list.reduce((a, b) => a + b) / list.length, (list) => 1 / list.length];

for (const [size, options] of [
  [2, {}],
  [[3, 2, 1], { strides: [2, 1, 2], padding: "same" }],
  [[1, 3, 2], { strides: 1 }],
  [[4, 2, 3], { padding: "same", strides: [3, 4, 1] }],
])
  for (const [kind, [reduce, share]] of [
    ["maxPool3d", most],
    ["avgPool3d", mean],
  ])
    test(`${kind}(${JSON.stringify(size)}, ${JSON.stringify(options)}), and its gradient`, async () => {
      const shape = [2, 5, 4, 6, 3];
      const sizes = shape.slice(1, 4);
      const [x, data] = [volume(shape), numbers(shape)];
      const [taps, strides] = [three(size), three(options.strides ?? size)];
      const along = sizes.map((d, i) => geometry(d, taps[i], strides[i], 1, options.padding ?? "valid"));
      const windowOf = (i, p) =>
        Array.from({ length: taps[i] }, (_, t) => p * strides[i] - along[i].begin + t).filter((q) => q >= 0 && q < sizes[i]);
      const counts = along.map((a) => a.count);
      const out = [2, ...counts, 3];
      const dy = numbers(out, 4);
      const want = pooled(shape, sizes, counts, windowOf, data, dy, reduce, share);
      const layer = L[kind](size, options);
      assert.equal((await of(layer, x)).shape, out);
      const [y, dx] = await derived(layer, x, L.tensor(dy, out));
      near(y, want.out);
      near(dx, want.dx);
    });

test("whole volumes: the largest element and the mean of each channel", async () => {
  const x = volume(SHAPE);
  const data = numbers(SHAPE);
  const want = (reduce) =>
    Array.from({ length: 4 }, (_, i) => reduce(Array.from({ length: 60 }, (_p, p) => data[(Math.floor(i / 2) * 60 + p) * 2 + (i % 2)])));
  near((await of(L.globalMaxPool3d(), x)).data, want(most[0]));
  near((await of(L.globalAvgPool3d(), x)).data, want(mean[0]));
  assert.equal((await of(L.globalAvgPool3d({ keepDims: true }), x)).shape, [2, 1, 1, 1, 2]);
});

for (const [name, [reduce, share]] of [
  ["Max", most],
  ["Avg", mean],
])
  test(`adaptive${name}Pool1d, 2d and 3d: bins that overlap, that differ, of one element and of several, and gradients`, async () => {
    for (const [inside, sizes] of [
      [[7], [3]],
      [[8], 3],
      [[6], [3]],
      [[3], 5],
      [[5], [5]],
      [[5, 8], [2, 3]],
      [[6, 6], 3],
      [[4, 5, 7], [2, 4, 3]],
      [[4, 4, 6], 2],
    ]) {
      const rank = inside.length;
      const counts = Array.isArray(sizes) ? sizes : inside.map(() => sizes);
      const fill = (list, v) => [...new Array(3 - rank).fill(v), ...list];
      const [shape, out] = [
        [2, ...inside, 3],
        [2, ...counts, 3],
      ];
      const [x, data, dy] = [volume(shape), numbers(shape), numbers(out, 4)];
      const [all, bins] = [fill(inside, 1), fill(counts, 1)];
      const windowOf = (i, p) => {
        const [from, to] = [Math.floor((p * all[i]) / bins[i]), Math.ceil(((p + 1) * all[i]) / bins[i])];
        return Array.from({ length: to - from }, (_, k) => from + k);
      };
      const want = pooled([2, ...all, 3], all, bins, windowOf, data, dy, reduce, share);
      const layer = L[`adaptive${name}Pool${rank}d`](sizes);
      assert.equal((await of(layer, x)).shape, out);
      const [y, dx] = await derived(layer, x, L.tensor(dy, out));
      near(y, want.out);
      near(dx, want.dx);
    }
  });

test("adaptive pooling of 1 to 6 by 4: as PyTorch gives them", async () => {
  const x = L.tensor([1, 2, 3, 4, 5, 6], [1, 6, 1]);
  near((await of(L.adaptiveAvgPool1d(4), x)).data, [1.5, 2.5, 4.5, 5.5]);
  near((await of(L.adaptiveMaxPool1d(4), x)).data, [2, 3, 5, 6]);
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
    [() => L.conv3d(3, [3, 3]), /conv3d: kernelSize must be an integer >= 1 or three of them, got \[3,3\]/],
    [() => L.conv3d(3, 2, { groups: 2 }), /filters must be a multiple of groups, got 3 filters and 2 groups/],
    [() => L.conv3d(3, 2, { padding: "causal" }), /conv3d: padding must be one of "valid", "same", got "causal"/],
    [() => L.conv3d(4, 2, { groups: 4 }).call(x), /2 channels cannot be split into 4 groups/],
    [() => L.conv3d(4, 4).call(x), /a window of 4x4x4 does not fit into the 4x3x5 input/],
    [() => L.conv3d(4, 3).call(L.ones([2, 8, 8, 3])), /expected \[batch, depth, height, width, channels\]/],
    [() => L.conv3dTranspose(0, 2), /conv3dTranspose: filters must be an integer >= 1, got 0/],
    [() => L.maxPool3d([1, 4, 1]).call(x), /a window of 1x4x1 does not fit into the 4x3x5 input/],
    [() => L.adaptiveAvgPool2d(0), /adaptiveAvgPool2d: outputSize must be an integer >= 1 or two of them, got 0/],
    [() => L.adaptiveMaxPool1d([1, 2]), /adaptiveMaxPool1d: outputSize must be an integer >= 1, got \[1,2\]/],
    [() => L.adaptiveMaxPool3d(2).call(L.ones([1, 4, 4, 2])), /expected \[batch, depth, height, width, channels\]/],
    [() => L.spatialDropout2d(0.5).call(x), /expected \[batch, height, width, channels\]/],
  ])
    assert.throws(make, message);
});

test.run();

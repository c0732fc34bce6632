/** @file LSTM layers of convolutions beside naive loops in double precision: outputs, states, masks, directions, gradients. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as L from "../../build/esm/index.js";

const wasm = await L.open("wasm");
test.after(() => wasm.close());

const sizeOf = (shape) => shape.reduce((a, b) => a * b, 1);
const numbers = (shape, seed = 1) => Float32Array.from({ length: sizeOf(shape) }, (_, i) => (((i * 7 + seed) * 37) % 101) / 80 - 0.6);
const near = (got, want, most = 1e-5) => {
  assert.is(got.length, want.length);
  for (let i = 0; i < want.length; i++)
    assert.ok(Math.abs(got[i] - want[i]) <= most * Math.max(1, Math.abs(want[i])), `${i}: ${got[i]}, expected ${want[i]}`);
};
/** All places in a shape. */
const places = (shape) => shape.reduce((list, d) => list.flatMap((p) => Array.from({ length: d }, (_, i) => [...p, i])), [[]]);
const at = (shape, place) => place.reduce((n, p, i) => n * shape[i] + p, 0);

/** x[...sizes, C] with w[...taps, C, F] in double precision. */
function convolved(x, sizes, channels, w, taps, filters, { strides, dilation, padding }) {
  const along = sizes.map((size, i) => {
    const span = (taps[i] - 1) * dilation[i] + 1;
    if (padding === "valid") return [Math.floor((size - span) / strides[i]) + 1, 0];
    const count = Math.ceil(size / strides[i]);
    return [count, Math.floor(Math.max(0, (count - 1) * strides[i] + span - size) / 2)];
  });
  const out = along.map(([count]) => count);
  const y = [];
  for (const p of places(out))
    for (let f = 0; f < filters; f++) {
      let sum = 0;
      for (const t of places(taps)) {
        const q = p.map((v, i) => v * strides[i] - along[i][1] + t[i] * dilation[i]);
        if (q.some((v, i) => v < 0 || v >= sizes[i])) continue;
        for (let c = 0; c < channels; c++) sum += x[at(sizes, q) * channels + c] * w[(at(taps, t) * channels + c) * filters + f];
      }
      y.push(sum);
    }
  return { y, out };
}

const sigmoid = (v) => 1 / (1 + Math.exp(-v));

/** One sample: h after each step, in the order of reading. Keras' ConvLSTMCell, gates i f c o. */
function naive(x, [time, ...inside], [kernel, recurrent, bias], filters, taps, o, mask, states) {
  const [sizes, channels] = [inside.slice(0, -1), inside[inside.length - 1]];
  const still = { strides: taps.map(() => 1), dilation: taps.map(() => 1), padding: "same" };
  const step = sizeOf(inside);
  let [h, c] = states ?? [null, null];
  const all = [];
  for (let n = 0; n < time; n++) {
    const t = o.reverse ? time - 1 - n : n;
    const { y, out } = convolved(x.slice(t * step, (t + 1) * step), sizes, channels, kernel, taps, 4 * filters, o);
    const units = sizeOf(out) * filters;
    h ??= new Array(units).fill(0);
    c ??= new Array(units).fill(0);
    if (mask === null || mask[t]) {
      const z = convolved(h, out, filters, recurrent, taps, 4 * filters, still).y.map(
        (v, i) => v + y[i] + (bias?.[i % (4 * filters)] ?? 0),
      );
      const gate = (k, i) => z[Math.floor(i / filters) * 4 * filters + k * filters + (i % filters)];
      c = c.map((v, i) => sigmoid(gate(1, i)) * v + sigmoid(gate(0, i)) * Math.tanh(gate(2, i)));
      h = c.map((v, i) => sigmoid(gate(3, i)) * Math.tanh(v));
    }
    all.push(h);
  }
  return { all, h, c };
}

const CASES = [
  [1, [2, 4, 6, 2], 3, 3, {}],
  [1, [2, 3, 7, 2], 2, [2], { strides: [2], padding: "same", goBackwards: true }],
  [2, [2, 3, 5, 4, 2], 2, [3, 2], { padding: "same", useBias: false }],
  [2, [2, 3, 6, 5, 1], 3, 2, { dilationRate: [2, 1] }],
  [3, [2, 2, 3, 4, 3, 2], 2, [2, 3, 2], { padding: "same", strides: [1, 2, 1], goBackwards: true }],
];
for (const [rank, shape, filters, kernelSize, options] of CASES)
  test(`convLstm${rank}d: ${JSON.stringify([filters, kernelSize, options])}: every step, the last, states, gradients`, async () => {
    const [batch, time, ...inside] = shape;
    const data = numbers(shape);
    const x = L.tensor(data, shape);
    const make = L[`convLstm${rank}d`];
    const layer = make(filters, kernelSize, { ...options, returnSequences: true });
    layer.call(x);
    layer.weights.forEach(({ tensor }, i) => tensor.set(numbers(tensor.shape, 30 + i)));
    const weights = layer.weights.map(({ tensor }) => [...tensor.host]);
    const list = (v = 1) => (typeof v === "number" ? new Array(rank).fill(v) : v);
    const taps = list(kernelSize);
    assert.equal(
      layer.weights.map(({ name, tensor }) => [name, tensor.shape]),
      [
        ["kernel", [...taps, inside[rank], 4 * filters]],
        ["recurrentKernel", [...taps, filters, 4 * filters]],
        ["bias", [4 * filters]],
      ].slice(0, options.useBias === false ? 2 : 3),
    );
    const o = {
      strides: list(options.strides),
      dilation: list(options.dilationRate),
      padding: options.padding ?? "valid",
      reverse: options.goBackwards,
    };
    const sample = (from, n) => from.slice(n * sizeOf(shape.slice(1)), (n + 1) * sizeOf(shape.slice(1)));
    const run = (from, ws) =>
      Array.from({ length: batch }, (_, n) => naive(sample(from, n), shape.slice(1), ws, filters, taps, o, null, null));
    const want = run(data, weights);
    const sequences = want.flatMap(({ all }) => all.flat());
    const last = make(filters, kernelSize, options);
    last.call(x);
    last.weights.forEach(({ tensor }, i) => tensor.set(Float32Array.from(weights[i])));
    const dy = numbers([sequences.length], 5);
    const tensors = layer.weights.map(({ tensor }) => tensor);
    const [all, h, c, dx, ...dws] = await L.compile(
      (t) => {
        const y = layer.call(t);
        const { states } = last.callWithStates(t);
        return [y, ...states, ...L.gradients(L.sum(L.mul(y, L.tensor(dy, y.shape))), [t, ...tensors])];
      },
      { training: false },
    )(x);
    near(await all.data(), sequences);
    near(
      await h.data(),
      want.flatMap((s) => s.h),
    );
    near(
      await c.data(),
      want.flatMap((s) => s.c),
    );
    assert.equal(h.shape.slice(0, 1).concat(time, h.shape.slice(1)), all.shape);
    assert.equal(await (await L.compile((t) => last.call(t))(x)).data(), await h.data());
    // Differences in double precision of a part of the elements.
    const loss = (from, ws) =>
      run(from, ws)
        .flatMap((s) => s.all.flat())
        .reduce((sum, v, i) => sum + v * dy[i], 0);
    const difference = (list, i, of) => {
      const [more, less] = [1e-4, -1e-4].map((d) => of(Object.assign([...list], { [i]: list[i] + d })));
      return (more - less) / 2e-4;
    };
    const check = async (gradient, list, of) => {
      const got = await gradient.data();
      for (let i = 0; i < list.length; i += Math.max(1, Math.floor(list.length / 7))) near([got[i]], [difference(list, i, of)], 2e-4);
    };
    await check(dx, [...data], (from) => loss(from, weights));
    for (const [k, dw] of dws.entries())
      await check(dw, weights[k], (w) =>
        loss(
          data,
          weights.map((v, i) => (i === k ? w : v)),
        ),
      );
  });

test("masked steps keep the states; initial states are no output until a step is read", async () => {
  const shape = [2, 4, 5, 2];
  const x = L.tensor(numbers(shape), shape);
  const mask = [
    [0, 1, 0, 1],
    [1, 1, 0, 0],
  ];
  const layer = L.convLstm1d(2, 3, { returnSequences: true, padding: "same" });
  layer.call(x);
  layer.weights.forEach(({ tensor }, i) => tensor.set(numbers(tensor.shape, 30 + i)));
  const weights = layer.weights.map(({ tensor }) => [...tensor.host]);
  const begin = [numbers([2, 5, 2], 8), numbers([2, 5, 2], 9)];
  const o = { strides: [1], dilation: [1], padding: "same", reverse: false };
  for (const states of [null, begin]) {
    const given = states?.map((s) => L.tensor(s, [2, 5, 2])) ?? [null, null];
    const { output, states: after } = layer.callWithStates(x, ...given, L.tensor(mask, undefined, "i32"));
    const want = mask.map((m, n) => {
      const own = states?.map((s) => [...s.slice(n * 10, n * 10 + 10)]) ?? null;
      return naive([...numbers(shape)].slice(n * 40, n * 40 + 40), shape.slice(1), weights, 2, [3], o, m, own);
    });
    const shown = want.flatMap(({ all }, n) => all.flatMap((h, t) => (mask[n].slice(0, t + 1).includes(1) ? h : h.map(() => 0))));
    near(await output.data(), shown);
    near(
      await after[0].data(),
      want.flatMap((s) => s.h),
    );
    near(
      await after[1].data(),
      want.flatMap((s) => s.c),
    );
  }
});

test("both ways, with steps that do not count as zeros", async () => {
  const shape = [2, 3, 4, 4, 2];
  const x = L.tensor(numbers(shape), shape);
  const both = L.bidirectional(L.convLstm2d(3, 3, { returnSequences: true, padding: "same" }));
  const mask = L.tensor([[1, 1, 0], [1, 1, 1]], undefined, "i32");
  const y = both.call(x, null, null, null, null, mask);
  assert.equal(y.shape, [2, 3, 4, 4, 6]);
  const [forward, backward] = both.layers;
  const a = await forward.call(x, null, null, mask).data();
  const b = await L.flip(backward.call(x, null, null, mask), 1).data();
  const got = await y.data();
  const counts = [1, 1, 0, 1, 1, 1];
  near(
    got,
    Array.from(got, (_, i) => (i % 6 < 3 ? a : b)[Math.floor(i / 6) * 3 + (i % 3)] * counts[Math.floor(i / 96)]),
    1e-6,
  );
});

test("parts that are dropped are the same at every step; the bias of the forget gate begins with 1", async () => {
  const x = L.ones([2, 3, 6, 2]);
  const layer = L.convLstm1d(2, 1, { dropout: 0.5, recurrentDropout: 0.3, returnSequences: true });
  const y = await L.compile((t) => layer.call(t, { training: true }), { seed: 3 })(x);
  const still = await L.compile((t) => layer.call(t, { training: false }))(x);
  assert.not.equal(await y.data(), await still.data());
  assert.equal([...layer.weights[2].tensor.host], [0, 0, 1, 1, 0, 0, 0, 0]);
  // Where the recurrent part is 0 equal inputs give equal outputs at first and later states: the same parts are missing.
  layer.weights[1].tensor.set(new Float32Array(16));
  layer.weights[2].tensor.set(Float32Array.from([0, 0, -99, -99, 0, 0, 0, 0]));
  const dropped = L.convLstm1d(2, 1, { dropout: 0.5, returnSequences: true });
  dropped.call(x);
  layer.weights.forEach(({ tensor }, i) => dropped.weights[i].tensor.set(tensor.host));
  const z = await (await L.compile((t) => dropped.call(t, { training: true }), { seed: 3 })(x)).data();
  for (let n = 0; n < 2; n++) for (let i = 0; i < 12; i++) for (const t of [1, 2]) near([z[(n * 3 + t) * 12 + i]], [z[n * 36 + i]], 1e-6);
});

test("recurrentDropout takes away what is read of the state, in training alone", async () => {
  const shape = [2, 4, 6, 2];
  const x = L.tensor(numbers(shape), shape);
  const outputs = async (recurrentDropout, training, clear = false) => {
    const layer = L.convLstm1d(3, 3, { recurrentDropout, returnSequences: true });
    layer.call(x);
    layer.weights.forEach(({ tensor }, i) => tensor.set(clear && i === 1 ? new Float32Array(tensor.size) : numbers(tensor.shape, 30 + i)));
    return (await L.compile((t) => layer.call(t, { training }), { seed: 3 })(x)).data();
  };
  const [still, half] = [await outputs(0.5, false), await outputs(0.5, true)];
  assert.equal(still, await outputs(0, true));
  // 4 steps of 4 places and 3 filters each: the first one reads a state of zeros.
  for (const n of [0, 1]) {
    near(half.slice(n * 48, n * 48 + 12), still.slice(n * 48, n * 48 + 12), 1e-6);
    assert.not.equal(half.slice(n * 48 + 12, n * 48 + 24), still.slice(n * 48 + 12, n * 48 + 24));
  }
  near(await outputs(1, true), await outputs(0, false, true), 1e-6);
});

test("what layers of convolutions over time refuse", () => {
  for (const [make, message] of [
    [() => L.convLstm2d(0, 3), /convLstm2d: filters must be an integer >= 1, got 0/],
    [() => L.convLstm2d(2, [3]), /convLstm2d: kernelSize must be an integer >= 1 or two of them, got \[3\]/],
    [() => L.convLstm1d(2, 3, { strides: 2, dilationRate: 2 }), /convLstm1d: strides and dilationRate cannot both be above 1, got 2 and 2/],
    [() => L.convLstm3d(2, 3, { padding: "causal" }), /convLstm3d: padding must be one of "valid", "same"/],
    [() => L.convLstm2d(2, 3, { dropout: 2 }), /convLstm2d: dropout must be a number in \[0, 1\], got 2/],
    [() => L.convLstm2d(2, 3, { stateful: true }), /convLstm2d: stateful is no option of a layer; write layer.callWithStates/],
    [() => L.convLstm2d(2, 3).call(L.ones([2, 5, 5, 1])), /expected \[batch, steps, height, width, channels\], got \[2, 5, 5, 1\]/],
    [() => L.convLstm1d(2, 3).call(L.ones([2, 0, 5, 1])), /expected at least one step, got \[2, 0, 5, 1\]/],
    [() => L.convLstm1d(2, 3).call(L.ones([2, 2, 5, 1]), L.ones([2, 5, 2])), /expected initial states \[2, 3, 2\], got \[2, 5, 2\]/],
    [() => L.convLstm1d(2, 3).call(L.ones([2, 2, 5, 1]), null, null, L.ones([2, 3])), /expected a mask \[2, 2\], got \[2, 3\]/],
  ])
    assert.throws(make, message);
});

test.run();

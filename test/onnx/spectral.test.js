/** @file Fourier transforms against sums in float64 by their definition. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open } from "../../build/esm/index.js";
import { f32, i64, makeNode } from "./make.js";
import { ours } from "./ort.js";

const backend = await open("wasm");
test.after(() => backend.close());

const noise = (shape, seed = 1) =>
  f32(
    shape,
    Array.from({ length: shape.reduce((n, d) => n * d, 1) }, (_, i) => Math.fround(Math.sin((i + 1) * 12.9898 * seed))),
  );

/** sum of (re + i im) e^(sign 2 pi i k n / N) for each k. */
function transform(list, sign) {
  const N = list.length;
  return list.map((_, k) => {
    let [re, im] = [0, 0];
    list.forEach(([a, b], n) => {
      const angle = (sign * 2 * Math.PI * ((k * n) % N)) / N;
      re += a * Math.cos(angle) - b * Math.sin(angle);
      im += a * Math.sin(angle) + b * Math.cos(angle);
    });
    return [re, im];
  });
}

/** Row r of x[rows, n, parts], cut or lengthened with zeros. */
function rowOf({ shape: [, n, parts], elements }, r, length) {
  return Array.from({ length }, (_, i) => {
    const at = (r * n + i) * parts;
    return i < n ? [elements[at], parts === 2 ? elements[at + 1] : 0] : [0, 0];
  });
}

function near(what, got, wanted) {
  const most = Math.max(1, ...wanted.map(Math.abs));
  assert.is(got.length, wanted.length, what);
  got.forEach((g, i) =>
    assert.ok(Math.abs(g - wanted[i]) < 3e-6 * most * Math.log2(wanted.length + 2), `${what}: ${i}: ${g}, ${wanted[i]}`),
  );
}

for (const n of [1, 2, 3, 8, 60, 64, 97, 128, 363, 1024]) {
  test(`DFT of ${n}: forwards and back, real and complex, cut and lengthened`, async () => {
    for (const parts of [1, 2]) {
      for (const isInverse of [0, 1]) {
        for (const length of [n, n + 5, Math.max(1, n - 1)]) {
          const x = noise([2, n, parts]);
          const bytes = makeNode("DFT", [x, i64([length], [])], { opset: 20, known: ["x1"], attributes: { inverse: isInverse } });
          const { y0 } = await ours(bytes, { x0: x }, backend);
          assert.equal(y0.shape, [2, length, 2]);
          const by = isInverse ? 1 / length : 1;
          const wanted = [0, 1].flatMap((r) => transform(rowOf(x, r, length), isInverse ? 1 : -1)).flat();
          near(
            `${parts} ${isInverse} ${length}`,
            y0.data,
            wanted.map((w) => w * by),
          );
        }
      }
    }
  });

  test(`DFT of ${n}: one side of the spectrum, and back`, async () => {
    const x = noise([2, n, 1]);
    const forth = makeNode("DFT", [x], { opset: 20, attributes: { onesided: 1 } });
    const { y0: half } = await ours(forth, { x0: x }, backend);
    const bins = Math.floor(n / 2) + 1;
    assert.equal(half.shape, [2, bins, 2]);
    near("half", half.data, [0, 1].flatMap((r) => transform(rowOf(x, r, n), -1).slice(0, bins)).flat());
    const spectrum = f32(half.shape, half.data);
    const back = makeNode("DFT", [spectrum, i64([n], [])], { opset: 20, known: ["x1"], attributes: { onesided: 1, inverse: 1 } });
    const { y0: again } = await ours(back, { x0: spectrum }, backend);
    assert.equal(again.shape, [2, n, 1]);
    near("again", again.data, x.elements);
  });
}

test("DFT along other axes; those of opset 17", async () => {
  const x = noise([3, 4, 5, 1]);
  const element = (i, j, k) => x.elements[(i * 4 + j) * 5 + k];
  const wanted = (axis) => {
    const out = new Float64Array(3 * 4 * 5 * 2);
    const sizes = [3, 4, 5];
    for (let i = 0; i < 3; i++)
      for (let j = 0; j < 4; j++)
        for (let k = 0; k < 5; k++) {
          const at = [i, j, k];
          const line = Array.from({ length: sizes[axis] }, (_, n) => {
            const p = [...at];
            p[axis] = n;
            return [element(...p), 0];
          });
          out.set(transform(line, -1)[at[axis]], ((i * 4 + j) * 5 + k) * 2);
        }
    return [...out];
  };
  for (const axis of [0, 1, 2]) {
    const bytes = makeNode("DFT", [x, null, i64([axis], [])], { opset: 20, known: ["x2"] });
    near(`axis ${axis}`, (await ours(bytes, { x0: x }, backend)).y0.data, wanted(axis));
    const old = makeNode("DFT", [x], { opset: 17, attributes: { axis } });
    near(`axis ${axis}, opset 17`, (await ours(old, { x0: x }, backend)).y0.data, wanted(axis));
  }
});

test("STFT: frames times a window, of real and complex signals", async () => {
  for (const [parts, isOneSided] of [
    [1, 1],
    [1, 0],
    [2, 0],
  ]) {
    const [x, window] = [noise([2, 50, parts]), noise([12], 3)];
    const bytes = makeNode("STFT", [x, i64([7], []), window], { opset: 17, known: ["x1"], attributes: { onesided: isOneSided } });
    const { y0 } = await ours(bytes, { x0: x, x2: window }, backend);
    const bins = isOneSided ? 7 : 12;
    assert.equal(y0.shape, [2, 6, bins, 2]);
    const wanted = [0, 1].flatMap((r) =>
      Array.from({ length: 6 }, (_, f) => {
        const frame = rowOf(x, r, 50).slice(7 * f, 7 * f + 12);
        const weighted = frame.map(([a, b], i) => [a * window.elements[i], b * window.elements[i]]);
        return transform(weighted, -1).slice(0, bins);
      }).flat(2),
    );
    near(`${parts} ${isOneSided}`, y0.data, wanted);
  }
});

test.run();

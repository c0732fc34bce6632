/** Losses beyond the conformance cases: which path is taken, extreme logits, shapes, names, weights. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile } from "../../build/esm/compile.js";
import { gradients } from "../../build/esm/grad.js";
import { conv2d } from "../../build/esm/ops/conv.js";
import { sigmoid } from "../../build/esm/ops/map.js";
import { matmul } from "../../build/esm/ops/matmul.js";
import { reshape } from "../../build/esm/ops/move.js";
import { softmax } from "../../build/esm/ops/softmax.js";
import { tensor } from "../../build/esm/tensor.js";
import * as losses from "../../build/esm/train/losses.js";
import { metricByName } from "../../build/esm/train/metrics.js";

const {
  binaryCrossentropy,
  categoricalCrossentropy,
  lossByName,
  lossFromConfig,
  reduceLoss,
  separateSigmoid,
  sparseCategoricalCrossentropy,
} = losses;
const list = async (t) => Array.from(await t.data());
const close = (got, want, tolerance = 1e-6) => {
  assert.is(got.length, want.length);
  got.forEach((g, i) =>
    assert.ok(Math.abs(g - want[i]) <= tolerance * Math.max(1, Math.abs(want[i])), `element ${i}: ${g}, expected ${want[i]}`),
  );
};

/** Loss per sample and gradient of its mean with respect to the logits, which `output` turns into predictions. */
const run = (loss, output) =>
  compile((y, z) => {
    const perSample = loss.call(y, output(z));
    return { perSample, grad: gradients(reduceLoss(perSample), [z])[0] };
  });

const oneHotRows = tensor([[1, 0, 0], [0, 1, 0]]);
const classes = tensor([0, 1], undefined, "i32");
const extreme = tensor([[-500, 300, 0], [90, -90, 89]]);

for (const [name, loss, y] of [
  ["categorical", categoricalCrossentropy(), oneHotRows],
  ["sparse", sparseCategoricalCrossentropy(), classes],
]) {
  test(`${name} cross-entropy of a softmax is one fused kernel, exact for extreme logits`, async () => {
    const fn = run(loss, softmax);
    const plan = await fn.print(y, extreme);
    assert.match(plan, "softmaxCrossEntropy(");
    assert.not.match(plan, "log(");
    const { perSample, grad } = await fn(y, extreme);
    close(await list(perSample), [800, 180 + Math.log1p(Math.exp(-1))]);
    const p = Math.exp(-1) / (1 + Math.exp(-1));
    close(await list(grad), [-0.5, 0.5, 0, (1 - p) / 2, -0.5, p / 2]);
  });

  test(`${name} cross-entropy of probabilities from elsewhere is clipped`, async () => {
    const fn = compile((y, p) => loss.call(y, p));
    const p = tensor([[0, 1, 0], [0.25, 0.5, 0.25]]);
    assert.not.match(await fn.print(y, p), "softmaxCrossEntropy");
    close(await list(await fn(y, p)), [-Math.log(1e-7), Math.LN2]);
  });
}

test("a softmax is seen through a reshape that keeps the classes, and not through one that does not", async () => {
  const z = tensor([[1, 2, 3, 4], [5, 6, 7, 9]]);
  const kept = compile((y, x) => categoricalCrossentropy().call(y, reshape(softmax(x), [2, 1, 4])));
  assert.match(await kept.print(tensor([[[1, 0, 0, 0]], [[0, 0, 0, 1]]]), z), "softmaxCrossEntropy");
  const changed = compile((y, x) => categoricalCrossentropy().call(y, reshape(softmax(x), [4, 2])));
  assert.not.match(await changed.print(tensor([[1, 0], [0, 1], [1, 0], [0, 1]]), z), "softmaxCrossEntropy");
  const otherAxis = compile((y, x) => categoricalCrossentropy().call(y, softmax(x, 0)));
  assert.not.match(await otherAxis.print(z, z), "softmaxCrossEntropy");
});

test("binary cross-entropy of a sigmoid uses its logits: finite and exact where the probability rounds to 0 or 1", async () => {
  const y = tensor([[1], [0], [1], [0]]);
  const z = tensor([[-200], [200], [40], [0]]);
  const { perSample, grad } = await run(binaryCrossentropy(), sigmoid)(y, z);
  close(await list(perSample), [200, 200, Math.exp(-40), Math.LN2]);
  assert.ok((await list(perSample))[2] > 0);
  close(await list(grad), [-0.25, 0.25, 0, 0.125]);
});

test("binary cross-entropy of probabilities from elsewhere is clipped", async () => {
  const [value] = await list(await compile((y, p) => binaryCrossentropy().call(y, p))(tensor([[1]]), tensor([[0]])));
  close([value], [-Math.log(1e-7)]);
});

const eye = tensor([[1]]);
for (const [name, predict, shape] of [
  ["matmul", (x) => matmul(x, eye, { activation: "sigmoid" }), [2, 1]],
  ["matmul of sequences", (x) => matmul(x, eye, { activation: "sigmoid" }), [2, 1, 1]],
  ["conv2d", (x) => conv2d(x, reshape(eye, [1, 1, 1, 1]), { activation: "sigmoid" }), [2, 1, 1, 1]],
]) {
  test(`binary cross-entropy finds the logits behind a sigmoid inside ${name}`, async () => {
    const fn = run(binaryCrossentropy(), predict);
    const [y, x] = [tensor(Float32Array.of(1, 0), shape), tensor(Float32Array.of(-200, 0), shape)];
    const plan = await fn.print(y, x);
    assert.not.match(plan, "activation=sigmoid");
    const { perSample, grad } = await fn(y, x);
    close(await list(perSample), [200, Math.LN2]);
    close(await list(grad), [-0.5, 0.25]);
  });
}

test("separateSigmoid lets loss and predictions share one product", async () => {
  const fn = compile((y, x) => {
    const p = separateSigmoid(matmul(x, eye, { activation: "sigmoid" }));
    return [binaryCrossentropy().call(y, p), p];
  });
  const args = [tensor([[1], [0]]), tensor([[-200], [0]])];
  assert.is((await fn.print(...args)).match(/= matmul\(/g).length, 1);
  const [loss, p] = await fn(...args);
  close(await list(loss), [200, Math.LN2]);
  close(await list(p), [0, 0.5]);
});

test("targets may miss the last axis of 1, and are never broadcast", async () => {
  const mse = lossByName("mse");
  close(await list(await compile((y, p) => mse.call(y, p))(tensor([1, 2]), tensor([[1], [4]]))), [0, 4]);
  close(await list(await compile((y, p) => mse.call(y, p))(tensor([1, 2], undefined, "i32"), tensor([[1], [4]]))), [0, 4]);
  for (const y of [tensor([1, 2, 3]), tensor([[1], [2]])]) {
    try {
      await compile((a, b) => mse.call(a, b))(y, tensor([[1, 1, 1], [4, 4, 4]]));
      assert.unreachable();
    } catch (error) {
      assert.is(error.name, "ShapeError");
      assert.match(error.message, "meanSquaredError: expected targets of the predictions' shape [2, 3]");
    }
  }
});

test("class numbers may have a last axis of 1; one-hot targets are refused", async () => {
  const fn = compile((y, z) => sparseCategoricalCrossentropy({ fromLogits: true }).call(y, z));
  const z = tensor([[0, 0, 0], [0, 0, 0]]);
  close(await list(await fn(tensor([[0], [2]], undefined, "i32"), z)), [Math.log(3), Math.log(3)]);
  await fn(oneHotRows, z).then(assert.unreachable, (error) => assert.match(error.message, "class numbers [2]"));
});

test("hinge takes 0 and 1 as -1 and 1, and leaves other targets", async () => {
  const fn = compile((y, p) => lossByName("hinge").call(y, p));
  close(await list(await fn(tensor([[0, 1]]), tensor([[0.5, 0.5]]))), [(1.5 + 0.5) / 2]);
  close(await list(await fn(tensor([[-1, 1]]), tensor([[0.5, 0.5]]))), [(1.5 + 0.5) / 2]);
  close(await list(await fn(tensor([[0, 1], [-1, 1]]), tensor([[0.5, 0.5], [0.5, 0.5]]))), [(1 + 0.5) / 2, 1]);
});

/** Keras' formulas in float64, by name: of targets, predictions and the step of a difference. */
const mean = (row) => row.reduce((a, b) => a + b, 0) / row.length;
const FORMULAS = {
  poisson: [[[0, 3, 1], [2, 0, 5]], [[0.5, 2, 1.5], [3, 0.25, 4]], (y, p) => mean(p.map((v, i) => v - y[i] * Math.log(v + 1e-7)))],
  squaredHinge: [
    [[0, 1, 1], [1, 0, 0]],
    [[0.5, 0.25, 2], [-0.5, -2, 0.75]],
    (y, p) => mean(p.map((v, i) => Math.max(1 - (2 * y[i] - 1) * v, 0) ** 2)),
  ],
  categoricalHinge: [
    [[0, 1, 0], [1, 0, 0], [0, 0, 1]],
    [[0.5, 0.25, -2], [3, -2, 0.75], [0.3, 0.1, 0.6]],
    (y, p) => Math.max(1 + Math.max(...p.map((v, i) => (1 - y[i]) * v)) - p.reduce((a, v, i) => a + y[i] * v, 0), 0),
  ],
  meanSquaredLogarithmicError: [
    [[0, 3, 1], [2, -1, 5]],
    [[0.5, 2, 1.5], [3, 0.25, 4]],
    (y, p) => mean(p.map((v, i) => (Math.log(Math.max(v, 1e-7) + 1) - Math.log(Math.max(y[i], 1e-7) + 1)) ** 2)),
  ],
};

for (const [name, [targets, predictions, formula]] of Object.entries(FORMULAS)) {
  test(`${name}: values and gradients of Keras' formula, by factory, name and as a metric`, async () => {
    const [y, p] = [tensor(targets), tensor(predictions)];
    const want = predictions.map((row, r) => formula(targets[r], row));
    for (const loss of [losses[name](), lossByName(name)]) {
      const { perSample, grad } = await run(loss, (z) => z)(y, p);
      close(await list(perSample), want);
      const slopes = predictions.flatMap((row, r) =>
        row.map((_, i) => {
          const [above, below] = [1e-5, -1e-5].map((d) =>
            formula(
              targets[r],
              row.map((v, k) => v + (k === i ? d : 0)),
            ),
          );
          return (above - below) / 2e-5 / predictions.length;
        }),
      );
      close(await list(grad), slopes, 1e-5);
    }
    const metric = metricByName(name, { loss: lossByName("mse"), outputShape: [3] });
    const [total, , count] = await compile(() => metric.update(y, p, [tensor(0), tensor(0), tensor(0, undefined, "i32")]))();
    close([(await total.item()) / (await count.item())], [mean(want)]);
  });
}

test("gradients at points where a naive form is wrong", async () => {
  const slope = async (loss, y, p) => list((await run(loss, (z) => z)(tensor(y), tensor(p))).grad);
  close(await slope(binaryCrossentropy({ fromLogits: true }), [[0]], [[0]]), [0.5]);
  close(await slope(lossByName("logCosh"), [[1]], [[1]]), [0]);
  close(await slope(lossByName("cosineSimilarity"), [[1, 0]], [[0, 0]]), [-1e7, 0]);
});

test("reduceLoss divides by the number of values, whatever the weights", async () => {
  const fn = compile((x, w) => reduceLoss(x, w.length ? w[0] : null));
  const x = tensor([[1, 2], [3, 4]]);
  const value = async (...w) => (await fn(x, w)).item();
  assert.is(await value(), 2.5);
  assert.is(await value(tensor([2, 0])), 1.5);
  assert.is(await value(tensor([[2], [0]])), 1.5);
  assert.is(await value(tensor([[1, 0], [0, 1]])), 1.25);
  await value(tensor([1, 2, 3])).then(assert.unreachable, (error) => assert.match(error.message, "sample weights: expected [2, 2]"));
});

test("names, aliases, options, functions", () => {
  for (const [alias, name] of Object.entries({
    mse: "meanSquaredError",
    mae: "meanAbsoluteError",
    bce: "binaryCrossentropy",
    huber: "huber",
  }))
    assert.is(lossByName(alias).name, name);
  assert.is(lossByName("sparseCategoricalCrossentropy").labels, "class");
  assert.is(lossByName("categoricalCrossentropy").labels, "same");
  const fn = function twice() {};
  assert.equal([lossByName(fn).name, lossByName(fn).call], ["twice", fn]);
  const smooth = categoricalCrossentropy({ labelSmoothing: 0.1 });
  assert.equal(lossFromConfig(smooth.name, smooth.config).config, { fromLogits: false, labelSmoothing: 0.1 });
  assert.is(lossByName(smooth), smooth);
  assert.throws(
    () => lossByName("crossentropy"),
    (error) => error.name === "ArgumentError" && losses.LOSS_NAMES.every((n) => error.message.includes(n)),
  );
  assert.throws(() => lossByName("toString"), /unknown "toString"/);
  assert.throws(() => binaryCrossentropy({ labelSmoothing: 2 }), /labelSmoothing/);
  assert.throws(() => losses.huber({ delta: 0 }), /delta/);
});

test.run();

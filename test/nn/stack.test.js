/** @file Tests of layers in a stack: the same as one after another, plans that do not grow, files, mistakes. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  add,
  batchNorm,
  compile,
  dense,
  dropout,
  generate,
  gradients,
  layerNorm,
  layerStack,
  loadModel,
  mean,
  model,
  mul,
  open,
  relu,
  sequential,
  tensor,
  tokenAndPositionEmbedding,
  transformerDecoder,
  zeros,
} from "../../build/esm/index.js";

await open("wasm", { reproducible: true });
const x = tensor(
  Float32Array.from({ length: 24 }, (_, i) => Math.sin(i)),
  [2, 3, 4],
);
const elements = async (t) => [...(await t.data())];
const close = (got, want, tolerance, what) => {
  assert.is(got.length, want.length, what);
  got.forEach((v, i) => assert.ok(Math.abs(v - want[i]) <= tolerance, `${what} ${i}: ${v}, ${want[i]}`));
};
const block = () => transformerDecoder(8, 2, { normalizeFirst: true, activation: "gelu" });

/** Row `k` of each of the stack's weights in the weights of `single`. */
async function copyRow(stack, single, k) {
  for (const [j, { tensor: own }] of single.weights.entries()) {
    const all = await stack.weights[j].tensor.data();
    assert.equal(stack.weights[j].tensor.shape.slice(1), own.shape);
    own.set(all.slice(k * own.size, (k + 1) * own.size));
  }
}

for (const remat of [false, true]) {
  test(`values and gradients are those of layers one after another${remat ? ", computed again" : ""}`, async () => {
    const stack = layerStack(block(), 3, { remat });
    const singles = [block(), block(), block()];
    const build = compile((t) => [stack.call(t), ...singles.map((l) => l.call(t))], { training: false });
    await build(x);
    for (const [k, single] of singles.entries()) await copyRow(stack, single, k);
    const loss = (y) => mean(mul(y, y));
    const stacked = compile(
      (t) => {
        const y = stack.call(t);
        return [y, ...gradients(loss(y), [t, ...stack.weights.map((w) => w.tensor)])];
      },
      { training: true },
    );
    const separate = compile(
      (t) => {
        const y = singles.reduce((h, l) => l.call(h), t);
        return [y, ...gradients(loss(y), [t, ...singles.flatMap((l) => l.weights.map((w) => w.tensor))])];
      },
      { training: true },
    );
    const [got, want] = [await Promise.all((await stacked(x)).map(elements)), await Promise.all((await separate(x)).map(elements))];
    close(got[0], want[0], 1e-5, "output");
    close(got[1], want[1], 1e-6, "gradient of x");
    const count = stack.weights.length;
    for (let j = 0; j < count; j++)
      close(
        got[2 + j],
        [0, 1, 2].flatMap((k) => want[2 + k * count + j]),
        1e-6,
        stack.weights[j].name,
      );
  });
}

test("a hundred layers compile as two do", async () => {
  const lines = async (count) => {
    const stack = layerStack(block(), count);
    const step = compile(
      (t) =>
        gradients(
          mean(stack.call(t)),
          stack.weights.map((w) => w.tensor),
        ),
      { training: true },
    );
    await compile((t) => stack.call(t))(x);
    return (await step.print(x)).split("\n").length;
  };
  assert.is(await lines(100), await lines(2));
});

test("each layer begins with weights of its own, and drops others", async () => {
  const net = sequential([layerStack(dense(4), 5)], { inputShape: [4], seed: 3 });
  const [kernel] = net.layers[0].weights;
  assert.equal(kernel.tensor.shape, [5, 4, 4]);
  const rows = await elements(kernel.tensor);
  assert.is(new Set(rows).size, rows.length);
  const drops = layerStack(dropout(0.5), 2);
  const many = tensor(new Float32Array(4000).fill(1), [4000]);
  const y = await elements(await compile((t) => drops.call(t), { training: true })(many));
  const share = y.filter((v) => v !== 0).length / y.length;
  assert.ok(Math.abs(share - 0.25) < 0.05, `two layers that keep half keep a quarter, got ${share}`);
});

test("trains, is saved and comes back", async () => {
  const net = sequential([dense(8), layerStack(dense(8, { activation: "tanh" }), 3), dense(1)], { inputShape: [4], seed: 1 });
  await net.compile({ loss: "meanSquaredError", optimizer: "adam" });
  const [inputs, targets] = [
    tensor(
      Float32Array.from({ length: 256 }, (_, i) => Math.sin(3 * i)),
      [64, 4],
    ),
    tensor(
      Float32Array.from({ length: 64 }, (_, i) => Math.sin(12 * i)),
      [64, 1],
    ),
  ];
  const { loss } = (await net.fit(inputs, targets, { epochs: 120, verbose: 0, seed: 1 })).history;
  assert.ok(loss.at(-1) < 0.5 * loss[0], `${loss[0]} to ${loss.at(-1)}`);
  const again = await loadModel(await net.toBytes());
  assert.equal(await elements(await again.predict(inputs)), await elements(await net.predict(inputs)));
  assert.is(again.layers[1].kind, "layerStack");
});

test("text is generated as by layers one after another", async () => {
  const net = sequential([tokenAndPositionEmbedding(11, 20, 8), layerStack(block(), 3), dense(11)], { inputShape: [null], seed: 5 });
  const tokens = [3, 1, 4, 1, 5];
  for await (const token of generate(net, tokens, { maxTokens: 10, temperature: 0 })) {
    // What the whole text, read at once, says comes next.
    const logits = await elements(await net.predict(tensor([tokens])));
    const last = logits.slice(-11);
    assert.is(token, last.indexOf(Math.max(...last)));
    tokens.push(token);
  }
  assert.is(tokens.length, 15);
});

test("a model as the layer: in a row, a function, with dimensions of any size; trained, saved and loaded", async () => {
  const make = () => sequential([dense(8, { activation: "relu" }), layerNorm(), dense(4)]);
  const net = sequential([layerStack(make(), 3)], { inputShape: [4], seed: 2 });
  assert.equal(
    net.weights.map((w) => `${w.name} ${w.tensor.shape}`),
    ["dense/kernel 3,4,8", "dense/bias 3,8", "layerNorm/gamma 3,8", "layerNorm/beta 3,8", "dense_1/kernel 3,8,4", "dense_1/bias 3,4"],
  );
  const inputs = tensor(await x.data(), [6, 4]);
  const singles = [0, 1, 2].map(() => sequential([make()], { inputShape: [4] }));
  for (const [k, single] of singles.entries()) await copyRow(net, single, k);
  let expected = inputs;
  for (const single of singles) expected = await single.predict(expected);
  close(await elements(await net.predict(inputs)), await elements(expected), 1e-6, "output");
  await net.compile({ loss: "meanSquaredError", optimizer: "adam" });
  const { loss } = (await net.fit(inputs, inputs, { epochs: 100, verbose: 0 })).history;
  assert.ok(loss.at(-1) < 0.2 * loss[0], `${loss[0]} to ${loss.at(-1)}`);
  const again = await loadModel(await net.toBytes());
  assert.equal(await elements(await again.predict(inputs)), await elements(await net.predict(inputs)));
  const [first, second] = [dense(4), dense(4)];
  const residual = model((t) => add(t, second.call(relu(first.call(t)))));
  const open = sequential([layerStack(residual, 2)], { inputShape: [null, 4] });
  assert.equal(open.outputShape, [null, 4]);
  for (const time of [3, 5]) assert.equal((await open.predict(zeros([2, time, 4]))).shape, [2, time, 4]);
});

test("a stack in a stack: all layers have weights of their own", async () => {
  const net = sequential([layerStack(layerStack(dense(4), 2), 3)], { inputShape: [4], seed: 1 });
  const [kernels, biases] = net.weights.map((w) => w.tensor);
  assert.equal([kernels.shape, biases.shape], [[3, 2, 4, 4], [3, 2, 4]]);
  const rows = await elements(kernels);
  assert.is(new Set(rows).size, rows.length);
  const inputs = tensor(await x.data(), [6, 4]);
  let expected = inputs;
  for (let k = 0; k < 6; k++) {
    const single = sequential([dense(4, { useBias: false })], { inputShape: [4] });
    single.weights[0].tensor.set(Float32Array.from(rows.slice(16 * k, 16 * k + 16)));
    expected = await single.predict(expected);
  }
  close(await elements(await net.predict(inputs)), await elements(expected), 1e-6, "output");
});

test("mistakes", async () => {
  assert.throws(() => layerStack(3, 2), /layerStack: expected a layer, .*, got number/);
  assert.throws(() => layerStack({ call: (t) => t }, 2), /layerStack: expected a layer/);
  assert.throws(
    () => layerStack(sequential([dense(4)], { inputShape: [4] }), 2),
    /model "model" has weights of one layer; give a new one, without inputShape/,
  );
  assert.throws(() => layerStack(dense(4), 0), /layerStack: count/);
  const built = dense(4);
  await compile((t) => built.call(t))(tensor([[1, 2]]));
  assert.throws(() => layerStack(built, 2), /has weights of one layer/);
  const refused = async (l, options, message) =>
    compile(
      (t) => l.call(t),
      options,
    )(tensor([[1, 2]])).then(
      () => assert.unreachable("no error"),
      (error) => assert.match(error.message, message),
    );
  await refused(layerStack(dense(3), 2), {}, /was given f32\[1, 2\] and gave f32\[1, 3\]/);
  const message = /layer "batchNorm": what it keeps .* cannot be moved on in a layerStack.*such as layerNorm.*trainable = false/;
  await refused(layerStack(batchNorm(), 2), { training: true }, message);
  const frozen = layerStack(batchNorm(), 2);
  frozen.trainable = false;
  const [y] = await compile((t) => [frozen.call(t)], { training: true })(tensor([[1, 2]]));
  close(await elements(y), [1 / 1.001, 2 / 1.001], 1e-6, "as in inference");
});

test.run();

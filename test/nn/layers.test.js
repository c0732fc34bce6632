/** @file Layers beyond the conformance cases: errors, names, configs, dropout, adapt, loops of steps against kernel recurrences. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile } from "../../build/esm/compile.js";
import { ArgumentError, DataError, LockstepError, ShapeError } from "../../build/esm/errors.js";
import { dot } from "../../build/esm/dual.js";
import { valueAndGrad } from "../../build/esm/grad.js";
import { Graph, trace } from "../../build/esm/graph.js";
import { open } from "../../build/esm/init.js";
import * as nn from "../../build/esm/nn/index.js";
import { withContext } from "../../build/esm/nn/layer.js";
import { maskOf } from "../../build/esm/nn/masks.js";
import { withMode } from "../../build/esm/mode.js";
import { mul, tanh, sigmoid } from "../../build/esm/ops/map.js";
import { sum } from "../../build/esm/ops/reduce.js";
import { tensor, zeros } from "../../build/esm/tensor.js";

const wasm = await open("wasm");
test.after(() => wasm.close());

/** Numbers in [-1, 1] that differ. */
const values = (...shape) => {
  const size = shape.reduce((a, b) => a * b, 1);
  return tensor(
    Float32Array.from({ length: size }, (_, i) => ((i * 37 + 11) % 101) / 50 - 1),
    shape,
  );
};
const contextOf = (options = {}) => {
  let stream = 0;
  return { seed: 7, nextStream: () => stream++, called: () => {}, ...options };
};
/** `fn` as part of a function that trains or does not, with a random key or none. */
const inMode = (training, key, fn) => withMode({ training, key: key && (() => key) }, () => withContext(contextOf(), fn));
const build = (layer, ...inputs) => {
  const graph = new Graph();
  return trace(graph, () => withContext(contextOf(), () => layer.call(...inputs.map((t) => t && graph.input(t)))));
};
const throws = (fn, type, pattern) =>
  assert.throws(fn, (error) => {
    assert.instance(error, type);
    assert.match(error.message, pattern);
    return true;
  });
const near = (a, b, tolerance, what) => {
  assert.is(a.length, b.length, what);
  for (let i = 0; i < a.length; i++)
    if (!(Math.abs(a[i] - b[i]) <= tolerance)) throw new Error(`${what}: element ${i} is ${a[i]}, expected ${b[i]}`);
};

test("an unknown option is refused with the list of known ones", () => {
  throws(
    () => nn.dense(3, { actvation: "relu" }),
    ArgumentError,
    /dense: unknown option "actvation"; did you mean "activation"\? known: .*activation, useBias/,
  );
  throws(() => nn.lstm(3, { resetAfter: true }), ArgumentError, /lstm: unknown option "resetAfter"/);
  throws(() => nn.conv2d(3, 3, { stride: 2 }), ArgumentError, /strides/);
  throws(() => nn.dense(3, "relu"), ArgumentError, /dense: expected an object of options/);
  assert.is(nn.dense(3, { activation: undefined }).config.activation, null);
});

test("what is no description of a layer is refused, and so is what is no tensor when it is called", () => {
  for (const [given, said] of [
    [undefined, "undefined"],
    [null, "null"],
    [Promise.resolve({}), "await it"],
    [{}, "object"],
    [{ kind: "own", config: {} }, "kind, config"],
    ["dense", '"dense"'],
  ]) {
    throws(() => nn.layer(given), ArgumentError, new RegExp(`layer: expected \\{ kind.*got .*${said}`));
  }
  const own = () => nn.layer({ kind: "own", config: {}, call: (x) => x });
  const wrong = [
    [Promise.resolve(zeros([1, 2, 3])), "await it"],
    [[[1]], "an array"],
    [3, "number"],
    [new Float32Array(2), "Float32Array"],
  ];
  for (const make of [own, () => nn.dense(2), () => nn.lstm(2), () => nn.merge.add()]) {
    for (const [given, said] of [...wrong, [null, "null"], [undefined, "undefined"]])
      throws(() => make().call(given), ArgumentError, new RegExp(`layer "\\w+": expected a tensor, got .*${said}`));
    // Behind the first, null is a tensor that is left out, and an object with no tensor's place in it are options.
    for (const [given, said] of wrong.slice(0, 3)) {
      for (const more of [[given], [given, null], [null, given, { training: false }]])
        throws(() => make().call(zeros([1, 2, 3]), ...more), ArgumentError, new RegExp(`expected a tensor, got .*${said}`));
    }
  }
});

test("bad arguments are refused when the layer is made", () => {
  for (const norm of [nn.layerNorm({ axis: 0 }), nn.rmsNorm({ axis: [0, 1] }), nn.batchNorm({ axis: -2 })])
    throws(() => norm.call(zeros([3, 2])), ArgumentError, /axis 0 is the batch; give dimensions of a sample/);
  for (const units of [0, -1, 2.5, "3", undefined]) throws(() => nn.dense(units), ArgumentError, /dense: units must be an integer >= 1/);
  throws(
    () => nn.dense(3, { activation: "rleu" }),
    ArgumentError,
    /dense: unknown activation "rleu"; did you mean "relu"\? known: linear, relu/,
  );
  throws(() => nn.lstm(3, { recurrentActivation: "sigmod" }), ArgumentError, /lstm: recurrentActivation: unknown activation/);
  throws(() => nn.dense(3, { kernelInitializer: "glorot" }), ArgumentError, /dense: initializer: .*glorotUniform/);
  throws(() => nn.dense(3, { kernelRegularizer: "l3" }), ArgumentError, /dense: regularizer: .*"l2"/);
  throws(() => nn.conv2d(3, 3, { padding: "full" }), ArgumentError, /conv2d: padding must be one of "valid", "same"/);
  throws(() => nn.conv2d(3, [3]), ArgumentError, /conv2d: kernelSize/);
  throws(() => nn.conv2d(3, 3, { groups: 2 }), ArgumentError, /multiple of groups/);
  throws(() => nn.maxPool2d(0), ArgumentError, /maxPool2d: poolSize/);
  throws(() => nn.dropout(1.5), ArgumentError, /dropout: rate must be a number in \[0, 1\]/);
  throws(() => nn.dropout(NaN), ArgumentError, /rate/);
  throws(() => nn.embedding(0, 3), ArgumentError, /embedding: inputDim/);
  throws(() => nn.reshape([-1, -1]), ArgumentError, /reshape: .*at most one -1/);
  throws(() => nn.permute([0, 1]), ArgumentError, /permute/);
  throws(() => nn.batchNorm({ momentum: 2 }), ArgumentError, /momentum/);
  throws(() => nn.bidirectional(nn.dense(3)), ArgumentError, /bidirectional: expected a recurrent layer/);
  throws(() => nn.bidirectional(nn.gru(3), { mergeMode: "avg" }), ArgumentError, /mergeMode must be one of "concat"/);
  throws(() => nn.normalization({ mean: 1 }), ArgumentError, /together/);
});

test("shapes that do not fit are refused with the layer's name", () => {
  const head = nn.dense(3, { name: "head" });
  throws(() => build(head, values(4)), ShapeError, /^layer "head": expected \[batch, \.\.\., features\], got \[4\]/);
  assert.is(head.weights.length, 0);
  build(head, values(2, 5));
  throws(() => build(head, values(2, 6)), ShapeError, /^layer "head": its weights were made for 5 features/);
  throws(() => build(nn.conv2d(2, 3), values(2, 5, 5)), ShapeError, /^layer "conv2d": expected \[batch, height, width, channels\]/);
  throws(() => build(nn.conv2d(2, 3), values(2, 2, 2, 1)), ShapeError, /^layer "conv2d": conv2d: a window of 3x3 does not fit/);
  throws(() => build(nn.conv2d(4, 1, { groups: 2 }), values(1, 2, 2, 3)), ShapeError, /3 channels cannot be split/);
  throws(() => build(nn.lstm(2), values(2, 3)), ShapeError, /^layer "lstm": expected \[batch, time, features\]/);
  throws(() => build(nn.lstm(2), values(2, 0, 3)), ShapeError, /at least one step/);
  throws(() => build(nn.lstm(2), values(2, 3, 1), values(2, 3)), ShapeError, /expected initial states \[2, 2\]/);
  throws(() => build(nn.gru(2), values(2, 3, 1), null, values(2, 2)), ShapeError, /expected a mask \[2, 3\]/);
  throws(() => build(nn.reshape([5]), values(2, 6)), ShapeError, /has 6 elements and cannot become \[5\]/);
  throws(() => build(nn.cropping2d(2), values(1, 4, 5, 1)), ShapeError, /leaves nothing/);
  throws(() => build(nn.groupNorm(3), values(2, 4)), ShapeError, /groups/);
  throws(() => build(nn.merge.add(), values(2, 3), values(2, 4)), ShapeError, /^layer "add":.*do not broadcast/);
  throws(() => build(nn.merge.subtract(), values(2, 3)), ArgumentError, /^layer "subtract": expected 2 tensors, got 1/);
  throws(() => nn.dense(3).call([1, 2]), ArgumentError, /^layer "dense": expected a tensor, got an array/);
});

test("weights have Keras' names, shapes and first values", () => {
  const shapesOf = (layer, input) => {
    build(layer, input);
    return Object.fromEntries(layer.weights.map((w) => [w.name, w.tensor.shape]));
  };
  assert.equal(shapesOf(nn.dense(3), values(2, 4)), { kernel: [4, 3], bias: [3] });
  assert.equal(shapesOf(nn.conv1d(4, 3), values(2, 7, 2)), { kernel: [3, 2, 4], bias: [4] });
  assert.equal(shapesOf(nn.separableConv2d(4, 3, { useBias: false }), values(2, 7, 7, 2)), {
    depthwiseKernel: [3, 3, 2, 1],
    pointwiseKernel: [1, 1, 2, 4],
  });
  assert.equal(shapesOf(nn.gru(2), values(2, 7, 3)), { kernel: [3, 6], recurrentKernel: [2, 6], bias: [2, 6] });
  assert.equal(shapesOf(nn.batchNorm(), values(2, 3)), { gamma: [3], beta: [3], movingMean: [3], movingVariance: [3] });
  assert.equal(Object.keys(shapesOf(nn.bidirectional(nn.simpleRnn(2)), values(2, 7, 3))), [
    "forwardKernel",
    "forwardRecurrentKernel",
    "forwardBias",
    "backwardKernel",
    "backwardRecurrentKernel",
    "backwardBias",
  ]);
  assert.equal(shapesOf(nn.timeDistributed(nn.dense(5)), values(2, 7, 3)), { kernel: [3, 5], bias: [5] });
  const lstm = nn.lstm(2);
  build(lstm, values(1, 3, 2));
  assert.equal([...lstm.weights[2].tensor.host], [0, 0, 1, 1, 0, 0, 0, 0]);
  const bn = nn.batchNorm();
  build(bn, values(4, 1));
  assert.equal(
    bn.weights.map((w) => [w.tensor.host[0], w.trainable]),
    [[1, true], [0, true], [0, false], [1, false]],
  );
});

test("weights depend on the seed and their number only", () => {
  const first = (seed) => {
    const layer = nn.dense(8);
    trace(new Graph(), () => withContext(contextOf({ seed }), () => layer.call(values(2, 4))));
    return [...layer.weights[0].tensor.host];
  };
  assert.equal(first(1), first(1));
  assert.not.equal(first(1), first(2));
});

test("a model is told of each layer once, not of the parts of one", () => {
  const told = [];
  const context = contextOf({ called: (layer) => told.push(layer.kind) });
  trace(new Graph(), () => withContext(context, () => nn.bidirectional(nn.lstm(2)).call(values(2, 3, 4))));
  trace(new Graph(), () => withContext(context, () => nn.timeDistributed(nn.dense(2)).call(values(2, 3, 4))));
  assert.equal(told, ["bidirectional", "timeDistributed"]);
});

const key = (...words) => tensor(Uint32Array.of(...words, 0, 0, 0, 0).slice(0, 4), [4]);

test("dropout keeps the mean, repeats with its key, and is nothing in inference", async () => {
  const x = tensor(new Float32Array(40000).fill(1), [200, 200]);
  const run = (rate, training, k) => {
    const layer = nn.dropout(rate);
    return compile((t, kt) => inMode(training, kt, () => layer.call(t)))(x, k).then((y) => y.data());
  };
  const a = await run(0.25, true, key(1, 2, 3));
  const kept = a.filter((v) => v !== 0);
  assert.ok(kept.every((v) => Math.abs(v - 1 / 0.75) < 1e-6));
  // 5 standard deviations of a binomial share
  assert.ok(Math.abs(kept.length / x.size - 0.75) < 5 * Math.sqrt((0.75 * 0.25) / x.size), `kept ${kept.length}`);
  assert.equal(await run(0.25, true, key(1, 2, 3)), a);
  assert.not.equal(await run(0.25, true, key(1, 2, 4)), a);
  assert.equal(await run(0.25, false, key(1, 2, 3)), await x.data());
  assert.equal(await run(0, true, key(1, 2, 3)), await x.data());
  assert.ok((await run(1, true, key(1, 2, 3))).every((v) => v === 0));
});

test("two dropout layers of one step draw different elements, and the gradient has the same ones as the output", async () => {
  const [first, second] = [nn.dropout(0.5), nn.dropout(0.5)];
  const x = tensor(new Float32Array(256).fill(1), [256]);
  const [a, b, dx] = await compile((t, k) =>
    inMode(true, k, () => {
      let y;
      const { grads } = valueAndGrad(() => sum((y = first.call(t))), [t])();
      return [y, second.call(t), grads[0]];
    }),
  )(x, key(5));
  assert.not.equal(await a.data(), await b.data());
  assert.equal(await a.data(), await dx.data());
});

test("dropout in training needs a key", () => {
  throws(
    () => inMode(true, null, () => trace(new Graph(), () => nn.dropout(0.5).call(values(2, 2)))),
    LockstepError,
    /^layer "dropout": .*key/,
  );
});

const tanhOf = (x) => tanh(x);
const sigmoidOf = (x) => sigmoid(x);
const recurrences = {
  lstm: [(o) => nn.lstm(4, o), 2, { recurrentActivation: sigmoidOf }],
  gru: [(o) => nn.gru(4, o), 1, { recurrentActivation: sigmoidOf }],
  gruResetBefore: [(o) => nn.gru(4, { ...o, resetAfter: false }), 1, { recurrentActivation: sigmoidOf }],
  simpleRnn: [(o) => nn.simpleRnn(4, o), 1, {}],
};
for (const [name, [make, stateCount, gates]] of Object.entries(recurrences)) {
  for (const options of [{}, { returnSequences: true, goBackwards: true }, { returnSequences: true }]) {
    for (const masked of [false, true]) {
      test(`${name} ${JSON.stringify(options)}${masked ? " masked" : ""}: steps in a loop equal the kernel's`, async () => {
        const x = values(3, 5, 2);
        const states = Array.from({ length: stateCount }, (_, k) =>
          values(3, 4 + k)
            .data()
            .then((d) => tensor(d.slice(k, k + 12), [3, 4])),
        );
        const mask = masked ? tensor([[0, 1, 1, 0, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], undefined, "i32") : null;
        const results = [];
        const inputs = [x, ...(await Promise.all(states))];
        let weights = null;
        for (const extra of [{}, { activation: tanhOf, ...gates }]) {
          const layer = make({ ...options, ...extra });
          build(layer, ...inputs, mask);
          if (weights !== null) layer.weights.forEach((w, i) => w.tensor.set(weights[i].tensor.host));
          weights = layer.weights;
          const step = compile((xs) => {
            let all;
            const { grads } = valueAndGrad(() => {
              const { output, states: last } = layer.callWithStates(...xs, mask);
              all = [output, ...last];
              return sum(mul(output, output));
            }, [...xs, ...layer.weights.map((w) => w.tensor)])();
            return [...all, ...grads];
          });
          results.push(await Promise.all((await step(inputs)).map((t) => t.data())));
        }
        results[0].forEach((kernel, i) => near(results[1][i], kernel, 2e-5, `result ${i}`));
      });
    }
  }
}

test("dropout of a recurrent layer drops the same features at every step, and state without loss of the mean", async () => {
  const plain = nn.simpleRnn(1, {
    activation: "linear",
    kernelInitializer: "ones",
    recurrentInitializer: "zeros",
    returnSequences: true,
    dropout: 0.5,
  });
  const x = tensor(new Float32Array(64 * 3 * 2).fill(1), [64, 3, 2]);
  const run = (layer, training, k) => compile((t, kt) => inMode(training, kt, () => layer.call(t)))(x, k).then((y) => y.array());
  const y = await run(plain, true, key(3));
  assert.ok(y.every((steps) => steps.every(([v]) => v === steps[0][0] && [0, 2, 4].includes(v))));
  assert.equal(new Set(y.flat(2)).size, 3);
  assert.ok((await run(plain, false, key(3))).flat(2).every((v) => v === 2));

  const state = nn.simpleRnn(1, {
    activation: "linear",
    kernelInitializer: "zeros",
    recurrentInitializer: "ones",
    biasInitializer: "ones",
    returnSequences: true,
    recurrentDropout: 0.5,
  });
  const z = await run(state, true, key(3));
  assert.equal([...new Set(z.map((steps) => steps.flat().join()))].sort(), ["1,1,1", "1,3,7"]);
  assert.equal((await run(state, false, key(3)))[0].flat(), [1, 2, 3]);
  throws(() => nn.lstm(2, { dropout: -1 }), ArgumentError, /lstm: dropout must be a number in \[0, 1\]/);
});

test("a masked step before the first one read gives zeros, and the state stays the initial one", async () => {
  const layer = nn.gru(2, { returnSequences: true });
  const [x, h0] = [values(1, 3, 2), tensor([[0.5, -0.5]])];
  const mask = tensor([[0, 1, 0]], undefined, "i32");
  const [y, state] = await compile((a, b) => {
    const { output, states } = layer.callWithStates(a, b, mask);
    return [output, states[0]];
  })(x, h0);
  const data = await y.data();
  assert.equal([...data.slice(0, 2)], [0, 0]);
  assert.equal([...data.slice(4, 6)], [...data.slice(2, 4)]);
  assert.equal([...(await state.data())], [...data.slice(4, 6)]);
});

test("any activation works in a recurrent layer", async () => {
  for (const activation of ["gelu", "silu", "mish", "softmax"]) {
    const layer = nn.lstm(3, { activation, recurrentActivation: "hardSigmoid" });
    const y = await compile((x) => layer.call(x))(values(2, 4, 3));
    assert.equal(y.shape, [2, 3]);
    assert.ok((await y.data()).every(Number.isFinite));
  }
});

test("normalization: adapt takes mean and variance in double precision", async () => {
  const rows = Array.from({ length: 1000 }, (_, i) => [100000 + (i % 2), i / 1000, 5]);
  const layer = nn.normalization();
  await layer.adapt(Float64Array.from(rows.flat()), [1000, 3]);
  near(layer.config.mean, [100000.5, 0.4995, 5], 1e-9, "mean");
  near(layer.config.variance, [0.25, (1000 * 1000 - 1) / 12 / 1e6, 0], 1e-9, "variance");
  const y = await compile((x) => layer.call(x))(tensor([[100001, 0.4995, 5]]));
  near(await y.data(), [1, 0, 0], 1e-6, "output");
  assert.equal(
    layer.weights.map((w) => [w.name, w.trainable]),
    [["mean", false], ["variance", false]],
  );
});

test("normalization: adapt before or after the first use, from tensors, arrays and typed arrays, over any axes", async () => {
  const data = [[1, 10], [3, 30]];
  const outputs = [];
  for (const given of [[data], [tensor(data)], [Float32Array.from(data.flat()), [2, 2]], [Int32Array.from(data.flat()), [2, 2]]]) {
    const layer = nn.normalization();
    await layer.adapt(...given);
    outputs.push(await (await compile((x) => layer.call(x))(tensor(data))).array());
  }
  for (const y of outputs) assert.equal(y, [[-1, -1], [1, 1]]);

  const layer = nn.normalization({ mean: 0, variance: 1 });
  const run = compile((x) => layer.call(x));
  assert.equal(await (await run(tensor(data))).array(), data);
  await layer.adapt(data);
  assert.equal(await (await run(tensor(data))).array(), [[-1, -1], [1, 1]]);

  const all = nn.normalization({ axis: null });
  await all.adapt([[1, 1], [3, 3]]);
  assert.equal(await (await compile((x) => all.call(x))(tensor([[1, 3]]))).array(), [[-1, 1]]);
  const both = nn.normalization({ axis: [1, 2] });
  await both.adapt([[[1, 2], [3, 4]], [[3, 4], [5, 6]]]);
  assert.equal(both.config.mean, [2, 3, 4, 5]);
  const middle = nn.normalization({ axis: 1 });
  await middle.adapt([[[1, 3], [10, 30]]]);
  assert.equal(middle.config.mean, [2, 20]);
  assert.equal(await (await compile((x) => middle.call(x))(tensor([[[3, 3, 1], [10, 30, 20]]]))).array(), [[[1, 1, -1], [-1, 1, 0]]]);
});

test("normalization says what is missing", async () => {
  throws(() => build(nn.normalization({ name: "scale" }), values(2, 3)), LockstepError, /^layer "scale": .*adapt\(data\)/);
  const rejects = async (promise, type, pattern) => {
    const error = await promise.then(
      () => null,
      (e) => e,
    );
    assert.instance(error, type);
    assert.match(error.message, pattern);
  };
  await rejects(nn.normalization().adapt([[1], [NaN]]), DataError, /finite/);
  await rejects(nn.normalization().adapt(new Float32Array(0), [0, 3]), DataError, /at least one sample/);
  await rejects(nn.normalization({ axis: 0 }).adapt([[1]]), ArgumentError, /axis 0 is the batch/);
  const layer = nn.normalization();
  await layer.adapt([[1, 2]]);
  throws(() => build(layer, values(2, 3)), ShapeError, /mean and variance of 2 features, got inputs of 3/);
  build(layer, values(2, 2));
  await rejects(layer.adapt([[1, 2, 3]]), ShapeError, /in use for features \[2\]/);
});

test("a layer comes back from its config as JSON", async () => {
  const images = values(2, 6, 6, 4);
  const series = values(2, 6, 4);
  const rows = values(2, 4);
  const indices = tensor([[1, 2], [0, 3]], undefined, "i32");
  const made = [
    [nn.dense(3, { activation: "gelu", kernelRegularizer: nn.l2(0.1), name: "d" }), rows],
    [nn.conv2d(4, [3, 2], { padding: "same", groups: 2, activation: "relu" }), images],
    [nn.conv1d(3, 2, { padding: "causal" }), series],
    [nn.depthwiseConv2d(3, { depthMultiplier: 2 }), images],
    [nn.separableConv2d(3, 3), images],
    [nn.conv2dTranspose(3, 3, { strides: 2 }), images],
    [nn.conv1dTranspose(3, 3), series],
    [nn.maxPool2d([2, 3]), images],
    [nn.avgPool2d(2, { strides: 1 }), images],
    [nn.maxPool1d(3), series],
    [nn.avgPool1d(), series],
    [nn.globalAvgPool2d(), images],
    [nn.globalMaxPool2d({ keepDims: true }), images],
    [nn.globalAvgPool1d(), series],
    [nn.globalMaxPool1d(), series],
    [nn.flatten(), images],
    [nn.reshape([2, -1]), rows],
    [nn.permute([2, 1]), series],
    [nn.repeatVector(3), rows],
    [nn.dropout(0.5), rows],
    [nn.activation("mish"), rows],
    [nn.zeroPadding2d([[1, 2], [0, 3]]), images],
    [nn.cropping2d([1, 2]), images],
    [nn.upSampling2d(2, { interpolation: "bilinear" }), images],
    [nn.relu({ maxValue: 0.5, negativeSlope: 0.1, threshold: 0.2 }), rows],
    [nn.leakyRelu(), rows],
    [nn.elu({ alpha: 2 }), rows],
    [nn.prelu({ sharedAxes: [1, 2] }), images],
    [nn.softmax({ axis: 1 }), series],
    [nn.embedding(5, 3), indices],
    [nn.lstm(3, { activation: "relu", unitForgetBias: false }), series],
    [nn.gru(3, { resetAfter: false }), series],
    [nn.simpleRnn(3, { goBackwards: true }), series],
    [nn.bidirectional(nn.gru(2, { returnSequences: true }), { mergeMode: "ave" }), series],
    [nn.timeDistributed(nn.dense(2)), series],
    [nn.normalization({ mean: [1, 2, 3, 4], variance: 2 }), rows],
    [nn.batchNorm({ scale: false, axis: 1 }), images],
    [nn.layerNorm({ axis: [1, 2] }), series],
    [nn.rmsNorm(), rows],
    [nn.unitNormalization({ axis: [1, 2] }), images],
    [nn.upSampling1d(3), series],
    [nn.groupNorm(2), images],
    [nn.attention({ useScale: true, scoreMode: "concat" }), series],
    [nn.multiHeadAttention(2, 3, { valueDim: 2, outputShape: [3], useGate: true, queryKeyNorm: 1e-6 }), series],
    [nn.groupedQueryAttention(2, 4, 2, { useBias: false, slidingWindow: 2, rotary: { neighbours: true } }), series],
    [nn.positionEmbedding(8), series],
    [nn.rotaryEmbedding({ rotaryDim: 2 }), series],
    [nn.sinePositionEncoding({ maxWavelength: 100 }), series],
    [nn.tokenAndPositionEmbedding(5, 4, 3, { maskZero: true }), indices],
    [nn.swiglu(3), rows],
    [nn.geglu(3, { approximate: true, outputDim: 2, useBias: true }), rows],
    [nn.transformerEncoder(8, 2, { normalizeFirst: true }), series],
    [nn.transformerDecoder(8, 2, { activation: "gelu" }), series],
    [nn.transformerDecoder(8, 2), series, series],
    [nn.merge.concatenate({ axis: 1 }), rows],
    [nn.merge.add(), rows, rows],
    [nn.merge.multiply(), rows, rows],
    [nn.merge.average(), rows, rows],
    [nn.merge.maximum(), rows, rows],
    [nn.merge.minimum(), rows, rows],
  ];
  for (const [layer, ...inputs] of made) {
    const again = nn.layerFromConfig(layer.kind, JSON.parse(JSON.stringify(layer.config)));
    build(layer, ...inputs);
    build(again, ...inputs);
    assert.equal(again.config, JSON.parse(JSON.stringify(layer.config)), layer.kind);
    assert.is(again.name, layer.name);
    layer.weights.forEach((w, i) => again.weights[i].tensor.set(w.tensor.host));
    const [a, b] = await compile((xs) => [layer.call(...xs), again.call(...xs)])(inputs);
    assert.equal(await a.data(), await b.data(), layer.kind);
  }
  throws(() => nn.layerFromConfig("denes", {}), ArgumentError, /kind of layer: unknown "denes"; did you mean "dense"\? known: dense/);
});

test("a function in a config is marked, with its name where it has one, and does not come back by itself", () => {
  const { config } = nn.dense(2, {
    activation: tanhOf,
    kernelRegularizer: (w) => sum(w),
    kernelInitializer: (shape) => new Float32Array(shape[0] * shape[1]),
  });
  assert.equal(config.activation, { custom: true, name: "tanhOf" });
  assert.equal(config.kernelRegularizer, { custom: true });
  assert.not.ok("kernelInitializer" in config);
  throws(
    () => nn.layerFromConfig("dense", { units: 2, activation: { custom: true } }),
    ArgumentError,
    /a function was there when it was saved/,
  );
  throws(() => nn.layerFromConfig("dense", { units: 2, kernelRegularizer: { custom: true } }), ArgumentError, /regularizer/);
});

test("regularizers add up what Keras' do", async () => {
  const w = tensor([[1, -2], [3, 0]]);
  const valueOf = async (r) => (await compile((t) => r(t))(w)).item();
  near(
    [await valueOf(nn.l1(0.5)), await valueOf(nn.l2(0.5)), await valueOf(nn.l1l2(0.1, 0.01)), await valueOf(nn.l1l2())],
    [3, 7, 0.74, 0],
    1e-6,
    "penalty",
  );
  const layer = nn.dense(2, { kernelRegularizer: "l2" });
  build(layer, values(1, 2));
  assert.equal(layer.weights[0].regularizer.config, { l1: 0, l2: 0.01 });
  assert.is(layer.weights[1].regularizer, null);
  throws(() => nn.l2(-1), ArgumentError, />= 0/);
});

test("tensors that a layer would pass over are refused", () => {
  const x = values(2, 3);
  const steps = values(2, 4, 3);
  const one = [nn.dense(2), nn.batchNorm(), nn.flatten(), nn.dropout(0.5), nn.activation("relu"), nn.layerNorm(), nn.leakyRelu()];
  for (const layer of one) {
    throws(() => build(layer, x, x), ArgumentError, new RegExp(`layer "${layer.kind}": expected one tensor, got 2; .*concatenate`));
    assert.is(build(layer, x, null, undefined).shape[0], 2);
    const call = () => layer.call(zeros([2, 3]), null, { training: false });
    assert.is(trace(new Graph(), () => withContext(contextOf(), call)).shape[0], 2);
  }
  throws(() => build(nn.timeDistributed(nn.dense(2)), steps, x), ArgumentError, /"timeDistributed": expected one tensor/);
  throws(() => build(nn.softmax(), x, x, x), ArgumentError, /"softmax": expected at most 2 tensors, got 3/);
  throws(() => build(nn.lstm(3), steps, x, x, null, x), ArgumentError, /"lstm": expected at most 2 initial states and a mask, got 4/);
  throws(
    () => build(nn.bidirectional(nn.gru(3)), steps, x, x, null, x),
    ArgumentError,
    /"bidirectional": expected at most 2 initial states and a mask/,
  );
  const own = (inputs) =>
    nn.layer({ kind: "own", config: {}, inputs, call: (a, _weights, ...more) => [a, ...more].reduce((p, q) => mul(p, q)) });
  assert.equal(build(own(), x, x, x).shape, [2, 3]);
  throws(() => build(own(2), x, x, x), ArgumentError, /"own": expected at most 2 tensors, got 3/);
});

test("merge layers take several tensors and say when one is missing", async () => {
  const [a, b, c] = [values(2, 3), values(2, 3), tensor([[1, 2, 3]])];
  const y = await compile((xs) => nn.merge.add().call(...xs))([a, b, c]);
  near(
    await y.data(),
    (await a.data()).map((v, i) => 2 * v + 1 + (i % 3)),
    1e-6,
    "sum",
  );
  throws(() => build(nn.merge.add(), a, null), ArgumentError, /expected tensors, got null/);
});

test("batchNorm moves its averages in training only", async () => {
  const layer = nn.batchNorm({ momentum: 0.9 });
  const x = tensor([[1], [3]]);
  build(layer, x);
  const step = (training) => compile((t) => inMode(training, null, () => layer.call(t)))(x);
  await step(false);
  assert.equal([...(await layer.weights[2].tensor.data())], [0]);
  near(await (await step(true)).data(), [-1 / Math.sqrt(1.001), 1 / Math.sqrt(1.001)], 1e-6, "output");
  near([...(await layer.weights[2].tensor.data()), ...(await layer.weights[3].tensor.data())], [0.2, 1], 1e-6, "averages");
});

test("unitNormalization brings vectors to length 1 and leaves zeros, upSampling1d repeats steps", async () => {
  const x = tensor([[[3, 4], [0, 0]], [[0, -2], [5, 12]]]);
  const at = async (layer) => Array.from(await (await compile((t) => layer.call(t))(x)).data());
  near(await at(nn.unitNormalization()), [0.6, 0.8, 0, 0, 0, -1, 5 / 13, 12 / 13], 1e-6, "last axis");
  const whole = Math.sqrt(173);
  near(await at(nn.unitNormalization({ axis: [1, 2] })), [0.6, 0.8, 0, 0, 0, -2 / whole, 5 / whole, 12 / whole], 1e-6, "two axes");
  assert.equal(await at(nn.upSampling1d(2)), [3, 4, 3, 4, 0, 0, 0, 0, 0, -2, 0, -2, 5, 12, 5, 12]);
  throws(() => nn.upSampling1d(0), ArgumentError, /upSampling1d: size must be an integer >= 1/);
  throws(() => build(nn.upSampling1d(), values(2, 3)), ShapeError, /expected \[batch, time, channels\]/);
  throws(() => build(nn.unitNormalization({ axis: 3 }), values(2, 3)), Error, /axis/);
});

test("dot is an op of tensors and a layer of options, which is refused where sizes differ and hands on no mask", async () => {
  const [a, b] = [values(2, 3, 4), values(2, 5, 3)];
  const layer = dot({ axes: [1, 2] });
  const [x, y] = [await a.data(), await b.data()];
  const want = Array.from({ length: 2 * 4 * 5 }, (_, at) => {
    const [n, i, j] = [Math.floor(at / 20), Math.floor((at % 20) / 5), at % 5];
    return [0, 1, 2].reduce((sum, k) => sum + x[n * 12 + k * 4 + i] * y[n * 15 + j * 3 + k], 0);
  });
  const got = await compile((s, t) => layer.call(s, t))(a, b);
  assert.equal(got.shape, [2, 4, 5]);
  near(await got.data(), want, 1e-6, "dot");
  assert.is(await dot(tensor([1, 2]), tensor([3, 4])).item(), 11);
  throws(() => build(dot({ axes: 1 }), a, b), ShapeError, /expected inputs of one batch and of one size along axes \[1,1\]/);
  throws(() => dot({ axes: 0.5 }), ArgumentError, /dot: axes must be an integer/);
  // The cosine of short vectors, which count as if they were at least 1e-7 long.
  const cosine = await compile((s, t) => dot({ axes: 1, normalize: true }).call(s, t))(tensor([[3e-8, 0]]), tensor([[2, 0]]));
  near(await cosine.data(), [0.3], 1e-6, "cosine");
  build(
    {
      call: (s, t) => {
        const [one, other] = [s, t].map((z) => nn.masking().call(z));
        assert.is(maskOf(dot({ axes: 2 }).call(one, other)), null);
        return one;
      },
    },
    values(2, 3, 4),
    values(2, 3, 4),
  );
});

test.run();

/** @file rnn of cells beside the layers that compute the same, and cells of one's own beside loops in double precision. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as L from "../../build/esm/index.js";

const wasm = await L.open("wasm");
test.after(() => wasm.close());

const numbers = (shape, seed = 1) =>
  Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => (((i * 7 + seed) * 37) % 101) / 80 - 0.6);
const near = (got, want, most = 1e-5) => {
  assert.is(got.length, want.length);
  for (let i = 0; i < want.length; i++)
    assert.ok(Math.abs(got[i] - want[i]) <= most * Math.max(1, Math.abs(want[i])), `${i}: ${got[i]}, expected ${want[i]}`);
};
const SHAPE = [2, 4, 3];
const x = L.tensor(numbers(SHAPE), SHAPE);
const mask = L.tensor(
  [
    [0, 1, 1, 0],
    [1, 0, 1, 1],
  ],
  undefined,
  "i32",
);

/** Gives both layers the same weights. */
function alike(layer, other) {
  layer.weights.forEach(({ tensor }, i) => {
    tensor.set(numbers(tensor.shape, 20 + i));
    other.weights[i].tensor.set(tensor.host);
  });
  assert.equal(
    layer.weights.map(({ name, tensor }) => [name, tensor.shape]),
    other.weights.map(({ name, tensor }) => [name, tensor.shape]),
  );
}

/** Output, states and gradients of a layer, and of a weighted sum of its outputs. */
async function all(layer, more = []) {
  const tensors = layer.weights.map(({ tensor }) => tensor);
  const run = L.compile(
    (t) => {
      const { output, states } = layer.callWithStates(t, ...more);
      const dy = L.tensor(numbers(output.shape, 3), output.shape);
      return [output, ...states, ...L.gradients(L.sum(L.mul(output, dy)), [t, ...tensors])];
    },
    { training: false },
  );
  return Promise.all((await run(x)).map(async (t) => [t.shape, await t.data()]));
}

for (const [name, cell, layer, states] of [
  ["lstm", L.lstmCell, L.lstm, 2],
  ["gru", L.gruCell, L.gru, 1],
  ["simpleRnn", L.simpleRnnCell, L.simpleRnn, 1],
])
  for (const own of [{}, { activation: "relu", useBias: false }, ...(name === "gru" ? [{ resetAfter: false }] : [])])
    for (const how of [{}, { returnSequences: true }, { goBackwards: true }, { returnSequences: true, goBackwards: true }])
      for (const masks of [[], [mask]])
        test(`rnn of ${name}'s cell is ${name}: ${JSON.stringify({ ...own, ...how })}${masks.length > 0 ? ", masked" : ""}`, async () => {
          const [one, other] = [L.rnn(cell(5, own), how), layer(5, { ...own, ...how })];
          for (const l of [one, other]) l.call(x);
          alike(one, other);
          assert.is(one.stateCount, states);
          const given = Array.from({ length: states }, (_, i) => (masks.length > 0 ? null : L.tensor(numbers([2, 5], 60 + i), [2, 5])));
          const [got, want] = [await all(one, [...given, ...masks]), await all(other, [...given, ...masks])];
          for (const [i, [shape, data]] of want.entries()) {
            assert.equal(got[i][0], shape);
            near(got[i][1], data);
          }
        });

test("a mask with initial states: outputs are 0 until a step is read", async () => {
  const [one, other] = [L.rnn(L.gruCell(5), { returnSequences: true }), L.gru(5, { returnSequences: true })];
  for (const l of [one, other]) l.call(x);
  alike(one, other);
  const h = L.tensor(numbers([2, 5], 60), [2, 5]);
  near(await one.call(x, h, mask).data(), await other.call(x, h, mask).data());
});

test("stacked cells are layers one behind the other, in both directions too", async () => {
  const stack = L.rnn([L.lstmCell(4), L.gruCell(3)], { returnSequences: true });
  const [first, second] = [L.lstm(4, { returnSequences: true }), L.gru(3, { returnSequences: true })];
  stack.call(x);
  second.call(first.call(x));
  assert.equal(
    stack.weights.map((w) => w.name),
    ["cell0Kernel", "cell0RecurrentKernel", "cell0Bias", "cell1Kernel", "cell1RecurrentKernel", "cell1Bias"],
  );
  stack.weights.forEach(({ tensor }, i) => {
    tensor.set(numbers(tensor.shape, 20 + i));
    [...first.weights, ...second.weights][i].tensor.set(tensor.host);
  });
  assert.is(stack.stateCount, 3);
  const { output, states } = stack.callWithStates(x);
  const [a, b] = [first.callWithStates(x), second.callWithStates(first.call(x))];
  near(await output.data(), await b.output.data());
  for (const [i, s] of [...a.states, ...b.states].entries()) near(await states[i].data(), await s.data());
  const both = L.bidirectional(L.rnn([L.lstmCell(4), L.gruCell(3)], { returnSequences: true }));
  assert.equal(both.call(x).shape, [2, 4, 6]);
  assert.is(both.weights.length, 12);
  const [forward, backward] = both.layers;
  near(await both.call(x).data(), await L.concat([forward.call(x), L.flip(backward.call(x), 1)]).data());
});

/** h' = tanh(x kernel + decay h), y = [h', sum of h' over the steps so far]. */
const decay = (units, rate) =>
  L.rnnCell({
    kind: "decay",
    config: { units, rate },
    stateSizes: [units, units],
    outputSize: 2 * units,
    build: (shape, weight) => {
      weight("kernel", [shape.at(-1), units], { init: "glorotUniform" });
    },
    call: (t, { kernel }, h, sum) => {
      const next = L.tanh(L.add(L.matmul(t, kernel), L.mul(h, rate)));
      const total = L.add(sum, next);
      return { output: L.concat([next, total]), states: [next, total] };
    },
  });

test("a cell of one's own, its gradient, and a file with it", async () => {
  const model = L.sequential([L.rnn([decay(3, 0.5), L.gruCell(2)], { returnSequences: true }), L.rnn(decay(2, 0.25))], {
    inputShape: [4, 3],
    seed: 1,
  });
  model.setWeights(model.weights.map(({ tensor }, i) => numbers(tensor.shape, 40 + i)));
  const alone = L.rnn(decay(2, 0.5), { returnSequences: true });
  alone.call(x);
  alone.weights[0].tensor.set(numbers([3, 2], 9));
  const [data, kernel] = [[...numbers(SHAPE)], [...numbers([3, 2], 9)]];
  const run = (from, w) => {
    const out = [];
    for (let n = 0; n < 2; n++) {
      const [h, total] = [[0, 0], [0, 0]];
      for (let t = 0; t < 4; t++) {
        const z = h.map((v, u) => Math.tanh(0.5 * v + [0, 1, 2].reduce((sum, f) => sum + from[(n * 4 + t) * 3 + f] * w[f * 2 + u], 0)));
        z.forEach((v, u) => {
          h[u] = v;
          total[u] += v;
        });
        out.push(...h, ...total);
      }
    }
    return out;
  };
  const [[shape, y], , , [, dx], [, dw]] = await all(alone);
  assert.equal(shape, [2, 4, 4]);
  near(y, run(data, kernel));
  const dy = numbers(shape, 3);
  const loss = (from, w) => run(from, w).reduce((sum, v, i) => sum + v * dy[i], 0);
  const difference = (of, list, i) =>
    (of(Object.assign([...list], { [i]: list[i] + 1e-4 })) - of(Object.assign([...list], { [i]: list[i] - 1e-4 }))) / 2e-4;
  near(
    dx,
    data.map((_, i) => difference((from) => loss(from, kernel), data, i)),
    1e-4,
  );
  near(
    dw,
    kernel.map((_, i) => difference((w) => loss(data, w), kernel, i)),
    1e-4,
  );
  const { warn } = console;
  const said = [];
  console.warn = (text) => said.push(text);
  const bytes = await model.toBytes();
  console.warn = warn;
  assert.match(said.join(), /layers: \{ decay: \(config\) => \.\.\. \}/);
  const again = await L.loadModel(bytes, { layers: { ...L.extraLayers, decay: ({ units, rate }) => decay(units, rate) } });
  assert.equal(await (await again.predict(x)).data(), await (await model.predict(x)).data());
});

test("what cells drop is the same at every step", async () => {
  const ones = L.ones([3, 5, 4]);
  const layer = L.rnn([L.simpleRnnCell(6, { dropout: 0.5, activation: "linear" })], { returnSequences: true });
  layer.call(ones);
  layer.weights[1].tensor.set(new Float32Array(36));
  const y = await (await L.compile((t) => layer.call(t, { training: true }), { seed: 4 })(ones)).data();
  const still = await (await L.compile((t) => layer.call(t, { training: false }))(ones)).data();
  assert.not.equal(y, still);
  for (let n = 0; n < 3; n++) for (let i = 0; i < 6; i++) for (let t = 1; t < 5; t++) assert.is(y[(n * 5 + t) * 6 + i], y[n * 30 + i]);
  // A second layer drops other parts.
  const net = L.sequential([L.rnn(L.lstmCell(3, { dropout: 0.2, recurrentDropout: 0.2 })), L.dense(1)], { inputShape: [5, 4], seed: 1 });
  await net.compile({ loss: "mse", optimizer: L.adam({ learningRate: 0.05 }) });
  const { history } = await net.fit(ones, L.zeros([3, 1]), { epochs: 20, verbose: 0 });
  assert.ok(history.loss.at(-1) < history.loss[0] || history.loss[0] < 1e-3, history.loss.join());
});

test("a cell by itself takes one step, with zeros for states that are not given", async () => {
  const cell = L.lstmCell(4);
  const step = L.tensor(numbers([2, 3]), [2, 3]);
  const { output, states } = cell.callWithStates(step);
  assert.equal([cell.stateSizes, cell.outputSize, output.shape, states.length], [[4, 4], 4, [2, 4], 2]);
  const layer = L.lstm(4);
  layer.call(L.reshape(step, [2, 1, 3]));
  layer.weights.forEach(({ tensor }, i) => tensor.set(cell.weights[i].tensor.host));
  near(await output.data(), await layer.call(L.reshape(step, [2, 1, 3])).data());
  near(await cell.call(step, ...states).data(), await layer.call(L.stack([step, step], 1)).data());
});

test("what cells and their layer refuse", () => {
  for (const [make, message] of [
    [() => L.bidirectional(L.dense(1)), /bidirectional: expected a recurrent layer, such as lstm\(8\) or rnn\(cell\), got an object/],
    [() => L.timeDistributed("x"), /timeDistributed: expected a layer, such as dense\(10\), got "x"/],
    [() => L.rnn(L.lstm(3)), /rnn: expected a cell, such as lstmCell\(8\)/],
    [() => L.rnn([]), /stackedRnnCells: expected a list of cells/],
    [() => L.rnn([L.lstmCell(2), L.dense(2)]), /stackedRnnCells: expected a list of cells/],
    [() => ((c) => L.stackedRnnCells([c, c]))(L.gruCell(2)), /a cell stands in the list twice/],
    [() => L.rnn(L.gruCell(2), { stateful: true }), /rnn: stateful is no option of a layer/],
    [() => L.lstmCell(0), /lstmCell: units must be an integer >= 1, got 0/],
    [() => L.gruCell(2, { returnSequences: true }), /gruCell: unknown option "returnSequences"/],
    [() => L.rnn(L.gruCell(2)).call(L.ones([2, 3])), /expected \[batch, time, \.\.\.\], got \[2, 3\]/],
    [() => L.rnn(L.gruCell(2)).call(L.ones([2, 0, 3])), /expected at least one step/],
    [() => L.rnn(L.gruCell(2)).call(L.ones([2, 2, 3, 3])), /expected \[batch, features\], got \[2, 3, 3\]/],
    [() => L.rnn(L.gruCell(2)).call(x, L.ones([2, 3])), /expected states of \[2, 2\], got \[2, 3\]/],
    [() => L.rnn(L.gruCell(2)).call(x, null, L.ones([2, 3])), /expected a mask \[2, 4\], got \[2, 3\]/],
    [() => L.gruCell(2).call(L.ones([2, 3]), null, null), /expected at most 1 states, got 2 tensors/],
    [() => L.rnnCell({ kind: "x", config: {}, call: () => null }), /rnnCell: expected \{ kind/],
    [() => L.rnnCell({ kind: "x", config: {}, stateSizes: 0, call: () => null }), /rnnCell x: stateSizes must be an integer >= 1, got 0/],
    [
      () => L.rnnCell({ kind: "x", config: {}, stateSizes: 2, call: (t) => t }).call(L.ones([2, 3])),
      /its call must give \{ output, states \}, 1 of them/,
    ],
    [
      () => L.rnnCell({ kind: "x", config: {}, stateSizes: 2, call: (t, _, h) => ({ output: t, states: [h] }) }).call(L.ones([2, 3])),
      /its call must give an output of \[2, 2\]/,
    ],
  ])
    assert.throws(make, message);
});

test.run();

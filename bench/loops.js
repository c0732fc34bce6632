/**
 * @file Loops in programs: a long short-term memory's cell written out in a `scan` beside the fused layer's kernel, and how long loops of
 * few and of many steps take to compile. One thread; rounds are interleaved.
 */
import { add, compile, matmul, mean, mul, open, ops, scan, sigmoid, slice, tanh, tensor, transpose, valueAndGrad, zeros } from "lockstep";
import { noise } from "./data.js";
import { median } from "./models.js";

const ROUNDS = 31;

const weights = (shape, seed) =>
  tensor(
    noise(
      shape.reduce((a, b) => a * b),
      seed,
    ).map((v) => 0.2 * (v - 0.5)),
    shape,
  );

/** An LSTM over [batch, time, features]: its own kernel, and its cell in a loop. */
function layers(batch, features, units) {
  const [w, wr, bias] = [weights([features, 4 * units], 1), weights([units, 4 * units], 2), weights([4 * units], 3)];
  const none = zeros([batch, units]);
  const loss = (h) => mean(mul(h, h));
  const fused = (x) => loss(ops.lstmSequence(matmul(x, w, { bias }), wr).h);
  const cell = (x) => {
    const step = ({ h, c }, now) => {
      const z = add(matmul(now, w, { bias }), matmul(h, wr));
      const gate = (k) => slice(z, [0, k * units], [batch, units]);
      const next = add(mul(sigmoid(gate(1)), c), mul(sigmoid(gate(0)), tanh(gate(2))));
      const state = { h: mul(sigmoid(gate(3)), tanh(next)), c: next };
      return [state, state.h];
    };
    return loss(scan(step, { h: none, c: none }, transpose(x, [1, 0, 2]))[1]);
  };
  const training = (fn) => (x) => valueAndGrad(() => fn(x), { w, wr, bias })();
  return { fused, cell, training };
}

export async function loops() {
  const backend = await open("wasm", { threads: 1 });
  const rows = [];
  for (const [batch, time, features, units] of [
    [32, 64, 64, 128],
    [32, 64, 32, 32],
  ]) {
    const { fused, cell, training } = layers(batch, features, units);
    const x = weights([batch, time, features], 4);
    for (const [what, fns] of [
      ["forward", [fused, cell]],
      ["forward and backward", [training(fused), training(cell)]],
    ]) {
      const programs = fns.map((fn) => compile(fn, { backend }));
      const times = programs.map(() => []);
      for (let round = 0; round < ROUNDS; round++) {
        for (const [k, run] of programs.entries()) {
          const from = performance.now();
          await run(x);
          times[k].push(performance.now() - from);
        }
      }
      const [own, looped] = times.map(median);
      rows.push([
        `LSTM ${units}, ${time} steps, ${what}: cell in scan, fused`,
        `${looped.toFixed(2)} ms, ${own.toFixed(2)} ms (${(looped / own).toFixed(2)}x)`,
      ]);
    }
  }
  const steps = [10, 10_000];
  const inputs = steps.map((time) => zeros([4, time, 8]));
  const times = steps.map(() => []);
  const { cell, training } = layers(4, 8, 16);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [k, x] of inputs.entries()) {
      const run = compile(training(cell), { backend });
      const from = performance.now();
      await run.print(x);
      times[k].push(performance.now() - from);
      run.close();
    }
  }
  const [few, many] = times.map((list) => median(list.slice(ROUNDS / 3)));
  rows.push([
    `compiling its training, ${steps.map((n) => n.toLocaleString("en-US")).join(" and ")} steps`,
    `${few.toFixed(2)} ms, ${many.toFixed(2)} ms (${(many / few).toFixed(2)}x)`,
  ]);
  return rows;
}

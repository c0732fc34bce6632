/** @file Lockstep under the contract of measure.js, in Node and in a page. */
import { add, compile, generator, gradients, matmul, mean, mul, open, ops, Packer, sgd, softmax, square, sub, tensor } from "lockstep";
import { tokenWindows } from "lockstep/data";
import { gpt, recipe } from "../gpt.js";
import { MODELS } from "../models.js";
import { noise } from "../data.js";
import { attentionInput, BATCH, blockInput, blockWeights, chain, dataOf } from "./workloads.js";

/** `count` tensors of one square matrix of `width`, [in, out], in a format, and the bytes of each. */
function weights(format, width, count) {
  const row = noise(width, 7).map((v) => (v - 0.5) / Math.sqrt(width / 12));
  if (format === "f32") {
    const data = new Float32Array(width * width);
    for (let r = 0; r < width; r++) data.set(row, r * width);
    return { all: Array.from({ length: count }, () => tensor(data, [width, width])), bytes: 4 * width * width };
  }
  const packer = new Packer(format, width, width);
  for (let r = 0; r < width; r++)
    packer.row(
      r,
      Float32Array.from(row, (_, i) => row[(i + r) % width]),
    );
  return { all: Array.from({ length: count }, () => packer.tensor({ transposed: true })), bytes: packer.bytes.length };
}

/** Tokens of a text over as many characters as it has. @returns { ids, vocabulary } */
function characters(text) {
  const known = [...new Set(text)].sort();
  const of = new Map(known.map((c, i) => [c, i]));
  return { ids: Uint8Array.from(text, (c) => of.get(c)), vocabulary: known.length };
}

/**
 * @param options of `open("webgpu")`, and `title`. With `precision: "mixed"` an adapter is refused that has nothing to mix, and with
 * `matrices: false` products are computed as where there are no subgroup matrices.
 */
export async function start({ title = "Lockstep", matrices = true, ...options } = {}) {
  const backend = await open("webgpu", options);
  if (options.precision === "mixed") {
    if (!matrices && backend.features.matrices) backend.features.matrices = null;
    const { half, matrices: found } = backend.features;
    if (!half && !found) {
      backend.close();
      throw new Error("the adapter has neither shader-f16 nor subgroup matrices, or this version does not use them");
    }
  }
  // One element is enough to wait for; the whole would be copied back.
  const first = (y) =>
    ops.slice(
      y,
      y.shape.map(() => 0),
      y.shape.map(() => 1),
    );
  const timed = (program, work) => ({ work, run: async () => (await (await program()).data())[0] });
  return {
    version: title,
    adapter: backend.adapter,
    statistics: () => backend.statistics(),
    settled: () => backend.tuned(),
    close: () => backend.close(),

    matmul(n) {
      const a = tensor(new Float32Array(n * n).fill(0.5), [n, n]);
      const b = tensor(new Float32Array(n * n).fill(1 / n), [n, n]);
      return timed(
        compile(
          () => {
            let y = a;
            for (let i = 0; i < chain(n); i++) y = matmul(y, b);
            return first(y);
          },
          { backend },
        ),
        chain(n),
      );
    },

    conv2d({ count, side, channels, kernel }) {
      const x = tensor(new Float32Array(count * side * side * channels).fill(0.1), [count, side, side, channels]);
      const w = tensor(new Float32Array(kernel * kernel * channels * channels).fill(0.01), [kernel, kernel, channels, channels]);
      return timed(
        compile(() => ops.slice(ops.conv2d(x, w, { padding: "same" }), [0, 9, 9, 0], [1, 1, 1, 1]), { backend }),
        1,
      );
    },

    /** `rows` rows times `count` matrices, one after another. */
    packed(format, rows, { width, count }) {
      const { all, bytes } = weights(format, width, count);
      const x = tensor(noise(rows * width, 3), [rows, width]);
      const program = compile(() => first(all.reduce((y, w) => matmul(y, w), x)), { backend });
      return { ...timed(program, count), bytes, done: () => [x, ...all].forEach((t) => t.dispose()) };
    },

    /** What is read and written without computing anything: `bytes` are of both. */
    copy({ bytes, count }) {
      const all = Array.from({ length: count }, () => tensor(new Float32Array(bytes / 4).fill(1), [bytes / 4]));
      const program = compile(() => all.map((t) => first(add(t, 1))).reduce((a, b) => add(a, b)), { backend });
      return { ...timed(program, count), bytes: 2 * bytes, done: () => all.forEach((t) => t.dispose()) };
    },

    /** Forward and backward, `count` times, each of queries that the one before has changed. */
    attention({ batch, heads, tokens, dim, count }) {
      const [q, k, v] = [1, 2, 3].map((seed) => tensor(attentionInput({ batch, heads, tokens, dim }, seed), [batch, tokens, heads, dim]));
      const program = compile(
        () => {
          let x = q;
          for (let i = 0; i < count; i++) {
            const [dx, dk, dv] = gradients(ops.sum(ops.attention(x, k, v)), [x, k, v]);
            x = add(x, add(add(dx, dk), dv));
          }
          return first(x);
        },
        { backend },
      );
      return { ...timed(program, count), done: () => [q, k, v].forEach((t) => t.dispose()) };
    },

    /** Steps of training on characters of which nothing can be learned. */
    async gpt(sizes) {
      const { batch, block, vocabulary, steps } = sizes;
      const model = gpt(sizes);
      await model.compile({ ...recipe(5000), backend });
      const ids = Uint8Array.from(noise(batch * block * steps + 1, 1), (v) => v * vocabulary);
      const { x, y } = tokenWindows(ids, { length: block, stride: block });
      const run = async () =>
        (await model.fit(x, y, { epochs: 1, batchSize: batch, verbose: 0, seed: 1, recoverEvery: 0 })).history.loss[0];
      return { work: steps, run, tokens: batch * block };
    },

    /** Until the loss of what is held back is as low as it should be, or time is up. `told` has each state of it. */
    async trainText(sizes, text, target, told) {
      const { ids, vocabulary } = characters(text);
      const { batch, block } = sizes;
      const model = gpt({ ...sizes, vocabulary });
      await model.compile({ ...recipe(target.steps), backend });
      const held = Math.floor(0.9 * ids.length);
      const train = tokenWindows(ids.subarray(0, held), { length: block });
      const rest = tokenWindows(ids.subarray(held), { length: block, stride: block });
      const options = { batchSize: batch, stepsPerEpoch: target.every, verbose: 0 };
      const from = performance.now();
      const seconds = () => (performance.now() - from) / 1000;
      const curve = [];
      let [best, steps, training] = [Infinity, 0, 0];
      while (best > target.loss && seconds() < target.seconds && steps < target.steps) {
        const at = performance.now();
        await model.fit(train.x, train.y, { ...options, epochs: curve.length + 1, initialEpoch: curve.length, seed: 1 });
        training += performance.now() - at;
        const loss = await model.evaluate(rest.x, rest.y, { batchSize: batch });
        steps += target.every;
        best = Math.min(best, Number(loss.loss ?? loss));
        curve.push([steps, best]);
        told({ loss: best, seconds: seconds(), steps, ms: training / steps, tokens: batch * block });
      }
    },

    /** Milliseconds for a token behind so many others, and for reading those. */
    async decode(sizes) {
      // In pages there is no need for it.
      const [{ loadPretrained }, { llama }] = [await import("lockstep/transformers"), await import("./llama.js")];
      const { source, bytes, weights } = llama(sizes);
      const lm = await loadPretrained(source, { backend });
      const rows = {};
      for (const position of sizes.positions) {
        const session = await generator(lm.model, { capacity: position + sizes.tokens, cache: "f16" });
        const prompt = Array.from({ length: position }, (_, i) => (7 * i) % sizes.vocabulary);
        const times = [];
        let [prefill, value] = [0, 0];
        for (let round = 0; round < 3; round++) {
          session.reset();
          const at = performance.now();
          await session.prefill(prompt);
          await backend.sync();
          prefill = performance.now() - at;
          const text = session.generate([1], { maxTokens: sizes.tokens - 1, temperature: 0 });
          value = (await text.next()).value;
          const from = performance.now();
          let count = 0;
          for await (const _ of text) count++;
          times.push((performance.now() - from) / count);
        }
        times.sort((a, b) => a - b);
        rows[`decode ${position}`] = { ms: times[1], tokens: 1, bytes, weights, value };
        rows[`prefill ${position}`] = { ms: prefill, tokens: position, value: position };
        session.close();
      }
      return rows;
    },

    async train(net, steps) {
      const { samples, input, outputs, x, y } = dataOf(net, steps);
      const { make, compile: how } = MODELS[net];
      const model = make();
      await model.compile({ loss: how.loss, optimizer: how.optimizer(), backend });
      const [data, targets] = [tensor(x, [samples, ...input]), tensor(y, [samples, outputs])];
      return {
        work: steps,
        run: async () => (await model.fit(data, targets, { epochs: 1, batchSize: BATCH, verbose: 0, seed: 1 })).history.loss[0],
      };
    },

    transformer({ batch, tokens, width }) {
      const p = Object.fromEntries(Object.entries(blockWeights(width)).map(([name, { data, shape }]) => [name, tensor(data, shape)]));
      const x = tensor(blockInput({ batch, tokens, width }), [batch, tokens, width]);
      const optimizer = sgd({ learningRate: 1e-3 });
      return timed(
        compile(
          () => {
            const score = softmax(mul(matmul(matmul(x, p.q), matmul(x, p.k), { transposeB: true }), 1 / Math.sqrt(width)));
            const attended = ops.add(x, matmul(matmul(score, matmul(x, p.v)), p.o));
            const y = ops.add(attended, matmul(matmul(attended, p.up, { activation: "relu" }), p.down));
            const loss = mean(square(sub(y, x)));
            const names = Object.keys(p);
            const grads = gradients(
              loss,
              names.map((n) => p[n]),
            );
            optimizer.update(p, Object.fromEntries(names.map((n, i) => [n, grads[i]])));
            return loss;
          },
          { backend },
        ),
        1,
      );
    },
  };
}

/** @file Lockstep under the contract of measure.js, in Node and in a page. */
import { add, compile, gradients, matmul, mean, mul, open, ops, Packer, sgd, softmax, square, sub, tensor } from "lockstep";
import { MODELS } from "../models.js";
import { noise } from "../data.js";
import { BATCH, blockInput, blockWeights, chain, dataOf } from "./workloads.js";

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

/** @param options of `open("webgpu")` */
export async function start(options = {}) {
  const backend = await open("webgpu", options);
  const { storage = "f32" } = options;
  // One element is enough to wait for; the whole would be copied back.
  const first = (y) =>
    ops.slice(
      y,
      y.shape.map(() => 0),
      y.shape.map(() => 1),
    );
  const timed = (program, work) => ({ work, run: async () => (await (await program()).data())[0] });
  return {
    version: storage === "f32" ? "Lockstep" : `Lockstep, ${storage} storage`,
    adapter: backend.adapter,
    statistics: () => backend.statistics(),
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

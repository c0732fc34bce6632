/** @file Lockstep under the contract of measure.js, in Node and in a page. */
import { compile, gradients, matmul, mean, mul, open, ops, sgd, softmax, square, sub, tensor } from "lockstep";
import { MODELS } from "../models.js";
import { BATCH, blockInput, blockWeights, chain, dataOf } from "./workloads.js";

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

/**
 * @file `npm run bench:gpu`: the WebGPU backend on the adapter at hand (`-- --small`: sizes that a software adapter can do). GFLOP/s of products and convolutions, the three
 * trainings, and a step of transformer size: dispatches, JavaScript time to encode a step, time a step.
 */
import { cpus } from "node:os";
import { compile, gradients, matmul, mean, mul, open, ops, sgd, softmax, square, sub, tensor } from "lockstep";
import { median, MODELS, prepare } from "../models.js";

const backend = await open("webgpu");
console.log(`WebGPU: ${backend.adapter}; Node ${process.versions.node}, ${cpus()[0]?.model.trim()}, ${new Date().toISOString().slice(0, 10)}`);

const small = process.argv.includes("--small");
const row = (what, figure) => console.log(`  ${what.padEnd(44)} ${figure}`);

/** Median seconds of one of `repeats` products that a program runs. */
async function timeProgram(run, repeats, rounds = 7) {
  await run();
  await backend.sync();
  const times = [];
  for (let i = 0; i < rounds; i++) {
    const from = performance.now();
    await run();
    await backend.sync();
    times.push((performance.now() - from) / repeats / 1000);
  }
  return median(times);
}

console.log("\nmatmul");
for (const n of small ? [64, 256] : [256, 1024, 2048, 4096]) {
  const a = tensor(new Float32Array(n * n).fill(0.5), [n, n]);
  const b = tensor(new Float32Array(n * n).fill(1 / n), [n, n]);
  const repeats = n <= 1024 ? 20 : 8;
  const program = compile(() => {
    let y = a;
    for (let i = 0; i < repeats; i++) y = matmul(y, b);
    // One element is enough to wait for; the whole would be copied back.
    return ops.slice(y, [0, 0], [1, 1]);
  }, { backend });
  row(`matmul ${n}`, `${((2 * n ** 3) / (await timeProgram(program, repeats)) / 1e9).toPrecision(3)} GFLOP/s`);
}

const images = small ? 1 : 32;
console.log(`\nconv2d 3x3, 64 channels, [${images}, 56, 56, 64]`);
{
  const x = tensor(new Float32Array(images * 56 * 56 * 64).fill(0.1), [images, 56, 56, 64]);
  const w = tensor(new Float32Array(9 * 64 * 64).fill(0.01), [3, 3, 64, 64]);
  const flops = 2 * images * 56 * 56 * 64 * 9 * 64;
  const forward = compile(() => ops.slice(ops.conv2d(x, w, { padding: "same" }), [0, 0, 0, 0], [1, 1, 1, 1]), { backend });
  row("forward", `${(flops / (await timeProgram(forward, 1)) / 1e9).toPrecision(3)} GFLOP/s`);
}

console.log("\ntraining, batch 32");
for (const name of Object.keys(MODELS).filter((n) => !small || n === "FFN")) {
  const m = await prepare(name, backend);
  const options = { epochs: 1, batchSize: 32, verbose: 0, seed: 1 };
  await m.model.fit(m.x, m.y, options);
  const times = [];
  for (let i = 0; i < 5; i++) {
    const from = performance.now();
    await m.model.fit(m.x, m.y, options);
    times.push((performance.now() - from) / 1000);
  }
  row(name, `${Math.round(m.samples / median(times)).toLocaleString("en-US")} samples/s`);
}

const [batch, tokens, width] = small ? [1, 32, 64] : [8, 256, 512];
console.log(`\ntransformer block, batch ${batch}, ${tokens} tokens, width ${width}: forward, backward, update`);
{
  const weight = (rows, cols) => tensor(Float32Array.from({ length: rows * cols }, (_, i) => (((i * 7919) % 1000) / 1000 - 0.5) / Math.sqrt(rows)), [rows, cols]);
  const p = { q: weight(width, width), k: weight(width, width), v: weight(width, width), o: weight(width, width), up: weight(width, 4 * width), down: weight(4 * width, width) };
  const x = tensor(Float32Array.from({ length: batch * tokens * width }, (_, i) => ((i * 31) % 97) / 97 - 0.5), [batch, tokens, width]);
  const optimizer = sgd({ learningRate: 1e-3 });
  const step = compile(() => {
    const score = softmax(mul(matmul(matmul(x, p.q), matmul(x, p.k), { transposeB: true }), 1 / Math.sqrt(width)));
    const attended = ops.add(x, matmul(matmul(score, matmul(x, p.v)), p.o));
    const y = ops.add(attended, matmul(matmul(attended, p.up, { activation: "relu" }), p.down));
    const loss = mean(square(sub(y, x)));
    const names = Object.keys(p);
    const grads = gradients(loss, names.map((n) => p[n]));
    optimizer.update(p, Object.fromEntries(names.map((n, i) => [n, grads[i]])));
    return loss;
  }, { backend });
  row("time a step", `${(1000 * (await timeProgram(step, 1))).toFixed(2)} ms`);
  const before = backend.statistics();
  for (let i = 0; i < 20; i++) await step();
  const after = backend.statistics();
  const per = (name) => (after[name] - before[name]) / (after.runs - before.runs);
  row("dispatches a step", per("dispatches").toFixed(0));
  row("submits a step", ((after.runs - before.runs) / 20).toFixed(0));
  row("JavaScript to encode a step", `${per("encodeMs").toFixed(3)} ms`);
}
backend.close();

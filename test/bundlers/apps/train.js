/** @file Trains a small network and predicts. */
import { adam, dense, open, sequential } from "lockstep";

export async function run() {
  const fast = await open("wasm", { threads: 1 });
  fast.close();
  const backend = await open("wasm", { reproducible: true, threads: 1 });
  const x = Array.from({ length: 64 }, (_, i) => [(i % 8) / 8, Math.floor(i / 8) / 8]);
  const y = x.map(([a, b]) => [Number(a + b > 0.9)]);
  const model = sequential([dense(16, { activation: "tanh" }), dense(1, { activation: "sigmoid" })], { inputShape: [2], seed: 1 });
  await model.compile({ loss: "binaryCrossentropy", optimizer: adam({ learningRate: 0.02 }), metrics: ["accuracy"], backend });
  const { history } = await model.fit(x, y, { epochs: 8, verbose: 0, seed: 1 });
  const file = await model.toBytes();
  return { simd: fast.simd, history, file: btoa(String.fromCharCode(...file)), prediction: [...(await (await model.predict(x)).data())] };
}

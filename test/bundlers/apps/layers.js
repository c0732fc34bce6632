/** @file Predicts with layers whose kernels are parts of their own: convolutions, pooling and a recurrent layer. */
import { conv2d, flatten, gru, maxPool2d, open, reshape, sequential, tensor } from "lockstep";

export async function run() {
  await open("wasm", { reproducible: true, threads: 1 });
  const model = sequential([conv2d(4, 3, { activation: "relu" }), maxPool2d(2), reshape([9, 4]), gru(5), flatten()], {
    inputShape: [8, 8, 1],
    seed: 1,
  });
  const x = tensor(
    Float32Array.from({ length: 2 * 64 }, (_, i) => (i % 17) / 17),
    [2, 8, 8, 1],
  );
  return { prediction: [...(await (await model.predict(x)).data())] };
}

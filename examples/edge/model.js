/**
 * @file The model that examples/edge/worker.js answers with: is a point of the square [-1, 1]² inside the circle around 0 of radius 0.7?
 * Trained in a second.
 */
import { adam, dense, open, sequential, tensor } from "lockstep";

const SIDE = 24;

/** Points of a grid over the square, and 1 for those inside the circle. */
export function circle(side = SIDE) {
  const x = Array.from({ length: side * side }, (_, i) => [(2 * (i % side)) / (side - 1) - 1, (2 * Math.floor(i / side)) / (side - 1) - 1]);
  return { x, y: x.map(([a, b]) => [Number(a * a + b * b < 0.49)]) };
}

/** The trained model as the bytes of a safetensors file, the same on every machine. */
export async function trainedModel() {
  const backend = await open("wasm", { reproducible: true });
  const model = sequential([dense(16, { activation: "relu" }), dense(16, { activation: "relu" }), dense(1, { activation: "sigmoid" })], {
    inputShape: [2],
    seed: 1,
    name: "circle",
  });
  await model.compile({ loss: "binaryCrossentropy", optimizer: adam({ learningRate: 0.01 }), backend });
  const { x, y } = circle();
  await model.fit(tensor(x), tensor(y), { epochs: 60, batchSize: 32, seed: 1, verbose: 0 });
  return model.toBytes();
}

/** @file Loads a model that was saved and predicts. */
import { loadModel, open } from "lockstep/inference";

export async function run(file) {
  const fast = await open("wasm", { threads: 1 });
  fast.close();
  await open("wasm", { reproducible: true, threads: 1 });
  const model = await loadModel(Uint8Array.from(atob(file), (ch) => ch.charCodeAt(0)));
  const x = Array.from({ length: 64 }, (_, i) => [(i % 8) / 8, Math.floor(i / 8) / 8]);
  return { simd: fast.simd, prediction: [...(await (await model.predict(x)).data())] };
}

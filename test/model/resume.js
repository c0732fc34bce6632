/**
 * Not a test: run by save.test.js in a process of its own. `node resume.js FILE EPOCHS [INITIAL]` trains up to epoch EPOCHS, from
 * the model in FILE when INITIAL is given; prints the fingerprint of the weights and saves to FILE.
 */
import { open } from "../../build/esm/init.js";
import { sequential } from "../../build/esm/model/model.js";
import { loadModel } from "../../build/esm/model/resume.js";
import { batchNorm, dense, dropout } from "../../build/esm/nn/index.js";
import { adam } from "../../build/esm/train/optimizers.js";
import { fingerprint, table } from "./helpers.js";

const [file, epochs, initial] = process.argv.slice(2);
const backend = await open("wasm", { reproducible: true });
const data = table(75);

async function fresh() {
  const m = sequential([dense(16, { activation: "tanh" }), batchNorm(), dropout(0.3), dense(1)], { inputShape: [4], seed: 11 });
  await m.compile({ loss: "mse", optimizer: adam({ learningRate: 0.01 }), metrics: ["mae"], backend });
  return m;
}

const m = initial === undefined ? await fresh() : await loadModel(file, { backend });
const { history } = await m.fit(data.x, data.y, {
  epochs: Number(epochs),
  initialEpoch: Number(initial ?? 0),
  batchSize: 16,
  validationSplit: 0.2,
  seed: 5,
  verbose: 0,
});
await m.save(file);
console.log(JSON.stringify({ weights: await fingerprint(m), losses: history.loss, valMae: history.valMae }));

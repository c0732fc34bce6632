/**
 * Not a test: run by save.test.js and killed. `node saver.js FILE` saves a model whose weights are all 1, 2, 3 … in turn to FILE, for ever.
 */
import { sequential } from "../../build/esm/model/model.js";
import { dense } from "../../build/esm/nn/index.js";

const m = sequential([dense(512)], { inputShape: [512] });
for (let k = 1; ; k++) {
  m.setWeights(m.weights.map(({ tensor }) => new Float32Array(tensor.size).fill(k)));
  await m.save(process.argv[2]);
  if (k === 1) console.log("saved");
}

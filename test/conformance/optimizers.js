/** @file Every `optimizer` case of train/: the weights after each step. */
import * as assert from "uvu/assert";
import { compile } from "../../build/esm/compile.js";
import { tensor } from "../../build/esm/tensor.js";
import { optimizerFromConfig } from "../../build/esm/train/optimizers.js";
import { slackOf } from "./backends.js";
import { assertClose, cases, tensorOf } from "./case.js";

const OPTIONS = {
  learning_rate: "learningRate",
  beta_1: "beta1",
  beta_2: "beta2",
  clipnorm: "clipNorm",
  clipvalue: "clipValue",
  global_clipnorm: "globalClipNorm",
  weight_decay: "weightDecay",
};

export const all = cases("optimizer");

export function optimizerTests(test, label, backend, chosen = all) {
  for (const testCase of chosen) {
    test(`${testCase.name} (${label})`, async () => {
      const { class_name: name, config } = testCase.optimizer;
      const optimizer = optimizerFromConfig(
        name.toLowerCase(),
        Object.fromEntries(Object.entries(config).map(([key, value]) => [OPTIONS[key] ?? key, value])),
      );
      const load = (name) => tensor(tensorOf(testCase, name).data, tensorOf(testCase, name).shape);
      const params = testCase.params.map((p) => load(`param/${p}`));
      const step = compile((grads) => optimizer.update(params, grads), { backend });
      for (let t = 0; t < testCase.steps; t++) {
        await step(testCase.params.map((p) => load(`grad/${t}/${p}`)));
        for (const [i, p] of testCase.params.entries())
          assertClose(await params[i].data(), tensorOf(testCase, `after/${t}/${p}`), `${p} after step ${t}`, slackOf(backend));
      }
      assert.is(await optimizer.iterations.item(), testCase.steps);
      step.close();
    });
  }
}

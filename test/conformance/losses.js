/** @file Every `loss` case of train/: value, per-sample values and gradient; probabilities also as the output of the op that makes them. */
import * as assert from "uvu/assert";
import { compile } from "../../build/esm/compile.js";
import { gradients } from "../../build/esm/grad.js";
import { log } from "../../build/esm/ops/map.js";
import { softmax } from "../../build/esm/ops/softmax.js";
import { tensor } from "../../build/esm/tensor.js";
import * as losses from "../../build/esm/train/losses.js";
import { slackOf } from "./backends.js";
import { assertClose, cases, tensorOf } from "./case.js";

const FACTORIES = { KLDivergence: losses.klDivergence };

/** The factory of a Keras class name. */
function lossOf({ class_name: name, config }) {
  const camel = Object.fromEntries(Object.entries(config).map(([key, value]) => [key.replace(/_(.)/g, (_, c) => c.toUpperCase()), value]));
  return (FACTORIES[name] ?? losses[name[0].toLowerCase() + name.slice(1)])(camel);
}

export const all = cases("loss");

export function lossTests(test, label, backend, chosen = all) {
  const slack = slackOf(backend);
  for (const testCase of chosen) {
    const input = (name) => {
      const { shape, data } = tensorOf(testCase, `in/${name}`);
      return tensor(data, shape);
    };
    test(`${testCase.name} (${label})`, async () => {
      const loss = lossOf(testCase.loss);
      const weights = testCase.tensors["in/sample_weight"] ? input("sample_weight") : null;
      const run = compile(
        (y, p, w) => {
          const perSample = loss.call(y, p);
          const total = losses.reduceLoss(perSample, w.length ? w[0] : null);
          return { perSample, total, grad: gradients(total, [p])[0] };
        },
        { backend },
      );
      const { perSample, total, grad } = await run(input("y_true"), input("y_pred"), weights === null ? [] : [weights]);
      assert.equal(perSample.shape, tensorOf(testCase, "out/per_sample").shape);
      assertClose(await perSample.data(), tensorOf(testCase, "out/per_sample"), "per sample", slack);
      assertClose(await total.data(), tensorOf(testCase, "out/loss"), "loss", slack);
      assertClose(await grad.data(), tensorOf(testCase, "grad/in/y_pred"), "gradient", slack);
      run.close();
    });
  }

  // softmax(log p) = p / sum p: the same losses through the fused kernel.
  for (const testCase of chosen.filter((c) => /CategoricalCrossentropy/.test(c.loss.class_name) && !c.loss.config.from_logits)) {
    test(`${testCase.name} from a softmax (${label})`, async () => {
      const loss = lossOf(testCase.loss);
      const run = compile((y, p) => loss.call(y, softmax(log(p))), { backend });
      const args = ["in/y_true", "in/y_pred"].map((name) => tensor(tensorOf(testCase, name).data, tensorOf(testCase, name).shape));
      assert.match(await run.print(...args), "softmaxCrossEntropy");
      assertClose(await (await run(...args)).data(), tensorOf(testCase, "out/per_sample"), "per sample", slack);
      run.close();
    });
  }
}

/**
 * @file Every `fit` case of train/ through compile and fit: loss of each batch and epoch, weights and states after training,
 * and predictions with them.
 */
import { optimizerFromConfig } from "../../build/esm/train/optimizers.js";
import { slackOf } from "./backends.js";
import { assertClose, cases, tensorOf } from "./case.js";
import { camel } from "./factories.js";
import { load, lossOf, networkOf } from "./network.js";

export const all = cases("fit");

async function check(testCase, backend) {
  const {
    optimizer: { class_name: kind, config },
    batch_size: batchSize,
    epochs,
  } = testCase;
  const optimizer = optimizerFromConfig(
    kind.toLowerCase(),
    Object.fromEntries(Object.entries(config).map(([key, value]) => [camel(key), value])),
  );
  const { network, weightOf } = networkOf(testCase);
  const x = load(testCase, "in/x");
  await network.compile({ loss: lossOf(testCase), optimizer, backend });
  const batchLosses = [];
  const callbacks = [{ onBatchEnd: (_step, { loss }) => void batchLosses.push(loss) }];
  const { history } = await network.fit(x, load(testCase, "in/y"), { batchSize, epochs, shuffle: false, callbacks, verbose: 0 });
  const compare = (got, name) => assertClose(got, tensorOf(testCase, name), `${testCase.name}: ${name}`, slackOf(backend));
  compare(batchLosses, "out/batch_losses");
  compare(history.loss, "out/history_loss");
  for (const name of testCase.params) compare(await weightOf(name).data(), `after/param/${name}`);
  for (const name of testCase.states) compare(await weightOf(name).data(), `state_after/${name}`);
  compare(await (await network.predict(x)).data(), "out/y_pred_after");
  network.dispose();
}

export function fitTests(test, label, backend) {
  for (const testCase of all) test(`${testCase.name} (${label})`, () => check(testCase, backend));
}

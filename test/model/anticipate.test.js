/** @file What loadModel begins to load before anything runs. A process of its own: nothing is open yet. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { until } from "../platforms/body.js";
import { conv2d, dense, flatten, loadModel, maxPool2d, sequential, tensor } from "../../build/esm/index.js";

const { compile } = WebAssembly;
let compiled = 0;
WebAssembly.compile = (bytes) => {
  compiled++;
  return compile(bytes);
};

test("loadModel: the kernels are on their way, with the parts that the model's layers need", async () => {
  const made = sequential([conv2d(2, 3), maxPool2d(2), flatten(), dense(1)], { inputShape: [6, 6, 1] });
  const file = await made.toBytes();
  assert.is(compiled, 0);
  const model = await loadModel(file);
  assert.ok(await until(() => compiled === 2), `${compiled} modules`);
  await (await model.predict(tensor(new Float32Array(36), [1, 6, 6, 1]))).data();
  assert.is(compiled, 2);
});

test.run();

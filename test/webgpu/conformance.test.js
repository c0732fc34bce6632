/** Every layer, loss, optimizer, model and fit case on WebGPU, within ten times its `atol`, and the steps of train/steps.js. */
import { test } from "uvu";
import { fitTests } from "../conformance/fits.js";
import { layerTests } from "../conformance/layers.js";
import { lossTests } from "../conformance/losses.js";
import { modelTests } from "../conformance/models.js";
import { optimizerTests } from "../conformance/optimizers.js";
import { stepTests } from "../train/steps.js";
import { openGpu } from "./gpu.js";

const gpu = await openGpu();
for (const register of [layerTests, lossTests, optimizerTests, stepTests, modelTests, fitTests]) register(test, "webgpu", gpu);
test.after(() => gpu.close());
test.run();

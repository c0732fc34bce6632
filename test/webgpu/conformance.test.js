/** Every layer, loss, optimizer, model and fit case on WebGPU, within ten times its `atol`. */
import { test } from "uvu";
import { fitTests } from "../conformance/fits.js";
import { layerTests } from "../conformance/layers.js";
import { lossTests } from "../conformance/losses.js";
import { modelTests } from "../conformance/models.js";
import { optimizerTests } from "../conformance/optimizers.js";
import { openGpu } from "./gpu.js";

const gpu = await openGpu();
for (const register of [layerTests, lossTests, optimizerTests, modelTests, fitTests]) register(test, "webgpu", gpu);
test.after(() => gpu.close());
test.run();

/**
 * @file The conformance cases on WebGPU in runtimes other than Node, where conformance.test.js runs all of them through the same code: of
 * layers, losses and optimizers the first of each class, and all models and fits. Their kernels are those of the op table, of which
 * ops-sample.js takes what is different for a GPU.
 */
import { test } from "uvu";
import { firstOfEachClass } from "../conformance/case.js";
import { fitTests } from "../conformance/fits.js";
import { all as layers, layerTests } from "../conformance/layers.js";
import { all as losses, lossTests } from "../conformance/losses.js";
import { modelTests } from "../conformance/models.js";
import { all as optimizers, optimizerTests } from "../conformance/optimizers.js";
import { openGpu } from "./gpu.js";

const gpu = await openGpu();
layerTests(test, "webgpu", gpu, firstOfEachClass(layers));
lossTests(test, "webgpu", gpu, firstOfEachClass(losses));
optimizerTests(test, "webgpu", gpu, firstOfEachClass(optimizers));
modelTests(test, "webgpu", gpu);
fitTests(test, "webgpu", gpu);
test.after(() => gpu.close());
test.run();

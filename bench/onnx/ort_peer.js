/** @file ONNX Runtime Web (WASM execution provider) running the files of `tasks.js` under the contract of `../peers/worker.js`. */
import { createRequire } from "node:module";
import { compared, elementsOf, TASKS } from "./tasks.js";

const ort = createRequire(new URL("../peers/package.json", import.meta.url))("onnxruntime-web");

export async function start({ threads = 1 }) {
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  return { version: `onnxruntime-web ${ort.env.versions.web}, WASM, ${threads} thread${threads > 1 ? "s" : ""}`, prepare };

  async function prepare(_kind, of) {
    const { file, inputs } = TASKS[of];
    const session = await ort.InferenceSession.create(file(), {
      executionProviders: ["wasm"],
      graphOptimizationLevel: "all",
      intraOpNumThreads: threads,
    });
    const feeds = Object.fromEntries(
      Object.entries(inputs).map(([name, input]) => [name, new ort.Tensor(input.dtype, elementsOf(input), input.shape)]),
    );
    const [first] = session.outputNames;
    const run = async () => (await session.run(feeds))[first].data;
    const values = compared(await run());
    return {
      values,
      async unit() {
        await run();
        return 1;
      },
      close: () => session.release(),
    };
  }
}

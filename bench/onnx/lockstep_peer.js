/** @file Lockstep running the files of `tasks.js` under the contract of `../peers/worker.js`. */
import { open, tensor } from "../../build/index.js";
import { loadOnnx } from "../../build/onnx.js";
import { compared, elementsOf, TASKS } from "./tasks.js";

export async function start({ threads = 1 }) {
  const backend = await open("wasm", { threads });
  return { version: `Lockstep, WASM (${backend.simd}), ${threads} thread${threads > 1 ? "s" : ""}`, prepare };

  async function prepare(_kind, of) {
    const { file, inputs } = TASKS[of];
    const net = await loadOnnx(file(), { backend });
    const feeds = Object.fromEntries(
      Object.entries(inputs).map(([name, input]) => {
        const values = elementsOf(input);
        return [name, input.dtype === "int64" ? tensor(Int32Array.from(values, Number), input.shape) : tensor(values, input.shape)];
      }),
    );
    const [first] = net.outputs;
    const run = async () => {
      const outputs = await net.run(feeds);
      const values = await outputs[first.name].data();
      for (const t of Object.values(outputs)) t.dispose();
      return values;
    };
    const values = compared(await run());
    return {
      values,
      async unit() {
        await run();
        return 1;
      },
      close: () => net.dispose(),
    };
  }
}

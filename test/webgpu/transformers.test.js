/** Checkpoints on WebGPU: what a float64 reference gives for them, and greedy text. */
import { test } from "uvu";
import { loadPretrained } from "../../build/esm/transformers/index.js";
import { checkGguf, checkpoints, checkStories, ggufs, stories } from "../transformers/cases.js";
import { openGpu } from "./gpu.js";

const backend = await openGpu();
test.after(() => backend.close());

for (const { name, folder, check } of checkpoints) {
  test(`${name}: as the reference`, async () => {
    const model = await loadPretrained(folder, { backend });
    await check(model);
    model.dispose();
  });
}

/** Software takes 0.15 s a token. */
const most = process.env.LOCKSTEP_WHOLE ? Infinity : 24;
if (stories !== null) test("stories260K: ids, logits, greedy text and likelihood", () => checkStories(backend, most));
for (const one of ggufs) test(`GGUF, ${one.type}: as the reference over its weights`, () => checkGguf(one, backend));

test.run();

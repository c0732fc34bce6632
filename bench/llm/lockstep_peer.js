/** @file Lockstep running the checkpoints of `checkpoint.js` under the contract of `../peers/worker.js`. */
import { generator, open } from "lockstep";
import { loadPretrained } from "lockstep/transformers";

export async function start({ threads = 1, weights = "f32" }) {
  const backend = await open("wasm", { threads });
  return {
    version: `Lockstep, WASM (${backend.simd}), ${threads} thread${threads > 1 ? "s" : ""}, ${weights}`,
    prepare,
  };

  async function prepare(kind, _of, { folder, prompt, position }) {
    const lm = await loadPretrained(folder, { weights, backend });
    const all = await lm.logits(prompt);
    const values = (await all.data()).slice(-all.shape.at(-1));
    const vocabulary = all.shape.at(-1);
    const session = await generator(lm.model, { capacity: lm.contextLength });
    let text = null;
    const close = async () => {
      await text?.return();
      session.close();
    };
    if (kind === "prefill") {
      // The token behind the prompt asks for the logits of its last one.
      const unit = async () => {
        session.reset();
        for await (const _ of session.generate(prompt, { maxTokens: 1, temperature: 0 }));
        return prompt.length;
      };
      return { values, unit, close };
    }
    const unit = async () => {
      let next = await text?.next();
      if (next === undefined || next.done) {
        session.reset();
        await session.prefill(Array.from({ length: position }, (_, i) => (7 * i) % vocabulary));
        text = session.generate([], { maxTokens: 64, temperature: 0 });
        next = await text.next();
      }
      return 1;
    };
    return { values, unit, close };
  }
}

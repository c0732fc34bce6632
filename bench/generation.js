/**
 * @file Tokens a second of a small GPT, by how many tokens came before: what a token costs beyond its weights is the reads of keys and
 * values.
 */
import { dense, generator, open, sequential, tokenAndPositionEmbedding, transformerDecoder } from "lockstep";
import { median } from "./models.js";

/** nanoGPT's for the CPU, with longer texts: 4 layers of 4 heads, 128 wide, of characters. */
const [LAYERS, HEADS, WIDTH, CHARACTERS, LONGEST] = [4, 4, 128, 65, 4608];
const POSITIONS = [16, 512, 4096];
const TOKENS = 32;
const ROUNDS = 9;

export async function generation() {
  const backend = await open("wasm", { threads: 1 });
  const block = () => transformerDecoder(4 * WIDTH, HEADS, { normalizeFirst: true, activation: "gelu" });
  const layers = [tokenAndPositionEmbedding(CHARACTERS, LONGEST, WIDTH), ...Array.from({ length: LAYERS }, block), dense(CHARACTERS)];
  const gpt = sequential(layers, { inputShape: [null], seed: 1 });
  const sessions = [];
  for (const position of POSITIONS) {
    const session = await generator(gpt, { capacity: LONGEST });
    await session.prefill(Array.from({ length: position }, (_, i) => (7 * i) % CHARACTERS));
    sessions.push({ session, position, times: [] });
  }
  for (let round = 0; round <= ROUNDS; round++) {
    for (const { session, times } of sessions) {
      const text = session.generate([], { maxTokens: TOKENS, seed: round, topK: 40 });
      await text.next();
      const from = performance.now();
      for await (const _ of text);
      // The first round has the engine look at the code.
      if (round > 0) times.push((performance.now() - from) / (TOKENS - 1));
    }
  }
  const cached = (position) => (2 * LAYERS * WIDTH * 4 * position) / 2 ** 20;
  return sessions.map(({ position, times }) => {
    const each = median(times);
    const what = `GPT ${LAYERS} x ${WIDTH}, a token behind ${position}, 1 thread (${backend.simd})`;
    return [
      what,
      `${(1000 / each).toFixed(0)} tokens/s, ${(1000 * each).toFixed(0)} us, ${cached(position).toFixed(1)} MiB of keys and values`,
    ];
  });
}

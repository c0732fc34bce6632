/**
 * Damaged checkpoints, the same in every run: each is an error of Lockstep's or a model whose weights are read. LOCKSTEP_MUTATIONS says how
 * many of each kind of file.
 */
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { LockstepError, open } from "../../build/esm/index.js";
import { loadPretrained } from "../../build/esm/transformers/index.js";
import { modelPath } from "../models/index.js";
import { COUNT, damages } from "../damage.js";

/** Loading takes 5 to 20 ms; what takes this long hangs. */
const MOST_MS = 10_000;

const { below, pick, damaged, damagedText } = damages(20);

const filesOf = (folder, names) => Object.fromEntries(names.map((name) => [name, new Uint8Array(readFileSync(`${folder}/${name}`))]));
const qwen2 = modelPath("hf/qwen2-bf16-sharded");
const shards = [1, 2, 3].map((i) => `model-0000${i}-of-00003.safetensors`);
const INDEX = "model.safetensors.index.json";
const SHARDED = filesOf(qwen2, ["config.json", INDEX, ...shards]);
const gguf = new Uint8Array(readFileSync(modelPath("gguf/stories260K-q4_0.gguf")));

const header = (bytes) => 8 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);

/** Ways to damage a checkpoint. */
const KINDS = {
  "safetensors, one of three": () => {
    const name = pick(shards);
    const bytes = SHARDED[name];
    return { ...SHARDED, [name]: damaged(bytes, header(bytes)) };
  },
  "the text of a header": () => {
    const name = pick(shards);
    const bytes = SHARDED[name];
    const end = header(bytes);
    const text = damagedText(bytes.subarray(8, end));
    const out = new Uint8Array(8 + text.length + bytes.length - end);
    new DataView(out.buffer).setUint32(0, text.length, true);
    out.set(text, 8);
    out.set(bytes.subarray(end), 8 + text.length);
    return { ...SHARDED, [name]: out };
  },
  "the index": () => ({ ...SHARDED, [INDEX]: below(2) ? damagedText(SHARDED[INDEX]) : damaged(SHARDED[INDEX], SHARDED[INDEX].length) }),
  "the configuration": () => ({ ...SHARDED, "config.json": damagedText(SHARDED["config.json"]) }),
  // Its metadata and infos, and a little of its data.
  "a GGUF file": () => new Blob([damaged(gguf, 16000)]),
};

for (const [what, make] of Object.entries(KINDS))
  test(`${what}: ${COUNT} damaged ones`, async () => {
    const backend = await open("wasm", { threads: 1 });
    const before = backend.memory().bytes;
    const outcomes = { loaded: 0, refused: 0 };
    for (let i = 0; i < COUNT; i++) {
      const source = make();
      const start = performance.now();
      try {
        const model = await loadPretrained(source, { backend });
        model.dispose();
        outcomes.loaded++;
      } catch (error) {
        assert.instance(error, LockstepError, `${what} ${i}: ${error?.stack}`);
        assert.ok(error.message.length < 3000, `${what} ${i}: an error of ${error.message.length} characters`);
        outcomes.refused++;
      }
      assert.ok(performance.now() - start < MOST_MS, `${what} ${i} took ${performance.now() - start} ms`);
      assert.is(backend.memory().bytes, before, `${what} ${i}: bytes are left`);
    }
    // Whatever an index says otherwise is wrong.
    assert.ok(outcomes.refused > 0 && (outcomes.loaded > 0 || what === "the index"), JSON.stringify(outcomes));
    backend.close();
  });

test.run();

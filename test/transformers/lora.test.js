/** Adapters of published models: what PEFT calls their modules, fused ones too, and fine-tuning of a real one. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { finetune } from "../../examples/finetune.js";
import { loadLora, lora } from "lockstep/lora";
import { readSafetensors } from "lockstep/safetensors";
import { loadPretrained } from "lockstep/transformers";
import { modelPath } from "../models/index.js";

const [llama, stories] = [modelPath("hf/llama"), modelPath("llama/stories260K")];

/** Of the first module of each kind: its name, and what a file has of it. */
const MODULES = {
  gpt2: {
    "transformer.h.0.attn.c_attn": ["2,32", "96,2"],
    "transformer.h.0.attn.c_proj": ["2,32", "32,2"],
    "transformer.h.1.mlp.c_fc": ["2,32", "128,2"],
    "transformer.h.1.mlp.c_proj": ["2,128", "32,2"],
  },
  llama: {
    "model.layers.0.self_attn.q_proj": ["2,32", "32,2"],
    "model.layers.1.self_attn.k_proj": ["2,32", "16,2"],
    "model.layers.1.self_attn.o_proj": ["2,32", "32,2"],
    "model.layers.0.mlp.down_proj": ["2,88", "32,2"],
  },
  bert: { "encoder.layer.0.attention.self.query": ["2,32", "32,2"], "encoder.layer.1.output.dense": ["2,64", "32,2"] },
  vit: { "vit.encoder.layer.0.attention.attention.key": ["2,32", "32,2"], "vit.encoder.layer.1.intermediate.dense": ["2,32", "64,2"] },
};

for (const [name, modules] of Object.entries(MODULES))
  if (modelPath(`hf/${name}`) !== null)
    test(`${name}: adapters are called as PEFT calls them, and come back`, async () => {
      const { model } = await loadPretrained(modelPath(`hf/${name}`));
      const adapters = lora(model, { rank: 2 });
      assert.not(adapters.modules.some((m) => /lm_head|classifier|wte|embed/.test(m)));
      const bytes = await adapters.toBytes();
      const { tensors } = await readSafetensors(bytes);
      for (const [module, shapes] of Object.entries(modules)) {
        const found = ["A", "B"].map((m) => String(tensors.get(`base_model.model.${module}.lora_${m}.weight`)?.shape));
        assert.equal(found, shapes, module);
      }
      adapters.remove();
      const loaded = await loadLora(model, bytes);
      assert.equal(loaded.modules, adapters.modules);
      await loaded.merge();
    });

if (llama !== null)
  test("targets are ends of modules' names, as PEFT's target_modules", async () => {
    const { model } = await loadPretrained(llama);
    const adapters = lora(model, { targets: ["q_proj", "v_proj"] });
    assert.equal(adapters.config.target_modules, ["q_proj", "v_proj"]);
    assert.is(adapters.modules.length, 4);
  });

if (stories !== null)
  test("examples/finetune.js: the held-out loss falls, and merged adapters write what they wrote beside the weights", async () => {
    const out = mkdtempSync(join(tmpdir(), "lockstep-finetune-"));
    const { log } = console;
    console.log = () => {};
    try {
      const options = { model: stories, steps: 60, rank: 4, seed: 1, verbose: 0, out };
      const { first, last, before, after, merged } = await finetune(options);
      assert.ok(last < 0.5 * first, `${first}, ${last}`);
      assert.not.equal(before, after);
      assert.is(merged.slice(0, 60), after.slice(0, 60));
    } finally {
      console.log = log;
      rmSync(out, { recursive: true });
    }
  });

test.run();

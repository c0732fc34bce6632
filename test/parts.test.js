/** @file Parts of lockstep/keras and lockstep/transformers that cannot be loaded are told, with where they are. */
import { register } from "node:module";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { dense, LockstepError, sequential } from "../build/esm/index.js";
import { saveKeras, saveTfjs } from "../build/esm/keras/index.js";
import { loadPretrained } from "../build/esm/transformers/index.js";

const refuse = `export async function resolve(specifier, context, next) {
  if (/\\/parts\\//.test(specifier)) throw new TypeError("Failed to fetch " + specifier);
  return next(specifier, context);
}`;
register(`data:text/javascript,${encodeURIComponent(refuse)}`);

async function refused(work, message) {
  const error = await work().then(assert.unreachable, (e) => e);
  assert.instance(error, LockstepError);
  assert.match(error.message, message);
  assert.instance(error.cause, TypeError);
}

test("keras", async () => {
  const m = sequential([dense(1)], { inputShape: [2] });
  await refused(() => saveKeras(m), /^saveKeras: cannot load a part: Failed to fetch .*save\.js; it is a file beside keras\.js$/);
  await refused(() => saveTfjs(m), /^saveTfjs: cannot load a part: Failed to fetch .*save\.js; it is a file beside keras\.js$/);
});

test("transformers", async () => {
  const file = { name: "model.gguf", size: 64, read: () => new Uint8Array(64) };
  await refused(
    () => loadPretrained(file),
    /^loadPretrained: cannot load a part: Failed to fetch .*gguf\.js; it is a file beside transformers\.js$/,
  );
  const text = (value) => new TextEncoder().encode(JSON.stringify(value));
  await refused(
    () =>
      loadPretrained({ "config.json": text({ model_type: "gpt2" }), "model.safetensors": Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 123, 125) }),
    /^loadPretrained: cannot load a part: Failed to fetch .*gpt2\.js; it is a file beside transformers\.js$/,
  );
});

test.run();

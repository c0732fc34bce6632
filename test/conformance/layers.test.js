/** Every layer case on the CPU backends. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { onCpu } from "./backends.js";
import { FACTORIES } from "./factories.js";
import { all, LATER, layerTests } from "./layers.js";

await onCpu(test, layerTests);

test("the cases left for later are exactly those without a layer", () => {
  const missing = all.filter((c) => !Object.hasOwn(FACTORIES, c.layer.class_name)).map((c) => c.name);
  assert.equal(missing.sort(), Object.keys(LATER).sort());
});

test.run();

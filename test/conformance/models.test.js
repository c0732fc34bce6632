/** Every model case on the CPU backends. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { onCpu } from "./backends.js";
import { all, modelTests } from "./models.js";

await onCpu(test, modelTests);

test("there are cases", () => assert.ok(all.length >= 15));

test.run();

/** Every optimizer case on the CPU backends. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { onCpu } from "./backends.js";
import { all, optimizerTests } from "./optimizers.js";

await onCpu(test, optimizerTests);

test("there are cases", () => assert.ok(all.length >= 12));

test.run();

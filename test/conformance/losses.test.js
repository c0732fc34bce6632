/** Every loss case on the CPU backends. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { onCpu } from "./backends.js";
import { all, lossTests } from "./losses.js";

await onCpu(test, lossTests);

test("there are cases", () => assert.ok(all.length >= 16));

test.run();

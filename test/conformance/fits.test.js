/** Every fit case on the CPU backends. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { onCpu } from "./backends.js";
import { all, fitTests } from "./fits.js";

await onCpu(test, fitTests);

test("there are cases", () => assert.ok(all.length >= 7));

test.run();

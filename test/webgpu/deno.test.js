/** @file The sample of the conformance cases in Deno. LOCKSTEP_WHOLE=1: all cases. */
import { test } from "uvu";
import { testInDeno } from "./deno.js";
import { CONFORMANCE } from "./elsewhere.js";

testInDeno(...CONFORMANCE);

test.run();

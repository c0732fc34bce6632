/** @file The sample of the op table, the tiles of products and f16 storage in Deno. LOCKSTEP_WHOLE=1: all cases. */
import { test } from "uvu";
import { testInDeno } from "./deno.js";
import { OPS } from "./elsewhere.js";

testInDeno(...OPS);
testInDeno("tiles.test.js", 16);
testInDeno("half.test.js", 26);

test.run();

/** @file The op table, the tiles of products and f16 storage in Deno. */
import { test } from "uvu";
import { testInDeno } from "./deno.js";

testInDeno("ops", 2500);
testInDeno("tiles", 16);
testInDeno("half", 26);

test.run();

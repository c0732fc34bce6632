/** @file The op table and the tiles of products in Deno. */
import { test } from "uvu";
import { testInDeno } from "./deno.js";

testInDeno("ops", 2500);
testInDeno("tiles", 16);

test.run();

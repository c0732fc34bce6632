/** @file The conformance cases in Deno. */
import { test } from "uvu";
import { testInDeno } from "./deno.js";

testInDeno("conformance.test.js", 145);

test.run();

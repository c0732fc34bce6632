#!/usr/bin/env node
/** @file The command `lockstep`. */
import { main } from "./run.ts";

void main(process.argv.slice(2)).then((code) => {
  process.exitCode = code;
});

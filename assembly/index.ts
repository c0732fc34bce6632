/** @file The exports of the module: `run` a program, and `work` as a thread of a pool. Everything a program needs stands in its command list. */
export { run, work } from "./run";

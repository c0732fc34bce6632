/** @file The exports of the module: `run` a program, one `piece` of it, and `work` as a thread of a pool. Everything a program needs stands in its command list. */
export { piece, run, work } from "./run";

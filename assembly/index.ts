/** @file The exports of the module: one entry point. Everything a program needs stands in its command list. */
export { run } from "./run";

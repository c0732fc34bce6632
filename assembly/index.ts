/** @file The exports of the module: `run` a program, one `piece` of it, and `work` as a thread of a pool. Everything a program needs stands in its command list. */
export { piece, run, work } from "./run";
// For the build, which makes whole modules of them and parts (scripts/wasm.js).
export { conv } from "./parts/conv";
export { norm } from "./parts/norm";
export { recurrent } from "./parts/recurrent";

/**
 * @file All kernels in one module: the exports are `run` a program, one `piece` of it, and `work` as a thread of a pool.
 * Everything a program needs stands in its command list. The build sets TRAINING (with 0 what only the backward pass and
 * training call is left out), WHOLE in this module, and PART in those of parts, which import from the core what both need.
 */
export { piece, run, work } from "./run";

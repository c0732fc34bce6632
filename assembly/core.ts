/** @file The core alone: the exports of the whole module (whole.ts), and what parts (parts/) import so that they need not have it too. */
export { activateRow } from "./activation";
export { multiplyBlock, multiplyTiles } from "./gemm";
export { piece, run, work } from "./run";

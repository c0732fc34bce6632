/** @file Weights alone, put into a model: loaded by the first file that is read so. */
export { assignInto } from "../assign.ts";

/** @file How a model was compiled: loaded by the first file that says so. */
export { resume } from "../training.ts";

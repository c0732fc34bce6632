/** @file Writing files: loaded by the first one that is written. */
export { writeKeras } from "../save.ts";
export { writeTfjs } from "../tfjs-write.ts";

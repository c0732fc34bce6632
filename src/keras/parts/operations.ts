/** @file Functions between layers: loaded by the first model that may have some. */
export { operationOf, readOperation } from "../operations.ts";

/** @file `lockstep/data`, for benchmarks in folders with a package.json of their own, where its name does not resolve. */
export * from "lockstep/data";

/** @file What runtimes other than Node run of the op table: the file, and the least number of tests that it has. */
export const OPS = process.env.LOCKSTEP_WHOLE ? ["ops.test.js", 2500] : ["ops-sample.js", 300];

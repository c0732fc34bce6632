/**
 * @file What runtimes other than Node run of tables that Node runs whole: files, and the least number of tests that each has. Deno's
 * compiler of shaders is another than Node's, Chromium's is not.
 */
export const WHOLE = Boolean(process.env.LOCKSTEP_WHOLE);
export const OPS = WHOLE ? ["ops.test.js", 2500] : ["ops-sample.js", 400];
export const OPS_OF_LIBRARY = WHOLE ? OPS : ["ops-sample.js", 150];
export const CONFORMANCE = WHOLE ? ["conformance.test.js", 145] : ["conformance-sample.js", 80];

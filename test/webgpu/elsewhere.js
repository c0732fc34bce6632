/** @file What runtimes other than Node run of tables that Node runs whole: files, and the least number of tests that each has. */
const whole = Boolean(process.env.LOCKSTEP_WHOLE);
export const OPS = whole ? ["ops.test.js", 2500] : ["ops-sample.js", 400];
export const CONFORMANCE = whole ? ["conformance.test.js", 145] : ["conformance-sample.js", 80];

/**
 * @file Whether this build can train. `lockstep/inference` is built with false, so that bundlers drop what stands behind it: gradient
 * rules with the kernels that they call, how weights begin, assignments.
 */
export const TRAINING = true as boolean;

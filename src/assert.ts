/** @file Assertions about what belongs together. */
import { internal } from "./errors.ts";

/**
 * Says what must hold of plans, kernels and their encoders whatever users do. The tests run with these. By the mark Rollup leaves the calls
 * out of what is shipped, with what `holds` reads; what it calls comes as a function, for the same.
 */
/* @__NO_SIDE_EFFECTS__ */
export function assert(holds: boolean | (() => boolean), message: () => string): asserts holds {
  if (!(typeof holds === "function" ? holds() : holds)) throw internal(message());
}

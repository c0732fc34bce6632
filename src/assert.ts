/** @file Assertions about what belongs together. */
import { internal } from "./errors.ts";

/**
 * Says what must hold of plans, kernels and their encoders whatever users do. The tests run with these; the build leaves the calls out of what it ships, so
 * that `holds` must do nothing but look.
 */
export function assert(holds: boolean, message: () => string): asserts holds {
  if (!holds) throw internal(message());
}

/** @file Who an error comes from. */
import { LockstepError } from "./errors.ts";

/** Runs `fn`; errors of ours tell who they come from, layers the innermost one. */
export function naming<R>(who: string, fn: () => R): R {
  try {
    return fn();
  } catch (error) {
    if (error instanceof LockstepError && !error.message.startsWith("layer ")) error.message = `${who}: ${error.message}`;
    throw error;
  }
}

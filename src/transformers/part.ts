/** @file Files beside the entry, which are loaded when something needs them. */
import { LockstepError } from "../index.ts";

/** A part that is being loaded. @throws LockstepError where it cannot be */
export const part = <T>(loading: Promise<T>): Promise<T> =>
  loading.catch((cause: unknown) => {
    throw new LockstepError(`loadPretrained: cannot load a part: ${(cause as Error).message}; it is a file beside transformers.js`, {
      cause,
    });
  });

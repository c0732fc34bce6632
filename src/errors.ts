/**
 * @file Error types. A message says who (op or layer), what was expected, what came and, where it helps, what to do.
 * All of them extend LockstepError, so that one `instanceof` tells our errors from others.
 */

/** The base of every error that Lockstep throws on purpose. */
export class LockstepError extends Error {
  override name = "LockstepError";
}

/** A shape or rank does not fit. */
export class ShapeError extends LockstepError {
  override name = "ShapeError";
}

/** A dtype does not fit. */
export class DTypeError extends LockstepError {
  override name = "DTypeError";
}

/** An argument, name or option is not one that is known or allowed. */
export class ArgumentError extends LockstepError {
  override name = "ArgumentError";
}

/** Data handed in is empty, not finite, out of range or of inconsistent length. */
export class DataError extends LockstepError {
  override name = "DataError";
}

/** A file is truncated, corrupted or of another format. */
export class FileError extends LockstepError {
  override name = "FileError";
}

/** The backend is missing, closed, out of memory or does not have what was asked of it. */
export class BackendError extends LockstepError {
  override name = "BackendError";
}

/** @internal The BackendError of a backend that is full, which may have room once others have given up theirs (relief.ts). */
export class OutOfMemoryError extends BackendError {}

/** The device behind a backend is gone: removed, reset, or destroyed. What was on it is lost; what is on the host is not. */
export class DeviceLostError extends BackendError {
  override name = "DeviceLostError";
}

/** The loss or a weight became NaN or infinite. */
export class NonFiniteError extends LockstepError {
  override name = "NonFiniteError";
}

/** An invariant of Lockstep itself is broken: a bug, never a mistake of the caller. */
export function internal(message: string): Error {
  return new Error(`internal: ${message}`);
}

/** @file The part of a backend that tensors know: memory of its own, which takes and gives back elements. */

/** Bytes owned by a backend. Only the backend that made it can use it. */
export interface DeviceBuffer {
  readonly bytes: number;
}

/** A machine's memory. */
export interface Device {
  readonly name: string;
  /** True after close(), and when the device was lost: models and functions then go on with the default backend. */
  readonly closed: boolean;
  /** @throws BackendError when out of memory, with the numbers. Contents are undefined. */
  alloc(bytes: number): DeviceBuffer;
  /** Gives a buffer back. Does nothing after close(): handles may be collected later. */
  free(buffer: DeviceBuffer): void;
  /** Copies host elements into `buffer` at byte `offset`, ordered with runs. */
  write(buffer: DeviceBuffer, offset: number, data: ArrayBufferView): void;
  /** The bytes `[offset, offset + bytes)` after all runs enqueued so far. */
  read(buffer: DeviceBuffer, offset: number, bytes: number): Promise<ArrayBuffer>;
}

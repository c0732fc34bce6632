import { LockstepError } from "./errors.ts";

/** Element types: what elements compute as. `bool` is a 32-bit 0 or 1. How they lie in memory is their `Storage`. */
export type DType = "f32" | "i32" | "u32" | "bool";

/** The typed arrays that hold tensor elements on the host. */
export type TypedArray = Float32Array | Int32Array | Uint32Array;

/** What a tensor keeps of its elements on the host: i32 elements that came as bytes stay bytes. */
export type HostArray = TypedArray | Uint8Array;

/**
 * How elements lie in memory, where it is not as 32-bit words. `u8`: i32 elements of 0 to 255 that came as bytes. `f16`: f32 temporaries,
 * where a backend can. Packed: weights in few bits.
 * What an element computes as is its dtype. Kernels that gain by it read such operands as they are; before the others the planner puts a
 * copy of words.
 */
export type Storage = "u8" | "f16" | PackedStorage;

/**
 * How the f32 elements of a packed matrix lie (src/packed/): rows of `k` elements in few bits each. It brings what plans need to read it,
 * so that applications without packed weights hold nothing of that.
 */
export interface PackedStorage {
  /** Tells layouts apart that are not the same. */
  readonly name: string;
  readonly format: string;
  readonly rows: number;
  readonly k: number;
  /** The tensor is [k, rows]: its columns are what is stored as rows. Otherwise [rows, k]. */
  readonly transposed: boolean;
  /** Of all elements, whole words. */
  readonly bytes: number;
  /** A `PackedReading` (plan/storage.ts), which this file need not know. */
  readonly reading: object;
  /** f32 elements, row-major in the tensor's shape, as it stores them. @throws DataError for what the format cannot hold */
  pack(values: Float32Array): Uint8Array;
  /** The elements as f32, row-major in the tensor's shape. */
  unpack(bytes: Uint8Array): Float32Array;
  /** The name. */
  toString(): string;
}

/** `storage`, if it is that of a packed tensor. */
export const packedIn = (storage: Storage | undefined): PackedStorage | null => (typeof storage === "object" ? storage : null);

/** Bytes of one element as a word, whatever its dtype. */
export const ELEMENT_BYTES = 4;

/** Bytes of an f32 element that a backend stores as f16 (temporaries only). */
export const HALF_BYTES = 2;

/** Bytes of `size` elements, as words where no storage is given: always whole words. */
export function bytesOf(size: number, storage?: Storage): number {
  if (typeof storage === "object") return storage.bytes;
  return storage === undefined
    ? size * ELEMENT_BYTES
    : Math.ceil((size * (storage === "u8" ? 1 : HALF_BYTES)) / ELEMENT_BYTES) * ELEMENT_BYTES;
}

const ARRAYS = { f32: Float32Array, i32: Int32Array, u32: Uint32Array, bool: Uint32Array };

/**
 * A zero-filled typed array of `size` elements for `dtype` (`bool` is a Uint32Array of 0 and 1). @throws LockstepError where there is no
 * memory.
 */
export function allocate(dtype: DType, size: number): TypedArray {
  try {
    return view(dtype, new ArrayBuffer(size * ELEMENT_BYTES), 0, size);
  } catch {
    throw new LockstepError(`out of memory: ${size} elements need ${size * ELEMENT_BYTES} bytes`);
  }
}

/** A typed array for `dtype` over existing bytes. `byteOffset` in bytes, `size` in elements. */
export function view(dtype: DType, buffer: ArrayBufferLike, byteOffset: number, size: number): TypedArray {
  return new ARRAYS[dtype](buffer as ArrayBuffer, byteOffset, size);
}

/** The dtype a typed array naturally holds. */
export function dtypeOf(data: TypedArray): DType {
  return data instanceof Float32Array ? "f32" : data instanceof Int32Array ? "i32" : "u32";
}

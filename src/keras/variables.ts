/** @file Variables of files as tensors of layers. */
import { cut, fromBits, halfBits } from "../io/safetensors.ts";
import { FileError, tensor } from "../index.ts";
import type { Layer, Shape, Tensor } from "../index.ts";
import { sameShape, showShape } from "../shape.ts";
import { KNOWN } from "./place.ts";
import type { Place } from "./place.ts";

/** A variable of a file, read. */
export interface Variable {
  /** For errors. */
  readonly name: string;
  /** As NumPy calls it. */
  readonly dtype: string;
  readonly shape: Shape;
  /** Little-endian, row-major. */
  readonly bytes: Uint8Array;
}

/** Typed arrays over bytes that may lie anywhere. */
const array =
  <T>(make: { new (buffer: ArrayBufferLike, offset: number, length: number): T; readonly BYTES_PER_ELEMENT: number }) =>
  (bytes: Uint8Array): T => {
    const { byteOffset, length } = bytes;
    const size = make.BYTES_PER_ELEMENT;
    return byteOffset % size === 0 ? new make(bytes.buffer, byteOffset, length / size) : new make(bytes.slice().buffer, 0, length / size);
  };

const floats = array(Float32Array);

const FLOATS: { readonly [dtype: string]: (bytes: Uint8Array) => Float32Array } = {
  float32: floats,
  float64: (b) => Float32Array.from(array(Float64Array)(b)),
  float16: (b) => fromBits(array(Uint16Array)(b), halfBits),
  bfloat16: (b) => floats(new Uint8Array(Uint32Array.from(array(Uint16Array)(b), (bits) => bits << 16).buffer)),
  int8: (b) => Float32Array.from(array(Int8Array)(b)),
  uint8: (b) => Float32Array.from(b),
  bool: (b) => Float32Array.from(b),
  int16: (b) => Float32Array.from(array(Int16Array)(b)),
  uint16: (b) => Float32Array.from(array(Uint16Array)(b)),
  int32: (b) => Float32Array.from(array(Int32Array)(b)),
  uint32: (b) => Float32Array.from(array(Uint32Array)(b)),
  int64: (b) => Float32Array.from(array(BigInt64Array)(b), Number),
  uint64: (b) => Float32Array.from(array(BigUint64Array)(b), Number),
};

/** Elements as f32; in the place where they are, if they are that. @throws FileError for other kinds of elements */
export function floatsOf(who: string, { name, dtype, bytes }: Variable): Float32Array {
  if (!Object.hasOwn(FLOATS, dtype)) throw new FileError(`${who}: "${cut(name)}" holds ${cut(dtype)}, weights are numbers`);
  return FLOATS[dtype](bytes);
}

/** Elements of a kind that models compute with, as NumPy calls them. */
export const isNumeric = (dtype: string): boolean => Object.hasOwn(FLOATS, dtype);

/** The variables of a file, found by the layer and the weight that they are for. */
export interface Store {
  /**
   * The variable of the weight `name`, which is number `index` of those that `layer` has made. @throws FileError where there is none
   */
  take(place: Place, layer: Layer, name: string, index: number): Variable;
  /** @throws FileError for variables that no layer took */
  finish(): void;
}

/**
 * What `build` asks for weights: of each the variable that the file has for it, as a tensor. Layers that the file does not have begin as
 * their initializers say.
 */
export function weightsFrom(
  who: string,
  store: Store,
  places: ReadonlyMap<Layer, Place>,
): (layer: Layer, name: string, shape: Shape) => Tensor | null {
  const counts = new Map<Layer, number>();
  return (layer, name, shape) => {
    const place = places.get(layer);
    if (place === undefined)
      throw new FileError(`${who}: layer ${layer.kind} "${cut(layer.name)}" has weights of which the file says nothing`);
    // Its options have said them.
    if (place.className === KNOWN) return null;
    const index = counts.get(layer) ?? 0;
    counts.set(layer, index + 1);
    const variable = store.take(place, layer, name, index);
    if (!sameShape(variable.shape, shape))
      throw new FileError(
        `${who}: "${cut(variable.name)}" has shape ${showShape(variable.shape)}, ${place.className} ` +
          `${cut(place.names.join("/"))} needs ${showShape(shape)} for its ${name}`,
      );
    return tensor(floatsOf(who, variable), shape, "f32");
  };
}

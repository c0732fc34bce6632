/** @file Writing safetensors files. */
import { checkOptions, kindOf } from "../check.ts";
import { ArgumentError } from "../errors.ts";
import { encodeRaw } from "../io/safetensors.ts";
import type { RawTensor } from "../io/safetensors.ts";
import type { Shape } from "../shape.ts";
import { packed } from "./dtypes.ts";
import type { RawSafeTensor, SafeTensor } from "./read.ts";

/**
 * A tensor to be written: one of Lockstep's, whose elements may be on a device; elements in a typed array, written as what they are or as
 * `dtype` (floats as F16, BF16, F32 or F64, rounded to the nearest; integers as other integers that hold them, or BOOL); or bytes, of any
 * dtype. What was read can be written, but for F8 whose elements became f32.
 */
export type WritableTensor =
  | RawSafeTensor
  | { readonly shape: Shape; readonly dtype?: string; readonly data: ArrayBufferView }
  | { readonly shape: Shape; readonly dtype: string; data(): Promise<ArrayBufferView> };

async function rawOf(name: string, value: WritableTensor): Promise<RawTensor> {
  const { shape, dtype, bytes, data } = (value ?? {}) as Partial<RawSafeTensor & SafeTensor> & { data?: () => Promise<ArrayBufferView> };
  if (!Array.isArray(shape)) {
    throw new ArgumentError(
      `writeSafetensors: tensor "${name}" must be a tensor, { shape, data } or { dtype, shape, bytes }, got ${kindOf(value)}`,
    );
  }
  if (ArrayBuffer.isView(bytes)) return { dtype: String(dtype), shape, bytes };
  if (typeof data === "function") {
    const elements = await (value as { data(): Promise<ArrayBufferView> }).data();
    return { shape, ...packed(name, elements, (dtype as string) === "bool" ? "BOOL" : undefined) };
  }
  return { shape, ...packed(name, data as unknown as ArrayBufferView, dtype) };
}

/**
 * A safetensors file as bytes: larger elements first, so that all are aligned, then by name; equal contents give equal bytes.
 * @param tensors by name: an object, a Map, or pairs [name, tensor]
 * @param metadata texts by name
 * @throws ArgumentError for a reserved or repeated name, metadata that is not text, what is no tensor and elements that do not fit their
 * dtype; DTypeError for arrays and dtypes that do not go together; ShapeError for a shape of another size; each naming the tensor
 * @example await writeFile("model.safetensors", await writeSafetensors({ w: { data: Float32Array.of(1, 2), shape: [2], dtype: "BF16" }
 * }, { format: "pt" }));
 */
export async function writeSafetensors(
  tensors: { readonly [name: string]: WritableTensor } | Iterable<readonly [name: string, tensor: WritableTensor]>,
  metadata: { readonly [key: string]: string } = {},
): Promise<Uint8Array> {
  if (typeof tensors !== "object" || tensors === null) {
    throw new ArgumentError(`writeSafetensors: expected tensors by name, got ${kindOf(tensors)}`);
  }
  checkOptions("writeSafetensors: metadata", metadata);
  const named = Symbol.iterator in tensors ? [...tensors] : Object.entries(tensors);
  return encodeRaw(await Promise.all(named.map(async ([name, value]) => [name, await rawOf(name, value)] as const)), metadata);
}

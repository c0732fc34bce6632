/** @file Elements of HDF5: bytes in the order of the platform, and text, which lies in the file's heaps where it has any length. */
import { Bytes } from "./bytes.ts";
import { placeOf, word } from "./hdf5-types.ts";
import type { ElementType, Sizes } from "./hdf5-types.ts";

/** One of `strings` and `bytes` (little-endian) is there. */
export interface Attribute {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly strings: readonly string[] | null;
  readonly bytes: Uint8Array | null;
}

/** Elements as typed arrays have them. */
export function littleEndian(bytes: Uint8Array, { size, bigEndian }: ElementType): Uint8Array {
  if (!bigEndian || size === 1) return bytes;
  const out = bytes.slice();
  for (let at = 0; at < out.length; at += size) out.subarray(at, at + size).reverse();
  return out;
}

/** The object `index` of the heap at `heap`. */
function heapObject(file: Bytes, sizes: Sizes, heap: number, index: number): { readonly at: number; readonly length: number } {
  if (!file.is(heap, "GCOL")) throw file.fault("damaged: a text is not where it should be");
  const end = heap + word(file, heap + 8, sizes.length);
  const head = 8 + sizes.length;
  let at = heap + head;
  while (at + head <= end) {
    const own = file.u16(at);
    const length = word(file, at + 8, sizes.length);
    if (own === index) return { at: at + head, length };
    if (own === 0) break;
    at += head + Math.ceil(length / 8) * 8;
  }
  throw file.fault("damaged: a text is not where it should be");
}

/** Text elements. `budget`: bytes that may still be read. */
export function stringsOf(
  file: Bytes,
  sizes: Sizes,
  type: ElementType,
  bytes: Uint8Array,
  count: number,
  budget: { left: number },
): string[] {
  if (type.name !== "string" && type.name !== "strings") throw file.fault(`expected text, found ${type.name}`);
  const decoder = new TextDecoder();
  const inside = new Bytes(file.who, bytes);
  return Array.from({ length: count }, (_, i) => {
    let text = bytes.subarray(i * type.size, (i + 1) * type.size);
    if (type.name === "strings") {
      const at = i * type.size;
      const length = inside.u32(at);
      const heap = placeOf(inside, at + 4, sizes);
      if (length === 0 || heap === null) return "";
      const found = heapObject(file, sizes, heap, inside.u32(at + 4 + sizes.offset));
      // The heap's length counts, but text may end before.
      text = file.slice(found.at, Math.min(found.length, length));
    }
    const end = text.indexOf(0);
    const own = end < 0 ? text : text.subarray(0, end);
    budget.left -= own.length + 8;
    if (budget.left < 0) throw file.fault("damaged: it has more text than bytes");
    return decoder.decode(own);
  });
}

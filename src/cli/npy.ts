/** @file Arrays of NumPy (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html), versions 1 to 3. */
import { FileError } from "../errors.ts";
import { sizeOf } from "../shape.ts";
import type { Shape } from "../shape.ts";

/** Elements with their shape, row-major. */
export interface NpyArray {
  readonly shape: Shape;
  readonly data: Float32Array | Int32Array | Uint8Array;
}

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

type Reader = (view: DataView, at: number, little: boolean) => number | bigint;

/** By kind and bytes of an element: what it becomes, and how it is read. */
const TYPES: { readonly [type: string]: readonly ["f32" | "i32" | "u8", Reader] } = {
  f2: ["f32", (v, at, l) => half(v.getUint16(at, l))],
  f4: ["f32", (v, at, l) => v.getFloat32(at, l)],
  f8: ["f32", (v, at, l) => v.getFloat64(at, l)],
  i1: ["i32", (v, at) => v.getInt8(at)],
  i2: ["i32", (v, at, l) => v.getInt16(at, l)],
  i4: ["i32", (v, at, l) => v.getInt32(at, l)],
  i8: ["i32", (v, at, l) => v.getBigInt64(at, l)],
  u1: ["u8", (v, at) => v.getUint8(at)],
  u2: ["i32", (v, at, l) => v.getUint16(at, l)],
  u4: ["i32", (v, at, l) => v.getUint32(at, l)],
  u8: ["i32", (v, at, l) => v.getBigUint64(at, l)],
  b1: ["u8", (v, at) => v.getUint8(at)],
};

function half(bits: number): number {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Elements in Fortran's order, row-major. */
function rowMajor<T extends NpyArray["data"]>(data: T, shape: Shape): T {
  const out = data.slice() as T;
  const index = shape.map(() => 0);
  for (let i = 0; i < out.length; i++) {
    let from = 0;
    for (let d = shape.length - 1; d >= 0; d--) from = from * shape[d] + index[d];
    out[i] = data[from];
    for (let d = shape.length - 1; d >= 0 && ++index[d] === shape[d]; d--) index[d] = 0;
  }
  return out;
}

/**
 * Reads an array. Floats become f32, integers i32, bytes and truths bytes. @throws FileError for what is none, and for elements that do not
 * fit
 */
export function readNpy(who: string, bytes: Uint8Array): NpyArray {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fault = (why: string): FileError => new FileError(`${who}: ${why}`);
  if (bytes.length < 10 || MAGIC.some((byte, i) => bytes[i] !== byte)) throw fault("it is no array of NumPy (.npy)");
  const wide = bytes[6] >= 2;
  if (bytes[6] > 3 || bytes.length < 12) throw fault(`it is of version ${bytes[6]} of the format; 1 to 3 are read`);
  const start = wide ? 12 : 10;
  const length = wide ? view.getUint32(8, true) : view.getUint16(8, true);
  const header = new TextDecoder().decode(bytes.subarray(start, start + length));
  const field = (name: string, pattern: string): string => {
    const found = new RegExp(`['"]${name}['"]\\s*:\\s*${pattern}`).exec(header);
    if (found === null) throw fault(`its header has no ${name}, or one that is not read: ${JSON.stringify(header.slice(0, 120))}`);
    return found[1];
  };
  const descr = field("descr", "['\"]([<>|=]?[a-zA-Z]\\d*)['\"]");
  const fortran = field("fortran_order", "(True|False)") === "True";
  const shape = field("shape", "\\(([\\d,\\s]*)\\)")
    .split(",")
    .filter((part) => part.trim() !== "")
    .map(Number);
  const type = descr.replace(/^[<>|=]/, "");
  const little = descr[0] !== ">";
  if (!Object.hasOwn(TYPES, type)) throw fault(`elements of type ${descr} are not read; write it with astype("float32")`);
  const [kind, read] = TYPES[type];
  const size = sizeOf(shape);
  const width = Number(type.slice(1));
  const from = start + length;
  if (!Number.isSafeInteger(size) || bytes.length - from !== size * width)
    throw fault(`shape (${shape.join(", ")}) of ${descr} needs ${size * width} bytes of data, found ${bytes.length - from}`);
  const data = kind === "f32" ? new Float32Array(size) : kind === "u8" ? new Uint8Array(size) : new Int32Array(size);
  for (let i = 0; i < size; i++) {
    const value = Number(read(view, from + i * width, little));
    if (kind === "i32" && value !== value >> 0) throw fault(`element ${i} is ${value}, which does not fit into 32 bits`);
    data[i] = value;
    if (kind === "f32" && Number.isFinite(value) && !Number.isFinite(data[i]))
      throw fault(`element ${i} is ${value}, which is more than a float of 32 bits holds`);
  }
  return { shape, data: fortran && shape.length > 1 ? rowMajor(data, shape) : data };
}

/** Types of elements that are written. */
type Written = Float32Array | Int32Array | Uint32Array | Uint8Array;

/** An array as the bytes of a file; bytes are truths. */
export function writeNpy({ shape, data }: { readonly shape: Shape; readonly data: Written }): Uint8Array {
  const descr = data instanceof Float32Array ? "<f4" : data instanceof Int32Array ? "<i4" : data instanceof Uint32Array ? "<u4" : "|b1";
  const dims = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const said = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${dims}), }`;
  // Elements begin at a multiple of 64.
  const header = `${said.padEnd(Math.ceil((10 + said.length + 1) / 64) * 64 - 11)}\n`;
  const bytes = new Uint8Array(10 + header.length + data.byteLength);
  bytes.set([...MAGIC, 1, 0, header.length & 255, header.length >> 8]);
  bytes.set(new TextEncoder().encode(header), 10);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 10 + header.length);
  return bytes;
}

/** @file Writes GGUF files, as https://github.com/ggml-org/ggml/blob/master/docs/gguf.md says. */

/** Bytes that grow. */
class Bytes {
  parts = [];
  length = 0;
  put(bytes) {
    this.parts.push(bytes);
    this.length += bytes.length;
  }
  number(kind, size, value) {
    const view = new DataView(new ArrayBuffer(size));
    view[`set${kind}`](0, value, true);
    this.put(new Uint8Array(view.buffer));
  }
  u32(value) {
    this.number("Uint32", 4, value);
  }
  u64(value) {
    this.number("BigUint64", 8, BigInt(value));
  }
  text(value) {
    const bytes = new TextEncoder().encode(value);
    this.u64(bytes.length);
    this.put(bytes);
  }
  pad(to) {
    this.put(new Uint8Array((to - (this.length % to)) % to));
  }
  whole() {
    const out = new Uint8Array(this.length);
    let at = 0;
    for (const part of this.parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }
}

const KINDS = { u8: 0, i8: 1, u16: 2, i16: 3, u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9, u64: 10, i64: 11, f64: 12 };
const NUMBERS = {
  u8: ["Uint8", 1],
  i8: ["Int8", 1],
  u16: ["Uint16", 2],
  i16: ["Int16", 2],
  u32: ["Uint32", 4],
  i32: ["Int32", 4],
  f32: ["Float32", 4],
  u64: ["BigUint64", 8],
  i64: ["BigInt64", 8],
  f64: ["Float64", 8],
};

function putValue(out, [kind, value, of]) {
  if (kind === "string") out.text(value);
  else if (kind === "bool") out.number("Uint8", 1, Number(value));
  else if (kind === "array") {
    out.u32(KINDS[of]);
    out.u64(value.length);
    for (const v of value) putValue(out, of === "array" ? v : [of, v]);
  } else out.number(...NUMBERS[kind], kind.endsWith("64") && kind !== "f64" ? BigInt(value) : value);
}

/**
 * A file. `metadata`: [key, [kind, value, kind of elements]]; `tensors`: { name, type (a number), shape (outermost first), bytes }, whose
 * `offset` may be given. `alignment` is where they are put, whatever the metadata says.
 */
export function writeGguf(metadata, tensors, { version = 3, alignment = 32, magic = "GGUF" } = {}) {
  const out = new Bytes();
  out.put(new TextEncoder().encode(magic));
  out.u32(version);
  out.u64(tensors.length);
  out.u64(metadata.length);
  for (const [key, value] of metadata) {
    out.text(key);
    out.u32(KINDS[value[0]]);
    putValue(out, value);
  }
  let at = 0;
  for (const { name, type, shape, bytes, offset } of tensors) {
    out.text(name);
    out.u32(shape.length);
    for (const d of [...shape].reverse()) out.u64(d);
    out.u32(type);
    out.u64(offset ?? at);
    at = Math.ceil((at + bytes.length) / alignment) * alignment;
  }
  out.pad(alignment);
  for (const { bytes } of tensors) {
    out.put(bytes);
    out.pad(alignment);
  }
  return out.whole();
}

/** @file As much of an ONNX writer (https://onnx.ai/onnx/repo-docs/IR.html, onnx.proto3) as the benchmark's models need. */

const bytes = (...parts) => Buffer.concat(parts.map((p) => (typeof p === "number" ? Buffer.of(p) : Buffer.from(p))));

function varint(value) {
  const out = [];
  let v = BigInt.asUintN(64, BigInt(value));
  for (; v > 127n; v >>= 7n) out.push(Number(v & 127n) | 128);
  out.push(Number(v));
  return Buffer.from(out);
}
const int = (field, value) => bytes(varint(field << 3), varint(value));
const block = (field, content) => bytes(varint((field << 3) | 2), varint(content.length), content);
const text = (field, value) => block(field, Buffer.from(value));
const float = (field, value) => bytes(varint((field << 3) | 5), Buffer.from(Float32Array.of(value).buffer));

const FLOAT = 1;
const INT64 = 7;

/** TensorProto */
function tensorOf(name, { shape, data }) {
  const raw = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return bytes(...shape.map((d) => int(1, d)), int(2, data instanceof BigInt64Array ? INT64 : FLOAT), text(8, name), block(9, raw));
}

/** ValueInfoProto; a size that is a name may be any. `ids` alone are integers. */
const valueInfo = (name, shape) => {
  const sizes = shape.map((d) => block(1, typeof d === "string" ? text(2, d) : int(1, d)));
  return bytes(text(1, name), block(2, block(1, bytes(int(1, name === "ids" ? INT64 : FLOAT), block(2, bytes(...sizes))))));
};

/** AttributeProto */
function attribute(name, value) {
  if (typeof value === "string") return bytes(text(1, name), text(4, value), int(20, 3));
  if (Array.isArray(value))
    return bytes(
      text(1, name),
      ...value.map((v) => (typeof v === "string" ? text(9, v) : int(8, v))),
      int(20, typeof value[0] === "string" ? 8 : 7),
    );
  return bytes(text(1, name), Number.isInteger(value) ? int(3, value) : float(2, value), int(20, Number.isInteger(value) ? 2 : 1));
}

/** Collects nodes; `build` gives the bytes of a model, opset 17. */
export class OnnxGraph {
  #nodes = [];
  #constants = [];
  #count = 0;

  constant(data, shape) {
    const name = `c${this.#count++}`;
    this.#constants.push(block(5, tensorOf(name, { shape, data })));
    return name;
  }

  /** The name of the node's output number `output`. */
  node(op, inputs, attributes = {}, output = 0) {
    const name = `t${this.#count++}`;
    const outputs = Array.from({ length: output }, () => "").concat(name);
    this.#nodes.push(
      block(
        1,
        bytes(
          ...inputs.map((i) => text(1, i)),
          ...outputs.map((o) => text(2, o)),
          text(4, op),
          ...Object.entries(attributes).map(([k, v]) => block(5, attribute(k, v))),
        ),
      ),
    );
    return name;
  }

  /** `inputs`, `outputs`: name -> shape */
  build(inputs, output, shape) {
    return this.buildMany(inputs, { [output]: shape });
  }

  buildMany(inputs, outputs) {
    const graph = bytes(
      ...this.#nodes,
      text(2, "bench"),
      ...this.#constants,
      ...Object.entries(inputs).map(([name, s]) => block(11, valueInfo(name, s))),
      ...Object.entries(outputs).map(([name, s]) => block(12, valueInfo(name, s))),
    );
    return bytes(int(1, 8), block(7, graph), block(8, bytes(text(1, ""), int(2, 17))));
  }
}

/**
 * @file What an .onnx file says, as plain objects (onnx.proto of https://github.com/onnx/onnx). Lengths are checked against what is there
 * before anything is read by them, and messages inside messages are counted.
 */
import { PbfReader } from "pbf";
import { FileError } from "../index.ts";
import type { Outline, Place } from "./outline.ts";

/** `TensorProto`: elements are read when they are asked for (tensors.ts). */
export interface TensorProto {
  name: string;
  dims: number[];
  /** `TensorProto.DataType` */
  type: number;
  raw: Uint8Array | null;
  /** Where they are in the file, if they were left there (outline.ts). */
  place: Place | null;
  /** Elements in typed fields, those of f16, bool and all integers to 32 bits as the integers that they are stored as. */
  values: number[] | null;
  /** int64_data and uint64_data. */
  longs: bigint[] | null;
  strings: string[] | null;
  /** Where elements lie in another file: location, offset, length. */
  external: Map<string, string> | null;
}

/** `SparseTensorProto` */
export interface SparseTensorProto {
  values: TensorProto | null;
  indices: TensorProto | null;
  dims: number[];
}

/** `AttributeProto` */
export interface AttributeProto {
  name: string;
  f: number | null;
  i: bigint | null;
  s: string | null;
  tensor: TensorProto | null;
  sparse: SparseTensorProto | null;
  graph: GraphProto | null;
  floats: number[];
  ints: bigint[];
  strings: string[];
  /** `AttributeProto.AttributeType`, 0 where the file does not say. */
  type: number;
  /** The attribute of the function around that it takes its value from. */
  from: string;
}

/** `NodeProto` */
export interface NodeProto {
  inputs: string[];
  outputs: string[];
  name: string;
  op: string;
  domain: string;
  attributes: Map<string, AttributeProto>;
}

/** `ValueInfoProto` of a tensor; null where nothing is said. */
export interface ValueProto {
  name: string;
  type: number;
  /** A size, the name of a free one, or null. */
  shape: (number | string | null)[] | null;
  /** A sequence, map or optional value. */
  other: boolean;
}

/** `GraphProto` */
export interface GraphProto {
  name: string;
  nodes: NodeProto[];
  initializers: TensorProto[];
  sparse: SparseTensorProto[];
  inputs: ValueProto[];
  outputs: ValueProto[];
}

/** `FunctionProto` */
export interface FunctionProto {
  name: string;
  domain: string;
  inputs: string[];
  outputs: string[];
  attributes: string[];
  defaults: Map<string, AttributeProto>;
  nodes: NodeProto[];
  opsets: Map<string, number>;
}

/** `ModelProto` */
export interface ModelProto {
  producer: string;
  opsets: Map<string, number>;
  graph: GraphProto | null;
  functions: FunctionProto[];
}

/** The most messages inside one another. */
const MOST_DEPTH = 100;

/** A reader that knows the end of each message it is in. */
class Reader {
  readonly pbf: PbfReader;
  readonly who: string;
  readonly #places: Outline["places"];
  #end: number;
  #depth = 0;

  constructor(who: string, { bytes, places }: Outline) {
    this.who = who;
    this.#places = places;
    this.pbf = new PbfReader(bytes);
    this.#end = bytes.length;
  }

  fault(why: string): FileError {
    return new FileError(`${this.who}: no ONNX file, or a damaged one: ${why} at byte ${this.pbf.pos}`);
  }

  /** The end of what a length stands before. */
  #bounded(): number {
    const length = this.pbf.readVarint();
    if (!(length >= 0 && length <= this.#end - this.pbf.pos)) throw this.fault(`${length} bytes are announced, which are not there`);
    return this.pbf.pos + length;
  }

  message<T>(result: T, field: (tag: number, result: T) => void): T {
    return this.#within(this.#bounded(), result, field);
  }

  /** All of the file. */
  whole<T>(result: T, field: (tag: number, result: T) => void): T {
    return this.#within(this.#end, result, field);
  }

  #within<T>(end: number, result: T, field: (tag: number, result: T) => void): T {
    if (++this.#depth > MOST_DEPTH) throw this.fault("messages lie too deep");
    const [outer, pbf] = [this.#end, this.pbf];
    this.#end = end;
    for (let tag = pbf.nextField(end); tag !== 0; tag = pbf.nextField(end)) field(tag, result);
    if (pbf.pos !== end) throw this.fault("a message is longer than it says");
    this.#end = outer;
    this.#depth--;
    return result;
  }

  bytes(): Uint8Array {
    const end = this.#bounded();
    const part = this.pbf.buf.subarray(this.pbf.pos, end);
    this.pbf.pos = end;
    return part;
  }

  /** Where the elements are that the last bytes stand for. */
  place(): Place | null {
    return this.#places.get(this.pbf.pos) ?? null;
  }

  string(): string {
    return new TextDecoder().decode(this.bytes());
  }

  long(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      if (this.pbf.pos >= this.#end) throw this.fault("a number is cut off");
      const byte = this.pbf.buf[this.pbf.pos++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asIntN(64, value);
    }
    throw this.fault("a number is too long");
  }

  /** One more element, or a packed run of them. */
  repeated<T>(into: T[], one: () => T): T[] {
    if (this.pbf.type !== 2) into.push(one());
    else {
      const [end, outer] = [this.#bounded(), this.#end];
      this.#end = end;
      while (this.pbf.pos < end) into.push(one());
      this.#end = outer;
      if (this.pbf.pos !== end) throw this.fault("a list is longer than it says");
    }
    return into;
  }

  readonly float = (): number => this.pbf.readFloat();
  readonly double = (): number => this.pbf.readDouble();
  readonly int = (): number => Number(this.long());
}

const emptyTensor = (): TensorProto => ({
  ...{ name: "", dims: [], type: 0, raw: null, place: null },
  ...{ values: null, longs: null, strings: null, external: null },
});

const readTensor = (r: Reader): TensorProto => r.message(emptyTensor(), tensorFields(r));

function tensorFields(r: Reader): (tag: number, t: TensorProto) => void {
  return (tag, t) => {
    if (tag === 1) r.repeated(t.dims, r.int);
    else if (tag === 2) t.type = r.int();
    else if (tag === 4) r.repeated((t.values ??= []), r.float);
    else if (tag === 5) r.repeated((t.values ??= []), r.int);
    else if (tag === 6) (t.strings ??= []).push(r.string());
    else if (tag === 7) r.repeated((t.longs ??= []), () => r.long());
    else if (tag === 8) t.name = r.string();
    else if (tag === 9) {
      t.raw = r.bytes();
      t.place = r.place();
    } else if (tag === 10) r.repeated((t.values ??= []), r.double);
    else if (tag === 11) r.repeated((t.longs ??= []), () => BigInt.asUintN(64, r.long()));
    else if (tag === 13) {
      const [key, value] = r.message(["", ""], (k, pair) => {
        if (k === 1) pair[0] = r.string();
        else if (k === 2) pair[1] = r.string();
      });
      (t.external ??= new Map()).set(key, value);
    }
  };
}

function readSparse(r: Reader): SparseTensorProto {
  return r.message({ values: null, indices: null, dims: [] } as SparseTensorProto, (tag, t) => {
    if (tag === 1) t.values = readTensor(r);
    else if (tag === 2) t.indices = readTensor(r);
    else if (tag === 3) r.repeated(t.dims, r.int);
  });
}

function readAttribute(r: Reader): AttributeProto {
  const a: AttributeProto = {
    ...{ name: "", f: null, i: null, s: null, tensor: null, sparse: null, graph: null, type: 0, from: "" },
    ...{ floats: [], ints: [], strings: [] },
  };
  return r.message(a, (tag) => {
    if (tag === 1) a.name = r.string();
    else if (tag === 2) a.f = r.float();
    else if (tag === 3) a.i = r.long();
    else if (tag === 4) a.s = r.string();
    else if (tag === 5) a.tensor = readTensor(r);
    else if (tag === 6) a.graph = readGraph(r);
    else if (tag === 7) r.repeated(a.floats, r.float);
    else if (tag === 8) r.repeated(a.ints, () => r.long());
    else if (tag === 9) a.strings.push(r.string());
    else if (tag === 20) a.type = r.int();
    else if (tag === 21) a.from = r.string();
    else if (tag === 22) a.sparse = readSparse(r);
  });
}

function readNode(r: Reader): NodeProto {
  const node: NodeProto = { inputs: [], outputs: [], name: "", op: "", domain: "", attributes: new Map() };
  return r.message(node, (tag) => {
    if (tag === 1) node.inputs.push(r.string());
    else if (tag === 2) node.outputs.push(r.string());
    else if (tag === 3) node.name = r.string();
    else if (tag === 4) node.op = r.string();
    else if (tag === 5) {
      const a = readAttribute(r);
      node.attributes.set(a.name, a);
    } else if (tag === 7) node.domain = domainOf(r.string());
  });
}

/** The standard operators' domain has two names. */
const domainOf = (name: string): string => (name === "ai.onnx" ? "" : name);

function readValue(r: Reader): ValueProto {
  const value: ValueProto = { name: "", type: 0, shape: null, other: false };
  const dimension = (): number | string | null => {
    let size: number | string | null = null;
    r.message(null, (tag) => {
      if (tag === 1) size = r.int();
      else if (tag === 2) size = r.string();
    });
    return size;
  };
  const tensor = (tag: number): void => {
    if (tag === 1) value.type = r.int();
    else if (tag === 2) {
      const shape: (number | string | null)[] = (value.shape = []);
      r.message(null, (inner) => {
        if (inner === 1) shape.push(dimension());
      });
    }
  };
  return r.message(value, (tag) => {
    if (tag === 1) value.name = r.string();
    else if (tag === 2)
      r.message(null, (kind) => {
        if (kind === 1) r.message(null, tensor);
        else if (kind !== 6) value.other = true;
      });
  });
}

function readGraph(r: Reader): GraphProto {
  const g: GraphProto = { name: "", nodes: [], initializers: [], sparse: [], inputs: [], outputs: [] };
  return r.message(g, (tag) => {
    if (tag === 1) g.nodes.push(readNode(r));
    else if (tag === 2) g.name = r.string();
    else if (tag === 5) g.initializers.push(readTensor(r));
    else if (tag === 11) g.inputs.push(readValue(r));
    else if (tag === 12) g.outputs.push(readValue(r));
    else if (tag === 15) g.sparse.push(readSparse(r));
  });
}

function readOpset(r: Reader, opsets: Map<string, number>): void {
  const [domain, version] = r.message(["", 1] as [string, number], (tag, pair) => {
    if (tag === 1) pair[0] = domainOf(r.string());
    else if (tag === 2) pair[1] = r.int();
  });
  opsets.set(domain, version);
}

function readFunction(r: Reader): FunctionProto {
  const f: FunctionProto = {
    ...{ name: "", domain: "", inputs: [], outputs: [], attributes: [], nodes: [] },
    ...{ defaults: new Map(), opsets: new Map() },
  };
  return r.message(f, (tag) => {
    if (tag === 1) f.name = r.string();
    else if (tag === 4) f.inputs.push(r.string());
    else if (tag === 5) f.outputs.push(r.string());
    else if (tag === 6) f.attributes.push(r.string());
    else if (tag === 7) f.nodes.push(readNode(r));
    else if (tag === 9) readOpset(r, f.opsets);
    else if (tag === 10) f.domain = domainOf(r.string());
    else if (tag === 11) {
      const a = readAttribute(r);
      f.defaults.set(a.name, a);
    }
  });
}

/** What reads one kind of message. @throws FileError for what is none */
function decoded<T>(who: string, outline: Outline, read: (r: Reader) => T): T {
  const r = new Reader(who, outline);
  try {
    return read(r);
  } catch (error) {
    if (error instanceof FileError) throw error;
    // What the library throws at the end of the bytes and for wire types that there are none of.
    throw new FileError(`${who}: no ONNX file, or a damaged one: ${(error as Error).message}`, { cause: error });
  }
}

/** A model. @throws FileError for what is none */
export const readModel = (who: string, outline: Outline): ModelProto =>
  decoded(who, outline, (r) =>
    r.whole({ producer: "", opsets: new Map(), graph: null, functions: [] } as ModelProto, (tag, m) => {
      if (tag === 2) m.producer = r.string();
      else if (tag === 7) m.graph = readGraph(r);
      else if (tag === 8) readOpset(r, m.opsets);
      else if (tag === 25) m.functions.push(readFunction(r));
    }),
  );

/** A tensor in a file of its own, as test data of ONNX come. @throws FileError for what is none */
export const readTensorFile = (who: string, bytes: Uint8Array): TensorProto =>
  decoded(who, { bytes, places: new Map() }, (r) => r.whole(emptyTensor(), tensorFields(r)));

/** @file How layers of a functional model call each other: what files of Keras 3, Keras 2 and TensorFlow.js say of it, in one form. */
import { cut } from "../io/safetensors.ts";
import { FileError } from "../index.ts";
import { isObject, show } from "./fields.ts";
import type { Json } from "./fields.ts";

/** The output `index` of call `node` of a layer. */
export class Ref {
  readonly layer: string;
  readonly node: number;
  readonly index: number;

  constructor(layer: string, node: number, index: number) {
    this.layer = layer;
    this.node = node;
    this.index = index;
  }

  /** Of the call. */
  get key(): string {
    return `${this.node}/${this.layer}`;
  }
}

/** A tensor whose elements the file says. */
export class Constant {
  /** Numbers in nested lists. */
  readonly value: unknown;
  readonly dtype: "f32" | "i32" | "bool";

  constructor(who: string, { value, dtype }: Json) {
    const flat: unknown[] = [value].flat(16) as unknown[];
    if (!flat.every((v) => typeof v === "number" || typeof v === "boolean"))
      throw new FileError(`${who}: it is called with a tensor of ${show(value)}; tensors of numbers are read`);
    this.value = value;
    this.dtype = dtype === "bool" ? "bool" : /^u?int/.test(String(dtype)) ? "i32" : "f32";
  }
}

/** A call of a layer: values, lists of values, and refs in them. */
export interface Call {
  readonly args: readonly unknown[];
  readonly kwargs: Json;
}

const MOST_DEPTH = 8;

/** `layer, node, index` in a list. @throws FileError */
export function refOf(who: string, value: unknown): Ref {
  if (isRef(value)) return new Ref(value[0], value[1], value[2]);
  throw new FileError(`${who}: expected [layer, number of its call, number of its output], found ${show(value)}`);
}

const isRef = (value: unknown): value is readonly [string, number, number] =>
  Array.isArray(value) &&
  value.length >= 3 &&
  typeof value[0] === "string" &&
  [1, 2].every((i) => Number.isInteger(value[i]) && value[i] >= 0);

/** A value of Keras 3, where tensors are objects. */
function keras3(who: string, value: unknown, depth = 0): unknown {
  if (depth > MOST_DEPTH) throw new FileError(`${who}: arguments in lists, more than ${MOST_DEPTH} deep`);
  if (Array.isArray(value)) return value.map((v) => keras3(who, v, depth + 1));
  if (!isObject(value)) return value;
  if (value.class_name === "__keras_tensor__") {
    const { config } = value;
    return refOf(who, isObject(config) ? config.keras_history : null);
  }
  if ((value.class_name === "__tensor__" || value.class_name === "__numpy__") && isObject(value.config))
    return new Constant(who, value.config);
  if (value.class_name === "__slice__" || value.class_name === "__ellipsis__") return value;
  if (typeof value.class_name === "string")
    throw new FileError(`${who}: it is called with a ${cut(value.class_name)}, which is neither a tensor nor a plain value`);
  return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, keras3(who, v, depth + 1)]));
}

/** An input of Keras 2: a ref, or a value that the file says. */
function inputOf(who: string, value: unknown): unknown {
  if (!Array.isArray(value) || value[0] !== "_CONSTANT_VALUE") return refOf(who, value);
  return typeof value[2] === "number" ? value[2] : new Constant(who, { value: value[2], dtype: "float32" });
}

/** A keyword argument of Keras 2, where tensors are lists that look like refs. */
const keras2 = (value: unknown, depth = 0): unknown =>
  isRef(value) && value.length === 3
    ? new Ref(value[0], value[1], value[2])
    : Array.isArray(value) && depth < MOST_DEPTH
      ? value.map((v) => keras2(v, depth + 1))
      : value;

/** The calls of a layer. @throws FileError */
export function callsOf(who: string, nodes: unknown): readonly Call[] {
  if (!Array.isArray(nodes)) throw new FileError(`${who}: inbound_nodes must be a list, found ${show(nodes)}`);
  return nodes.map((node: unknown): Call => {
    if (isObject(node)) {
      const { args = [], kwargs = {} } = node;
      if (!Array.isArray(args) || !isObject(kwargs)) throw new FileError(`${who}: expected { args, kwargs }, found ${show(node)}`);
      return { args: keras3(who, args) as unknown[], kwargs: keras3(who, kwargs) as Json };
    }
    if (!Array.isArray(node)) throw new FileError(`${who}: expected a list of its inputs, found ${show(node)}`);
    const refs = (isRef(node) ? [node] : node).map((input: unknown) => inputOf(who, input));
    const last: unknown = Array.isArray(node[0]) ? (node[0] as unknown[])[3] : isRef(node) ? node[3] : null;
    const kwargs = isObject(last) ? Object.fromEntries(Object.entries(last).map(([key, v]) => [key, keras2(v)])) : {};
    return { args: [refs.length === 1 ? refs[0] : refs], kwargs };
  });
}

/** Refs in a value, in the order in which Keras has them flat. */
export function refsIn(value: unknown): readonly Ref[] {
  if (value instanceof Ref) return [value];
  if (value instanceof Constant) return [];
  if (Array.isArray(value)) return value.flatMap(refsIn);
  return isObject(value) ? sortedKeys(value).flatMap((key) => refsIn(value[key])) : [];
}

/** What a model takes or gives: one ref, several, or several by name. */
export type Ends = Ref | readonly Ref[] | { readonly [name: string]: Ref };

/** Refs in lists and objects, in the order in which Keras has them flat. @throws FileError */
function flatEnds(who: string, value: unknown, depth = 0): readonly Ref[] {
  if (isRef(value)) return [refOf(who, value)];
  if (depth < MOST_DEPTH && Array.isArray(value)) return value.flatMap((v: unknown) => flatEnds(who, v, depth + 1));
  if (depth < MOST_DEPTH && isObject(value)) return sortedKeys(value).flatMap((key) => flatEnds(who, value[key], depth + 1));
  return [refOf(who, value)];
}

/** `input_layers` and `output_layers`; of what lies deeper a list. @throws FileError */
export function endsOf(who: string, value: unknown): Ends {
  if (isRef(value)) return refOf(who, value);
  const isList = Array.isArray(value);
  if (!isList && isObject(value) && Object.keys(value).length > 0 && Object.values(value).every(isRef))
    return Object.fromEntries(Object.entries(value).map(([name, v]) => [name, refOf(who, v)]));
  const refs = isList || isObject(value) ? flatEnds(who, value) : [];
  if (refs.length > 0) return refs;
  throw new FileError(`${who}: expected layers, found ${show(value)}`);
}

/** Names in the order in which Keras has what they stand for. */
export const sortedKeys = (value: object): readonly string[] => Object.keys(value).sort();

/** All of them; by name in the order in which Keras has them flat. */
export const refsOfEnds = (ends: Ends): readonly Ref[] =>
  ends instanceof Ref
    ? [ends]
    : Array.isArray(ends)
      ? (ends as readonly Ref[])
      : sortedKeys(ends).map((name) => (ends as { readonly [name: string]: Ref })[name]);

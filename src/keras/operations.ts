/** @file Sums, differences, products and quotients that stand between the layers of a functional model, as layers. */
import { add, ArgumentError, FileError, maximumLayer, minimumLayer, multiply, rescaling, subtract } from "../index.ts";
import type { Layer } from "../index.ts";
import { cut } from "../io/safetensors.ts";
import { Ref } from "./calls.ts";
import type { Call } from "./calls.ts";
import { show } from "./fields.ts";
import type { Described } from "./fields.ts";

interface Operation {
  /** Of two tensors; null where no layer does it. */
  readonly tensors: ((options: { readonly name: string }) => Layer) | null;
  /** Of a tensor and a number: x scale + offset. */
  readonly number: ((c: number) => readonly [scale: number, offset: number]) | null;
  /** Of a number and a tensor. */
  readonly swapped: ((c: number) => readonly [scale: number, offset: number]) | null;
}

const OPERATIONS: { readonly [name: string]: Operation } = {
  Add: { tensors: add as Operation["tensors"], number: (c) => [1, c], swapped: (c) => [1, c] },
  Subtract: { tensors: subtract, number: (c) => [1, -c], swapped: (c) => [-1, c] },
  Multiply: { tensors: multiply, number: (c) => [c, 0], swapped: (c) => [c, 0] },
  Divide: { tensors: null, number: (c) => [1 / c, 0], swapped: null },
  TrueDivide: { tensors: null, number: (c) => [1 / c, 0], swapped: null },
  Maximum: { tensors: maximumLayer, number: null, swapped: null },
  Minimum: { tensors: minimumLayer, number: null, swapped: null },
};

/** What Keras 2 calls them. */
const FUNCTIONS: { readonly [name: string]: string } = {
  "__operators__.add": "Add",
  "math.add": "Add",
  "math.subtract": "Subtract",
  "math.multiply": "Multiply",
  "math.truediv": "TrueDivide",
  "math.divide": "TrueDivide",
  "math.maximum": "Maximum",
  "math.minimum": "Minimum",
};

/** The operation that a member of a graph is; null for a layer. */
export function operationOf({ className, config, module }: Described, calls: readonly Call[]): string | null {
  if (/\.ops\b/.test(module)) return className;
  // Files that do not say where a class is from: the layer of this name takes a list.
  if (module === "" && Object.hasOwn(OPERATIONS, className) && calls.some(({ args }) => args.length === 2)) return className;
  if (className !== "TFOpLambda") return null;
  const { function: name } = config;
  return typeof name === "string" && Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : `${className} ${String(name)}`;
}

/** An operation and its one call, as a layer and the call of that. @throws FileError for others than are known */
export function readOperation(
  who: string,
  operation: string,
  name: string,
  calls: readonly Call[],
): { readonly layer: Layer; readonly call: Call } {
  const known = Object.hasOwn(OPERATIONS, operation) ? OPERATIONS[operation] : null;
  const fault = (why: string): FileError =>
    new FileError(`${who}: ${cut(operation)} between layers ${why}; give layers: { ${cut(name)}: (config) => ... }`);
  if (known === null) throw fault(`is not known: known are ${Object.keys(OPERATIONS).join(", ")}`);
  if (calls.length !== 1) throw fault("is called more than once");
  const [{ args, kwargs }] = calls;
  const [a, b] = [args[0] ?? kwargs.x1 ?? kwargs.x, args[1] ?? kwargs.x2 ?? kwargs.y];
  const [first, second] = [a, b].map((v) => v instanceof Ref);
  const number = first ? b : a;
  if (first && second) {
    if (known.tensors === null) throw fault("is of two tensors, which no layer computes");
    return { layer: known.tensors({ name }), call: { args: [[a, b]], kwargs: {} } };
  }
  const make = first ? known.number : known.swapped;
  if ((!first && !second) || make === null || !Number.isFinite(number)) throw fault(`is of ${show(number)}`);
  try {
    const [scale, offset] = make(number as number);
    return { layer: rescaling(scale, { offset, name }), call: { args: [first ? a : b], kwargs: {} } };
  } catch (cause) {
    if (cause instanceof ArgumentError) throw fault(cause.message);
    throw cause;
  }
}

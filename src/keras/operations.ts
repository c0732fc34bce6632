/** @file Functions that stand between the layers of a functional model: as layers where there are such, which files can hold. */
import { add, ArgumentError, FileError, maximumLayer, minimumLayer, multiply, rescaling, subtract } from "../index.ts";
import type { Layer, Tensor } from "../index.ts";
import { cut } from "../io/safetensors.ts";
import { Ref } from "./calls.ts";
import type { Call } from "./calls.ts";
import { Fields } from "./fields.ts";
import type { Described, Dialect, Json } from "./fields.ts";
import { FUNCTION_NAMES, functionOf } from "./functions.ts";

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

const X = ["x"];
const TWO = ["x", "y"];
const REDUCED = ["input_tensor"];

/** TensorFlow's functions, as Keras 2 calls them: the function, its operands, and options of other names. */
const TENSORFLOW: {
  readonly [name: string]: readonly [operation: string, operands: readonly string[], options: { readonly [option: string]: string }];
} = {
  "__operators__.add": ["Add", TWO, {}],
  "__operators__.getitem": ["GetItem", ["tensor", "slice_spec"], {}],
  "math.add": ["Add", TWO, {}],
  "math.subtract": ["Subtract", TWO, {}],
  "math.multiply": ["Multiply", TWO, {}],
  "math.truediv": ["TrueDivide", TWO, {}],
  "math.divide": ["TrueDivide", TWO, {}],
  "math.maximum": ["Maximum", TWO, {}],
  "math.minimum": ["Minimum", TWO, {}],
  "math.pow": ["Power", TWO, {}],
  "math.abs": ["Abs", X, {}],
  "math.negative": ["Negative", X, {}],
  "math.exp": ["Exp", X, {}],
  "math.log": ["Log", X, {}],
  "math.sqrt": ["Sqrt", X, {}],
  "math.rsqrt": ["Rsqrt", X, {}],
  "math.square": ["Square", X, {}],
  "math.sigmoid": ["Sigmoid", X, {}],
  "math.tanh": ["Tanh", X, {}],
  "math.reduce_sum": ["Sum", REDUCED, {}],
  "math.reduce_mean": ["Mean", REDUCED, {}],
  "math.reduce_max": ["Max", REDUCED, {}],
  "math.reduce_min": ["Min", REDUCED, {}],
  "linalg.matmul": ["Matmul", ["a", "b"], {}],
  "nn.relu": ["Relu", ["features"], {}],
  "nn.relu6": ["Relu6", ["features"], {}],
  "nn.sigmoid": ["Sigmoid", X, {}],
  "nn.tanh": ["Tanh", X, {}],
  "nn.softmax": ["Softmax", ["logits"], {}],
  "nn.softplus": ["Softplus", ["features"], {}],
  "nn.leaky_relu": ["LeakyRelu", ["features"], { alpha: "negative_slope" }],
  "nn.gelu": ["Gelu", ["features"], {}],
  reshape: ["Reshape", ["tensor"], { shape: "newshape" }],
  transpose: ["Transpose", ["a"], { perm: "axes" }],
  expand_dims: ["ExpandDims", ["input"], {}],
  squeeze: ["Squeeze", ["input"], {}],
  concat: ["Concatenate", ["values"], {}],
  stack: ["Stack", ["values"], {}],
  clip_by_value: ["Clip", ["t"], { clip_value_min: "x_min", clip_value_max: "x_max" }],
  cast: ["Cast", X, {}],
};

/** Where TensorFlow's default is another one than Keras'. */
const DEFAULTS: { readonly [name: string]: Json } = { "nn.gelu": { approximate: false } };

/** The operation that a member of a graph is; null for a layer. `isLayer`: whether there is a layer of a class. */
export function operationOf(
  { className, config, module }: Described,
  calls: readonly Call[],
  dialect: Dialect,
  isLayer: (className: string) => boolean,
): string | null {
  if (/\.ops\b/.test(module)) return className;
  if (className === "TFOpLambda" || className === "SlicingOpLambda") {
    const name = String(config.function);
    return Object.hasOwn(TENSORFLOW, name) ? TENSORFLOW[name][0] : `${className} ${name}`;
  }
  if (module !== "") return null;
  // Files that do not say where a class is from: the layer of this name takes a list.
  if (Object.hasOwn(OPERATIONS, className) && calls.some(({ args }) => args.length === 2)) return className;
  if (dialect === "keras3" && className === "Reshape" && "newshape" in config) return className;
  return dialect === "keras3" && !isLayer(className) && FUNCTION_NAMES.includes(className) ? className : null;
}

/** What a call with operands by number or name gives. */
export type Compute = (args: readonly unknown[], kwargs: { readonly [name: string]: unknown }) => readonly Tensor[];

/** An operation as a layer and the call of that, or as a function of what it is called with. */
export type Read = { readonly layer: Layer; readonly call: Call } | { readonly compute: Compute };

/** @throws FileError for other operations than are known */
export function readOperation(
  who: string,
  operation: string,
  { config, className }: Described,
  dialect: Dialect,
  name: string,
  calls: readonly Call[],
): Read {
  const fault = (why: string): FileError =>
    new FileError(`${who}: ${cut(operation)} between layers ${why}; give layers: { ${cut(name)}: (config) => ... }`);
  const asLayer = calls.length === 1 ? layerFor(operation, name, calls[0], fault) : null;
  if (asLayer !== null) return asLayer;
  const older = /^(TFOpLambda|SlicingOpLambda)$/.test(className);
  if (older) return { compute: lambda(who, String(config.function), fault) };
  const known = functionOf(operation, new Fields(`${who}: ${cut(operation)}`, dialect, config));
  if (known === null) throw fault(`is not known: known are ${FUNCTION_NAMES.join(", ")}`);
  const { names, apply } = known;
  for (const { args, kwargs } of calls) {
    const more = Object.keys(kwargs).find((key) => !names.includes(key) && kwargs[key] !== null);
    if (more !== undefined || args.length > names.length) throw fault(`is called with ${more ?? `${args.length} arguments`}`);
  }
  return { compute: (args, kwargs) => apply(names.map((key, i) => args[i] ?? kwargs[key])) };
}

/** A layer that computes the same, which files can hold; null where there is none. @throws FileError */
function layerFor(operation: string, name: string, { args, kwargs }: Call, fault: (why: string) => FileError): Read | null {
  if (!Object.hasOwn(OPERATIONS, operation)) return null;
  const known = OPERATIONS[operation];
  const [a, b] = [args[0] ?? kwargs.x1 ?? kwargs.x, args[1] ?? kwargs.x2 ?? kwargs.y];
  const [first, second] = [a, b].map((v) => v instanceof Ref);
  const number = first ? b : a;
  if (first && second) return known.tensors === null ? null : { layer: known.tensors({ name }), call: { args: [[a, b]], kwargs: {} } };
  const make = first ? known.number : known.swapped;
  if ((!first && !second) || make === null || !Number.isFinite(number)) return null;
  try {
    const [scale, offset] = make(number as number);
    return { layer: rescaling(scale, { offset, name }), call: { args: [first ? a : b], kwargs: {} } };
  } catch (cause) {
    if (cause instanceof ArgumentError) throw fault(cause.message);
    throw cause;
  }
}

/** A function of TensorFlow as Keras 2 keeps it: its name, and what it is called with. @throws FileError */
function lambda(who: string, name: string, fault: (why: string) => FileError): Compute {
  if (!Object.hasOwn(TENSORFLOW, name)) throw fault(`is not known: known are ${Object.keys(TENSORFLOW).join(", ")}`);
  const [operation, operands, options] = TENSORFLOW[name];
  return (args, kwargs) => {
    const given = { ...kwargs };
    const takes = operands.map((key, i) => {
      const value = args[i] ?? given[key];
      delete given[key];
      return value;
    });
    delete given.name;
    const config = Object.fromEntries(
      Object.entries(given)
        .filter(([, value]) => value !== null && value !== false)
        .map(([key, value]) => [Object.hasOwn(options, key) ? options[key] : key, value]),
    );
    const fields = new Fields(`${who}: ${name}`, "keras2", { ...DEFAULTS[name], ...config });
    return (functionOf(operation, fields) as NonNullable<ReturnType<typeof functionOf>>).apply(takes);
  };
}

/**
 * @file Graph: the static record of a traced function. Nodes are immutable and shared when equal; the only effect is
 * `assign`, which takes place after every read. Also the op record.
 */
import { once } from "./cache.ts";
import { kindOf } from "./check.ts";
import type { DType } from "./dtype.ts";
import { checkRange, dtypeBeside } from "./elements.ts";
import { ArgumentError, DTypeError, LockstepError, ShapeError } from "./errors.ts";
import { naming } from "./naming.ts";
import type { Attr, Attrs, LoweredOf, NodeOf, OpOf, TensorType, VjpContextOf, VjpOf } from "./op.ts";
import type { Shape } from "./shape.ts";
import { sameShape } from "./shape.ts";
import { Tensor, tensorBeside } from "./tensor.ts";
import type { TensorLike } from "./tensor.ts";
import { TRAINING } from "./training.ts";

export type { Attr, Attrs, Kernel, TensorType } from "./op.ts";
export type Lowered = LoweredOf<Tensor>;
export type Node = NodeOf<Tensor>;
export type Op = OpOf<Tensor>;
export type Vjp = VjpOf<Tensor>;
export type VjpContext = VjpContextOf<Tensor>;

/** Types of f32 outputs. */
export const floats = (...shapes: readonly Shape[]): TensorType[] => shapes.map((shape) => ({ shape, dtype: "f32" }));

class GraphNode implements Node {
  readonly id: number;
  readonly graph: Graph;
  readonly op: Op;
  readonly inputs: readonly (Tensor | null)[];
  readonly attrs: Attrs;
  readonly outputs: readonly Tensor[];
  readonly source: string;
  readonly base: Tensor | null;

  constructor(
    graph: Graph,
    id: number,
    op: Op,
    inputs: readonly (Tensor | null)[],
    attrs: Attrs,
    types: readonly TensorType[],
    source: string,
  ) {
    this.graph = graph;
    this.id = id;
    this.op = op;
    this.inputs = inputs;
    this.attrs = attrs;
    this.source = source;
    // Taken over from the one before, which makes long chains of them cost nothing.
    this.base = op.lower === "alias" ? (inputs[0]?.node?.base ?? inputs[0]) : null;
    this.outputs = types.map((t, i) => new Tensor(t.shape, t.dtype, this, i, null));
  }
}

/** What only Graph makes, with the types it knows. */
const leaf = (name: string): Op => ({ name, infer: () => [], vjp: null, lower: "leaf" });
const inputOp = leaf("input");
const captureOp = leaf("capture");

/** A scalar or filled tensor known at trace time. Elementwise consumers take it as an immediate. */
export const constantOp: Op = {
  name: "constant",
  infer: (_inputs, attrs) => [{ shape: attrs.shape as unknown as Shape, dtype: attrs.dtype as DType }],
  vjp: null,
  lower: (node) => [{ kernel: { name: "fill" }, inputs: [], outputs: [node.outputs[0]], attrs: { value: node.attrs.value } }],
};

/** Attributes as text that differs where they do. JSON has one word for NaN and both infinities and no -0, and takes much longer. */
export function attrsKey(attr: Attr): string {
  if (typeof attr === "string") return JSON.stringify(attr);
  if (Object.is(attr, -0)) return "-0";
  if (typeof attr !== "object" || attr === null) return String(attr);
  let key = "{";
  for (const name in attr) key += `${name}:${attrsKey((attr as Attrs)[name])},`;
  return key;
}

export class Graph {
  readonly nodes: Node[] = [];
  readonly inputs: Tensor[] = [];
  /** Concrete tensors used inside, with their stand-ins. */
  readonly captures = new Map<Tensor, Tensor>();
  /** Concrete tensors that get a new value, applied after all reads. */
  readonly assigns = new Map<Tensor, Tensor>();
  /** Of what is assigned: state that `update` moves on, call by call. */
  readonly moved = new Set<Tensor>();
  /** What layers read of which the result would be another one in training, where nobody had said whether this trains, and who they are. */
  readonly undecided = new Map<Tensor, string>();
  /** Gives the random key of the next run, which is the last input; null where no run draws. */
  nextKey: (() => Tensor) | null = null;
  /** The id of the first node made for gradients: what comes before is the forward pass. */
  firstGradient = Infinity;
  #equal = new Map<string, Node>();
  #scope: string[] = [];
  #randomStreams = 0;

  /** A new input. */
  input(type: TensorType): Tensor {
    const node = this.#leaf(inputOp, this.inputs.length, type);
    this.inputs.push(node.outputs[0]);
    return node.outputs[0];
  }

  /** The stand-in for a concrete tensor: the same one each time. */
  capture(tensor: Tensor): Tensor {
    return once(this.captures, tensor, () => this.#leaf(captureOp, this.captures.size, tensor).outputs[0]);
  }

  constant(value: number, dtype: DType, shape: Shape = []): Tensor {
    return this.add(constantOp, [], { value, dtype, shape })[0];
  }

  add(op: Op, inputs: readonly (Tensor | null)[], attrs: Attrs): readonly Tensor[] {
    let key = op.name;
    for (const t of inputs) key += t === null ? ",-" : `,${(t.node as Node).id}.${t.index}`;
    key += attrsKey(attrs);
    const equal = this.#equal.get(key);
    if (equal !== undefined && equal.op === op) return equal.outputs;
    const node = this.#push(op, inputs, attrs, op.infer(inputs, attrs));
    this.#equal.set(key, node);
    return node.outputs;
  }

  /** Records that `target` (concrete) becomes `value` when a run ends. Reads inside the function see the old value. */
  assign(target: Tensor, value: Tensor): void {
    if (!TRAINING) return;
    if (target.node !== null)
      throw new LockstepError(`assign: the target must be a tensor with elements, got ${target}, which is computed here`);
    if (this.assigns.has(target)) throw new LockstepError(`assign: ${target} is assigned twice in one function`);
    if (!sameShape(target.shape, value.shape) || target.dtype !== value.dtype)
      throw new ShapeError(`assign: expected ${target}, got ${value}`);
    if (target.storage)
      throw new DTypeError(`assign: ${target} is kept in fewer bits, which programs do not write; make a tensor of its await data()`);
    this.capture(target);
    this.assigns.set(target, value);
  }

  /** The symbol here of `t`, which is one of another graph. @throws LockstepError: only the body of a loop sees what is around it. */
  adopt(t: Tensor): Tensor {
    throw new LockstepError(`tensor ${t} belongs to another traced function; pass it in as an argument`);
  }

  /** A number for each random op, so that their streams differ. */
  nextStream(): number {
    return this.#randomStreams++;
  }

  get source(): string {
    return this.#scope.join("/");
  }

  /** Nodes added by `fn` carry `name` as their source, and so do its errors. */
  scope<R>(name: string, fn: () => R): R {
    this.#scope.push(name);
    try {
      return naming(`layer "${this.source}"`, fn);
    } finally {
      this.#scope.pop();
    }
  }

  #leaf(op: Op, index: number, type: TensorType): Node {
    // A storage is compared as it is, if at all: nodes of leaves are not shared.
    return this.#push(op, [], type.storage ? { index, storage: type.storage as unknown as Attr } : { index }, [type]);
  }

  #push(op: Op, inputs: readonly (Tensor | null)[], attrs: Attrs, types: readonly TensorType[]): Node {
    const node = new GraphNode(this, this.nodes.length, op, inputs, attrs, types, this.source);
    this.nodes.push(node);
    return node;
  }
}

let current: Graph | null = null;

/** The graph being traced, or null. */
export function currentGraph(): Graph | null {
  return current;
}

/** Runs `fn` with ops recorded into `graph`. Tracing is synchronous and may nest. */
export function trace<R>(graph: Graph, fn: () => R): R {
  const outer = current;
  current = graph;
  try {
    return fn();
  } finally {
    current = outer;
  }
}

/** Names a layer's nodes and errors. */
export function scope<R>(name: string, fn: () => R): R {
  return current === null ? naming(`layer "${name}"`, fn) : current.scope(name, fn);
}

/** The symbol that stands for `t` in `graph`. @throws LockstepError when `t` belongs to another trace. */
export function symbolOf(graph: Graph, t: Tensor): Tensor {
  if (t.node === null) return graph.capture(t);
  return t.node.graph === graph ? t : graph.adopt(t);
}

/**
 * A tensor from what ops take for one, for the op `who`: the one door for operands. Numbers without a dtype of their own follow `beside`,
 * the dtype that they are computed with: integers become it (beside bools i32), fractions f32.
 * @throws ArgumentError for what is none (a promise, undefined, an object), DataError for integers out of range and irregular arrays.
 */
export function asTensor(x: TensorLike, beside: DType = "f32", who = "tensor"): Tensor {
  if (x instanceof Tensor) return x;
  if (current === null || (typeof x !== "number" && typeof x !== "boolean")) return tensorBeside(who, x, beside);
  const dtype = typeof x === "boolean" ? "bool" : dtypeBeside(Number.isInteger(x), beside);
  return current.constant(checkRange(who, Number(x), dtype), dtype);
}

/** As `assign`, for state that each call of a layer moves on: a later call in the same function starts from what the one before leaves. */
export function update(target: Tensor, next: (value: Tensor) => Tensor): void {
  const graph = current as Graph;
  if (target.node !== null)
    throw new LockstepError(
      "what it keeps from batch to batch cannot be moved on in a layerStack, where one call stands for several layers; take a layer that " +
        "keeps nothing, such as layerNorm, write the layers one after another, or freeze it (trainable = false)",
    );
  const before = graph.assigns.get(target);
  const value = next(before ?? target);
  graph.assigns.delete(target);
  graph.assign(target, symbolOf(graph, value));
  graph.moved.add(target);
}

/**
 * Records that the concrete tensor `target` becomes `value` (same shape and dtype) when the traced function has run; every read inside sees
 * the old value. @throws LockstepError outside of a traced function.
 */
export function assign(target: Tensor, value: TensorLike): void {
  if (current === null) throw new LockstepError("assign: call it inside compile(fn); outside, use target.set(data)");
  if (!(target instanceof Tensor)) throw new ArgumentError(`assign: expected a tensor as the target, got ${kindOf(target)}`);
  current.assign(target, symbolOf(current, asTensor(value, target.dtype, "assign")));
}

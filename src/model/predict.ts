/** @file What runs a model forward: its prediction programs, made once per shape and kept. Those of training are in programs.ts. */
import type { Backend } from "../backend.ts";
import { ArgumentError } from "../errors.ts";
import { Graph, symbolOf, trace } from "../graph.ts";
import type { Op } from "../graph.ts";
import { context as outerContext, withContext } from "../nn/layer.ts";
import type { Context, Layer, Weight } from "../nn/layer.ts";
import { gatherOp } from "../ops/gather.ts";
import { castOp } from "../ops/map.ts";
import { reshapeOp } from "../ops/move.ts";
import { Executable } from "../run.ts";
import type { Shape } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import { madeInside } from "./layers.ts";

/** Programs kept; the one not used for longest makes room. */
const MOST_PROGRAMS = 32;

/** What runs the model: layers in order, or a function. */
export interface Network {
  readonly forward: (inputs: readonly Tensor[]) => Tensor;
  readonly weights: () => readonly Weight[];
  /** layer/weight */
  readonly nameOf: (weight: Weight) => string;
  readonly seed: number;
}

/** Makes programs once per shape and keeps them. */
export class PredictPrograms {
  readonly backend: Backend;
  protected readonly network: Network;
  readonly #cache = new Map<string, Promise<Executable>>();

  constructor(backend: Backend, network: Network) {
    this.backend = backend;
    this.network = network;
  }

  /** The output for a batch. */
  predict(inputs: readonly Tensor[]): Promise<Executable> {
    return this.cached(`predict ${inputs.join()}`, () => {
      const graph = new Graph();
      const output = trace(graph, () => symbolOf(graph, this.forward(inputs.map((t) => graph.input(t)), false, null)));
      return Executable.create(graph, [output], this.backend);
    });
  }

  /** Forgets programs that depend on loss, optimizer or metrics, or all. */
  clear(): void {
    for (const p of this.#cache.values()) p.then((e) => e.close(), () => {});
    this.#cache.clear();
  }

  /** The layers on `xs`. `key` u32[4] starts the streams of random layers; null where none may draw. */
  protected forward(xs: readonly Tensor[], training: boolean, key: Tensor | null, called: Context["called"] = () => {}): Tensor {
    let streams = 0;
    const known = new Set(this.network.weights().map((w) => w.tensor));
    const context: Context = {
      training, key, seed: this.network.seed, nextStream: () => streams++,
      called: (layer, output) => {
        if (layer.weights.some((w) => !known.has(w.tensor))) throw new ArgumentError(madeInside(layer));
        called(layer, output);
      },
    };
    return withContext(context, () => this.network.forward(xs));
  }

  protected cached(key: string, create: () => Promise<Executable>): Promise<Executable> {
    let found = this.#cache.get(key);
    if (found !== undefined) this.#cache.delete(key);
    else {
      found = create();
      found.catch(() => this.#cache.delete(key));
    }
    this.#cache.set(key, found);
    if (this.#cache.size > MOST_PROGRAMS) {
      const [oldest, program] = this.#cache.entries().next().value as [string, Promise<Executable>];
      this.#cache.delete(oldest);
      program.then((e) => e.close(), () => {});
    }
    return found;
  }
}

/** The input whose elements an embedding with this output takes as indices; null where they have been computed. */
export function indexedInput(output: Tensor): number | null {
  const through = (t: Tensor, ops: readonly Op[]): Tensor => (t.node !== null && ops.includes(t.node.op) ? through(t.node.inputs[0] as Tensor, ops) : t);
  const { node } = through(output, [reshapeOp]);
  if (node === null || node.op !== gatherOp) return null;
  const index = through(node.inputs[1] as Tensor, [reshapeOp, castOp]);
  const at = index.node?.graph.inputs.indexOf(index) ?? -1;
  return at < 0 ? null : at;
}

/** Output shape without the batch dimension, by tracing a batch of one; builds layers on the way. */
export function traceShapes(network: Pick<Network, "forward" | "seed">, inputs: readonly { shape: Shape; dtype: Tensor["dtype"] }[], called: (layer: Layer, output: Tensor) => void): Shape {
  const graph = new Graph();
  let streams = 0;
  const context: Context = { training: false, key: null, seed: network.seed, mostElements: outerContext().mostElements, nextStream: () => streams++, called };
  const output = trace(graph, () => withContext(context, () => network.forward(inputs.map((t) => graph.input({ shape: [1, ...t.shape], dtype: t.dtype })))));
  if (!(output instanceof Tensor)) throw new ArgumentError(`model: its function must return one tensor, got ${Array.isArray(output) ? "an array" : typeof output}`);
  outerContext().traced?.(graph);
  return output.shape.slice(1);
}

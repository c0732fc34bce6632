/** @file What runs a model forward: its prediction programs, made once per shape and kept. Those of training are in programs.ts. */
import type { Backend } from "../backend.ts";
import { Graph, symbolOf, trace } from "../graph.ts";
import { withContext } from "../nn/layer.ts";
import type { Context, Layer, Weight } from "../nn/layer.ts";
import { Executable } from "../run.ts";
import type { Shape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";

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
    const context: Context = { training, key, seed: this.network.seed, nextStream: () => streams++, called };
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

/** Output shape without the batch dimension, by tracing a batch of one; builds layers on the way. */
export function traceShapes(network: Pick<Network, "forward" | "seed">, inputs: readonly { shape: Shape; dtype: Tensor["dtype"] }[], called: (layer: Layer, output: Tensor) => void): Shape {
  const graph = new Graph();
  let streams = 0;
  const context: Context = { training: false, key: null, seed: network.seed, nextStream: () => streams++, called };
  return trace(graph, () => withContext(context, () => network.forward(inputs.map((t) => graph.input({ shape: [1, ...t.shape], dtype: t.dtype }))).shape.slice(1)));
}

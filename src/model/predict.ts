/** @file What runs a model forward: its prediction programs, made once per shape and kept. Those of training are in programs.ts. */
import { apply } from "../apply.ts";
import type { Backend } from "../backend.ts";
import { ArgumentError } from "../errors.ts";
import { Graph, symbolOf, trace } from "../graph.ts";
import { counter, withContext } from "../nn/layer.ts";
import type { Context, Weight } from "../nn/layer.ts";
import { castOp } from "../ops/map.ts";
import { Executable } from "../run.ts";
import type { Tensor } from "../tensor.ts";
import { madeInside } from "./layers.ts";

/** Programs kept; the one not used for longest makes room. */
const MOST_PROGRAMS = 32;

/** What programs need of a model. */
export interface Network {
  /** Layers in order, or a function. */
  readonly forward: (inputs: readonly Tensor[]) => Tensor;
  readonly weights: readonly Weight[];
  /** layer/weight */
  nameOf(weight: Weight): string;
  readonly seed: number;
}

/** A model's input as the f32 that models compute with. What casts it to integers, as an embedding does, gets those that were given: f32 has not all above 2^24. */
const inputAsFloat = (x: Tensor): Tensor => (x.dtype === "f32" ? x : apply(castOp, [x], { dtype: "f32", given: true })[0]);

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
    const { network } = this;
    const known = new Set(network.weights.map((w) => w.tensor));
    return withContext({
      training, key, seed: network.seed, nextStream: counter(),
      called: (layer, output) => {
        if (layer.weights.some((w) => !known.has(w.tensor))) throw new ArgumentError(madeInside(layer));
        called(layer, output);
      },
    }, () => network.forward(xs.map(inputAsFloat)));
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

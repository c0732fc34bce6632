/** @file What runs a model forward: its prediction programs, made once per shape and kept. Those of training are in programs.ts. */
import { apply } from "../apply.ts";
import type { Backend } from "../backend.ts";
import type { Lru } from "../cache.ts";
import { ArgumentError, LockstepError } from "../errors.ts";
import { Graph, symbolOf, trace } from "../graph.ts";
import type { TensorType } from "../graph.ts";
import { keysOf, withMode } from "../mode.ts";
import type { Mode } from "../mode.ts";
import { counter, withContext } from "../nn/layer.ts";
import type { Context, Weight } from "../nn/layer.ts";
import { maskOf, masked } from "../nn/masks.ts";
import { source } from "../nn/sources.ts";
import { castOp } from "../ops/map.ts";
import { Executable, programCache } from "../run.ts";
import type { Tensor } from "../tensor.ts";
import { madeInside } from "./layers.ts";
import { tensorsOf } from "./outputs.ts";
import type { Outputs } from "./outputs.ts";

/** What programs need of a model. */
export interface Network {
  /** Layers in order, or a function. */
  readonly forward: (inputs: readonly Tensor[]) => Outputs;
  readonly weights: readonly Weight[];
  /** layer/weight */
  nameOf(weight: Weight): string;
  readonly seed: number;
}

/**
 * A model's input as the f32 that models compute with. What casts it to integers, as an embedding does, gets those that were given: f32
 * has not all above 2^24.
 */
export const inputAsFloat = (x: Tensor): Tensor =>
  x.dtype === "f32" ? x : masked(apply(castOp, [x], { dtype: "f32", given: true })[0], maskOf(x));

/** A graph of what `fn` makes of inputs. */
function traced(
  inputs: readonly TensorType[],
  fn: (xs: readonly Tensor[]) => Outputs,
): { readonly graph: Graph; readonly outputs: Tensor[] } {
  const graph = new Graph();
  const outputs = trace(graph, () => tensorsOf(fn(inputs.map((t) => graph.input(t)))).map((t) => symbolOf(graph, t)));
  return { graph, outputs };
}

/** The layers on `xs`. */
function forward(network: Network, xs: readonly Tensor[], mode: Parameters<typeof withMode>[0], called: Context["called"]): Outputs {
  const known = new Set(network.weights.map((w) => w.tensor));
  const given = xs.map(source);
  return withMode(mode, () =>
    withContext(
      {
        seed: network.seed,
        nextStream: counter(),
        called: (layer, output) => {
          if (layer.weights.some((w) => !known.has(w.tensor))) throw new ArgumentError(madeInside(layer));
          called(layer, output);
        },
        // What layers read of them has been looked at.
        reads: (input) => given.includes(input),
      },
      () => network.forward(xs.map(inputAsFloat)),
    ),
  );
}

/** @internal What a model computes of inputs of these types, for those that write it in another form. */
export const tracedPrediction = (network: Network, inputs: readonly TensorType[]): ReturnType<typeof traced> =>
  traced(inputs, (xs) => forward(network, xs, { training: false, key: keysOf(network.seed).ofRun() }, () => {}));

/** Makes programs once per shape and keeps them. */
export class PredictPrograms {
  readonly backend: Backend;
  protected readonly network: Network;
  readonly #keys: ReturnType<typeof keysOf>;
  readonly #cache: Lru<Executable>;
  #disposed = false;

  constructor(backend: Backend, network: Network) {
    this.backend = backend;
    this.#cache = programCache(backend);
    this.network = network;
    this.#keys = keysOf(network.seed);
  }

  /** The outputs for a batch. */
  predict(inputs: readonly Tensor[]): Promise<Executable> {
    return this.cached(`predict ${inputs.join()}`, () => {
      const { graph, outputs } = traced(inputs, (xs) => this.forward(xs, false));
      return Executable.create(graph, outputs, this.backend);
    });
  }

  /** Forgets programs that depend on loss, optimizer or metrics, or all. */
  clear(): void {
    this.#cache.clear();
  }

  /** Frees all, for good. */
  dispose(): void {
    this.#disposed = true;
    this.clear();
  }

  /** The layers on `xs`. `key` starts the streams of random layers. */
  protected forward(
    xs: readonly Tensor[],
    training: boolean,
    key: Mode["key"] = this.#keys.ofRun(),
    called: Context["called"] = () => {},
  ): Outputs {
    return forward(this.network, xs, { training, key }, called);
  }

  protected cached(key: string, create: () => Promise<Executable>): Promise<Executable> {
    if (this.#disposed) throw new LockstepError("the model was disposed meanwhile; load or build it again");
    return this.#cache.get(key, create);
  }
}

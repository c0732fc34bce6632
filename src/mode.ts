/**
 * @file The mode of what is being traced: whether it trains, and where its random numbers come from. `fit`, `evaluate`, `predict` and
 * `compile(fn, { training, seed })` set it, a layer's `call(x, { training })` sets it for that call, and layers ask for nothing else: a
 * loop of one's own trains what `fit` trains.
 */
import { ArgumentError, LockstepError } from "./errors.ts";
import { currentGraph, symbolOf } from "./graph.ts";
import type { Graph } from "./graph.ts";
import { seedWords } from "./random.ts";
import { Tensor, tensor } from "./tensor.ts";

export interface Mode {
  /** Null where nobody said: as in inference, but gradients of what depends on it are refused (see `gradients`). */
  readonly training: boolean | null;
  /** Gives the run's random key, u32[4]. Null where nothing random may happen. */
  readonly key: (() => Tensor) | null;
  /** What the call of the layer that runs was given behind its tensors. */
  readonly given: CallOptions;
}

let current: Mode = { training: null, key: null, given: {} };

/** Runs `fn` in another mode; what `inner` does not name stays as it is around. */
export function withMode<R>(inner: Partial<Mode>, fn: () => R): R {
  const outer = current;
  current = { ...outer, ...inner };
  try {
    return fn();
  } finally {
    current = outer;
  }
}

/**
 * What a layer asks that behaves differently in training. Where nobody said, the answer is no, and the graph remembers that it depends on
 * it: `x` is what the layer reads.
 * @throws LockstepError for training outside of a traced function
 */
export function isTraining(x: Tensor): boolean {
  const graph = currentGraph();
  if (graph !== null && current.training === null) {
    // A reshape of a reshape is one of what was reshaped first, past what the layer reads: that stands for it.
    let t = symbolOf(graph, x);
    while (t.node?.op.lower === "alias") t = t.node.inputs[0] as Tensor;
    graph.undecided.set(t, graph.source);
  }
  if (graph === null && current.training)
    throw new LockstepError("training is part of a traced function: call the layer inside compile(fn, { training: true })");
  return current.training ?? false;
}

/**
 * The random key of this run, u32[4], for `randomNormal(key, shape)` and the other random ops: another one at each run of the function or
 * model, the same for all that one run draws, which streams tell apart. Follows from the seed of `fit`, `compile(fn, { seed })` or the
 * model, and how many runs there were before.
 * @throws LockstepError outside of a traced function or model
 */
export function randomKey(): Tensor {
  if (current.key === null)
    throw new LockstepError(
      "randomKey: there is no key here: call it, and layers such as dropout in training, inside of a model or of compile(fn)",
    );
  return current.key();
}

/** Keys of runs, one after another: u32[4], the seed's two words, how many runs have drawn before, 1. */
export interface Keys {
  draws: number;
  /** Gives each run of the graph being traced a key of its own, as its last input, if the trace asks for one. */
  readonly ofRun: () => () => Tensor;
}

export function keysOf(seed: number): Keys {
  const words = seedWords(seed);
  const keys: Keys = {
    draws: 0,
    ofRun: () => {
      let key: Tensor | null = null;
      return () => {
        const graph = currentGraph() as Graph;
        graph.nextKey ??= () => tensor(Uint32Array.of(...words, keys.draws++, 1));
        return (key ??= graph.input({ shape: [4], dtype: "u32" }));
      };
    },
  };
  return keys;
}

/** What `call` of a layer or model takes behind its tensors. */
export interface CallOptions {
  /**
   * As in training (dropout drops, batchNorm takes the batch's statistics) or as in inference. Default: what the function, model or layer
   * around says.
   */
  readonly training?: boolean;
}

/** The options behind the tensors of the call that runs, for layers that take more than `training`; their description lists them. */
export const givenOptions = <O extends CallOptions>(): O => current.given as O;

/**
 * The options behind the tensors of a call, if there are any; `known` are those besides `training`. @throws ArgumentError for an option
 * that there is none of
 */
export function callOptions(more: readonly unknown[], known: readonly string[] = []): CallOptions | null {
  const last = more[more.length - 1];
  if (typeof last !== "object" || last === null || last instanceof Tensor || last instanceof Promise || Array.isArray(last)) return null;
  const { training, ...rest } = last as CallOptions;
  const unknown = Object.keys(rest).find((name) => !known.includes(name));
  if (unknown !== undefined || (training !== undefined && typeof training !== "boolean")) {
    throw new ArgumentError(
      `call: expected tensors and then { ${["training: true or false", ...known].join(", ")} }, got ` +
        `${unknown === undefined ? `training: ${String(training)}` : `the option "${unknown}"`}`,
    );
  }
  return last as CallOptions;
}

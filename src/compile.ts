/** @file `compile`: traces a function of tensors once per shape of its arguments and replays the compiled program. */
import type { Backend } from "./backend.ts";
import type { Lru } from "./cache.ts";
import { checkFlag, checkOptions, kindOf } from "./check.ts";
import { ArgumentError } from "./errors.ts";
import { Graph, symbolOf, trace } from "./graph.ts";
import type { BackendName } from "./init.ts";
import { resolveBackend } from "./init.ts";
import { keysOf, withMode } from "./mode.ts";
import { showPlan } from "./plan/plan.ts";
import { naming } from "./naming.ts";
import { Executable, inTurn, programCache, using } from "./run.ts";
import { Tensor } from "./tensor.ts";
import { flatten, mapTree } from "./tree.ts";
import type { Tree } from "./tree.ts";

/** Options of `compile`. */
export interface CompileOptions {
  /** Default: the backend opened last. */
  readonly backend?: BackendName | Backend;
  /** Warn when more than this many different shapes have been compiled: a sign that shapes change with every call. Default 16. */
  readonly warnAfter?: number;
  /**
   * Whether layers inside are to do what they do in training: dropout drops, batchNorm takes the batch's statistics and moves its averages.
   * Default: not given, which is as false, but gradients through such a layer are an error then.
   */
  readonly training?: boolean;
  /** Where the random numbers of dropout and `randomKey()` begin. Default 0. */
  readonly seed?: number;
}

/** A compiled function. */
export interface Compiled<A extends readonly Tree[], R extends Tree | void> {
  (...args: A): Promise<R>;
  /** The plan for these arguments as text. */
  print(...args: A): Promise<string>;
  /**
   * How many runs have drawn random numbers, which with the seed is what the next ones follow from. Set it to go on where another
   * training ended.
   */
  draws: number;
  /** Frees all programs. Calling again compiles again. */
  close(): void;
}

/** The shapes of what functions returned; null where they returned nothing. */
const returned = new WeakMap<Executable, Tree | null>();

/**
 * Compiles `fn`. On the first call with arguments of some shapes and dtypes, `fn` runs once on symbols; what it computes becomes one
 * program, which later calls with such arguments replay. Inside, tensors have shapes but no elements; JavaScript numbers and branches are
 * fixed at tracing time; tensors used by closure are read anew at each run; `assign` (and optimizers) change them.
 * @param fn takes tensors, or arrays or objects of tensors, and returns the same kind or nothing. Must be synchronous.
 * @throws the errors of the ops inside, at the first call; nothing has run then.
 */
export function compile<A extends readonly Tensor[], R extends Tree | void>(
  fn: (...args: A) => R,
  options?: CompileOptions,
): Compiled<A, R>;
export function compile<A extends readonly Tree[], R extends Tree | void>(fn: (...args: A) => R, options?: CompileOptions): Compiled<A, R>;
// Two, so that arguments without a type are tensors and not trees, of which no op takes any.
export function compile<A extends readonly Tree[], R extends Tree | void>(
  fn: (...args: A) => R,
  options: CompileOptions = {},
): Compiled<A, R> {
  if (typeof fn !== "function") throw new ArgumentError(`compile: expected a function of tensors, got ${kindOf(fn)}`);
  const {
    backend: on,
    warnAfter = 16,
    training,
    seed = 0,
  } = checkOptions("compile", options, ["backend", "warnAfter", "training", "seed"]);
  if (training !== undefined) checkFlag("compile", "training", training);
  const keys = keysOf(seed);
  /** Where its programs are: one backend, until that is closed. */
  let home: { readonly backend: Backend; readonly cache: Lru<Executable> } | null = null;
  let shapes = 0;
  const create = async (args: A, backend: Backend): Promise<Executable> => {
    if (shapes++ === warnAfter)
      console.warn(
        `lockstep: compile: ${shapes} different argument shapes so far, each with a program of its own; pad inputs to a few sizes`,
      );
    const graph = new Graph();
    const { results, result } = trace(graph, () =>
      withMode({ training: training ?? null, key: keys.ofRun() }, () => {
        const symbols = mapTree(args, (t) => graph.input(t)) as unknown as A;
        const out = fn(...symbols);
        if (out instanceof Promise) {
          // What it rejects with, reading elements most likely, follows from the mistake that is reported here.
          out.catch(() => {});
          throw new ArgumentError(
            "compile: the function must not be async: tracing is synchronous, and there are no elements to await; return tensors and " +
              "read them afterwards",
          );
        }
        const tree = out === undefined ? null : (out as Tree);
        const leaves = tree === null ? [] : naming("compile: what the function returns", () => flatten(tree));
        return { result: tree, results: leaves.map((t) => symbolOf(graph, t)) };
      }),
    );
    const executable = await Executable.create(graph, results, backend);
    returned.set(executable, result);
    return executable;
  };
  const find = async (args: A, leaves: readonly Tensor[]): Promise<Executable> => {
    const last = home;
    if (last === null || last.backend.closed) {
      const backend = await resolveBackend(on);
      // Another call may have come before.
      if (home === last) {
        last?.cache.clear();
        home = { backend, cache: programCache(backend) };
      }
    }
    const { backend, cache } = home as NonNullable<typeof home>;
    return cache.get(`${structure(args)} ${leaves.map(String).join()}`, () => create(args, backend));
  };
  const call = async (...args: A): Promise<R> => {
    const leaves = naming("compile: the arguments", () => flatten(args));
    return using(
      () => find(args, leaves),
      leaves,
      async (executable) => {
        const result = returned.get(executable) as Tree | null;
        const values = await inTurn<Tensor[] | null>(executable, leaves, () => (result === null ? null : executable.results()));
        if (result === null || values === null) return undefined as R;
        let i = 0;
        return mapTree(result, () => values[i++]) as R;
      },
    );
  };
  return Object.defineProperty(
    Object.assign(call, {
      print: async (...args: A) => showPlan((await find(args, flatten(args))).plan),
      close: () => home?.cache.clear(),
    }),
    "draws",
    { get: () => keys.draws, set: (draws: number) => void (keys.draws = draws), enumerable: true },
  ) as Compiled<A, R>;
}

/** Where the tensors of a tree are, as text: trees of one structure and shapes share a program. */
function structure(tree: Tree): string {
  const paths: string[] = [];
  mapTree(tree, (t, path) => {
    paths.push(path);
    return t;
  });
  return paths.join();
}

/**
 * @file `scan`: a loop whose body is traced, differentiated and planned once and runs as often as there are steps, inside the program; and
 * `checkpoint`, which is one step of such a loop. After `jax.lax.scan` and `jax.checkpoint`.
 */
import { checkCount, checkFlag, checkOptions, kindOf } from "../check.ts";
import { ArgumentError, DTypeError, ShapeError } from "../errors.ts";
import { naming } from "../naming.ts";
import { sameShape, showShape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { flatten, mapTree } from "../tree.ts";
import type { Tree } from "../tree.ts";
import { reshape } from "./broadcast.ts";
import { loop } from "./loop.ts";
import { keysOfSteps } from "./random.ts";

export { scanOp } from "./loop.ts";

/** Options of `scan`. */
export interface ScanOptions {
  /** How many steps. Default: the first dimension of what `xs` has; without that it has to be given. */
  readonly length?: number;
  /** From the last step to the first; what is collected stands at its step all the same. Default false. */
  readonly reverse?: boolean;
  /**
   * The gradient computes each step again from what it began with, in place of keeping what it computed: less memory, about a third more
   * time. Default false.
   */
  readonly remat?: boolean;
}

/** What a loop carries, reads or collects; null for nothing. */
export type ScanTree = Tree | null;

const leavesOf = (who: string, tree: ScanTree): Tensor[] => (tree === null ? [] : naming(who, () => flatten(tree)));
/** A tree like `tree` of `leaves`. */
function likeTree<T extends ScanTree>(tree: T, leaves: readonly Tensor[]): T {
  let i = 0;
  return (tree === null ? null : mapTree(tree, () => leaves[i++])) as T;
}

/** @throws ArgumentError, ShapeError, DTypeError unless a step hands on what it was given. */
function checkCarry(given: ScanTree, begin: readonly Tensor[], next: ScanTree): readonly Tensor[] {
  const paths = (tree: ScanTree): string | null => {
    const found: string[] = [];
    if (tree !== null) mapTree(tree, (t, path) => (found.push(path), t));
    return tree && found.join();
  };
  const leaves = leavesOf("scan: what the step carries on", next ?? null);
  if (paths(given) !== paths(next ?? null))
    throw new ArgumentError(
      `scan: the step must carry on what it was given, ${given === null ? "null" : `[${begin.join(", ")}]`}, got ` +
        `${next === null || next === undefined ? String(next) : `[${leaves.join(", ")}] in another structure`}`,
    );
  leaves.forEach((t, i) => {
    if (!sameShape(t.shape, begin[i].shape))
      throw new ShapeError(
        `scan: what is carried must keep its shape: the step was given ${showShape(begin[i].shape)} and carries on ${showShape(t.shape)}`,
      );
    if (t.dtype !== begin[i].dtype)
      throw new DTypeError(`scan: what is carried must keep its dtype: the step was given ${begin[i].dtype} and carries on ${t.dtype}`);
  });
  return leaves;
}

function lengthOf(xs: readonly Tensor[], given: number | undefined): number {
  if (given !== undefined) checkCount("scan", "length", given, 0);
  for (const t of xs)
    if (t.rank === 0) throw new ShapeError(`scan: expected xs [steps, ...], got ${t}; what is the same at each step is used by closure`);
  const length = given ?? xs[0]?.shape[0];
  if (length === undefined) throw new ArgumentError("scan: how many steps? Give xs, or { length }");
  for (const t of xs) if (t.shape[0] !== length) throw new ShapeError(`scan: expected xs with ${length} steps, got ${showShape(t.shape)}`);
  return length;
}

/**
 * A loop: `step(carry, x)` gives `[carry, y]`, and is called, so to speak, for each of the slices of `xs` along its first axis, with the
 * carry that the step before gave. It is traced once and runs in the program, so that compiling takes the same time for any number of
 * steps. Gradients, dropout and `assign` work inside; tensors from around it may be used by closure.
 * As `jax.lax.scan`.
 * @param init the carry of the first step: tensors, or arrays or objects of tensors; null for none. Shapes and dtypes stay the same.
 * @param xs tensors [steps, ...], likewise; null for none: then `length` says how many steps.
 * @returns `[carry, ys]`: what the last step carried on, and the y of all steps, [steps, ...] each
 * @example const [total, sums] = scan((sum, x) => { const next = add(sum, x); return [next, next]; }, zeros([]), xs);
 * @throws ArgumentError, ShapeError, DTypeError where xs have different lengths, and for steps that do not carry on what they were given
 */
export function scan<const C extends ScanTree, X extends ScanTree, Y extends ScanTree>(
  step: (carry: C, x: X) => readonly [C, Y],
  init: C,
  xs: X,
  options: ScanOptions = {},
): [C, Y] {
  if (typeof step !== "function") throw new ArgumentError(`scan: expected a function (carry, x) => [carry, y], got ${kindOf(step)}`);
  const { length: given, reverse = false, remat = false } = checkOptions("scan", options, ["length", "reverse", "remat"]);
  checkFlag("scan", "reverse", reverse);
  checkFlag("scan", "remat", remat);
  const begin = leavesOf("scan: init", init ?? null);
  const sequences = leavesOf("scan: xs", xs ?? null);
  const length = lengthOf(sequences, given);
  let tree = null as unknown as Y;
  const { carry, ys } = loop({
    begin,
    xs: sequences,
    length,
    reverse,
    remat,
    keys: keysOfSteps(length),
    step: (now, x) => {
      const out = step(likeTree(init ?? null, now) as C, likeTree(xs ?? null, x) as X) as unknown;
      if (!Array.isArray(out) || out.length !== 2)
        throw new ArgumentError(`scan: the step must return [carry, y] (null for none), got ${kindOf(out)}`);
      const [next, y] = out as [C, Y];
      tree = y ?? (null as Y);
      return { next: checkCarry(init ?? null, begin, next), ys: leavesOf("scan: y", tree) };
    },
  });
  return [likeTree(init ?? null, carry) as C, likeTree(tree, ys)];
}

/**
 * `fn` with a gradient that computes it again in place of keeping what it computed on the way: the memory of its arguments and results
 * alone, for about a third more time in training. As `jax.checkpoint` (Chen et al. 2016, arXiv 1604.06174).
 * @param fn takes tensors, or arrays or objects of tensors, and returns such
 * @example const block = checkpoint((x) => feedForward.call(attention.call(x)));
 * @throws ArgumentError unless it is a function
 */
export function checkpoint<A extends readonly Tree[], R extends Tree>(fn: (...args: A) => R): (...args: A) => R {
  if (typeof fn !== "function") throw new ArgumentError(`checkpoint: expected a function of tensors, got ${kindOf(fn)}`);
  return (...args) => {
    const [, ys] = scan((): readonly [null, R] => [null, fn(...args)], null, null, { length: 1, remat: true });
    return mapTree(ys, (t) => reshape(t, t.shape.slice(1))) as R;
  };
}

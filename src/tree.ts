/** @file Trees: tensors, and arrays and objects of trees. What compiled functions take and return, and what holds parameters. */
import { kindOf, shown } from "./check.ts";
import { ArgumentError } from "./errors.ts";
import { Tensor } from "./tensor.ts";

/** Tensors in arrays and objects, as deep as wanted: what compiled functions take and return, and what `valueAndGrad` differentiates by. */
export type Tree = Tensor | readonly Tree[] | { readonly [key: string]: Tree };

/** Deeper than this a tree is most likely part of itself. */
const MOST_DEPTH = 1000;

/** The same tree with each tensor replaced. @throws ArgumentError for what is no tree, and for a tree that never ends */
export function mapTree(tree: Tree, fn: (leaf: Tensor, path: string) => Tensor, path = "", depth = 0): Tree {
  if (tree instanceof Tensor) return fn(tree, path);
  if (depth > MOST_DEPTH) {
    throw new ArgumentError(`expected tensors, or arrays or objects of tensors, got one that is a part of itself`);
  }
  const below = (key: string): string => (path === "" ? key : `${path}.${key}`);
  if (Array.isArray(tree)) return tree.map((t: Tree, i) => mapTree(t, fn, below(String(i)), depth + 1));
  if (typeof tree === "object" && tree !== null && (Object.getPrototypeOf(tree) === Object.prototype || Object.keys(tree).length > 0)) {
    return Object.fromEntries(Object.entries(tree).map(([k, t]) => [k, mapTree(t as Tree, fn, below(k), depth + 1)]));
  }
  const what = typeof tree === "object" ? kindOf(tree) : shown(tree);
  const advice = path && (tree === null || tree === undefined) ? "; leave out what there is none of" : "";
  throw new ArgumentError(`expected tensors, or arrays or objects of tensors, got ${what}${path ? ` at "${path}"` : ""}${advice}`);
}

/** The tensors of a tree, in order. */
export function flatten(tree: Tree): Tensor[] {
  const leaves: Tensor[] = [];
  mapTree(tree, (t) => {
    leaves.push(t);
    return t;
  });
  return leaves;
}

/**
 * @file What Keras 2 and TensorFlow.js call the state of optimizers, and the order in which they keep it. Three forms: each slot's tensors
 * one after another with its name behind (Keras to 2.10, TensorFlow.js), the same without names (Keras to 2.3), and the slots of each
 * parameter side by side (Keras 2.11 to 2.15).
 */
import type { Variable } from "./variables.ts";

/** Slots by the last part of a variable's name, by kind of optimizer. */
const SLOTS: { readonly [kind: string]: { readonly [last: string]: string } } = {
  sgd: { momentum: "momentum" },
  rmsprop: { rms: "velocity", momentum: "momentum", mg: "averageGradient" },
  adam: { m: "m", v: "v", vhat: "vMax" },
  adamw: { m: "m", v: "v", vhat: "vMax" },
  adamax: { m: "m", v: "u" },
  nadam: { m: "m", v: "v" },
  adagrad: { accumulator: "accumulator" },
  adadelta: { accum_grad: "gradients", accum_var: "steps" },
};

const ITERATIONS = ["iter", "iteration", "iterations"];

const lastOf = ({ name }: Variable): string => name.replace(/:\d+$/, "").split("/").at(-1) as string;

/** Names that Lockstep's optimizer has for these variables, "" for one that it has none for; slots are numbered by Keras' parameters. */
export type Slots = readonly string[];

/** Each slot's tensors one after another, by their names. */
function byName(kind: string, variables: readonly Variable[]): Slots | null {
  const slots = SLOTS[kind];
  const counts = new Map<string, number>();
  let found = false;
  const names = variables.map((variable) => {
    const last = lastOf(variable);
    if (ITERATIONS.includes(last)) return "iterations";
    if (last === "momentum_cache") return "uProduct";
    if (!Object.hasOwn(slots, last)) return "";
    found = true;
    const count = counts.get(last) ?? 0;
    counts.set(last, count + 1);
    return `${slots[last]}/${count}`;
  });
  // All lists are of one length, and there is nothing else.
  return found && !names.includes("") && new Set(counts.values()).size === 1 ? names : null;
}

/** The same without names: what is a scalar in front, then the lists. */
function byOrder(kind: string, variables: readonly Variable[], count: number): Slots | null {
  const scalars = variables.findIndex(({ shape }) => shape.length > 0);
  const front = scalars < 0 ? variables.length : scalars;
  const lists = Object.values(SLOTS[kind]);
  const rest = variables.length - front;
  if (count === 0 || rest % count !== 0 || rest / count > lists.length || front > (kind === "nadam" ? 2 : 1)) return null;
  return [
    ...["iterations", "uProduct"].slice(0, front),
    // Where vhat is not kept it is a list of single zeros.
    ...Array.from({ length: rest }, (_, i) => {
      const list = Math.floor(i / count);
      return lists[list] === "vMax" && variables[front + i].shape.join() === "1" ? "" : `${lists[list]}/${i % count}`;
    }),
  ];
}

/**
 * What the variables of an older file are. `sideBySide`: names of the third form, without the learning rate, which is in no file.
 */
export function slotsOf(kind: string, variables: readonly Variable[], count: number, sideBySide: readonly string[]): Slots | null {
  if (!Object.hasOwn(SLOTS, kind)) return sideBySide.length === variables.length ? sideBySide : null;
  const named = byName(kind, variables);
  if (named !== null) return named;
  const isNewer = lastOf(variables[0]) === "iteration" || variables[0].name.startsWith("/optimizer/vars/");
  if (isNewer) return sideBySide.length === variables.length ? sideBySide : null;
  return byOrder(kind, variables, count);
}

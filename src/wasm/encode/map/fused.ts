/**
 * @file Steps of a `map` body that one loop of the interpreter can do together: fewer passes over the tiles, and for adam one pass over
 * memory instead of one for each of its tensors.
 */
import type { MapBody, MapStep } from "../../../plan/plan.ts";
import { TRAINING } from "../../../training.ts";

/** What the interpreter does at once. Registers are those of the body. */
export interface Instruction {
  /** An elementwise op, `madd` (a * b + c), `msub` (c - a * b) or `adam` (the order of its registers: assembly/map/adam.ts). */
  readonly op: string;
  readonly args: readonly number[];
  readonly defines: readonly number[];
}

/** A register's name, or an op with what its arguments are. */
type Pattern = string | readonly [string, ...Pattern[]];

const MEAN: Pattern = ["add", "m", ["mul", ["sub", "g", "m"], "c1"]];
const SQUARE: Pattern = ["add", "v", ["mul", ["sub", ["square", "g"], "v"], "c2"]];
const ADAM: Pattern = ["sub", "w", ["div", ["mul", MEAN, "size"], ["add", ["sqrt", SQUARE], "epsilon"]]];
const MADD: Pattern = ["add", "c", ["mul", "a", "b"]];
const MADD_TURNED: Pattern = ["add", ["mul", "a", "b"], "c"];
const MSUB: Pattern = ["sub", "c", ["mul", "a", "b"]];

/** The instructions of a body, constants not among them. `scalar`: whether a register is one number for all elements. */
export function instructions(body: MapBody, scalar: (register: number) => boolean): Instruction[] {
  const n = body.strides.length;
  const step = (r: number): MapStep | undefined => body.steps[r - n];
  const uses = new Map<number, number>();
  for (const r of body.steps.flatMap((s) => s.args)) uses.set(r, (uses.get(r) ?? 0) + 1);
  const results = new Set(body.results);
  /** Registers that an instruction computes along the way. */
  const inside = new Set<number>();
  const found: Instruction[] = [];

  /**
   * The registers that the pattern's names stand for where it ends in `root`, or null. `kept`: patterns whose values may be results;
   * `numbers`: names of what must be scalar.
   */
  const match = (
    pattern: Pattern,
    root: number,
    kept: readonly Pattern[] = [],
    numbers: readonly string[] = [],
  ): { readonly [name: string]: number } | null => {
    const names: { [name: string]: number } = {};
    const within: number[] = [];
    const fits = (p: Pattern, r: number): boolean => {
      if (typeof p === "string") return (names[p] ??= r) === r;
      const s = step(r);
      const own =
        s?.op === p[0] &&
        s.dtype === "f32" &&
        !inside.has(r) &&
        (r === root || (uses.get(r) === 1 && (kept.includes(p) || !results.has(r))));
      if (r !== root) within.push(r);
      if (kept.includes(p)) names[`kept${kept.indexOf(p)}`] = r;
      return own && p.slice(1).every((q, i) => fits(q as Pattern, s.args[i]));
    };
    if (!fits(pattern, root) || !numbers.every((name) => scalar(names[name]))) return null;
    for (const r of within) inside.add(r);
    return names;
  };

  for (let r = n + body.steps.length - 1; r >= n; r--) {
    const { op, args, dtype } = step(r) as MapStep;
    if (op === "const" || inside.has(r)) continue;
    const whole = dtype === "f32" && (op === "add" || op === "sub");
    const adam = TRAINING && whole && op === "sub" ? match(ADAM, r, [MEAN, SQUARE], ["size", "c1", "c2", "epsilon"]) : null;
    if (adam !== null) {
      const { w, m, v, g, size, c1, c2, epsilon, kept0, kept1 } = adam;
      found.push({ op: "adam", args: [w, m, v, g, size, c1, c2, epsilon], defines: [r, kept0, kept1] });
      continue;
    }
    const sum = whole ? (op === "sub" ? match(MSUB, r) : (match(MADD, r) ?? match(MADD_TURNED, r))) : null;
    found.push(
      sum === null ? { op, args, defines: [r] } : { op: op === "sub" ? "msub" : "madd", args: [sum.a, sum.b, sum.c], defines: [r] },
    );
  }
  return found.reverse();
}

/**
 * @file Steps of a `map` body that one loop of the interpreter can do together: fewer passes over the tiles, and for adam one pass over
 * memory instead of one for each of its tensors.
 */
import type { MapBody, MapStep } from "../../../plan/plan.ts";
import { TRAINING } from "../../../training.ts";

/** What the interpreter does at once. Registers are those of the body. */
export interface Instruction {
  /**
   * An elementwise op, `madd` (a * b + c), `msub` (c - a * b), `adam` (the order of its registers: assembly/map/adam.ts) or `gelu`, which
   * defines its value and, where that is wanted, its slope.
   */
  readonly op: string;
  readonly args: readonly number[];
  readonly defines: readonly number[];
}

/** A register's name, or an op with what its arguments are. */
type Pattern = string | readonly [string, ...Pattern[]];

const MEAN: Pattern = ["add", "m", ["mul", ["sub", "g", "m"], "c1"]];
const SQUARE: Pattern = ["add", "v", ["mul", ["sub", ["square", "g"], "v"], "c2"]];
const ADAM: Pattern = ["sub", "w", ["div", ["mul", MEAN, "size"], ["add", ["sqrt", SQUARE], "epsilon"]]];
const PHI: Pattern = ["mul", ["add", ["erf", ["mul", "x", "sqrtHalf"]], "one"], "half"];
const GELU: Pattern = ["mul", "x", PHI];
const DENSITY: Pattern = ["mul", ["exp", ["mul", ["mul", "x", "x"], "minusHalf"]], "density"];
const GELU_SLOPE: Pattern = ["add", PHI, ["mul", "x", DENSITY]];
/** What the names of gelu's patterns that are numbers must be. */
const OF_GELU: { readonly [name: string]: number } = {
  sqrtHalf: Math.SQRT1_2,
  one: 1,
  half: 0.5,
  minusHalf: -0.5,
  density: 0.3989422804014327,
};
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
   * `numbers`: names of what must be scalar; `shared`: a pattern whose value is read once more.
   */
  const match = (
    pattern: Pattern,
    root: number,
    kept: readonly Pattern[] = [],
    numbers: readonly string[] = [],
    shared: Pattern | null = null,
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
        (r === root || (uses.get(r) === (p === shared ? 2 : 1) && (kept.includes(p) || !results.has(r))));
      if (r !== root) within.push(r);
      if (kept.includes(p)) names[`kept${kept.indexOf(p)}`] = r;
      return own && p.slice(1).every((q, i) => fits(q as Pattern, s.args[i]));
    };
    if (!fits(pattern, root) || !numbers.every((name) => scalar(names[name]))) return null;
    if (!Object.entries(OF_GELU).every(([name, value]) => !(name in names) || step(names[name])?.value === value)) return null;
    for (const r of within) inside.add(r);
    return names;
  };

  /** The register of x Phi(x) where `root` may be the slope of that, and nothing between the two reads it; else -1. */
  const valueBeside = (root: number, [phi, rest]: readonly number[]): number => {
    const x = step(rest)?.args[0];
    const at = body.steps.findIndex((s) => s.op === "mul" && s.args[0] === x && s.args[1] === phi && s.dtype === "f32");
    return at >= 0 && at < root - n && body.steps.slice(at, root - n).every((s) => !s.args.includes(at + n)) ? at + n : -1;
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
    const value = TRAINING && whole && op === "add" ? valueBeside(r, args) : -1;
    const slope = !TRAINING || value < 0 ? null : match(GELU_SLOPE, r, [], [], PHI);
    if (slope !== null) {
      inside.add(value);
      found.push({ op: "gelu", args: [slope.x], defines: [value, r] });
      continue;
    }
    const gelu = dtype === "f32" && op === "mul" ? match(GELU, r) : null;
    if (gelu !== null) {
      found.push({ op: "gelu", args: [gelu.x], defines: [r] });
      continue;
    }
    const sum = whole ? (op === "sub" ? match(MSUB, r) : (match(MADD, r) ?? match(MADD_TURNED, r))) : null;
    found.push(
      sum === null ? { op, args, defines: [r] } : { op: op === "sub" ? "msub" : "madd", args: [sum.a, sum.b, sum.c], defines: [r] },
    );
  }
  return found.reverse();
}

/**
 * @file Steps of a `map` body that one loop of the interpreter can do together: fewer passes over the tiles, and for adam one pass over
 * memory instead of one for each of its tensors.
 */
import { once } from "../../../cache.ts";
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

/** A register's name, a number, or an op with what its arguments are. */
type Pattern = string | number | readonly [string, ...Pattern[]];

/** Steps that are one instruction. */
interface Fusion {
  readonly op: string;
  readonly pattern: Pattern;
  /** Its operands by their names in the pattern. */
  readonly args: readonly string[];
  /** How many of them, the last ones, must be single numbers. */
  readonly scalars?: number;
  /** Patterns within whose values it gives too, where they are results. */
  readonly gives?: readonly Pattern[];
}

const MEAN: Pattern = ["add", "m", ["mul", ["sub", "g", "m"], "c1"]];
const SQUARE: Pattern = ["add", "v", ["mul", ["sub", ["square", "g"], "v"], "c2"]];
const PHI: Pattern = ["mul", ["add", ["erf", ["mul", "x", Math.SQRT1_2]], 1], 0.5];
const DENSITY: Pattern = ["mul", ["exp", ["mul", ["mul", "x", "x"], -0.5]], 0.3989422804014327];
const GELU_SLOPE: Pattern = ["add", PHI, ["mul", "x", DENSITY]];
const TERMS: readonly string[] = ["a", "b", "c"];

const ADAM: Fusion = {
  op: "adam",
  pattern: ["sub", "w", ["div", ["mul", MEAN, "size"], ["add", ["sqrt", SQUARE], "epsilon"]]],
  args: ["w", "m", "v", "g", "size", "c1", "c2", "epsilon"],
  scalars: 4,
  gives: [MEAN, SQUARE],
};
const FUSIONS: readonly (Fusion | null)[] = [
  TRAINING ? ADAM : null,
  { op: "gelu", pattern: ["mul", "x", PHI], args: ["x"] },
  { op: "madd", pattern: ["add", "c", ["mul", "a", "b"]], args: TERMS },
  { op: "madd", pattern: ["add", ["mul", "a", "b"], "c"], args: TERMS },
  { op: "msub", pattern: ["sub", "c", ["mul", "a", "b"]], args: TERMS },
];

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

  /** The instruction that ends in `root`, or null. `shared`: a pattern whose value is read once more. */
  const match = ({ op, pattern, args, scalars = 0, gives = [] }: Fusion, root: number, shared?: Pattern): Instruction | null => {
    const names = new Map<Pattern, number>();
    const within: number[] = [];
    const named = (p: Pattern, r: number): boolean => once(names, p, () => r) === r;
    const fits = (p: Pattern, r: number): boolean => {
      if (typeof p === "string") return named(p, r);
      const s = step(r);
      if (typeof p === "number") return s?.value === p;
      const own =
        s?.op === p[0] &&
        s.dtype === "f32" &&
        !inside.has(r) &&
        (r === root || (uses.get(r) === (p === shared ? 2 : 1) && (gives.includes(p) || !results.has(r))));
      if (r !== root) within.push(r);
      return own && named(p, r) && p.slice(1).every((q, i) => fits(q as Pattern, s.args[i]));
    };
    const of = (p: Pattern): number => names.get(p) as number;
    if (!fits(pattern, root) || !args.slice(args.length - scalars).every((name) => scalar(of(name)))) return null;
    for (const r of within) inside.add(r);
    return { op, args: args.map(of), defines: [root, ...gives.map(of)] };
  };

  /** The slope of gelu and, where nothing between the two reads it, gelu itself, which comes before; null where that is not so. */
  const sloped = (root: number): Instruction | null => {
    const [phi, rest] = (step(root) as MapStep).args;
    const x = step(rest)?.args[0];
    const at = body.steps.findIndex((s) => s.op === "mul" && s.args[0] === x && s.args[1] === phi && s.dtype === "f32");
    if (at < 0 || at >= root - n || body.steps.slice(at, root - n).some((s) => s.args.includes(at + n))) return null;
    const slope = match({ op: "gelu", pattern: GELU_SLOPE, args: ["x"] }, root, PHI);
    if (slope !== null) inside.add(at + n);
    return slope && { ...slope, defines: [at + n, root] };
  };

  for (let r = n + body.steps.length - 1; r >= n; r--) {
    const { op, args } = step(r) as MapStep;
    if (op === "const" || inside.has(r)) continue;
    let made = TRAINING ? sloped(r) : null;
    for (const fusion of FUSIONS) made ??= fusion && match(fusion, r);
    found.push(made ?? { op, args, defines: [r] });
  }
  return found.reverse();
}

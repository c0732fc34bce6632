/**
 * @file The Plan: what every backend compiles. An ordered list of kernel calls over operands that live in bindings
 * (buffers handed in with each run) or slots (temporaries). Plain data and printable, but for the table of kernels.
 */
import type { DType, Storage } from "../dtype.ts";
import type { Shape } from "../shape.ts";
import { showShape } from "../shape.ts";
import type { Attrs, Attr, Kernel } from "../op.ts";

/** Where an operand's bytes are. `offset` in bytes. */
export interface Place {
  readonly space: "binding" | "slot";
  readonly index: number;
  readonly offset: number;
}

/** One tensor of a call: contiguous row-major bytes at `place`. */
export interface Operand {
  readonly place: Place;
  readonly shape: Shape;
  readonly dtype: DType;
  /**
   * Absent for words. f16 temporaries: see half.ts. u8 and what is packed are of inputs and captures, which only kernels that say so
   * (kernels.ts) have as an operand.
   */
  readonly storage?: Storage | undefined;
}

/**
 * One run of one kernel. Inputs and outputs stand in the order that the kernel's header comment gives; null is an
 * optional input that is absent or an output that nobody reads. Inputs may be the same place as an output only where
 * the planner knows the kernel reads each element before writing it (`map`).
 */
export interface Call {
  readonly kernel: string;
  readonly inputs: readonly (Operand | null)[];
  readonly outputs: readonly (Operand | null)[];
  readonly attrs: Attrs;
  /** The plan that the kernel repeats: see scan in kernels.ts. */
  readonly body?: Plan;
  /** The user-level op or layer this came from, for dumps and errors. */
  readonly source: string;
}

/** A buffer handed in with each run. */
export interface Binding {
  readonly kind: "input" | "capture" | "output";
  readonly shape: Shape;
  readonly dtype: DType;
  readonly storage?: Storage | undefined;
  readonly bytes: number;
  /** True when a call writes it. */
  readonly written: boolean;
}

export interface Plan {
  readonly bindings: readonly Binding[];
  /** Bytes of each temporary slot. One-memory backends get one slot. */
  readonly slots: readonly number[];
  readonly calls: readonly Call[];
  /** What ops brought of the kernels that calls name, by name. */
  readonly kernels: { readonly [name: string]: Kernel };
}

/** A step of a fused elementwise body: `args` are registers; register `i` is input `i`, register `inputs + j` is the result of step `j`. */
export interface MapStep {
  /** An elementwise op's name, or "const" (value in `value`, no args). */
  readonly op: string;
  readonly args: readonly number[];
  /** dtype of the result. */
  readonly dtype: DType;
  readonly value?: number;
}

/**
 * The body of a `map` call, and the optional prologue of a `reduce` call. `strides[i]` are the strides in elements with
 * which input `i` is read over the iteration space (0: broadcast); outputs are contiguous over it.
 */
export interface MapBody {
  readonly space: Shape;
  readonly strides: readonly (readonly number[])[];
  readonly steps: readonly MapStep[];
  /** Registers that are written to the outputs, in order. */
  readonly results: readonly number[];
}

function showOperand(o: Operand | null): string {
  if (o === null) return "-";
  const { space, index, offset } = o.place;
  return `${space === "binding" ? "%" : "#"}${index}${offset ? `+${offset}` : ""}:${o.storage ?? o.dtype}${showShape(o.shape)}`;
}

function showAttr(a: Attr): string {
  return typeof a === "string" ? a : JSON.stringify(a);
}

function showBody(body: MapBody): string {
  const n = body.strides.length;
  const reg = (r: number) => (r < n ? `i${r}` : body.steps[r - n].op === "const" ? String(body.steps[r - n].value) : `t${r - n}`);
  const lines = body.steps.flatMap((s, j) => (s.op === "const" ? [] : [`t${j}=${s.op}(${s.args.map(reg).join(",")})`]));
  return `{${lines.join(" ")} -> ${body.results.map(reg).join(",")}}`;
}

/** The plan as text, one call a line: for people, snapshots and refactoring diffs. */
export function showPlan(plan: Plan): string {
  const lines = plan.bindings.map((b, i) => `%${i} ${b.kind} ${b.storage ?? b.dtype}${showShape(b.shape)}${b.written ? " written" : ""}`);
  plan.slots.forEach((bytes, i) => lines.push(`#${i} slot ${bytes} B`));
  for (const c of plan.calls) {
    const attrs = Object.entries(c.attrs)
      .filter(([k]) => k !== "body")
      .map(([k, v]) => `${k}=${showAttr(v)}`);
    if (c.attrs.body) attrs.push(showBody(c.attrs.body as unknown as MapBody));
    lines.push(
      `${c.outputs.map(showOperand).join(", ")} = ${c.kernel}(${c.inputs.map(showOperand).join(", ")}) ` +
        `${attrs.join(" ")}${c.source ? `  ; ${c.source}` : ""}`,
      ...(c.body
        ? showPlan(c.body)
            .split("\n")
            .map((line) => `  ${line}`)
        : []),
    );
  }
  return lines.join("\n");
}

/** Bytes of all temporaries. */
export function slotBytes(plan: Plan): number {
  return plan.slots.reduce((a, b) => a + b, 0);
}

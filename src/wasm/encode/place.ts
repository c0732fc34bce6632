import type { Operand } from "../../plan/plan.ts";

/** A key that is equal for operands that start at the same byte. */
export function base(o: Operand): string {
  return `${o.place.space}${o.place.index}+${o.place.offset}`;
}

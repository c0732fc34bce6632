/** @file Tensors as text. */
import type { DType, HostArray } from "./dtype.ts";
import type { Shape } from "./shape.ts";

/** What is shown of a tensor. */
interface Shown {
  readonly shape: Shape;
  readonly rank: number;
  readonly size: number;
  readonly dtype: DType;
  /** Not null while it is traced. */
  readonly node: object | null;
  toString(): string;
}

/** An element in the fewest digits, of six and more, that tell it from others. */
function digits(dtype: DType, v: number): string {
  let shortest = v;
  for (let p = 6; dtype === "f32" && p < 10; p++) {
    shortest = Number(v.toPrecision(p));
    if (Math.fround(shortest) === v) break;
  }
  return String(dtype === "bool" ? v !== 0 : shortest);
}

/** What `console.log` shows of a tensor: as NumPy, of more than 1,000 elements the first and last three along each dimension. */
export function show(t: Shown, data: HostArray | null): string {
  if (data === null) return `Tensor ${t} ${t.node === null ? "(await print() shows its elements)" : "(traced)"}`;
  const part = (dim: number, at: number, step: number): string => {
    if (dim === t.rank) return digits(t.dtype, data[at]);
    const n = t.shape[dim];
    const items: string[] = [];
    for (let i = 0; i < n; i++) {
      if (t.size > 1000 && n > 6 && i === 3) {
        items.push("...");
        i = n - 3;
      }
      items.push(part(dim + 1, at + (i * step) / n, step / n));
    }
    return `[${items.join(dim === t.rank - 1 ? ", " : `,${"\n".repeat(t.rank - 1 - dim)}${" ".repeat(dim + 1)}`)}]`;
  };
  return `Tensor ${t}${t.rank > 1 ? "\n" : " "}${part(0, 0, t.size)}`;
}

/** @file Tensors as text. */
import type { HostArray } from "./dtype.ts";
import type { Tensor } from "./tensor.ts";

/** An f32 in the fewest digits, of six and more, that tell it from others. */
function digits(v: number): string {
  let p = 6;
  while (p < 9 && Math.fround(Number(v.toPrecision(p))) !== v) p++;
  return String(Number(v.toPrecision(p)));
}

/** What `console.log` shows of a tensor: as NumPy, of more than 1,000 elements the first and last three along each dimension. */
export function show(t: Tensor, data: HostArray | null): string {
  if (data === null) return `Tensor ${t} ${t.node === null ? "(await print() shows its elements)" : "(traced)"}`;
  const element = (v: number): string => (t.dtype === "f32" ? digits(v) : String(t.dtype === "bool" ? v !== 0 : v));
  const part = (dim: number, at: number, step: number): string => {
    if (dim === t.rank) return element(data[at]);
    const n = t.shape[dim], inner = step / n;
    const cut = t.size > 1000 && n > 6;
    const item = (i: number): string => part(dim + 1, at + i * inner, inner);
    const items = Array.from({ length: cut ? 7 : n }, (_, i) => (cut && i === 3 ? "..." : item(cut && i > 3 ? n - 7 + i : i)));
    return `[${items.join(dim === t.rank - 1 ? ", " : `,${"\n".repeat(t.rank - 1 - dim)}${" ".repeat(dim + 1)}`)}]`;
  };
  return `Tensor ${t}${t.rank > 1 ? "\n" : " "}${part(0, 0, t.size)}`;
}

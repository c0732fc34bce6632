/** @file Einstein's summation: products of operands two at a time, each one product of matrices. */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import { sizeOf } from "../call.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { Value } from "../value.ts";
import { product } from "./matrix.ts";

const { reshape, transpose } = lockstep;

/** An operand with a label for each dimension. */
interface Term {
  readonly t: Tensor;
  readonly labels: readonly string[];
}

/** Labels of a term, "..." as so many of its own, counted from behind. */
function labelsOf(call: Call, term: string, rank: number | null, spread: number): string[] {
  const [before, behind, ...more] = term.split("...");
  if (more.length > 0 || /[^a-zA-Z]/.test(before + (behind ?? ""))) throw call.fault(`equation: "${term.slice(0, 80)}" is no term`);
  const count = behind === undefined ? 0 : (rank ?? before.length + behind.length + spread) - before.length - behind.length;
  const labels = [...before, ...Array.from({ length: Math.max(0, count) }, (_, i) => `.${count - 1 - i}`), ...(behind ?? "")];
  if (rank !== null && labels.length !== rank)
    throw call.mismatch(`equation: "${term}" has ${labels.length} labels for ${rank} dimensions`);
  return labels;
}

/** Dimensions with the same label become one: its diagonal. */
function diagonal({ t, labels }: Term): Term {
  const label = labels.find((l, i) => labels.indexOf(l) !== i);
  if (label === undefined) return { t, labels };
  const [i, j] = [labels.indexOf(label), labels.lastIndexOf(label)];
  const rest = labels.map((_, k) => k).filter((k) => k !== i && k !== j);
  const n = t.shape[i];
  const shape = rest.map((k) => t.shape[k]);
  const flat = reshape(transpose(t, [...rest, i, j]), [...shape, n * n]);
  const start = shape.map(() => 0);
  const every = lockstep.slice(flat, [...start, 0], [...shape, n], [...shape.map(() => 1), n + 1]);
  return diagonal({ t: every, labels: [...rest.map((k) => labels[k]), label] });
}

/** Sums over all labels but those of `kept`. */
function summed({ t, labels }: Term, kept: ReadonlySet<string>): Term {
  const axes = labels.flatMap((l, i) => (kept.has(l) ? [] : [i]));
  if (axes.length === 0) return { t, labels };
  const unsigned = t.dtype === "u32";
  const sum = lockstep.sum(unsigned ? lockstep.cast(t, "i32") : t, { axis: axes });
  return { t: unsigned ? lockstep.cast(sum, "u32") : sum, labels: labels.filter((l) => kept.has(l)) };
}

/** `t` as [batch..., first, second], and whether that is [batch..., second, first] as it lies. */
function matrix({ t, labels }: Term, batch: readonly string[], first: readonly string[], second: readonly string[]): [Tensor, boolean] {
  const sizes = (list: readonly string[]): number[] => list.map((l) => t.shape[labels.indexOf(l)]);
  const [m, k] = [sizeOf(sizes(first)), sizeOf(sizes(second))];
  const lead = batch.length === 0 ? [] : [sizeOf(sizes(batch))];
  if (labels.join() === [...batch, ...second, ...first].join()) return [reshape(t, [...lead, k, m]), true];
  const order = [...batch, ...first, ...second].map((l) => labels.indexOf(l));
  return [reshape(transpose(t, order), [...lead, m, k]), false];
}

/** The product of two, summed over what is not kept. */
function contracted(a: Term, b: Term, kept: ReadonlySet<string>): Term {
  const [x, y] = [summed(a, new Set([...kept, ...b.labels])), summed(b, new Set([...kept, ...a.labels]))];
  const both = x.labels.filter((l) => y.labels.includes(l));
  const [batch, inner] = [both.filter((l) => kept.has(l)), both.filter((l) => !kept.has(l))];
  const [left, right] = [x.labels.filter((l) => !both.includes(l)), y.labels.filter((l) => !both.includes(l))];
  const [p, transposeA] = matrix(x, batch, left, inner);
  const [q, transposeB] = matrix(y, batch, inner, right);
  const size = (l: string): number => (x.labels.includes(l) ? x.t.shape[x.labels.indexOf(l)] : y.t.shape[y.labels.indexOf(l)]);
  const labels = [...batch, ...left, ...right];
  return { t: reshape(product(p, q, { transposeA, transposeB }), labels.map(size)), labels };
}

const Einsum: Operator = (call) => {
  const equation = call.string("equation", "").replaceAll(" ", "");
  const [given, result, ...more] = equation.split("->");
  const names = given.split(",");
  const values = call.inputs.map((_, i) => call.input(i));
  if (more.length > 0 || names.length !== values.length)
    throw call.fault(`equation: "${equation.slice(0, 80)}" does not fit ${values.length} inputs`);
  const labelled = values.map(({ tensor: t }, i) => ({ t, labels: labelsOf(call, names[i], t.rank, 0) }));
  const sizes = new Map<string, number>();
  for (const { t, labels } of labelled)
    labels.forEach((l, i) => {
      const [known, here] = [sizes.get(l) ?? 1, t.shape[i]];
      if (known !== 1 && here !== 1 && known !== here) throw call.mismatch(`equation: "${l}" is ${known} and ${here}`);
      if (here !== 1 || known === 1) sizes.set(l, here);
    });
  const spread = [...sizes.keys()].filter((l) => l.startsWith(".")).length;
  const once = [...sizes.keys()].filter((l) => labelled.reduce((n, { labels }) => n + labels.filter((k) => k === l).length, 0) === 1);
  const out =
    result === undefined
      ? [
          ...Array.from({ length: spread }, (_, i) => `.${spread - 1 - i}`),
          ...once.filter((l) => !l.startsWith(".")).sort((a, b) => (a < b ? -1 : 1)),
        ]
      : labelsOf(call, result, null, spread);
  const unknown = out.find((l) => !sizes.has(l));
  if (unknown !== undefined || new Set(out).size !== out.length) throw call.fault(`equation: the output is "${result}"`);
  // What is 1 here and more elsewhere is repeated: a product needs no copies of it.
  const terms = labelled.map(diagonal).map(({ t, labels }): Term => {
    const kept = labels.filter((l, i) => t.shape[i] === sizes.get(l));
    return {
      t: reshape(
        t,
        kept.map((l) => sizes.get(l) as number),
      ),
      labels: kept,
    };
  });
  const all = terms.reduce((a, b, i) => contracted(a, b, new Set([...out, ...terms.slice(i + 1).flatMap(({ labels }) => labels)])));
  const { t, labels } = summed(all, new Set(out));
  return Value.of(
    values[0].type,
    transpose(
      t,
      out.map((l) => labels.indexOf(l)),
    ),
  );
};

export const EINSUM: Operators = { Einsum };

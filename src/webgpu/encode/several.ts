/**
 * @file Products of few rows that read one input, as one dispatch (`several` of kernels/several/) with the normalization before them and
 * the elementwise steps behind them: a token of a Llama is a row of everything, and each dispatch of its step takes longer to begin than to
 * compute. `joinProducts` finds such calls in a plan, where they stand one behind the other. Of packed matrices and of those in f32:
 * `Family`.
 */
import type { Activation, LayerNormAttrs } from "../../plan/kernels.ts";
import type { Attrs } from "../../op.ts";
import type { Call, MapBody, Operand } from "../../plan/plan.ts";
import { sizeOf } from "../../shape.ts";
import type { Bound, GpuEncoder, GpuFeatures, GpuKernels, Shader } from "../dispatch.ts";
import { read, update, write } from "../dispatch.ts";
import { among, dies, joinedBy, plain } from "../join.ts";
import type { Joined } from "../join.ts";
import { indexExpression, stepsFunction } from "./body.ts";
import { activationFunction } from "./matmul.ts";
import { MOST_FEW } from "./packed.ts";

/** Matrices that lie alike, and the kernel that reads several of them. */
export interface Family {
  /** The kernel of one product with bias and activation, in plans: a, b and bias? are its inputs, `ProductAttrs` among its attributes. */
  readonly kernel: string;
  /** The name of that of several. */
  readonly several: string;
  /** Elements of the vectors that the matrices are read in. */
  readonly element: "u32" | "f32";
  /** Whether it can make a product of few rows, whose n is a multiple of four. */
  fits(attrs: Attrs, features: GpuFeatures): boolean;
  /** How products are read that `vectors` workgroups make, or fewer; `across`: vectors of columns that one of them makes. */
  shaderOf(attrs: ProductAttrs, vectors: number, features: GpuFeatures): Pick<Shader, "file" | "constants" | "hooks"> & { across: number };
}

/** What products of one dispatch have in common, and columns and activation of each. */
export interface ProductAttrs {
  readonly m: number;
  readonly k: number;
  /** Of packed matrices. */
  readonly format?: string;
  readonly n: number;
  readonly activation: Activation;
}

/** What the steps behind products read: the sum of the call's product of this number, or an operand of the call. */
type Source = { readonly product: number } | { readonly input: number };

/**
 * `several(a[m,k], gamma[k]?, beta[k]?, (b, bias[n]?)..., others...) -> y...`: products of each b with a, or where there is an epsilon with
 * a normalized: (a - mean) / sqrt(mean((a - mean)^2) + epsilon) * gamma + beta, the mean 0 unless centered. With steps one y, which they
 * make of the products and of others.
 */
interface SeveralAttrs {
  readonly m: number;
  readonly k: number;
  readonly format: string | null;
  readonly epsilon: number | null;
  readonly centered: boolean;
  readonly products: readonly { readonly n: number; readonly activation: Activation }[];
  readonly steps: { readonly body: MapBody; readonly sources: readonly Source[] } | null;
}

/** Operands before those of the products. */
const BEFORE = 3;

const attrsOf = ({ attrs }: Call): ProductAttrs => attrs as unknown as ProductAttrs;

/** A product of few rows that `several` can make: of whole vectors and groups of rows. */
function isFew(call: Call | undefined, family: Family, features: GpuFeatures): call is Call {
  if (call?.kernel !== family.kernel) return false;
  const { m, n } = attrsOf(call);
  const [a, b, bias = null] = call.inputs;
  const words = family.element === "f32" ? [a, b, bias, call.outputs[0]] : [a, bias, call.outputs[0]];
  return m > 0 && m <= MOST_FEW && n % 4 === 0 && family.fits(call.attrs, features) && words.every((o) => plain(o));
}

const normOf = ({ attrs }: Call): LayerNormAttrs => attrs as unknown as LayerNormAttrs;

/** A normalization of rows whose other results nobody reads. Adapters that are software keep the bits of one that stands alone. */
function isNorm({ kernel, attrs, inputs: [x, gamma, beta], outputs: [y, ...facts] }: Call, { software }: GpuFeatures): boolean {
  if (kernel !== "layerNorm" || !(attrs.centered ? !software : beta == null && gamma != null)) return false;
  return facts.every((o) => o == null) && [x, gamma, beta, y].every((o) => plain(o));
}

/** Buffers that a call binds: an output in the place of an input once. */
const countBuffers = ({ inputs, outputs }: Call): number =>
  inputs.filter((o) => o !== null).length + outputs.filter((o) => !among((o as Operand).place, inputs)).length;

/** The call that computes what `norm`, if any, the products `run` and `map`, if any, compute, all of which stand before `end`. */
function joinedCall(
  { several }: Family,
  calls: readonly Call[],
  norm: Call | null,
  run: readonly Call[],
  map: Call | null,
  end: number,
): Call | null {
  const [{ m, k, format = null }, a] = [attrsOf(run[0]), (norm ?? run[0]).inputs[0] as Operand];
  const matrices = run.flatMap(({ inputs }) => [inputs[1], inputs[2] ?? null]);
  const given = [a, norm?.inputs[1] ?? null, norm?.inputs[2] ?? null, ...matrices];
  let [inputs, outputs, steps]: [typeof given, readonly (Operand | null)[], SeveralAttrs["steps"]] = [
    given,
    run.map((c) => c.outputs[0]),
    null,
  ];
  if (map !== null) {
    const body = map.attrs.body as unknown as MapBody;
    const { n } = attrsOf(run[0]);
    const made = (o: Operand): number => run.findIndex((c) => among(o.place, c.outputs));
    const read = map.inputs as readonly Operand[];
    const fits =
      run.length <= 2 &&
      run.every((c, i) => attrsOf(c).n === n && read.some((o) => made(o) === i) && keptOnly(calls, end, c, map)) &&
      map.outputs.length === 1 &&
      [...read, ...map.outputs].every((o) => plain(o)) &&
      sizeOf(body.space) === m * n &&
      body.strides.every((s) => indexExpression(body.space, s).expression === "i");
    if (!fits || (norm !== null && read.some((o) => among(o.place, norm.outputs)))) return null;
    const others = read.filter((o, i) => made(o) < 0 && read.findIndex((other) => among(o.place, [other])) === i);
    const source = (o: Operand): Source =>
      made(o) >= 0 ? { product: made(o) } : { input: given.length + others.findIndex((other) => among(o.place, [other])) };
    [inputs, outputs, steps] = [[...given, ...others], map.outputs, { body, sources: read.map(source) }];
  }
  // All workgroups read what is given, while others write.
  if (outputs.some((o) => among((o as Operand).place, given))) return null;
  if (norm !== null && (normOf(norm).cols !== k || !keptOnly(calls, end, norm, map))) return null;
  const attrs: SeveralAttrs = {
    m,
    k,
    format,
    epsilon: norm && normOf(norm).epsilon,
    centered: norm !== null && normOf(norm).centered,
    products: run.map((c) => attrsOf(c)),
    steps,
  };
  return { ...run[0], kernel: several, inputs, outputs, attrs: attrs as unknown as Call["attrs"] };
}

/** Whether what `call` gives is read by those it is joined with alone, which end before `end` and write `map`'s output last. */
function keptOnly(calls: readonly Call[], end: number, { outputs: [y] }: Call, map: Call | null): boolean {
  const { place } = y as Operand;
  return (map !== null && among(place, map.outputs)) || dies(calls, end, place);
}

/** The longest list of calls from `at` on that are one, as this and their number; null: there is none. */
function joinedAt(family: Family, calls: readonly Call[], at: number, features: GpuFeatures): Joined | null {
  const norm = isNorm(calls[at], features) ? calls[at] : null;
  const begin = at + (norm === null ? 0 : 1);
  const first = calls[begin];
  if (!isFew(first, family, features)) return null;
  const { m, k, format } = attrsOf(first);
  const a = (norm === null ? first.inputs[0] : norm.outputs[0]) as Operand;
  const alike = (call: Call | undefined): call is Call =>
    isFew(call, family, features) &&
    among(a.place, [call.inputs[0]]) &&
    attrsOf(call).m === m &&
    attrsOf(call).k === k &&
    attrsOf(call).format === format;
  if (!alike(first)) return null;
  const run = [first];
  for (let next = calls[begin + 1]; alike(next); next = calls[begin + run.length]) run.push(next);
  const tried = (length: number, map: Call | null): Joined | null => {
    const end = begin + length + (map === null ? 0 : 1);
    const call = joinedCall(family, calls, norm, run.slice(0, length), map, end);
    return call && countBuffers(call) <= features.maxBuffers ? { call, count: end - at } : null;
  };
  const behind = calls[begin + run.length] as Call | undefined;
  const whole = (behind?.kernel === "map" && tried(run.length, behind)) || null;
  if (whole !== null) return whole;
  for (let length = run.length; length > (norm === null ? 1 : 0); length--) {
    const found = tried(length, null);
    if (found !== null) return found;
  }
  return null;
}

/** Calls of a plan with products of a family that read one input, and what stands around them, as one. */
export const joinProducts =
  (family: Family): NonNullable<GpuKernels["joins"]>[number] =>
  (calls, features) =>
    joinedBy(calls, (at) => joinedAt(family, calls, at, features));

/** The encoder of several products of a family: see `SeveralAttrs`. */
export const productsOf =
  (family: Family): GpuEncoder =>
  (call, out) => {
    const { m, k, format, epsilon, centered, products, steps } = call.attrs as unknown as SeveralAttrs;
    const { inputs, outputs } = call;
    const per = steps === null ? 1 : products.length;
    const vectors = products.map(({ n }) => n / 4).slice(0, steps === null ? products.length : 1);
    const shape = { m, k, ...(format && { format }), n: 0, activation: "linear" } as const;
    const shader = family.shaderOf(shape, vectors.reduce((a, b) => a + b, 0) * per, out.features);
    const groups = vectors.map((count) => Math.ceil(count / shader.across));
    const all = groups.reduce((a, b) => a + b, 0);
    const given = BEFORE + 2 * products.length;
    const lines: string[] = [];
    const buffers: (Bound | null)[] = [read(inputs[0])];
    const bind = (bound: Bound | null, name: string, type: string): void => {
      const access = bound?.access === "read" ? "read" : "read_write";
      lines.push(`@group(0) @binding(${buffers.push(bound) - 1}) var<storage, ${access}> ${name}: array<vec4<${type}>>;`);
    };
    ["gamma", "beta"].forEach((name, i) => inputs[1 + i] !== null && bind(read(inputs[1 + i]), name, "f32"));
    const biases = products.map((_, p) => inputs[BEFORE + 1 + 2 * p]);
    biases.forEach((bias, p) => {
      bind(read(inputs[BEFORE + 2 * p]), `w${p}`, family.element);
      if (bias !== null) bind(read(bias), `bias${p}`, "f32");
    });
    // An operand in the place of the output is bound once.
    const own = inputs.findIndex((o, i) => i >= given && among((outputs[0] as Operand).place, [o]));
    inputs.slice(given).forEach((o, i) => given + i !== own && bind(read(o), `x${given + i}`, "f32"));
    outputs.forEach((o, i) => bind(own < 0 ? write(o) : update(o as Operand), `y${i}`, "f32"));

    const chosen = (of: (p: number) => string, what = "product"): string[] => [
      ...products.slice(1).map((_, i) => `if (${what} == ${i + 1}u) { return ${of(i + 1)}; }`),
      `return ${of(0)};`,
    ];
    /** `text` of each part of workgroups, the last first. */
    let first = all;
    const parts = groups.map((_, i) => groups.length - 1 - i).map((i) => ({ i, first: (first -= groups[i]) }));
    lines.push(
      "fn part_of(group: u32) -> Part {",
      ...parts.map(
        ({ i, first }) => `${first > 0 ? `if (group >= ${first}u) ` : ""}{ return Part(${i}u, group - ${first}u, ${products[i].n}u); }`,
      ),
      "}",
      `fn words_of(product: u32, at: u32) -> vec4<${family.element}> {`,
      ...chosen((p) => `w${p}[at]`),
      "}",
      `fn gamma_of(at: u32) -> vec4<f32> { return ${inputs[1] === null ? "vec4(1.0)" : "gamma[at]"}; }`,
      `fn beta_of(at: u32) -> vec4<f32> { return ${inputs[2] === null ? "vec4<f32>()" : "beta[at]"}; }`,
    );
    const lanes = ["x", "y", "z", "w"];
    const vector = (of: (lane: string) => string): string => `vec4(${lanes.map(of).join(", ")})`;
    products.forEach(({ activation }, p) =>
      lines.push(
        `fn made${p}(sum: vec4<f32>, g: u32) -> vec4<f32> {`,
        `let v = sum${biases[p] === null ? "" : ` + bias${p}[g]`};`,
        `return ${activation === "linear" ? "v" : vector((l) => `${activationFunction(activation)}(v.${l})`)};`,
        "}",
      ),
    );
    if (steps !== null)
      lines.push(
        stepsFunction(
          steps.body,
          steps.sources.map(() => outputs[0] as Operand),
        ),
      );
    lines.push("fn finish(part: Part, row: u32, first: vec4<f32>, second: vec4<f32>) {", "let i = row * (part.rows / 4u) + part.g;");
    if (steps === null) {
      products.forEach((_, p) => lines.push(`if (part.product == ${p}u) { y${p}[i] = made${p}(first, part.g); }`));
    } else {
      const value = (s: Source): string =>
        "product" in s
          ? `made${s.product}(${s.product === 0 ? "first" : "second"}, part.g)`
          : `${s.input === own ? "y0" : `x${s.input}`}[i]`;
      steps.sources.forEach((s, i) => lines.push(`let v${i} = ${value(s)};`));
      lines.push(`y0[i] = ${vector((l) => `steps(${steps.sources.map((_, i) => `v${i}.${l}`).join(", ")}).r0`)};`);
    }
    lines.push("}");
    out.dispatch(
      {
        ...shader,
        entry: "several",
        constants: {
          ...shader.constants,
          PER: per,
          GROUPS: all,
          NORMALIZED: epsilon !== null,
          CENTERED: centered,
          EPSILON: Math.fround(epsilon ?? 0),
          JOINED: m * (per + (epsilon === null ? 0 : 1)),
        },
        body: lines.join("\n"),
      },
      buffers,
      all,
    );
  };

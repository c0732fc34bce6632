/**
 * @file WGSL that loads, multiplies and stores subgroup matrices, for parts whose kernels use them. Shaders with it name the directives of
 * `features.matrices`, and workgroups are lines of whole multiples of its subgroupSize.
 */
import type { SubgroupMatrices } from "../dispatch.ts";

/** Bytes of an element of A or B. */
export const bytesOf = ({ type }: SubgroupMatrices): number => (type === "f16" ? 2 : 4);

/** The type of A, of B, or of sums. */
export function matrixType(side: "left" | "right" | "result", { type, m, n, k }: SubgroupMatrices): string {
  const [of, columns, rows] = { left: [type, k, m], right: [type, n, k], result: ["f32", n, m] }[side];
  return `subgroup_matrix_${side}<${of}, ${columns}, ${rows}>`;
}

/**
 * An A, a B or sums from the array `memory` of elements of its type, from `at` on. `distance`: between its rows with `byRow`, else its
 * columns; all three are the same for a whole subgroup.
 */
export const loadMatrix = (
  side: "left" | "right" | "result",
  matrices: SubgroupMatrices,
  memory: string,
  at: string,
  distance: string,
  byRow: boolean,
): string => `subgroupMatrixLoad<${matrixType(side, matrices)}, ${byRow ? "row" : "col"}_major>(&${memory}, ${at}, ${distance})`;

/** sums += a b */
export const addProduct = (sums: string, a: string, b: string): string =>
  `${sums} = subgroupMatrixMultiplyAccumulate(${a}, ${b}, ${sums});`;

/** Writes sums to the array `memory` of f32, likewise. */
export const storeMatrix = (memory: string, at: string, sums: string, distance: string, byRow = true): string =>
  `subgroupMatrixStore<${byRow ? "row" : "col"}_major>(&${memory}, ${at}, ${sums}, ${distance});`;

/**
 * Lines that tell an invocation of its subgroup, in an entry point with the builtins `i` (local_invocation_index) and `size`
 * (subgroup_size): `lanes` invocations, of which it is the number `lane`, and which subgroup that is, `part`. (Invocations of one are
 * taken to be neighbours.)
 */
export const subgroupOf = ({ exact, subgroupSize }: SubgroupMatrices): string =>
  `let lanes = ${exact ? `${subgroupSize}u` : "size"}; let part = i / lanes; let lane = i % lanes;`;

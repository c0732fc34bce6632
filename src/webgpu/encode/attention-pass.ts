/**
 * @file A pass over all scores of attention by subgroup matrices: what a workgroup of it takes, and the entry points that are added to
 * kernels/attention-matrices/attention.wgsl. In these each matrix has a name, since an indexed array of them might live in memory.
 */
import type { AttentionTile, Constants, GpuFeatures, SubgroupMatrices } from "../dispatch.ts";
import { addProduct, bytesOf, loadMatrix, matrixType, storeMatrix, subgroupOf } from "./matrices.ts";

/** `forward`, or the backward pass for gradients of queries, and of keys and values: rows are queries, or keys in the last. */
export type PassName = "forward" | "queries" | "keys";

export interface Pass {
  readonly name: PassName;
  readonly tile: AttentionTile;
  readonly matrices: SubgroupMatrices;
  /** Features of the first operands (queries and keys) and of the second, with zeros behind them: whole matrices for each of `parts`. */
  readonly first: number;
  readonly second: number;
  /** Workgroups that share the features of results. */
  readonly parts: number;
}

/** Vectors of a tile's columns for which an invocation has room in registers beside all else. */
const MOST_EARLY = 8;
/** Bytes between lines. */
const SPACE = 16;

const list = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const spaceOf = ({ matrices }: Pass): number => SPACE / bytesOf(matrices);

/** `features` with zeros behind them. */
export function padded(features: number, parts: number, { n, k }: SubgroupMatrices): number {
  const whole = Math.max(n, k);
  return parts * Math.ceil(features / parts / whole) * whole;
}

/** Elements of operands in workgroup memory: those of a tile's columns, and before these the rows of one subgroup at least. */
function operandsOf(pass: Pass): number {
  const { tile, first, second } = pass;
  const space = spaceOf(pass);
  return Math.max(tile.columns * (first + second + 2 * space), tile.rows * (Math.max(first, second) + space));
}

/** Invocations of a subgroup that share a query, at most. */
const sharesOf = ({ tile, matrices }: Pass): number => Math.max(1, Math.floor(matrices.subgroupSize / tile.rows));

/** Whether tiles are whole matrices, and workgroups what the adapter can have. */
export function fits(pass: Pass, { maxWorkgroupSize, maxWorkgroupBytes }: GpuFeatures): boolean {
  const { name, tile, matrices } = pass;
  const { m, n, k, subgroupSize } = matrices;
  const [keys, queries] = name === "keys" ? [tile.rows, tile.columns] : [tile.columns, tile.rows];
  const scores = 4 * keys * (queries + 4) * (name === "forward" ? 1 : 2);
  const weights = bytesOf(matrices) * keys * (queries + spaceOf(pass)) * (name === "keys" ? 2 : 1);
  const facts = name === "forward" ? 4 * tile.subgroups * tile.rows * (2 + 3 * sharesOf(pass)) + 4 : 0;
  return (
    tile.rows % m === 0 &&
    tile.columns % n === 0 &&
    tile.columns % k === 0 &&
    tile.subgroups * subgroupSize <= maxWorkgroupSize &&
    bytesOf(matrices) * operandsOf(pass) + tile.subgroups * (scores + weights) + facts <= maxWorkgroupBytes
  );
}

/** Constants of the pass in kernels/attention-matrices/attention.wgsl, and those of tiles.wgsl that depend on it. */
export function constantsOf(pass: Pass): Constants {
  const { name, tile, matrices, first, second, parts } = pass;
  return {
    TILE_THREADS: tile.subgroups * matrices.subgroupSize,
    // Of tiles.wgsl: a tile has 16 times as many.
    ROWS: (tile.subgroups * tile.rows) / 16,
    COLUMNS: tile.columns,
    PARTS: parts,
    BY_KEYS: name === "keys",
    Component: matrices.type,
    SUBGROUPS: tile.subgroups,
    PART_ROWS: tile.rows,
    SHARES: sharesOf(pass),
    SPACE: spaceOf(pass),
    FIRST_PADDED: first,
    SECOND_PADDED: second,
    OPERANDS: operandsOf(pass),
  };
}

/**
 * How a tile's columns come to workgroup memory, in a loop over `base` from `begin` on: what stands before it, and what it begins with.
 * Where they are few enough they are fetched into registers while the tile before them is computed with.
 */
function columnsOf({ tile, matrices, first, second }: Pass): { readonly before: (begin: string) => string; readonly step: string } {
  const threads = tile.subgroups * matrices.subgroupSize;
  const count = (tile.columns * (first + second)) / 4;
  const own = list(Math.ceil(count / threads)).map((v) => ({
    at: `i + ${v * threads}u`,
    name: `next${v}`,
    when: (v + 1) * threads <= count ? "" : `if (i + ${v * threads}u < ${count}u) `,
  }));
  const early = own.length <= MOST_EARLY;
  const each = (line: (vector: (typeof own)[number]) => string): string => (early ? own.map(line).join("\n") : "");
  const fetch = (base: string): string => each(({ name, at, when }) => `${when}{ ${name} = matrix_fetch(t, ${base}, ${at}); }`);
  const put = each(({ name, at, when }) => `${when}{ matrix_put_column(${at}, ${name}); }`);
  return {
    before: (begin) => `
  let begin = ${begin};
  ${each(({ name }) => `var ${name} = vec4<f32>();`)}
  ${fetch("begin")}`,
    step: `
    workgroupBarrier();
    ${put || `for (var v = i; v < ${count}u; v += TILE_THREADS) { matrix_put_column(v, matrix_fetch(t, base, v)); }`}
    workgroupBarrier();
    ${fetch("base + i32(COLUMNS)")}`,
  };
}

/** The entry point `matrices` for a pass. */
export function entryPoint(pass: Pass): string {
  const { name, tile, matrices, parts } = pass;
  const { m, n, k } = matrices;
  const byKeys = name === "keys";
  // Subgroups that are smaller than the adapter says are more than there are parts of the tile; they help to copy.
  const mine = matrices.exact ? "true" : "part < SUBGROUPS";
  const columns = columnsOf(pass);
  const down = list(tile.rows / m);
  const across = list(tile.columns / n);
  const operand = (second: boolean): { features: number; distance: string; at: string } =>
    second
      ? { features: pass.second, distance: "SECOND_DISTANCE", at: "SECOND_AT" }
      : { features: pass.first, distance: "FIRST_DISTANCE", at: "0u" };
  const declared = (side: "left" | "result", x: string, count: number): string[] =>
    down.flatMap((i) => list(count).map((j) => `var ${x}${i}_${j}: ${matrixType(side, matrices)};`));
  const all = (lines: readonly string[]): string => lines.join("\n");

  /** Operands of the rows, which stay in matrices `x`: as many subgroups' at once as memory has room for. */
  const rows = (x: string, second: boolean): string[] => {
    const { features, distance } = operand(second);
    const together = Math.min(tile.subgroups, Math.floor(operandsOf(pass) / (tile.rows * (features + spaceOf(pass)))));
    const loaded = down.flatMap((i) =>
      list(features / k).map((d) => {
        const at = `(part % ${together}u * PART_ROWS + ${i * m}u) * ${distance} + ${d * k}u`;
        return `${x}${i}_${d} = ${loadMatrix("left", matrices, "matrix_operands", at, distance, true)};`;
      }),
    );
    const steps = list(Math.ceil(tile.subgroups / together)).flatMap((step) => {
      const some = Math.min(together, tile.subgroups - step * together);
      return [
        "workgroupBarrier();",
        `matrix_rows(${second}, t, ${step * together * tile.rows}u, ${some * tile.rows}u, i);`,
        "workgroupBarrier();",
        `if (${mine} && part / ${together}u == ${step}u) { ${all(loaded)} }`,
      ];
    });
    return [...declared("left", x, features / k), ...steps];
  };

  /** Results of rows by columns, one matrix after another: to and from the place of scores. */
  const each = (x: string, first: number, count: number, line: (name: string, at: string) => string): string[] =>
    down.flatMap((i) => list(count).map((j) => line(`${x}${i}_${first + j}`, `matrix_place(part, ${i * m}u, ${j * n}u)`)));

  /** The products of the rows `x` with the columns, into `memory`. */
  const scores = (x: string, second: boolean, memory: string): string => {
    const { features, distance, at } = operand(second);
    const products = list(features / k).flatMap((d) =>
      across.map((j) => {
        const column = loadMatrix("right", matrices, "matrix_operands", `${at} + ${j * n}u * ${distance} + ${d * k}u`, distance, false);
        return `{ let b = ${column}; ${all(down.map((i) => addProduct(`s${i}_${j}`, `${x}${i}_${d}`, "b")))} }`;
      }),
    );
    const stored = each("s", 0, across.length, (s, to) => storeMatrix(memory, to, s, "SCORES_DISTANCE", byKeys));
    return `{ ${all([...declared("result", "s", across.length), ...products, ...stored])} }`;
  };

  /** Adds the columns, by the weights that lie from `weightsAt` on, to the sums `x`: features of the workgroup's part of the operand. */
  const weighed = (x: string, second: boolean, weightsAt = "0u"): string => {
    const { features, distance, at } = operand(second);
    const valuesAt = parts > 1 ? `${at} + t.part * ${features / parts}u` : at;
    const products = list(tile.columns / k).map((c) => {
      const weights = down.map((i) => {
        const place = byKeys ? `${i * m}u * WEIGHTS_DISTANCE + ${c * k}u` : `${c * k}u * WEIGHTS_DISTANCE + ${i * m}u`;
        const from = `${weightsAt} + part * PART_WEIGHTS + ${place}`;
        return `let a${i} = ${loadMatrix("left", matrices, "matrix_weights", from, "WEIGHTS_DISTANCE", byKeys)};`;
      });
      const sums = list(features / parts / n).map((j) => {
        const values = loadMatrix(
          "right",
          matrices,
          "matrix_operands",
          `${valuesAt} + ${c * k}u * ${distance} + ${j * n}u`,
          distance,
          true,
        );
        return `{ let b = ${values}; ${all(down.map((i) => addProduct(`${x}${i}_${j}`, `a${i}`, "b")))} }`;
      });
      return `{ ${all([...weights, ...sums])} }`;
    });
    return `if (${mine}) { ${all(products)} }`;
  };

  /**
   * Puts the sums `x` into the place of scores, as many features at once as that has room for, where `use` is called with them, and with
   * the first and the number of features; `back`: and from there back again.
   */
  const through = (x: string, second: boolean, use: (first: string, count: string) => string, back = false): string[] => {
    const count = operand(second).features / parts / n;
    return list(Math.ceil(count / across.length)).flatMap((step) => {
      const first = step * across.length;
      const some = Math.min(across.length, count - first);
      const begin = `${parts > 1 ? `t.part * ${count * n}u + ` : ""}${first * n}u`;
      const store = each(x, first, some, (name, at) => storeMatrix("matrix_scores", at, name, "SCORES_DISTANCE", byKeys));
      const load = each(
        x,
        first,
        some,
        (name, at) => `${name} = ${loadMatrix("result", matrices, "matrix_scores", at, "SCORES_DISTANCE", byKeys)};`,
      );
      return [
        "workgroupBarrier();",
        `if (${mine}) { ${all(store)} }`,
        "workgroupBarrier();",
        `if (${mine}) { ${use(begin, `${some * n}u`)} }`,
        ...(back ? ["workgroupBarrier();", `if (${mine}) { ${all(load)} }`] : []),
      ];
    });
  };
  const sums = (x: string, second: boolean): string[] => declared("result", x, operand(second).features / parts / n);

  const forward = (): string => `
  let split = number % SPLITS;
  let t = query_tile(number / SPLITS);
  ${columns.before("max(t.columns.x - t.columns.x % i32(COLUMNS), i32(split * CHUNK))")}
  let end = select(t.columns.y, min(t.columns.y, i32(split * CHUNK + CHUNK)), SPLITS > 1u);
  matrix_begin(i);
  ${all([...rows("q", false), ...sums("y", true)])}
  var turn = 0u;
  for (var base = begin; base < end; base += i32(COLUMNS)) {
    ${columns.step}
    if (${mine}) ${scores("q", false, "matrix_scores")}
    workgroupBarrier();
    let whole = matrix_tile_whole(t, base);
    if (${mine}) { matrix_weigh(t, part, lane, lanes, base, whole, turn, false); }
    if (workgroupUniformLoad(&matrix_grown) > turn) {
      if (${mine}) { matrix_refer(part, lane, lanes); }
      workgroupBarrier();
      if (${mine}) { matrix_weigh(t, part, lane, lanes, base, whole, turn, true); }
      ${all(through("y", true, (_, count) => `matrix_shrink(part, lane, lanes, ${count});`, true))}
    }
    ${weighed("y", true)}
    turn++;
  }
  workgroupBarrier();
  if (${mine}) { matrix_end(t, part, lane, lanes, split, turn); }
  ${all(through("y", true, (first, count) => `matrix_write(t, part, lane, lanes, split, ${first}, ${count});`))}`;

  /** Both products of a tile's columns, and weights and gradients made of them. */
  const differentiated = `
    ${columns.step}
    if (${mine}) { ${scores("q", false, "matrix_scores")} ${scores("g", true, "matrix_slopes")} }
    workgroupBarrier();
    let whole = matrix_tile_whole(t, base);
    if (${mine}) { matrix_differentiate(t, part, lane, lanes, base, whole); }
    workgroupBarrier();`;

  const queries = (): string => `
  let t = query_tile(number);
  ${columns.before("t.columns.x - t.columns.x % i32(COLUMNS)")}
  ${all([...rows("q", false), ...rows("g", true), ...sums("x", false)])}
  for (var base = begin; base < t.columns.y; base += i32(COLUMNS)) {
    ${differentiated}
    ${weighed("x", false, "GRADIENTS_AT")}
  }
  ${all(through("x", false, (first, count) => `matrix_write_queries(t, part, lane, lanes, ${first}, ${count});`))}`;

  const keys = (): string => `
  let t = key_tile(number);
  ${columns.before("t.columns.x - t.columns.x % i32(COLUMNS)")}
  ${all([...rows("q", false), ...rows("g", true), ...sums("x", false), ...sums("y", true)])}
  for (var base = begin; base < t.columns.y; base += i32(COLUMNS)) {
    ${differentiated}
    ${weighed("y", true)}
    ${weighed("x", false, "GRADIENTS_AT")}
  }
  ${all(through("x", false, (first, count) => `matrix_write_keys(t, part, lane, lanes, false, ${first}, ${count});`))}
  ${all(through("y", true, (first, count) => `matrix_write_keys(t, part, lane, lanes, true, ${first}, ${count});`))}`;

  const tiles = byKeys ? "KEY_TILES" : "QUERY_TILES";
  return `
@compute @workgroup_size(TILE_THREADS)
fn matrices(
  @builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) i: u32, @builtin(subgroup_size) size: u32
) {
  let number = id.x + id.y * groups.x;
  if (number >= B * KV_HEADS * ${tiles} * PARTS${name === "forward" ? " * SPLITS" : ""}) { return; }
  ${subgroupOf(matrices)}
  ${{ forward, queries, keys }[name]()}
}
`;
}

/**
 * @file Products by subgroup matrices (kernels/matrices/): loaded by the first plan with a product on an adapter that has them, with
 * `precision: "mixed"`. They stand in the place of tiles of kernels/gemm.wgsl for whatever calls encodeProduct, convolutions too.
 */
import files from "#shaders-matrices";
import type { Bound, DispatchWriter, GpuFeatures, GpuKernels, MatrixTile, SubgroupMatrices } from "../dispatch.ts";
import { dispatchSplit } from "../encode/matmul.ts";
import type { Product } from "../encode/matmul.ts";
import { splitOf } from "../encode/tiles.ts";
import { addProduct, bytesOf, loadMatrix, matrixType, storeMatrix, subgroupOf } from "../encode/matrices.ts";

/**
 * Smallest first; parts are multiples of all matrices there are. The candidates that `npm run bench:gpu -- --matrices` compares. By
 * reckoning for an H200: 128 x 128 reads 32 KB of f32 operands from L2 for 0.5 M multiply-adds, of which 150 TFLOP/s leave 20 bytes a
 * clock and multiprocessor (half with operands that are f16), and two workgroups of it fit on one, so that each computes while the other
 * waits. 256 x 128 reads a quarter less, with twice the sums in registers and nothing to wait behind.
 */
export const TILES: readonly MatrixTile[] = [
  { down: 1, across: 4, m: 16, n: 16, k: 32, speed: 0.15 },
  { down: 2, across: 2, m: 32, n: 32, k: 32, speed: 0.5 },
  { down: 2, across: 4, m: 64, n: 32, k: 32, speed: 1 },
  { down: 4, across: 2, m: 64, n: 64, k: 32, speed: 0.95 },
];
/** Rows and columns, and k, below which matrices would mostly multiply zeros. */
const LEAST_SIZE = 8;
const LEAST_DEPTH = 16;
/** Invocations that keep a GPU busy: see encode/matmul.ts. */
const BUSY = 32768;
/** An operand in f32 that so many tiles read becomes f16 first: 6 bytes an element once, instead of 2 more each time. */
const HALVED_FROM = 16;
/** Elements below which that is not worth a dispatch. */
const LEAST_HALVED = 1 << 16;
const HALVE_THREADS = 64;
/** Bytes between lines of a tile. */
const SPACE = 16;

/** Whether parts are whole matrices, and workgroups of the tile are what the adapter can have. */
export function fits(tile: MatrixTile, matrices: SubgroupMatrices, { maxWorkgroupSize, maxWorkgroupBytes }: GpuFeatures): boolean {
  const { m, n, k, subgroupSize } = matrices;
  const parts = tile.down * tile.across;
  const size = bytesOf(matrices);
  // Lines along k take the most.
  const tiles = (tile.down * tile.m + tile.across * tile.n) * (tile.k * size + SPACE) + tile.k * SPACE;
  return (
    tile.m % m === 0 &&
    tile.n % n === 0 &&
    tile.k % k === 0 &&
    parts * subgroupSize <= maxWorkgroupSize &&
    tiles + 4 * parts * m * (n + 4) <= maxWorkgroupBytes
  );
}

const list = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/**
 * The entry point `matrices` for a tile: declarations of the matrices of a subgroup, the vectors that an invocation fetches of A and B, the
 * products of a step, and the way of each matrix to y.
 */
function entryPoint(tile: MatrixTile, matrices: SubgroupMatrices, alongA: boolean, alongB: boolean): string {
  const { m, n, k, subgroupSize } = matrices;
  const invocations = tile.down * tile.across * subgroupSize;
  const [rows, columns] = [list(tile.m / m), list(tile.n / n)];
  const sums = rows.flatMap((i) => columns.map((j) => ({ i, j, name: `c${i}_${j}` })));
  // [operand, its number, whether each invocation has one]
  const vectors = [
    ["a", tile.down * tile.m],
    ["b", tile.across * tile.n],
  ].flatMap(([x, size]) => {
    const count = ((size as number) * tile.k) / 4;
    return list(Math.ceil(count / invocations)).map((v) => ({
      x,
      name: `${x}_${v}`,
      at: `i + ${v * invocations}u`,
      when: (v + 1) * invocations <= count ? "" : `if (i + ${v * invocations}u < ${count}u) `,
      from: x === "a" ? "row" : "column",
    }));
  });
  const fetch = ({ x, name, at, when, from }: (typeof vectors)[number]): string =>
    `${when}{ next_${name} = matrix_fetch_${x}(batch, ${from}, k, ${at}); }`;
  // Lines along k are rows of A and columns of B.
  const left = (at: string): string => loadMatrix("left", matrices, "matrix_a", `matrix_at_a(${at})`, "DISTANCE_A", alongA);
  const right = (at: string): string => loadMatrix("right", matrices, "matrix_b", `matrix_at_b(${at})`, "DISTANCE_B", !alongB);
  // Subgroups that are smaller than the adapter says are more than there are parts; they help to copy.
  const mine = matrices.exact ? "true" : "part < PARTS";
  const step = (at: number): string[] => [
    ...rows.map((i) => `let a${i} = ${left(`part_row + ${i * m}u, ${at}u`)};`),
    ...columns.flatMap((j) => [
      `let b${j} = ${right(`part_column + ${j * n}u, ${at}u`)};`,
      ...rows.map((i) => addProduct(`c${i}_${j}`, `a${i}`, `b${j}`)),
    ]),
  ];
  return `
@compute @workgroup_size(INVOCATIONS)
fn matrices(
  @builtin(workgroup_id) group_id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) i: u32, @builtin(subgroup_size) size: u32
) {
  let group = group_id.x + group_id.y * groups.x;
  if (group >= TILES_M * TILES_N * SPLITS * BATCH) { return; }
  let column = group % TILES_N * TILE_N;
  let row = group / TILES_N % TILES_M * TILE_M;
  let split = group / (TILES_N * TILES_M) % SPLITS;
  let batch = group / (TILES_N * TILES_M * SPLITS);
  let first = split * CHUNK;
  let end = min(first + CHUNK, depth(batch));
  ${subgroupOf(matrices)}
  let part_row = part / ACROSS * PART_M;
  let part_column = part % ACROSS * PART_N;
  ${sums.map(({ name }) => `var ${name}: ${matrixType("result", matrices)};`).join("\n  ")}
  ${vectors.map(({ name }) => `var next_${name} = vec4<f32>();`).join("\n  ")}
  var k = first;
  loop {
    if (k < end) {
      ${vectors.map(fetch).join("\n      ")}
    }
    if (k > first && ${mine}) {
      ${list(tile.k / k)
        .map((s) => `{ ${step(s * k).join("\n      ")} }`)
        .join("\n      ")}
    }
    if (k >= end) { break; }
    workgroupBarrier();
    ${vectors.map(({ x, name, at, when }) => `${when}{ matrix_put_${x}(${at}, next_${name}); }`).join("\n    ")}
    workgroupBarrier();
    k += TILE_K;
  }
  ${sums
    .map(
      ({ i, j, name }) => `workgroupBarrier();
  if (${mine}) { ${storeMatrix("matrix_y", "part * MATRIX_M * DISTANCE_Y", name, "DISTANCE_Y")} }
  workgroupBarrier();
  matrix_store(batch, split, row + part_row + ${i * m}u, column + part_column + ${j * n}u, part, lane, lanes);`,
    )
    .join("\n  ")}
}
`;
}

/** `operand`, or a copy of it as f16 where `reads` tiles read it and it is not f16 yet. */
function halved(out: DispatchWriter, file: string, operand: Bound | null, reads: number, from: number): Bound | null {
  if (operand === null || operand.half || reads < from || operand.bytes < 4 * LEAST_HALVED) return operand;
  const vectors = Math.ceil(operand.bytes / 16);
  const copy = out.temporary(8 * vectors);
  out.dispatch({ file, entry: "halve", constants: { VECTORS: vectors } }, [operand, copy.write], Math.ceil(vectors / HALVE_THREADS));
  return { ...copy.read, half: true };
}

/** Writes the dispatches of a product by subgroup matrices, and returns true; false, and nothing, where it is too small for them. */
const product: NonNullable<GpuKernels["product"]> = (given, out) => {
  const p = given as Product;
  const { matrices } = out.features;
  if (matrices === null || p.m < LEAST_SIZE || p.n < LEAST_SIZE || p.k < LEAST_DEPTH) return false;
  const timed = (matrices.tile === undefined ? TILES : [matrices.tile])
    .filter((tile) => fits(tile, matrices, out.features))
    .map((tile) => {
      const [down, across] = [Math.ceil(p.m / (tile.down * tile.m)), Math.ceil(p.n / (tile.across * tile.n))];
      const groups = p.batch * down * across;
      const invocations = tile.down * tile.across * matrices.subgroupSize;
      const split = splitOf(p.k, tile.k, groups * invocations, p.sizeY);
      const load = (groups * invocations * split.splits) / BUSY;
      const speed = 1 - (1 - tile.speed) * Math.min(1, load);
      const time = (tile.m * tile.n * Math.min(split.chunk, p.k) * Math.max(1, load)) / speed;
      return { tile, down, across, groups, invocations, time, ...split };
    });
  if (timed.length === 0) return false;
  const { tile, down, across, groups, invocations, splits, chunk } = timed.reduce((best, t) => (t.time < best.time ? t : best));
  const from = matrices.type === "f16" ? (matrices.halvedFrom ?? HALVED_FROM) : Infinity;
  const operands = { a: halved(out, p.file, p.a, across, from), b: halved(out, p.file, p.b, down, from) };
  const { A_ALONG_K: alongA, B_ALONG_K: alongB } = p.constants;
  dispatchSplit(
    out,
    { ...p, ...operands },
    "matrices",
    splits,
    groups * splits,
    {
      SPLITS: splits,
      CHUNK: chunk,
      // Of kernels/gemm.wgsl: what a workgroup's tile is made of does not matter here.
      THREADS_X: (tile.across * tile.n) / 4,
      THREADS_Y: (tile.down * tile.m) / 4,
      ROWS: 4,
      COLUMNS: 4,
      TILE_K: tile.k,
      BIAS_STRIDE: p.biasStride,
      Component: matrices.type,
      PARTS: tile.down * tile.across,
      ACROSS: tile.across,
      PART_M: tile.m,
      PART_N: tile.n,
      MATRIX_M: matrices.m,
      MATRIX_N: matrices.n,
      SPACE: SPACE / bytesOf(matrices),
      INVOCATIONS: invocations,
    },
    { body: entryPoint(tile, matrices, alongA === true, alongB === true), directives: matrices.directives },
  );
  return true;
};

/** The kernels of a plan, with products by matrices: files that call gemm() have their entry point. */
export const withMatrices = ({ shaders, ...others }: GpuKernels): GpuKernels => ({
  ...others,
  shaders: { ...shaders, matmul: `${shaders.matmul}\n${files.gemm}`, conv: `${shaders.conv}\n${files.gemm}` },
  product,
});

/**
 * @file GPU encoders of `matmul` (kernels/matmul.wgsl) and of every other kernel that is a product (see conv.ts): the choice of
 * a tile and of how k is split, the constants of kernels/gemm.wgsl, and the pass that adds up a split.
 */
import type { Activation, MatmulAttrs } from "../../plan/kernels.ts";
import type { Bound, Constants, DispatchWriter, GpuEncoder, GpuFeatures, Hooks, Shader } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";

/** A workgroup's tile of y: x * y invocations with rows * columns sums each, fed in steps of k. */
interface Tile {
  readonly rows: number;
  readonly columns: number;
  readonly x: number;
  readonly y: number;
  readonly k: number;
  /** Multiply-adds per time relative to the fastest tile where all of it is used. */
  readonly speed: number;
}

/** Smallest first. Workgroup memory stays below 16 KiB, and no invocation loads more than two vectors of A or B at a step. */
const TILES: readonly Tile[] = [
  { rows: 4, columns: 4, x: 8, y: 8, k: 16, speed: 0.5 },
  { rows: 4, columns: 4, x: 8, y: 32, k: 8, speed: 0.6 },
  { rows: 4, columns: 4, x: 16, y: 16, k: 16, speed: 0.7 },
  { rows: 8, columns: 8, x: 8, y: 16, k: 8, speed: 0.9 },
  { rows: 8, columns: 8, x: 16, y: 16, k: 8, speed: 1 },
];
/**
 * The tile of adapters that are programs on the CPU: half the workgroup memory of the first of TILES. Compiling counts there, and
 * SwiftShader clears that memory by unrolled stores under wgpu: 123 ms for a product instead of 371, under Dawn 54 instead of 79 (long sums
 * run 1.25 to 1.7 times as long).
 */
const SOFTWARE_TILE: Tile = { rows: 4, columns: 4, x: 8, y: 8, k: 8, speed: 1 };
/** Invocations that keep a GPU busy; with fewer, smaller tiles and splitting k pay. */
const BUSY = 32768;
/** Least k of a part, and most parts: a second pass must stay cheap beside the first. */
const LEAST_CHUNK = 256;
const MOST_SPLITS = 64;
const MOST_PART_BYTES = 1 << 26;
/** Invocations and columns of a workgroup of `dots` and `columns` of kernels/matmul.wgsl. */
const DOTS = { threads: 64, columns: 4 };
const COLUMNS = { threads: 256, columns: 32 };
const EPILOGUE_THREADS = 64;

/** A product y = activation(A B + bias), `batch` times, by a kernel that calls gemm() of kernels/gemm.wgsl. */
export interface Product {
  /** File in kernels/. */
  readonly file: string;
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: Bound | null;
  readonly b: Bound | null;
  readonly bias: Bound | null;
  readonly y: Bound | null;
  /** Elements of y, and of its last dimension. */
  readonly sizeY: number;
  readonly columnsY: number;
  readonly biasStride: number;
  readonly activation: Activation;
  /** The kernel's own constants. */
  readonly constants: Constants;
  /** How operands are read and y is written. */
  readonly hooks: Hooks;
}

/** The name of an activation's function in kernels/activation.wgsl. */
export const activationFunction = (activation: Activation): string => `activation_${activation}`;

/** Parts of k: how many, and the length of each, a multiple of `step`. */
export interface Split {
  readonly splits: number;
  readonly chunk: number;
}

/** Cuts k where `invocations` alone would leave the GPU idle. `sizeY`: elements of one part's result. */
export function splitOf(k: number, step: number, invocations: number, sizeY: number): Split {
  const wanted = Math.min(
    Math.ceil(BUSY / invocations),
    Math.floor(k / LEAST_CHUNK),
    MOST_SPLITS,
    Math.floor(MOST_PART_BYTES / (4 * sizeY)),
  );
  const chunk = Math.max(1, Math.ceil(k / Math.max(1, wanted) / step)) * step;
  return { splits: Math.max(1, Math.ceil(k / chunk)), chunk };
}

const groupsOf = (t: Tile, { batch, m, n }: Product): number => batch * Math.ceil(m / (t.y * t.rows)) * Math.ceil(n / (t.x * t.columns));

/**
 * The tile that should take the least time: an invocation's multiply-adds, times how often the GPU must be filled. Where it
 * is filled only in part, fast tiles gain nothing. Among equals the smallest.
 */
function tileOf(product: Product, { software }: GpuFeatures): Tile & Split {
  const timed = (software ? [SOFTWARE_TILE] : TILES).map((tile) => {
    const invocations = groupsOf(tile, product) * tile.x * tile.y;
    const split = splitOf(product.k, tile.k, invocations, product.sizeY);
    const load = (invocations * split.splits) / BUSY;
    const speed = 1 - (1 - tile.speed) * Math.min(1, load);
    return { tile: { ...tile, ...split }, time: (tile.rows * tile.columns * Math.min(split.chunk, product.k) * Math.max(1, load)) / speed };
  });
  return timed.reduce((best, t) => (t.time < best.time ? t : best)).tile;
}

/** Writes the dispatches of a product whose dimensions are not 0, k excepted. */
export function encodeProduct(out: DispatchWriter, product: Product): void {
  if (out.product?.(product)) return;
  const tile = tileOf(product, out.features);
  const { splits, chunk } = tile;
  dispatchSplit(out, product, "main", splits, groupsOf(tile, product) * splits, {
    SPLITS: splits,
    CHUNK: chunk,
    THREADS_X: tile.x,
    THREADS_Y: tile.y,
    ROWS: tile.rows,
    COLUMNS: tile.columns,
    TILE_K: tile.k,
    BIAS_STRIDE: product.biasStride,
  });
}

/** One dispatch into y, or with several splits one into their partial sums and one that adds these up. */
export function dispatchSplit(
  out: DispatchWriter,
  product: Product,
  entry: string,
  splits: number,
  groups: number,
  constants: Constants,
  more: Pick<Shader, "body" | "directives"> = {},
): void {
  const { a, b, bias, y, sizeY, columnsY, activation } = product;
  const parts = splits > 1 ? out.temporary(4 * splits * sizeY) : null;
  out.dispatch(
    {
      ...more,
      file: product.file,
      entry,
      constants: {
        ...product.constants,
        ...constants,
        BATCH: product.batch,
        M: product.m,
        N: product.n,
        K: product.k,
        ELEMENTS: sizeY,
        HAS_BIAS: bias !== null,
      },
      hooks: { ...product.hooks, activate: activationFunction(parts ? "linear" : activation) },
    },
    [a, b, bias, parts ? parts.write : y],
    groups,
  );
  if (parts) addUp(out, parts.read, bias, y, { splits, sizeY, columnsY, activation });
}

/** y = activation(bias + the parts in order). */
export function addUp(
  out: DispatchWriter,
  parts: Bound,
  bias: Bound | null,
  y: Bound | null,
  { splits, sizeY, columnsY, activation }: { splits: number; sizeY: number; columnsY: number; activation: Activation },
): void {
  const inVectors = columnsY % 4 === 0;
  out.dispatch(
    {
      file: "epilogue",
      entry: inVectors ? "vectors" : "main",
      constants: { SIZE: sizeY, N: columnsY, SPLITS: splits, HAS_BIAS: bias !== null },
      hooks: { activate: activationFunction(activation) },
    },
    [parts, bias, y],
    Math.ceil(sizeY / (inVectors ? 4 : 1) / EPILOGUE_THREADS),
  );
}

/** A matrix of a product: elements from batch to batch, along its rows or columns, and along k. */
export interface Strides {
  readonly batch: number;
  readonly along: number;
  readonly k: number;
}

/** Whether runs of four elements are aligned vectors. The direction of vectors is the one with stride 1; k is preferred. */
const aligned = (s: Strides, size: number, k: number): boolean =>
  (s.k === 1 ? k % 4 === 0 && s.along % 4 === 0 : size % 4 === 0 && s.k % 4 === 0) && s.batch % 4 === 0;

/** The only row or column of a matrix runs along k, whatever its strides say. */
const inLine = (s: Strides, size: number, k: number): Strides => (size === 1 ? { batch: s.batch, along: k, k: 1 } : s);

/** `matmul(a, b, bias?) -> y`. */
export const matmul: GpuEncoder = (call, out) => {
  const attrs = call.attrs as unknown as MatmulAttrs;
  const { batch, k, n, transposeA, transposeB } = attrs;
  const [a, b, bias] = call.inputs;
  encodeMatmul(out, {
    batch,
    m: attrs.m,
    n,
    k,
    a: read(a),
    stridesA: { batch: attrs.batchA === 1 ? 0 : attrs.m * k, along: transposeA ? 1 : k, k: transposeA ? attrs.m : 1 },
    b: read(b),
    stridesB: { batch: attrs.batchB === 1 ? 0 : k * n, along: transposeB ? k : 1, k: transposeB ? 1 : n },
    bias: read(bias ?? null),
    y: write(call.outputs[0]),
    activation: attrs.activation,
  });
};

/** A product of two matrices in memory; y is [batch, m, n]. */
export interface MatrixProduct {
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: Bound | null;
  readonly stridesA: Strides;
  readonly b: Bound | null;
  readonly stridesB: Strides;
  readonly bias: Bound | null;
  readonly y: Bound | null;
  readonly activation: Activation;
}

/** Writes the dispatches of a product; none where y is empty. */
export function encodeMatmul(out: DispatchWriter, p: MatrixProduct): void {
  let { batch, m } = p;
  if (batch * m * p.n === 0) return;
  // Batches that share B, and whose rows are in line, are rows of one product.
  if (p.stridesB.batch === 0 && p.stridesA.batch === m * p.stridesA.along) {
    m *= batch;
    batch = 1;
  }
  const { k } = p;
  const biasStep = p.n === 1 ? 0 : 1;
  // y = A b is y^T = b^T A^T.
  const turned = p.n === 1 && m > 1;
  const rows = turned ? 1 : m;
  const columns = turned ? m : p.n;
  const left = turned ? p.b : p.a;
  const right = turned ? p.a : p.b;
  const row = inLine(turned ? p.stridesB : p.stridesA, rows, k);
  const column = inLine(turned ? p.stridesA : p.stridesB, columns, k);
  const alongB = column.k === 1;
  const product: Product = {
    file: "matmul",
    batch,
    m: rows,
    n: columns,
    k,
    a: k === 0 ? null : left,
    b: k === 0 ? null : right,
    bias: p.bias,
    y: p.y,
    sizeY: batch * m * p.n,
    columnsY: p.n,
    biasStride: 0,
    activation: p.activation,
    constants: {
      A_BATCH: row.batch,
      A_ROW: row.along,
      A_K: row.k,
      B_BATCH: column.batch,
      B_COLUMN: column.along,
      B_K: column.k,
      A_ALONG_K: row.k === 1,
      B_ALONG_K: alongB,
      BIAS_STEP: biasStep,
    },
    hooks: {
      load_a: aligned(row, rows, k) ? "vector_a" : "lanes_a",
      load_b: aligned(column, columns, k) ? "vector_b" : "lanes_b",
      write_y: columns % 4 === 0 ? "vector_y" : "lanes_y",
    },
  };
  if (rows > 1) return encodeProduct(out, product);
  const { threads, columns: perGroup } = alongB ? DOTS : COLUMNS;
  const groups = batch * Math.ceil(columns / perGroup);
  const { splits, chunk } = splitOf(k, threads, groups * threads, product.sizeY);
  const { subgroupSize } = out.features;
  const join = subgroupSize > 0 ? "subgroup" : "tree";
  const hooks = { ...product.hooks, ...(alongB ? { join_dots: `${join}_dots` } : { join_columns: `${join}_columns` }) };
  dispatchSplit(out, { ...product, hooks }, alongB ? "dots" : "columns", splits, groups * splits, {
    SPLITS: splits,
    CHUNK: chunk,
    SUBGROUP_SIZE: subgroupSize,
  });
}

/**
 * @file GPU encoders of `matmul` (kernels/matmul.wgsl) and of every other kernel that is a product (see conv.ts): the constants of
 * kernels/gemm.wgsl for a tile (tiles.ts), and the pass that adds up a split.
 */
import type { Activation, MatmulAttrs } from "../../plan/kernels.ts";
import type { Bound, Constants, DispatchWriter, GpuEncoder, Hooks, Shader } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";
import { groupsOf, nameOf, splitOf, tileOf, tilesLike } from "./tiles.ts";
import type { Extent, PlannedTile } from "./tiles.ts";

/** Least multiply-adds of a product that a tuner is asked about. */
const LEAST_TUNED = 2 ** 24;
/** Invocations and columns of a workgroup of `dots` and `columns` of kernels/matmul.wgsl. */
const DOTS = { threads: 64, columns: 4 };
const COLUMNS = { threads: 256, columns: 32 };
const EPILOGUE_THREADS = 64;
const SMALL_THREADS = 64;

/** A product y = activation(A B + bias), `batch` times, by a kernel that calls gemm() of kernels/gemm.wgsl. */
export interface Product extends Extent {
  readonly a: Bound | null;
  readonly b: Bound | null;
  readonly bias: Bound | null;
  readonly y: Bound | null;
  /** Elements of y's last dimension. */
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

/** Two significant bits of a dimension: products that differ in the rest alone take the same time but for their size. */
function roundOf(dimension: number): number {
  const unit = 2 ** Math.max(0, Math.floor(Math.log2(Math.max(1, dimension))) - 1);
  return Math.round(dimension / unit) * unit;
}

/** Writes the dispatches of a product whose dimensions are not 0, k excepted. */
export function encodeProduct(out: DispatchWriter, product: Product): void {
  if (out.product?.(product)) return;
  const { tuner } = out.features;
  const usual = tileOf(product, out.features);
  const { file, batch, m, n, k, constants, hooks } = product;
  if (tuner === undefined || batch * m * n * k < LEAST_TUNED) return encodeTiled(out, product, usual);
  const tiles = tilesLike(usual, product, out.features);
  const operands = [product.a, product.b, product.bias, product.y];
  const reading = [
    hooks.load_a,
    hooks.load_b,
    constants.A_ALONG_K,
    constants.B_ALONG_K,
    operands.map((o) => (o?.half ? 2 : 4)).join(""),
    out.features.half,
  ];
  const way = tuner.choose({
    key: [file, ...[batch, m, n, k].map(roundOf), usual.splits, ...reading].join(" "),
    ways: tiles.map(nameOf),
    operands,
    encode: (writer, w, [a, b, bias, y]) => encodeTiled(writer, { ...product, a, b, bias, y }, tiles[w]),
  });
  encodeTiled(out, product, tiles[way]);
}

/** The same by a tile of the caller's choice. */
export function encodeTiled(out: DispatchWriter, product: Product, tile: PlannedTile): void {
  const { splits, chunk } = tile;
  const small = tile.x * tile.y === 1;
  const groups = groupsOf(tile, product) * splits;
  dispatchSplit(out, product, small ? "small" : "main", splits, small ? Math.ceil(groups / SMALL_THREADS) : groups, {
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

/** How biases of so many columns are read: each batch has as many. */
export const biasOf = (columns: number): Hooks => ({ load_bias: columns % 4 === 0 ? "vector_bias" : "lanes_bias" });

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

/** The product that the kernel makes of one: with rows of batches that share B put together, and with one row where it has one column. */
export function productOf(p: MatrixProduct): Product {
  let { batch, m } = p;
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
  return {
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
      B_ALONG_K: column.k === 1,
      BIAS_STEP: biasStep,
    },
    hooks: {
      load_a: aligned(row, rows, k) ? "vector_a" : "lanes_a",
      load_b: aligned(column, columns, k) ? "vector_b" : "lanes_b",
      write_y: columns % 4 === 0 ? "vector_y" : "lanes_y",
      ...biasOf(columns),
    },
  };
}

/** Writes the dispatches of a product; none where y is empty. */
export function encodeMatmul(out: DispatchWriter, p: MatrixProduct): void {
  if (p.batch * p.m * p.n === 0) return;
  const product = productOf(p);
  const { batch, k, n: columns } = product;
  if (product.m > 1) return encodeProduct(out, product);
  const alongB = product.constants.B_ALONG_K === true;
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

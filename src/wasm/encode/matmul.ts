/**
 * @file Encodes `matmul`, and every other kernel that is a product (see conv.ts): how B is read, how the work is split into
 * pieces, and the command words of assembly/gemm.ts.
 */
import type { Activation, MatmulAttrs } from "../../plan/kernels.ts";
import {
  ACT_ELU,
  ACT_EXPONENTIAL,
  ACT_HARD_SIGMOID,
  ACT_LEAKY_RELU,
  ACT_LINEAR,
  ACT_RELU,
  ACT_RELU6,
  ACT_SELU,
  ACT_SIGMOID,
  ACT_SOFTPLUS,
  ACT_SOFTSIGN,
  ACT_TANH,
  MATMUL,
  MATMUL_COMBINE,
  MATMUL_SMALL,
  PACK,
} from "../opcodes.ts";
import { at, read, write } from "../writer.ts";
import type { CommandWriter, Encoder, Word } from "../writer.ts";

/** The ACT_* number of an activation. */
export const activationCode: Readonly<Record<Activation, number>> = {
  linear: ACT_LINEAR,
  relu: ACT_RELU,
  tanh: ACT_TANH,
  sigmoid: ACT_SIGMOID,
  hardSigmoid: ACT_HARD_SIGMOID,
  softplus: ACT_SOFTPLUS,
  softsign: ACT_SOFTSIGN,
  elu: ACT_ELU,
  selu: ACT_SELU,
  leakyRelu: ACT_LEAKY_RELU,
  exponential: ACT_EXPONENTIAL,
  relu6: ACT_RELU6,
};

/** NR in assembly/gemm.ts: columns of a panel of B, and bytes of one of its rows. */
const PANEL = 8;
const PANEL_BYTES = 32;
/** Most rows of a piece (assembly/gemm.ts) and the fewest for which packing B pays, where it is not kept. */
const MAX_ROWS = 120;
const MIN_ROWS = 12;
/**
 * Bytes of weights from which fewer rows gain by panels that are kept: 2 to 12 rows of 256x256 took 0.9 of the time, of 512x512 0.7 to 0.9,
 * of less the same.
 */
export const LARGE_WEIGHTS = 1 << 18;
/** Multiply-adds worth a piece of their own: tens of microseconds. */
const PIECE_WORK = 1 << 18;
const MAX_PIECES = 64;
/** Weights worth a piece of a product of one row, which reads each once; and columns whose part of a row of B is a long run. */
const ROW_WORK = 1 << 17;
const LONG_RUN = 1024;
/** With fewer pieces than this a long K is cut as well, into chunks of at least MIN_CHUNK. */
const ENOUGH_PIECES = 16;
const MIN_CHUNK = 512;
/** Most bytes of B that a piece packs into its own scratch. */
const PRIVATE_BYTES = 1 << 18;
/** Most columns of a piece that keeps its result in scratch. */
const MAX_SPREAD = 1024;
/** Bytes of panels that are made at once where they are not kept: what was just made is in cache then, and takes little memory. */
const CHUNK_BYTES = 1 << 22;
/** Elements that one piece of PACK or MATMUL_COMBINE handles. */
const COPY_WORK = 1 << 15;

/** A product C = activation(A B + bias), `batch` times. Strides are in bytes, from one batch to the next. */
export interface Product {
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: Word;
  readonly strideA: number;
  readonly b: MatrixB;
  readonly bias: Word;
  readonly strideBias: number;
  readonly c: Word;
  readonly strideC: number;
  /** All rows and columns of the output tensor: what a K split must add up. Columns are also the distance between rows of c. */
  readonly rowsC: number;
  readonly columnsC: number;
  readonly activation: Activation;
  /** The rows of the product are not those of c, whose place the packing words tell: pieces keep their result in scratch first. */
  readonly spread?: boolean;
  /** K is not cut: other columns of c are another product's. */
  readonly whole?: boolean;
}

/**
 * B as stored: [k, n] with rows `ld` bytes apart, or, transposed, [n, k / taps] for each tap, or, packed, in panels
 * [ceil(n / PANEL)][k][PANEL]. `stride` is from batch to batch.
 */
export interface MatrixB {
  readonly word: Word;
  readonly stride: number;
  readonly ld: number;
  readonly transposed: boolean;
  readonly taps: Taps;
  readonly packed?: boolean;
}

/** Rows and columns of taps, with the bytes from one to the next. */
export interface Taps {
  readonly rows: number;
  readonly columns: number;
  readonly rowStride: number;
  readonly columnStride: number;
}

export const ONE_TAP: Taps = { rows: 1, columns: 1, rowStride: 0, columnStride: 0 };

/** `matmul(a, b, bias?) -> y`. */
export const matmul: Encoder = (call, out) => {
  const attrs = call.attrs as unknown as MatmulAttrs;
  const { k, n, transposeA, transposeB } = attrs;
  // Batches that share B are rows of one product.
  const fold = attrs.batchB === 1 && attrs.batchA === attrs.batch && !transposeA;
  const batch = fold ? 1 : attrs.batch;
  const m = fold ? attrs.m * attrs.batch : attrs.m;
  const [a, b, bias] = call.inputs;
  const product: Product = {
    batch,
    m,
    n,
    k,
    a: read(a),
    strideA: attrs.batchA === 1 ? 0 : m * k * 4,
    b: { word: read(b), stride: attrs.batchB === 1 ? 0 : k * n * 4, ld: (transposeB ? k : n) * 4, transposed: transposeB, taps: ONE_TAP },
    bias: read(bias ?? null),
    strideBias: 0,
    c: write(call.outputs[0]),
    strideC: m * n * 4,
    rowsC: batch * m,
    columnsC: n,
    activation: attrs.activation,
  };
  encodeProduct(out, MATMUL, product, [transposeA ? 1 : 0, (transposeA ? m : k) * 4]);
};

/** Writes the commands of a product. `opcode` is a kernel with the words of gemm.ts; `packing` are its words after those. */
export function encodeProduct(out: CommandWriter, opcode: number, product: Product, packing: readonly Word[]): void {
  const { batch, m, n, k, a, b, bias, c, columnsC } = product;
  if (batch === 0 || m === 0 || n === 0) return;
  if (k === 0 && !product.spread) {
    // Nothing is read: activation(bias).
    opcode = MATMUL;
    packing = [0, 0];
  }
  const panels = Math.ceil(n / PANEL);
  // One row against [n, k] is dot products: every element of b is used once, so it stays as it is.
  const dots = opcode === MATMUL && m === 1 && b.transposed && k > 0;
  const cutK = !product.spread && !product.whole && !dots;
  const split =
    m === 1 && batch === 1 && opcode === MATMUL ? splitRow(product, cutK && !b.transposed && !b.packed) : splitWork(product, cutK);
  const bytesB = (b.stride === 0 ? 1 : batch) * panels * k * PANEL_BYTES;
  const kept = out.keeps(b.word, bytesB);
  const few = m === 1 || (m <= MIN_ROWS && !(kept && bytesB >= LARGE_WEIGHTS));
  const direct = k === 0 || (!b.packed && !b.transposed && (few || n <= PANEL));
  const alone =
    opcode === MATMUL && split.rowBlocks <= 2 && split.columnBlocks * split.chunks === 1 && panels * k * PANEL_BYTES <= PRIVATE_BYTES;
  const small = dots || (alone && !direct && !b.packed && !kept);
  if (opcode === MATMUL && batch === 1 && split.chunks === 1 && !direct && !small && !b.packed && !kept && bytesB > CHUNK_BYTES) {
    encodeInParts(out, product, packing, (to, first, columns) => {
      const { pieces, words } = packWords({ ...product, n: columns });
      out.command(PACK, pieces, [at(b.word, first * (b.transposed ? b.ld : 4)), to, ...words]);
    });
    return;
  }
  let wordB = b.word;
  let strideB = b.stride;
  let stepB = b.ld;
  let panelB = PANEL_BYTES;
  if (dots) panelB = PANEL * b.ld;
  else if (!direct) {
    stepB = PANEL_BYTES;
    panelB = k * PANEL_BYTES;
    if (!small && !b.packed) {
      wordB = encodePack(out, product, bytesB);
      strideB = b.stride === 0 ? 0 : panels * k * PANEL_BYTES;
    }
  }
  const parts = split.chunks > 1 ? out.shared(split.chunks * product.rowsC * columnsC * 4) : null;
  out.command(small ? MATMUL_SMALL : opcode, batch * split.chunks * split.rowBlocks * split.columnBlocks, [
    a,
    wordB,
    parts ? 0 : bias,
    parts ? parts.write : c,
    m,
    n,
    k,
    split.rows,
    split.columns,
    split.k,
    split.rowBlocks,
    split.columnBlocks,
    split.chunks,
    product.strideA,
    strideB,
    product.strideC,
    product.strideBias,
    parts ? product.rowsC * columnsC * 4 : 0,
    stepB,
    panelB,
    columnsC * 4,
    parts ? ACT_LINEAR : activationCode[product.activation],
    ...packing,
    ...(small ? [b.transposed ? 1 : 0, b.ld] : []),
  ]);
  if (parts)
    encodeCombine(out, {
      parts: parts.read,
      count: split.chunks,
      bias,
      y: c,
      rows: product.rowsC,
      columns: columnsC,
      activation: product.activation,
    });
}

/** A product of some columns at a time, the panels of which `make` writes: those of the columns [first, first + columns) of B. */
export function encodeInParts(
  out: CommandWriter,
  product: Product,
  packing: readonly Word[],
  make: (panels: Word, first: number, columns: number) => void,
): void {
  const { n, k, bias, c } = product;
  const parts = Math.max(1, Math.ceil((n * k * 4) / CHUNK_BYTES));
  const most = Math.ceil(n / parts / PANEL) * PANEL;
  const panels = out.shared(most * k * 4);
  const b = { word: panels.read, stride: 0, ld: 0, transposed: false, taps: ONE_TAP, packed: true };
  for (let first = 0; first < n; first += most) {
    const columns = Math.min(most, n - first);
    if (k > 0) make(panels.write, first, columns);
    encodeProduct(out, MATMUL, { ...product, n: columns, b, bias: at(bias, first * 4), c: at(c, first * 4), whole: true }, packing);
  }
}

/** Sums of `count` parts of K. */
interface Combination {
  readonly parts: Word;
  readonly count: number;
  readonly bias: Word;
  readonly y: Word;
  readonly rows: number;
  readonly columns: number;
  readonly activation: Activation;
}

/** `y[rows, columns] = activation(bias + parts in order)`. */
export function encodeCombine(out: CommandWriter, { parts, count, bias, y, rows, columns, activation }: Combination): void {
  const perPiece = Math.max(1, Math.ceil(COPY_WORK / columns / count));
  out.command(MATMUL_COMBINE, Math.ceil(rows / perPiece), [
    parts,
    bias,
    y,
    count,
    rows * columns * 4,
    rows,
    columns,
    activationCode[activation],
    perPiece,
  ]);
}

/** Packs B into memory that all pieces read, `bytes` of it; gives its address. */
export function encodePack(out: CommandWriter, product: Pick<Product, "batch" | "n" | "k" | "b">, bytes: number): Word {
  const { pieces, words } = packWords(product);
  return out.prepare(PACK, pieces, product.b.word, bytes, words);
}

/** The pieces of PACK, and its words behind those of B and the panels. */
function packWords({ batch, n, k, b }: Pick<Product, "batch" | "n" | "k" | "b">): { readonly pieces: number; readonly words: number[] } {
  const perPiece = Math.max(1, Math.floor(COPY_WORK / (k * PANEL)));
  const pieces = Math.ceil(Math.ceil(n / PANEL) / perPiece);
  const words = [
    k / (b.taps.rows * b.taps.columns),
    n,
    b.ld,
    b.transposed ? 1 : 0,
    b.taps.rows,
    b.taps.columns,
    b.taps.rowStride,
    b.taps.columnStride,
    b.stride,
    perPiece,
    pieces,
  ];
  return { pieces: (b.stride === 0 ? 1 : batch) * pieces, words };
}

/**
 * Pieces of a product of one row, by shape alone: as few and as even as two threads need, since memory is fastest in long runs. Row-major B
 * is cut along K where rows are short.
 */
function splitRow({ n, k }: Product, cutK: boolean): Split {
  const wanted = Math.max(1, Math.min(cutK ? ENOUGH_PIECES : MAX_PIECES, Math.floor((n * k) / ROW_WORK)));
  const chunks = cutK && n < LONG_RUN * wanted ? wanted : 1;
  const chunkK = Math.ceil(k / chunks / PANEL) * PANEL;
  const columns = chunks > 1 ? n : Math.ceil(n / wanted / PANEL) * PANEL;
  return { rows: 1, rowBlocks: 1, columns, columnBlocks: Math.ceil(n / columns), k: chunkK, chunks: k === 0 ? 1 : Math.ceil(k / chunkK) };
}

interface Split {
  readonly rows: number;
  readonly rowBlocks: number;
  readonly columns: number;
  readonly columnBlocks: number;
  readonly k: number;
  readonly chunks: number;
}

/**
 * Pieces by shape alone. Rows are cut first, since that repeats no packing; then columns, then K (which costs an addition
 * of partial sums). Thin row blocks of a long K would read all of B too often, so there K is cut instead.
 */
function splitWork({ batch, m, n, k, spread }: Product, cutK: boolean): Split {
  const target = Math.min(MAX_PIECES, Math.ceil((batch * m * n * k) / PIECE_WORK));
  const minRows = k >= 4 * MIN_CHUNK ? 4 * MIN_ROWS : MIN_ROWS;
  const wanted = Math.ceil(m / Math.max(1, Math.ceil(target / batch)) / MIN_ROWS) * MIN_ROWS;
  const rows = Math.min(MAX_ROWS, Math.max(minRows, wanted));
  const rowBlocks = Math.ceil(m / rows);
  const least = spread ? Math.ceil(n / MAX_SPREAD) : 1;
  const cuts = Math.max(least, Math.min(Math.floor(target / (batch * rowBlocks)), Math.floor(n / (8 * PANEL))));
  const columns = Math.max(PANEL, Math.ceil(n / cuts / PANEL) * PANEL);
  const columnBlocks = Math.ceil(n / columns);
  const pieces = batch * rowBlocks * columnBlocks;
  const wantedChunks = cutK && pieces < Math.min(target, ENOUGH_PIECES) ? Math.ceil(Math.min(target, ENOUGH_PIECES) / pieces) : 1;
  const chunkK = Math.ceil(k / Math.max(1, Math.min(wantedChunks, Math.floor(k / MIN_CHUNK))));
  return { rows, rowBlocks, columns, columnBlocks, k: chunkK, chunks: chunkK === 0 ? 1 : Math.ceil(k / chunkK) };
}

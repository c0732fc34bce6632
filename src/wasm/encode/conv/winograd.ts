/**
 * @file Encodes convolutions by 3x3 filters with stride 1 as products of transformed tiles (assembly/conv/winograd.ts), where that takes
 * less time than windows.
 */
import type { ConvAttrs } from "../../../plan/kernels.ts";
import type { Call } from "../../../plan/plan.ts";
import { MATMUL, WINOGRAD, WINOGRAD_FILTERS, WINOGRAD_FILTER_GRAD, WINOGRAD_INPUT_GRAD, WINOGRAD_TILES } from "../../opcodes.ts";
import { at, read, write } from "../../writer.ts";
import type { CommandWriter, Word } from "../../writer.ts";
import { ONE_TAP, activationCode, encodeProduct } from "../matmul.ts";

/** Elements of a transformed tile, NR of assembly/gemm.ts, and bytes between the elements. */
const XI = 36;
const PANEL = 8;
const GAP = 64;
/** Most channels whose tiles fit scratch. */
const MAX_CHANNELS = 512;
/** Tiles that are transformed at a time: a multiple of MR in both builds. 12, 24 and 36 took the same time, 48 more where they left L2. */
const TILES = 12;
/**
 * With fewer pieces than this, columns are cut as well, where a piece keeps this many multiply-adds: each transforms the tiles for itself.
 */
const FEW_PIECES = 4;
const PIECE_WORK = 1 << 20;
/** Filters, or elements of their gradient, of a piece, and channels of tiles. */
const FILTER_WORK = 1 << 12;
const TILE_WORK = 1 << 10;
/** Bytes of transformed tiles that the gradient of the filters keeps at a time, at least: 8 MB were no faster. */
const PART_BYTES = 1 << 22;
/**
 * What transforming an element of a tile and a filter costs, in multiply-adds (measured on Zen 5), and one of filters that leave the
 * caches.
 */
const TILE_COST = 180;
const FILTER_COST = 200;
const LARGE_FILTER_COST = 900;
const LARGE_BYTES = 1 << 20;

/** `conv2d(x, w, bias?) -> y`; false, and nothing written, where windows are better. */
export function encodeWinograd({ inputs: [x, filters, bias], outputs, attrs: given }: Call, out: CommandWriter): boolean {
  const attrs = given as unknown as ConvAttrs;
  const { n, h, w, c, p, q, f } = attrs;
  if (!gains(attrs, c, n * p * q, out.keeps(read(filters), 0))) return false;
  const u = encodeFilters(read(filters), c, f, false, out);
  const { rows, columns, tiles } = tilesOf(attrs);
  const blocks = Math.ceil(tiles / TILES);
  const width = columnsOfPiece(blocks, tiles, c, f);
  const columnBlocks = Math.ceil(f / width);
  out.command(WINOGRAD, blocks * columnBlocks, [
    read(x),
    u,
    read(bias ?? null),
    write(outputs[0]),
    h,
    w,
    c,
    rows,
    columns,
    tiles,
    attrs.padTop,
    attrs.padLeft,
    p,
    q,
    f,
    TILES,
    width,
    columnBlocks,
    activationCode[attrs.activation],
  ]);
  return true;
}

/** `conv2dInputGrad(dy, w) -> dx`; false as above. */
export function encodeWinogradInputGrad({ inputs: [dy, filters], outputs, attrs: given }: Call, out: CommandWriter): boolean {
  const attrs = given as unknown as ConvAttrs;
  const { n, h, w, c, p, q, f } = attrs;
  // Windows would leave out rows of zeros (conv.ts).
  if (!gains(attrs, f, n * (p < 0.9 * h ? p : h) * w)) return false;
  const u = encodeFilters(read(filters), c, f, true, out);
  const { rows, columns, tiles } = tilesOf(attrs);
  // Tiles of dx overlap, so a piece has whole images: as many as leave panels of 6 tiles full.
  const ofImage = rows * columns;
  let images = 1;
  const fits = (count: number): boolean => count >= 4 * TILES || (count >= TILES && Math.ceil(count / 6) * 6 <= 1.06 * count);
  while (images < n && !fits(images * ofImage)) images++;
  const blocks = Math.ceil(n / images);
  const width = columnsOfPiece(blocks, tiles, f, c);
  const columnBlocks = Math.ceil(c / width);
  out.command(WINOGRAD_INPUT_GRAD, blocks * columnBlocks, [
    read(dy),
    u,
    0,
    write(outputs[0]),
    p,
    q,
    f,
    rows,
    columns,
    tiles,
    0,
    0,
    h,
    w,
    c,
    images * ofImage,
    width,
    columnBlocks,
    0,
    attrs.padTop,
    attrs.padLeft,
    TILES,
  ]);
  return true;
}

/** `conv2dFilterGrad(x, dy) -> dw`: all tiles are transformed, since the 36 products run over them; false as above. */
export function encodeWinogradFilterGrad({ inputs: [x, dy], outputs, attrs: given }: Call, out: CommandWriter): boolean {
  const attrs = given as unknown as ConvAttrs;
  const { n, h, w, c, p, q, f } = attrs;
  if (!gains(attrs, Math.max(c, f), n * p * q)) return false;
  const { rows, columns, tiles } = tilesOf(attrs);
  const wide = Math.ceil(f / PANEL) * PANEL;
  const stepU = c * f * 4 + GAP;
  const partBytes = XI * stepU;
  const bytes = XI * tiles * (c + wide) * 4;
  // The square root makes tiles and partial sums take the same memory where filters are large.
  const parts = Math.ceil(bytes / Math.max(PART_BYTES, Math.sqrt(bytes * partBytes)));
  const most = Math.ceil(tiles / parts);
  const v = out.shared(XI * (most * c * 4 + GAP));
  const dm = out.shared(XI * (most * wide * 4 + GAP));
  const du = out.shared(parts * partBytes);
  const perPiece = Math.ceil(TILE_WORK / (c + f));
  for (let part = 0; part < parts; part++) {
    const first = part * most;
    const count = Math.min(most, tiles - first);
    const stepV = count * c * 4 + GAP;
    const stepM = count * wide * 4 + GAP;
    const pieces = Math.ceil(count / perPiece);
    out.command(WINOGRAD_TILES, pieces, [
      read(x),
      v.write,
      0,
      0,
      h,
      w,
      c,
      rows,
      columns,
      count,
      attrs.padTop,
      attrs.padLeft,
      perPiece,
      0,
      stepV,
      first,
    ]);
    out.command(WINOGRAD_TILES, pieces, [read(dy), dm.write, 0, 0, p, q, f, rows, columns, count, 0, 0, perPiece, 1, stepM, first]);
    encodeProduct(
      out,
      MATMUL,
      {
        batch: XI,
        m: c,
        n: f,
        k: count,
        a: v.read,
        strideA: stepV,
        b: { word: dm.read, stride: stepM, ld: 0, transposed: false, taps: ONE_TAP, packed: true },
        bias: 0,
        strideBias: 0,
        c: at(du.write, part * partBytes),
        strideC: stepU,
        rowsC: c,
        columnsC: f,
        activation: "linear",
      },
      [1, c * 4],
    );
  }
  out.command(WINOGRAD_FILTER_GRAD, Math.ceil((c * f) / FILTER_WORK), [
    du.read,
    write(outputs[0]),
    parts,
    partBytes,
    stepU,
    c * f,
    FILTER_WORK,
  ]);
  return true;
}

function tilesOf({ n, p, q }: ConvAttrs): { rows: number; columns: number; tiles: number } {
  const rows = Math.ceil(p / 4);
  const columns = Math.ceil(q / 4);
  return { rows, columns, tiles: n * rows * columns };
}

/** Columns of a piece. */
function columnsOfPiece(blocks: number, tiles: number, k: number, columns: number): number {
  const cuts = Math.min(
    Math.ceil(FEW_PIECES / blocks),
    Math.floor((XI * tiles * k * columns) / PIECE_WORK / blocks),
    Math.floor(columns / (2 * PANEL)),
  );
  return Math.ceil(columns / Math.max(1, cuts) / PANEL) * PANEL;
}

/** Transforms the filters; gives where they then are. */
function encodeFilters(filters: Word, c: number, f: number, transposed: boolean, out: CommandWriter): Word {
  const [columns, k] = transposed ? [c, f] : [f, c];
  const perPiece = Math.ceil(FILTER_WORK / f / PANEL) * PANEL;
  return out.prepare(WINOGRAD_FILTERS, Math.ceil(c / perPiece), filters, XI * (Math.ceil(columns / PANEL) * k * PANEL * 4 + GAP), [
    c,
    f,
    transposed ? 1 : 0,
    perPiece,
  ]);
}

/**
 * True where tiles take less time than windows. The products run over `k` channels; windows are products of `pixels` rows. With `kept`
 * filters few tiles of many channels gain too (7x7x128 to 7x7x512: half the time of windows). That is asked without regard to the memory
 * there is, which must not decide about bits.
 */
function gains(attrs: ConvAttrs, k: number, pixels: number, kept = false): boolean {
  const { r, s, c, f } = attrs;
  if (r !== 3 || s !== 3 || attrs.strideH * attrs.strideW * attrs.dilationH * attrs.dilationW * attrs.groups !== 1) return false;
  if (c % 4 !== 0 || f % 4 !== 0 || k > MAX_CHANNELS) return false;
  const { tiles } = tilesOf(attrs);
  const filterCost = kept ? 0 : XI * c * f * 4 > LARGE_BYTES ? LARGE_FILTER_COST : FILTER_COST;
  return 1.1 * (c * f * (XI * Math.ceil(tiles / 6) * 6 + filterCost) + TILE_COST * tiles * (c + f)) < 9 * pixels * c * f;
}

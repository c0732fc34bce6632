/**
 * @file The tiles of products (kernels/gemm.wgsl): which there are, which one a product gets, and how its k is split.
 */
import type { GpuFeatures } from "../dispatch.ts";

/** What time depends on: a product [m, k] by [k, n], `batch` times, by a kernel of a file of kernels/. */
export interface Extent {
  readonly file: string;
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Elements of y. */
  readonly sizeY: number;
}

/** A workgroup's tile of y: x * y invocations with rows * columns sums each, fed in steps of k. */
export interface Tile {
  readonly rows: number;
  readonly columns: number;
  readonly x: number;
  readonly y: number;
  readonly k: number;
  /** Multiply-adds per time relative to the fastest tile where a GPU is full of it. */
  readonly speed: number;
}

/**
 * 4 x 4 elements in an invocation of its own, `small` in kernels: for small matrices in memory, and for adapters that are programs on the
 * CPU, where workgroup memory is memory like any other and barriers cost: SwiftShader compiles it in 3/4 of the time of a tile and runs it
 * in half of it.
 */
const SMALL: Tile = { rows: 4, columns: 4, x: 1, y: 1, k: 4, speed: 0.2 };
/**
 * Smallest first. Workgroup memory takes 16 KiB at most, which every adapter has, and no tile has more blocks of 4 x 4 of A or of B than
 * invocations. Of the last two speeds are those on an H200 (37.3 and 37.8 TFLOP/s at 4096; steps of 8 made 32.6 and 27.5 of them).
 */
export const TILES: readonly Tile[] = [
  SMALL,
  { rows: 4, columns: 4, x: 8, y: 8, k: 16, speed: 0.5 },
  { rows: 4, columns: 4, x: 8, y: 32, k: 16, speed: 0.6 },
  { rows: 4, columns: 4, x: 16, y: 16, k: 16, speed: 0.7 },
  { rows: 8, columns: 4, x: 16, y: 8, k: 16, speed: 0.8 },
  { rows: 8, columns: 8, x: 8, y: 16, k: 16, speed: 0.9 },
  { rows: 8, columns: 8, x: 16, y: 16, k: 16, speed: 0.98 },
  { rows: 16, columns: 8, x: 16, y: 8, k: 16, speed: 1 },
];
/** What WebGPU does not say of a GPU: f32 multiply-adds it does at once, and the most sums that an invocation has registers for. */
interface Capacity {
  readonly lanes: number;
  readonly sums: number;
}

/** Of larger ones of a maker (an H100 has 132 * 128 lanes, an M4 Max 40 * 128), by the vendor as Dawn or as PCI names it. */
const CAPACITIES: readonly (readonly [vendor: RegExp, size: Capacity])[] = [
  [/^(nvidia|4318)$/, { lanes: 16384, sums: 128 }],
  [/^(apple|arm|qualcomm|img-tec|imagination|samsung)$/, { lanes: 4096, sums: 32 }],
  [/^(intel|32902)$/, { lanes: 4096, sums: 64 }],
  [/(?:)/, { lanes: 8192, sums: 64 }],
];
/**
 * Of the time model, in multiply-adds of a lane: what an invocation waits for workgroup memory at each k and for barriers and storage at
 * each step; what a second dispatch takes, and each element that a split writes and reads again.
 */
const WAIT_K = 16;
const WAIT_STEP = 256;
const PASS = 6000;
const PART = 48;
/** What a byte takes that a dispatch reads or writes: by its bandwidth 6 on an H200, and elsewhere 10 to 20 unless caches hold it. */
const BYTE = 9;
/** Least k of a part of a tiled product. */
const LEAST_TILED_CHUNK = 128;
/** Most tiles that are tried beside the usual one. */
const MOST_OTHERS = 3;
/** Invocations that keep a GPU busy with a product of a vector: with fewer, splitting k pays. */
const BUSY = 32768;
/** Least k of a part, and most parts: a second pass must stay cheap beside the first. */
const LEAST_CHUNK = 256;
const MOST_SPLITS = 64;
const MOST_PART_BYTES = 1 << 26;
/** Parts of k: how many, and the length of each, a multiple of `step`. */
export interface Split {
  readonly splits: number;
  readonly chunk: number;
}

/** A tile for a product, and how its k is cut. */
export type PlannedTile = Tile & Split;

/** At most `wanted` parts of k. */
function cut(k: number, step: number, wanted: number, sizeY: number): Split {
  const parts = Math.max(1, Math.min(wanted, MOST_SPLITS, Math.floor(MOST_PART_BYTES / (4 * sizeY))));
  const chunk = Math.max(1, Math.ceil(k / parts / step)) * step;
  return { splits: Math.max(1, Math.ceil(k / chunk)), chunk };
}

/** Cuts k where `invocations` alone would leave the GPU idle. `sizeY`: elements of one part's result. */
export const splitOf = (k: number, step: number, invocations: number, sizeY: number): Split =>
  cut(k, step, Math.min(Math.ceil(BUSY / invocations), Math.floor(k / LEAST_CHUNK)), sizeY);

export const groupsOf = (t: Tile, { batch, m, n }: Extent): number =>
  batch * Math.ceil(m / (t.y * t.rows)) * Math.ceil(n / (t.x * t.columns));

/** The tiles that the adapter's limits and the kernel allow, of at most `sums` an invocation. */
const tilesFor = ({ file }: Extent, { maxWorkgroupSize, maxWorkgroupBytes }: GpuFeatures, sums: number): readonly Tile[] =>
  TILES.filter(
    (t) =>
      t.rows * t.columns <= sums &&
      (t === SMALL ? file === "matmul" : t.x * t.y <= maxWorkgroupSize && 4 * t.k * (t.x * t.columns + t.y * t.rows) <= maxWorkgroupBytes),
  );

/**
 * What a product should take on a GPU of so many lanes. An invocation takes turns with others on its lane, or waits for memory where these
 * are few, at every k; a split adds a pass.
 */
function timeOf(product: Extent, { splits, chunk, ...tile }: PlannedTile, lanes: number): number {
  const load = (invocationsOf(tile, product) * splits) / lanes / tile.speed;
  return chunk * Math.max(waitOf(tile), sumsOf(tile) * load) + (splits > 1 ? PASS + (PART * splits * product.sizeY) / lanes : 0);
}

const sumsOf = (t: Tile): number => t.rows * t.columns;
const invocationsOf = (t: Tile, product: Extent): number => groupsOf(t, product) * t.x * t.y;
/** What an invocation takes for one k where it is alone on its lane. */
const waitOf = (t: Tile): number => sumsOf(t) + WAIT_K + WAIT_STEP / t.k;

const capacityOf = ({ vendor }: GpuFeatures): Capacity => (CAPACITIES.find(([v]) => v.test(vendor)) as (typeof CAPACITIES)[number])[1];

/** The tile and the split that should take the least time. Among equals the smallest. */
export function tileOf(product: Extent, features: GpuFeatures): PlannedTile {
  const { k, sizeY } = product;
  if (features.software) return { ...SMALL, ...cut(k, SMALL.k, 1, sizeY) };
  const { lanes, sums } = capacityOf(features);
  let best: PlannedTile | null = null;
  let least = Infinity;
  for (const tile of tilesFor(product, features, sums)) {
    const enough = Math.ceil((lanes * tile.speed * waitOf(tile)) / sumsOf(tile) / invocationsOf(tile, product));
    for (const wanted of [1, Math.min(enough, Math.floor(k / LEAST_TILED_CHUNK))]) {
      const planned = { ...tile, ...cut(k, tile.k, wanted, sizeY) };
      const time = timeOf(product, planned, lanes);
      if (time < least) {
        least = time;
        best = planned;
      }
    }
  }
  return best as PlannedTile;
}

/** What a product should take by that tile, in the model's unit. */
export const timeOfProduct = (product: Extent, features: GpuFeatures): number =>
  timeOf(product, tileOf(product, features), capacityOf(features).lanes);

/** What so many dispatches beside another one should take that read and write so many bytes, in the same unit. */
export const timeOfPasses = (passes: number, bytes: number, features: GpuFeatures): number =>
  PASS * passes + (BYTE * bytes) / capacityOf(features).lanes;

/**
 * Tiles that make the same bits as `usual`, which is the first: with its split, and with zeros behind the last k where it has some (they
 * turn a sum of -0 into 0). Of the others the most promising; one whose sums may not fit into registers is tried too.
 */
export function tilesLike(usual: PlannedTile, product: Extent, features: GpuFeatures): readonly PlannedTile[] {
  const { splits, chunk } = usual;
  const { lanes, sums } = capacityOf(features);
  const padded = (t: Tile): boolean => product.k % t.k !== 0;
  const others = tilesFor(product, features, 2 * sums)
    .filter((t) => nameOf(t) !== nameOf(usual) && chunk % t.k === 0 && padded(t) === padded(usual))
    .map((t): PlannedTile => ({ ...t, splits, chunk }))
    .sort((s, t) => timeOf(product, s, lanes) - timeOf(product, t, lanes));
  return [usual, ...others.slice(0, MOST_OTHERS)];
}

export const nameOf = (t: Tile): string => `${t.rows}x${t.columns} by ${t.x}x${t.y}, ${t.k}`;

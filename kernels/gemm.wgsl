// Tiled product of two matrices, the twin of assembly/gemm.ts: a library of which matmul.wgsl and conv.wgsl call gemm(). They bring
//   BATCH M N          the product, `batch` times; the sums over k of y[row, column] = A[row, k] B[k, column]
//   SPLITS CHUNK       chunks of k and their length, a multiple of TILE_K
//   THREADS_X THREADS_Y ROWS COLUMNS TILE_K                   the tile, see below
//   A_ALONG_K B_ALONG_K                                       how vectors run through the operands
//   ELEMENTS HAS_BIAS BIAS_STRIDE                               elements of y; distance of the batches' biases in bias
//   a_lanes a_vectors b_lanes b_vectors bias y_lanes y_vectors    the operands, as numbers and as vectors of four
//   bias_vectors               likewise, for vector_bias
//   place_a(batch, row, k)     position of A[row, k] in a, or OUTSIDE where it is zero
//   place_b(batch, column, k)  position of B[k, column] in b, likewise; below for a B with strides
//   place_y(batch, row)        position of y[row, 0], or OUTSIDE where there is no such row
//   depth(batch)               end of k; below where that is K
//   GAPS                       false where all that is inside of A and B has a place
//   load_a, load_b, load_bias, write_y    `vector_*` where runs of four are aligned, else `lanes_*`
//   activate(x)
//
// A workgroup makes TILE_M x TILE_N elements of one batch of y, summing over one chunk of k. Step by step over TILE_K it copies a tile of A
// and one of B to workgroup memory, while the next ones are on their way to registers: a block of 4 x 4 elements for each invocation, or
// for those that there are blocks for. An invocation keeps ROWS x COLUMNS sums (4, 8 or 16 by 4 or 8) in named matrices, a row in each
// column, since an indexed array would live in memory: its rows and columns are runs of four, THREADS_Y or THREADS_X runs apart, so that
// neighbours read neighbouring vectors.
//
// Vectors of tiles run along rows (columns of B): that of k and the i-th run is at k RUNS + i. Where the operand's run along k, blocks are
// turned on their way from registers to tiles, once for all that read them. Neighbours have neighbouring runs of the same k's, so that
// neither writing nor reading meets one bank of the memory twice.
//
// Every sum is begun with zero and goes through its chunk of k in order, one fma for each: which tile made it is not to be seen in it.
// (Where K is not a multiple of TILE_K, zeros are added at the end, which may turn a sum of -0 into 0.)
//
// gemm_small() makes 4 x 4 elements in one invocation without workgroup memory, for matrices that would leave most of a tile empty.
//
// With SPLITS > 1 y is the partial sums [SPLITS, ELEMENTS], which epilogue.wgsl adds up.

const THREADS: u32 = THREADS_X * THREADS_Y;
const TILE_M: u32 = THREADS_Y * ROWS;
const TILE_N: u32 = THREADS_X * COLUMNS;
const TILES_M: u32 = (M + TILE_M - 1u) / TILE_M;
const TILES_N: u32 = (N + TILE_N - 1u) / TILE_N;
const RUNS_M: u32 = TILE_M / 4u;
const RUNS_N: u32 = TILE_N / 4u;
// Blocks of a tile: at most one for each invocation.
const BLOCKS_A: u32 = RUNS_M * TILE_K / 4u;
const BLOCKS_B: u32 = RUNS_N * TILE_K / 4u;
// Where tiles come out even nothing is compared.
const EVEN_M: bool = M % TILE_M == 0u;
const EVEN_N: bool = N % TILE_N == 0u;
const EVEN_K: bool = K % TILE_K == 0u;
const GAPS: bool = true;

var<workgroup> tile_a: array<vec4<f32>, TILE_K * RUNS_M>;
var<workgroup> tile_b: array<vec4<f32>, TILE_K * RUNS_N>;

// A[row..row+3, k..k+3]: a k in each column.
fn gemm_fetch_a(batch: u32, row: u32, k: u32) -> mat4x4<f32> {
  let step = select(vec2(0u, 1u), vec2(1u, 0u), A_ALONG_K);
  let v = mat4x4<f32>(
    load_a(batch, row, k),
    load_a(batch, row + step.x, k + step.y),
    load_a(batch, row + 2u * step.x, k + 2u * step.y),
    load_a(batch, row + 3u * step.x, k + 3u * step.y)
  );
  if (A_ALONG_K) {
    return transpose(v);
  }
  return v;
}

// B[k..k+3, column..column+3], likewise.
fn gemm_fetch_b(batch: u32, column: u32, k: u32) -> mat4x4<f32> {
  let step = select(vec2(0u, 1u), vec2(1u, 0u), B_ALONG_K);
  let v = mat4x4<f32>(
    load_b(batch, column, k),
    load_b(batch, column + step.x, k + step.y),
    load_b(batch, column + 2u * step.x, k + 2u * step.y),
    load_b(batch, column + 3u * step.x, k + 3u * step.y)
  );
  if (B_ALONG_K) {
    return transpose(v);
  }
  return v;
}

fn gemm_block_a(k: u32, i: u32) -> mat4x4<f32> {
  let at = k * RUNS_M + i;
  return mat4x4<f32>(tile_a[at], tile_a[at + RUNS_M], tile_a[at + 2u * RUNS_M], tile_a[at + 3u * RUNS_M]);
}

fn gemm_block_b(k: u32, i: u32) -> mat4x4<f32> {
  let at = k * RUNS_N + i;
  return mat4x4<f32>(tile_b[at], tile_b[at + RUNS_N], tile_b[at + 2u * RUNS_N], tile_b[at + 3u * RUNS_N]);
}

// Four rows of sums + four k's of A's rows times those of B's columns.
fn gemm_add(sums: mat4x4<f32>, a: mat4x4<f32>, b: mat4x4<f32>) -> mat4x4<f32> {
  let rows = transpose(a);
  return mat4x4<f32>(
    gemm_add_row(sums[0], rows[0], b),
    gemm_add_row(sums[1], rows[1], b),
    gemm_add_row(sums[2], rows[2], b),
    gemm_add_row(sums[3], rows[3], b)
  );
}

fn gemm_add_row(sum: vec4<f32>, row: vec4<f32>, block: mat4x4<f32>) -> vec4<f32> {
  return fma(
    vec4<f32>(row.w),
    block[3],
    fma(vec4<f32>(row.z), block[2], fma(vec4<f32>(row.y), block[1], fma(vec4<f32>(row.x), block[0], sum)))
  );
}

fn gemm_store(batch: u32, split: u32, row: u32, column: u32, sums: mat4x4<f32>) {
  gemm_store_row(batch, split, row, column, sums[0]);
  gemm_store_row(batch, split, row + 1u, column, sums[1]);
  gemm_store_row(batch, split, row + 2u, column, sums[2]);
  gemm_store_row(batch, split, row + 3u, column, sums[3]);
}

fn gemm_store_row(batch: u32, split: u32, row: u32, column: u32, sum: vec4<f32>) {
  let place = place_y(batch, row);
  if (row >= M || place == OUTSIDE || column >= N) {
    return;
  }
  var v = sum;
  if (SPLITS == 1u) {
    if (HAS_BIAS) {
      v += load_bias(batch, column);
    }
    v = activate_vector(v);
  }
  write_y(split * ELEMENTS + place + column, N - column, v);
}

// The work of invocation (tx, ty) of workgroup `group`; all invocations of it call this.
fn gemm(group: u32, tx: u32, ty: u32) {
  if (group >= TILES_M * TILES_N * SPLITS * BATCH) {
    return;
  }
  let column = group % TILES_N * TILE_N;
  let row = group / TILES_N % TILES_M * TILE_M;
  let split = group / (TILES_N * TILES_M) % SPLITS;
  let batch = group / (TILES_N * TILES_M * SPLITS);
  let first = split * CHUNK;
  let end = min(first + CHUNK, depth(batch));

  // Blocks of B begin with the invocations that have none of A's, where there are such.
  let i = ty * THREADS_X + tx;
  let j = (i + THREADS - BLOCKS_A) % THREADS;
  let has_a = (BLOCKS_A >= THREADS) | (i < BLOCKS_A);
  let has_b = (BLOCKS_B >= THREADS) | (j < BLOCKS_B);
  let row_a = row + 4u * (i % RUNS_M);
  let column_b = column + 4u * (j % RUNS_N);
  let k_a = 4u * (i / RUNS_M);
  let k_b = 4u * (j / RUNS_N);
  let slot_a = k_a * RUNS_M + i % RUNS_M;
  let slot_b = k_b * RUNS_N + j % RUNS_N;

  var next_a = mat4x4<f32>();
  var next_b = mat4x4<f32>();
  // The first four columns of each run of rows, and the second.
  var sums0 = mat4x4<f32>();
  var sums1 = mat4x4<f32>();
  var sums2 = mat4x4<f32>();
  var sums3 = mat4x4<f32>();
  var more0 = mat4x4<f32>();
  var more1 = mat4x4<f32>();
  var more2 = mat4x4<f32>();
  var more3 = mat4x4<f32>();
  var k = first;
  loop {
    // The blocks of the tile at k, none beyond the end; then the sums over the tile before it.
    if (k < end) {
      if (has_a) { next_a = gemm_fetch_a(batch, row_a, k + k_a); }
      if (has_b) { next_b = gemm_fetch_b(batch, column_b, k + k_b); }
    }
    if (k > first) {
      for (var step = 0u; step < TILE_K; step += 4u) {
        let b0 = gemm_block_b(step, tx);
        var b1 = mat4x4<f32>();
        if (COLUMNS == 8u) {
          b1 = gemm_block_b(step, tx + THREADS_X);
        }
        var a = gemm_block_a(step, ty);
        sums0 = gemm_add(sums0, a, b0);
        if (COLUMNS == 8u) { more0 = gemm_add(more0, a, b1); }
        if (ROWS >= 8u) {
          a = gemm_block_a(step, ty + THREADS_Y);
          sums1 = gemm_add(sums1, a, b0);
          if (COLUMNS == 8u) { more1 = gemm_add(more1, a, b1); }
        }
        if (ROWS == 16u) {
          a = gemm_block_a(step, ty + 2u * THREADS_Y);
          sums2 = gemm_add(sums2, a, b0);
          if (COLUMNS == 8u) { more2 = gemm_add(more2, a, b1); }
          a = gemm_block_a(step, ty + 3u * THREADS_Y);
          sums3 = gemm_add(sums3, a, b0);
          if (COLUMNS == 8u) { more3 = gemm_add(more3, a, b1); }
        }
      }
    }
    if (k >= end) {
      break;
    }
    workgroupBarrier();
    if (has_a) {
      tile_a[slot_a] = next_a[0];
      tile_a[slot_a + RUNS_M] = next_a[1];
      tile_a[slot_a + 2u * RUNS_M] = next_a[2];
      tile_a[slot_a + 3u * RUNS_M] = next_a[3];
    }
    if (has_b) {
      tile_b[slot_b] = next_b[0];
      tile_b[slot_b + RUNS_N] = next_b[1];
      tile_b[slot_b + 2u * RUNS_N] = next_b[2];
      tile_b[slot_b + 3u * RUNS_N] = next_b[3];
    }
    workgroupBarrier();
    k += TILE_K;
  }

  let top = row + 4u * ty;
  let start = column + 4u * tx;
  gemm_store_run(batch, split, top, start, sums0, more0);
  if (ROWS >= 8u) {
    gemm_store_run(batch, split, top + 4u * THREADS_Y, start, sums1, more1);
  }
  if (ROWS == 16u) {
    gemm_store_run(batch, split, top + 8u * THREADS_Y, start, sums2, more2);
    gemm_store_run(batch, split, top + 12u * THREADS_Y, start, sums3, more3);
  }
}

fn gemm_store_run(batch: u32, split: u32, row: u32, column: u32, sums: mat4x4<f32>, more: mat4x4<f32>) {
  gemm_store(batch, split, row, column, sums);
  if (COLUMNS == 8u) {
    gemm_store(batch, split, row, column + 4u * THREADS_X, more);
  }
}

// The work of the i-th invocation; its tile is 4 x 4.
fn gemm_small(i: u32) {
  if (i >= TILES_M * TILES_N * SPLITS * BATCH) {
    return;
  }
  let column = i % TILES_N * 4u;
  let row = i / TILES_N % TILES_M * 4u;
  let split = i / (TILES_N * TILES_M) % SPLITS;
  let batch = i / (TILES_N * TILES_M * SPLITS);
  let end = min(split * CHUNK + CHUNK, depth(batch));
  var sums = mat4x4<f32>();
  for (var k = split * CHUNK; k < end; k += 4u) {
    sums = gemm_add(sums, gemm_fetch_a(batch, row, k), gemm_fetch_b(batch, column, k));
  }
  gemm_store(batch, split, row, column, sums);
}

// What kernels may define their hooks by.

fn depth(batch: u32) -> u32 {
  return K;
}

// B_BATCH, B_COLUMN and B_K elements from batch to batch, column to column and k to k.
fn place_b(batch: u32, column: u32, k: u32) -> u32 {
  return batch * B_BATCH + column * B_COLUMN + k * B_K;
}

// A[row, k..k+3] with A_ALONG_K, else A[row..row+3, k]; zero beyond the ends.
fn vector_a(batch: u32, row: u32, k: u32) -> vec4<f32> {
  let at = place_a(batch, row, k);
  let inside = (EVEN_M | (row < M)) & (EVEN_K | (k < K)) & (!GAPS | (at != OUTSIDE));
  return select(vec4<f32>(), a_vectors[select(0u, at / 4u, inside)], inside);
}

fn lane_a(batch: u32, row: u32, k: u32) -> f32 {
  let at = place_a(batch, row, k);
  let inside = (EVEN_M | (row < M)) & (EVEN_K | (k < K)) & (!GAPS | (at != OUTSIDE));
  return select(0.0, a_lanes[select(0u, at, inside)], inside);
}

fn lanes_a(batch: u32, row: u32, k: u32) -> vec4<f32> {
  let step = select(vec2(1u, 0u), vec2(0u, 1u), A_ALONG_K);
  return vec4<f32>(
    lane_a(batch, row, k),
    lane_a(batch, row + step.x, k + step.y),
    lane_a(batch, row + 2u * step.x, k + 2u * step.y),
    lane_a(batch, row + 3u * step.x, k + 3u * step.y)
  );
}

// B[k..k+3, column] with B_ALONG_K, else B[k, column..column+3]; likewise.
fn vector_b(batch: u32, column: u32, k: u32) -> vec4<f32> {
  let at = place_b(batch, column, k);
  let inside = (EVEN_N | (column < N)) & (EVEN_K | (k < K)) & (!GAPS | (at != OUTSIDE));
  return select(vec4<f32>(), b_vectors[select(0u, at / 4u, inside)], inside);
}

fn lane_b(batch: u32, column: u32, k: u32) -> f32 {
  let at = place_b(batch, column, k);
  let inside = (EVEN_N | (column < N)) & (EVEN_K | (k < K)) & (!GAPS | (at != OUTSIDE));
  return select(0.0, b_lanes[select(0u, at, inside)], inside);
}

fn lanes_b(batch: u32, column: u32, k: u32) -> vec4<f32> {
  let step = select(vec2(1u, 0u), vec2(0u, 1u), B_ALONG_K);
  return vec4<f32>(
    lane_b(batch, column, k),
    lane_b(batch, column + step.x, k + step.y),
    lane_b(batch, column + 2u * step.x, k + 2u * step.y),
    lane_b(batch, column + 3u * step.x, k + 3u * step.y)
  );
}

// Writes the first `count` of v to y: those beyond four do not exist.
fn vector_y(at: u32, count: u32, v: vec4<f32>) {
  y_vectors[at / 4u] = v;
}

fn lanes_y(at: u32, count: u32, v: vec4<f32>) {
  y_lanes[at] = v.x;
  if (count > 1u) { y_lanes[at + 1u] = v.y; }
  if (count > 2u) { y_lanes[at + 2u] = v.z; }
  if (count > 3u) { y_lanes[at + 3u] = v.w; }
}

fn load_bias(batch: u32, column: u32) -> vec4<f32> {
  return lanes_bias(batch, column);
}

// bias[column..column+3] of a batch; those beyond its last repeat that.
fn lanes_bias(batch: u32, column: u32) -> vec4<f32> {
  let first = batch * BIAS_STRIDE;
  let last = first + N - 1u;
  return vec4<f32>(
    bias[first + column],
    bias[min(first + column + 1u, last)],
    bias[min(first + column + 2u, last)],
    bias[min(first + column + 3u, last)]
  );
}

fn vector_bias(batch: u32, column: u32) -> vec4<f32> {
  return bias_vectors[(batch * BIAS_STRIDE + column) / 4u];
}

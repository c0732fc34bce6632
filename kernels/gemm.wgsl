// Tiled product of two matrices, the twin of assembly/gemm.ts: a library of which matmul.wgsl and conv.wgsl call gemm(). They bring
//   BATCH M N          the product, `batch` times; the sums over k of y[row, column] = A[row, k] B[k, column]
//   SPLITS CHUNK       chunks of k and their length, a multiple of TILE_K
//   THREADS_X THREADS_Y ROWS COLUMNS TILE_K                   the tile, see below
//   A_ALONG_K B_ALONG_K                                       how vectors run through the operands
//   ELEMENTS HAS_BIAS BIAS_STRIDE                               elements of y; distance of the batches' biases in bias
//   a_lanes a_vectors b_lanes b_vectors bias y_lanes y_vectors    the operands, as numbers and as vectors of four
//   place_a(batch, row, k)     position of A[row, k] in a, or OUTSIDE where it is zero
//   place_b(batch, column, k)  position of B[k, column] in b, likewise; below for a B with strides
//   place_y(batch, row)        position of y[row, 0], or OUTSIDE where there is no such row
//   depth(batch)               end of k; below where that is K
//   load_a, load_b, write_y    `vector_*` where runs of four are aligned, else `lanes_*`
//   activate(x)
//
// A workgroup makes TILE_M x TILE_N elements of one batch of y, summing over one chunk of k. Step by step over TILE_K it copies a tile of A
// and one of B to workgroup memory, while the next ones are on their way to registers. An invocation keeps ROWS x COLUMNS sums (4 or 8
// each) in named matrices, a row in each column, since an indexed array would live in memory: its rows and columns are one or two runs of
// four, the second THREADS_Y or THREADS_X runs on, so that neighbours read neighbouring words.
//
// Tiles are made of 4 x 4 blocks of four vectors. A vector runs along k or along rows (columns of B), as the operand does in
// memory: nothing is transposed on the way in, and turning a block in registers costs nothing. Vector j of block
// (k4, i) is at (4 k4 + j) LINE + i; the odd LINE spreads over the banks what invocations write at once.
//
// With SPLITS > 1 y is the partial sums [SPLITS, ELEMENTS], which epilogue.wgsl adds up.

const THREADS: u32 = THREADS_X * THREADS_Y;
const TILE_M: u32 = THREADS_Y * ROWS;
const TILE_N: u32 = THREADS_X * COLUMNS;
const TILES_M: u32 = (M + TILE_M - 1u) / TILE_M;
const TILES_N: u32 = (N + TILE_N - 1u) / TILE_N;
const LINE_A: u32 = TILE_M / 4u + 1u;
const LINE_B: u32 = TILE_N / 4u + 1u;
// Vectors of a tile: at most two for each invocation.
const VECTORS_A: u32 = TILE_M * TILE_K / 4u;
const VECTORS_B: u32 = TILE_N * TILE_K / 4u;

var<workgroup> tile_a: array<vec4<f32>, TILE_K * LINE_A>;
var<workgroup> tile_b: array<vec4<f32>, TILE_K * LINE_B>;

// The i-th vector of the tile of A that starts at `row` and `k`, in the order of memory.
fn gemm_fetch_a(batch: u32, row: u32, k: u32, i: u32) -> vec4<f32> {
  if (A_ALONG_K) {
    return load_a(batch, row + i / (TILE_K / 4u), k + i % (TILE_K / 4u) * 4u);
  }
  return load_a(batch, row + i % (TILE_M / 4u) * 4u, k + i / (TILE_M / 4u));
}

fn gemm_fetch_b(batch: u32, column: u32, k: u32, i: u32) -> vec4<f32> {
  if (B_ALONG_K) {
    return load_b(batch, column + i / (TILE_K / 4u), k + i % (TILE_K / 4u) * 4u);
  }
  return load_b(batch, column + i % (TILE_N / 4u) * 4u, k + i / (TILE_N / 4u));
}

// Where the i-th vector of a tile goes: `blocks` along its rows or columns, in lines of `line`.
fn gemm_slot(i: u32, blocks: u32, line: u32, along_k: bool) -> u32 {
  if (along_k) {
    let at = i / (TILE_K / 4u);
    return (i % (TILE_K / 4u) * 4u + at % 4u) * line + at / 4u;
  }
  return i / blocks * line + i % blocks;
}

// Four rows of A: column j of the matrix is A[row j, k..k+3].
fn gemm_block_a(k4: u32, i: u32) -> mat4x4<f32> {
  let at = k4 * 4u * LINE_A + i;
  let v = mat4x4<f32>(tile_a[at], tile_a[at + LINE_A], tile_a[at + 2u * LINE_A], tile_a[at + 3u * LINE_A]);
  if (A_ALONG_K) {
    return v;
  }
  return transpose(v);
}

// Four columns of B: column j of the matrix is B[k + j, column..column+3].
fn gemm_block_b(k4: u32, i: u32) -> mat4x4<f32> {
  let at = k4 * 4u * LINE_B + i;
  let v = mat4x4<f32>(tile_b[at], tile_b[at + LINE_B], tile_b[at + 2u * LINE_B], tile_b[at + 3u * LINE_B]);
  if (B_ALONG_K) {
    return transpose(v);
  }
  return v;
}

// Four rows of sums + four k's of rows of A times those of B.
fn gemm_add(sums: mat4x4<f32>, rows: mat4x4<f32>, block: mat4x4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(
    gemm_add_row(sums[0], rows[0], block),
    gemm_add_row(sums[1], rows[1], block),
    gemm_add_row(sums[2], rows[2], block),
    gemm_add_row(sums[3], rows[3], block)
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
      let first = batch * BIAS_STRIDE;
      let last = first + N - 1u;
      v += vec4<f32>(
        bias[first + column],
        bias[min(first + column + 1u, last)],
        bias[min(first + column + 2u, last)],
        bias[min(first + column + 3u, last)]
      );
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

  let i = ty * THREADS_X + tx;
  let slot_a = gemm_slot(i, TILE_M / 4u, LINE_A, A_ALONG_K);
  let slot_b = gemm_slot(i, TILE_N / 4u, LINE_B, B_ALONG_K);
  let slot_a1 = gemm_slot(i + THREADS, TILE_M / 4u, LINE_A, A_ALONG_K);
  let slot_b1 = gemm_slot(i + THREADS, TILE_N / 4u, LINE_B, B_ALONG_K);
  // Constants where the vectors of a tile come out even, so that no branch is left.
  let has_a = (VECTORS_A >= THREADS) | (i < VECTORS_A);
  let has_b = (VECTORS_B >= THREADS) | (i < VECTORS_B);
  let has_a1 = (VECTORS_A > THREADS) & ((VECTORS_A >= 2u * THREADS) | (i + THREADS < VECTORS_A));
  let has_b1 = (VECTORS_B > THREADS) & ((VECTORS_B >= 2u * THREADS) | (i + THREADS < VECTORS_B));

  var sums = mat4x4<f32>();
  var sums_right = mat4x4<f32>();
  var sums_below = mat4x4<f32>();
  var sums_across = mat4x4<f32>();
  var next_a = vec4<f32>();
  var next_b = vec4<f32>();
  var next_a1 = vec4<f32>();
  var next_b1 = vec4<f32>();
  var k = first;
  loop {
    // The vectors of the tile at k, none beyond the end; then the sums over the tile before it.
    if (k < end) {
      if (has_a) { next_a = gemm_fetch_a(batch, row, k, i); }
      if (has_b) { next_b = gemm_fetch_b(batch, column, k, i); }
      if (has_a1) { next_a1 = gemm_fetch_a(batch, row, k, i + THREADS); }
      if (has_b1) { next_b1 = gemm_fetch_b(batch, column, k, i + THREADS); }
    }
    if (k > first) {
      for (var k4 = 0u; k4 < TILE_K / 4u; k4++) {
        let left = gemm_block_b(k4, tx);
        let above = gemm_block_a(k4, ty);
        sums = gemm_add(sums, above, left);
        var right = mat4x4<f32>();
        if (COLUMNS == 8u) {
          right = gemm_block_b(k4, tx + THREADS_X);
          sums_right = gemm_add(sums_right, above, right);
        }
        if (ROWS == 8u) {
          let below = gemm_block_a(k4, ty + THREADS_Y);
          sums_below = gemm_add(sums_below, below, left);
          if (COLUMNS == 8u) {
            sums_across = gemm_add(sums_across, below, right);
          }
        }
      }
    }
    if (k >= end) {
      break;
    }
    workgroupBarrier();
    if (has_a) { tile_a[slot_a] = next_a; }
    if (has_b) { tile_b[slot_b] = next_b; }
    if (has_a1) { tile_a[slot_a1] = next_a1; }
    if (has_b1) { tile_b[slot_b1] = next_b1; }
    workgroupBarrier();
    k += TILE_K;
  }

  let top = row + 4u * ty;
  let start = column + 4u * tx;
  gemm_store(batch, split, top, start, sums);
  if (COLUMNS == 8u) {
    gemm_store(batch, split, top, start + 4u * THREADS_X, sums_right);
  }
  if (ROWS == 8u) {
    gemm_store(batch, split, top + 4u * THREADS_Y, start, sums_below);
    if (COLUMNS == 8u) {
      gemm_store(batch, split, top + 4u * THREADS_Y, start + 4u * THREADS_X, sums_across);
    }
  }
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
  let inside = (row < M) & (k < K) & (at != OUTSIDE);
  return select(vec4<f32>(), a_vectors[select(0u, at / 4u, inside)], inside);
}

fn lane_a(batch: u32, row: u32, k: u32) -> f32 {
  let at = place_a(batch, row, k);
  let inside = (row < M) & (k < K) & (at != OUTSIDE);
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
  let inside = (column < N) & (k < K) & (at != OUTSIDE);
  return select(vec4<f32>(), b_vectors[select(0u, at / 4u, inside)], inside);
}

fn lane_b(batch: u32, column: u32, k: u32) -> f32 {
  let at = place_b(batch, column, k);
  let inside = (column < N) & (k < K) & (at != OUTSIDE);
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

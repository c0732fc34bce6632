// Products by subgroup matrices: what src/webgpu/parts/matrices.ts adds to matmul.wgsl and conv.wgsl. Operands are read and y is written
// by the hooks of those, see gemm.wgsl; of its tile TILE_M, TILE_N and TILE_K are those of a workgroup here too.
//
// A workgroup makes TILE_M x TILE_N elements of one batch of y over one chunk of k; its subgroups have parts of it, ACROSS of them beside
// each other, of PART_M x PART_N sums in matrices of MATRIX_M x MATRIX_N. Step by step over TILE_K it copies a tile of A and one of B to
// workgroup memory, as Component, while the next ones are on their way to registers. Lines of tiles run as the operand's vectors do in
// memory, and subgroupMatrixLoad turns them where that is the other way; SPACE elements between lines spread over the banks what one matrix
// is made of. What lies beyond the ends is zero. Sums go through workgroup memory, a matrix at a time, to where invocations add bias,
// activate and write vectors.
//
// How matrices of one subgroup are called differs with the tile: parts/matrices.ts writes the entry point, in which each has a name, since
// an indexed array of them might live in memory.
//
// halve: what products read many times, as f16.

alias Component = f32;
const PARTS: u32 = 1;
const ACROSS: u32 = 1;
const PART_M: u32 = 1;
const PART_N: u32 = 1;
const MATRIX_M: u32 = 8;
const MATRIX_N: u32 = 8;
const SPACE: u32 = 8;
const INVOCATIONS: u32 = 32;

const DISTANCE_A: u32 = select(TILE_M, TILE_K, A_ALONG_K) + SPACE;
const DISTANCE_B: u32 = select(TILE_N, TILE_K, B_ALONG_K) + SPACE;
const DISTANCE_Y: u32 = MATRIX_N + 4u;

var<workgroup> matrix_a: array<Component, select(TILE_K, TILE_M, A_ALONG_K) * DISTANCE_A>;
var<workgroup> matrix_b: array<Component, select(TILE_K, TILE_N, B_ALONG_K) * DISTANCE_B>;
var<workgroup> matrix_y: array<f32, PARTS * MATRIX_M * DISTANCE_Y>;

// Line and first element of the i-th vector of a tile whose lines have `size` elements.
fn matrix_cell(i: u32, size: u32) -> vec2<u32> {
  return vec2<u32>(i / (size / 4u), i % (size / 4u) * 4u);
}

fn matrix_fetch_a(batch: u32, row: u32, k: u32, i: u32) -> vec4<f32> {
  if (A_ALONG_K) {
    let cell = matrix_cell(i, TILE_K);
    return load_a(batch, row + cell.x, k + cell.y);
  }
  let cell = matrix_cell(i, TILE_M);
  return load_a(batch, row + cell.y, k + cell.x);
}

fn matrix_fetch_b(batch: u32, column: u32, k: u32, i: u32) -> vec4<f32> {
  if (B_ALONG_K) {
    let cell = matrix_cell(i, TILE_K);
    return load_b(batch, column + cell.x, k + cell.y);
  }
  let cell = matrix_cell(i, TILE_N);
  return load_b(batch, column + cell.y, k + cell.x);
}

fn matrix_put_a(i: u32, v: vec4<f32>) {
  let cell = matrix_cell(i, select(TILE_M, TILE_K, A_ALONG_K));
  let at = cell.x * DISTANCE_A + cell.y;
  let w = vec4<Component>(v);
  matrix_a[at] = w.x;
  matrix_a[at + 1u] = w.y;
  matrix_a[at + 2u] = w.z;
  matrix_a[at + 3u] = w.w;
}

fn matrix_put_b(i: u32, v: vec4<f32>) {
  let cell = matrix_cell(i, select(TILE_N, TILE_K, B_ALONG_K));
  let at = cell.x * DISTANCE_B + cell.y;
  let w = vec4<Component>(v);
  matrix_b[at] = w.x;
  matrix_b[at + 1u] = w.y;
  matrix_b[at + 2u] = w.z;
  matrix_b[at + 3u] = w.w;
}

// Where the matrix of `row` and `k` begins in the tile of A; and of `column` and `k` in that of B.
fn matrix_at_a(row: u32, k: u32) -> u32 {
  return select(k * DISTANCE_A + row, row * DISTANCE_A + k, A_ALONG_K);
}

fn matrix_at_b(column: u32, k: u32) -> u32 {
  return select(k * DISTANCE_B + column, column * DISTANCE_B + k, B_ALONG_K);
}

// Writes the matrix that a part has in workgroup memory, to y[row.., column..].
fn matrix_store(batch: u32, split: u32, row: u32, column: u32, part: u32, lane: u32, lanes: u32) {
  if (part >= PARTS) {
    return;
  }
  for (var i = lane; i < MATRIX_M * MATRIX_N / 4u; i += lanes) {
    let cell = matrix_cell(i, MATRIX_N);
    let at = (part * MATRIX_M + cell.x) * DISTANCE_Y + cell.y;
    let v = vec4<f32>(matrix_y[at], matrix_y[at + 1u], matrix_y[at + 2u], matrix_y[at + 3u]);
    gemm_store_row(batch, split, row + cell.x, column + cell.y, v);
  }
}

// body
// end body

const VECTORS: u32 = 1;

@group(0) @binding(0) var<storage, read> full: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> halved: array<vec2<u32>>;

@compute @workgroup_size(64)
fn halve(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = (group.x + group.y * groups.x) * 64u + local;
  if (i < VECTORS) {
    halved[i] = half_words(full[i]);
  }
}

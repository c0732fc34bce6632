// packedMatmul(a, b, bias?) -> y: y[M, N] = activation(a[M, K] b^T + bias[N]) with a matrix b in few bits (weights.wgsl).
//
// few   M of at most eight: every bit of b is read once, so what counts is that neighbours read neighbouring vectors. A workgroup has four
//       rows of b, along which its LANES invocations stand; sums are joined by a tree in workgroup memory (tree_few), or by subgroups first
//       (subgroup_few), in an order that depends on shapes and the size of subgroups only.
// main  the tiled product of gemm.wgsl in f32, for halves and where there are no integer products. b is widened while tiles are loaded.
// small  the same without tiles, for adapters that are programs on the CPU.
// Integers of many rows: blocks.wgsl.

const M: u32 = 1;
// See gemm.wgsl.
const BATCH: u32 = 1;
const SPLITS: u32 = 1;
const CHUNK: u32 = 16;
const THREADS_X: u32 = 8;
const THREADS_Y: u32 = 8;
const ROWS: u32 = 4;
const COLUMNS: u32 = 4;
const TILE_K: u32 = 16;
const A_ALONG_K: bool = true;
const B_ALONG_K: bool = true;
const ELEMENTS: u32 = 1;
const HAS_BIAS: bool = false;
const BIAS_STRIDE: u32 = 0;

// Whether b has scales; SHIFTED is of weights.wgsl.
const SCALED: bool = false;
// Of `few`: invocations; items of a row, an item being what is read of four rows at once, and vectors of four elements in it.
const LANES: u32 = 64;
const ITEMS: u32 = 1;
const VECTORS: u32 = 1;
const STEPS: u32 = (ITEMS + LANES - 1u) / LANES;
// The fewest invocations of a subgroup. They are taken to be neighbours.
const SUBGROUP_SIZE: u32 = 4;

@group(0) @binding(0) var<storage, read> a_lanes: array<f32>;
@group(0) @binding(0) var<storage, read> a_vectors: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y_lanes: array<f32>;
@group(0) @binding(3) var<storage, read_write> y_vectors: array<vec4<f32>>;

// hooks
fn weights(row: u32, k: u32) -> vec4<f32> {
  return weights_lanes(row, k);
}
fn widened(word: u32) -> f32 {
  return half_f16(word);
}
fn load_a(batch: u32, row: u32, k: u32) -> vec4<f32> {
  return lanes_a(batch, row, k);
}
fn write_y(at: u32, count: u32, v: vec4<f32>) {
  lanes_y(at, count, v);
}
fn activate(x: f32) -> f32 {
  return x;
}
fn fetch(g: u32, i: u32) -> Item {
  return fetch_units(g, i);
}
fn widen(item: Item, j: u32) -> mat4x4<f32> {
  return widen_q8(item, j);
}
fn join_few(i: u32, row: u32, own: vec4<f32>) -> vec4<f32> {
  return tree_few(i, row, own);
}
// end hooks

fn place_a(batch: u32, row: u32, k: u32) -> u32 {
  return row * K + k;
}

fn place_y(batch: u32, row: u32) -> u32 {
  return row * N;
}

fn load_b(batch: u32, column: u32, k: u32) -> vec4<f32> {
  let inside = (column < N) & (k < K);
  return select(vec4<f32>(), weights(select(0u, column, inside), select(0u, k, inside)), inside);
}

@compute @workgroup_size(THREADS_X, THREADS_Y)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>
) {
  gemm(group.x + group.y * groups.x, local.x, local.y);
}

@compute @workgroup_size(64)
fn small(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  gemm_small((group.x + group.y * groups.x) * 64u + local);
}

// What is read at once of the four rows from 4 g on: a vector of each, or of integers one of all.
struct Item { first: vec4<u32>, second: vec4<u32>, third: vec4<u32>, fourth: vec4<u32> }

fn fetch_units(g: u32, i: u32) -> Item {
  return Item(b_vectors[g * ITEMS + i], vec4<u32>(), vec4<u32>(), vec4<u32>());
}

fn row_of(g: u32, lane: u32) -> u32 {
  return min(4u * g + lane, N - 1u);
}

// Halves, where K is a multiple of eight.
fn fetch_halves(g: u32, i: u32) -> Item {
  return Item(
    b_vectors[row_of(g, 0u) * ITEMS + i],
    b_vectors[row_of(g, 1u) * ITEMS + i],
    b_vectors[row_of(g, 2u) * ITEMS + i],
    b_vectors[row_of(g, 3u) * ITEMS + i]
  );
}

// Elements as f32.
fn fetch_lanes(g: u32, i: u32) -> Item {
  return Item(
    bitcast<vec4<u32>>(weights(row_of(g, 0u), 4u * i)),
    bitcast<vec4<u32>>(weights(row_of(g, 1u), 4u * i)),
    bitcast<vec4<u32>>(weights(row_of(g, 2u), 4u * i)),
    bitcast<vec4<u32>>(weights(row_of(g, 3u), 4u * i))
  );
}

// The j-th vectors of an item, a row in each column.
fn widen_q8(item: Item, j: u32) -> mat4x4<f32> {
  let v = item.first;
  return mat4x4<f32>(integers_q8(v.x), integers_q8(v.y), integers_q8(v.z), integers_q8(v.w));
}

fn widen_q4(item: Item, j: u32) -> mat4x4<f32> {
  let v = item.first >> vec4<u32>(4u * j);
  return mat4x4<f32>(integers_q4(v.x), integers_q4(v.y), integers_q4(v.z), integers_q4(v.w));
}

fn widen_q4m(item: Item, j: u32) -> mat4x4<f32> {
  let v = item.first >> vec4<u32>(4u * j);
  return mat4x4<f32>(integers_q4m(v.x), integers_q4m(v.y), integers_q4m(v.z), integers_q4m(v.w));
}

fn half_of(v: vec4<u32>, j: u32) -> vec4<f32> {
  return widened_words(select(v.xy, v.zw, j == 1u));
}

fn widen_halves(item: Item, j: u32) -> mat4x4<f32> {
  return mat4x4<f32>(half_of(item.first, j), half_of(item.second, j), half_of(item.third, j), half_of(item.fourth, j));
}

fn widen_lanes(item: Item, j: u32) -> mat4x4<f32> {
  return mat4x4<f32>(
    bitcast<vec4<f32>>(item.first),
    bitcast<vec4<f32>>(item.second),
    bitcast<vec4<f32>>(item.third),
    bitcast<vec4<f32>>(item.fourth)
  );
}

@compute @workgroup_size(LANES)
fn few(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let g = group.x + group.y * groups.x;
  if (g >= (N + 3u) / 4u) {
    return;
  }
  var sums: array<vec4<f32>, M>;
  // As many steps for all invocations, so that what they read can be on its way at once.
  for (var step = 0u; step < STEPS; step++) {
    let i = step * LANES + local;
    if (ITEMS % LANES != 0u && i >= ITEMS) {
      break;
    }
    let item = fetch(g, i);
    var scale = vec4<f32>(1.0);
    var minimum = vec4<f32>();
    if (SCALED) {
      scale = factors(SCALES, (g * ITEMS + i) / UNIT);
    }
    if (SHIFTED) {
      minimum = factors(MINIMUMS, (g * ITEMS + i) / UNIT);
    }
    for (var j = 0u; j < VECTORS; j++) {
      let w = widen(item, j);
      for (var row = 0u; row < M; row++) {
        let v = load_a(0u, row, 4u * (i * VECTORS + j));
        sums[row] = fma(v * w, scale, sums[row]);
        if (SHIFTED) {
          sums[row] = fma(vec4<f32>((v.x + v.y) + (v.z + v.w)), minimum, sums[row]);
        }
      }
    }
  }
  for (var row = 0u; row < M; row++) {
    let total = join_few(local, row, sums[row]);
    if (local == 0u) {
      gemm_store_row(0u, 0u, row, 4u * g, total);
    }
  }
}

var<workgroup> few_sums: array<vec4<f32>, LANES>;

// The sum of what all invocations have of a row of y, for the first of them.
fn tree_few(i: u32, row: u32, own: vec4<f32>) -> vec4<f32> {
  few_sums[i] = own;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (i < half) {
      few_sums[i] += few_sums[i + half];
    }
  }
  let sum = few_sums[i];
  workgroupBarrier();
  return sum;
}

const MOST_SUBGROUPS: u32 = (LANES + SUBGROUP_SIZE - 1u) / SUBGROUP_SIZE;
// Sums of four that a workgroup makes.
const JOINED: u32 = M;

var<workgroup> few_parts: array<vec4<f32>, JOINED * MOST_SUBGROUPS>;

fn subgroup_few(i: u32, row: u32, own: vec4<f32>) -> vec4<f32> {
  let size = subgroupAdd(1u);
  var sum = subgroupAdd(own);
  if (SUBGROUP_SIZE < LANES) {
    let first = row * MOST_SUBGROUPS;
    if (i % size == 0u) {
      few_parts[first + i / size] = sum;
    }
    workgroupBarrier();
    if (i == 0u) {
      for (var j = 1u; j < LANES / size; j++) {
        sum += few_parts[first + j];
      }
    }
  }
  return sum;
}

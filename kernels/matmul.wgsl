// matmul(a, b, bias?) -> y: y[batch, M, N] = activation(op(a) op(b) + bias[N]); bindings a, b, bias, y in this order.
// main: the tiled product of gemm.wgsl. A and B are read with strides, of which one is 1 and is the direction of vectors.
// small: 4 x 4 elements in each invocation, for many small matrices, and for adapters that are programs on the CPU.
// dots, columns: the same for M = 1; N = 1 becomes that by exchanging a and b. Every element of b is read once, so what counts
//   is that all invocations read neighbouring words: in `dots` 64 run along k for four columns (B_ALONG_K), in `columns` 8 stand
//   along columns, four for each, and 32 along k. A tree in workgroup memory adds their sums (tree_*), or subgroups do
//   first (subgroup_*), in an order that depends on shapes and the size of subgroups only.
// Hooks choose that, and how operands are read and y is written: see gemm.wgsl.

const BATCH: u32 = 1;
const M: u32 = 1;
const N: u32 = 1;
const K: u32 = 1;
// Elements from batch to batch (0: shared), row to row, column to column and k to k.
const A_BATCH: u32 = 0;
const A_ROW: u32 = 1;
const A_K: u32 = 1;
const B_BATCH: u32 = 0;
const B_COLUMN: u32 = 1;
const B_K: u32 = 1;

// See gemm.wgsl.
const SPLITS: u32 = 1;
const CHUNK: u32 = 16;
const THREADS_X: u32 = 8;
const THREADS_Y: u32 = 8;
const ROWS: u32 = 4;
const COLUMNS: u32 = 4;
const TILE_K: u32 = 16;
const A_ALONG_K: bool = true;
const B_ALONG_K: bool = false;
const ELEMENTS: u32 = 1;
const HAS_BIAS: bool = false;
const BIAS_STRIDE: u32 = 0;
const GAPS: bool = false;

// From one column's bias to the next.
const BIAS_STEP: u32 = 1;
// The fewest invocations of a subgroup. They are taken to be neighbours.
const SUBGROUP_SIZE: u32 = 4;

@group(0) @binding(0) var<storage, read> a_lanes: array<f32>;
@group(0) @binding(0) var<storage, read> a_vectors: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b_lanes: array<f32>;
@group(0) @binding(1) var<storage, read> b_vectors: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(2) var<storage, read> bias_vectors: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y_lanes: array<f32>;
@group(0) @binding(3) var<storage, read_write> y_vectors: array<vec4<f32>>;

// hooks
fn load_a(batch: u32, row: u32, k: u32) -> vec4<f32> {
  return lanes_a(batch, row, k);
}
fn load_b(batch: u32, column: u32, k: u32) -> vec4<f32> {
  return lanes_b(batch, column, k);
}
fn write_y(at: u32, count: u32, v: vec4<f32>) {
  lanes_y(at, count, v);
}
fn activate(x: f32) -> f32 {
  return x;
}
fn join_dots(i: u32, own: vec4<f32>) -> vec4<f32> {
  return tree_dots(i, own);
}
fn join_columns(i: u32, own: vec4<f32>) -> vec4<f32> {
  return tree_columns(i, own);
}
// end hooks

fn place_a(batch: u32, row: u32, k: u32) -> u32 {
  return batch * A_BATCH + row * A_ROW + k * A_K;
}

fn place_y(batch: u32, row: u32) -> u32 {
  return (batch * M + row) * N;
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

// Four outputs from column `first` on; the place of the only row is that of the batch.
fn store_run(batch: u32, split: u32, first: u32, sums: vec4<f32>) {
  var v = sums;
  if (SPLITS == 1u) {
    if (HAS_BIAS) {
      let last = (N - 1u) * BIAS_STEP;
      let at = first * BIAS_STEP;
      v += vec4<f32>(bias[at], bias[min(at + BIAS_STEP, last)], bias[min(at + 2u * BIAS_STEP, last)], bias[min(at + 3u * BIAS_STEP, last)]);
    }
    v = activate_vector(v);
  }
  write_y(split * ELEMENTS + batch * N + first, N - first, v);
}

var<workgroup> dot_sums: array<vec4<f32>, 64>;

// The sum of what all invocations have, for the first of them.
fn tree_dots(i: u32, own: vec4<f32>) -> vec4<f32> {
  dot_sums[i] = own;
  for (var half = 32u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (i < half) {
      dot_sums[i] += dot_sums[i + half];
    }
  }
  return dot_sums[i];
}

fn subgroup_dots(i: u32, own: vec4<f32>) -> vec4<f32> {
  let size = subgroupAdd(1u);
  var sum = subgroupAdd(own);
  if (SUBGROUP_SIZE < 64u) {
    if (i % size == 0u) {
      dot_sums[i / size] = sum;
    }
    workgroupBarrier();
    if (i == 0u) {
      for (var j = 1u; j < 64u / size; j++) {
        sum += dot_sums[j];
      }
    }
  }
  return sum;
}

@compute @workgroup_size(64)
fn dots(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let g = group.x + group.y * groups.x;
  if (g >= (N + 3u) / 4u * SPLITS * BATCH) {
    return;
  }
  let first = g % ((N + 3u) / 4u) * 4u;
  let split = g / ((N + 3u) / 4u) % SPLITS;
  let batch = g / ((N + 3u) / 4u * SPLITS);
  let end = min(split * CHUNK + CHUNK, K);
  var sum = vec4<f32>();
  for (var k = split * CHUNK + 4u * local; k < end; k += 256u) {
    let v = load_a(batch, 0u, k);
    sum += vec4<f32>(
      dot(v, load_b(batch, first, k)),
      dot(v, load_b(batch, first + 1u, k)),
      dot(v, load_b(batch, first + 2u, k)),
      dot(v, load_b(batch, first + 3u, k))
    );
  }
  let total = join_dots(local, sum);
  if (local == 0u) {
    store_run(batch, split, first, total);
  }
}

var<workgroup> column_sums: array<vec4<f32>, 256>;

// The sum of what every eighth invocation from the i-th on has, for the first eight.
fn tree_columns(i: u32, own: vec4<f32>) -> vec4<f32> {
  column_sums[i] = own;
  for (var half = 128u; half > 4u; half /= 2u) {
    workgroupBarrier();
    if (i < half) {
      column_sums[i] += column_sums[i + half];
    }
  }
  return column_sums[i];
}

fn subgroup_columns(i: u32, own: vec4<f32>) -> vec4<f32> {
  let size = subgroupAdd(1u);
  var sum = own;
  for (var mask = 8u; mask < size; mask *= 2u) {
    sum += subgroupShuffleXor(sum, mask);
  }
  // Eight sums are left of each run of as many invocations.
  let run = max(size, 8u);
  if (i % run < 8u) {
    column_sums[i / run * 8u + i % run] = sum;
  }
  workgroupBarrier();
  if (i < 8u) {
    for (var j = 1u; j < 256u / run; j++) {
      sum += column_sums[j * 8u + i];
    }
  }
  return sum;
}

@compute @workgroup_size(8, 32)
fn columns(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>
) {
  let g = group.x + group.y * groups.x;
  if (g >= (N + 31u) / 32u * SPLITS * BATCH) {
    return;
  }
  let first = g % ((N + 31u) / 32u) * 32u + local.x * 4u;
  let split = g / ((N + 31u) / 32u) % SPLITS;
  let batch = g / ((N + 31u) / 32u * SPLITS);
  let end = min(split * CHUNK + CHUNK, K);
  var sum = vec4<f32>();
  for (var k = split * CHUNK + local.y; k < end; k += 32u) {
    sum = fma(vec4<f32>(a_lanes[batch * A_BATCH + k]), load_b(batch, first, k), sum);
  }
  let i = local.y * 8u + local.x;
  let total = join_columns(i, sum);
  if (i < 8u && first < N) {
    store_run(batch, split, first, total);
  }
}

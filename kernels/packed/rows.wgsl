// Rows of a matrix in few bits (weights.wgsl), as f32. An invocation makes four elements.
//
// gather  b, index i32[COUNT] -> y[COUNT, K]: an index outside [0, N) is clamped.
// unpack  b -> y[N, K]
// turned  b -> y[K, N]: neighbours make the same elements of neighbouring rows.

const COUNT: u32 = 1;
const THREADS: u32 = 256;
const VECTORS: u32 = (K + 3u) / 4u;

@group(0) @binding(0) var<storage, read_write> y_lanes: array<f32>;
@group(0) @binding(0) var<storage, read_write> y_vectors: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> index: array<i32>;

// hooks
fn weights(row: u32, k: u32) -> vec4<f32> {
  return weights_lanes(row, k);
}
fn widened(word: u32) -> f32 {
  return half_f16(word);
}
fn write_y(at: u32, count: u32, v: vec4<f32>) {
  lanes_y(at, count, v);
}
// end hooks

@compute @workgroup_size(THREADS)
fn gather(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = (id.x + id.y * groups.x) * THREADS + local;
  if (i >= COUNT * VECTORS) {
    return;
  }
  let at = cell_of(i, VECTORS);
  let k = at.y * 4u;
  write_y(at.x * K + k, K - k, weights(min(u32(max(index[at.x], 0)), N - 1u), k));
}

@compute @workgroup_size(THREADS)
fn unpack(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = (id.x + id.y * groups.x) * THREADS + local;
  if (i >= N * VECTORS) {
    return;
  }
  let at = cell_of(i, VECTORS);
  let k = at.y * 4u;
  write_y(at.x * K + k, K - k, weights(at.x, k));
}

@compute @workgroup_size(THREADS)
fn turned(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = (id.x + id.y * groups.x) * THREADS + local;
  if (i >= N * VECTORS) {
    return;
  }
  let at = cell_of(i, N);
  let v = weights(at.y, at.x * 4u);
  for (var j = 0u; j < min(4u, K - at.x * 4u); j++) {
    y_lanes[(at.x * 4u + j) * N + at.y] = v[j];
  }
}

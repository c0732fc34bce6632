// What follows a product whose k was split: y[SIZE] = activation(bias + the partial sums of `parts`[SPLITS, SIZE], in order). y's last
// dimension has N elements, as many as bias. One element for each invocation; `vectors`: four, where N is a multiple of four.

const SIZE: u32 = 1;
const N: u32 = 1;
const SPLITS: u32 = 1;
const HAS_BIAS: bool = false;

@group(0) @binding(0) var<storage, read> parts: array<f32>;
@group(0) @binding(1) var<storage, read> bias: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;
@group(0) @binding(0) var<storage, read> part_vectors: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> bias_vectors: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> result_vectors: array<vec4<f32>>;

// hooks
fn activate(x: f32) -> f32 {
  return x;
}
// end hooks

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = (group.x + group.y * groups.x) * 64u + local;
  if (i >= SIZE) {
    return;
  }
  var sum = 0.0;
  if (HAS_BIAS) {
    sum = bias[i % N];
  }
  for (var part = 0u; part < SPLITS; part++) {
    sum += parts[part * SIZE + i];
  }
  result[i] = activate(sum);
}

@compute @workgroup_size(64)
fn vectors(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32
) {
  let i = (group.x + group.y * groups.x) * 64u + local;
  if (i >= SIZE / 4u) {
    return;
  }
  var sum = vec4<f32>();
  if (HAS_BIAS) {
    sum = bias_vectors[i % (N / 4u)];
  }
  for (var part = 0u; part < SPLITS; part++) {
    sum += part_vectors[part * (SIZE / 4u) + i];
  }
  result_vectors[i] = activate_vector(sum);
}

// What products of one input may begin with: the mean and deviation of each of its rows, which every workgroup makes for itself. A row has
// ITEMS items of VECTORS vectors, along which LANES invocations stand, ACROSS times. Files that have this have load_a and join_few.

const NORMALIZED: bool = false;
const CENTERED: bool = false;
const EPSILON: f32 = 0.0;
const ACROSS: u32 = 1;

var<workgroup> row_totals: array<f32, 1>;

// The sum of what all invocations have, for all of them.
fn total_of(local: u32, own: vec4<f32>) -> f32 {
  let sum = join_few(local, 0u, own);
  if (local == 0u) {
    row_totals[0] = (sum.x + sum.y) + (sum.z + sum.w);
  }
  workgroupBarrier();
  let all = row_totals[0];
  workgroupBarrier();
  return all;
}

// Of a row: its mean, the mean that what is left of elements has by rounding (see norm.wgsl), and one over the deviation.
fn facts_of(row: u32, local: u32) -> vec3<f32> {
  var own = vec4<f32>();
  for (var i = local / ACROSS; i < ITEMS; i += LANES) {
    for (var j = 0u; j < VECTORS; j++) {
      own += load_a(0u, row, 4u * (i * VECTORS + j));
    }
  }
  let mean = total_of(local, own) * (1.0 / f32(K));
  var left = vec4<f32>();
  var squares = vec4<f32>();
  for (var i = local / ACROSS; i < ITEMS; i += LANES) {
    for (var j = 0u; j < VECTORS; j++) {
      let d = load_a(0u, row, 4u * (i * VECTORS + j)) - mean;
      left += d;
      squares = fma(d, d, squares);
    }
  }
  let rest = total_of(local, left) * (1.0 / f32(K));
  let variance = max(total_of(local, squares) * (1.0 / f32(K)) - rest * rest, 0.0);
  return vec3<f32>(mean, rest, 1.0 / sqrt(variance + EPSILON));
}

// Vector `at` of a row of which this is known, normalized.
fn normal_of(facts: vec3<f32>, v: vec4<f32>, at: u32) -> vec4<f32> {
  return (v - facts.x - facts.y) * facts.z * gamma_of(at) + beta_of(at);
}

// Of the sum of squares of a row whose mean counts as 0: what its products are multiplied by.
fn factor_of(square: vec4<f32>) -> f32 {
  return 1.0 / sqrt(((square.x + square.y) + (square.z + square.w)) * (1.0 / f32(K)) + EPSILON);
}

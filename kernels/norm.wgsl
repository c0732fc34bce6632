// layerNorm and its gradient over the last axis of [ROWS, COLS]; results are the first bindings, then those that may be absent.
//
// layerNorm      x, gamma?, beta? -> y, mean?[ROWS], rstd?[ROWS]
// layerNormGrad  dy, x, gamma?, mean, rstd -> dx
//
// A row is the work of LANES invocations, a power of two, each with every LANES-th element; a tree in workgroup memory joins their
// sums. The variance is of distances from the mean: a sum of squares less the square of the sum would cancel. Where CENTERED is
// false the mean is taken to be 0.

const ROWS: u32 = 1;
const COLS: u32 = 1;
const LANES: u32 = 1;
const EPSILON: f32 = 0.0;
const CENTERED: bool = true;
const HAS_GAMMA: bool = true;
const HAS_BETA: bool = true;
const HAS_MEAN: bool = true;
const HAS_RSTD: bool = true;

const THREADS: u32 = 256;
const GROUP_ROWS: u32 = THREADS / LANES;

@group(0) @binding(0) var<storage, read_write> result: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> gamma: array<f32>;
@group(0) @binding(3) var<storage, read> beta: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> mean_out: array<f32>;
@group(0) @binding(4) var<storage, read> mean_in: array<f32>;
@group(0) @binding(5) var<storage, read_write> rstd_out: array<f32>;
@group(0) @binding(5) var<storage, read> rstd_in: array<f32>;

var<workgroup> sums: array<f32, THREADS>;

// An invocation's place in its row. Rows past the end are computed as the last one and not stored.
struct Place { row: u32, lane: u32, first: u32, inside: bool }

fn place_of(group: u32, local: u32) -> Place {
  let row = min(group * GROUP_ROWS + local / LANES, ROWS - 1u);
  return Place(row, local % LANES, row * COLS, group * GROUP_ROWS + local / LANES < ROWS);
}

// The sum of what a row's invocations have.
fn row_sum(p: Place, local: u32, own: f32) -> f32 {
  sums[local] = own;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (p.lane < half) {
      sums[local] += sums[local + half];
    }
  }
  workgroupBarrier();
  let sum = sums[local - p.lane];
  workgroupBarrier();
  return sum;
}

fn gamma_at(i: u32) -> f32 {
  if (HAS_GAMMA) {
    return gamma[i];
  }
  return 1.0;
}

@compute @workgroup_size(THREADS)
fn layerNorm(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let p = place_of(id.x + id.y * groups.x, local);
  var mean = 0.0;
  if (CENTERED) {
    var own = 0.0;
    for (var i = p.lane; i < COLS; i += LANES) {
      own += x[p.first + i];
    }
    mean = row_sum(p, local, own) * (1.0 / f32(COLS));
  }
  var squares = 0.0;
  for (var i = p.lane; i < COLS; i += LANES) {
    let d = x[p.first + i] - mean;
    squares += d * d;
  }
  let rstd = 1.0 / sqrt(row_sum(p, local, squares) * (1.0 / f32(COLS)) + EPSILON);
  if (!p.inside) {
    return;
  }
  for (var i = p.lane; i < COLS; i += LANES) {
    var y = (x[p.first + i] - mean) * rstd * gamma_at(i);
    if (HAS_BETA) {
      y += beta[i];
    }
    result[p.first + i] = y;
  }
  if (p.lane == 0u) {
    if (HAS_MEAN) {
      mean_out[p.row] = mean;
    }
    if (HAS_RSTD) {
      rstd_out[p.row] = rstd;
    }
  }
}

// dx = rstd (g - mean(g) - z mean(g z)) with g = dy gamma and z = (x - mean) rstd.
@compute @workgroup_size(THREADS)
fn layerNormGrad(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let p = place_of(id.x + id.y * groups.x, local);
  let mean = mean_in[p.row];
  let rstd = rstd_in[p.row];
  var own_sum = 0.0;
  var own_dot = 0.0;
  for (var i = p.lane; i < COLS; i += LANES) {
    let g = dy[p.first + i] * gamma_at(i);
    own_sum += g;
    own_dot += g * (x[p.first + i] - mean);
  }
  var shift = 0.0;
  if (CENTERED) {
    shift = row_sum(p, local, own_sum) * (1.0 / f32(COLS)) * rstd;
  }
  let slope = row_sum(p, local, own_dot) * (1.0 / f32(COLS)) * rstd * rstd * rstd;
  if (p.inside) {
    for (var i = p.lane; i < COLS; i += LANES) {
      result[p.first + i] = dy[p.first + i] * gamma_at(i) * rstd - shift - (x[p.first + i] - mean) * slope;
    }
  }
}

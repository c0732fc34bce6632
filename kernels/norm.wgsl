// layerNorm and its gradient over the last axis of [ROWS, COLS]; results are the first bindings, then those that may be absent.
//
// layerNorm      x, gamma?, beta? -> y, mean?[ROWS], rstd?[ROWS]
// layerNormGrad  dy, x, gamma?, mean, rstd -> dx
//
// See rows.wgsl for how rows are shared. The variance is of distances from the mean: a sum of squares less the square of the sum would
// cancel. These distances have a mean of their own, what the rounding of the mean has left, which is subtracted in turn: of numbers near
// 10000 it is about 1/1000. Where CENTERED is false the mean is taken to be 0.

const ROWS: u32 = 1;
const COLS: u32 = 1;
const LANES: u32 = 1;
const EPSILON: f32 = 0.0;
const CENTERED: bool = true;
const HAS_GAMMA: bool = true;
const HAS_BETA: bool = true;
const HAS_MEAN: bool = true;
const HAS_RSTD: bool = true;

@group(0) @binding(0) var<storage, read_write> result: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> gamma: array<f32>;
@group(0) @binding(3) var<storage, read> beta: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> mean_out: array<f32>;
@group(0) @binding(4) var<storage, read> mean_in: array<f32>;
@group(0) @binding(5) var<storage, read_write> rstd_out: array<f32>;
@group(0) @binding(5) var<storage, read> rstd_in: array<f32>;

// hooks
fn join_sum(p: Place, local: u32, own: f32) -> f32 {
  return tree_sum(p, local, own);
}
// end hooks

fn gamma_at(i: u32) -> f32 {
  if (HAS_GAMMA) {
    return gamma[i];
  }
  return 1.0;
}

@compute @workgroup_size(ROW_THREADS)
fn layerNorm(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32
) {
  let p = place_of(id.x + id.y * groups.x, local);
  var mean = 0.0;
  if (CENTERED) {
    var own = vec2<f32>();
    for (var i = p.begin; i < p.end; i += LANES) {
      own = plus(p, own, i, x[i]);
    }
    mean = join_sum(p, local, own.x + own.y) * (1.0 / f32(COLS));
  }
  var left = 0.0;
  var squares = vec2<f32>();
  for (var i = p.begin; i < p.end; i += LANES) {
    let d = x[i] - mean;
    left += d;
    squares = plus(p, squares, i, d * d);
  }
  var rest = 0.0;
  if (CENTERED) {
    rest = join_sum(p, local, left) * (1.0 / f32(COLS));
  }
  let rstd = 1.0 / sqrt(max(join_sum(p, local, squares.x + squares.y) * (1.0 / f32(COLS)) - rest * rest, 0.0) + EPSILON);
  for (var i = p.begin; i < p.end; i += LANES) {
    var y = (x[i] - mean - rest) * rstd * gamma_at(i - p.first);
    if (HAS_BETA) {
      y += beta[i - p.first];
    }
    result[i] = y;
  }
  if (is_first(p)) {
    if (HAS_MEAN) {
      mean_out[p.row] = mean + rest;
    }
    if (HAS_RSTD) {
      rstd_out[p.row] = rstd;
    }
  }
}

// dx = rstd (g - mean(g) - z mean(g z)) with g = dy gamma and z = (x - mean) rstd.
@compute @workgroup_size(ROW_THREADS)
fn layerNormGrad(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32
) {
  let p = place_of(id.x + id.y * groups.x, local);
  let mean = mean_in[p.row];
  let rstd = rstd_in[p.row];
  var own_sum = 0.0;
  var own_dot = 0.0;
  for (var i = p.begin; i < p.end; i += LANES) {
    let g = dy[i] * gamma_at(i - p.first);
    own_sum += g;
    own_dot += g * (x[i] - mean);
  }
  var shift = 0.0;
  if (CENTERED) {
    shift = join_sum(p, local, own_sum) * (1.0 / f32(COLS)) * rstd;
  }
  let slope = join_sum(p, local, own_dot) * (1.0 / f32(COLS)) * rstd * rstd * rstd;
  for (var i = p.begin; i < p.end; i += LANES) {
    result[i] = dy[i] * gamma_at(i - p.first) * rstd - shift - (x[i] - mean) * slope;
  }
}

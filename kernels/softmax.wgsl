// softmax, logSoftmax, their gradients and softmaxCrossEntropy over the last axis of [ROWS, COLS]; results are the first bindings.
//
// softmax, logSoftmax          x -> y
// softmaxGrad, logSoftmaxGrad  dy, y -> dx
// softmaxCrossEntropy          logits, labels -> loss?[ROWS], probs?: labels are i32 [ROWS] where SPARSE (clamped to [0, COLS)),
//                              else f32 [ROWS, COLS]. With m the row's maximum and s = sum exp(x - m), the loss is summed as
//                              labels (log s - (x - m)): m cancels, and with it the rounding that a large m would bring. A
//                              label of 0 adds nothing, even where the logit is -inf.
//
// See rows.wgsl for how rows are shared.
// The maximum is subtracted first, so that nothing overflows and the sum is at least 1. A NaN or +inf in a row makes the
// row NaN; -inf gives probability 0, and a row of nothing but -inf is NaN. The maximum is taken of integers that are
// ordered as the floats are, with NaN above all.

const ROWS: u32 = 1;
const COLS: u32 = 1;
const LANES: u32 = 1;
const SPARSE: bool = false;
const HAS_LOSS: bool = true;
const HAS_PROBS: bool = true;

const INFINITY_KEY: i32 = 0x7f800000;

@group(0) @binding(0) var<storage, read_write> result: array<f32>;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> saved: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> probs: array<f32>;

fn key_of(v: f32) -> i32 {
  let bits = bitcast<i32>(v);
  return select(select(bits, bits ^ 0x7fffffff, bits < 0), 0x7fffffff, f32_isnan(v));
}

// hooks
fn join_max(p: Place, local: u32, own: i32) -> i32 {
  return tree_max(p, local, own);
}
fn join_sum(p: Place, local: u32, own: f32) -> f32 {
  return tree_sum(p, local, own);
}
// end hooks

// The row's largest element; NaN where that is NaN or infinite.
fn row_max(p: Place, local: u32) -> f32 {
  var key = -0x7fffffff;
  for (var i = p.begin; i < p.end; i += LANES) {
    key = max(key, key_of(logits[i]));
  }
  let largest = join_max(p, local, key);
  let finite = largest < INFINITY_KEY && largest > ~INFINITY_KEY;
  return f32_bits(select(0x7fc00000u, bitcast<u32>(select(largest, largest ^ 0x7fffffff, largest < 0)), finite));
}

fn exp_sum(p: Place, local: u32, largest: f32) -> f32 {
  var sum = vec2<f32>();
  for (var i = p.begin; i < p.end; i += LANES) {
    sum = plus(p, sum, i, f32_exp(logits[i] - largest));
  }
  return join_sum(p, local, sum.x + sum.y);
}

@compute @workgroup_size(ROW_THREADS)
fn softmax(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let p = place_of(id.x + id.y * groups.x, local);
  let largest = row_max(p, local);
  let scale = 1.0 / exp_sum(p, local, largest);
  for (var i = p.begin; i < p.end; i += LANES) {
    result[i] = f32_exp(logits[i] - largest) * scale;
  }
}

@compute @workgroup_size(ROW_THREADS)
fn logSoftmax(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32
) {
  let p = place_of(id.x + id.y * groups.x, local);
  let largest = row_max(p, local);
  let log_sum = f32_log(exp_sum(p, local, largest));
  for (var i = p.begin; i < p.end; i += LANES) {
    result[i] = (logits[i] - largest) - log_sum;
  }
}

@compute @workgroup_size(ROW_THREADS)
fn softmaxGrad(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32
) {
  let p = place_of(id.x + id.y * groups.x, local);
  var own = vec2<f32>();
  for (var i = p.begin; i < p.end; i += LANES) {
    own = plus(p, own, i, dy[i] * saved[i]);
  }
  let dot = join_sum(p, local, own.x + own.y);
  for (var i = p.begin; i < p.end; i += LANES) {
    result[i] = (dy[i] - dot) * saved[i];
  }
}

@compute @workgroup_size(ROW_THREADS)
fn logSoftmaxGrad(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32
) {
  let p = place_of(id.x + id.y * groups.x, local);
  var own = vec2<f32>();
  for (var i = p.begin; i < p.end; i += LANES) {
    own = plus(p, own, i, dy[i]);
  }
  let total = join_sum(p, local, own.x + own.y);
  for (var i = p.begin; i < p.end; i += LANES) {
    result[i] = dy[i] - f32_exp(saved[i]) * total;
  }
}

@compute @workgroup_size(ROW_THREADS)
fn softmaxCrossEntropy(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32
) {
  let p = place_of(id.x + id.y * groups.x, local);
  let largest = row_max(p, local);
  let sum = exp_sum(p, local, largest);
  if (HAS_PROBS) {
    for (var i = p.begin; i < p.end; i += LANES) {
      probs[i] = f32_exp(logits[i] - largest) * (1.0 / sum);
    }
  }
  if (!HAS_LOSS) {
    return;
  }
  let log_sum = f32_log(sum);
  var loss = 0.0;
  if (SPARSE) {
    let label = min(u32(max(bitcast<i32>(labels[p.row]), 0)), COLS - 1u);
    loss = log_sum - (logits[p.first + label] - largest);
  } else {
    for (var i = p.begin; i < p.end; i += LANES) {
      let label = bitcast<f32>(labels[i]);
      if ((bitcast<u32>(label) & 0x7fffffffu) != 0u) {
        loss += label * (log_sum - (logits[i] - largest));
      }
    }
    loss = join_sum(p, local, loss);
  }
  if (is_first(p)) {
    result[p.row] = loss;
  }
}

// softmax, logSoftmax, their gradients and softmaxCrossEntropy over the last axis of [ROWS, COLS]; results are the first bindings.
//
// softmax, logSoftmax          x -> y
// softmaxGrad, logSoftmaxGrad  dy, y -> dx
// softmaxCrossEntropy          logits, labels -> loss?[ROWS], probs?: labels are i32 [ROWS] where SPARSE (clamped to [0, COLS)),
//                              else f32 [ROWS, COLS]. With m the row's maximum and s = sum exp(x - m), the loss is summed as
//                              labels (log s - (x - m)): m cancels, and with it the rounding that a large m would bring. A
//                              label of 0 adds nothing, even where the logit is -inf.
//
// A row is the work of LANES invocations, a power of two, each with every LANES-th element. A tree in workgroup memory joins them (tree_max,
// tree_sum), or, where there are subgroups, these do first (subgroup_max, subgroup_sum): hooks choose.
// The maximum is subtracted first, so that nothing overflows and the sum is at least 1. A NaN or +inf in a row makes the
// row NaN; -inf gives probability 0, and a row of nothing but -inf is NaN. The maximum is taken of integers that are
// ordered as the floats are, with NaN above all.

const ROWS: u32 = 1;
const COLS: u32 = 1;
const LANES: u32 = 1;
const SPARSE: bool = false;
const HAS_LOSS: bool = true;
const HAS_PROBS: bool = true;

// The fewest invocations of a subgroup. They are taken to be neighbours.
const SUBGROUP_SIZE: u32 = 4;

const THREADS: u32 = 256;
const GROUP_ROWS: u32 = THREADS / LANES;
const INFINITY_KEY: i32 = 0x7f800000;

@group(0) @binding(0) var<storage, read_write> result: array<f32>;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> saved: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> probs: array<f32>;

var<workgroup> keys: array<i32, THREADS>;
var<workgroup> sums: array<f32, THREADS>;

// An invocation's place in its row. Rows past the end are computed as the last one and not stored.
struct Place { row: u32, lane: u32, first: u32, inside: bool }

fn place_of(group: u32, local: u32) -> Place {
  let row = group * GROUP_ROWS + local / LANES;
  return Place(row, local % LANES, min(row, ROWS - 1u) * COLS, row < ROWS);
}

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

// The largest of what a row's invocations have.
fn tree_max(p: Place, local: u32, own: i32) -> i32 {
  keys[local] = own;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (p.lane < half) {
      keys[local] = max(keys[local], keys[local + half]);
    }
  }
  workgroupBarrier();
  return keys[local - p.lane];
}

fn subgroup_max(p: Place, local: u32, own: i32) -> i32 {
  let size = subgroupAdd(1u);
  var largest = own;
  for (var mask = 1u; mask < min(LANES, size); mask *= 2u) {
    largest = max(largest, subgroupShuffleXor(largest, mask));
  }
  if (LANES > SUBGROUP_SIZE) {
    if (local % size == 0u) {
      keys[local / size] = largest;
    }
    workgroupBarrier();
    let first = (local - p.lane) / size;
    for (var i = 0u; i < LANES / size; i++) {
      largest = max(largest, keys[first + i]);
    }
  }
  return largest;
}

// The sum of what a row's invocations have.
fn tree_sum(p: Place, local: u32, own: f32) -> f32 {
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

fn subgroup_sum(p: Place, local: u32, own: f32) -> f32 {
  let size = subgroupAdd(1u);
  var sum = own;
  for (var mask = 1u; mask < min(LANES, size); mask *= 2u) {
    sum += subgroupShuffleXor(sum, mask);
  }
  if (LANES > SUBGROUP_SIZE) {
    if (local % size == 0u) {
      sums[local / size] = sum;
    }
    workgroupBarrier();
    if (LANES > size) {
      let first = (local - p.lane) / size;
      sum = sums[first];
      for (var i = 1u; i < LANES / size; i++) {
        sum += sums[first + i];
      }
    }
    workgroupBarrier();
  }
  return sum;
}

// The row's largest element; NaN where that is NaN or infinite.
fn row_max(p: Place, local: u32) -> f32 {
  var key = -0x7fffffff;
  for (var i = p.lane; i < COLS; i += LANES) {
    key = max(key, key_of(logits[p.first + i]));
  }
  let largest = join_max(p, local, key);
  let finite = largest < INFINITY_KEY && largest > ~INFINITY_KEY;
  return f32_bits(select(0x7fc00000u, bitcast<u32>(select(largest, largest ^ 0x7fffffff, largest < 0)), finite));
}

fn exp_sum(p: Place, local: u32, largest: f32) -> f32 {
  var sum = 0.0;
  for (var i = p.lane; i < COLS; i += LANES) {
    sum += f32_exp(logits[p.first + i] - largest);
  }
  return join_sum(p, local, sum);
}

@compute @workgroup_size(THREADS)
fn softmax(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let p = place_of(id.x + id.y * groups.x, local);
  let largest = row_max(p, local);
  let scale = 1.0 / exp_sum(p, local, largest);
  if (p.inside) {
    for (var i = p.lane; i < COLS; i += LANES) {
      result[p.first + i] = f32_exp(logits[p.first + i] - largest) * scale;
    }
  }
}

@compute @workgroup_size(THREADS)
fn logSoftmax(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let p = place_of(id.x + id.y * groups.x, local);
  let largest = row_max(p, local);
  let log_sum = f32_log(exp_sum(p, local, largest));
  if (p.inside) {
    for (var i = p.lane; i < COLS; i += LANES) {
      result[p.first + i] = (logits[p.first + i] - largest) - log_sum;
    }
  }
}

@compute @workgroup_size(THREADS)
fn softmaxGrad(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let p = place_of(id.x + id.y * groups.x, local);
  var own = 0.0;
  for (var i = p.lane; i < COLS; i += LANES) {
    own += dy[p.first + i] * saved[p.first + i];
  }
  let dot = join_sum(p, local, own);
  if (p.inside) {
    for (var i = p.lane; i < COLS; i += LANES) {
      result[p.first + i] = (dy[p.first + i] - dot) * saved[p.first + i];
    }
  }
}

@compute @workgroup_size(THREADS)
fn logSoftmaxGrad(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let p = place_of(id.x + id.y * groups.x, local);
  var own = 0.0;
  for (var i = p.lane; i < COLS; i += LANES) {
    own += dy[p.first + i];
  }
  let total = join_sum(p, local, own);
  if (p.inside) {
    for (var i = p.lane; i < COLS; i += LANES) {
      result[p.first + i] = dy[p.first + i] - f32_exp(saved[p.first + i]) * total;
    }
  }
}

@compute @workgroup_size(THREADS)
fn softmaxCrossEntropy(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let p = place_of(id.x + id.y * groups.x, local);
  let largest = row_max(p, local);
  let sum = exp_sum(p, local, largest);
  if (HAS_PROBS && p.inside) {
    for (var i = p.lane; i < COLS; i += LANES) {
      probs[p.first + i] = f32_exp(logits[p.first + i] - largest) * (1.0 / sum);
    }
  }
  if (!HAS_LOSS) {
    return;
  }
  let log_sum = f32_log(sum);
  var loss = 0.0;
  if (SPARSE) {
    let label = min(u32(max(bitcast<i32>(labels[min(p.row, ROWS - 1u)]), 0)), COLS - 1u);
    loss = log_sum - (logits[p.first + label] - largest);
  } else {
    for (var i = p.lane; i < COLS; i += LANES) {
      let label = bitcast<f32>(labels[p.first + i]);
      if ((bitcast<u32>(label) & 0x7fffffffu) != 0u) {
        loss += label * (log_sum - (logits[p.first + i] - largest));
      }
    }
    loss = join_sum(p, local, loss);
  }
  if (p.inside && p.lane == 0u) {
    result[p.row] = loss;
  }
}

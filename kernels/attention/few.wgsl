// Attention of few queries to many keys, as while text is written: what it computes stands in src/plan/kernels.ts. What counts is that keys
// and values are read once, many at a time, and that what a cache does not hold yet is not read.
//
// few    q, k, v, offset?, lengths? -> y, or with several SPLITS of the keys -> parts: what they add up to, largest score, total. A
//        workgroup has CHUNK keys of a head, and all ROWS queries that share it. X invocations share a key, and each VALUE_X-th a vector
//        of values.
// merge  parts, offset?, lengths? -> y: a workgroup makes a query, of the parts that see a key.

const SPLITS: u32 = 1;
const CHUNK: u32 = 64;
const FEW_THREADS: u32 = 64;
// A power of two, of no more invocations than a subgroup has.
const X: u32 = 1;
// A power of two that is at least the vectors of a row of values.
const VALUE_X: u32 = 1;
const MERGE_THREADS: u32 = 64;

const ROWS: u32 = TQ * GROUP;
const QUERIES: u32 = B * TQ * KV_HEADS * GROUP;
const VECTORS: u32 = DIM / 4u;
const VALUE_VECTORS: u32 = VALUE_DIM / 4u;
// Invocations that look through the scores of a query.
const ROW_LANES: u32 = 8;

@group(0) @binding(0) var<storage, read> queries: array<vec4<f32>>;
@group(0) @binding(0) var<storage, read> parts: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> keys: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> values: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> offsets: array<i32>;
@group(0) @binding(4) var<storage, read> lengths: array<i32>;
@group(0) @binding(5) var<storage, read_write> result: array<vec4<f32>>;

// hooks
fn position_of(b: u32) -> i32 {
  return position_fixed(b);
}
fn length_of(b: u32) -> i32 {
  return length_fixed(b);
}
fn join_lanes(own: f32) -> f32 {
  return lanes_alone(own);
}
// end hooks

fn position_fixed(b: u32) -> i32 {
  return i32(OFFSET);
}
fn position_given(b: u32) -> i32 {
  return clamp(offsets[b], -FARTHEST, FARTHEST);
}
fn length_fixed(b: u32) -> i32 {
  return i32(TK);
}
fn length_given(b: u32) -> i32 {
  return min(lengths[b], i32(TK));
}

fn lanes_alone(own: f32) -> f32 {
  return own;
}
fn lanes_shuffled(own: f32) -> f32 {
  var sum = own;
  for (var mask = 1u; mask < X; mask *= 2u) {
    sum += subgroupShuffleXor(sum, mask);
  }
  return sum;
}

// The keys that any query of a sequence sees.
fn seen_by_any(b: u32) -> vec2<i32> {
  return vec2(seen_by(b, 0u).x, seen_by(b, TQ - 1u).y);
}

fn query_place(b: u32, kv: u32, row: u32) -> u32 {
  return (b * TQ + row / GROUP) * (KV_HEADS * GROUP) + kv * GROUP + row % GROUP;
}

var<workgroup> rows: array<vec4<f32>, ROWS * VECTORS>;
var<workgroup> scores: array<f32, ROWS * CHUNK>;
var<workgroup> facts: array<vec2<f32>, ROWS * ROW_LANES>;
var<workgroup> shares: array<vec4<f32>, FEW_THREADS>;

@compute @workgroup_size(FEW_THREADS)
fn few(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let number = id.x + id.y * groups.x;
  if (number >= B * KV_HEADS * SPLITS) {
    return;
  }
  let split = number % SPLITS;
  let b = number / SPLITS / KV_HEADS;
  let kv = number / SPLITS % KV_HEADS;
  let any = seen_by_any(b);
  let first = i32(split * CHUNK);
  let begin = max(first, any.x);
  let end = min(first + i32(CHUNK), any.y);
  // One part alone writes zeros where nothing is seen; parts that see nothing are not read.
  if (begin >= end) {
    if (SPLITS == 1u) {
      for (var i = local; i < ROWS * VALUE_VECTORS; i += FEW_THREADS) {
        result[query_place(b, kv, i / VALUE_VECTORS) * VALUE_VECTORS + i % VALUE_VECTORS] = vec4<f32>();
      }
    }
    return;
  }

  for (var i = local; i < ROWS * VECTORS; i += FEW_THREADS) {
    rows[i] = SCALE * queries[query_place(b, kv, i / VECTORS) * VECTORS + i % VECTORS];
  }
  workgroupBarrier();

  // As many steps for all, so that what they read can be on its way at once: what is outside is read where something is.
  let x = local % X;
  for (var step = 0u; step < CHUNK; step += FEW_THREADS / X) {
    let n = first + i32(step + local / X);
    let at = ((b * TK + u32(clamp(n, begin, end - 1))) * KV_HEADS + kv) * VECTORS;
    var sums = array<f32, ROWS>();
    for (var d = x; d < VECTORS; d += X) {
      let key = keys[at + d];
      for (var r = 0u; r < ROWS; r++) {
        sums[r] += dot(rows[r * VECTORS + d], key);
      }
    }
    for (var r = 0u; r < ROWS; r++) {
      let sum = join_lanes(sums[r]);
      let seen = seen_by(b, r / GROUP);
      if (x == 0u && n < first + i32(CHUNK)) {
        scores[r * CHUNK + u32(n - first)] = select(f32_bits(0xff800000u), sum, n >= seen.x && n < seen.y);
      }
    }
  }
  workgroupBarrier();

  if (local < ROWS * ROW_LANES) {
    var largest = LOWEST;
    for (var j = local % ROW_LANES; j < CHUNK; j += ROW_LANES) {
      largest = max(largest, scores[local / ROW_LANES * CHUNK + j]);
    }
    facts[local].x = largest;
  }
  workgroupBarrier();
  if (local < ROWS * ROW_LANES) {
    let largest = largest_of(local / ROW_LANES);
    var total = 0.0;
    for (var j = local % ROW_LANES; j < CHUNK; j += ROW_LANES) {
      let at = local / ROW_LANES * CHUNK + j;
      let p = f32_exp(scores[at] - largest);
      scores[at] = p;
      total += p;
    }
    facts[local].y = total;
  }
  workgroupBarrier();

  let d = local % VALUE_X;
  let lane = local / VALUE_X;
  var sums: array<vec4<f32>, ROWS>;
  for (var j = lane; j < CHUNK; j += FEW_THREADS / VALUE_X) {
    let n = u32(clamp(first + i32(j), begin, end - 1));
    let v = values[((b * TK + n) * KV_HEADS + kv) * VALUE_VECTORS + min(d, VALUE_VECTORS - 1u)];
    for (var r = 0u; r < ROWS; r++) {
      sums[r] += scores[r * CHUNK + j] * v;
    }
  }
  for (var r = 0u; r < ROWS; r++) {
    shares[local] = sums[r];
    workgroupBarrier();
    if (local < VALUE_VECTORS) {
      var sum = shares[local];
      for (var other = VALUE_X + local; other < FEW_THREADS; other += VALUE_X) {
        sum += shares[other];
      }
      var total = 0.0;
      for (var i = 0u; i < ROW_LANES; i++) {
        total += facts[r * ROW_LANES + i].y;
      }
      let place = query_place(b, kv, r);
      if (SPLITS == 1u) {
        // Of values that are not seen there may be NaN.
        result[place * VALUE_VECTORS + local] = select(sum * share_of(total), vec4<f32>(), total == 0.0);
      } else {
        let part = split * QUERIES + place;
        result[part * VALUE_VECTORS + local] = sum;
        if (local == 0u) {
          result[SPLITS * QUERIES * VALUE_VECTORS + part] = vec4(largest_of(r), total, 0.0, 0.0);
        }
      }
    }
    workgroupBarrier();
  }
}

fn largest_of(row: u32) -> f32 {
  var largest = facts[row * ROW_LANES].x;
  for (var i = 1u; i < ROW_LANES; i++) {
    largest = max(largest, facts[row * ROW_LANES + i].x);
  }
  return largest;
}

var<workgroup> merged: array<vec4<f32>, MERGE_THREADS>;

@compute @workgroup_size(MERGE_THREADS)
fn merge(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let place = id.x + id.y * groups.x;
  if (place >= QUERIES) {
    return;
  }
  let any = seen_by_any(place / (TQ * KV_HEADS * GROUP));
  let begin = u32(max(any.x, 0)) / CHUNK;
  let end = (u32(max(any.y, 0)) + CHUNK - 1u) / CHUNK;
  // All at once: one read after another would take longer the longer the text is.
  var own = LOWEST;
  for (var s = begin + local; s < end; s += MERGE_THREADS) {
    own = max(own, parts[SPLITS * QUERIES * VALUE_VECTORS + s * QUERIES + place].x);
  }
  merged_totals[local] = own;
  for (var half = MERGE_THREADS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local < half) {
      merged_totals[local] = max(merged_totals[local], merged_totals[local + half]);
    }
  }
  workgroupBarrier();
  let largest = merged_totals[0];
  workgroupBarrier();
  var sum = vec4<f32>();
  var total = 0.0;
  let d = min(local % VALUE_X, VALUE_VECTORS - 1u);
  for (var s = begin + local / VALUE_X; s < end; s += MERGE_THREADS / VALUE_X) {
    let part = s * QUERIES + place;
    let fact = parts[SPLITS * QUERIES * VALUE_VECTORS + part];
    let factor = f32_exp(fact.x - largest);
    sum += factor * parts[part * VALUE_VECTORS + d];
    total += factor * fact.y;
  }
  merged[local] = sum;
  merged_totals[local] = total;
  workgroupBarrier();
  if (local < VALUE_VECTORS) {
    for (var other = VALUE_X + local; other < MERGE_THREADS; other += VALUE_X) {
      sum += merged[other];
      total += merged_totals[other];
    }
    result[place * VALUE_VECTORS + local] = select(sum * share_of(total), vec4<f32>(), total == 0.0);
  }
}

var<workgroup> merged_totals: array<f32, MERGE_THREADS>;

// Scaled dot-product attention: what it computes stands in src/plan/kernels.ts, how in tiles.wgsl. FlashAttention 2 (Dao 2023, arXiv
// 2307.08691): scores are made tile by tile, so that nothing of the size of all of them is kept.
//
// prepare  offset?, lengths?, key?, lse?, delta? -> facts: the words dropout starts from, position and length of each sequence, then
//          log-sum-exp and delta of each query. One buffer, because few may be bound.
// forward  q, k, v, mask?, facts? -> y, lse?, or with several SPLITS of the keys -> parts: sums so far, their maximum and total.
// combine  parts -> y, lse?

const HAS_LSE: bool = false;
const STREAM: u32 = 0;
// Parts of the keys, each of CHUNK, a multiple of COLUMNS.
const SPLITS: u32 = 1;
const CHUNK: u32 = 32;
const SEED_BLOCK: u32 = 0x80000008;

@group(0) @binding(0) var<storage, read> offsets: array<i32>;
@group(0) @binding(1) var<storage, read> lengths: array<i32>;
@group(0) @binding(2) var<storage, read> key: array<u32>;
@group(0) @binding(3) var<storage, read> lse_of: array<u32>;
@group(0) @binding(4) var<storage, read> delta_of: array<u32>;
@group(0) @binding(5) var<storage, read_write> prepared: array<u32>;

@group(0) @binding(0) var<storage, read> parts: array<f32>;

// hooks
fn first_row(place: u32, d: u32) -> vec4<f32> {
  return first_row_lanes(place, d);
}
fn second_row(place: u32, d: u32) -> vec4<f32> {
  return second_row_lanes(place, d);
}
fn first_column(place: u32, d: u32) -> vec4<f32> {
  return first_column_lanes(place, d);
}
fn second_column(place: u32, d: u32) -> vec4<f32> {
  return second_column_lanes(place, d);
}
fn join_rows(own: vec4<f32>, local: u32, largest: bool) -> vec4<f32> {
  return join_staged(own, local, largest);
}
// end hooks

@compute @workgroup_size(TILE_THREADS)
fn prepare(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = (id.x + id.y * groups.x) * TILE_THREADS + local;
  if (i == 0u && DROPS) {
    let words = philox(vec4(SEED_BLOCK, STREAM, key[2], key[3]), vec2(key[0], key[1]));
    prepared[0] = words.x;
    prepared[1] = words.y;
    prepared[2] = words.z;
    prepared[3] = words.w;
  }
  if (i < B) {
    if (HAS_OFFSET) {
      prepared[SEQUENCES_AT + 2u * i] = bitcast<u32>(clamp(offsets[i], -FARTHEST, FARTHEST));
    }
    if (HAS_LENGTHS) {
      prepared[SEQUENCES_AT + 2u * i + 1u] = bitcast<u32>(min(lengths[i], i32(TK)));
    }
  }
  if (HAS_LSE && i < B * HEADS * TQ) {
    let b = i / (HEADS * TQ);
    prepared[QUERIES_AT + 2u * i] = lse_of[i];
    prepared[QUERIES_AT + 2u * i + 1u] = delta_of[(b * TQ + i % TQ) * HEADS + i / TQ % HEADS];
  }
}

@compute @workgroup_size(TILE_THREADS)
fn forward(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let number = id.x + id.y * groups.x;
  if (number >= B * KV_HEADS * QUERY_TILES * PARTS * SPLITS) {
    return;
  }
  let split = number % SPLITS;
  let t = query_tile(number / SPLITS);
  let x = local % X;
  let y = local / X;
  let own = t.first + y * ROWS;
  let begin = max(t.columns.x - t.columns.x % i32(COLUMNS), i32(split * CHUNK));
  let end = select(t.columns.y, min(t.columns.y, i32(split * CHUNK + CHUNK)), SPLITS > 1u);

  var seen: array<vec2<i32>, ROWS>;
  for (var r = 0u; r < ROWS; r++) {
    if (own + r < QUERIES) {
      seen[r] = seen_by(t.b, (own + r) / GROUP);
    }
  }
  var sums: array<vec4<f32>, ROWS * MOST>;
  // Of each row, in fours, the largest score so far, and what the invocation has added up.
  var largest: array<vec4<f32>, ROW_FOURS>;
  var total: array<vec4<f32>, ROW_FOURS>;
  for (var f = 0u; f < ROW_FOURS; f++) {
    largest[f] = vec4(LOWEST);
  }
  for (var base = begin; base < end; base += i32(COLUMNS)) {
    var scores = products(false, t, base, local);
    let j = base + i32(4u * x);
    var next = largest;
    for (var r = 0u; r < ROWS; r++) {
      for (var i = 0u; i < 4u; i++) {
        scores[r][i] = score(t, own + r, seen[r], j + i32(i), scores[r][i]);
        next[r / 4u][r % 4u] = max(next[r / 4u][r % 4u], scores[r][i]);
      }
    }
    for (var f = 0u; f < ROW_FOURS; f++) {
      next[f] = join_rows(next[f], local, true);
    }
    for (var r = 0u; r < ROWS; r++) {
      let most = next[r / 4u][r % 4u];
      let shrunk = f32_exp(largest[r / 4u][r % 4u] - most);
      for (var c = 0u; c < WIDE; c++) {
        sums[r * MOST + c] *= shrunk;
      }
      var p = vec4<f32>();
      for (var i = 0u; i < 4u; i++) {
        p[i] = f32_exp(scores[r][i] - most);
      }
      total[r / 4u][r % 4u] = total[r / 4u][r % 4u] * shrunk + ((p.x + p.y) + (p.z + p.w));
      weights[weights_of(y, r) + x] = p * factors(t, own + r, j);
    }
    largest = next;
    accumulate(true, t, base, local, WIDE, &sums);
  }
  for (var f = 0u; f < ROW_FOURS; f++) {
    total[f] = join_rows(total[f], local, false);
  }

  for (var r = 0u; r < ROWS; r++) {
    let n = own + r;
    let most = largest[r / 4u][r % 4u];
    let all = total[r / 4u][r % 4u];
    if (n < QUERIES) {
      if (SPLITS > 1u) {
        let at = (split * (B * HEADS * TQ) + query_place(t, n)) * (VALUE_DIM + 2u);
        store(t, at, VALUE_DIM, x, r, WIDE, 1.0, &sums);
        if (x == 0u && t.part == 0u) {
          first_result[at + VALUE_DIM] = most;
          first_result[at + VALUE_DIM + 1u] = all;
        }
      } else {
        if (all == 0.0) {
          // Of values that are not seen there may be NaN.
          for (var c = 0u; c < WIDE; c++) {
            sums[r * MOST + c] = vec4<f32>();
          }
        }
        store(t, query_place(t, n) * VALUE_DIM, VALUE_DIM, x, r, WIDE, share_of(all), &sums);
        if (HAS_LSE && x == 0u && t.part == 0u) {
          second_result[query_number(t, n)] = lse(most, all);
        }
      }
    }
  }
}

fn lse(largest: f32, total: f32) -> f32 {
  return select(largest + f32_log(total), f32_bits(0x7f800000u), total == 0.0);
}

@compute @workgroup_size(TILE_THREADS)
fn combine(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = (id.x + id.y * groups.x) * TILE_THREADS + local;
  let place = i / VALUE_DIM;
  let d = i % VALUE_DIM;
  if (place >= B * TQ * HEADS) {
    return;
  }
  var largest = LOWEST;
  for (var s = 0u; s < SPLITS; s++) {
    largest = max(largest, parts[(s * (B * HEADS * TQ) + place) * (VALUE_DIM + 2u) + VALUE_DIM]);
  }
  var sum = 0.0;
  var total = 0.0;
  for (var s = 0u; s < SPLITS; s++) {
    let at = (s * (B * HEADS * TQ) + place) * (VALUE_DIM + 2u);
    let factor = f32_exp(parts[at + VALUE_DIM] - largest);
    sum += factor * parts[at + d];
    total += factor * parts[at + VALUE_DIM + 1u];
  }
  first_result[i] = select(sum * share_of(total), 0.0, total == 0.0);
  if (HAS_LSE && d == 0u) {
    let b = place / (TQ * HEADS);
    second_result[(b * HEADS + place % HEADS) * TQ + place / HEADS % TQ] = lse(largest, total);
  }
}

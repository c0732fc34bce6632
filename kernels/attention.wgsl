// Scaled dot-product attention and its gradient: what they compute stands in src/plan/kernels.ts. FlashAttention 2 (Dao 2023, arXiv
// 2307.08691): scores are made tile by tile, and again in the backward pass, so that nothing of the size of all scores is kept.
//
// prepare  offset?, lengths?, key?, lse?, delta? -> facts: the words dropout starts from, position and length of each sequence, then
//          log-sum-exp and delta of each query. One buffer, because few may be bound.
// forward  q, k, v, mask?, facts? -> y, lse?, or with several SPLITS of the keys -> parts: sums so far, their maximum and total.
// combine  parts -> y, lse?
// queries  q, dy, k, v, mask?, facts -> dq, dscore? (which holds zeros)
// keys     k, v, q, dy, mask?, facts -> dk, dv
//
// A workgroup of 8 x 16 invocations has a tile of 16 ROWS rows, which pass tiles of 32 columns: rows are queries and columns keys, in `keys`
// the other way round. Heads that share keys are one list of GROUP * TQ queries. An invocation has ROWS rows of four columns of each tile
// of scores, and of the results each eighth vector of four features. The order of additions depends on shapes alone.

const B: u32 = 1;
const TQ: u32 = 1;
const TK: u32 = 1;
const KV_HEADS: u32 = 1;
const GROUP: u32 = 1;
const DIM: u32 = 1;
const VALUE_DIM: u32 = 1;
const SCALE: f32 = 1;
const CAUSAL: bool = false;
const WINDOW: u32 = 0;
const OFFSET: u32 = 0;
const HAS_OFFSET: bool = false;
const HAS_LENGTHS: bool = false;
const HAS_MASK: bool = false;
const BOOL_MASK: bool = false;
const MASK_B: u32 = 0;
const MASK_H: u32 = 0;
const MASK_Q: u32 = 0;
const MASK_K: u32 = 0;
const DROPS: bool = false;
const STREAM: u32 = 0;
// Words below this, once shifted, are kept, and what they keep is multiplied.
const KEPT: u32 = 0;
const FACTOR: f32 = 1;
const HAS_LSE: bool = false;
const HAS_DSCORE: bool = false;
// Whether rows are keys.
const BY_KEYS: bool = false;
const ROWS: u32 = 1;
// Parts of the keys, each of CHUNK, a multiple of KEYS.
const SPLITS: u32 = 1;
const CHUNK: u32 = 32;
// Vectors of features that an invocation has of each row, of the results of DIM and of VALUE_DIM features.
const NARROW: u32 = 1;
const WIDE: u32 = 1;
// Columns that are staged at once for the second product.
const SLICE: u32 = 4;

const HEADS: u32 = KV_HEADS * GROUP;
const QUERIES: u32 = TQ * GROUP;
const X: u32 = 8;
const THREADS: u32 = 128;
const TILE: u32 = 16 * ROWS;
const COLUMNS: u32 = 32;
const MOST: u32 = max(NARROW, WIDE);
const LOWEST: f32 = -3.4028234663852886e38;

// Vectors of features that are staged at once for the first product: DEPTH of each row, then of each column one more than that, for the
// banks.
const DEPTH: u32 = 4;
const COLUMN_STEP: u32 = DEPTH + 1;
const COLUMNS_AT: u32 = TILE * DEPTH;
const STAGED: u32 = max(COLUMNS_AT + COLUMNS * COLUMN_STEP, SLICE * X * MOST);
// Vectors of weights from row to row.
const WEIGHTS_STEP: u32 = COLUMNS / 4 + 1;

// Where facts of sequences and of queries begin.
const SEQUENCES_AT: u32 = 4;
const QUERIES_AT: u32 = SEQUENCES_AT + 2 * B;
const FARTHEST: i32 = 1 << 29;
const SEED_BLOCK: u32 = 0x80000008;

@group(0) @binding(0) var<storage, read> first_rows: array<f32>;
@group(0) @binding(0) var<storage, read> first_row_vectors: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> second_rows: array<f32>;
@group(0) @binding(1) var<storage, read> second_row_vectors: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> first_columns: array<f32>;
@group(0) @binding(2) var<storage, read> first_column_vectors: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> second_columns: array<f32>;
@group(0) @binding(3) var<storage, read> second_column_vectors: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> mask: array<u32>;
@group(0) @binding(5) var<storage, read> facts: array<u32>;
@group(0) @binding(6) var<storage, read_write> result: array<f32>;
@group(0) @binding(7) var<storage, read_write> more: array<f32>;

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
// end hooks

// Features 4d .. 4d + 3 of a row or column, 0 behind the last.
fn first_row_lanes(place: u32, d: u32) -> vec4<f32> {
  var v = vec4<f32>();
  for (var i = 0u; i < min(4u, DIM - 4u * d); i++) {
    v[i] = first_rows[place * DIM + 4u * d + i];
  }
  return v;
}
fn first_row_whole(place: u32, d: u32) -> vec4<f32> {
  return first_row_vectors[place * (DIM / 4u) + d];
}
fn second_row_lanes(place: u32, d: u32) -> vec4<f32> {
  var v = vec4<f32>();
  for (var i = 0u; i < min(4u, VALUE_DIM - 4u * d); i++) {
    v[i] = second_rows[place * VALUE_DIM + 4u * d + i];
  }
  return v;
}
fn second_row_whole(place: u32, d: u32) -> vec4<f32> {
  return second_row_vectors[place * (VALUE_DIM / 4u) + d];
}
fn first_column_lanes(place: u32, d: u32) -> vec4<f32> {
  var v = vec4<f32>();
  for (var i = 0u; i < min(4u, DIM - 4u * d); i++) {
    v[i] = first_columns[place * DIM + 4u * d + i];
  }
  return v;
}
fn first_column_whole(place: u32, d: u32) -> vec4<f32> {
  return first_column_vectors[place * (DIM / 4u) + d];
}
fn second_column_lanes(place: u32, d: u32) -> vec4<f32> {
  var v = vec4<f32>();
  for (var i = 0u; i < min(4u, VALUE_DIM - 4u * d); i++) {
    v[i] = second_columns[place * VALUE_DIM + 4u * d + i];
  }
  return v;
}
fn second_column_whole(place: u32, d: u32) -> vec4<f32> {
  return second_column_vectors[place * (VALUE_DIM / 4u) + d];
}

// A tile of a sequence and head of keys: its first row, and which rows and columns exist for it. What is read of others is 0.
struct Tile { b: u32, kv: u32, first: u32, rows: u32, columns: vec2<i32> }

// Place of query n or of key n among those of all sequences and heads.
fn query_place(t: Tile, n: u32) -> u32 {
  return (t.b * TQ + n / GROUP) * HEADS + t.kv * GROUP + n % GROUP;
}
fn key_place(t: Tile, n: u32) -> u32 {
  return (t.b * TK + n) * KV_HEADS + t.kv;
}

// The number of query n among those of its head, which follow one another: that of its log-sum-exp, and of its row in dropout.
fn query_number(t: Tile, n: u32) -> u32 {
  return (t.b * HEADS + t.kv * GROUP + n % GROUP) * TQ + n / GROUP;
}

// Of the first pair of operands, which have DIM features, or of the second.
fn row_vector(second: bool, t: Tile, n: u32, d: u32) -> vec4<f32> {
  if (n >= t.rows || 4u * d >= select(DIM, VALUE_DIM, second)) {
    return vec4<f32>();
  }
  var place = 0u;
  if (BY_KEYS) {
    place = key_place(t, n);
  } else {
    place = query_place(t, n);
  }
  if (second) {
    return second_row(place, d);
  }
  return first_row(place, d);
}

fn column_vector(second: bool, t: Tile, n: i32, d: u32) -> vec4<f32> {
  if (n < t.columns.x || n >= t.columns.y || 4u * d >= select(DIM, VALUE_DIM, second)) {
    return vec4<f32>();
  }
  var place = 0u;
  if (BY_KEYS) {
    place = query_place(t, u32(n));
  } else {
    place = key_place(t, u32(n));
  }
  if (second) {
    return second_column(place, d);
  }
  return first_column(place, d);
}

fn position_of(b: u32) -> i32 {
  if (!HAS_OFFSET) {
    return i32(OFFSET);
  }
  return bitcast<i32>(facts[SEQUENCES_AT + 2u * b]);
}

fn length_of(b: u32) -> i32 {
  if (!HAS_LENGTHS) {
    return i32(TK);
  }
  return bitcast<i32>(facts[SEQUENCES_AT + 2u * b + 1u]);
}

// The first key that query i sees, and the one behind the last.
fn seen_by(b: u32, i: u32) -> vec2<i32> {
  let position = position_of(b) + i32(i);
  var begin = 0;
  var end = length_of(b);
  if (CAUSAL) {
    end = min(end, position + 1);
  }
  if (WINDOW > 0u) {
    begin = max(0, position + 1 - i32(WINDOW));
    end = select(min(end, position + i32(WINDOW)), end, CAUSAL);
  }
  return vec2(begin, end);
}

fn mask_place(t: Tile, n: u32, j: u32) -> u32 {
  return t.b * MASK_B + (t.kv * GROUP + n % GROUP) * MASK_H + n / GROUP * MASK_Q + j * MASK_K;
}

// The score of query n and key j from the product of their vectors; -infinity of what is hidden.
fn score(t: Tile, n: u32, seen: vec2<i32>, j: i32, product: f32) -> f32 {
  let hidden = f32_bits(0xff800000u);
  if (j < seen.x || j >= seen.y) {
    return hidden;
  }
  let s = product * SCALE;
  if (!HAS_MASK) {
    return s;
  }
  let word = mask[mask_place(t, n, u32(j))];
  if (BOOL_MASK) {
    return select(hidden, s, word != 0u);
  }
  return s + bitcast<f32>(word);
}

// Dropout's factors of the weights of query n and four keys, j a multiple of four.
fn factors(t: Tile, n: u32, j: i32) -> vec4<f32> {
  if (!DROPS) {
    return vec4(1.0);
  }
  let words = philox(vec4(u32(j) / 4u, query_number(t, n), facts[2], facts[3]), vec2(facts[0], facts[1]));
  return select(vec4<f32>(), vec4(FACTOR), words >> vec4(8u) < vec4(KEPT));
}

var<workgroup> stage: array<vec4<f32>, STAGED>;
// Of each row those of all columns.
var<workgroup> weights: array<vec4<f32>, TILE * WEIGHTS_STEP>;

// Products of the invocation's rows with columns base + 4x .. base + 4x + 3.
fn products(second: bool, t: Tile, base: i32, local: u32) -> array<vec4<f32>, ROWS> {
  let x = local % X;
  let y = local / X;
  let depth = (select(DIM, VALUE_DIM, second) + 3u) / 4u;
  var sums: array<vec4<f32>, ROWS>;
  for (var d = 0u; d < depth; d += DEPTH) {
    workgroupBarrier();
    for (var i = local; i < TILE * DEPTH; i += THREADS) {
      stage[i] = row_vector(second, t, t.first + i / DEPTH, d + i % DEPTH);
    }
    for (var i = local; i < COLUMNS * DEPTH; i += THREADS) {
      // Columns that invocations read together stand side by side.
      let column = i / DEPTH;
      let slot = column % 4u * X + column / 4u;
      stage[COLUMNS_AT + slot * COLUMN_STEP + i % DEPTH] = column_vector(second, t, base + i32(column), d + i % DEPTH);
    }
    workgroupBarrier();
    for (var e = 0u; e < DEPTH; e++) {
      let at = COLUMNS_AT + x * COLUMN_STEP + e;
      let c0 = stage[at];
      let c1 = stage[at + X * COLUMN_STEP];
      let c2 = stage[at + 2u * X * COLUMN_STEP];
      let c3 = stage[at + 3u * X * COLUMN_STEP];
      for (var r = 0u; r < ROWS; r++) {
        let a = stage[(y * ROWS + r) * DEPTH + e];
        sums[r] += vec4(dot(a, c0), dot(a, c1), dot(a, c2), dot(a, c3));
      }
    }
  }
  return sums;
}

// Adds the weighted sum of the tile's columns to what the invocation has of its rows: `width` vectors of each.
fn accumulate(second: bool, t: Tile, base: i32, local: u32, width: u32, sums: ptr<function, array<vec4<f32>, ROWS * MOST>>) {
  let x = local % X;
  let y = local / X;
  for (var k = 0u; k < COLUMNS; k += SLICE) {
    workgroupBarrier();
    for (var i = local; i < SLICE * X * width; i += THREADS) {
      stage[i] = column_vector(second, t, base + i32(k + i / (X * width)), i % (X * width));
    }
    workgroupBarrier();
    for (var j = 0u; j < SLICE; j += 4u) {
      for (var r = 0u; r < ROWS; r++) {
        let p = weights[(y * ROWS + r) * WEIGHTS_STEP + (k + j) / 4u];
        for (var c = 0u; c < width; c++) {
          let at = j * X * width + c * X + x;
          let step = X * width;
          (*sums)[r * MOST + c] += p.x * stage[at] + p.y * stage[at + step] + p.z * stage[at + 2u * step] + p.w * stage[at + 3u * step];
        }
      }
    }
  }
}

// Writes `width` vectors of a row from element `at` on, of which `features` are there.
fn store(at: u32, features: u32, x: u32, r: u32, width: u32, factor: f32, sums: ptr<function, array<vec4<f32>, ROWS * MOST>>) {
  for (var c = 0u; c < width; c++) {
    let d = 4u * (c * X + x);
    let v = factor * (*sums)[r * MOST + c];
    for (var i = 0u; i < 4u; i++) {
      if (d + i < features) {
        result[at + d + i] = v[i];
      }
    }
  }
}

// What the eight invocations of the same rows have, of each row.
fn join_rows(own: vec4<f32>, local: u32, largest: bool) -> vec4<f32> {
  workgroupBarrier();
  stage[local] = own;
  workgroupBarrier();
  let first = local - local % X;
  var joined = stage[first];
  for (var i = 1u; i < X; i++) {
    let other = stage[first + i];
    joined = select(joined + other, max(joined, other), largest);
  }
  return joined;
}

@compute @workgroup_size(THREADS)
fn prepare(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = (id.x + id.y * groups.x) * THREADS + local;
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

// The tile of a workgroup: of queries with the keys that any of them sees.
fn query_tile(number: u32) -> Tile {
  let tiles = (QUERIES + TILE - 1u) / TILE;
  let pair = number / tiles;
  let b = pair / KV_HEADS;
  let first = number % tiles * TILE;
  let last = min(first + TILE, QUERIES) - 1u;
  let columns = vec2(seen_by(b, first / GROUP).x, seen_by(b, last / GROUP).y);
  return Tile(b, pair % KV_HEADS, first, QUERIES, columns);
}

@compute @workgroup_size(THREADS)
fn forward(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let number = id.x + id.y * groups.x;
  if (number >= B * KV_HEADS * ((QUERIES + TILE - 1u) / TILE) * SPLITS) {
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
  // Of each row the largest score so far, and what the invocation has added up.
  var largest = vec4(LOWEST);
  var total = vec4<f32>();
  for (var base = begin; base < end; base += i32(COLUMNS)) {
    var scores = products(false, t, base, local);
    let j = base + i32(4u * x);
    var next = largest;
    for (var r = 0u; r < ROWS; r++) {
      for (var i = 0u; i < 4u; i++) {
        scores[r][i] = score(t, own + r, seen[r], j + i32(i), scores[r][i]);
        next[r] = max(next[r], scores[r][i]);
      }
    }
    next = join_rows(next, local, true);
    for (var r = 0u; r < ROWS; r++) {
      let shrunk = f32_exp(largest[r] - next[r]);
      for (var c = 0u; c < WIDE; c++) {
        sums[r * MOST + c] *= shrunk;
      }
      var p = vec4<f32>();
      for (var i = 0u; i < 4u; i++) {
        p[i] = f32_exp(scores[r][i] - next[r]);
      }
      total[r] = total[r] * shrunk + ((p.x + p.y) + (p.z + p.w));
      weights[(y * ROWS + r) * WEIGHTS_STEP + x] = p * factors(t, own + r, j);
    }
    largest = next;
    accumulate(true, t, base, local, WIDE, &sums);
  }
  total = join_rows(total, local, false);

  for (var r = 0u; r < ROWS; r++) {
    let n = own + r;
    if (n < QUERIES) {
      if (SPLITS > 1u) {
        let at = (split * (B * HEADS * TQ) + query_place(t, n)) * (VALUE_DIM + 2u);
        store(at, VALUE_DIM, x, r, WIDE, 1.0, &sums);
        if (x == 0u) {
          result[at + VALUE_DIM] = largest[r];
          result[at + VALUE_DIM + 1u] = total[r];
        }
      } else {
        store(query_place(t, n) * VALUE_DIM, VALUE_DIM, x, r, WIDE, share_of(total[r]), &sums);
        if (HAS_LSE && x == 0u) {
          more[query_number(t, n)] = lse(largest[r], total[r]);
        }
      }
    }
  }
}

// What a row's sums are multiplied by: 0 where nothing is seen. A NaN is neither.
fn share_of(total: f32) -> f32 {
  return select(1.0 / total, 0.0, total == 0.0);
}

fn lse(largest: f32, total: f32) -> f32 {
  return select(largest + f32_log(total), f32_bits(0x7f800000u), total == 0.0);
}

@compute @workgroup_size(THREADS)
fn combine(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = (id.x + id.y * groups.x) * THREADS + local;
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
  result[i] = sum * share_of(total);
  if (HAS_LSE && d == 0u) {
    let b = place / (TQ * HEADS);
    more[(b * HEADS + place % HEADS) * TQ + place / HEADS % TQ] = lse(largest, total);
  }
}

// Log-sum-exp and delta of query n.
fn facts_of(t: Tile, n: u32) -> vec2<f32> {
  let at = QUERIES_AT + 2u * query_number(t, n);
  return vec2(bitcast<f32>(facts[at]), bitcast<f32>(facts[at + 1u]));
}

@compute @workgroup_size(THREADS)
fn queries(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let number = id.x + id.y * groups.x;
  if (number >= B * KV_HEADS * ((QUERIES + TILE - 1u) / TILE)) {
    return;
  }
  let t = query_tile(number);
  let x = local % X;
  let y = local / X;
  let own = t.first + y * ROWS;
  var seen: array<vec2<i32>, ROWS>;
  var known: array<vec2<f32>, ROWS>;
  for (var r = 0u; r < ROWS; r++) {
    if (own + r < QUERIES) {
      seen[r] = seen_by(t.b, (own + r) / GROUP);
      known[r] = facts_of(t, own + r);
    }
  }
  var sums: array<vec4<f32>, ROWS * MOST>;
  for (var base = t.columns.x - t.columns.x % i32(COLUMNS); base < t.columns.y; base += i32(COLUMNS)) {
    var scores = products(false, t, base, local);
    var dp = products(true, t, base, local);
    let j = base + i32(4u * x);
    for (var r = 0u; r < ROWS; r++) {
      let factor = factors(t, own + r, j);
      var ds = vec4<f32>();
      for (var i = 0u; i < 4u; i++) {
        let p = f32_exp(score(t, own + r, seen[r], j + i32(i), scores[r][i]) - known[r].x);
        ds[i] = p * (factor[i] * dp[r][i] - known[r].y);
        if (HAS_DSCORE && j + i32(i) >= seen[r].x && j + i32(i) < seen[r].y) {
          more[query_number(t, own + r) * TK + u32(j) + i] = ds[i];
        }
      }
      weights[(y * ROWS + r) * WEIGHTS_STEP + x] = ds;
    }
    accumulate(false, t, base, local, NARROW, &sums);
  }
  for (var r = 0u; r < ROWS; r++) {
    if (own + r < QUERIES) {
      store(query_place(t, own + r) * DIM, DIM, x, r, NARROW, SCALE, &sums);
    }
  }
}

// The queries that see any key of [first, last].
fn queries_of(b: u32, first: i32, last: i32) -> vec2<i32> {
  let position = position_of(b);
  var begin = 0;
  var end = i32(TQ);
  if (CAUSAL) {
    begin = max(begin, first - position);
  }
  if (WINDOW > 0u) {
    end = min(end, last - position + i32(WINDOW));
    begin = select(max(begin, first - position - i32(WINDOW) + 1), begin, CAUSAL);
  }
  if (first >= length_of(b)) {
    end = 0;
  }
  return vec2(begin, end) * i32(GROUP);
}

@compute @workgroup_size(THREADS)
fn keys(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let number = id.x + id.y * groups.x;
  let tiles = (TK + TILE - 1u) / TILE;
  let pair = number / tiles;
  if (pair >= B * KV_HEADS) {
    return;
  }
  let b = pair / KV_HEADS;
  let first = number % tiles * TILE;
  let columns = queries_of(b, i32(first), i32(min(first + TILE, TK)) - 1);
  let t = Tile(b, pair % KV_HEADS, first, u32(max(length_of(b), 0)), columns);
  let x = local % X;
  let y = local / X;
  let own = i32(first + y * ROWS);
  var key_sums: array<vec4<f32>, ROWS * MOST>;
  var value_sums: array<vec4<f32>, ROWS * MOST>;
  for (var base = columns.x - columns.x % i32(COLUMNS); base < columns.y; base += i32(COLUMNS)) {
    var p = products(false, t, base, local);
    var ds = products(true, t, base, local);
    for (var i = 0u; i < 4u; i++) {
      let n = u32(base) + 4u * x + i;
      var seen = vec2<i32>();
      var known = vec2<f32>();
      var factor = vec4<f32>();
      if (n < QUERIES) {
        seen = seen_by(b, n / GROUP);
        known = facts_of(t, n);
        factor = factors(t, n, own - own % 4);
      }
      for (var r = 0u; r < ROWS; r++) {
        let j = own + i32(r);
        let own_factor = factor[u32(j) % 4u];
        let weight = f32_exp(score(t, n, seen, j, p[r][i]) - known.x);
        p[r][i] = weight * own_factor;
        ds[r][i] = weight * (own_factor * ds[r][i] - known.y);
      }
    }
    for (var r = 0u; r < ROWS; r++) {
      weights[(y * ROWS + r) * WEIGHTS_STEP + x] = p[r];
    }
    accumulate(true, t, base, local, WIDE, &value_sums);
    workgroupBarrier();
    for (var r = 0u; r < ROWS; r++) {
      weights[(y * ROWS + r) * WEIGHTS_STEP + x] = ds[r];
    }
    accumulate(false, t, base, local, NARROW, &key_sums);
  }
  for (var r = 0u; r < ROWS; r++) {
    if (own + i32(r) < i32(TK)) {
      let place = key_place(t, u32(own) + r);
      store(place * DIM, DIM, x, r, NARROW, SCALE, &key_sums);
      store_more(place * VALUE_DIM, VALUE_DIM, x, r, WIDE, &value_sums);
    }
  }
}

fn store_more(at: u32, features: u32, x: u32, r: u32, width: u32, sums: ptr<function, array<vec4<f32>, ROWS * MOST>>) {
  for (var c = 0u; c < width; c++) {
    let d = 4u * (c * X + x);
    for (var i = 0u; i < 4u; i++) {
      if (d + i < features) {
        more[at + d + i] = (*sums)[r * MOST + c][i];
      }
    }
  }
}

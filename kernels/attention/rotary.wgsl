// Pairs of features turned by the angle of their position. x and y are [OUTER, TIME, HEADS, DIM], cos and sin [TIME, HALF].
// Pairs are (2i, 2i + 1) with NEIGHBOURS, else (i, i + HALF); features behind the first 2 HALF are copied. BACK: by the negative angle.
//
// main    x, cos, sin -> y
// append  x, cos, sin, k, index i32[ROWS / HEADS], v? -> y, and rows index[j] of caches [SIZE, ...] of keys, turned too, and of values:
//         none where a later index is equal, or it is outside. Hooks: keep_key and keep_value, whose `halved` ones write four f32 as f16,
//         two in a word.
// normed  the same of rows of x and k that are brought to a root mean square of 1, times gamma_x and gamma_k: a workgroup makes a row.
const THREADS: u32 = 256u;
const ROWS: u32 = 6u;
const TIME: u32 = 3u;
const HEADS: u32 = 2u;
const DIM: u32 = 9u;
const HALF: u32 = 4u;
const NEIGHBOURS: bool = false;
const BACK: bool = false;

@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> cosines: array<f32>;
@group(0) @binding(3) var<storage, read> sines: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  // A row has HALF pairs and DIM - 2 HALF features more.
  let at = (id.x + id.y * groups.x) * THREADS + local;
  let row = at / (DIM - HALF);
  let i = at % (DIM - HALF);
  if (row >= ROWS) {
    return;
  }
  turn(row, i, 1.0);
}

// Turns pair i of a row of x, or copies feature HALF + i.
fn turn(row: u32, i: u32, factor: f32) {
  let start = row * DIM;
  if (i >= HALF) {
    y[start + HALF + i] = x_at(row, HALF + i, factor);
    return;
  }
  let at = pair_of(i);
  let turned = turned_pair(row / HEADS, i, x_at(row, at.x, factor), x_at(row, at.y, factor));
  y[start + at.x] = turned.x;
  y[start + at.y] = turned.y;
}

fn pair_of(i: u32) -> vec2<u32> {
  let first = select(i, 2u * i, NEIGHBOURS);
  return vec2(first, first + select(HALF, 1u, NEIGHBOURS));
}

fn turned_pair(step: u32, i: u32, a: f32, b: f32) -> vec2<f32> {
  let angle = step % TIME * HALF + i;
  let c = cosines[angle];
  let s = select(sines[angle], -sines[angle], BACK);
  return vec2(a * c - b * s, b * c + a * s);
}

const KEY_HEADS: u32 = 1u;
// What is made at once of a key: pairs and features more, or vectors.
const KEY_UNITS: u32 = 5u;
// Rows of the caches, and values of a step, or vectors of them.
const SIZE: u32 = 1u;
const INNER: u32 = 1u;

@group(0) @binding(4) var<storage, read> k: array<f32>;
@group(0) @binding(5) var<storage, read> index: array<i32>;
@group(0) @binding(6) var<storage, read_write> key_cache: array<f32>;
@group(0) @binding(7) var<storage, read> v: array<f32>;
@group(0) @binding(8) var<storage, read_write> value_cache: array<f32>;
@group(0) @binding(6) var<storage, read_write> key_halves: array<vec2<u32>>;
@group(0) @binding(7) var<storage, read> value_vectors: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> value_halves: array<vec2<u32>>;
@group(0) @binding(9) var<storage, read> gamma_x: array<f32>;
@group(0) @binding(10) var<storage, read> gamma_k: array<f32>;

// hooks
fn x_at(row: u32, feature: u32, factor: f32) -> f32 {
  return x_plain(row, feature, factor);
}
fn k_at(row: u32, feature: u32, factor: f32) -> f32 {
  return k_plain(row, feature, factor);
}
fn join_row(i: u32, own: f32) -> f32 {
  return tree_row(i, own);
}
fn keep_key(row: u32, i: u32, to: u32, factor: f32) {
  key_of(row, i, to, factor);
}
fn keep_value(step: u32, i: u32, to: u32) {
  value_of(step, i, to);
}
// end hooks

// What is read of rows: `factor` is what normalizes one.
fn x_plain(row: u32, feature: u32, factor: f32) -> f32 {
  return x[row * DIM + feature];
}
fn k_plain(row: u32, feature: u32, factor: f32) -> f32 {
  return k[row * DIM + feature];
}
fn x_normal(row: u32, feature: u32, factor: f32) -> f32 {
  return x[row * DIM + feature] * factor * gamma_x[feature];
}
fn k_normal(row: u32, feature: u32, factor: f32) -> f32 {
  return k[row * DIM + feature] * factor * gamma_k[feature];
}


fn value_of(step: u32, i: u32, to: u32) {
  value_cache[to * INNER + i] = v[step * INNER + i];
}

fn halved_value(step: u32, i: u32, to: u32) {
  value_halves[to * INNER + i] = half_words(value_vectors[step * INNER + i]);
}

fn no_value(step: u32, i: u32, to: u32) {
}

// Turns pair i of a row of k, or copies feature HALF + i, into row `to` of the cache.
fn key_of(row: u32, i: u32, to: u32, factor: f32) {
  if (i >= HALF) {
    key_cache[to * DIM + HALF + i] = k_at(row, HALF + i, factor);
    return;
  }
  let pair = pair_of(i);
  let turned = turned_pair(row / KEY_HEADS, i, k_at(row, pair.x, factor), k_at(row, pair.y, factor));
  key_cache[to * DIM + pair.x] = turned.x;
  key_cache[to * DIM + pair.y] = turned.y;
}

fn turned_feature(row: u32, feature: u32, factor: f32) -> f32 {
  if (feature >= 2u * HALF) {
    return k_at(row, feature, factor);
  }
  let i = select(feature % HALF, feature / 2u, NEIGHBOURS);
  let pair = pair_of(i);
  let turned = turned_pair(row / KEY_HEADS, i, k_at(row, pair.x, factor), k_at(row, pair.y, factor));
  return select(turned.y, turned.x, feature == pair.x);
}

fn halved_key(row: u32, i: u32, to: u32, factor: f32) {
  var v: vec4<f32>;
  for (var d = 0u; d < 4u; d++) {
    v[d] = turned_feature(row, 4u * i + d, factor);
  }
  key_halves[to * KEY_UNITS + i] = half_words(v);
}

const STEPS: u32 = ROWS / HEADS;

// Where a step is kept: OUTSIDE where nowhere.
fn kept_at(step: u32) -> u32 {
  var to = bitcast<u32>(index[step]);
  for (var later = step + 1u; later < STEPS; later++) {
    to = select(to, OUTSIDE, index[later] == index[step]);
  }
  return select(to, OUTSIDE, to >= SIZE);
}

@compute @workgroup_size(THREADS)
fn append(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  var at = (id.x + id.y * groups.x) * THREADS + local;
  if (at < ROWS * (DIM - HALF)) {
    turn(at / (DIM - HALF), at % (DIM - HALF), 1.0);
    return;
  }
  at -= ROWS * (DIM - HALF);
  if (at < STEPS * KEY_HEADS * KEY_UNITS) {
    let row = at / KEY_UNITS;
    let place = kept_at(row / KEY_HEADS);
    if (place != OUTSIDE) {
      keep_key(row, at % KEY_UNITS, place * KEY_HEADS + row % KEY_HEADS, 1.0);
    }
    return;
  }
  keep_values(at - STEPS * KEY_HEADS * KEY_UNITS);
}

fn keep_values(at: u32) {
  if (at < STEPS * INNER) {
    let place = kept_at(at / INNER);
    if (place != OUTSIDE) {
      keep_value(at / INNER, at % INNER, place);
    }
  }
}

const ROW_THREADS: u32 = 64u;
const EPSILON: f32 = 0.0;

var<workgroup> row_sums: array<f32, ROW_THREADS>;

// The sum of what all invocations have, for all of them.
fn tree_row(i: u32, own: f32) -> f32 {
  row_sums[i] = own;
  for (var half = ROW_THREADS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (i < half) {
      row_sums[i] += row_sums[i + half];
    }
  }
  workgroupBarrier();
  return row_sums[0];
}

fn subgroup_row(i: u32, own: f32) -> f32 {
  let size = subgroupAdd(1u);
  let sum = subgroupAdd(own);
  if (i % size == 0u) {
    row_sums[i / size] = sum;
  }
  workgroupBarrier();
  var total = row_sums[0];
  for (var j = 1u; j < ROW_THREADS / size; j++) {
    total += row_sums[j];
  }
  return total;
}

@compute @workgroup_size(ROW_THREADS)
fn normed(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let number = id.x + id.y * groups.x;
  if (number >= ROWS + STEPS * KEY_HEADS) {
    keep_values((number - ROWS - STEPS * KEY_HEADS) * ROW_THREADS + local);
    return;
  }
  let of_keys = number >= ROWS;
  let row = select(number, number - ROWS, of_keys);
  var squares = 0.0;
  for (var i = local; i < DIM; i += ROW_THREADS) {
    var v = 0.0;
    if (of_keys) {
      v = k[row * DIM + i];
    } else {
      v = x[row * DIM + i];
    }
    squares += v * v;
  }
  let factor = 1.0 / sqrt(join_row(local, squares) * (1.0 / f32(DIM)) + EPSILON);
  if (!of_keys) {
    for (var i = local; i < DIM - HALF; i += ROW_THREADS) {
      turn(row, i, factor);
    }
    return;
  }
  let place = kept_at(row / KEY_HEADS);
  if (place == OUTSIDE) {
    return;
  }
  for (var i = local; i < KEY_UNITS; i += ROW_THREADS) {
    keep_key(row, i, place * KEY_HEADS + row % KEY_HEADS, factor);
  }
}

// Pairs of features turned by the angle of their position. x and y are [OUTER, TIME, HEADS, DIM], cos and sin [TIME, HALF].
// Pairs are (2i, 2i + 1) with NEIGHBOURS, else (i, i + HALF); features behind the first 2 HALF are copied. BACK: by the negative angle.
//
// main    x, cos, sin -> y
// append  x, cos, sin, k, index i32[ROWS / HEADS], v? -> y, and rows index[j] of caches [SIZE, ...] of keys, turned too, and of values:
//         none where a later index is equal, or it is outside. Hooks: keep_key and keep_value, whose `halved` ones write four f32 as f16,
//         two in a word.
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
  turn(row, i, row * DIM);
}

// Turns pair i of a row of x, which is written from `to` on, or copies feature HALF + i.
fn turn(row: u32, i: u32, to: u32) {
  let start = row * DIM;
  if (i >= HALF) {
    y[to + HALF + i] = x[start + HALF + i];
    return;
  }
  let at = pair_of(i);
  let turned = turned_pair(row / HEADS, i, x[start + at.x], x[start + at.y]);
  y[to + at.x] = turned.x;
  y[to + at.y] = turned.y;
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

// hooks
fn keep_key(row: u32, i: u32, to: u32) {
  key_of(row, i, to);
}
fn keep_value(step: u32, i: u32, to: u32) {
  value_of(step, i, to);
}
// end hooks

fn value_of(step: u32, i: u32, to: u32) {
  value_cache[to * INNER + i] = v[step * INNER + i];
}

fn halved_value(step: u32, i: u32, to: u32) {
  value_halves[to * INNER + i] = half_words(value_vectors[step * INNER + i]);
}

fn no_value(step: u32, i: u32, to: u32) {
}

// Turns pair i of a row of k, or copies feature HALF + i, into row `to` of the cache.
fn key_of(row: u32, i: u32, to: u32) {
  if (i >= HALF) {
    key_cache[to * DIM + HALF + i] = k[row * DIM + HALF + i];
    return;
  }
  let pair = pair_of(i);
  let turned = turned_pair(row / KEY_HEADS, i, k[row * DIM + pair.x], k[row * DIM + pair.y]);
  key_cache[to * DIM + pair.x] = turned.x;
  key_cache[to * DIM + pair.y] = turned.y;
}

fn turned_feature(row: u32, feature: u32) -> f32 {
  if (feature >= 2u * HALF) {
    return k[row * DIM + feature];
  }
  let i = select(feature % HALF, feature / 2u, NEIGHBOURS);
  let pair = pair_of(i);
  let turned = turned_pair(row / KEY_HEADS, i, k[row * DIM + pair.x], k[row * DIM + pair.y]);
  return select(turned.y, turned.x, feature == pair.x);
}

fn halved_key(row: u32, i: u32, to: u32) {
  let first = 4u * i;
  key_halves[to * KEY_UNITS + i] = half_words(
    vec4(turned_feature(row, first), turned_feature(row, first + 1u), turned_feature(row, first + 2u), turned_feature(row, first + 3u))
  );
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
    turn(at / (DIM - HALF), at % (DIM - HALF), at / (DIM - HALF) * DIM);
    return;
  }
  at -= ROWS * (DIM - HALF);
  if (at < STEPS * KEY_HEADS * KEY_UNITS) {
    let row = at / KEY_UNITS;
    let place = kept_at(row / KEY_HEADS);
    if (place != OUTSIDE) {
      keep_key(row, at % KEY_UNITS, place * KEY_HEADS + row % KEY_HEADS);
    }
    return;
  }
  at -= STEPS * KEY_HEADS * KEY_UNITS;
  if (at < STEPS * INNER) {
    let place = kept_at(at / INNER);
    if (place != OUTSIDE) {
      keep_value(at / INNER, at % INNER, place);
    }
  }
}

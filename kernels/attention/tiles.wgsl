// Tiles of scores, and sums of columns that they weigh: what attention.wgsl and attention-grad.wgsl have in common, a library.
//
// A workgroup of 8 x 16 invocations has a tile of 16 ROWS rows, which pass tiles of 32 columns: rows are queries and columns keys, or with
// BY_KEYS the other way round. Heads that share keys are one list of GROUP * TQ queries. An invocation has ROWS rows of four columns of
// each tile of scores, and of the results each eighth vector of four features. Operands are the first of rows and of columns, which have
// DIM features and make the scores, and the second, which have VALUE_DIM. The order of additions depends on shapes alone.
//
// In workgroup memory rows lie so that invocations read neighbouring vectors at once: the ROWS rows of an invocation far apart.
//
// Kernels have hooks that read four features of a row or column: first_row, second_row, first_column, second_column.

const HAS_OFFSET: bool = false;
const HAS_LENGTHS: bool = false;
const HAS_MASK: bool = false;
const BOOL_MASK: bool = false;
const MASK_B: u32 = 0;
const MASK_H: u32 = 0;
const MASK_Q: u32 = 0;
const MASK_K: u32 = 0;
const DROPS: bool = false;
// Words below this, once shifted, are kept, and what they keep is multiplied.
const KEPT: u32 = 0;
const FACTOR: f32 = 1;
// Whether rows are keys.
const BY_KEYS: bool = false;
const ROWS: u32 = 1;
// Vectors of features that an invocation has of each row, of the results of DIM and of VALUE_DIM features. Where these are more than a
// workgroup can have, several have a part each.
const NARROW: u32 = 1;
const WIDE: u32 = 1;
const PARTS: u32 = 1;
// Columns that are staged at once for the second product.
const SLICE: u32 = 4;

const HEADS: u32 = KV_HEADS * GROUP;
const QUERIES: u32 = TQ * GROUP;
const X: u32 = 8;
const TILE_THREADS: u32 = 128;
const TILE: u32 = 16 * ROWS;
const COLUMNS: u32 = 32;
const MOST: u32 = max(NARROW, WIDE);

// Vectors of features that are staged at once for the first product: DEPTH of each row, then of each column one more than that, for the
// banks.
const DEPTH: u32 = 4;
const COLUMN_STEP: u32 = DEPTH + 1;
// Vectors from the first rows of all invocations to their second ones: an odd number.
const ROW_LINE: u32 = TILE_THREADS / X + 1;
const COLUMNS_AT: u32 = ROW_LINE * ROWS * DEPTH;
const STAGED: u32 = max(COLUMNS_AT + COLUMNS * COLUMN_STEP, SLICE * X * MOST);
// Vectors of weights from row to row.
const WEIGHTS_STEP: u32 = COLUMNS / 4 + 1;
// Rows by four: of each a number, as of all columns.
const ROW_FOURS: u32 = (ROWS + 3) / 4;
// The fewest invocations of a subgroup. They are taken to be neighbours.
const SUBGROUP_SIZE: u32 = 4;

// Where facts of sequences and of queries begin.
const SEQUENCES_AT: u32 = 4;
const QUERIES_AT: u32 = SEQUENCES_AT + 2 * B;

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
@group(0) @binding(6) var<storage, read_write> first_result: array<f32>;
@group(0) @binding(7) var<storage, read_write> second_result: array<f32>;

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

// A tile of a sequence and head of keys: its first row, and which rows and columns exist for it. What is read of others is 0. `part` is
// that of the results' features.
struct Tile { b: u32, kv: u32, first: u32, rows: u32, columns: vec2<i32>, part: u32 }

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

// Where the weights of row r of the invocations at y begin.
fn weights_of(y: u32, r: u32) -> u32 {
  return (r * (TILE_THREADS / X) + y) * WEIGHTS_STEP;
}

// Products of the invocation's rows with columns base + 4x .. base + 4x + 3.
fn products(second: bool, t: Tile, base: i32, local: u32) -> array<vec4<f32>, ROWS> {
  let x = local % X;
  let y = local / X;
  let depth = (select(DIM, VALUE_DIM, second) + 3u) / 4u;
  var sums = array<vec4<f32>, ROWS>();
  for (var d = 0u; d < depth; d += DEPTH) {
    workgroupBarrier();
    for (var i = local; i < TILE * DEPTH; i += TILE_THREADS) {
      let row = i / DEPTH;
      stage[(i % DEPTH * ROWS + row % ROWS) * ROW_LINE + row / ROWS] = row_vector(second, t, t.first + row, d + i % DEPTH);
    }
    for (var i = local; i < COLUMNS * DEPTH; i += TILE_THREADS) {
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
        let a = stage[(e * ROWS + r) * ROW_LINE + y];
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
    for (var i = local; i < SLICE * X * width; i += TILE_THREADS) {
      stage[i] = column_vector(second, t, base + i32(k + i / (X * width)), (t.part * width * X) + i % (X * width));
    }
    workgroupBarrier();
    for (var j = 0u; j < SLICE; j += 4u) {
      var p = array<vec4<f32>, ROWS>();
      for (var r = 0u; r < ROWS; r++) {
        p[r] = weights[weights_of(y, r) + (k + j) / 4u];
      }
      for (var c = 0u; c < width; c++) {
        let at = j * X * width + c * X + x;
        let step = X * width;
        let v = mat4x4<f32>(stage[at], stage[at + step], stage[at + 2u * step], stage[at + 3u * step]);
        for (var r = 0u; r < ROWS; r++) {
          (*sums)[r * MOST + c] += v * p[r];
        }
      }
    }
  }
}

// Writes the `width` vectors that the invocation has of row r, which begins at element `at` and has `features`.
fn store(t: Tile, at: u32, features: u32, x: u32, r: u32, width: u32, factor: f32, sums: ptr<function, array<vec4<f32>, ROWS * MOST>>) {
  for (var c = 0u; c < width; c++) {
    let d = 4u * ((t.part * width + c) * X + x);
    let v = factor * (*sums)[r * MOST + c];
    for (var i = 0u; i < 4u; i++) {
      if (d + i < features) {
        first_result[at + d + i] = v[i];
      }
    }
  }
}

fn joined_pair(own: vec4<f32>, other: vec4<f32>, largest: bool) -> vec4<f32> {
  return select(own + other, max(own, other), largest);
}

// What the eight invocations of the same rows have, of each of four rows.
fn join_staged(own: vec4<f32>, local: u32, largest: bool) -> vec4<f32> {
  workgroupBarrier();
  stage[local] = own;
  workgroupBarrier();
  let first = local - local % X;
  var joined = stage[first];
  for (var i = 1u; i < X; i++) {
    joined = joined_pair(joined, stage[first + i], largest);
  }
  return joined;
}

fn join_shuffled(own: vec4<f32>, local: u32, largest: bool) -> vec4<f32> {
  var joined = own;
  for (var mask = 1u; mask < min(X, SUBGROUP_SIZE); mask *= 2u) {
    joined = joined_pair(joined, subgroupShuffleXor(joined, mask), largest);
  }
  if (SUBGROUP_SIZE < X) {
    workgroupBarrier();
    stage[local] = joined;
    workgroupBarrier();
    joined = joined_pair(joined, stage[local ^ SUBGROUP_SIZE], largest);
  }
  return joined;
}

const QUERY_TILES: u32 = (QUERIES + TILE - 1) / TILE;

// The tile of a workgroup: of queries with the keys that any of them sees.
fn query_tile(workgroup: u32) -> Tile {
  let number = workgroup / PARTS;
  let pair = number / QUERY_TILES;
  let b = pair / KV_HEADS;
  let first = number % QUERY_TILES * TILE;
  let last = min(first + TILE, QUERIES) - 1u;
  let columns = vec2(seen_by(b, first / GROUP).x, seen_by(b, last / GROUP).y);
  return Tile(b, pair % KV_HEADS, first, QUERIES, columns, workgroup % PARTS);
}

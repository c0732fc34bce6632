// Attention by subgroup matrices: what src/webgpu/encode/attention-matrices.ts adds to attention.wgsl and attention-grad.wgsl, whose masks,
// dropout and places (tiles.wgsl) it shares. FlashAttention 2 (Dao 2023, arXiv 2307.08691).
//
// A workgroup of SUBGROUPS has a tile of TILE rows, PART_ROWS of them in each subgroup, which keeps their operands and results in matrices.
// Rows pass tiles of COLUMNS columns, whose operands are copied to workgroup memory as Component. Nothing is known of where the elements of
// a matrix are, so that scores go through workgroup memory: as f32 to the invocations of their subgroup, and from there, as weights, back
// into matrices. There they lie by keys, queries side by side, whichever of the two are rows: an invocation takes four keys of a query at
// once, as dropout does, and its neighbours those of the next queries, in banks of their own.
//
// Sums that are in matrices cannot be made smaller there when a larger score comes. So exponents refer to an earlier one: `reference` stays
// for as long as scores are less than GROWTH above it (weights are up to e^GROWTH then, which f16 has room for), and only where one is
// beyond, mostly in a row's first tile, sums go through workgroup memory for that.
//
// The backward pass has weights, and what depends on them, LIFT times as large, a power of two: with many keys they are too small for f16.

alias Component = f32;
const SUBGROUPS: u32 = 4;
const PART_ROWS: u32 = 16;
// Invocations of a subgroup that share a query, at most.
const SHARES: u32 = 1;
// Elements between lines, for the banks.
const SPACE: u32 = 4;
// Features with zeros behind them, of the first operands and of the second.
const FIRST_PADDED: u32 = 16;
const SECOND_PADDED: u32 = 16;
const OPERANDS: u32 = 1024;
const LIFT: f32 = 1;
const GROWTH: f32 = 5.5;

const FIRST_DISTANCE: u32 = FIRST_PADDED + SPACE;
const SECOND_DISTANCE: u32 = SECOND_PADDED + SPACE;
const SECOND_AT: u32 = COLUMNS * FIRST_DISTANCE;
const FIRST_VECTORS: u32 = COLUMNS * FIRST_PADDED / 4u;
const PART_QUERIES: u32 = select(PART_ROWS, COLUMNS, BY_KEYS);
const PART_KEYS: u32 = select(COLUMNS, PART_ROWS, BY_KEYS);
const SCORES_DISTANCE: u32 = PART_QUERIES + 4u;
const WEIGHTS_DISTANCE: u32 = PART_QUERIES + SPACE;
const PART_SCORES: u32 = PART_KEYS * SCORES_DISTANCE;
const PART_WEIGHTS: u32 = PART_KEYS * WEIGHTS_DISTANCE;
const GRADIENTS_AT: u32 = select(0u, SUBGROUPS * PART_WEIGHTS, BY_KEYS);

var<workgroup> matrix_operands: array<Component, OPERANDS>;
var<workgroup> matrix_scores: array<f32, SUBGROUPS * PART_SCORES>;
// Products of the second operands: what weights would change by.
var<workgroup> matrix_slopes: array<f32, SUBGROUPS * PART_SCORES>;
// Weights, or gradients of scores, or where rows are keys first those and then these.
var<workgroup> matrix_weights: array<Component, GRADIENTS_AT + SUBGROUPS * PART_WEIGHTS>;

fn matrix_put(at: u32, v: vec4<f32>) {
  let w = vec4<Component>(v);
  matrix_operands[at] = w.x;
  matrix_operands[at + 1u] = w.y;
  matrix_operands[at + 2u] = w.z;
  matrix_operands[at + 3u] = w.w;
}

// Copies `count` rows of the tile from row `first` on.
fn matrix_rows(second: bool, t: Tile, first: u32, count: u32, local: u32) {
  let vectors = select(FIRST_PADDED, SECOND_PADDED, second) / 4u;
  for (var i = local; i < count * vectors; i += TILE_THREADS) {
    let row = i / vectors;
    let d = i % vectors;
    matrix_put(row * (4u * vectors + SPACE) + 4u * d, row_vector(second, t, t.first + first + row, d));
  }
}

// Vector i of both operands of a tile's columns, the second behind the first.
fn matrix_fetch(t: Tile, base: i32, i: u32) -> vec4<f32> {
  if (i < FIRST_VECTORS) {
    return column_vector(false, t, base + i32(i / (FIRST_PADDED / 4u)), i % (FIRST_PADDED / 4u));
  }
  let rest = i - FIRST_VECTORS;
  return column_vector(true, t, base + i32(rest / (SECOND_PADDED / 4u)), rest % (SECOND_PADDED / 4u));
}

fn matrix_put_column(i: u32, v: vec4<f32>) {
  if (i < FIRST_VECTORS) {
    matrix_put(i / (FIRST_PADDED / 4u) * FIRST_DISTANCE + i % (FIRST_PADDED / 4u) * 4u, v);
  } else {
    let rest = i - FIRST_VECTORS;
    matrix_put(SECOND_AT + rest / (SECOND_PADDED / 4u) * SECOND_DISTANCE + rest % (SECOND_PADDED / 4u) * 4u, v);
  }
}

// Whether all of these queries see all of these keys: nothing is to be looked up then.
fn matrix_whole(b: u32, query: u32, queries: u32, key: i32, keys: u32) -> bool {
  if (HAS_MASK || query + queries > QUERIES) {
    return false;
  }
  let begin = seen_by(b, (query + queries - 1u) / GROUP).x;
  let end = seen_by(b, query / GROUP).y;
  return key >= begin && key + i32(keys) <= end;
}

// Whether those of the tile do with the columns from `base` on.
fn matrix_tile_whole(t: Tile, base: i32) -> bool {
  if (BY_KEYS) {
    return matrix_whole(t.b, u32(base), COLUMNS, i32(t.first), TILE);
  }
  return matrix_whole(t.b, t.first, TILE, base, COLUMNS);
}

// The scores of query n and keys j .. j + 3, whose products lie from `at` on.
fn matrix_four(t: Tile, n: u32, seen: vec2<i32>, j: i32, at: u32, whole: bool) -> vec4<f32> {
  let v = vec4(
    matrix_scores[at],
    matrix_scores[at + SCORES_DISTANCE],
    matrix_scores[at + 2u * SCORES_DISTANCE],
    matrix_scores[at + 3u * SCORES_DISTANCE]
  );
  if (whole) {
    return SCALE * v;
  }
  return vec4(
    score(t, n, seen, j, v.x),
    score(t, n, seen, j + 1, v.y),
    score(t, n, seen, j + 2, v.z),
    score(t, n, seen, j + 3, v.w)
  );
}

// Weights are rounded to f16: the device's own function is more exact than that, but need not know -infinity.
fn matrix_exp(x: vec4<f32>) -> vec4<f32> {
  return select(exp(x), vec4<f32>(), x < vec4(-87.0));
}

fn matrix_put_weights(at: u32, v: vec4<f32>) {
  let w = vec4<Component>(v);
  matrix_weights[at] = w.x;
  matrix_weights[at + WEIGHTS_DISTANCE] = w.y;
  matrix_weights[at + 2u * WEIGHTS_DISTANCE] = w.z;
  matrix_weights[at + 3u * WEIGHTS_DISTANCE] = w.w;
}

// Where an element of a subgroup's rows and columns is, of scores or of results that take their place.
fn matrix_place(part: u32, row: u32, column: u32) -> u32 {
  return part * PART_SCORES + select(column * SCORES_DISTANCE + row, row * SCORES_DISTANCE + column, BY_KEYS);
}

// Of each row: what its exponents refer to, and what its sums are multiplied by where that has changed.
var<workgroup> matrix_reference: array<f32, TILE>;
var<workgroup> matrix_factor: array<f32, TILE>;
// Of the invocations that share a row: the largest score of a tile, and the weights' sums before it and after it, in turns.
var<workgroup> matrix_peaks: array<f32, TILE * SHARES>;
var<workgroup> matrix_totals: array<f32, 2 * TILE * SHARES>;
// The last tile, counted from 1, with a score that is beyond.
var<workgroup> matrix_grown: atomic<u32>;

fn matrix_begin(local: u32) {
  for (var i = local; i < TILE; i += TILE_THREADS) {
    matrix_reference[i] = LOWEST;
  }
  for (var i = local; i < TILE * SHARES; i += TILE_THREADS) {
    matrix_peaks[i] = LOWEST;
    matrix_totals[i] = 0.0;
    matrix_totals[TILE * SHARES + i] = 0.0;
  }
  if (local == 0u) {
    atomicStore(&matrix_grown, 0u);
  }
}

// Makes weights of a subgroup's scores, in tile `turn`, and notes where one is beyond; `again`: as if there had been no first time, with
// another reference.
fn matrix_weigh(t: Tile, part: u32, lane: u32, lanes: u32, base: i32, whole: bool, turn: u32, again: bool) {
  let shares = max(lanes / PART_ROWS, 1u);
  let share = lane / PART_ROWS;
  for (var q = lane % PART_ROWS; q < PART_ROWS; q += lanes) {
    let row = part * PART_ROWS + q;
    let n = t.first + row;
    let reference = matrix_reference[row];
    var seen = vec2<i32>();
    if (!whole && n < QUERIES) {
      seen = seen_by(t.b, n / GROUP);
    }
    var peak = LOWEST;
    var sum = 0.0;
    for (var k = 4u * share; k < COLUMNS; k += 4u * shares) {
      let j = base + i32(k);
      let s = matrix_four(t, n, seen, j, part * PART_SCORES + k * SCORES_DISTANCE + q, whole);
      var p = matrix_exp(s - reference);
      peak = max(peak, max(max(s.x, s.y), max(s.z, s.w)));
      sum += (p.x + p.y) + (p.z + p.w);
      if (DROPS) {
        // What is kept is multiplied at the end.
        p = select(vec4<f32>(), p, factors(t, n, j) > vec4<f32>());
      }
      matrix_put_weights(part * PART_WEIGHTS + k * WEIGHTS_DISTANCE + q, p);
    }
    let slot = row * SHARES + share;
    let before = matrix_totals[turn % 2u * TILE * SHARES + slot];
    matrix_totals[(turn + 1u) % 2u * TILE * SHARES + slot] = before * select(1.0, matrix_factor[row], again) + sum;
    matrix_peaks[slot] = peak;
    if (!again && peak - reference > GROWTH) {
      atomicMax(&matrix_grown, turn + 1u);
    }
  }
}

// Has exponents refer to the largest scores so far.
fn matrix_refer(part: u32, lane: u32, lanes: u32) {
  for (var q = lane; q < PART_ROWS; q += lanes) {
    let row = part * PART_ROWS + q;
    let before = matrix_reference[row];
    var after = before;
    for (var share = 0u; share < SHARES; share++) {
      after = max(after, matrix_peaks[row * SHARES + share]);
    }
    matrix_reference[row] = after;
    matrix_factor[row] = matrix_exp(vec4(before - after)).x;
  }
}

// Multiplies results, `count` features, that are in the place of scores.
fn matrix_shrink(part: u32, lane: u32, lanes: u32, count: u32) {
  for (var i = lane; i < PART_ROWS * count; i += lanes) {
    matrix_scores[matrix_place(part, i % PART_ROWS, i / PART_ROWS)] *= matrix_factor[part * PART_ROWS + i % PART_ROWS];
  }
}

// Adds up each row's weights after `turns` tiles, and writes what is to be known of it.
fn matrix_end(t: Tile, part: u32, lane: u32, lanes: u32, split: u32, turns: u32) {
  for (var q = lane; q < PART_ROWS; q += lanes) {
    let row = part * PART_ROWS + q;
    let n = t.first + row;
    var total = 0.0;
    for (var share = 0u; share < SHARES; share++) {
      total += matrix_totals[turns % 2u * TILE * SHARES + row * SHARES + share];
    }
    matrix_factor[row] = total;
    if (n < QUERIES) {
      if (SPLITS > 1u) {
        let at = (split * (B * HEADS * TQ) + query_place(t, n)) * (VALUE_DIM + 2u) + VALUE_DIM;
        first_result[at] = matrix_reference[row];
        first_result[at + 1u] = total;
      } else if (HAS_LSE) {
        second_result[query_number(t, n)] = lse(matrix_reference[row], total);
      }
    }
  }
}

// Writes results in the place of scores: `count` features from `first` on.
fn matrix_write(t: Tile, part: u32, lane: u32, lanes: u32, split: u32, first: u32, count: u32) {
  for (var i = lane; i < PART_ROWS * count; i += lanes) {
    let row = i / count;
    let d = first + i % count;
    let n = t.first + part * PART_ROWS + row;
    if (n < QUERIES && d < VALUE_DIM) {
      let sum = FACTOR * matrix_scores[matrix_place(part, row, d - first)];
      let total = matrix_factor[part * PART_ROWS + row];
      if (SPLITS > 1u) {
        first_result[(split * (B * HEADS * TQ) + query_place(t, n)) * (VALUE_DIM + 2u) + d] = sum;
      } else {
        // Of values that are not seen there may be NaN.
        first_result[query_place(t, n) * VALUE_DIM + d] = select(sum * share_of(total), 0.0, total == 0.0);
      }
    }
  }
}

// Makes weights of a subgroup's scores, and of those and what they would change by the gradients of the scores.
fn matrix_differentiate(t: Tile, part: u32, lane: u32, lanes: u32, base: i32, whole: bool) {
  let shares = max(lanes / PART_QUERIES, 1u);
  let share = lane / PART_QUERIES;
  for (var q = lane % PART_QUERIES; q < PART_QUERIES; q += lanes) {
    let n = q + select(t.first + part * PART_ROWS, u32(base), BY_KEYS);
    var seen = vec2<i32>();
    var known = vec2<f32>();
    if (n < QUERIES) {
      seen = seen_by(t.b, n / GROUP);
      known = facts_of(t, n);
    }
    for (var k = 4u * share; k < PART_KEYS; k += 4u * shares) {
      let j = i32(k) + select(base, i32(t.first + part * PART_ROWS), BY_KEYS);
      let at = part * PART_SCORES + k * SCORES_DISTANCE + q;
      let p = LIFT * matrix_exp(matrix_four(t, n, seen, j, at, whole) - known.x);
      let f = factors(t, n, j);
      let slope = vec4(
        matrix_slopes[at],
        matrix_slopes[at + SCORES_DISTANCE],
        matrix_slopes[at + 2u * SCORES_DISTANCE],
        matrix_slopes[at + 3u * SCORES_DISTANCE]
      );
      let ds = p * (f * slope - known.y);
      let to = part * PART_WEIGHTS + k * WEIGHTS_DISTANCE + q;
      matrix_put_weights(GRADIENTS_AT + to, ds);
      if (BY_KEYS) {
        // What is kept is multiplied at the end.
        matrix_put_weights(to, select(vec4<f32>(), p, f > vec4<f32>()));
      } else if (HAS_DSCORE) {
        for (var i = 0u; i < 4u; i++) {
          if (j + i32(i) >= seen.x && j + i32(i) < seen.y) {
            second_result[query_number(t, n) * TK + u32(j) + i] = ds[i] / LIFT;
          }
        }
      }
    }
  }
}

// Likewise gradients of queries.
fn matrix_write_queries(t: Tile, part: u32, lane: u32, lanes: u32, first: u32, count: u32) {
  for (var i = lane; i < PART_ROWS * count; i += lanes) {
    let row = i / count;
    let d = first + i % count;
    let n = t.first + part * PART_ROWS + row;
    if (n < QUERIES && d < DIM) {
      first_result[query_place(t, n) * DIM + d] = SCALE / LIFT * matrix_scores[matrix_place(part, row, d - first)];
    }
  }
}

// Likewise those of keys, or of values.
fn matrix_write_keys(t: Tile, part: u32, lane: u32, lanes: u32, second: bool, first: u32, count: u32) {
  for (var i = lane; i < PART_ROWS * count; i += lanes) {
    let row = i / count;
    let d = first + i % count;
    let n = t.first + part * PART_ROWS + row;
    if (n < TK) {
      let sum = matrix_scores[matrix_place(part, row, d - first)];
      if (second && d < VALUE_DIM) {
        second_result[key_place(t, n) * VALUE_DIM + d] = FACTOR / LIFT * sum;
      }
      if (!second && d < DIM) {
        first_result[key_place(t, n) * DIM + d] = SCALE / LIFT * sum;
      }
    }
  }
}

// body
// end body

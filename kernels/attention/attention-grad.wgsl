// The gradient of attention: what it computes stands in src/plan/kernels.ts, how in tiles.wgsl. Scores are made again; each pass has rows
// of its own, so that nothing is added by two workgroups.
//
// queries  q, dy, k, v, mask?, facts -> dq, dscore? (which holds zeros)
// keys     k, v, q, dy, mask?, facts -> dk, dv

const HAS_DSCORE: bool = false;

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

// Log-sum-exp and delta of query n.
fn facts_of(t: Tile, n: u32) -> vec2<f32> {
  let at = QUERIES_AT + 2u * query_number(t, n);
  return vec2(bitcast<f32>(facts[at]), bitcast<f32>(facts[at + 1u]));
}

@compute @workgroup_size(TILE_THREADS)
fn queries(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let number = id.x + id.y * groups.x;
  if (number >= B * KV_HEADS * QUERY_TILES * PARTS) {
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
        if (HAS_DSCORE && t.part == 0u && j + i32(i) >= seen[r].x && j + i32(i) < seen[r].y) {
          second_result[query_number(t, own + r) * TK + u32(j) + i] = ds[i];
        }
      }
      weights[weights_of(y, r) + x] = ds;
    }
    accumulate(false, t, base, local, NARROW, &sums);
  }
  for (var r = 0u; r < ROWS; r++) {
    if (own + r < QUERIES) {
      store(t, query_place(t, own + r) * DIM, DIM, x, r, NARROW, SCALE, &sums);
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
  // Places of queries of a group are multiples, which are too large of positions far away.
  return clamp(vec2(begin, end), vec2(0), vec2(i32(TQ))) * i32(GROUP);
}

const KEY_TILES: u32 = (TK + TILE - 1) / TILE;

// The tile of a workgroup: of keys with the queries that see any of them.
fn key_tile(workgroup: u32) -> Tile {
  let number = workgroup / PARTS;
  let pair = number / KEY_TILES;
  let b = pair / KV_HEADS;
  let first = number % KEY_TILES * TILE;
  let columns = queries_of(b, i32(first), i32(min(first + TILE, TK)) - 1);
  return Tile(b, pair % KV_HEADS, first, u32(max(length_of(b), 0)), columns, workgroup % PARTS);
}

@compute @workgroup_size(TILE_THREADS)
fn keys(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let number = id.x + id.y * groups.x;
  if (number >= B * KV_HEADS * KEY_TILES * PARTS) {
    return;
  }
  let t = key_tile(number);
  let x = local % X;
  let y = local / X;
  let own = i32(t.first + y * ROWS);
  var key_sums: array<vec4<f32>, ROWS * MOST>;
  var value_sums: array<vec4<f32>, ROWS * MOST>;
  for (var base = t.columns.x - t.columns.x % i32(COLUMNS); base < t.columns.y; base += i32(COLUMNS)) {
    var p = products(false, t, base, local);
    var ds = products(true, t, base, local);
    for (var i = 0u; i < 4u; i++) {
      let n = u32(base) + 4u * x + i;
      var seen = vec2<i32>();
      var known = vec2<f32>();
      var factor = vec4<f32>();
      if (n < QUERIES) {
        seen = seen_by(t.b, n / GROUP);
        known = facts_of(t, n);
      }
      for (var r = 0u; r < ROWS; r++) {
        let j = own + i32(r);
        // Keys that share words of dropout.
        if (n < QUERIES && (r == 0u || j % 4 == 0)) {
          factor = factors(t, n, j - j % 4);
        }
        let own_factor = factor[u32(j) % 4u];
        let weight = f32_exp(score(t, n, seen, j, p[r][i]) - known.x);
        p[r][i] = weight * own_factor;
        ds[r][i] = weight * (own_factor * ds[r][i] - known.y);
      }
    }
    for (var r = 0u; r < ROWS; r++) {
      weights[weights_of(y, r) + x] = p[r];
    }
    accumulate(true, t, base, local, WIDE, &value_sums);
    workgroupBarrier();
    for (var r = 0u; r < ROWS; r++) {
      weights[weights_of(y, r) + x] = ds[r];
    }
    accumulate(false, t, base, local, NARROW, &key_sums);
  }
  for (var r = 0u; r < ROWS; r++) {
    if (own + i32(r) < i32(TK)) {
      let place = key_place(t, u32(own) + r);
      store(t, place * DIM, DIM, x, r, NARROW, SCALE, &key_sums);
      store_second(t, place * VALUE_DIM, VALUE_DIM, x, r, WIDE, &value_sums);
    }
  }
}

fn store_second(t: Tile, at: u32, features: u32, x: u32, r: u32, width: u32, sums: ptr<function, array<vec4<f32>, ROWS * MOST>>) {
  for (var c = 0u; c < width; c++) {
    let d = 4u * ((t.part * width + c) * X + x);
    for (var i = 0u; i < 4u; i++) {
      if (d + i < features) {
        second_result[at + d + i] = (*sums)[r * MOST + c][i];
      }
    }
  }
}

// The element of each row of [ROWS, COLS] from which on the largest hold a given weight. See rows.wgsl for how rows are shared.
//
// main  x, weights?, mass -> y[ROWS]: the greatest key, of integers that are ordered as floats are, for which what weighs at least it adds
//       up to the row's mass, two bits at a time; sums never fall when an element more is in them, so that it is an element's, or beyond
//       the row's largest or least. mass is [1] where SHARED, else [ROWS].

const ROWS: u32 = 1;
const COLS: u32 = 1;
const LANES: u32 = 1;
const WEIGHTED: bool = false;
const SHARED: bool = false;

@group(0) @binding(0) var<storage, read_write> y: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read> mass: array<f32>;

// hooks
fn join_max(p: Place, local: u32, own: i32) -> i32 {
  return tree_max(p, local, own);
}
fn join_sum(p: Place, local: u32, own: f32) -> f32 {
  return tree_sum(p, local, own);
}
// end hooks

const LEAST_KEY: i32 = ~0x7f800000;

// -infinity of a NaN, one key for both zeros.
fn key_of(bits: u32) -> i32 {
  let magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    return LEAST_KEY;
  }
  return select(i32(magnitude), ~i32(magnitude), bits > 0x80000000u);
}

fn weight_of(i: u32) -> f32 {
  if (!WEIGHTED) {
    return 1.0;
  }
  let bits = bitcast<u32>(weights[i]);
  return select(0.0, weights[i], bits - 1u < 0x7f800000u);
}

@compute @workgroup_size(ROW_THREADS)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let p = place_of(id.x + id.y * groups.x, local);
  var largest = LEAST_KEY;
  var least = LEAST_KEY;
  for (var i = p.begin; i < p.end; i += LANES) {
    let key = key_of(x[i]);
    largest = max(largest, key);
    // The least as the largest of what is ordered the other way.
    least = max(least, ~key);
  }
  largest = join_max(p, local, largest);
  least = ~join_max(p, local, least);
  let wanted = mass[select(p.row, 0u, SHARED)];
  let reachable = !f32_isnan(wanted);
  // The least integer, moved up from the highest bits on.
  var found = 0x80000000u;
  for (var bit = 32u; bit > 0u;) {
    bit -= 2u;
    let step = 1u << bit;
    let pivots = vec3<i32>(vec3(found) + vec3(step, 2u * step, 3u * step));
    var low = vec2<f32>();
    var middle = vec2<f32>();
    var high = vec2<f32>();
    for (var i = p.begin; i < p.end; i += LANES) {
      let key = key_of(x[i]);
      let weight = weight_of(i);
      low = plus(p, low, i, select(0.0, weight, key >= pivots.x));
      middle = plus(p, middle, i, select(0.0, weight, key >= pivots.y));
      high = plus(p, high, i, select(0.0, weight, key >= pivots.z));
    }
    let sums = vec3(join_sum(p, local, low.x + low.y), join_sum(p, local, middle.x + middle.y), join_sum(p, local, high.x + high.y));
    let reached = select(vec3(0u), vec3(1u), sums >= vec3(wanted));
    found += select(0u, step * (reached.x + reached.y + reached.z), reachable);
  }
  if (is_first(p)) {
    let key = clamp(i32(found), least, largest);
    y[p.row] = select(u32(key), u32(~key) | 0x80000000u, key < 0);
  }
}

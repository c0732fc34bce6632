// Rows of [ROWS, COLS] that invocations share: what softmax.wgsl and norm.wgsl have in common, a library.
// A row is the work of LANES invocations, a power of two, each with every LANES-th element. A tree in workgroup memory joins what they have
// (tree_*), or, where there are subgroups, these do first (subgroup_*): hooks choose.

const ROW_THREADS: u32 = 256;

// The fewest invocations of a subgroup. They are taken to be neighbours.
const SUBGROUP_SIZE: u32 = 4;

var<workgroup> sums: array<f32, ROW_THREADS>;
var<workgroup> keys: array<i32, ROW_THREADS>;

// An invocation's place in its row, which begins at `first`; its elements are from `begin` to `end`, none past the last row.
struct Place { row: u32, lane: u32, first: u32, begin: u32, end: u32 }

fn place_of(group: u32, local: u32) -> Place {
  let place = group * (ROW_THREADS / LANES) + local / LANES;
  let row = min(place, ROWS - 1u);
  let lane = local % LANES;
  let first = row * COLS;
  return Place(row, lane, first, first + lane, select(0u, first + COLS, place < ROWS));
}

// Whether it writes what a row has but once.
fn is_first(p: Place) -> bool {
  return p.lane == 0u && p.begin < p.end;
}

// An invocation's sum so far and, apart for the rounding, that of its last few elements, with element i.
fn plus(p: Place, sum: vec2<f32>, i: u32, v: f32) -> vec2<f32> {
  let last = sum.y + v;
  return select(vec2(sum.x, last), vec2(sum.x + last, 0.0), (i - p.first) / LANES % 32u == 31u);
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
  let largest = keys[local - p.lane];
  workgroupBarrier();
  return largest;
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
    workgroupBarrier();
  }
  return largest;
}

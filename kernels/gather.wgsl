// Rows chosen by an index, and their sums back. x and y are [outer, SIZE, INNER], rows [outer, COUNT, INNER]; an index
// outside [0, SIZE) is clamped. An invocation makes one element of the result, which is the first binding.
//
// gather             x, index i32[COUNT] -> y[outer, COUNT, INNER]: any dtype, moved as bits. TOTAL elements of y.
//                    With Element vec4<u32> four elements are one, where INNER is a multiple of four; INNER and TOTAL count such.
// gatherBytes        x, index -> y: i32 stored as bytes, four in a word, which become words.
// scatterAdd         updates, index -> y[outer, SIZE, INNER]: each element walks the whole index. TOTAL elements of y.
// orderIndex         index -> order u32[2, COUNT]: the clamped indices in ascending order, equal ones in the order of
//                    their positions, then those positions. An index's place is the number of those that go before it:
//                    COUNT^2 comparisons, for which a workgroup keeps the index in tiles.
// scatterAddOrdered  updates, order -> y: each element finds its row's run in `order` by bisection and walks that alone.
//                    For much data: the same sums as scatterAdd in the same order, hence the same bits.

alias Element = u32;
const SIZE: u32 = 1;
const INNER: u32 = 1;
const COUNT: u32 = 1;
const TOTAL: u32 = 1;

const THREADS: u32 = 256;

@group(0) @binding(0) var<storage, read_write> rows: array<Element>;
@group(0) @binding(0) var<storage, read_write> widened: array<i32>;
@group(0) @binding(0) var<storage, read_write> sums: array<f32>;
@group(0) @binding(0) var<storage, read_write> order_out: array<u32>;
@group(0) @binding(1) var<storage, read> source: array<Element>;
@group(0) @binding(1) var<storage, read> packed: array<u32>;
@group(0) @binding(1) var<storage, read> updates: array<f32>;
@group(0) @binding(2) var<storage, read> index: array<i32>;
@group(0) @binding(2) var<storage, read> order: array<u32>;

fn row_at(j: u32) -> u32 {
  return min(u32(max(index[j], 0)), SIZE - 1u);
}

@compute @workgroup_size(THREADS)
fn gather(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let at = (id.x + id.y * groups.x) * THREADS + local;
  if (at >= TOTAL) {
    return;
  }
  let row = at / INNER;
  let outer = row / COUNT;
  rows[at] = source[(outer * SIZE + row_at(row % COUNT)) * INNER + at % INNER];
}

@compute @workgroup_size(THREADS)
fn gatherBytes(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32
) {
  let at = (id.x + id.y * groups.x) * THREADS + local;
  if (at >= TOTAL) {
    return;
  }
  let row = at / INNER;
  let i = (row / COUNT * SIZE + row_at(row % COUNT)) * INNER + at % INNER;
  widened[at] = byte_of(packed[i / 4u], i);
}

@compute @workgroup_size(THREADS)
fn scatterAdd(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32
) {
  let at = (id.x + id.y * groups.x) * THREADS + local;
  if (at >= TOTAL) {
    return;
  }
  let row = at / INNER;
  let first = row / SIZE * COUNT * INNER + at % INNER;
  let wanted = row % SIZE;
  var sum = 0.0;
  for (var j = 0u; j < COUNT; j++) {
    if (row_at(j) == wanted) {
      sum += updates[first + j * INNER];
    }
  }
  sums[at] = sum;
}

var<workgroup> tile: array<u32, THREADS>;

@compute @workgroup_size(THREADS)
fn orderIndex(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32
) {
  let first = (id.x + id.y * groups.x) * THREADS;
  if (first >= COUNT) {
    return;
  }
  let j = first + local;
  let own = row_at(min(j, COUNT - 1u));
  var place = 0u;
  for (var base = 0u; base < COUNT; base += THREADS) {
    let other = base + local;
    tile[local] = select(0xffffffffu, row_at(min(other, COUNT - 1u)), other < COUNT);
    workgroupBarrier();
    for (var i = 0u; i < THREADS; i++) {
      place += u32(tile[i] < own + u32(base + i < j));
    }
    workgroupBarrier();
  }
  if (j < COUNT) {
    order_out[place] = own;
    order_out[COUNT + place] = j;
  }
}

@compute @workgroup_size(THREADS)
fn scatterAddOrdered(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32
) {
  let at = (id.x + id.y * groups.x) * THREADS + local;
  if (at >= TOTAL) {
    return;
  }
  let row = at / INNER;
  let first = row / SIZE * COUNT * INNER + at % INNER;
  let wanted = row % SIZE;
  var place = 0u;
  var end = COUNT;
  while (place < end) {
    let middle = (place + end) / 2u;
    if (order[middle] < wanted) {
      place = middle + 1u;
    } else {
      end = middle;
    }
  }
  var sum = 0.0;
  for (; place < COUNT && order[place] == wanted; place++) {
    sum += updates[first + order[COUNT + place] * INNER];
  }
  sums[at] = sum;
}

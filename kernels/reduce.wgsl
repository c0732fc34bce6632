// reduce(inputs...) -> y: y[outer, inner] = op over size of x[outer, size, inner], x in memory or computed by a fused body. A workgroup of
// THREADS makes LANES outputs, COLUMN = THREADS / LANES invocations for each; each takes every COLUMN-th element of its part, in blocks,
// then they are joined: by a tree in workgroup memory, or, where an output's invocations are neighbours (INNER 1) and there are subgroups,
// within these first. Long reductions are split into PARTS workgroups, whose results a second dispatch of this kernel joins. The order of
// additions depends on shapes and the size of subgroups only.
// The body declares the bindings from 1 on and element(i, index), the i-th element of x; where there is none, a hook says which parts are
// read. `first` of an accumulator is the element, `index` where it is along size, of argmax and argmin alone. Hooks: combine(a, b), which
// calls merge, or before, equals and is_nan; keep(slot, a) and kept(slot), an accumulator in workgroup memory; store(at, a); join(total,
// slot, row), one of join_tree and join_subgroups.

alias Element = f32;
// The bits of what changes nothing.
const START: u32 = 0;
const OUTPUTS: u32 = 1;
const SIZE: u32 = 1;
const INNER: u32 = 1;
const PARTS: u32 = 1;
// Elements of a part.
const CHUNK: u32 = 1;
const LANES: u32 = 1;
const THREADS: u32 = 256;
const COLUMN: u32 = THREADS / LANES;
// Elements that an invocation adds one after another before they join its total.
const BLOCK: u32 = 32;
// The fewest invocations of a subgroup. They are taken to be neighbours.
const SUBGROUP_SIZE: u32 = 4;

struct Accumulator { first: Element, index: u32 }

@group(0) @binding(0) var<storage, read_write> y: array<u32>;
@group(0) @binding(1) var<storage, read> parts: array<u32>;

// body
@group(0) @binding(1) var<storage, read> b1: array<f32>;

fn element(i: u32, index: u32) -> Accumulator {
  return Accumulator(b1[i], index);
}
// end body

// hooks
fn merge(a: Element, b: Element) -> Element {
  return a + b;
}
fn combine(a: Accumulator, b: Accumulator) -> Accumulator {
  return combine_values(a, b);
}
fn store(at: u32, a: Accumulator) {
  store_value(at, a);
}
fn keep(slot: u32, a: Accumulator) {
  keep_value(slot, a);
}
fn kept(slot: u32) -> Accumulator {
  return kept_value(slot);
}
fn join(total: Accumulator, slot: u32, row: u32) -> Accumulator {
  return join_tree(total, slot, row);
}
// end hooks

fn start() -> Element {
  var bits = START;
  return bitcast<Element>(bits);
}

// What the parts of a long reduction left: elements, of argmax and argmin each followed by where it was.
fn part_value(i: u32, index: u32) -> Accumulator {
  return Accumulator(bitcast<Element>(parts[i]), index);
}

fn part_place(i: u32, index: u32) -> Accumulator {
  return Accumulator(bitcast<Element>(parts[2u * i]), parts[2u * i + 1u]);
}

fn combine_values(a: Accumulator, b: Accumulator) -> Accumulator {
  return Accumulator(merge(a.first, b.first), 0u);
}

// Keeps the first of equals whatever the order of its operands. A NaN, of which comparisons are false, goes before everything but an
// earlier NaN.
fn combine_places(a: Accumulator, b: Accumulator) -> Accumulator {
  let a_nan = is_nan(a.first);
  let b_nan = is_nan(b.first);
  let tie = (a_nan && b_nan) || equals(a.first, b.first) != 0u;
  let wins = (b_nan && !a_nan) || (!a_nan && before(b.first, a.first) != 0u);
  if (wins || (tie && b.index < a.index)) {
    return b;
  }
  return a;
}

fn never(x: Element) -> bool {
  return false;
}

fn keep_value(slot: u32, a: Accumulator) {
  firsts[slot] = a.first;
}

fn kept_value(slot: u32) -> Accumulator {
  return Accumulator(firsts[slot], 0u);
}

fn keep_place(slot: u32, a: Accumulator) {
  firsts[slot] = a.first;
  indices[slot] = a.index;
}

fn kept_place(slot: u32) -> Accumulator {
  return Accumulator(firsts[slot], indices[slot]);
}

// Everything is stored by its bits.
fn store_value(at: u32, a: Accumulator) {
  y[at] = bitcast<u32>(a.first);
}

fn store_index(at: u32, a: Accumulator) {
  y[at] = a.index;
}

fn store_place(at: u32, a: Accumulator) {
  y[2u * at] = bitcast<u32>(a.first);
  y[2u * at + 1u] = a.index;
}

var<workgroup> firsts: array<Element, THREADS>;
var<workgroup> indices: array<u32, THREADS>;

// What the invocations of an output have, joined, for the first of them (row 0).
fn join_tree(total: Accumulator, slot: u32, row: u32) -> Accumulator {
  keep(slot, total);
  for (var width = COLUMN / 2u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (row < width) {
      keep(slot, combine(kept(slot), kept(slot + width * LANES)));
    }
  }
  return kept(slot);
}

// The same for INNER 1. Those of one subgroup exchange what they have; then row 0 joins the subgroups of its output.
fn join_subgroups(total: Accumulator, slot: u32, row: u32) -> Accumulator {
  let local = slot / LANES + slot % LANES * COLUMN;
  let size = subgroupAdd(1u);
  var joined = total;
  for (var mask = 1u; mask < min(COLUMN, size); mask *= 2u) {
    joined = combine(joined, Accumulator(subgroupShuffleXor(joined.first, mask), subgroupShuffleXor(joined.index, mask)));
  }
  if (COLUMN > SUBGROUP_SIZE) {
    if (local % size == 0u) {
      keep(local / size, joined);
    }
    workgroupBarrier();
    if (row == 0u && COLUMN > size) {
      for (var i = 1u; i < COLUMN / size; i++) {
        joined = combine(joined, kept(local / size + i));
      }
    }
  }
  return joined;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let g = group.x + group.y * groups.x;
  let part = g % PARTS;
  // Neighbours read neighbouring elements: along size where it is the last dimension, else along inner.
  var lane = local % LANES;
  var row = local / LANES;
  if (INNER == 1u) {
    lane = local / COLUMN;
    row = local % COLUMN;
  }
  let output = g / PARTS * LANES + lane;
  let inside = output < OUTPUTS;
  let base = output / INNER * (SIZE * INNER) + output % INNER;
  let end = select(0u, min(SIZE, (part + 1u) * CHUNK), inside);
  var total = Accumulator(start(), 0xffffffffu);
  // In blocks, for the rounding.
  for (var r = part * CHUNK + row; r < end;) {
    var block = Accumulator(start(), 0xffffffffu);
    for (let last = min(end, r + BLOCK * COLUMN); r < last; r += COLUMN) {
      block = combine(block, element(base + r * INNER, r));
    }
    total = combine(total, block);
  }
  let joined = join(total, row * LANES + lane, row);
  if (inside && row == 0u) {
    store(output * PARTS + part, joined);
  }
}

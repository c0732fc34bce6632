// Rows replaced by others. y is [SIZE, INNER], updates [COUNT, INNER], moved as bits. With Element vec4<u32> four elements are one.
// Hooks: replace, which with replace_halves makes two words of four f32, as f16.
//
// main  index i32[COUNT], updates -> y: a workgroup writes row index[j] of y, unless a later index is equal, or it is outside [0, SIZE).

alias Element = u32;
const SIZE: u32 = 1;
const INNER: u32 = 1;
const COUNT: u32 = 1;

const THREADS: u32 = 256;

@group(0) @binding(0) var<storage, read_write> y: array<Element>;
@group(0) @binding(1) var<storage, read> rows_of: array<u32>;
@group(0) @binding(2) var<storage, read> updates: array<Element>;

@group(0) @binding(0) var<storage, read_write> y_halves: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> update_floats: array<vec4<f32>>;

// hooks
fn replace(to: u32, by: u32) {
  replace_words(to, by);
}
// end hooks

fn replace_words(to: u32, by: u32) {
  y[to] = updates[by];
}

fn replace_halves(to: u32, by: u32) {
  y_halves[to] = half_words(update_floats[by]);
}

var<workgroup> later: atomic<u32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let j = id.x + id.y * groups.x;
  let row = rows_of[min(j, COUNT - 1u)];
  // Devices can be opened that do not clear workgroup memory.
  if (local == 0u) {
    atomicStore(&later, 0u);
  }
  workgroupBarrier();
  var equal = false;
  for (var k = j + 1u + local; k < COUNT; k += THREADS) {
    equal = equal || rows_of[k] == row;
  }
  if (equal) {
    atomicStore(&later, 1u);
  }
  workgroupBarrier();
  if (j >= COUNT || row >= SIZE || atomicLoad(&later) != 0u) {
    return;
  }
  for (var i = local; i < INNER; i += THREADS) {
    replace(row * INNER + i, j * INNER + i);
  }
}

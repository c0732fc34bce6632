// Kernels that move words, the twin of assembly/move.ts: elements of any dtype, one per invocation.
// copy: y[Y_OFFSET + sum i_d*Y_d] = x[X_OFFSET + sum i_d*X_d] for i below SIZE_d, dimension 5 innermost. Strides in elements,
//   negative ones too, which u32 wraps around. x is binding 0, y binding 1. With Element vec4<u32> four elements are
//   one, and all numbers are of such.
// transpose: the same where x is contiguous along dimension 4 (ROWS) and y along dimension 5 (COLUMNS): a workgroup turns a tile
//   of 16 x 16 in workgroup memory, so that reads and writes both run along memory. Groups: tiles, then the outer dimensions.
// fill: y = VALUE (bits). iota: the index along a dimension: (i / INNER) % SIZE, as f32 where FLOAT. y is binding 0.

const COUNT: u32 = 1;
alias Element = u32;

const SIZE_0: u32 = 1;
const SIZE_1: u32 = 1;
const SIZE_2: u32 = 1;
const SIZE_3: u32 = 1;
const SIZE_4: u32 = 1;
const SIZE_5: u32 = 1;
const X_OFFSET: u32 = 0;
const X_0: u32 = 0;
const X_1: u32 = 0;
const X_2: u32 = 0;
const X_3: u32 = 0;
const X_4: u32 = 0;
const X_5: u32 = 1;
const Y_OFFSET: u32 = 0;
const Y_0: u32 = 0;
const Y_1: u32 = 0;
const Y_2: u32 = 0;
const Y_3: u32 = 0;
const Y_4: u32 = 0;
const Y_5: u32 = 1;

const VALUE: u32 = 0;
const SIZE: u32 = 1;
const INNER: u32 = 1;
const FLOAT: bool = false;

@group(0) @binding(0) var<storage, read> x: array<Element>;
@group(0) @binding(1) var<storage, read_write> y: array<Element>;
@group(0) @binding(0) var<storage, read_write> only: array<Element>;

// Offsets in x and y of the outer dimensions' `index`-th element.
fn outer_offsets(index: u32) -> vec2<u32> {
  let i3 = index % SIZE_3;
  let rest2 = index / SIZE_3;
  let i2 = rest2 % SIZE_2;
  let rest1 = rest2 / SIZE_2;
  let i1 = rest1 % SIZE_1;
  let i0 = rest1 / SIZE_1;
  return vec2(X_OFFSET, Y_OFFSET) + i0 * vec2(X_0, Y_0) + i1 * vec2(X_1, Y_1) + i2 * vec2(X_2, Y_2) + i3 * vec2(X_3, Y_3);
}

// Offsets in x and y of the `index`-th element.
fn offsets(index: u32) -> vec2<u32> {
  let rest = index / SIZE_5;
  return outer_offsets(rest / SIZE_4) + rest % SIZE_4 * vec2(X_4, Y_4) + index % SIZE_5 * vec2(X_5, Y_5);
}

@compute @workgroup_size(64)
fn copy(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = (group.x + group.y * groups.x) * 64u + local;
  if (i >= COUNT) {
    return;
  }
  let at = offsets(i);
  y[at.y] = x[at.x];
}

const TILE: u32 = 16;
const TILES_4: u32 = (SIZE_4 + TILE - 1) / TILE;
const TILES_5: u32 = (SIZE_5 + TILE - 1) / TILE;

// One column more than needed, so that columns fall into different banks.
var<workgroup> tile: array<u32, 272>;

@compute @workgroup_size(16, 16)
fn transpose(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>
) {
  let g = group.x + group.y * groups.x;
  let first_5 = (g % TILES_5) * TILE;
  let first_4 = (g / TILES_5 % TILES_4) * TILE;
  let outer = g / (TILES_5 * TILES_4);
  let at = outer_offsets(outer);
  let inside = outer < COUNT;
  let read_4 = first_4 + local.x;
  let read_5 = first_5 + local.y;
  if (inside && read_4 < SIZE_4 && read_5 < SIZE_5) {
    tile[local.y * 17u + local.x] = x[at.x + read_4 * X_4 + read_5 * X_5];
  }
  workgroupBarrier();
  let write_4 = first_4 + local.y;
  let write_5 = first_5 + local.x;
  if (inside && write_4 < SIZE_4 && write_5 < SIZE_5) {
    y[at.y + write_4 * Y_4 + write_5 * Y_5] = tile[local.x * 17u + local.y];
  }
}

@compute @workgroup_size(64)
fn fill(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = (group.x + group.y * groups.x) * 64u + local;
  if (i < COUNT) {
    only[i] = Element(VALUE);
  }
}

@compute @workgroup_size(64)
fn iota(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = (group.x + group.y * groups.x) * 64u + local;
  if (i < COUNT) {
    let index = i / INNER % SIZE;
    only[i] = select(index, bitcast<u32>(f32(index)), FLOAT);
  }
}

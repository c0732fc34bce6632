// Pooling of x[n,H,W,C] to y[n,P,Q,C], the twin of assembly/pool.ts. One output element for each invocation, neighbours along channels.
// pool, MAX:       x -> y, index?   index (i32) is r*S + s of the first largest element inside the input; a NaN is passed over unless
//                  it is the first.
// pool:            x -> y, the mean of the elements inside
// pool_grad, MAX:  dy, index -> dx
// pool_grad:       dy -> dx
// Gradients gather: an element of dx visits the windows that it is in, in the order of p, q, so nothing is added atomically.
// A window with nothing inside gives 0 (index 0) and takes no gradient. Pairs are of rows and columns, those of x counted from where
// padding begins.

// Elements of the output.
const SIZE: u32 = 1;
const MAX: bool = true;
const HAS_INDEX: bool = true;
const IMAGE: vec2<u32> = vec2(1, 1);
const OUTPUT: vec2<u32> = vec2(1, 1);
const TAPS: vec2<u32> = vec2(1, 1);
const STRIDE: vec2<u32> = vec2(1, 1);
const PAD: vec2<u32> = vec2(0, 0);
const C: u32 = 1;

@group(0) @binding(0) var<storage, read> image: array<f32>;
@group(0) @binding(1) var<storage, read_write> taken: array<i32>;
@group(0) @binding(2) var<storage, read_write> pooled: array<f32>;
@group(0) @binding(1) var<storage, read> winner: array<i32>;

@compute @workgroup_size(64)
fn pool(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = (group.x + group.y * groups.x) * 64u + local;
  if (i >= SIZE) {
    return;
  }
  let corner = cell_of(i / C % (OUTPUT.x * OUTPUT.y), OUTPUT.y) * STRIDE;
  let begin = max(corner, PAD);
  let end = min(corner + TAPS, IMAGE + PAD);
  let first = i / (C * OUTPUT.x * OUTPUT.y) * IMAGE.x;
  var result = 0.0;
  var tap = 0u;
  for (var h = begin.x; h < end.x; h++) {
    for (var w = begin.y; w < end.y; w++) {
      let value = image[((first + h - PAD.x) * IMAGE.y + w - PAD.y) * C + i % C];
      if (!MAX) {
        result += value;
      } else if (all(vec2(h, w) == begin) || (value > result && !f32_isnan(value) && !f32_isnan(result))) {
        result = value;
        tap = (h - corner.x) * TAPS.y + w - corner.y;
      }
    }
  }
  if (!MAX) {
    let inside = max(begin, end) - begin;
    result /= f32(max(1u, inside.x * inside.y));
  }
  pooled[i] = result;
  if (HAS_INDEX) {
    taken[i] = i32(tap);
  }
}

@compute @workgroup_size(64)
fn pool_grad(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32
) {
  let i = (group.x + group.y * groups.x) * 64u + local;
  if (i >= SIZE) {
    return;
  }
  let cell = cell_of(i / C % (IMAGE.x * IMAGE.y), IMAGE.y) + PAD;
  let begin = (max(cell + STRIDE, TAPS) - TAPS) / STRIDE;
  let end = min(OUTPUT, cell / STRIDE + 1u);
  let first = i / (C * IMAGE.x * IMAGE.y) * OUTPUT.x;
  var result = 0.0;
  for (var p = begin.x; p < end.x; p++) {
    for (var q = begin.y; q < end.y; q++) {
      let at = ((first + p) * OUTPUT.y + q) * C + i % C;
      let corner = vec2(p, q) * STRIDE;
      let inside = min(corner + TAPS, IMAGE + PAD) - max(corner, PAD);
      if (!MAX) {
        result += image[at] / f32(inside.x * inside.y);
      } else if (winner[at] == i32((cell.x - corner.x) * TAPS.y + cell.y - corner.y)) {
        result += image[at];
      }
    }
  }
  pooled[i] = result;
}

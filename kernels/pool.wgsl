// Pooling of x[n,H,W,C] to y[n,P,Q,C], the twin of assembly/pool.ts. One output element for each invocation, neighbours along channels.
// max_pool: x -> y, index?   index (i32) is r*S + s of the first largest element inside the input; a NaN is passed over unless
//   it is the first.  max_pool_values: x -> y, where nobody reads index.
// max_pool_grad: dy, index -> dx   avg_pool: x -> y, the mean of the elements inside   avg_pool_grad: dy -> dx
// Gradients gather: an element of dx visits the windows that it is in, in the order of p, q, so nothing is added atomically.
// A window with nothing inside gives 0 (index 0) and takes no gradient. Bindings: inputs, then outputs.

// Elements of the output.
const SIZE: u32 = 1;
const H: i32 = 1;
const W: i32 = 1;
const C: u32 = 1;
const P: i32 = 1;
const Q: i32 = 1;
const R: i32 = 1;
const S: i32 = 1;
const STRIDE_H: i32 = 1;
const STRIDE_W: i32 = 1;
const PAD_TOP: i32 = 0;
const PAD_LEFT: i32 = 0;

@group(0) @binding(0) var<storage, read> image: array<f32>;
@group(0) @binding(1) var<storage, read_write> pooled: array<f32>;
@group(0) @binding(2) var<storage, read_write> taken: array<i32>;
@group(0) @binding(0) var<storage, read> pooled_grad: array<f32>;
@group(0) @binding(1) var<storage, read> winner: array<i32>;
@group(0) @binding(2) var<storage, read_write> max_image_grad: array<f32>;
@group(0) @binding(1) var<storage, read_write> avg_image_grad: array<f32>;

// The part of a window that is inside the input: rows [r0, r1), columns [s0, s1), and the window's corner in the input.
struct Window { top: i32, left: i32, r0: i32, r1: i32, s0: i32, s1: i32 }

fn window_of(p: i32, q: i32) -> Window {
  let top = p * STRIDE_H - PAD_TOP;
  let left = q * STRIDE_W - PAD_LEFT;
  return Window(top, left, max(0, -top), min(R, H - top), max(0, -left), min(S, W - left));
}

// The window of element i of [n, P, Q, C].
fn window_of_output(i: u32) -> Window {
  let pq = i / C % u32(P * Q);
  return window_of(i32(pq) / Q, i32(pq) % Q);
}

// Position of input element (h, w) in the image and channel of output element i.
fn input_at(i: u32, h: i32, w: i32) -> u32 {
  return ((i / (C * u32(P * Q)) * u32(H) + u32(h)) * u32(W) + u32(w)) * C + i % C;
}

struct Largest { value: f32, tap: i32 }

fn largest_of(i: u32) -> Largest {
  let window = window_of_output(i);
  if (window.r0 >= window.r1 || window.s0 >= window.s1) {
    return Largest(0.0, 0);
  }
  var best = Largest(image[input_at(i, window.top + window.r0, window.left + window.s0)], window.r0 * S + window.s0);
  for (var r = window.r0; r < window.r1; r++) {
    for (var s = window.s0; s < window.s1; s++) {
      let value = image[input_at(i, window.top + r, window.left + s)];
      if (value > best.value && !f32_isnan(value) && !f32_isnan(best.value)) {
        best = Largest(value, r * S + s);
      }
    }
  }
  return best;
}

@compute @workgroup_size(64)
fn max_pool(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = (group.x + group.y * groups.x) * 64u + local;
  if (i >= SIZE) {
    return;
  }
  let best = largest_of(i);
  pooled[i] = best.value;
  taken[i] = best.tap;
}

@compute @workgroup_size(64)
fn max_pool_values(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = (group.x + group.y * groups.x) * 64u + local;
  if (i < SIZE) {
    pooled[i] = largest_of(i).value;
  }
}

@compute @workgroup_size(64)
fn avg_pool(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = (group.x + group.y * groups.x) * 64u + local;
  if (i >= SIZE) {
    return;
  }
  let window = window_of_output(i);
  var sum = 0.0;
  for (var r = window.r0; r < window.r1; r++) {
    for (var s = window.s0; s < window.s1; s++) {
      sum += image[input_at(i, window.top + r, window.left + s)];
    }
  }
  let count = max(0, window.r1 - window.r0) * max(0, window.s1 - window.s0);
  pooled[i] = sum / f32(max(1, count));
}

// The windows that input row h (column w) is in: [first, last).
fn first_window(at: i32, size: i32, stride: i32) -> i32 {
  return max(0, at - size + stride) / stride;
}

fn last_window(at: i32, count: i32, stride: i32) -> i32 {
  return min(count, at / stride + 1);
}

@compute @workgroup_size(64)
fn max_pool_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = (group.x + group.y * groups.x) * 64u + local;
  if (i >= SIZE) {
    return;
  }
  let h = i32(i / (C * u32(W)) % u32(H)) + PAD_TOP;
  let w = i32(i / C % u32(W)) + PAD_LEFT;
  let first = i / (C * u32(H * W)) * u32(P * Q);
  var sum = 0.0;
  for (var p = first_window(h, R, STRIDE_H); p < last_window(h, P, STRIDE_H); p++) {
    for (var q = first_window(w, S, STRIDE_W); q < last_window(w, Q, STRIDE_W); q++) {
      let at = (first + u32(p * Q + q)) * C + i % C;
      if (winner[at] == (h - p * STRIDE_H) * S + w - q * STRIDE_W) {
        sum += pooled_grad[at];
      }
    }
  }
  max_image_grad[i] = sum;
}

@compute @workgroup_size(64)
fn avg_pool_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = (group.x + group.y * groups.x) * 64u + local;
  if (i >= SIZE) {
    return;
  }
  let h = i32(i / (C * u32(W)) % u32(H)) + PAD_TOP;
  let w = i32(i / C % u32(W)) + PAD_LEFT;
  let first = i / (C * u32(H * W)) * u32(P * Q);
  var sum = 0.0;
  for (var p = first_window(h, R, STRIDE_H); p < last_window(h, P, STRIDE_H); p++) {
    for (var q = first_window(w, S, STRIDE_W); q < last_window(w, Q, STRIDE_W); q++) {
      let window = window_of(p, q);
      sum += pooled_grad[(first + u32(p * Q + q)) * C + i % C] / f32((window.r1 - window.r0) * (window.s1 - window.s0));
    }
  }
  avg_image_grad[i] = sum;
}

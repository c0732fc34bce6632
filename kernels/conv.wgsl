// conv2d(x, w, bias?) -> y, conv2dFilterGrad(x, dy) -> dw, conv2dInputGrad(dy, w) -> dx: x[n,H,W,C], w[R,S,C/groups,F], y[n,P,Q,F],
// NHWC; bindings: two inputs, bias, output. Groups are the batch of a product, CHANNELS = C/groups by FILTERS = F/groups.
// main: the product of gemm.wgsl, whose A is gathered while it is loaded, so that no im2col buffer exists.
//   conv2d:   rows are pixels (n, p, q) of y, k is (r, s, channel); A = windows of x, B = w.
//   conv2dFilterGrad: rows are (r, s, channel), k is the pixels; A = the windows again, B = dy. FILTER_GRAD tells them apart.
//   conv2dInputGrad: rows are pixels of x, k is (tap row, tap column, filter); A = what each pixel went into, B = w with C and F
//     exchanged. A pixel meets only taps r with (h + PAD_TOP - r DILATION_H) divisible by STRIDE_H: first_tap, then every TAP_STEP_H-th,
//     at most TAPS_H. So pixels with the same remainders (a phase) are one product; phases are part of the batch.
// direct*: one output element each, for groups so narrow that a product would mostly multiply nothing (depthwise).
// The body chooses how operands are read and the output is written: `vector_*` where runs of four channels or filters are
// aligned, `lanes_*` otherwise.

// Of the product: rows, columns, k (of a phase at most).
const BATCH: u32 = 1;
const M: u32 = 1;
const N: u32 = 1;
const K: u32 = 1;
// B's and the output's elements from batch to batch, row to row, column to column and k to k (not for conv2dInputGrad).
const B_BATCH: u32 = 0;
const B_COLUMN: u32 = 1;
const B_K: u32 = 1;
const FILTER_GRAD: bool = false;

const H: u32 = 1;
const W: u32 = 1;
const C: u32 = 1;
const P: u32 = 1;
const Q: u32 = 1;
const F: u32 = 1;
const R: u32 = 1;
const S: u32 = 1;
const CHANNELS: u32 = 1;
const FILTERS: u32 = 1;
const STRIDE_H: i32 = 1;
const STRIDE_W: i32 = 1;
const DILATION_H: i32 = 1;
const DILATION_W: i32 = 1;
const PAD_TOP: i32 = 0;
const PAD_LEFT: i32 = 0;

// Of phases: gcd(stride, dilation); stride / gcd; the inverse of dilation / gcd modulo that; the most taps of a phase.
const PHASES_H: u32 = 1;
const PHASES_W: u32 = 1;
const GCD_H: i32 = 1;
const GCD_W: i32 = 1;
const TAP_STEP_H: i32 = 1;
const TAP_STEP_W: i32 = 1;
const INVERSE_H: i32 = 0;
const INVERSE_W: i32 = 0;
const TAPS_H: u32 = 1;
const TAPS_W: u32 = 1;

// See gemm.wgsl.
const SPLITS: u32 = 1;
const CHUNK: u32 = 16;
const THREADS_X: u32 = 8;
const THREADS_Y: u32 = 8;
const ROWS: u32 = 4;
const COLUMNS: u32 = 4;
const TILE_K: u32 = 16;
const A_ALONG_K: bool = true;
const B_ALONG_K: bool = false;
const SIZE_Y: u32 = 1;
const HAS_BIAS: bool = false;
const BIAS_STRIDE: u32 = 0;

@group(0) @binding(0) var<storage, read> a_lanes: array<f32>;
@group(0) @binding(0) var<storage, read> a_vectors: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b_lanes: array<f32>;
@group(0) @binding(1) var<storage, read> b_vectors: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y_lanes: array<f32>;
@group(0) @binding(3) var<storage, read_write> y_vectors: array<vec4<f32>>;

// body
fn depth(batch: u32) -> u32 {
  return K;
}
fn load_a(batch: u32, row: u32, k: u32) -> vec4<f32> {
  return lanes_window(batch, row, k);
}
fn load_b(batch: u32, column: u32, k: u32) -> vec4<f32> {
  return lanes_b(batch, column, k);
}
fn place_y(batch: u32, row: u32) -> u32 {
  return place_row(batch, row);
}
fn write_y(at: u32, count: u32, v: vec4<f32>) {
  lanes_y(at, count, v);
}
fn activate(x: f32) -> f32 {
  return x;
}
// end body

@compute @workgroup_size(THREADS_X, THREADS_Y)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  gemm(group.x + group.y * groups.x, local.x, local.y);
}

fn depth_of_all(batch: u32) -> u32 {
  return K;
}

// Of y and dw: F columns, of which the batch's are FILTERS.
fn place_row(batch: u32, row: u32) -> u32 {
  return select(OUTSIDE, row * F + batch * FILTERS, row < M);
}

// Position in x of element `tap` = (r, s, channel) of the window of `pixel` = (n, p, q), or OUTSIDE.
fn window_at(batch: u32, pixel: u32, tap: u32) -> u32 {
  let channel = tap % CHANNELS;
  let rs = tap / CHANNELS;
  let pq = pixel % (P * Q);
  // Negative positions become large ones.
  let h = u32(i32(pq / Q) * STRIDE_H + i32(rs / S) * DILATION_H - PAD_TOP);
  let w = u32(i32(pq % Q) * STRIDE_W + i32(rs % S) * DILATION_W - PAD_LEFT);
  let at = ((pixel / (P * Q) * H + h) * W + w) * C + batch * CHANNELS + channel;
  let inside = (h < H) & (w < W) & (pixel < select(M, K, FILTER_GRAD)) & (tap < select(K, M, FILTER_GRAD));
  return select(OUTSIDE, at, inside);
}

fn vector_window(batch: u32, row: u32, k: u32) -> vec4<f32> {
  let at = window_at(batch, select(row, k, FILTER_GRAD), select(k, row, FILTER_GRAD));
  let inside = at != OUTSIDE;
  return select(vec4<f32>(), a_vectors[select(0u, at / 4u, inside)], inside);
}

fn lane_window(batch: u32, pixel: u32, tap: u32) -> f32 {
  let at = window_at(batch, pixel, tap);
  return lane_a(at, at != OUTSIDE);
}

fn lanes_window(batch: u32, row: u32, k: u32) -> vec4<f32> {
  let pixel = select(row, k, FILTER_GRAD);
  let tap = select(k, row, FILTER_GRAD);
  return vec4<f32>(lane_window(batch, pixel, tap), lane_window(batch, pixel, tap + 1u), lane_window(batch, pixel, tap + 2u), lane_window(batch, pixel, tap + 3u));
}

// From here to the direct kernels all is of conv2dInputGrad: batch = (group, phase of h, phase of w).
const GRID_H: u32 = (H + PHASES_H - 1u) / PHASES_H;
const GRID_W: u32 = (W + PHASES_W - 1u) / PHASES_W;
const NO_TAP: i32 = 0x10000;

// The first tap r with (phase + pad - r dilation) divisible by the stride = gcd * step, or NO_TAP.
fn first_tap(phase: i32, pad: i32, gcd: i32, step: i32, inverse: i32) -> i32 {
  let stride = gcd * step;
  let start = (phase + pad % stride + stride) % stride;
  return select(start / gcd * inverse % step, NO_TAP, start % gcd != 0);
}

fn first_row(batch: u32) -> i32 {
  return first_tap(i32(batch / PHASES_W % PHASES_H), PAD_TOP, GCD_H, TAP_STEP_H, INVERSE_H);
}

fn first_column(batch: u32) -> i32 {
  return first_tap(i32(batch % PHASES_W), PAD_LEFT, GCD_W, TAP_STEP_W, INVERSE_W);
}

// Rows of taps that the phase has none of are at the end of k.
fn depth_of_phase(batch: u32) -> u32 {
  let rows = max(0, (i32(R) - first_row(batch) + TAP_STEP_H - 1) / TAP_STEP_H);
  return u32(rows) * (TAPS_W * FILTERS);
}

fn group_of(batch: u32) -> u32 {
  return batch / (PHASES_H * PHASES_W);
}

// Position in w of k = (tap row, tap column, filter) and a channel, or OUTSIDE.
fn tap_at(batch: u32, channel: u32, k: u32) -> u32 {
  let filter_index = k % FILTERS;
  let taps = k / FILTERS;
  let r = u32(first_row(batch) + i32(taps / TAPS_W) * TAP_STEP_H);
  let s = u32(first_column(batch) + i32(taps % TAPS_W) * TAP_STEP_W);
  let at = ((r * S + s) * CHANNELS + channel) * F + group_of(batch) * FILTERS + filter_index;
  return select(OUTSIDE, at, (r < R) & (s < S) & (channel < CHANNELS));
}

// Position in dy of what pixel `row` of the phase's grid went into through k, or OUTSIDE.
fn target_at(batch: u32, row: u32, k: u32) -> u32 {
  let filter_index = k % FILTERS;
  let taps = k / FILTERS;
  let r = first_row(batch) + i32(taps / TAPS_W) * TAP_STEP_H;
  let s = first_column(batch) + i32(taps % TAPS_W) * TAP_STEP_W;
  let cell = row % (GRID_H * GRID_W);
  let h = i32(cell / GRID_W * PHASES_H + batch / PHASES_W % PHASES_H);
  let w = i32(cell % GRID_W * PHASES_W + batch % PHASES_W);
  // The divisions leave no remainder where there is such a tap.
  let p = u32((h + PAD_TOP - r * DILATION_H) / STRIDE_H);
  let q = u32((w + PAD_LEFT - s * DILATION_W) / STRIDE_W);
  let at = ((row / (GRID_H * GRID_W) * P + p) * Q + q) * F + group_of(batch) * FILTERS + filter_index;
  let inside = (p < P) & (q < Q) & (row < M) & (u32(r) < R) & (u32(s) < S);
  return select(OUTSIDE, at, inside);
}

fn vector_target(batch: u32, row: u32, k: u32) -> vec4<f32> {
  let at = target_at(batch, row, k);
  let inside = at != OUTSIDE;
  return select(vec4<f32>(), a_vectors[select(0u, at / 4u, inside)], inside);
}

fn lane_target(batch: u32, row: u32, k: u32) -> f32 {
  let at = target_at(batch, row, k);
  return lane_a(at, at != OUTSIDE);
}

fn lanes_target(batch: u32, row: u32, k: u32) -> vec4<f32> {
  return vec4<f32>(lane_target(batch, row, k), lane_target(batch, row, k + 1u), lane_target(batch, row, k + 2u), lane_target(batch, row, k + 3u));
}

fn vector_tap(batch: u32, column: u32, k: u32) -> vec4<f32> {
  let at = tap_at(batch, column, k);
  let inside = at != OUTSIDE;
  return select(vec4<f32>(), b_vectors[select(0u, at / 4u, inside)], inside);
}

fn lane_tap(batch: u32, column: u32, k: u32) -> f32 {
  let at = tap_at(batch, column, k);
  return lane_b(at, at != OUTSIDE);
}

fn lanes_tap(batch: u32, column: u32, k: u32) -> vec4<f32> {
  return vec4<f32>(lane_tap(batch, column, k), lane_tap(batch, column, k + 1u), lane_tap(batch, column, k + 2u), lane_tap(batch, column, k + 3u));
}

// Of dx.
fn place_pixel(batch: u32, row: u32) -> u32 {
  let cell = row % (GRID_H * GRID_W);
  let h = cell / GRID_W * PHASES_H + batch / PHASES_W % PHASES_H;
  let w = cell % GRID_W * PHASES_W + batch % PHASES_W;
  let at = ((row / (GRID_H * GRID_W) * H + h) * W + w) * C + group_of(batch) * CHANNELS;
  return select(OUTSIDE, at, (row < M) & (h < H) & (w < W));
}

@compute @workgroup_size(64)
fn direct(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = (group.x + group.y * groups.x) * 64u + local;
  if (i >= SIZE_Y) {
    return;
  }
  let f = i % F;
  var sum = 0.0;
  for (var rs = 0u; rs < R * S; rs++) {
    let at = window_at(f / FILTERS, i / F, rs * CHANNELS);
    if (at != OUTSIDE) {
      for (var channel = 0u; channel < CHANNELS; channel++) {
        sum = fma(a_lanes[at + channel], b_lanes[(rs * CHANNELS + channel) * F + f], sum);
      }
    }
  }
  if (HAS_BIAS) {
    sum += bias[f];
  }
  y_lanes[i] = activate(sum);
}

@compute @workgroup_size(64)
fn direct_input_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = (group.x + group.y * groups.x) * 64u + local;
  if (i >= SIZE_Y) {
    return;
  }
  let c = i % C;
  let first = c / CHANNELS * FILTERS;
  let w = i32(i / C % W);
  let h = i32(i / (C * W) % H);
  let image = i / (C * W * H) * P;
  var sum = 0.0;
  for (var r = 0; r < i32(R); r++) {
    let top = h + PAD_TOP - r * DILATION_H;
    for (var s = 0; s < i32(S); s++) {
      let left = w + PAD_LEFT - s * DILATION_W;
      let p = u32(top / STRIDE_H);
      let q = u32(left / STRIDE_W);
      if (top >= 0 && left >= 0 && top % STRIDE_H == 0 && left % STRIDE_W == 0 && p < P && q < Q) {
        let source = ((image + p) * Q + q) * F + first;
        let filters = ((u32(r) * S + u32(s)) * CHANNELS + c % CHANNELS) * F + first;
        for (var f = 0u; f < FILTERS; f++) {
          sum = fma(a_lanes[source + f], b_lanes[filters + f], sum);
        }
      }
    }
  }
  y_lanes[i] = sum;
}

var<workgroup> pixel_sums: array<f32, 256>;

// 16 elements of dw, which are neighbours along filters, by 16 invocations for each, which take every 16th pixel of a chunk.
@compute @workgroup_size(16, 16)
fn direct_filter_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let g = group.x + group.y * groups.x;
  let split = g % SPLITS;
  let i = g / SPLITS * 16u + local.x;
  let f = i % F;
  var sum = 0.0;
  if (i < SIZE_Y) {
    let end = min(split * CHUNK + CHUNK, K);
    for (var pixel = split * CHUNK + local.y; pixel < end; pixel += 16u) {
      sum = fma(lane_window(f / FILTERS, pixel, i / F), b_lanes[pixel * F + f], sum);
    }
  }
  let place = local.y * 16u + local.x;
  pixel_sums[place] = sum;
  for (var half = 128u; half > 8u; half /= 2u) {
    workgroupBarrier();
    if (place < half) {
      pixel_sums[place] += pixel_sums[place + half];
    }
  }
  if (place < 16u && i < SIZE_Y) {
    y_lanes[split * SIZE_Y + i] = pixel_sums[place];
  }
}

// conv2d(x, w, bias?) -> y, conv2dFilterGrad(x, dy) -> dw, conv2dInputGrad(dy, w) -> dx: x[n,H,W,C], w[R,S,C/groups,F], y[n,P,Q,F],
// NHWC; bindings: two inputs, bias, output. Groups are the batch of a product, CHANNELS = C/groups by FILTERS = F/groups.
// main: the product of gemm.wgsl, whose A is gathered while it is loaded, so that no im2col buffer exists.
//   conv2d: rows are pixels (n, p, q) of y, k is (r, s, channel); A = windows of x, B = w.
//   conv2dFilterGrad: rows are (r, s, channel), k is the pixels; A = the windows again, B = dy.
//   conv2dInputGrad: rows are pixels of x, k is (tap row, tap column, filter); A = what each pixel went into, B = w with C and F
//     exchanged. A pixel meets only taps r with (h + PAD - r DILATION) divisible by STRIDE: first_tap, then every TAP_STEP-th,
//     at most PHASE_TAPS. So pixels with the same remainders (a phase) are one product; phases are part of the batch.
// small: the same without tiles, for adapters that are programs on the CPU.
// direct*: one output element each, for groups so narrow that a product would mostly multiply nothing (depthwise).
// Hooks choose how operands are read and the output is written, see gemm.wgsl. Pairs are of rows and columns.

// Of the product: rows, columns, k (of a phase at most).
const BATCH: u32 = 1;
const M: u32 = 1;
const N: u32 = 1;
const K: u32 = 1;
// B's elements from batch to batch, column to column and k to k (not for conv2dInputGrad).
const B_BATCH: u32 = 0;
const B_COLUMN: u32 = 1;
const B_K: u32 = 1;

// Pixels of x and of y, taps of w.
const IMAGE: vec2<u32> = vec2(1, 1);
const OUTPUT: vec2<u32> = vec2(1, 1);
const TAPS: vec2<u32> = vec2(1, 1);
const STRIDE: vec2<u32> = vec2(1, 1);
const DILATION: vec2<u32> = vec2(1, 1);
const PAD: vec2<u32> = vec2(0, 0);
const C: u32 = 1;
const F: u32 = 1;
const CHANNELS: u32 = 1;
const FILTERS: u32 = 1;

// Of phases: gcd(stride, dilation); stride / gcd; the inverse of dilation / gcd modulo that; the most taps of a phase.
const PHASES: vec2<u32> = vec2(1, 1);
const GCD: vec2<u32> = vec2(1, 1);
const TAP_STEP: vec2<u32> = vec2(1, 1);
const INVERSE: vec2<u32> = vec2(0, 0);
const PHASE_TAPS: vec2<u32> = vec2(1, 1);

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
const ELEMENTS: u32 = 1;
const HAS_BIAS: bool = false;
const BIAS_STRIDE: u32 = 0;

@group(0) @binding(0) var<storage, read> a_lanes: array<f32>;
@group(0) @binding(0) var<storage, read> a_vectors: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b_lanes: array<f32>;
@group(0) @binding(1) var<storage, read> b_vectors: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(2) var<storage, read> bias_vectors: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y_lanes: array<f32>;
@group(0) @binding(3) var<storage, read_write> y_vectors: array<vec4<f32>>;

// hooks
fn load_a(batch: u32, row: u32, k: u32) -> vec4<f32> {
  return lanes_a(batch, row, k);
}
fn load_b(batch: u32, column: u32, k: u32) -> vec4<f32> {
  return lanes_b(batch, column, k);
}
fn write_y(at: u32, count: u32, v: vec4<f32>) {
  lanes_y(at, count, v);
}
fn place_a(batch: u32, row: u32, k: u32) -> u32 {
  return place_window(batch, row, k);
}
fn place_y(batch: u32, row: u32) -> u32 {
  return place_row(batch, row);
}
fn activate(x: f32) -> f32 {
  return x;
}
// end hooks

@compute @workgroup_size(THREADS_X, THREADS_Y)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>
) {
  gemm(group.x + group.y * groups.x, local.x, local.y);
}

@compute @workgroup_size(64)
fn small(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  gemm_small((group.x + group.y * groups.x) * 64u + local);
}

// Of y and dw: F columns, of which the batch's are FILTERS.
fn place_row(batch: u32, row: u32) -> u32 {
  return row * F + batch * FILTERS;
}

// Position in x of element `tap` = (r, s, channel) of the window of `pixel` = (n, p, q), or OUTSIDE.
fn place_window(batch: u32, pixel: u32, tap: u32) -> u32 {
  let pixels = OUTPUT.x * OUTPUT.y;
  // Negative positions wrap around to large ones.
  let cell = cell_of(pixel % pixels, OUTPUT.y) * STRIDE + cell_of(tap / CHANNELS, TAPS.y) * DILATION - PAD;
  let at = ((pixel / pixels * IMAGE.x + cell.x) * IMAGE.y + cell.y) * C + batch * CHANNELS + tap % CHANNELS;
  return select(OUTSIDE, at, all(cell < IMAGE));
}

// The same for conv2dFilterGrad.
fn place_window_of_tap(batch: u32, tap: u32, pixel: u32) -> u32 {
  return place_window(batch, pixel, tap);
}

// From here to the direct kernels all is of conv2dInputGrad: batch = (group, phase of rows, phase of columns).
const GRID: vec2<u32> = (IMAGE + PHASES - 1u) / PHASES;
const NO_TAP: u32 = 0x10000;

fn phase_of(batch: u32) -> vec2<u32> {
  return cell_of(batch % (PHASES.x * PHASES.y), PHASES.y);
}

fn group_of(batch: u32) -> u32 {
  return batch / (PHASES.x * PHASES.y);
}

// The first tap r with (phase + pad - r dilation) divisible by the stride = gcd * step, or NO_TAP.
fn first_tap(batch: u32) -> vec2<u32> {
  let start = (phase_of(batch) + PAD) % STRIDE;
  return select(start / GCD * INVERSE % TAP_STEP, vec2(NO_TAP), start % GCD != vec2(0u));
}

// Rows of taps that the phase has none of are at the end of k.
fn depth_of_phase(batch: u32) -> u32 {
  let first = first_tap(batch).x;
  return min(K, (max(TAPS.x + TAP_STEP.x - 1u, first) - first) / TAP_STEP.x * (PHASE_TAPS.y * FILTERS));
}

// The tap of k = (row and column among the phase's taps, filter).
fn tap_of(batch: u32, k: u32) -> vec2<u32> {
  return first_tap(batch) + cell_of(k / FILTERS, PHASE_TAPS.y) * TAP_STEP;
}

// Position in w of k and a channel, or OUTSIDE.
fn place_tap(batch: u32, channel: u32, k: u32) -> u32 {
  let tap = tap_of(batch, k);
  let at = ((tap.x * TAPS.y + tap.y) * CHANNELS + channel) * F + group_of(batch) * FILTERS + k % FILTERS;
  return select(OUTSIDE, at, all(tap < TAPS));
}

// Pixel of x in row `row` of the phase's grid.
fn pixel_of(batch: u32, row: u32) -> vec2<u32> {
  return cell_of(row % (GRID.x * GRID.y), GRID.y) * PHASES + phase_of(batch);
}

// Position in dy of what pixel `row` went into through k, or OUTSIDE.
fn place_target(batch: u32, row: u32, k: u32) -> u32 {
  let tap = tap_of(batch, k);
  // The division leaves no remainder where there is such a tap.
  let cell = (pixel_of(batch, row) + PAD - tap * DILATION) / STRIDE;
  let at = ((row / (GRID.x * GRID.y) * OUTPUT.x + cell.x) * OUTPUT.y + cell.y) * F + group_of(batch) * FILTERS + k % FILTERS;
  return select(OUTSIDE, at, all(cell < OUTPUT) & all(tap < TAPS));
}

// Of dx.
fn place_pixel(batch: u32, row: u32) -> u32 {
  let cell = pixel_of(batch, row);
  let at = ((row / (GRID.x * GRID.y) * IMAGE.x + cell.x) * IMAGE.y + cell.y) * C + group_of(batch) * CHANNELS;
  return select(OUTSIDE, at, all(cell < IMAGE));
}

@compute @workgroup_size(64)
fn direct(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32
) {
  let i = (group.x + group.y * groups.x) * 64u + local;
  if (i >= ELEMENTS) {
    return;
  }
  let f = i % F;
  var sum = 0.0;
  for (var rs = 0u; rs < TAPS.x * TAPS.y; rs++) {
    let at = place_window(f / FILTERS, i / F, rs * CHANNELS);
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
fn direct_input_grad(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32
) {
  let i = (group.x + group.y * groups.x) * 64u + local;
  if (i >= ELEMENTS) {
    return;
  }
  let c = i % C;
  let first = c / CHANNELS * FILTERS;
  let cell = cell_of(i / C % (IMAGE.x * IMAGE.y), IMAGE.y) + PAD;
  let image = i / (C * IMAGE.x * IMAGE.y) * OUTPUT.x;
  var sum = 0.0;
  for (var tap = 0u; tap < TAPS.x * TAPS.y; tap++) {
    let corner = cell - cell_of(tap, TAPS.y) * DILATION;
    let pixel = corner / STRIDE;
    if (all(pixel < OUTPUT) && all(pixel * STRIDE == corner)) {
      let source = ((image + pixel.x) * OUTPUT.y + pixel.y) * F + first;
      let filters = (tap * CHANNELS + c % CHANNELS) * F + first;
      for (var f = 0u; f < FILTERS; f++) {
        sum = fma(a_lanes[source + f], b_lanes[filters + f], sum);
      }
    }
  }
  y_lanes[i] = sum;
}

var<workgroup> pixel_sums: array<f32, 256>;

// 16 elements of dw, which are neighbours along filters, by 16 invocations for each, which take every 16th pixel of a chunk.
@compute @workgroup_size(16, 16)
fn direct_filter_grad(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>
) {
  let g = group.x + group.y * groups.x;
  let split = g % SPLITS;
  let i = g / SPLITS * 16u + local.x;
  let f = i % F;
  var sum = 0.0;
  if (i < ELEMENTS) {
    let end = min(split * CHUNK + CHUNK, K);
    for (var pixel = split * CHUNK + local.y; pixel < end; pixel += 16u) {
      sum = fma(lane_a(f / FILTERS, i / F, pixel), b_lanes[pixel * F + f], sum);
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
  if (place < 16u && i < ELEMENTS) {
    y_lanes[split * ELEMENTS + i] = pixel_sums[place];
  }
}

// packedMatmul(a, b, bias?) -> y of many rows, for integers in b (weights.wgsl): in products of integers.
//
// quantize  a -> integers of 16 bits, the greatest number of each 32 elements of a row, which is 127 * 256 of them, and their sums. Where
//           one is NaN or infinite that number is NaN, and so is the row of y. Rows lie in groups of four as those of b do, but in two
//           planes of 8 bits: 256 times the first is added to the second.
// blocks    these, b, bias -> y, or with several SPLITS the partial sums: dot4I8Packed makes four products at once, whose sums are exact
//           for a block of 32 and are scaled and added then. A workgroup has a tile of y of 4 THREADS_Y rows and 4 THREADS_X columns.

const M: u32 = 1;
// See gemm.wgsl. CHUNK counts blocks.
const BATCH: u32 = 1;
const SPLITS: u32 = 1;
const CHUNK: u32 = 1;
const THREADS_X: u32 = 8;
const THREADS_Y: u32 = 8;
const ROWS: u32 = 4;
const COLUMNS: u32 = 4;
const ELEMENTS: u32 = 1;
const HAS_BIAS: bool = false;
const BIAS_STRIDE: u32 = 0;

@group(0) @binding(0) var<storage, read> a_vectors: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> units_out: array<u32>;
@group(0) @binding(2) var<storage, read_write> factors_out: array<u32>;

@group(0) @binding(0) var<storage, read> a_units: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y_lanes: array<f32>;
@group(0) @binding(3) var<storage, read_write> y_vectors: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> a_factors: array<vec4<f32>>;

// hooks
fn write_y(at: u32, count: u32, v: vec4<f32>) {
  lanes_y(at, count, v);
}
fn activate(x: f32) -> f32 {
  return x;
}
fn store_unit(i: u32, unit: u32, words: vec4<u32>) {
  store_q8(i, unit, words);
}
// end hooks

fn place_y(batch: u32, row: u32) -> u32 {
  return row * N;
}

const QUANTIZED: u32 = 256;
// What the greatest of a block becomes.
const STEPS: f32 = 32512;

var<workgroup> greatest: array<u32, QUANTIZED>;
var<workgroup> added: array<f32, QUANTIZED>;

@compute @workgroup_size(QUANTIZED)
fn quantize(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32
) {
  // A vector for each invocation, and eight of them for each block.
  let i = (group.x + group.y * groups.x) * QUANTIZED + local;
  let inside = i < M * (K / 4u);
  let v = a_vectors[select(0u, i, inside)];
  let bits = bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu);
  greatest[local] = max(max(bits.x, bits.y), max(bits.z, bits.w));
  added[local] = (v.x + v.y) + (v.z + v.w);
  workgroupBarrier();
  let first = local / 8u * 8u;
  var most = 0u;
  var sum = 0.0;
  for (var j = first; j < first + 8u; j++) {
    most = max(most, greatest[j]);
    sum += added[j];
  }
  if (!inside) {
    return;
  }
  var steps = vec4<i32>();
  var size = 0x7fc00000u;
  if (most < 0x7f800000u) {
    size = most;
    // Below 2^-64 the inverse may be beyond f32.
    let up = select(1.0, 18446744073709551616.0, most < 0x1f800000u);
    let inverse = select(0.0, op_div(STEPS, bitcast<f32>(most) * up), most > 0u);
    steps = vec4<i32>(clamp(round(v * up * inverse), vec4<f32>(-STEPS), vec4<f32>(STEPS)));
  }
  let low = ((steps + vec4<i32>(128)) & vec4<i32>(255)) - vec4<i32>(128);
  let row = i / (K / 4u);
  let unit = unit_of(row, i % (K / 4u) * 4u);
  let at = unit * 64u + local % 8u * 4u + row % 4u;
  units_out[at] = bytes_in_word((steps - low) >> vec4<u32>(8u));
  units_out[at + 32u] = bytes_in_word(low);
  if (local == first) {
    factors_out[unit * 8u + row % 4u] = size;
    factors_out[unit * 8u + 4u + row % 4u] = bitcast<u32>(sum);
  }
}

fn bytes_in_word(v: vec4<i32>) -> u32 {
  let bytes = (vec4<u32>(v) & vec4<u32>(255u)) << vec4<u32>(0u, 8u, 16u, 24u);
  return bytes.x | bytes.y | bytes.z | bytes.w;
}

const LINE_UNITS_A: u32 = THREADS_Y + 1u;
const LINE_UNITS_B: u32 = THREADS_X + 1u;

// A block of the tiles of a, two planes, and b, four rows a unit: vector j of unit i at j LINE + i.
var<workgroup> units_a: array<vec4<u32>, 16u * LINE_UNITS_A>;
var<workgroup> units_b: array<vec4<u32>, 8u * LINE_UNITS_B>;
var<workgroup> factors_a: array<vec4<f32>, 2u * THREADS_Y>;
var<workgroup> factors_b: array<vec4<f32>, 2u * THREADS_X>;

// The i-th vector of a unit of b in its place, as 8-bit integers.
fn store_q8(i: u32, unit: u32, words: vec4<u32>) {
  units_b[i * LINE_UNITS_B + unit] = words;
}

fn store_q4m(i: u32, unit: u32, words: vec4<u32>) {
  let low = vec4<u32>(0x0f0f0f0fu);
  units_b[2u * i * LINE_UNITS_B + unit] = words & low;
  units_b[(2u * i + 1u) * LINE_UNITS_B + unit] = (words >> vec4<u32>(4u)) & low;
}

// Of bytes of 0 to 15, eight less.
fn less_eight(words: vec4<u32>) -> vec4<u32> {
  let top = vec4<u32>(0x80808080u);
  return ((words | top) - vec4<u32>(0x08080808u)) ^ top;
}

fn store_q4(i: u32, unit: u32, words: vec4<u32>) {
  let low = vec4<u32>(0x0f0f0f0fu);
  units_b[2u * i * LINE_UNITS_B + unit] = less_eight(words & low);
  units_b[(2u * i + 1u) * LINE_UNITS_B + unit] = less_eight((words >> vec4<u32>(4u)) & low);
}

fn dots(v: u32, w: vec4<u32>) -> vec4<i32> {
  return vec4<i32>(dot4I8Packed(v, w.x), dot4I8Packed(v, w.y), dot4I8Packed(v, w.z), dot4I8Packed(v, w.w));
}

@compute @workgroup_size(THREADS_X, THREADS_Y)
fn blocks(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) at: vec3<u32>,
  @builtin(local_invocation_index) local: u32
) {
  let group = id.x + id.y * groups.x;
  if (group >= TILES_M * TILES_N * SPLITS) {
    return;
  }
  // The tile's first four columns of y, rows of b, and first four rows of a.
  let column = group % TILES_N * THREADS_X;
  let row = group / TILES_N % TILES_M * THREADS_Y;
  let split = group / (TILES_N * TILES_M);
  var sums = mat4x4<f32>();
  for (var block = split * CHUNK; block < min(split * CHUNK + CHUNK, BLOCKS); block++) {
    for (var i = local; i < 16u * THREADS_Y; i += THREADS) {
      let unit = min(row + i / 16u, (M + 3u) / 4u - 1u) * BLOCKS + block;
      units_a[i % 16u * LINE_UNITS_A + i / 16u] = a_units[unit * 16u + i % 16u];
    }
    for (var i = local; i < UNIT * THREADS_X; i += THREADS) {
      let unit = min(column + i / UNIT, (N + 3u) / 4u - 1u) * BLOCKS + block;
      store_unit(i % UNIT, i / UNIT, b_vectors[unit * UNIT + i % UNIT]);
    }
    if (local < THREADS_Y) {
      let unit = min(row + local, (M + 3u) / 4u - 1u) * BLOCKS + block;
      factors_a[local] = a_factors[2u * unit];
      if (SHIFTED) {
        factors_a[THREADS_Y + local] = a_factors[2u * unit + 1u];
      }
    }
    if (local < THREADS_X) {
      let unit = min(column + local, (N + 3u) / 4u - 1u) * BLOCKS + block;
      factors_b[local] = factors(SCALES, unit) * (1.0 / STEPS);
      if (SHIFTED) {
        factors_b[THREADS_X + local] = factors(MINIMUMS, unit);
      }
    }
    workgroupBarrier();
    var first = vec4<i32>();
    var second = vec4<i32>();
    var third = vec4<i32>();
    var fourth = vec4<i32>();
    var first_low = vec4<i32>();
    var second_low = vec4<i32>();
    var third_low = vec4<i32>();
    var fourth_low = vec4<i32>();
    for (var j = 0u; j < 8u; j++) {
      let v = units_a[j * LINE_UNITS_A + at.y];
      let low = units_a[(8u + j) * LINE_UNITS_A + at.y];
      let w = units_b[j * LINE_UNITS_B + at.x];
      first += dots(v.x, w);
      second += dots(v.y, w);
      third += dots(v.z, w);
      fourth += dots(v.w, w);
      first_low += dots(low.x, w);
      second_low += dots(low.y, w);
      third_low += dots(low.z, w);
      fourth_low += dots(low.w, w);
    }
    let scale = factors_b[at.x];
    let rows = factors_a[at.y];
    sums += mat4x4<f32>(
      vec4<f32>(256 * first + first_low) * scale * rows.x,
      vec4<f32>(256 * second + second_low) * scale * rows.y,
      vec4<f32>(256 * third + third_low) * scale * rows.z,
      vec4<f32>(256 * fourth + fourth_low) * scale * rows.w
    );
    if (SHIFTED) {
      let minimum = factors_b[THREADS_X + at.x];
      let total = factors_a[THREADS_Y + at.y];
      sums += mat4x4<f32>(minimum * total.x, minimum * total.y, minimum * total.z, minimum * total.w);
    }
    workgroupBarrier();
  }
  gemm_store(0u, split, 4u * (row + at.y), 4u * (column + at.x), sums);
}

// Convolutions by 3x3 filters with stride 1, the twin of assembly/conv/winograd.ts: F(4x4, 3x3) of Lavin and Gray (arXiv 1509.09308), y =
// A^T [(G w G^T) . (B^T x B)] A for tiles of 4x4 pixels of y and 6x6 of x, interpolated at 0, +-3/4, +-3/2 and infinity. The products of
// their 36 elements, summed over channels, are products of matrices, which another kernel makes (src/webgpu/parts/winograd.ts). main makes
// and reads such matrices, [36, GROUPS, ROWS, CHANNELS / GROUPS]; hooks say of what:
//                               load           line              store
//   v = B^T x B                 load_pixels    input_line        store_matrices
//   u = G w G^T                 load_taps      filter_line       store_matrices
//   y = f(A^T m A + bias)       load_matrices  output_line       store_pixels
// and for the gradient of the filters, whose maps are the transposes of these:
//   dm = A dy A^T               load_pixels    output_grad_line  store_matrices
//   dw = G^T du G               load_matrices  filter_grad_line  store_taps
// ROWS are tiles, or the channels of a group of filters, and CHANNELS those of pixels, or filters. A step makes ROWS of all TILES, from the
// steps_before() * ROWS-th on; what lies beyond the image or the last tile is zero.
//
// An invocation has one channel of a tile, and its neighbours those beside it: 36 vectors would take all registers, so that Value is one
// only where y is written in vectors. Lines are structs, since an indexed array would live in memory.

const GROUPS: u32 = 1;
const ROWS: u32 = 1;
// Of the tensor of pixels or taps, in Values.
const CHANNELS: u32 = 1;
// Pixels of an image, rows and columns of the first tile that lie before it, tiles of an image and of all, and side of a tile.
const IMAGE: vec2<u32> = vec2(1, 1);
const PAD: vec2<u32> = vec2(0, 0);
const GRID: vec2<u32> = vec2(1, 1);
const TILES: u32 = 1;
const SIDE: u32 = 6;
// Whether filters are turned by 180 degrees.
const TURNED: bool = false;
const HAS_BIAS: bool = false;
// f32 or vec4<f32>.
alias Value = f32;

// From one of the 36 matrices to the next, and from tap to tap.
const ELEMENTS: u32 = ROWS * CHANNELS;

struct Line { a: Value, b: Value, c: Value, d: Value, e: Value, f: Value }
// Lines that are shorter, and tiles of fewer, end with zeros.
struct Tile { a: Line, b: Line, c: Line, d: Line, e: Line, f: Line }

@group(0) @binding(0) var<storage, read> x_lanes: array<f32>;
@group(0) @binding(0) var<storage, read> products: array<Value>;
@group(0) @binding(1) var<storage, read> bias_lanes: array<f32>;
@group(0) @binding(1) var<storage, read> bias_vectors: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y_lanes: array<f32>;
@group(0) @binding(2) var<storage, read_write> y_vectors: array<vec4<f32>>;
// How many steps were before.
@group(0) @binding(3) var<storage, read> current: array<u32>;

// hooks
fn load(i: u32) -> Tile {
  return load_pixels(i);
}
fn line(v: Line) -> Line {
  return input_line(v);
}
fn store(i: u32, t: Tile) {
  store_matrices(i, t);
}
fn write_y(at: u32, channel: u32, v: Value) {
  lane_y(at, channel, v);
}
fn steps_before() -> u32 {
  return no_steps();
}
fn activate(x: f32) -> f32 {
  return x;
}
// end hooks

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = (group.x + group.y * groups.x) * 64u + local;
  if (i >= ELEMENTS) {
    return;
  }
  store(i, along_columns(turned(along_columns(load(i)))));
}

fn along_columns(t: Tile) -> Tile {
  return Tile(line(t.a), line(t.b), line(t.c), line(t.d), line(t.e), line(t.f));
}

fn turned(t: Tile) -> Tile {
  return Tile(
    Line(t.a.a, t.b.a, t.c.a, t.d.a, t.e.a, t.f.a),
    Line(t.a.b, t.b.b, t.c.b, t.d.b, t.e.b, t.f.b),
    Line(t.a.c, t.b.c, t.c.c, t.d.c, t.e.c, t.f.c),
    Line(t.a.d, t.b.d, t.c.d, t.d.d, t.e.d, t.f.d),
    Line(t.a.e, t.b.e, t.c.e, t.d.e, t.e.e, t.f.e),
    Line(t.a.f, t.b.f, t.c.f, t.d.f, t.e.f, t.f.f)
  );
}

// even + odd and even - odd of two pairs of points between the other two.
fn pairs(first: Value, near: Value, near_odd: Value, far: Value, far_odd: Value, last: Value) -> Line {
  return Line(first, near + near_odd, near - near_odd, far + far_odd, far - far_odd, last);
}

// B^T
fn input_line(v: Line) -> Line {
  return pairs(
    fma(Value(1.265625), v.a, fma(Value(-2.8125), v.c, v.e)),
    fma(Value(-2.25), v.c, v.e),
    0.75 * fma(Value(-2.25), v.b, v.d),
    fma(Value(-0.5625), v.c, v.e),
    1.5 * fma(Value(-0.5625), v.b, v.d),
    fma(Value(1.265625), v.b, fma(Value(-2.8125), v.d, v.f))
  );
}

// G
fn filter_line(v: Line) -> Line {
  return pairs(
    64.0 / 81.0 * v.a,
    -128.0 / 243.0 * fma(Value(0.5625), v.c, v.a),
    -32.0 / 81.0 * v.b,
    32.0 / 243.0 * fma(Value(2.25), v.c, v.a),
    16.0 / 81.0 * v.b,
    v.c
  );
}

// A^T
fn output_line(v: Line) -> Line {
  let near = v.b + v.c;
  let near_odd = v.b - v.c;
  let far = v.d + v.e;
  let far_odd = v.d - v.e;
  return Line(
    v.a + (near + far),
    fma(Value(1.5), far_odd, 0.75 * near_odd),
    fma(Value(2.25), far, 0.5625 * near),
    fma(Value(3.375), far_odd, fma(Value(0.421875), near_odd, v.f)),
    Value(),
    Value()
  );
}

// A
fn output_grad_line(v: Line) -> Line {
  return pairs(
    v.a,
    fma(Value(0.5625), v.c, v.a),
    0.75 * fma(Value(0.5625), v.d, v.b),
    fma(Value(2.25), v.c, v.a),
    1.5 * fma(Value(2.25), v.d, v.b),
    v.d
  );
}

// G^T
fn filter_grad_line(v: Line) -> Line {
  let near = v.b + v.c;
  let far = v.d + v.e;
  return Line(
    fma(Value(32.0 / 243.0), far, fma(Value(-128.0 / 243.0), near, 64.0 / 81.0 * v.a)),
    fma(Value(16.0 / 81.0), v.d - v.e, -32.0 / 81.0 * (v.b - v.c)),
    fma(Value(8.0 / 27.0), far - near, v.f),
    Value(),
    Value(),
    Value()
  );
}

fn no_steps() -> u32 {
  return 0u;
}

fn counted_steps() -> u32 {
  return current[0];
}

// The tile of the i-th element.
fn tile_of(i: u32) -> u32 {
  return steps_before() * ROWS + i / CHANNELS;
}

// Position of a pixel of the i-th element's tile, or OUTSIDE.
fn place_pixel(i: u32, row: u32, column: u32) -> u32 {
  let tile = tile_of(i);
  // Negative positions wrap around to large ones.
  let cell = cell_of(tile % (GRID.x * GRID.y), GRID.y) * 4u + vec2<u32>(row, column) - PAD;
  let at = ((tile / (GRID.x * GRID.y) * IMAGE.x + cell.x) * IMAGE.y + cell.y) * CHANNELS + i % CHANNELS;
  return select(OUTSIDE, at, all(cell < IMAGE) & (tile < TILES));
}

fn load_pixels(i: u32) -> Tile {
  return Tile(column_of(i, 0u), column_of(i, 1u), column_of(i, 2u), column_of(i, 3u), column_of(i, 4u), column_of(i, 5u));
}

fn column_of(i: u32, c: u32) -> Line {
  return Line(pixel(i, 0u, c), pixel(i, 1u, c), pixel(i, 2u, c), pixel(i, 3u, c), pixel(i, 4u, c), pixel(i, 5u, c));
}

fn pixel(i: u32, row: u32, column: u32) -> f32 {
  let at = place_pixel(i, row, column);
  let inside = (at != OUTSIDE) & (max(row, column) < SIDE);
  return select(0.0, x_lanes[select(0u, at, inside)], inside);
}

fn load_taps(i: u32) -> Tile {
  return Tile(taps(i, 0u), taps(i, 1u), taps(i, 2u), Line(), Line(), Line());
}

fn taps(i: u32, column: u32) -> Line {
  return Line(tap(i, column), tap(i, column + 3u), tap(i, column + 6u), 0.0, 0.0, 0.0);
}

fn tap(i: u32, number: u32) -> f32 {
  return x_lanes[select(number, 8u - number, TURNED) * ELEMENTS + i];
}

// Position of the i-th element in a matrix.
fn place_of(i: u32) -> u32 {
  let own = CHANNELS / GROUPS;
  return (i % CHANNELS / own * ROWS + i / CHANNELS) * own + i % own;
}

fn load_matrices(i: u32) -> Tile {
  let at = place_of(i);
  return Tile(products_of(at, 0u), products_of(at, 1u), products_of(at, 2u), products_of(at, 3u), products_of(at, 4u), products_of(at, 5u));
}

// A column of a tile.
fn products_of(at: u32, c: u32) -> Line {
  return Line(
    products[at + c * ELEMENTS],
    products[at + (c + 6u) * ELEMENTS],
    products[at + (c + 12u) * ELEMENTS],
    products[at + (c + 18u) * ELEMENTS],
    products[at + (c + 24u) * ELEMENTS],
    products[at + (c + 30u) * ELEMENTS]
  );
}

// Tiles that are stored come by rows.
fn store_matrices(i: u32, t: Tile) {
  let at = place_of(i);
  store_line(at, t.a);
  store_line(at + 6u * ELEMENTS, t.b);
  store_line(at + 12u * ELEMENTS, t.c);
  store_line(at + 18u * ELEMENTS, t.d);
  store_line(at + 24u * ELEMENTS, t.e);
  store_line(at + 30u * ELEMENTS, t.f);
}

fn store_line(at: u32, v: Line) {
  y_lanes[at] = v.a;
  y_lanes[at + ELEMENTS] = v.b;
  y_lanes[at + 2u * ELEMENTS] = v.c;
  y_lanes[at + 3u * ELEMENTS] = v.d;
  y_lanes[at + 4u * ELEMENTS] = v.e;
  y_lanes[at + 5u * ELEMENTS] = v.f;
}

fn store_pixels(i: u32, t: Tile) {
  store_row(i, 0u, t.a);
  store_row(i, 1u, t.b);
  store_row(i, 2u, t.c);
  store_row(i, 3u, t.d);
}

fn store_row(i: u32, row: u32, v: Line) {
  store_pixel(i, row, 0u, v.a);
  store_pixel(i, row, 1u, v.b);
  store_pixel(i, row, 2u, v.c);
  store_pixel(i, row, 3u, v.d);
}

fn store_pixel(i: u32, row: u32, column: u32, v: Value) {
  let at = place_pixel(i, row, column);
  if (at != OUTSIDE) {
    write_y(at, i % CHANNELS, v);
  }
}

fn lane_y(at: u32, channel: u32, v: f32) {
  var sum = v;
  if (HAS_BIAS) {
    sum += bias_lanes[channel];
  }
  y_lanes[at] = activate(sum);
}

fn vector_y(at: u32, channel: u32, v: vec4<f32>) {
  var sum = v;
  if (HAS_BIAS) {
    sum += bias_vectors[channel];
  }
  y_vectors[at] = activate_vector(sum);
}

fn store_taps(i: u32, t: Tile) {
  store_three(i, t.a);
  store_three(i + 3u * ELEMENTS, t.b);
  store_three(i + 6u * ELEMENTS, t.c);
}

fn store_three(at: u32, v: Line) {
  add_tap(at, v.a);
  add_tap(at + ELEMENTS, v.b);
  add_tap(at + 2u * ELEMENTS, v.c);
}

// Steps after the first add to what is there.
fn add_tap(at: u32, v: f32) {
  y_lanes[at] = select(y_lanes[at], 0.0, steps_before() == 0u) + v;
}

// Pairs of features turned by the angle of their position. x and y are [OUTER, TIME, HEADS, DIM], cos and sin [TIME, HALF].
// Pairs are (2i, 2i + 1) with NEIGHBOURS, else (i, i + HALF); features behind the first 2 HALF are copied. BACK: by the negative angle.
const THREADS: u32 = 256u;
const ROWS: u32 = 6u;
const TIME: u32 = 3u;
const HEADS: u32 = 2u;
const DIM: u32 = 9u;
const HALF: u32 = 4u;
const NEIGHBOURS: bool = false;
const BACK: bool = false;

@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> cosines: array<f32>;
@group(0) @binding(3) var<storage, read> sines: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  // A row has HALF pairs and DIM - 2 HALF features more.
  let at = (id.x + id.y * groups.x) * THREADS + local;
  let row = at / (DIM - HALF);
  let i = at % (DIM - HALF);
  if (row >= ROWS) {
    return;
  }
  let start = row * DIM;
  if (i >= HALF) {
    y[start + HALF + i] = x[start + HALF + i];
    return;
  }
  let first = start + select(i, 2u * i, NEIGHBOURS);
  let second = first + select(HALF, 1u, NEIGHBOURS);
  let angle = ((row / HEADS) % TIME) * HALF + i;
  let c = cosines[angle];
  let s = select(sines[angle], -sines[angle], BACK);
  let a = x[first];
  let b = x[second];
  y[first] = a * c - b * s;
  y[second] = b * c + a * s;
}

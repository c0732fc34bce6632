// several: products of M rows of a, at most eight, with matrices [K, columns] in f32, as several of packed.wgsl has them of packed ones.
// Every element of them is read once, so what counts is that many vectors are on their way, of neighbours next to each other: ACROSS
// invocations stand along columns, four for each, and LANES along k, four for each. Sums are joined by a tree in workgroup memory
// (tree_lanes), or by subgroups first (subgroup_lanes), in an order that depends on shapes and the size of subgroups only.

const M: u32 = 1;
const K: u32 = 4;
const LANES: u32 = 32;
const THREADS: u32 = ACROSS * LANES;
const ITEMS: u32 = K / 4u;
const VECTORS: u32 = 1;
const STEPS: u32 = (ITEMS + LANES - 1u) / LANES;
// The fewest invocations of a subgroup. They are taken to be neighbours.
const SUBGROUP_SIZE: u32 = 4;
// Products that a workgroup makes of the same columns each, and workgroups.
const PER: u32 = 1;
const GROUPS: u32 = 1;

// What an invocation makes: its first product, the columns 4 g to 4 g + 3 of whose matrix it reads, and how many there are.
struct Part { product: u32, g: u32, rows: u32 }

@group(0) @binding(0) var<storage, read> a_vectors: array<vec4<f32>>;

// hooks
fn join_few(i: u32, number: u32, own: vec4<f32>) -> vec4<f32> {
  return tree_lanes(i, number, own);
}
// end hooks

// body
fn part_of(group: u32) -> Part {
  return Part(0u, group, 4u);
}

// Vector `at` of the matrix of a product.
fn words_of(product: u32, at: u32) -> vec4<f32> {
  return a_vectors[at];
}

fn gamma_of(at: u32) -> vec4<f32> {
  return vec4<f32>(1.0);
}

fn beta_of(at: u32) -> vec4<f32> {
  return vec4<f32>();
}

// Writes the four elements of a row of y.
fn finish(part: Part, row: u32, first: vec4<f32>, second: vec4<f32>) {
}
// end body

fn load_a(batch: u32, row: u32, k: u32) -> vec4<f32> {
  return a_vectors[(row * K + k) / 4u];
}

var<workgroup> lane_sums: array<vec4<f32>, THREADS>;

// The sum of what invocations of one column have, for the first of them. Whatever its number, workgroup memory is free again at the end.
fn tree_lanes(i: u32, number: u32, own: vec4<f32>) -> vec4<f32> {
  lane_sums[i] = own;
  for (var half = THREADS / 2u; half >= ACROSS; half /= 2u) {
    workgroupBarrier();
    if (i < half) {
      lane_sums[i] += lane_sums[i + half];
    }
  }
  let sum = lane_sums[i];
  workgroupBarrier();
  return sum;
}

fn subgroup_lanes(i: u32, number: u32, own: vec4<f32>) -> vec4<f32> {
  let size = subgroupAdd(1u);
  var sum = own;
  for (var mask = ACROSS; mask < size; mask *= 2u) {
    sum += subgroupShuffleXor(sum, mask);
  }
  // As many sums as stand across are left of each run of as many invocations.
  let run = max(size, ACROSS);
  if (i % run < ACROSS) {
    lane_sums[i / run * ACROSS + i % run] = sum;
  }
  workgroupBarrier();
  if (i < ACROSS) {
    for (var j = 1u; j < THREADS / run; j++) {
      sum += lane_sums[j * ACROSS + i];
    }
  }
  workgroupBarrier();
  return sum;
}

@compute @workgroup_size(THREADS)
fn several(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32
) {
  let number = group.x + group.y * groups.x;
  if (number >= GROUPS) {
    return;
  }
  var part = part_of(number);
  let columns = part.rows / 4u;
  part.g = part.g * ACROSS + local % ACROSS;
  let column = min(part.g, columns - 1u);
  var facts: array<vec3<f32>, M>;
  if (CENTERED) {
    for (var row = 0u; row < M; row++) {
      facts[row] = facts_of(row, local);
    }
  }
  var sums: array<vec4<f32>, M * PER>;
  var squares: array<vec4<f32>, M>;
  // As many steps for all invocations, so that what they read can be on its way at once.
  for (var step = 0u; step < STEPS; step++) {
    let i = step * LANES + local / ACROSS;
    if (ITEMS % LANES != 0u && i >= ITEMS) {
      break;
    }
    for (var p = 0u; p < PER; p++) {
      let at = 4u * i * columns + column;
      let w = array(
        words_of(part.product + p, at),
        words_of(part.product + p, at + columns),
        words_of(part.product + p, at + 2u * columns),
        words_of(part.product + p, at + 3u * columns)
      );
      for (var row = 0u; row < M; row++) {
        var v = load_a(0u, row, 4u * i);
        if (CENTERED) {
          v = normal_of(facts[row], v, i);
        } else if (NORMALIZED) {
          if (p == 0u) {
            squares[row] = fma(v, v, squares[row]);
          }
          v *= gamma_of(i);
        }
        var sum = sums[row * PER + p];
        sum = fma(vec4(v.x), w[0], sum);
        sum = fma(vec4(v.y), w[1], sum);
        sum = fma(vec4(v.z), w[2], sum);
        sums[row * PER + p] = fma(vec4(v.w), w[3], sum);
      }
    }
  }
  for (var row = 0u; row < M; row++) {
    var first = join_few(local, row, sums[row * PER]);
    var second = vec4<f32>();
    if (PER > 1u) {
      second = join_few(local, row, sums[row * PER + PER - 1u]);
    }
    if (NORMALIZED && !CENTERED) {
      let factor = factor_of(join_few(local, row, squares[row]));
      first *= factor;
      second *= factor;
    }
    if (local < ACROSS && part.g < columns) {
      finish(part, row, first, second);
    }
  }
}

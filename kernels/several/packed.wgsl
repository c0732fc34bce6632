// several: `few` of packed/product.wgsl for several b in one dispatch, with what stands before and behind. The rows of a may be normalized
// while they are read (normal.wgsl), and elementwise steps follow. The body knows the operands (src/webgpu/encode/several.ts).

// Products that a workgroup makes of the same four rows each, and workgroups.
const PER: u32 = 1;
const GROUPS: u32 = 1;

// What a workgroup makes: its first product, the rows 4 g to 4 g + 3 of whose b it reads, and how many there are.
struct Part { product: u32, g: u32, rows: u32 }

// hooks
fn item_of(product: u32, part: Part, i: u32) -> Item {
  return item_units(product, part, i);
}
// end hooks

// body
fn part_of(group: u32) -> Part {
  return Part(0u, group, N);
}

// Vector `at` of the b of a product.
fn words_of(product: u32, at: u32) -> vec4<u32> {
  return b_vectors[at];
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

fn item_units(product: u32, part: Part, i: u32) -> Item {
  return Item(words_of(product, part.g * ITEMS + i), vec4<u32>(), vec4<u32>(), vec4<u32>());
}

fn item_halves(product: u32, part: Part, i: u32) -> Item {
  let at = 4u * part.g * ITEMS + i;
  return Item(
    words_of(product, at),
    words_of(product, at + ITEMS),
    words_of(product, at + 2u * ITEMS),
    words_of(product, at + 3u * ITEMS)
  );
}

// The four scales of an item or, with `behind` 1, its minimums: pairs of words behind all units.
fn factors_of(product: u32, part: Part, i: u32, behind: u32) -> vec4<f32> {
  let units = part.rows / 4u * BLOCKS;
  let at = units * (2u * UNIT + behind) + (part.g * ITEMS + i) / UNIT;
  let words = words_of(product, at / 2u);
  let pair = select(words.xy, words.zw, at % 2u == 1u);
  return vec4<f32>(half_f16(pair.x), half_f16(pair.x >> 16u), half_f16(pair.y), half_f16(pair.y >> 16u));
}

@compute @workgroup_size(LANES)
fn several(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32
) {
  let number = group.x + group.y * groups.x;
  if (number >= GROUPS) {
    return;
  }
  let part = part_of(number);
  var facts: array<vec3<f32>, M>;
  if (CENTERED) {
    for (var row = 0u; row < M; row++) {
      facts[row] = facts_of(row, local);
    }
  }
  var sums: array<vec4<f32>, M * PER>;
  var squares: array<vec4<f32>, M>;
  for (var step = 0u; step < STEPS; step++) {
    let i = step * LANES + local;
    if (ITEMS % LANES != 0u && i >= ITEMS) {
      break;
    }
    for (var p = 0u; p < PER; p++) {
      let item = item_of(part.product + p, part, i);
      var scale = vec4<f32>(1.0);
      var minimum = vec4<f32>();
      if (SCALED) {
        scale = factors_of(part.product + p, part, i, 0u);
      }
      if (SHIFTED) {
        minimum = factors_of(part.product + p, part, i, 1u);
      }
      for (var j = 0u; j < VECTORS; j++) {
        let w = widen(item, j);
        for (var row = 0u; row < M; row++) {
          var v = load_a(0u, row, 4u * (i * VECTORS + j));
          if (CENTERED) {
            v = normal_of(facts[row], v, i * VECTORS + j);
          } else if (NORMALIZED) {
            if (p == 0u) {
              squares[row] = fma(v, v, squares[row]);
            }
            v *= gamma_of(i * VECTORS + j);
          }
          sums[row * PER + p] = fma(v * w, scale, sums[row * PER + p]);
          if (SHIFTED) {
            sums[row * PER + p] = fma(vec4<f32>((v.x + v.y) + (v.z + v.w)), minimum, sums[row * PER + p]);
          }
        }
      }
    }
  }
  for (var row = 0u; row < M; row++) {
    var first = join_few(local, row, sums[row * PER]);
    var second = vec4<f32>();
    if (PER > 1u) {
      second = join_few(local, M + row, sums[row * PER + PER - 1u]);
    }
    if (NORMALIZED && !CENTERED) {
      let factor = factor_of(join_few(local, PER * M + row, squares[row]));
      first *= factor;
      second *= factor;
    }
    if (local == 0u) {
      finish(part, row, first, second);
    }
  }
}

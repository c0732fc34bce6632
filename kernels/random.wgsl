// Random numbers that depend on key, stream and position only; the same bits as assembly/random.ts and src/random.ts. Results are
// the first bindings.
//
// random       key u32[4] -> y[COUNT]: Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011).
//              Block i, from key (key0, key1) and counter (i, STREAM, key2, key3), gives elements 4i .. 4i+3: KIND 0 the
//              bits, 1 uniform f32 in [0, 1), 2 normal f32: a pair is sqrt(-2 ln u1) (cos, sin)(2 pi u2) (Box & Muller
//              1958) of two neighbours, u1 = ((bits >> 8) + 1) 2^-24 in (0, 1]. An invocation makes one block.
// permutation  key u32[4], start i32[1] -> y[COUNT] i32, y[j] = pi((start + j) mod SIZE), pi a bijection of [0, SIZE): a
//              Feistel network of 24 rounds on the smallest power of two that is at least SIZE, walked along its cycle
//              until it lands below SIZE (Mitchell et al., "Bandwidth-Optimal Random Shuffling for GPUs", 2021). Round
//              keys are the Philox blocks 2^31 .. 2^31+5 of the same key and stream: six invocations of each workgroup
//              make them for all. An invocation makes one element. 1 <= SIZE < 2^31.

const KIND: u32 = 0;
const STREAM: u32 = 0;
const COUNT: u32 = 1;
const SIZE: u32 = 1;

const UNIFORM: u32 = 1;
const NORMAL: u32 = 2;

const THREADS: u32 = 256;
const FEISTEL_ROUNDS: u32 = 24;
const ROUND_KEY_BLOCK: u32 = 0x80000000;

@group(0) @binding(0) var<storage, read_write> result: array<u32>;
@group(0) @binding(1) var<storage, read> key: array<u32>;
@group(0) @binding(2) var<storage, read> start: array<u32>;

// A block of the stream.
fn block_of(block: u32) -> vec4<u32> {
  return philox(vec4(block, STREAM, key[2], key[3]), vec2(key[0], key[1]));
}

fn unit(bits: vec4<u32>) -> vec4<f32> {
  return vec4<f32>(bits) * 5.9604644775390625e-8;
}

// sqrt(-2 ln u) for u in (0, 1]. Near 1 the error of WGSL's own logarithm would be large beside the square root's result.
fn radius(u: f32) -> f32 {
  return sqrt(max(-2.0 * f32_log(u), 0.0));
}

// (cos, sin)(2 pi bits 2^-24) for 24-bit words: the nearest quarter turn is split off in integers, exactly.
fn turn(bits: u32) -> vec2<f32> {
  let quarter = (bits + (1u << 21u)) >> 22u;
  let r = f32(i32(bits) - i32(quarter << 22u)) * 3.7450702829239286e-7;
  let c = f32_cos(r);
  let s = f32_sin(r);
  let turned = select(vec2(c, s), vec2(-s, c), (quarter & 1u) == 1u);
  return select(turned, -turned, (quarter & 2u) == 2u);
}

@compute @workgroup_size(THREADS)
fn random(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let block = (id.x + id.y * groups.x) * THREADS + local;
  let at = block * 4u;
  if (at >= COUNT) {
    return;
  }
  var words = block_of(block);
  if (KIND == UNIFORM) {
    words = bitcast<vec4<u32>>(unit(words >> vec4(8u)));
  } else if (KIND == NORMAL) {
    let bits = words >> vec4(8u);
    let u = unit(bits + vec4(1u));
    words = bitcast<vec4<u32>>(vec4(radius(u.x) * turn(bits.y), radius(u.z) * turn(bits.w)));
  }
  result[at] = words.x;
  if (at + 1u < COUNT) {
    result[at + 1u] = words.y;
  }
  if (at + 2u < COUNT) {
    result[at + 2u] = words.z;
  }
  if (at + 3u < COUNT) {
    result[at + 3u] = words.w;
  }
}

var<workgroup> round_keys: array<u32, FEISTEL_ROUNDS>;

const BITS: u32 = max(32u - countLeadingZeros(SIZE - 1u), 1u);
const HIGH: u32 = BITS >> 1u;
const LOW: u32 = BITS - HIGH;

// Mixes v with a round key: both halves of one product, and the high bits of another, which all of its bits reach.
fn mix_words(v: u32, round_key: u32) -> u32 {
  let x = v ^ round_key;
  return ((x * MULTIPLIERS.x) ^ mul_high(vec2(x), MULTIPLIERS).x) * MULTIPLIERS.y;
}

// The bijection of [0, 2^BITS): the two parts of v are xor-ed in turn with the leading bits of the other's mix. HIGH may
// be 0: shifting twice keeps a shift by 32 away.
fn feistel(v: u32) -> u32 {
  var left = v >> LOW;
  var right = v & ((1u << LOW) - 1u);
  for (var round = 0u; round < FEISTEL_ROUNDS; round += 2u) {
    left ^= (mix_words(right, round_keys[round]) >> 1u) >> (31u - HIGH);
    right ^= mix_words(left, round_keys[round + 1u]) >> (32u - LOW);
  }
  return (left << LOW) | right;
}

@compute @workgroup_size(THREADS)
fn permutation(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32
) {
  if (local < FEISTEL_ROUNDS / 4u) {
    let words = block_of(ROUND_KEY_BLOCK + local);
    round_keys[local * 4u] = words.x;
    round_keys[local * 4u + 1u] = words.y;
    round_keys[local * 4u + 2u] = words.z;
    round_keys[local * 4u + 3u] = words.w;
  }
  workgroupBarrier();
  let j = (id.x + id.y * groups.x) * THREADS + local;
  if (j >= COUNT) {
    return;
  }
  var v = feistel((start[0] % SIZE + j % SIZE) % SIZE);
  while (v >= SIZE) {
    v = feistel(v);
  }
  result[j] = v;
}

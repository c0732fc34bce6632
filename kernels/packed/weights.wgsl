// Matrices in few bits: what product.wgsl and rows.wgsl have in common, a library. N stored rows of K elements lie as src/packed/layout.ts
// says: halves row by row, integers in blocks of 32 elements of four rows, UNIT vectors each, behind which scales are and minimums.
// Hooks: weights reads four elements of a row (weights_q8 ...), widened is what 16 bits are (half_f16, half_bf16).

const N: u32 = 1;
const K: u32 = 32;
// Vectors of four words in a block of four rows.
const UNIT: u32 = 8;
const BLOCKS: u32 = K / 32u;
// Blocks of four rows, and words before the scales and the minimums.
const UNITS: u32 = (N + 3u) / 4u * BLOCKS;
const SCALES: u32 = UNITS * UNIT * 4u;
const MINIMUMS: u32 = SCALES + UNITS * 2u;

// Whether there are minimums.
const SHIFTED: bool = false;

@group(0) @binding(1) var<storage, read> b_words: array<u32>;
@group(0) @binding(1) var<storage, read> b_vectors: array<vec4<u32>>;
// The same again: what follows the integers need not end with a vector of four words.
@group(0) @binding(4) var<storage, read> b_pairs: array<vec2<u32>>;

// The f16 in the lower half of a word, by its bits: devices may flush what is subnormal and take infinity and NaN for something else. With
// 224 more in the exponent 31 becomes that of infinity and NaN, and others are 2^112 times too great. Subnormal ones (exponent 0) come out
// as 2^-15 (1 + f) and should be 2^-14 f, which is less; what makes that of them makes all others greater.
fn half_f16(word: u32) -> f32 {
  let high = word << 16u;
  let x = f32_bits(((high >> 3u) & 0x0fffe000u) | 0x70000000u);
  let magnitude = min(x * 0x1p-112f, fma(x, 0x1p-111f, -0x1p-14f));
  return bitcast<f32>(bitcast<u32>(magnitude) | (high & 0x80000000u));
}

fn half_bf16(word: u32) -> f32 {
  return f32_bits(word << 16u);
}

// `mask` of each byte less a number: as the lowest bits of 2^23, since converting integers is slow on some devices.
fn integers(word: u32, mask: u32, less: f32) -> vec4<f32> {
  let bits = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(mask);
  return bitcast<vec4<f32>>(bits | vec4<u32>(0x4b000000u)) - (8388608.0 + less);
}

// Four integers of 8 bits; the lower four bits of four bytes, and those less 8.
fn integers_q8(word: u32) -> vec4<f32> {
  return integers(word ^ 0x80808080u, 255u, 128.0);
}

fn integers_q4m(word: u32) -> vec4<f32> {
  return integers(word, 15u, 0.0);
}

fn integers_q4(word: u32) -> vec4<f32> {
  return integers(word, 15u, 8.0);
}

// Elements k to k + 3 of a row, k a multiple of four below K.

fn unit_of(row: u32, k: u32) -> u32 {
  return row / 4u * BLOCKS + k / 32u;
}

// The scale of a row's block, or behind MINIMUMS its minimum.
fn factor(begin: u32, row: u32, k: u32) -> f32 {
  return half_f16(b_words[begin + unit_of(row, k) * 2u + row % 4u / 2u] >> (row % 2u * 16u));
}

// The four scales of a unit, or with MINIMUMS the minimums.
fn factors(begin: u32, unit: u32) -> vec4<f32> {
  let pair = b_pairs[begin / 2u + unit];
  return vec4<f32>(half_f16(pair.x), half_f16(pair.x >> 16u), half_f16(pair.y), half_f16(pair.y >> 16u));
}

fn weights_q8(row: u32, k: u32) -> vec4<f32> {
  return integers_q8(b_words[unit_of(row, k) * 32u + k % 32u + row % 4u]) * factor(SCALES, row, k);
}

fn word_of_q4(row: u32, k: u32) -> u32 {
  return b_words[unit_of(row, k) * 16u + k % 32u / 8u * 4u + row % 4u] >> (k & 4u);
}

fn weights_q4(row: u32, k: u32) -> vec4<f32> {
  return integers_q4(word_of_q4(row, k)) * factor(SCALES, row, k);
}

fn weights_q4m(row: u32, k: u32) -> vec4<f32> {
  return fma(integers_q4m(word_of_q4(row, k)), vec4<f32>(factor(SCALES, row, k)), vec4<f32>(factor(MINIMUMS, row, k)));
}

fn widened_words(words: vec2<u32>) -> vec4<f32> {
  return vec4<f32>(widened(words.x), widened(words.x >> 16u), widened(words.y), widened(words.y >> 16u));
}

// Where K is a multiple of four.
fn weights_words(row: u32, k: u32) -> vec4<f32> {
  let at = (row * K + k) / 2u;
  return widened_words(vec2<u32>(b_words[at], b_words[at + 1u]));
}

// Zeros beyond K.
fn weights_lanes(row: u32, k: u32) -> vec4<f32> {
  return vec4<f32>(weight_at(row, k), weight_at(row, k + 1u), weight_at(row, k + 2u), weight_at(row, k + 3u));
}

fn weight_at(row: u32, k: u32) -> f32 {
  let at = row * K + min(k, K - 1u);
  return select(0.0, widened(b_words[at / 2u] >> (at % 2u * 16u)), k < K);
}

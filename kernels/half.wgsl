// Temporaries that are stored as f16, two elements in a word, on every device: a library. The loader puts these around what kernels read
// from and write to such bindings; see src/webgpu/half.ts.

// Element i of the word that it is in.
fn half_lane(word: u32, i: u32) -> f32 {
  return unpack2x16float(word >> (16u * (i & 1u))).x;
}

fn half_vector(words: vec2<u32>) -> vec4<f32> {
  return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}

fn half_words(v: vec4<f32>) -> vec2<u32> {
  return vec2<u32>(half_word(v.xy), half_word(v.zw));
}

// Beyond the largest f16, 65504, is infinity, and NaN stays NaN: pack2x16float leaves open what becomes of these.
fn half_word(v: vec2<f32>) -> u32 {
  let bits = bitcast<vec2<u32>>(v);
  let magnitude = bits & vec2<u32>(0x7fffffffu);
  let outside = magnitude > vec2<u32>(0x477fe000u);
  let special = ((bits >> vec2<u32>(16u)) & vec2<u32>(0x8000u)) |
    select(vec2<u32>(0x7c00u), vec2<u32>(0x7e00u), magnitude > vec2<u32>(0x7f800000u));
  let kept = select(vec2<u32>(), special, outside);
  return pack2x16float(select(v, vec2<f32>(), outside)) | kept.x | (kept.y << 16u);
}

// Elements of 0 to 255 that are stored as bytes, four in a word, on every device: a library.

// Element i of the word that it is in.
fn byte_of(word: u32, i: u32) -> i32 {
  return i32((word >> (8u * (i & 3u))) & 0xffu);
}

fn bytes_of(word: u32) -> vec4<i32> {
  return vec4<i32>((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(0xffu));
}

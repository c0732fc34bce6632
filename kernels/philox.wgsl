// Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011): a library.

const MULTIPLIERS = vec2<u32>(0xd2511f53, 0xcd9e8d57);
const KEY_STEPS = vec2<u32>(0x9e3779b9, 0xbb67ae85);

// The high words of 32 x 32 bit products, by 16-bit halves.
fn mul_high(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let a_low = a & vec2(0xffffu);
  let a_high = a >> vec2(16u);
  let b_low = b & vec2(0xffffu);
  let b_high = b >> vec2(16u);
  let cross = a_high * b_low + ((a_low * b_low) >> vec2(16u));
  let middle = a_low * b_high + (cross & vec2(0xffffu));
  return a_high * b_high + (cross >> vec2(16u)) + (middle >> vec2(16u));
}

fn philox(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
  var c = counter;
  var k = key;
  for (var round = 0u; round < 10u; round++) {
    let high = mul_high(c.xz, MULTIPLIERS);
    let low = c.xz * MULTIPLIERS;
    c = vec4(high.y ^ c.y ^ k.x, low.y, high.x ^ c.w ^ k.y, low.x);
    k += KEY_STEPS;
  }
  return c;
}

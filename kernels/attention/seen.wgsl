// Sizes of attention, and which keys a query sees: what all its kernels have in common, a library. They bring the first query's position
// among the keys, position_of, and how many keys a sequence has, length_of.

const B: u32 = 1;
const TQ: u32 = 1;
const TK: u32 = 1;
const KV_HEADS: u32 = 1;
const GROUP: u32 = 1;
const DIM: u32 = 1;
const VALUE_DIM: u32 = 1;
const SCALE: f32 = 1;
const CAUSAL: bool = false;
const WINDOW: u32 = 0;
const OFFSET: u32 = 0;

// Below all scores, and the farthest position that counts.
const LOWEST: f32 = -3.4028234663852886e38;
const FARTHEST: i32 = 1 << 29;

// The first key that query i of a sequence sees, and the one behind the last.
fn seen_by(b: u32, i: u32) -> vec2<i32> {
  let position = position_of(b) + i32(i);
  var begin = 0;
  var end = length_of(b);
  if (CAUSAL) {
    end = min(end, position + 1);
  }
  if (WINDOW > 0u) {
    begin = max(0, position + 1 - i32(WINDOW));
    end = select(min(end, position + i32(WINDOW)), end, CAUSAL);
  }
  return vec2(begin, end);
}

// What a row's sums are multiplied by: 0 where nothing is seen. A NaN is neither.
fn share_of(total: f32) -> f32 {
  return select(1.0 / total, 0.0, total == 0.0);
}

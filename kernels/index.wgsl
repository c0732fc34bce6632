// Positions: a library.

// Where there is nothing.
const OUTSIDE: u32 = 0xffffffffu;

// Row and column of the i-th element of a grid so wide.
fn cell_of(i: u32, width: u32) -> vec2<u32> {
  return vec2(i / width, i % width);
}

/**
 * @file Rows replaced by others. y is [size, inner], updates [count, inner], words of any dtype.
 *
 * scatterUpdate  index, updates, y, size, inner, count, colsPerPiece, whether updates are f32 [count, 2 inner] and words two f16
 *                A piece is a run of columns, for which it walks the index: of equal ones the last counts, however the work is split. An
 *                index outside [0, size) writes nothing.
 */
import { narrow } from "./halves";
import { copyWords } from "./move";

export function scatterUpdate(c: usize, piece: u32, scratch: usize): void {
  const size = load<u32>(c, 12),
    inner = load<u32>(c, 16),
    count = load<u32>(c, 20),
    perPiece = load<u32>(c, 24),
    halves = load<u32>(c, 28);
  const col = piece * perPiece;
  const cols = min(perPiece, inner - col);
  const rowBytes = inner << 2;
  const y = <usize>load<u32>(c, 8) + (col << 2);
  const fromBytes = rowBytes << halves;
  let from = <usize>load<u32>(c, 4) + ((col << 2) << halves);
  let index = <usize>load<u32>(c);
  for (const end = index + (count << 2); index < end; index += 4, from += fromBytes) {
    const row = load<u32>(index);
    if (row >= size) continue;
    if (halves) narrow(y + row * rowBytes, from, cols);
    else copyWords(y + row * rowBytes, from, cols);
  }
}

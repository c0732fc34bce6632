/**
 * @file Rows replaced by others. y is [size, inner], updates [count, inner], words of any dtype.
 *
 * scatterUpdate  index, updates, y, size, inner, count, colsPerPiece
 *                A piece is a run of columns, for which it walks the index: of equal ones the last counts, however the work is split. An
 *                index outside [0, size) writes nothing.
 */
import { copyWords } from "./move";

export function scatterUpdate(c: usize, piece: u32, scratch: usize): void {
  const size = load<u32>(c, 12),
    inner = load<u32>(c, 16),
    count = load<u32>(c, 20),
    perPiece = load<u32>(c, 24);
  const col = piece * perPiece;
  const cols = min(perPiece, inner - col);
  const rowBytes = inner << 2;
  const y = <usize>load<u32>(c, 8) + (col << 2);
  let from = <usize>load<u32>(c, 4) + (col << 2);
  let index = <usize>load<u32>(c);
  for (const end = index + (count << 2); index < end; index += 4, from += rowBytes) {
    const row = load<u32>(index);
    if (row < size) copyWords(y + row * rowBytes, from, cols);
  }
}

/**
 * @file softmaxCrossEntropy: the loss of each row of logits [rows, cols] and, where asked for, the probabilities.
 *
 * softmaxCrossEntropy   logits, labels, loss, probs?, rows, cols, sparse, rowsPerPiece
 *     labels: i32 [rows] when sparse is 1 (clamped to [0, cols)), else f32 [rows, cols]. A piece is a run of rows.
 *
 * With m the row's maximum and s = sum exp(x - m), the loss is summed as labels (log s - (x - m)): m cancels, and with it
 * the rounding that a large m would bring; no term is negative. A label of 0 adds nothing, even where the logit is -inf.
 */
import { hsum, tailMask } from "../simd";
import { divideRows, expRows, largestOf, logSums, rowMax, sumOf, together } from "../softmax";

/** sum(labels (logSum - (x - m))) */
function labelledSum(x: usize, labels: usize, cols: u32, largest: f32, logOfSum: f32): f32 {
  const m = f32x4.splat(largest);
  const logSum = f32x4.splat(logOfSum);
  const zero = f32x4.splat(0);
  let sum = zero;
  for (; cols >= 4; cols -= 4, x += 16, labels += 16) {
    const l = v128.load(labels);
    const term = f32x4.mul(l, f32x4.sub(logSum, f32x4.sub(v128.load(x), m)));
    sum = f32x4.add(sum, v128.and(term, f32x4.ne(l, zero)));
  }
  if (cols) {
    const l = v128.and(v128.load(labels), tailMask(cols));
    const term = f32x4.mul(l, f32x4.sub(logSum, f32x4.sub(v128.load(x), m)));
    sum = f32x4.add(sum, v128.and(term, f32x4.ne(l, zero)));
  }
  return hsum(sum);
}

export function softmaxCrossEntropy(c: usize, piece: u32, scratch: usize): void {
  const logits = <usize>load<u32>(c);
  const labels = <usize>load<u32>(c, 4);
  const loss = <usize>load<u32>(c, 8);
  const probs = <usize>load<u32>(c, 12);
  const rows = load<u32>(c, 16);
  const cols = load<u32>(c, 20);
  const sparse = load<u32>(c, 24);
  const perPiece = load<u32>(c, 28);
  const first = piece * perPiece;
  const some = together(cols);
  const rowBytes = (<usize>cols) << 2;
  let row = first;
  let offset = <usize>row * rowBytes;
  let largest = rowMax(logits + offset, cols);
  for (let left = min(perPiece, rows - first); left;) {
    const n = min(some, left);
    const x = logits + offset;
    left -= n;
    largest = expRows(
      x,
      probs ? probs + offset : scratch,
      probs ? 16 : 0,
      cols,
      n,
      largest,
      left ? x + <usize>n * rowBytes : x,
      scratch,
      scratch,
    );
    if (probs) divideRows(probs + offset, cols, n, scratch);
    logSums(n, scratch);
    for (let word = scratch, end = word + (n << 2); word < end; word += 4, row++, offset += rowBytes) {
      if (!loss) continue;
      const m = largestOf(word);
      const logSum = sumOf(word);
      let value: f32;
      if (sparse) {
        const label = min<u32>(max(load<i32>(labels + ((<usize>row) << 2)), 0), cols - 1);
        value = logSum - (load<f32>(logits + offset + ((<usize>label) << 2)) - m);
      } else {
        value = labelledSum(logits + offset, labels + offset, cols, m, logSum);
      }
      store<f32>(loss + ((<usize>row) << 2), value);
    }
  }
}

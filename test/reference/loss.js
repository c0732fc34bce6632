/** @file softmaxCrossEntropy: the loss of each row of logits, and the probabilities from which its gradient follows. */
import { logSumExp, rowsOf, softmaxRow, sum } from "./softmax.js";

/** logsumexp(logits) * sum(labels) - sum(labels * logits), term by term: a label of 0 adds nothing even where the logit is -inf. */
function denseLoss(logits, labels) {
  const total = logSumExp(logits);
  return sum(labels.map((label, j) => (label === 0 ? 0 : label * (total - logits[j]))));
}

/** logsumexp(logits) - logits[label], the label clamped to the row. */
function sparseLoss(logits, label) {
  return logSumExp(logits) - logits[Math.min(Math.max(label, 0), logits.length - 1)];
}

export function softmaxCrossEntropy(attrs, [logits, labels], [loss, probs]) {
  rowsOf(attrs, logits).forEach((row, i) => {
    loss[i] = attrs.sparse ? sparseLoss(row, labels[i]) : denseLoss(row, labels.subarray(i * attrs.cols, (i + 1) * attrs.cols));
    if (probs) probs.set(softmaxRow(row), i * attrs.cols);
  });
}

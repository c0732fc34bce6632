/** @file matmul: batched matrix product with optional transposes, bias and activation. */
import { activation } from "./activation.js";

export function matmul(attrs, [a, b, bias], [y]) {
  const { batch, batchA, batchB, m, k, n, transposeA, transposeB } = attrs;
  const { f } = activation(attrs.activation);
  const atA = (z, i, l) => (batchA === 1 ? 0 : z) * m * k + (transposeA ? l * m + i : i * k + l);
  const atB = (z, l, j) => (batchB === 1 ? 0 : z) * k * n + (transposeB ? j * k + l : l * n + j);
  for (let z = 0; z < batch; z++) {
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = bias ? bias[j] : 0;
        for (let l = 0; l < k; l++) sum += a[atA(z, i, l)] * b[atB(z, l, j)];
        y[(z * m + i) * n + j] = f(sum);
      }
    }
  }
}

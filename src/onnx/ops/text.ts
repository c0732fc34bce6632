/** @file Counts of n-grams. */
import type { Call, Operator, Operators } from "../call.ts";
import type { Constant } from "../tensors.ts";
import { checkShape } from "../value.ts";

/** Which coordinate of the result each n-gram of the pool has, by its items. */
function coordinates(call: Call, least: number, most: number): Map<string, number> {
  const pool: readonly (string | number)[] = call.strings("pool_strings") ?? call.ints("pool_int64s") ?? [];
  const [starts, indexes] = [call.ints("ngram_counts") ?? [], call.ints("ngram_indexes") ?? []];
  const found = new Map<string, number>();
  let id = 0;
  starts.forEach((start, k) => {
    const size = k + 1;
    for (let at = start; at + size <= (starts[k + 1] ?? pool.length); at += size, id++) {
      if (size >= least && size <= most) found.set(JSON.stringify(pool.slice(at, at + size)), indexes[id]);
    }
  });
  return found;
}

/**
 * How often each n-gram of a pool is in a row: items that follow each other, or stand up to `max_skip_count` + 1 apart. TF counts, IDF says
 * whether there is any, TFIDF weighs counts.
 */
const TfIdfVectorizer: Operator = (call) => {
  const x = call.input(0);
  const mode = call.word("mode", ["TF", "IDF", "TFIDF"], "");
  const [least, most, skips] = ["min_gram_length", "max_gram_length", "max_skip_count"].map((name) => call.int(name, 0));
  const indexes = call.ints("ngram_indexes") ?? [];
  if (x.rank > 2 || !(least >= 1 && most >= least && skips >= 0) || indexes.some((i) => i < 0))
    throw call.fault(`n-grams of ${least} to ${most} items with ${skips} skips of an input [${x.shape.join()}]`);
  const size = indexes.reduce((n, i) => Math.max(n, i + 1), 0);
  const weights = call.floats("weights");
  if (weights !== null && weights.length > 0 && weights.length < size) throw call.fault(`${size} coordinates need as many weights`);
  const found = coordinates(call, least, most);
  const rows = x.rank === 2 ? x.shape[0] : 1;
  const shape = checkShape(x.rank === 2 ? [rows, size] : [size]);
  return call.host("counts", [x], ([c]: readonly Constant[]) => {
    const length = c.elements.length / Math.max(1, rows);
    const counts = new Float32Array(rows * size);
    for (let row = 0; row < rows; row++) {
      const items = Array.from(c.elements as ArrayLike<string | number>).slice(row * length, (row + 1) * length);
      for (let step = 1; step <= Math.min(skips + 1, length); step++) {
        // Single items are not farther apart: they count once.
        for (let n = step > 1 ? Math.max(2, least) : least; n <= most; n++) {
          for (let start = 0; start + step * (n - 1) < length; start++) {
            const at = found.get(JSON.stringify(Array.from({ length: n }, (_, i) => items[start + step * i])));
            if (at !== undefined) counts[row * size + at]++;
          }
        }
      }
    }
    const weightOf = (i: number): number => (mode === "TF" ? 1 : (weights?.[i % size] ?? 1));
    const elements = counts.map((count, i) => weightOf(i) * (mode === "IDF" ? Math.min(1, count) : count));
    return [{ type: "float32", shape, elements }];
  });
};

export const TEXT: Operators = { TfIdfVectorizer };

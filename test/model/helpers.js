/** @file What the tests of models share: made-up tables, small networks, and weights as text, equal where they are equal bit for bit. */
import { createHash } from "node:crypto";
import { sequential } from "../../build/esm/model/model.js";
import { dense, dropout } from "../../build/esm/nn/index.js";
import { Random } from "../../build/esm/random.js";
import { tensor } from "../../build/esm/tensor.js";

/** `samples` rows of `width` normal numbers and a smooth target [samples, 1]. */
export function table(samples, width = 4, seed = 1) {
  const random = new Random(seed);
  const x = random.normal(samples * width);
  const y = Float32Array.from({ length: samples }, (_, i) => {
    const row = x.subarray(i * width, (i + 1) * width);
    return row.reduce((sum, v, k) => sum + v / (k + 1), 0) + 0.5 * row[0] * row[1];
  });
  return { x: { data: x, shape: [samples, width] }, y: { data: y, shape: [samples, 1] } };
}

/** Rows [from, to) of a table's part. */
export function rows({ data, shape }, from, to) {
  const width = data.length / shape[0];
  return { data: data.slice(from * width, to * width), shape: [to - from, ...shape.slice(1)] };
}

/** Batches of `size` rows, the last one smaller. */
export function* batches({ x, y }, size) {
  const samples = x.shape[0];
  for (let at = 0; at < samples; at += size) {
    const end = Math.min(samples, at + size);
    yield [rows(x, at, end), rows(y, at, end)];
  }
}

export const asTensor = ({ data, shape }) => tensor(data, shape);

/** A small network for `table`, with dropout where `rate` is not 0. */
export function network({ seed = 1, rate = 0, width = 4, name = "model" } = {}) {
  const hidden = [dense(8, { activation: "tanh" }), ...(rate > 0 ? [dropout(rate)] : [])];
  return sequential([...hidden, dense(1)], { inputShape: [width], seed, name });
}

/** All weights as one text. */
export async function fingerprint(model) {
  const hash = createHash("sha256");
  for (const t of await model.getWeights()) hash.update(`${t}`).update(new Uint8Array((await t.data()).buffer.slice(0)));
  return hash.digest("hex");
}

/** The error that `fn` throws or rejects with. */
export async function errorOf(fn) {
  try {
    await fn();
  } catch (error) {
    return error;
  }
  throw new Error("expected an error, got none");
}

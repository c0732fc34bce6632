/** @file The data sets of LOCKSTEP_DATA (see its README.md), for tests that are registered only where it is. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { oneHot, parseCsv, readIdx } from "../../build/esm/data/index.js";
import { permutation } from "../../build/esm/random.js";

const folder = process.env.LOCKSTEP_DATA;

/** True where the files are. */
export const haveData = folder !== undefined && existsSync(join(folder, "baselines.json"));

const bytes = (name) => new Uint8Array(readFileSync(join(folder, name)));
const text = (name) => readFileSync(join(folder, name), "utf8");

/** What runs of other software reached, by name. */
export const baselines = () => Object.fromEntries(JSON.parse(text("baselines.json")).runs.map((run) => [run.name, run]));

/** The first `count` images of MNIST's `part` (train or t10k) as [count, ...shape] from 0 to 1, labels one-hot. */
export async function mnist(part, count, shape) {
  const images = await readIdx(bytes(`mnist/${part}-images-idx3-ubyte.gz`));
  const labels = await readIdx(bytes(`mnist/${part}-labels-idx1-ubyte.gz`));
  const x = Float32Array.from(images.data.subarray(0, count * 784), (v) => v / 255);
  return { x: { data: x, shape: [count, ...shape] }, y: { data: oneHot(labels.data.subarray(0, count), 10), shape: [count, 10] } };
}

/** The second column of a table. */
export const series = (name) => parseCsv(text(`tables/${name}.csv`), { columns: [1] }).values;

/** The rows of a table without header, permuted by `seed`, as [{ features, label }]. */
export function table(name, seed) {
  const lines = text(`tables/${name}.csv`)
    .trim()
    .split(/\r?\n/)
    .map((line) => line.split(","));
  return Array.from(permutation(lines.length, [seed, 0, 0, 0]), (i) => ({
    features: lines[i].slice(0, -1).map(Number),
    label: lines[i].at(-1),
  }));
}

/** The first `count` characters of Shakespeare as numbers in order of their first use, and how many there are. */
export function characters(count) {
  const all = text("tinyshakespeare.txt").slice(0, count);
  const known = [...new Set(all)];
  const numbers = new Map(known.map((c, i) => [c, i]));
  return { codes: Int32Array.from(all, (c) => numbers.get(c)), vocabulary: known.length };
}

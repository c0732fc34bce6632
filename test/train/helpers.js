/** @file What the tests of optimizers share: three parameters and their gradients, a step, and state as a file would have it. */
import { compile } from "../../build/esm/compile.js";
import { Random } from "../../build/esm/random.js";
import { tensor } from "../../build/esm/tensor.js";

export const SHAPES = [[3, 4], [5], []];
const size = (shape) => shape.reduce((a, b) => a * b, 1);
export const normal = (shape, seed) => tensor(new Random(seed).normal(size(shape)), shape);
export const makeParams = () => SHAPES.map((shape, i) => normal(shape, 100 + i));
export const makeGrads = (t) => SHAPES.map((shape, i) => normal(shape, 10 * t + i));
export const stepOf = (optimizer, params) => compile((grads) => optimizer.update(params, grads));
export const snapshot = async (tensors) => Promise.all(tensors.map(async (t) => Array.from(await t.data())));
export const saved = async (optimizer) =>
  Object.fromEntries(
    await Promise.all(
      Object.entries(optimizer.state()).map(async ([name, t]) => [name, { shape: t.shape, data: (await t.data()).slice() }]),
    ),
  );

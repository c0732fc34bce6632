/** @file What `fit`, `evaluate` and `predict` take as data, checked and made into tensors before anything runs. */
import type { TypedArray } from "../dtype.ts";
import { DataError, ShapeError } from "../errors.ts";
import { toTensor } from "../samples.ts";
import type { Strings } from "../samples.ts";
import { fits, sameShape, showShape } from "../shape.ts";
import type { OpenShape, Shape } from "../shape.ts";
import { Tensor, tensor } from "../tensor.ts";
import type { Loss } from "../train/losses.ts";
import { dense, elementsOf, toSamples, View } from "./view.ts";
import type { Data, Samples } from "./view.ts";
import type { WeightOptions } from "./weights.ts";

export type { Data } from "./view.ts";
export type { ClassWeight } from "./weights.ts";

/**
 * One input, or a list with one item for each input of a model of several. Texts, in arrays, where a layer that reads them stands at the
 * input.
 */
export type Inputs = Data | readonly Strings[] | readonly (Data | readonly Strings[])[];
/**
 * One target, or for a model of several outputs a list with one for each or an object by their names; null for an output without a loss.
 */
export type Targets = Data | readonly (Data | null)[] | { readonly [output: string]: Data };
/** Tensors that have been looked through already, with the elements they had then. */
const finite = new WeakMap<Tensor, TypedArray>();

/** @throws DataError naming the first element that is NaN or infinite. */
async function checkFinite(who: string, t: Tensor): Promise<void> {
  if (t.dtype !== "f32") return;
  const data = await t.data();
  if (finite.get(t) === data) return;
  for (let i = 0; i < data.length; i++) {
    // The difference of a number with itself is 0 unless it is NaN or infinite.
    if (data[i] - data[i] !== 0) {
      const row = Math.floor(i / (t.size / t.shape[0]));
      throw new DataError(`${who}: expected finite numbers, got ${data[i]} in sample ${row} (element ${i}); replace missing values first`);
    }
  }
  finite.set(t, data);
}

/** Inputs with equally many samples. @throws DataError, ShapeError */
export async function readInputs(who: string, x: Inputs, expected: readonly OpenShape[] | null): Promise<Samples[]> {
  const inputs = expected?.length ?? 1;
  const whole = (t: unknown): boolean => t instanceof Tensor || (typeof t === "object" && t !== null && "data" in t && "shape" in t);
  const many = Array.isArray(x) && x.length > 0 && (x.every(whole) || (inputs > 1 && x.length === inputs));
  const tensors = many ? (x as readonly Data[]).map((each, i) => toSamples(`${who}: x[${i}]`, each)) : [toSamples(`${who}: x`, x as Data)];
  if (expected !== null && tensors.length !== inputs)
    throw new ShapeError(
      `${who}: the model has ${inputs} input${inputs === 1 ? "" : "s"}, got ` +
        `${tensors.length}${inputs > 1 ? "; give a list with one item for each" : ""}`,
    );
  for (const [i, t] of tensors.entries()) {
    const name = many ? `x[${i}]` : "x";
    if (t.shape.length === 0) throw new ShapeError(`${who}: ${name} must have a dimension of samples, got a number`);
    if (t.shape[0] === 0) throw new DataError(`${who}: ${name} is empty: expected at least one sample, got shape ${showShape(t.shape)}`);
    if (t.shape[0] !== tensors[0].shape[0])
      throw new DataError(`${who}: x[0] has ${tensors[0].shape[0]} samples, ${name} has ${t.shape[0]}`);
    const shape = expected?.[i];
    if (shape && !fits(t.shape.slice(1), shape)) {
      throw new ShapeError(
        `${who}: the model expects ${name} of shape ${showShape([null, ...shape])}, got ` +
          `${showShape(t.shape)}${t.shape.length === shape.length ? "; a single sample needs a first dimension of 1" : ""}`,
      );
    }
    await checkFinite(`${who}: ${name}`, elementsOf(t));
  }
  return tensors;
}

/**
 * Lengths that the first dimension of samples is brought to where the model's `inputShape` leaves it open (`[null, 8]`): the next one
 * of a list, or the next power of two. Zeros are put in behind the last step, and what the model makes of them is its own matter:
 * layers that know of a mask pass over them, others do not.
 */
export type PadTo = readonly number[] | "powersOfTwo";

function convert(data: TypedArray, dtype: "f32" | "i32", shape: Shape): Tensor {
  return tensor(dtype === "f32" ? Float32Array.from(data) : Int32Array.from(data), shape);
}

/**
 * Targets in the form the loss wants: class numbers as i32 without a last dimension of 1, anything else as f32 of the
 * output's shape. @throws ShapeError, DataError for labels that are no class or probability.
 */
export async function readTargets(who: string, y: Data, samples: number, loss: Loss, output: OpenShape): Promise<Samples> {
  const given = toSamples(`${who}: y`, y);
  if (given instanceof View && loss.labels === "class" && given.elements.dtype === "i32") {
    const { shape } = given;
    // What holds for all elements holds for samples of them.
    await readTargets(who, given.elements, given.elements.size, loss, output.slice(-1));
    if (fits(shape, [samples, ...output.slice(0, -1)])) return given;
  }
  const t = await dense(given);
  if (t.rank === 0 || t.shape[0] !== samples)
    throw new DataError(`${who}: x has ${samples} samples, y has ${t.rank === 0 ? "a single number" : t.shape[0]}`);
  const data = await t.data();
  const lead = [samples, ...output.slice(0, -1)];
  if (loss.labels === "class") {
    if (!fits(t.shape, lead) && !fits(t.shape, [...lead, 1])) {
      const shapes = `${showShape([null, ...output.slice(0, -1)])}, got ${showShape(t.shape)}`;
      throw new ShapeError(`${who}: ${loss.name} expects class numbers ${shapes}; for one-hot labels use categoricalCrossentropy`);
    }
    const classes = output[output.length - 1];
    if (classes === null) {
      throw new ShapeError(`${who}: ${loss.name} needs a fixed number of classes, the output is ${showShape([null, ...output])}`);
    }
    for (let i = 0; i < data.length; i++) {
      if (!Number.isInteger(data[i]) || data[i] < 0 || data[i] >= classes)
        throw new DataError(`${who}: labels must be class numbers 0 to ${classes - 1}, got ${data[i]} in element ${i}`);
    }
    const shape = t.shape.slice(0, lead.length);
    return t.dtype === "i32" && sameShape(t.shape, shape) ? t : convert(data, "i32", shape);
  }
  const short = output[output.length - 1] === 1 && fits(t.shape, lead);
  // A function may take what it likes; only a column that is missing, or is too much, would broadcast.
  if (loss.config.custom === true && !short) {
    await checkFinite(`${who}: y`, t);
    const column = t.rank === output.length + 2 && t.shape[t.rank - 1] === 1 && fits(t.shape.slice(0, -1), [samples, ...output]);
    return column ? tensor(await t.data(), t.shape.slice(0, -1), t.dtype) : t;
  }
  if (!fits(t.shape, [samples, ...output]) && !short) {
    throw new ShapeError(
      `${who}: ${loss.name} expects targets of shape ${showShape([null, ...output])}, got ` +
        `${showShape(t.shape)}${loss.name === "categoricalCrossentropy" ? "; for class numbers use sparseCategoricalCrossentropy" : ""}`,
    );
  }
  await checkFinite(`${who}: y`, t);
  if (loss.name.endsWith("Crossentropy")) {
    for (let i = 0; i < data.length; i++) {
      if (data[i] < 0 || data[i] > 1)
        throw new DataError(`${who}: ${loss.name} expects labels between 0 and 1, got ${data[i]} in element ${i}`);
    }
  }
  return t.dtype === "f32" && !short ? t : convert(data, "f32", short ? [...t.shape, 1] : t.shape);
}

/** How many of `samples` come before the part that is left for validation: floor(samples * (1 - split)), as in Keras. */
export const samplesBefore = (samples: number, split: number): number => Math.floor(samples * (1 - split));

/**
 * Weights of the loss's values, [samples] or, where a sample has several labels, [samples, ...labels]: sample weights times class weights.
 * Class weights are for training alone: only the first `trained` samples have them. Null: all 1.
 * @param target what `readTargets` gave: class numbers (i32) or rows (f32)
 */
export async function readWeights(who: string, target: Samples, weights: Data | undefined, options: WeightOptions): Promise<Tensor | null> {
  if (weights === undefined && options.classWeight === undefined) return null;
  const given = weights === undefined ? null : toTensor(`${who}: sampleWeight`, weights);
  const { weightsOf } = await import("./weights.ts");
  const { data, shape } = await weightsOf(who, await dense(target), given, options, checkFinite);
  return tensor(data, shape);
}

/**
 * @file Weights of samples and classes: loaded on demand, where `sampleWeight` or `classWeight` is given. It is whole in itself, as
 * padding.ts is.
 */
import { ArgumentError, ShapeError } from "../errors.ts";
import { sameShape, showShape, sizeOf } from "../shape.ts";
import type { Shape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";

/** Weight of each class in the loss, by class number. */
export type ClassWeight = { readonly [label: number]: number };

/** What samples count by, besides weights of their own. */
export interface WeightOptions {
  readonly classWeight: ClassWeight | undefined;
  readonly samples: number;
  /** How many of them, the first, are trained on. */
  readonly trained: number;
}

/** @throws ArgumentError unless each class number has a finite weight. */
function checkClassWeight(who: string, classWeight: ClassWeight): void {
  if (typeof classWeight !== "object" || classWeight === null || classWeight instanceof Map)
    throw new ArgumentError(
      `${who}: classWeight must be an object { classNumber: weight }, got ${classWeight instanceof Map ? "a Map" : String(classWeight)}`,
    );
  for (const [label, weight] of Object.entries(classWeight)) {
    if (!/^\d+$/.test(label))
      throw new ArgumentError(`${who}: classWeight has the key ${JSON.stringify(label)}; keys must be class numbers from 0`);
    if (!Number.isFinite(weight))
      throw new ArgumentError(`${who}: classWeight of class ${label} must be a finite number, got ${String(weight)}`);
  }
}

/**
 * What `readWeights` gives, as elements and shape.
 * @param y targets
 * @param t weights of samples; null: all 1
 * @param finite throws for elements that are not finite
 */
export async function weightsOf(
  who: string,
  y: Tensor,
  t: Tensor | null,
  { classWeight, samples, trained }: WeightOptions,
  finite: (who: string, t: Tensor) => Promise<void>,
): Promise<{ readonly data: Float32Array; readonly shape: Shape }> {
  const perLabel = y.dtype === "i32" ? y.shape : [samples, ...y.shape.slice(1, -1)];
  let shape: Shape = classWeight === undefined ? [samples] : perLabel;
  let out = new Float32Array(sizeOf(shape)).fill(1);
  if (t !== null) {
    const each = sameShape(t.shape, perLabel);
    if (!each && t.size !== samples)
      throw new ShapeError(
        `${who}: sampleWeight must have one number for each of ${samples} ` +
          `samples${perLabel.length > 1 ? ` or the shape ${showShape(perLabel)}` : ""}, got ${showShape(t.shape)}`,
      );
    await finite(`${who}: sampleWeight`, t);
    const given = await t.data();
    if (each) shape = perLabel;
    const labels = sizeOf(shape) / samples;
    out = Float32Array.from({ length: samples * labels }, (_, i) => given[each ? i : Math.floor(i / labels)]);
  }
  if (classWeight !== undefined) {
    checkClassWeight(who, classWeight);
    const data = await y.data();
    const width = data.length / out.length;
    const end = (out.length / samples) * trained;
    for (let i = 0; i < end; i++) {
      let label = width > 1 ? 0 : data[i];
      for (let k = 1; k < width; k++) if (data[i * width + k] > data[i * width + label]) label = k;
      out[i] *= classWeight[label] ?? 1;
    }
  }
  return { data: out, shape };
}

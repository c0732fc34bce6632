/**
 * @file Sequences brought to a few lengths: loaded on demand, where `padTo` is given. It is whole in itself, and is given what makes
 * tensors: bundlers keep for an application whatever a file that may be loaded imports of the library.
 */
import type { TypedArray } from "../dtype.ts";
import { ArgumentError, DataError, ShapeError } from "../errors.ts";
import { showShape, sizeOf } from "../shape.ts";
import type { OpenShape } from "../shape.ts";
import type { Tensor, tensor } from "../tensor.ts";
import type { PadTo } from "./data.ts";

/** `t` [samples, steps, ...] with another number of steps: zeros behind, or without the last ones. */
async function withSteps(t: Tensor, steps: number, make: typeof tensor): Promise<Tensor> {
  const [samples, own, ...rest] = t.shape;
  if (own === steps) return t;
  const data = await t.data();
  const size = sizeOf(rest);
  const out = new (data.constructor as new (size: number) => TypedArray)(samples * steps * size);
  const kept = Math.min(own, steps) * size;
  for (let i = 0; i < samples; i++) out.set(data.subarray(i * own * size, i * own * size + kept), i * steps * size);
  return make(out, [samples, steps, ...rest], t.dtype);
}

/**
 * Inputs brought to the lengths of `padTo`.
 * @param make `tensor`
 * @throws ArgumentError where that is none, or the model has no open dimension; DataError for longer inputs
 */
export async function padded(
  who: string,
  inputs: readonly Tensor[],
  shapes: readonly OpenShape[],
  padTo: PadTo,
  make: typeof tensor,
): Promise<Tensor[]> {
  const list = Array.isArray(padTo) ? (padTo as readonly number[]) : null;
  if ((list === null && padTo !== "powersOfTwo") || !shapes.some((s) => s[0] === null)) {
    const got = `${JSON.stringify(padTo)} for ${shapes.map(showShape).join(", ")}`;
    throw new ArgumentError(`${who}: padTo takes a list of lengths or "powersOfTwo", for an inputShape that begins with null, got ${got}`);
  }
  return Promise.all(
    inputs.map((t, i) => {
      const steps = t.shape[1];
      let next = 1;
      while (next < steps) next *= 2;
      if (list !== null) next = Math.min(...list.filter((n) => n >= steps));
      if (shapes[i][0] !== null) return t;
      if (next === Infinity) throw new DataError(`${who}: padTo has no length for ${steps} steps: ${showShape(list ?? [])}`);
      return withSteps(t, next, make);
    }),
  );
}

/**
 * Outputs without those of steps that `padded` put into what was `given`.
 * @param make `tensor`
 * @throws ShapeError where the output depends on the length in another way than having as many steps
 */
export async function unpadded(
  y: Tensor,
  output: OpenShape,
  given: readonly Tensor[],
  inputs: readonly Tensor[],
  make: typeof tensor,
): Promise<Tensor> {
  if (!output.includes(null)) return y;
  const steps = new Set(inputs.flatMap((t, i) => (output[0] === null && t.shape[1] === y.shape[1] ? given[i].shape[1] : [])));
  if (steps.size !== 1) {
    throw new ShapeError(`predict: padTo cannot tell which steps of the output ${showShape([null, ...output])}`);
  }
  return withSteps(y, [...steps][0], make);
}

/**
 * @file The one rule of dtypes (docs/numbers.md), NumPy's and Keras' with 32 bits: bool < i32, u32 < f32. Operands become the least dtype
 *   that is above all of theirs; i32 and u32 have none that
 * could hold both, so they are an error. JavaScript's numbers are weak: an integer follows the other operand (beside bools it is i32), a
 * fraction, an infinity or NaN makes integers f32.
 */
import { apply } from "../apply.ts";
import type { DType } from "../dtype.ts";
import { checkDTypeName } from "../elements.ts";
import { DTypeError } from "../errors.ts";
import { asTensor } from "../graph.ts";
import type { Op } from "../graph.ts";
import { Tensor } from "../tensor.ts";
import type { TensorLike } from "../tensor.ts";
import { TRAINING } from "../training.ts";

export const castOp: Op = {
  name: "cast",
  infer: (inputs, attrs) => [{ shape: (inputs[0] as Tensor).shape, dtype: attrs.dtype as DType }],
  vjp: TRAINING ? ({ dy, x }) => [(x[0] as Tensor).dtype === "f32" ? dy[0] : null] : null,
  lower: "map",
};

/**
 * `x` with another dtype. f32 to integer truncates toward zero, NaN gives 0 and what is out of range the nearest end; i32 and u32 keep
 * their bits; to bool means "not zero". Shape of x. The gradient passes from f32 to f32 only.
 */
export function cast(x: TensorLike, dtype: DType): Tensor {
  const t = asTensor(x, "f32", "cast");
  const from = dtype !== "f32" && t.node?.op === castOp && t.node.attrs.given === true ? (t.node.inputs[0] as Tensor) : t;
  if (from.dtype === dtype) return from;
  checkDTypeName("cast", dtype);
  return apply(castOp, [from], { dtype })[0];
}

function join(who: string, operands: readonly TensorLike[], a: DType, b: DType): DType {
  if (a === b || b === "bool") return a;
  if (a === "bool" || b === "f32") return b;
  if (a === "f32") return a;
  const tensors = operands.filter((t) => t instanceof Tensor).join(" and ");
  throw new DTypeError(`${who}: i32 and u32 have no common dtype of 32 bits, got ${tensors}; convert one with cast()`);
}

/**
 * The operands of `who` as tensors of one dtype. @throws DTypeError for i32 with u32, ArgumentError for what is no tensor, DataError for
 * a number out of range.
 */
export function promoted(who: string, operands: readonly TensorLike[]): readonly Tensor[] {
  let dtype: DType | undefined;
  for (const t of operands) if (t instanceof Tensor) dtype = dtype === undefined ? t.dtype : join(who, operands, dtype, t.dtype);
  const beside = dtype;
  const tensors = operands.map((x) => asTensor(x, beside, who));
  let all = dtype ?? tensors[0].dtype;
  for (const t of tensors) all = join(who, tensors, all, t.dtype);
  return tensors.every((t) => t.dtype === all) ? tensors : tensors.map((t) => cast(t, all));
}

/** The operand of a function that is only defined on f32: integers and bools become that. */
export const toFloat = (who: string, x: TensorLike): Tensor => cast(asTensor(x, "f32", who), "f32");

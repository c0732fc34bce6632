/** @file Rows replaced by others: how new keys and values come into a cache of fixed capacity. */
import { apply } from "../apply.ts";
import { DTypeError, ShapeError } from "../errors.ts";
import { asTensor } from "../graph.ts";
import type { Op } from "../graph.ts";
import * as kernels from "../kernels.ts";
import { copyCall } from "../plan/copy.ts";
import { sameShape, showShape, sizeBetween } from "../shape.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import { TRAINING } from "../training.ts";
import { broadcastTo, reshape } from "./broadcast.ts";
import { gather } from "./gather.ts";
import { equal, where } from "./map.ts";
import { iota } from "./move.ts";

/** For each update whether its row of the `size` is its own: that of no other, none outside, of equal ones the last. bool [count]. */
function lasting(index: Tensor, size: number): Tensor {
  const numbers = iota([index.size]);
  return equal(gather(scatterUpdate(broadcastTo(asTensor(-1, "i32"), [size]), index, numbers), index), numbers);
}

/** (x[size, ...], index[count], updates[count, ...]) -> y. */
export const scatterUpdateOp: Op = {
  name: "scatterUpdate",
  infer: ([x, index, updates]) => {
    const [t, i, u] = [x as Tensor, index as Tensor, updates as Tensor];
    if (t.rank === 0) throw new ShapeError("scatterUpdate: expected x [size, ...], got a scalar");
    if (i.dtype !== "i32") throw new DTypeError(`scatterUpdate: the index must be i32, got ${i}; convert with cast(index, "i32")`);
    if (i.rank !== 1) throw new ShapeError(`scatterUpdate: the index must be [count], got ${showShape(i.shape)}`);
    if (!sameShape(u.shape, [i.size, ...t.shape.slice(1)])) {
      const wanted = showShape([i.size, ...t.shape.slice(1)]);
      throw new ShapeError(`scatterUpdate: ${i.size} indices into ${showShape(t.shape)} need updates ${wanted}, got ${showShape(u.shape)}`);
    }
    if (u.dtype !== t.dtype) throw new DTypeError(`scatterUpdate: x and updates must have one dtype, got ${t} and ${u}`);
    return [t];
  },
  vjp: TRAINING
    ? ({ dy, x, needs }) => {
        const [d, index, updates] = [dy[0] as Tensor, x[1] as Tensor, x[2] as Tensor];
        const none = broadcastTo(0, updates.shape);
        const rows = (): Tensor =>
          d.size === 0
            ? none
            : where(reshape(lasting(index, d.shape[0]), [index.size, ...d.shape.slice(1).map(() => 1)]), gather(d, index), none);
        return [needs[0] ? scatterUpdate(d, index, none) : null, null, needs[2] ? rows() : null];
      }
    : null,
  lower: ({ inputs, outputs }) => {
    const [x, index, updates] = inputs as readonly Tensor[];
    const attrs = { size: x.shape[0], inner: sizeBetween(x.shape, 1, x.rank), count: index.size };
    return [copyCall(x, outputs[0]), { kernel: kernels.scatterUpdate, inputs: [index, updates], outputs, attrs }];
  },
};

/** (x u32 [size, ..., n], index[count], updates f32 [count, ..., 2 n]) -> y: updates as f16, two in a word (plan/kernels.ts). */
export const scatterHalvesOp: Op = {
  name: "scatterHalves",
  infer: ([x]) => [x as Tensor],
  vjp: null,
  lower: ({ inputs, outputs }) => {
    const [x, index, updates] = inputs as readonly Tensor[];
    const attrs = { size: x.shape[0], inner: sizeBetween(x.shape, 1, x.rank), count: index.size, halves: true };
    return [copyCall(x, outputs[0]), { kernel: kernels.scatterUpdate, inputs: [index, updates], outputs, attrs }];
  },
};

/** Whether rows of these features can be kept as halves: in whole vectors of four. */
export const canBeHalves = (features: number): boolean => features % 4 === 0;

/** `scatterUpdate` that keeps rows f32 [..., n] as u32 [..., n / 2], two f16 in a word, where `canBeHalves(n)`. */
export const scatterHalves = (x: Tensor, index: Tensor, updates: Tensor): Tensor => apply(scatterHalvesOp, [x, index, updates])[0];

/**
 * x[size, ...] with row index[j] (i32 [count]) replaced by updates[j] ([count, ...], of x's dtype). Of equal indices the last counts; an
 * index outside [0, size), which may stand for padding, writes nothing. The gradient of x is 0 where rows were replaced, that of updates
 * is 0 for those that do not count. Keras' `ops.scatter_update` for indices into the first axis.
 *
 * `assign(cache, scatterUpdate(cache, index, rows))` writes the rows and copies nothing, where nothing that comes after it reads the old
 * cache.
 * @throws ShapeError, DTypeError unless shapes and dtypes fit.
 */
export function scatterUpdate(x: TensorLike, index: TensorLike, updates: TensorLike): Tensor {
  const t = asTensor(x, "f32", "scatterUpdate");
  return apply(scatterUpdateOp, [t, asTensor(index, "i32", "scatterUpdate"), asTensor(updates, t.dtype, "scatterUpdate")])[0];
}

/** @file Tensors whose elements come piece by piece. */
import type { Backend } from "./backend.ts";
import { bytesOf } from "./dtype.ts";
import type { DType } from "./dtype.ts";
import { checkDTypeName, checkShape } from "./elements.ts";
import { relieved } from "./relief.ts";
import { sizeOf } from "./shape.ts";
import type { Shape } from "./shape.ts";
import { Tensor } from "./tensor.ts";

/**
 * A tensor that is on `backend` alone, with elements that are not defined yet: `set(part, offset)` writes them piece by piece, so that the
 * host never holds all of a large tensor.
 * @param dtype default f32
 * @throws BackendError with the numbers where the backend has no room, ShapeError for what is no shape, DTypeError for what is no dtype
 * @example const t = await emptyOn(await open("webgpu"), [32000, 768]);
 * for await (const { rows, first } of parts) t.set(rows, first * 768);
 */
export async function emptyOn(backend: Backend, shape: Shape, dtype: DType = "f32"): Promise<Tensor> {
  checkShape("emptyOn", shape);
  checkDTypeName("emptyOn", dtype);
  const buffer = await relieved(backend, () => backend.alloc(bytesOf(sizeOf(shape))));
  const t = new Tensor([...shape], dtype, null, 0, null);
  t.adopt(backend, buffer);
  t.markDeviceNewer();
  return t;
}

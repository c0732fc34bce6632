/** @file Data for models from files: arrays of NumPy, JSON, pictures, tables. And results as files. */
import { tensor } from "../index.ts";
import type { NestedArray, OpenShape, Tensor } from "../index.ts";
import { builtin, readBytes } from "../node/files.ts";
import type { Builtins } from "../node/files.ts";
import { sizeOf } from "../shape.ts";
import { Failure } from "./command.ts";
import { readNpy, writeNpy } from "./npy.ts";
import { pictureAs, readPicture } from "./png.ts";

const PICTURE = /\.(png|jpe?g|webp|gif|avif|tiff?|bmp)$/i;

export const decodeText = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** Writes a file. @throws FileError */
export async function writeFile(path: string, bytes: Uint8Array | string): Promise<void> {
  const { writeBytesAtomic } = await import("../node/write.ts");
  await writeBytesAtomic(path, typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes);
}

/** Shape of nested arrays, by their first elements. */
function shapeOf(value: unknown): number[] {
  return Array.isArray(value) ? [value.length, ...(value.length > 0 ? shapeOf(value[0]) : [])] : [];
}

/** `given` as a batch for samples of `shape`: one sample gets the dimension in front. */
function batched(path: string, t: Tensor, shape: OpenShape | null): Tensor {
  if (shape === null) return t;
  const fits = (own: readonly number[]): boolean => own.length === shape.length && shape.every((d, i) => d === null || d === own[i]);
  if (fits(t.shape.slice(1))) return t;
  if (fits(t.shape)) return tensor(t.host as Float32Array, [1, ...t.shape], t.dtype);
  const wanted = shape.map((d) => d ?? "any").join(" x ");
  throw new Failure(
    `${path} has the shape ${t.shape.join(" x ") || "of a number"}; the model takes samples of ${wanted}, or several of them`,
  );
}

/**
 * What a file holds as a tensor for samples of `shape` (null: whatever it is). Pictures take the model's size, their bytes divided by
 * `scale`.
 * @throws FileError, DataError, Failure
 */
export async function readInput(path: string, shape: OpenShape | null, scale: number): Promise<Tensor> {
  const bytes = await readBytes(path);
  if (PICTURE.test(path)) {
    const picture = await readPicture(path, bytes);
    const isColors = (size: number | null | undefined): boolean => size === 1 || size === 3;
    // Of graphs channels mostly come first.
    const planes = shape?.length === 3 && isColors(shape[0]) && !isColors(shape[2]);
    const [height, width, channels] = shape === null ? [null, null, null] : planes ? [shape[1], shape[2], shape[0]] : shape;
    if (shape !== null && (shape.length !== 3 || (channels !== null && !isColors(channels))))
      throw new Failure(`${path} is a picture, and the model takes samples of ${shape.map((d) => d ?? "any").join(" x ") || "a number"}`);
    const size = [height ?? picture.height, width ?? picture.width, channels ?? (picture.channels >= 3 ? 3 : 1)] as const;
    const rows = pictureAs(picture, ...size, scale);
    if (!planes) return tensor(rows, [1, ...size]);
    const [pixels, colors] = [size[0] * size[1], size[2]];
    return tensor(
      rows.map((_, i) => rows[(i % pixels) * colors + Math.floor(i / pixels)]),
      [1, colors, size[0], size[1]],
    );
  }
  if (/\.npy$/i.test(path)) {
    const { data, shape: own } = readNpy(path, bytes);
    return batched(path, data instanceof Uint8Array ? tensor(data, own) : tensor(data, own), shape);
  }
  if (/\.json$/i.test(path)) {
    let value: unknown;
    try {
      value = JSON.parse(decodeText(bytes));
    } catch (error) {
      throw new Failure(`${path} is no JSON: ${(error as Error).message}`);
    }
    if (!Array.isArray(value) && typeof value !== "number") throw new Failure(`${path} must be a list of numbers, or lists of such`);
    if (sizeOf(shapeOf(value)) === 0) throw new Failure(`${path} has no numbers`);
    return batched(path, tensor(value as NestedArray), shape);
  }
  throw new Failure(`${path}: inputs are .npy, .json, .csv of a model that lockstep train made, or pictures`);
}

/** A result as text: its shape, and its elements where they are not too many. */
export async function showTensor(name: string, t: Tensor): Promise<string> {
  const most = 200;
  const value =
    t.size <= most
      ? JSON.stringify(await t.array(), rounded)
      : `${JSON.stringify([...(await t.data()).slice(0, 12)], rounded).slice(0, -1)}, ...`;
  return `${name} ${t.dtype} [${t.shape.join(", ")}]\n${value}`;
}

const rounded = (_key: string, value: unknown): unknown =>
  typeof value === "number" ? (Number.isFinite(value) ? Number(value.toPrecision(6)) : String(value)) : value;

/** Writes results: one tensor as .npy, any as .json. @throws Failure */
export async function writeOutputs(path: string, outputs: readonly (readonly [string, Tensor])[]): Promise<void> {
  if (/\.json$/i.test(path)) {
    const all = Object.fromEntries(await Promise.all(outputs.map(async ([name, t]) => [name, await t.array()] as const)));
    return writeFile(path, `${JSON.stringify(outputs.length === 1 ? Object.values(all)[0] : all)}\n`);
  }
  if (!/\.npy$/i.test(path)) throw new Failure(`${path}: results are written as .npy or .json`);
  const { extname } = builtin("node:path") as Builtins["node:path"];
  for (const [name, t] of outputs) {
    const own = outputs.length === 1 ? path : `${path.slice(0, -extname(path).length)}.${name.replace(/[^\w.-]+/g, "_")}.npy`;
    await writeFile(own, writeNpy({ shape: t.shape, data: await t.data() }));
  }
}

/** @file Data for models from files: arrays of NumPy, JSON, pictures. And results as files. */
import { tensor } from "../index.ts";
import type { DType, NestedArray, OpenShape, Tensor } from "../index.ts";
import { showCount, showSizes } from "../inspect/table.ts";
import { naming } from "../naming.ts";
import { builtin } from "../node/files.ts";
import type { Builtins } from "../node/files.ts";
import { sizeOf } from "../shape.ts";
import { Failure, UsageError } from "./command.ts";
import { readNpy, writeNpy } from "./npy.ts";
import { readFile, writeFile } from "./paths.ts";
import { pictureAs, readPicture } from "./pictures.ts";
import type { Scaling } from "./pictures.ts";
import type { Picture } from "./png.ts";
import { decodeText } from "./texts.ts";

const PICTURE = /\.(png|jpe?g|webp|gif|avif|tiff?|bmp)$/i;

const shown = (shape: OpenShape): string => showSizes(shape, "a number");

/** What a model reads. */
export interface Wanted {
  /** Of one sample; null: whatever it is. */
  readonly shape: OpenShape | null;
  /** Null: as it is. */
  readonly dtype: DType | null;
}

/** Elements as a file has them. */
interface Elements {
  readonly data: Float32Array | Int32Array | Uint8Array;
  readonly shape: readonly number[];
}

/** Shape of nested arrays, by their first elements. */
function shapeOf(value: unknown): number[] {
  return Array.isArray(value) ? [value.length, ...(value.length > 0 ? shapeOf(value[0]) : [])] : [];
}

function readJson(path: string, bytes: Uint8Array): Elements {
  let value: unknown;
  try {
    value = JSON.parse(decodeText(path, bytes));
  } catch (error) {
    throw error instanceof Failure ? error : new Failure(`${path} is no JSON: ${(error as Error).message}`);
  }
  if (!Array.isArray(value) && typeof value !== "number") throw new Failure(`${path} must be a list of numbers, or lists of such`);
  if (sizeOf(shapeOf(value)) === 0) throw new Failure(`${path} has no numbers`);
  const t = naming(path, () => tensor(value as NestedArray));
  return { data: t.host as Float32Array, shape: t.shape };
}

/** `given` as a batch for samples of `shape`: one sample gets the dimension in front. */
function batched(path: string, own: readonly number[], shape: OpenShape | null): readonly number[] {
  if (shape === null) return own;
  const fits = (part: readonly number[]): boolean => part.length === shape.length && shape.every((d, i) => d === null || d === part[i]);
  if (own.length > 0 && fits(own.slice(1))) return own;
  if (fits(own)) return [1, ...own];
  throw new Failure(`${path} has the shape ${shown(own)}; the model takes samples of ${shown(shape)}, or several of them`);
}

/** Elements of another type, where that changes none. @throws Failure */
function tensorOf(path: string, { data }: Elements, shape: readonly number[], dtype: DType | null): Tensor {
  if (dtype === null || dtype === "f32")
    return tensor(dtype === "f32" && !(data instanceof Float32Array) ? Float32Array.from(data) : data, shape);
  const least = dtype === "i32" ? -(2 ** 31) : 0;
  const most = dtype === "bool" ? 1 : dtype === "u32" ? 2 ** 32 - 1 : 2 ** 31 - 1;
  const wrong = data.findIndex((v: number) => !(Number.isInteger(v) && v >= least && v <= most));
  if (wrong >= 0) {
    const what = dtype === "bool" ? "0 or 1" : "whole numbers";
    throw new Failure(`${path}: element ${wrong} is ${data[wrong]}; the model takes ${what} there`);
  }
  return tensor(dtype === "i32" ? Int32Array.from(data) : Uint32Array.from(data), shape, dtype);
}

function pictureTensor(
  path: string,
  picture: Picture,
  shape: OpenShape | null,
  scaling: Scaling,
): { readonly data: Float32Array; readonly shape: readonly number[] } {
  const isColors = (size: number | null | undefined): boolean => size === 1 || size === 3;
  // Of graphs channels mostly come first.
  const planes = shape?.length === 3 && isColors(shape[0]) && !isColors(shape[2]);
  const [height, width, channels] = shape === null ? [null, null, null] : planes ? [shape[1], shape[2], shape[0]] : shape;
  if (shape !== null && (shape.length !== 3 || (channels !== null && !isColors(channels))))
    throw new Failure(`${path} is a picture, and the model takes samples of ${shown(shape)}`);
  const size = [height ?? picture.height, width ?? picture.width, channels ?? (picture.channels >= 3 ? 3 : 1)] as const;
  const numbers = Math.max(scaling.mean.length, scaling.scale.length);
  if (numbers > size[2])
    throw new UsageError(`${path} has one channel for the model, for which --mean and --scale are one number each, got ${numbers}`);
  const data = pictureAs(picture, ...size, scaling);
  if (!planes) return { data, shape: [1, ...size] };
  const [pixels, colors] = [size[0] * size[1], size[2]];
  return { data: data.map((_, i) => data[(i % pixels) * colors + Math.floor(i / pixels)]), shape: [1, colors, size[0], size[1]] };
}

/** Samples of pictures become numbers from 0 to 1. */
const TO_ONE: Scaling = { mean: [0], scale: [255] };
const AS_THEY_ARE: Scaling = { mean: [0], scale: [1] };

/**
 * What a file holds as a tensor for what a model reads. Pictures take the model's size, and their samples what `scaling` makes of them:
 * without it numbers from 0 to 1, or from 0 to 255 where the model takes integers.
 * @throws FileError, DataError, Failure; UsageError for a `scaling` of three channels where there is one
 */
export async function readInput(path: string, { shape, dtype }: Wanted, scaling?: Scaling): Promise<Tensor> {
  const isPicture = PICTURE.test(path);
  if (!isPicture && !/\.(npy|json)$/i.test(path))
    throw new Failure(`${path}: inputs are .npy, .json, .csv of a model that lockstep train made, or pictures`);
  const bytes = await readFile(path);
  if (isPicture) {
    const picture = await readPicture(path, bytes);
    const whole = dtype === "i32" || dtype === "u32";
    const { data, shape: own } = pictureTensor(path, picture, shape, scaling ?? (whole ? AS_THEY_ARE : TO_ONE));
    // Between pixels of another size are fractions.
    return tensorOf(path, { data: whole ? data.map(Math.round) : data, shape: own }, own, dtype);
  }
  const elements = /\.npy$/i.test(path) ? readNpy(path, bytes) : readJson(path, bytes);
  return tensorOf(path, elements, batched(path, elements.shape, shape), dtype);
}

/** A result as text: its shape, and its elements where they are not too many. */
export async function showTensor(name: string, t: Tensor): Promise<string> {
  const most = 200;
  const behind = `... of ${showCount(t.size)} elements; --output writes all`;
  const value =
    t.size <= most
      ? JSON.stringify(await t.array(), rounded)
      : `${JSON.stringify([...(await t.data()).slice(0, 12)], rounded).slice(0, -1)}, ${behind}`;
  return `${name} ${t.dtype} [${t.shape.join(", ")}]\n${value}`;
}

const rounded = (_key: string, value: unknown): unknown =>
  typeof value === "number" ? (Number.isFinite(value) ? Number(value.toPrecision(6)) : String(value)) : value;

/** Results by name. */
export type Named = readonly (readonly [name: string, t: Tensor])[];

/** The file of each result: one of several has its name behind that of all. */
function filesOf(path: string, outputs: Named): string[] {
  if (outputs.length === 1) return [path];
  const { extname } = builtin("node:path") as Builtins["node:path"];
  const stem = path.slice(0, -extname(path).length);
  const taken = new Set<string>();
  return outputs.map(([name], i) => {
    const own = name.replace(/[^\w.-]+/g, "_");
    const unique = taken.has(own) ? `${own}_${i}` : own;
    taken.add(unique);
    return `${stem}.${unique}.npy`;
  });
}

/** @throws Failure for the name of a file that results are not written to */
export function checkOutput(path: string): void {
  if (!/\.(json|npy)$/i.test(path)) throw new Failure(`${path}: results are written as .npy or .json`);
}

/** Writes results: one tensor as .npy, any as .json. Gives the names of the files. @throws Failure */
export async function writeOutputs(path: string, outputs: Named): Promise<readonly string[]> {
  checkOutput(path);
  if (/\.json$/i.test(path)) {
    for (const [name, t] of outputs)
      if ((await t.data()).some((v: number) => !Number.isFinite(v)))
        throw new Failure(`${name} has elements that are NaN or infinite, which JSON has no word for; write it as .npy`);
    const all = Object.fromEntries(await Promise.all(outputs.map(async ([name, t]) => [name, await t.array()] as const)));
    await writeFile(path, `${JSON.stringify(outputs.length === 1 ? Object.values(all)[0] : all)}\n`);
    return [path];
  }
  const files = filesOf(path, outputs);
  for (const [i, [, t]] of outputs.entries()) {
    const data = await t.data();
    await writeFile(files[i], writeNpy({ shape: t.shape, data: t.dtype === "bool" ? Uint8Array.from(data) : data }));
  }
  return files;
}

/** @file Constants of graphs: floats become tensors that can be trained, what decides shapes is known. */
import { emptyOn, tensor } from "../index.ts";
import type { Backend, Tensor } from "../index.ts";
import type { Prepared } from "./graph.ts";
import { constantOf, decoded, wordsOf } from "./tensors.ts";
import type { Constant, Stored } from "./tensors.ts";
import { bitsOf, dtypeOf, isFloat } from "./types.ts";
import { Value } from "./value.ts";

/** Floats of at most so many elements are both a tensor and known: scales are among them. */
const SMALL = 64;
/** Integers of at most so many elements are known. */
const MOST_KNOWN = 4096;
/** Elements that are on their way from a file to the backend. */
const PIECE = 2 ** 16;

const sizeOf = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);

/** Elements [begin, end), where `begin` and `end` are of whole bytes; through `memory`, where it is given. */
async function part(stored: Stored, begin: number, end: number, memory?: Uint8Array): Promise<Constant> {
  const { type, raw, place } = stored;
  const bits = bitsOf(type);
  const [from, to] = [(begin * bits) / 8, Math.ceil((end * bits) / 8)];
  const into = memory?.subarray(0, to - from);
  const bytes =
    place === null ? (raw as Uint8Array).subarray(from, to) : await place.file.read(place.offset + from, place.offset + to, into);
  if (type === "float32" && bytes.byteOffset % 4 === 0)
    return { type, shape: [end - begin], elements: new Float32Array(bytes.buffer, bytes.byteOffset, end - begin) };
  return { type, shape: [end - begin], elements: decoded(type, bytes, end - begin) };
}

/** All elements. */
const whole = async (stored: Stored): Promise<Constant> =>
  stored.place === null ? constantOf(stored) : { ...(await part(stored, 0, sizeOf(stored.shape))), shape: stored.shape };

/** A tensor on `backend`, of which the host holds a part at a time. */
async function onto(backend: Backend, stored: Stored, memory: Uint8Array): Promise<Tensor> {
  const { who, type, shape } = stored;
  const size = sizeOf(shape);
  const dtype = dtypeOf(who, type);
  if (stored.elements !== null || size <= PIECE) return tensor(wordsOf(who, await whole(stored)), shape, dtype);
  const t = await emptyOn(backend, shape, dtype);
  try {
    for (let begin = 0; begin < size; begin += PIECE)
      t.set(wordsOf(who, await part(stored, begin, Math.min(size, begin + PIECE), memory)), begin);
  } catch (error) {
    t.dispose();
    throw error;
  }
  return t;
}

/** Has a memory that grows do so once, by as much as large tensors take: step by step it would have a quarter more in the end. */
async function makeRoom(backend: Backend, graphs: readonly Prepared[]): Promise<void> {
  if (!backend.limits.hostMemory) return;
  const large = graphs.flatMap(({ constants }) => [...constants.values()]).filter(({ shape }) => sizeOf(shape) > PIECE);
  const bytes = large.reduce((sum, { shape }) => sum + 4 * sizeOf(shape) + 2 * backend.limits.alignment, 0);
  if (bytes > 0) (await emptyOn(backend, [Math.ceil(bytes / 4)])).dispose();
}

/** Reads the constants of graphs, the outermost first, and returns those that are weights, by name. */
export async function readConstants(graphs: readonly Prepared[], backend: Backend): Promise<Map<string, Tensor>> {
  const weights = new Map<string, Tensor>();
  const made: Tensor[] = [];
  // Used for all pieces: as much would be left for the collector otherwise as is loaded.
  const memory = new Uint8Array(8 * PIECE);
  await makeRoom(backend, graphs);
  try {
    for (const { constants, values } of graphs) {
      for (const [name, stored] of constants) {
        const { type, shape } = stored;
        const size = sizeOf(shape);
        const isWeight = isFloat(type) && shape.length > 0;
        if (type === "string" || (!isWeight && size <= MOST_KNOWN)) {
          values.set(name, Value.known(await whole(stored)));
          continue;
        }
        const t = await onto(backend, stored, memory);
        made.push(t);
        values.set(name, Value.weight(type, t, isWeight && size <= SMALL ? await whole(stored) : null));
        if (isWeight) weights.set(weights.has(name) ? `${name}#${weights.size}` : name, t);
      }
    }
  } catch (error) {
    for (const t of made) t.dispose();
    throw error;
  }
  return weights;
}

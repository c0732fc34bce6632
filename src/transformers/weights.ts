/**
 * @file From bytes of a file to tensors of a model: the one place that knows how weights are kept. A tensor is read in pieces of some rows,
 * each of which goes to the backend before the next is read, so that the host holds pieces alone.
 */
import { cut, show } from "../io/safetensors.ts";
import { emptyOn, FileError, Packer } from "../index.ts";
import type { Backend, Tensor } from "../index.ts";
import { sameShape, showShape, sizeOf } from "../shape.ts";
import type { StoredTensor } from "./checkpoint.ts";
import type { Wanted } from "./design.ts";
import { formatOf, PackedSink, rowsOf } from "./packed.ts";
import type { WeightFormat } from "./packed.ts";
import { PARTS, Scratch, VALUES } from "./scratch.ts";

/** dtypes that become f32. */
const READABLE: ReadonlySet<string> = new Set(["F32", "F16", "BF16", "F64", "Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q5_K", "Q6_K"]);

/** @throws FileError for what `stored` cannot give */
export function checkStored(who: string, stored: StoredTensor, { source }: Wanted): void {
  if (!sameShape(stored.shape, source.shape))
    throw new FileError(`${who}: "${cut(source.name)}" has shape ${showShape(stored.shape)}, the model needs ${showShape(source.shape)}`);
  if (!READABLE.has(stored.dtype))
    throw new FileError(`${who}: "${cut(source.name)}" holds ${show(stored.dtype)}; weights are read from ${[...READABLE].join(", ")}`);
}

/** Bytes that a weight takes. */
export function bytesOfWeight(wanted: Wanted, stored: StoredTensor, format: WeightFormat): number {
  const packed = formatOf(wanted, stored, format);
  const matrix = rowsOf(wanted);
  return packed === null || matrix === null ? 4 * sizeOf(wanted.shape) : Packer.bytes(packed, matrix.rows, matrix.k);
}

/** Takes a tensor's rows in order, and gives the weight. */
interface Sink {
  put(first: number, count: number, bytes: Uint8Array): void;
  /** Asked for once, when all rows have been put. */
  readonly tensor: Tensor;
  /** Gives back what it holds where not all rows come. */
  dispose?(): void;
}

/** [rows, columns] of floats with their columns as rows, in `out`. */
function transpose(values: Float32Array, rows: number, columns: number, out: Float32Array): void {
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[c * rows + r] = values[r * columns + c];
}

/** Writes f32 to `backend`. */
async function floatSink(backend: Backend, { shape, source }: Wanted, stored: StoredTensor): Promise<Sink> {
  const tensor = await emptyOn(backend, shape);
  const columns = stored.shape[stored.shape.length - 1] ?? 1;
  const rows = sizeOf(stored.shape) / columns;
  return {
    tensor,
    dispose: () => tensor.dispose(),
    put(first, count, bytes) {
      const values = VALUES.take(count * columns);
      stored.floats(bytes, values);
      if (source.transposed) {
        const turned = PARTS.take(values.length);
        transpose(values, count, columns, turned);
        if (count === rows) tensor.set(turned, 0);
        else for (let c = 0; c < columns; c++) tensor.set(turned.subarray(c * count, (c + 1) * count), c * rows + first);
      } else if (source.columns) {
        const [from, to] = source.columns;
        const part = PARTS.take(count * (to - from));
        for (let r = 0; r < count; r++) part.set(values.subarray(r * columns + from, r * columns + to), r * (to - from));
        tensor.set(part, first * (to - from));
      } else tensor.set(values, first * columns);
    },
  };
}

/** Filters [outputs, ...inputs] as the matrix [outputs, inputs] that they are to products. */
function asMatrix(stored: StoredTensor, { source }: Wanted): StoredTensor {
  const [outputs, ...inputs] = stored.shape;
  if (!source.transposed || inputs.length < 2) return stored;
  const each = sizeOf(inputs.slice(0, -1));
  return { ...stored, shape: [outputs, sizeOf(inputs)], rows: (from, to) => stored.rows(from * each, to * each) };
}

/** A place for a weight in `format`. */
async function sinkFor(backend: Backend, wanted: Wanted, stored: StoredTensor, format: WeightFormat, window: Scratch): Promise<Sink> {
  const packed = formatOf(wanted, stored, format);
  return packed === null ? floatSink(backend, wanted, stored) : new PackedSink(backend, wanted, stored, packed, window);
}

/** Bytes of a piece: pages and what they become should stay far below what is loaded in all. */
const pieceBytes = (all: number): number => Math.min(2 ** 20, Math.max(2 ** 14, all / 128));

/**
 * Reads one tensor of a file, and makes all weights of it that are wanted, one of a name each or several parts. `windows`: memory
 * for each of these, which the next tensor's take again. `step` is told of bytes read.
 */
export async function readWeights(
  backend: Backend,
  format: WeightFormat,
  tensor: StoredTensor,
  all: readonly Wanted[],
  total: number,
  windows: Scratch[],
  step: (bytes: number) => void,
): Promise<Tensor[]> {
  const stored = asMatrix(tensor, all[0]);
  const sinks: Sink[] = [];
  try {
    for (const [i, wanted] of all.entries()) sinks.push(await sinkFor(backend, wanted, stored, format, (windows[i] ??= new Scratch())));
    const rows = sizeOf(stored.shape.slice(0, -1));
    // Whole blocks, of which columns are packed.
    const atOnce = 32 * Math.max(1, Math.floor((rows * pieceBytes(total)) / Math.max(1, 32 * stored.byteLength)));
    for (let first = 0; first < rows; first += atOnce) {
      const count = Math.min(atOnce, rows - first);
      const bytes = await stored.rows(first, first + count);
      for (const sink of sinks) sink.put(first, count, bytes);
      step(bytes.length);
    }
    return sinks.map(({ tensor }) => tensor);
  } catch (error) {
    for (const sink of sinks) sink.dispose?.();
    throw error;
  }
}

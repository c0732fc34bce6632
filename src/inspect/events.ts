/**
 * @file Event files of TensorBoard: records of TensorFlow (https://www.tensorflow.org/tutorials/load_data/tfrecord), each an Event message
 * in the encoding of Protocol Buffers (tensorflow/core/util/event.proto, framework/summary.proto).
 */
import { concatBytes } from "../io/bytes.ts";

const CRC_POLYNOMIAL = 0x82f63b78;
const CRC_TABLE = /* @__PURE__ */ Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ CRC_POLYNOMIAL : c >>> 1;
  return c >>> 0;
});
const MASK = 0xa282ead8;

/** CRC-32C (Castagnoli). */
export function crc32c(bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (const byte of bytes) c = CRC_TABLE[(c ^ byte) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

/** As records have it: turned, so that a sum of what holds sums is no such sum. */
export function maskedCrc32c(bytes: Uint8Array): number {
  const c = crc32c(bytes);
  return (((c >>> 15) | (c << 17)) + MASK) >>> 0;
}

/** A record: the length of its data (u64), a sum of that, the data, a sum of those. */
export function recordOf(data: Uint8Array): Uint8Array {
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(data.length), true);
  const sum = (of: Uint8Array): Uint8Array => {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, maskedCrc32c(of), true);
    return bytes;
  };
  return concatBytes([length, sum(length), data, sum(data)]);
}

// Fields of messages. Wire types: 0 varint, 1 eight bytes, 2 bytes with their length before them, 5 four bytes.

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let v = value;
  for (; v > 127; v = Math.floor(v / 128)) bytes.push((v % 128) | 128);
  bytes.push(v);
  return Uint8Array.from(bytes);
}

const tag = (field: number, wire: number): Uint8Array => varint(field * 8 + wire);
export const int64 = (field: number, value: number): Uint8Array => concatBytes([tag(field, 0), varint(value)]);
export const bytesField = (field: number, value: Uint8Array): Uint8Array => concatBytes([tag(field, 2), varint(value.length), value]);
export const text = (field: number, value: string): Uint8Array => bytesField(field, new TextEncoder().encode(value));
export const message = (field: number, ...fields: readonly Uint8Array[]): Uint8Array => bytesField(field, concatBytes(fields));

function doubles(values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(8 * values.length);
  const view = new DataView(bytes.buffer);
  values.forEach((v, i) => view.setFloat64(8 * i, v, true));
  return bytes;
}

const double = (field: number, value: number): Uint8Array => concatBytes([tag(field, 1), doubles([value])]);

/** The first event of a file. `seconds`: of the clock, since 1970. */
export const versionEvent = (seconds: number): Uint8Array => concatBytes([double(1, seconds), text(3, "brain.Event:2")]);

/** An event with a graph, as the bytes of a GraphDef. */
export const graphEvent = (seconds: number, graph: Uint8Array): Uint8Array => concatBytes([double(1, seconds), bytesField(4, graph)]);

/** What a summary shows under a name. */
export type SummaryValue = Uint8Array;

/** Types of elements of TensorFlow. */
const DT_FLOAT = 1;
const DT_DOUBLE = 2;

/** A tensor under a name, for one of TensorBoard's plugins. */
function value(name: string, type: number, shape: readonly number[], content: Uint8Array, plugin: string): SummaryValue {
  const dims = shape.map((size) => message(2, int64(1, size)));
  return message(
    1,
    text(1, name),
    message(8, int64(1, type), message(2, ...dims), bytesField(4, content)),
    message(9, message(1, text(1, plugin))),
  );
}

/** A number. */
export function scalar(name: string, of: number): SummaryValue {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setFloat32(0, of, true);
  return value(name, DT_FLOAT, [], bytes, "scalars");
}

/** As many as `tf.summary.histogram` has. */
const BUCKETS = 30;

/** How often which values come up: rows of [from, to, count], of equal width. What is not finite is left out. */
export function histogram(name: string, values: ArrayLike<number>): SummaryValue {
  let [count, least, most] = [0, Infinity, -Infinity];
  for (let i = 0; i < values.length; i++) {
    const v = values[i];
    if (!Number.isFinite(v)) continue;
    count++;
    least = Math.min(least, v);
    most = Math.max(most, v);
  }
  const single = !(most > least);
  const buckets = count === 0 ? 0 : single ? 1 : BUCKETS;
  const [from, width] = single ? [least - 0.5, 1] : [least, (most - least) / BUCKETS];
  const counts = new Float64Array(buckets);
  // The greatest belongs to the last bucket.
  for (let i = 0; i < values.length; i++)
    if (Number.isFinite(values[i])) counts[Math.min(buckets - 1, Math.floor((values[i] - from) / width))]++;
  const rows = Array.from(counts, (n, i) => [from + i * width, i === buckets - 1 && !single ? most : from + (i + 1) * width, n]);
  return value(name, DT_DOUBLE, [buckets, 3], doubles(rows.flat()), "histograms");
}

/** An event with a summary, of a step. */
export const summaryEvent = (seconds: number, step: number, values: readonly SummaryValue[]): Uint8Array =>
  concatBytes([double(1, seconds), int64(2, step), message(5, ...values)]);

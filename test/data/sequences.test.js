import { test } from "uvu";
import * as assert from "uvu/assert";
import { ArgumentError, DataError } from "../../build/esm/errors.js";
import { padSequences } from "../../build/esm/data/index.js";

const throws = (action, type, ...parts) =>
  assert.throws(action, (e) => e instanceof type && parts.every((part) => e.message.includes(part)));

test("padSequences as in the documentation of keras.utils.pad_sequences", () => {
  const sequence = [[1], [2, 3], [4, 5, 6]];
  assert.equal(padSequences(sequence), { shape: [3, 3], data: Int32Array.of(0, 0, 1, 0, 2, 3, 4, 5, 6) });
  assert.equal(padSequences(sequence, { value: -1 }).data, Int32Array.of(-1, -1, 1, -1, 2, 3, 4, 5, 6));
  assert.equal(padSequences(sequence, { padding: "post" }).data, Int32Array.of(1, 0, 0, 2, 3, 0, 4, 5, 6));
  assert.equal(padSequences(sequence, { maxLength: 2 }), { shape: [3, 2], data: Int32Array.of(0, 1, 2, 3, 5, 6) });
  assert.equal(padSequences(sequence, { maxLength: 2, truncating: "post" }).data, Int32Array.of(0, 1, 2, 3, 4, 5));
  assert.equal(padSequences(sequence, { maxLength: 4, padding: "post", truncating: "post" }).shape, [3, 4]);
});

test("padSequences of floats, typed arrays, empty sequences and steps with a shape", () => {
  assert.equal(padSequences([[0.5], [], Float64Array.of(1, 2)], { dtype: "f32", value: 9 }), {
    shape: [3, 2],
    data: Float32Array.of(9, 0.5, 9, 9, 1, 2),
  });
  assert.equal(padSequences([[], [[1, 2], [3, 4]], [Int8Array.of(5, 6)]]), {
    shape: [3, 2, 2],
    data: Int32Array.of(0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 5, 6),
  });
  assert.equal(padSequences([[16777217, 2147483647]]).data, Int32Array.of(16777217, 2147483647));
  assert.equal(padSequences([[], []]), { shape: [2, 0], data: new Int32Array(0) });
});

test("padSequences refuses what it cannot keep", () => {
  throws(() => padSequences([]), DataError, "at least one sequence");
  throws(() => padSequences("ab"), ArgumentError, "list of sequences", '"ab"');
  throws(() => padSequences([[1], 2]), DataError, "sequence 1");
  throws(() => padSequences([[1], ["two"]]), DataError, "sequence 1", '"two"');
  throws(() => padSequences([[1], [0.5]]), DataError, "sequence 1", "0.5", 'dtype: "f32"');
  throws(() => padSequences([[2 ** 31]]), DataError, "2147483648");
  throws(() => padSequences([[1]], { value: 0.5 }), DataError, "value 0.5");
  throws(() => padSequences([[[1, 2]], [[1]]]), DataError, "sequence 1", "[2]");
  throws(() => padSequences([[1]], { padding: "left" }), ArgumentError, "padding", '"pre", "post"');
  throws(() => padSequences([[1]], { maxlen: 3 }), ArgumentError, "maxlen", "maxLength");
});

test.run();

/** @file Arrays of NumPy. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { readNpy, writeNpy } from "../../build/esm/cli/npy.js";
import { cleanUp, npy } from "./helpers.js";

test.after(cleanUp);

test("arrays of NumPy: types, orders, versions, and what is none", () => {
  const read = (...args) => {
    const { shape, data } = readNpy("x.npy", npy(...args));
    return [shape, [...data], data.constructor.name];
  };
  assert.equal(read("<f4", [2, 2], Float32Array.of(1, 2, 3, 4)), [[2, 2], [1, 2, 3, 4], "Float32Array"]);
  assert.equal(read("<f8", [3], Float64Array.of(1, 0.5, -3)), [[3], [1, 0.5, -3], "Float32Array"]);
  assert.equal(read("<f2", [4], Uint16Array.of(0x3c00, 0xc000, 0x7c00, 1)), [[4], [1, -2, Infinity, 2 ** -24], "Float32Array"]);
  assert.equal(read("<i8", [2], BigInt64Array.of(-5n, 7n)), [[2], [-5, 7], "Int32Array"]);
  assert.equal(read("|u1", [2], Uint8Array.of(1, 255)), [[2], [1, 255], "Uint8Array"]);
  assert.equal(read("|b1", [2], Uint8Array.of(1, 0)), [[2], [1, 0], "Uint8Array"]);
  assert.equal(read(">f4", [2], Uint8Array.of(0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0)), [[2], [1, -2], "Float32Array"]);
  assert.equal(read(">i2", [1], Uint8Array.of(1, 2)), [[1], [258], "Int32Array"]);
  assert.equal(read("<f8", [1], Float64Array.of(Infinity)), [[1], [Infinity], "Float32Array"]);
  assert.equal(read("<i2", [], Int16Array.of(-2)), [[], [-2], "Int32Array"]);
  assert.equal(read("<i4", [2, 3], Int32Array.of(1, 4, 2, 5, 3, 6), { fortran: "True" }), [[2, 3], [1, 2, 3, 4, 5, 6], "Int32Array"]);
  assert.equal(read("<f4", [1], Float32Array.of(8), { version: 2 }), [[1], [8], "Float32Array"]);
  for (const [args, pattern] of [
    [["<c8", [1], new Float32Array(2)], /type <c8 are not read/],
    [["<f8", [1], Float64Array.of(1e300)], /element 0 is 1e\+300, which is more than a float of 32 bits holds/],
    [["<U5", [1], new Uint8Array(20)], /type <U5 are not read/],
    [["<f4", [3], new Float32Array(2)], /needs 12 bytes of data, found 8/],
    [["<i8", [1], BigInt64Array.of(2n ** 40n)], /does not fit into 32 bits/],
    [["<f4", [1], new Float32Array(1), { version: 9 }], /version 9/],
  ])
    assert.throws(() => readNpy("x.npy", npy(...args)), pattern);
  assert.throws(() => readNpy("x.npy", new Uint8Array(20)), /no array of NumPy/);
  for (const shape of [[], [2], [1, 2], [2, 0]]) {
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(3);
    const written = writeNpy({ shape, data });
    assert.is((written.length - data.byteLength) % 64, 0);
    assert.equal(readNpy("x", written), { shape, data });
  }
  const truths = writeNpy({ shape: [3], data: Uint8Array.of(1, 0, 1) });
  assert.match(new TextDecoder().decode(truths.subarray(10, 80)), /'descr': '\|b1'/);
  assert.equal([...readNpy("x", truths).data], [1, 0, 1]);
});

test.run();

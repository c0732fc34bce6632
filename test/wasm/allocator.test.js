/** Tests of allocation in linear memory: buffers never overlap, freed bytes are used again, growth has a limit. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Allocator } from "../../build/esm/wasm/allocator.js";
import { randomSource } from "../ops/harness.js";

const PAGE = 65536;

test("random allocation and release: aligned, apart, padded, inside the memory", () => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 200 });
  const allocator = new Allocator(memory, 1024, 200);
  const random = randomSource(5);
  const live = [];
  for (let turn = 0; turn < 3000; turn++) {
    if (live.length > 0 && random() < 0.48) {
      allocator.free(live.splice(Math.floor(random() * live.length), 1)[0]);
      continue;
    }
    const buffer = allocator.alloc(Math.floor(random() ** 4 * 100000));
    assert.is(buffer.address % 64, 0);
    assert.ok(buffer.address >= 1024 && buffer.address + buffer.span <= memory.buffer.byteLength);
    assert.ok(buffer.span >= buffer.bytes + 15, "room for reads past the end");
    for (const other of live) assert.ok(buffer.address + buffer.span <= other.address || other.address + other.span <= buffer.address);
    live.push(buffer);
  }
  assert.equal(allocator.live, { buffers: live.length, bytes: live.reduce((n, b) => n + b.span, 0) });
  live.forEach((b) => allocator.free(b));
  assert.equal(allocator.live, { buffers: 0, bytes: 0 });
  const size = memory.buffer.byteLength;
  allocator.free(allocator.alloc(size - 1024 - 64));
  assert.is(memory.buffer.byteLength, size, "all gaps were merged into one");
});

test("the same bytes are used again without growth", () => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 10 });
  const allocator = new Allocator(memory, 0, 10);
  for (let turn = 0; turn < 100; turn++) allocator.free(allocator.alloc(50000));
  assert.is(memory.buffer.byteLength, PAGE);
});

test("freeing twice is harmless", () => {
  const allocator = new Allocator(new WebAssembly.Memory({ initial: 1, maximum: 10 }), 0, 10);
  const a = allocator.alloc(100);
  allocator.free(a);
  const b = allocator.alloc(100);
  allocator.free(a);
  const c = allocator.alloc(100);
  assert.not.equal(b.address, c.address);
});

test("out of memory is an error with the numbers, and what was there stays usable", () => {
  const allocator = new Allocator(new WebAssembly.Memory({ initial: 1, maximum: 4 }), 0, 4);
  const a = allocator.alloc(100000);
  assert.throws(
    () => allocator.alloc(4 * PAGE),
    (e) => e.name === "BackendError" && /262208 bytes wanted, 100032 in use/.test(e.message),
  );
  allocator.free(a);
  assert.ok(allocator.alloc(3 * PAGE));
});

test.run();

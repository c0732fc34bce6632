/** HDF5 files: what is written is read again, and of files of h5py and others what a reader must find in them, with LOCKSTEP_SHARED. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { FileError } from "../../build/esm/index.js";
import { readHdf5 } from "../../build/esm/keras/hdf5.js";
import { writeHdf5 } from "../../build/esm/keras/hdf5-write.js";
import { shared } from "./shared.js";

const containers = shared("conformance/containers");
const { cases } = containers === null ? { cases: [] } : JSON.parse(readFileSync(`${containers}/manifest.json`, "utf8"));

const NUMBERS = { float32: Float32Array, float64: Float64Array, int32: Int32Array, int8: Int8Array, uint8: Uint8Array, int16: Int16Array };
NUMBERS.int64 = BigInt64Array;
NUMBERS.uint16 = Uint16Array;
NUMBERS.uint32 = Uint32Array;
NUMBERS.uint64 = BigUint64Array;
test("what is written is read again: groups of many members, scalars, nothing, integers", async () => {
  const datasets = new Map([
    ["scalar", { shape: [], data: Float32Array.of(1.5) }],
    ["nothing", { shape: [0, 3], data: new Float32Array(0) }],
    ["deep/er/i32", { shape: [2, 2], data: Int32Array.of(1, -2, 3, -4) }],
    ["deep/er/u32", { shape: [2], data: Uint32Array.of(1, 2 ** 32 - 1) }],
  ]);
  for (let i = 0; i < 700; i++) datasets.set(`many/member ${i} \u00e9`, { shape: [1], data: Float32Array.of(i) });
  const nodes = readHdf5("x", writeHdf5(datasets));
  for (const [path, { shape, data }] of datasets) {
    const { dataset } = nodes.get(`/${path}`);
    assert.equal(dataset.shape, shape, path);
    assert.equal(await dataset.bytes(), new Uint8Array(data.buffer), path);
  }
  assert.is([...nodes.values()].filter(({ dataset }) => dataset !== null).length, datasets.size);
});

const numbersOf = (dtype, bytes) => Array.from(new NUMBERS[dtype](bytes.slice().buffer), Number);

for (const { file, expect, source } of cases.filter((c) => c.file.startsWith("hdf5/")))
  test(`${file}: ${source}`, async () => {
    const read = async () => readHdf5(file, new Uint8Array(readFileSync(`${containers}/${file}`)));
    if (expect === "error") {
      await read().then(assert.unreachable, (error) => assert.instance(error, FileError));
      return;
    }
    const nodes = await read();
    const { datasets, attrs } = JSON.parse(readFileSync(`${containers}/${expect}`, "utf8"));
    const found = [...nodes].filter(([, { dataset }]) => dataset !== null).map(([path]) => path);
    assert.equal(found.sort(), Object.keys(datasets).sort());
    for (const [path, want] of Object.entries(datasets)) {
      const { dataset } = nodes.get(path);
      // A scalar number is listed as a list of one.
      const scalar = dataset.shape.length === 0 && !want.strings;
      assert.equal(scalar ? [1] : dataset.shape, want.shape, path);
      if (want.strings) {
        assert.equal(await dataset.strings(), want.strings, path);
        continue;
      }
      const bytes = await dataset.bytes();
      if (want.data)
        assert.equal(
          Array.from(bytes, (b) => b !== 0),
          want.data.flat(Infinity).map(Boolean),
          path,
        );
      else {
        assert.is(dataset.dtype, want.dtype, path);
        assert.is(createHash("sha256").update(bytes).digest("hex"), want.sha256_le, path);
      }
    }
    for (const [path, all] of Object.entries(attrs))
      for (const [name, want] of Object.entries(all)) {
        const got = nodes.get(path).attributes.get(name);
        assert.ok(got, `${path} ${name}`);
        if (want.string !== undefined) assert.equal(got.strings, [want.string], `${path} ${name}`);
        else if (want.strings) assert.equal(got.strings, want.strings, `${path} ${name}`);
        else {
          assert.equal(got.shape, want.shape ?? [], `${path} ${name}`);
          assert.equal(numbersOf(got.dtype, got.bytes), [want.numbers].flat(Infinity), `${path} ${name}`);
        }
      }
  });

test.run();

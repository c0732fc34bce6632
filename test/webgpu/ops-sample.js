/**
 * @file The op table in runtimes other than Node, where ops.test.js runs all of it: the sample of `sampleOf`, which must have every op,
 * kernel and dtype.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { OPS } from "../../build/esm/ops/index.js";
import { CONTRACT } from "../reference/contract.js";
import { openGpu } from "./gpu.js";
import { sampleOf, wholeTable } from "./ops.js";

const gpu = await openGpu();
const table = await wholeTable();
// Chromium's Dawn and Tint are Node's.
const sameCompiler = typeof document !== "undefined";
const { entries, traits } = await sampleOf(table, gpu, { sameCompiler });

test("the sample has every op and gradient rule, every kernel and every dtype", () => {
  const ops = Object.values(OPS)
    .flat()
    .flatMap(({ name, vjp }) => (vjp === null ? [name] : [name, `gradient of ${name}`]));
  assert.equal([...new Set(entries.map(({ op }) => op))].sort(), ops.sort());
  const dtypes = ["f32", "i32", "u32", "bool"];
  const wanted = [...Object.keys(CONTRACT).map((kernel) => `kernel ${kernel}`), ...dtypes.map((dtype) => `result ${dtype}`)];
  assert.equal(
    wanted.filter((trait) => !traits.has(trait)),
    [],
  );
  assert.is(
    [...traits].some((trait) => /^kernel .*\bu8\b/.test(trait)),
    !sameCompiler,
    "bytes",
  );
  assert.ok(entries.length < table.length / 4, `${entries.length} of ${table.length}`);
});

for (const { name, check } of entries) test(name, () => check(gpu));

test.after(() => gpu.close());
test.run();

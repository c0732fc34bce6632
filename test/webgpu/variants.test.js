/**
 * @file Kernels that exist for subgroups and without them: reductions, softmax and products with vectors on an adapter that hides its
 * subgroups.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { matmul } from "../../build/esm/ops/matmul.js";
import { sum } from "../../build/esm/ops/reduce.js";
import { softmax } from "../../build/esm/ops/softmax.js";
import { encode } from "../../build/esm/webgpu/program.js";
import { allCases, f, prepare, traceForward } from "../ops/harness.js";
import { openGpu, openMasked } from "./gpu.js";
import { checkForward } from "./ops.js";

const plain = await openMasked({ without: ["subgroups"] });
const own = await openGpu();

const cases = await allCases();
/** Whether a matrix of a product is a row or a column. */
const isVector = (c) => c.inputs.slice(0, 2).some(({ shape }) => shape.slice(-2).includes(1));
for (const c of [...cases.reduce, ...cases.softmax, ...cases.matmul.filter(isVector)])
  test(`${c.op}: ${c.name}`, () => checkForward(plain, c));

/** A row for each kernel that has both variants: sizes at which all stages of a join run. */
const BOTH = [
  ["reduce", { inputs: [f([3, 5000])], fn: (x) => sum(x, { axis: -1 }), accumulates: true }],
  ["softmax", { inputs: [f([3, 2500])], fn: (x) => softmax(x), tolerance: 1e-5 }],
  ["dots", { inputs: [f([1, 700]), f([37, 700])], fn: (a, b) => matmul(a, b, { transposeB: true }), accumulates: true }],
  ["columns", { inputs: [f([1, 700]), f([700, 37])], fn: (a, b) => matmul(a, b), accumulates: true }],
];
for (const [name, c] of BOTH) {
  test(`${name}: by subgroups where the adapter has them, without where not`, async () => {
    for (const gpu of [plain, own]) {
      const { graph, results } = traceForward(c);
      const program = await prepare(gpu, graph, results);
      const texts = encode(program.plan, gpu.features)
        .dispatches.map((d) => d.text)
        .join("\n");
      program.close();
      assert.is(/enable subgroups;[^]*\bsubgroup[A-Z]\w*\(/.test(texts), gpu.features.subgroupSize > 0);
      await checkForward(gpu, c);
    }
    assert.is(plain.features.subgroupSize, 0);
  });
}

test.after(() => {
  plain.close();
  own.close();
});
test.run();

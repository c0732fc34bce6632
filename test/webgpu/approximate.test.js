/**
 * @file Special values on a device that divides by multiplying with a reciprocal, subnormal ones flushed, and whose powers are a unit in
 * the last place too large: both are allowed to it. The shaders' text is changed to that, so that the software adapter behaves so.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import shaders from "../../build/shaders.js";
import { allCases, f, values } from "../ops/harness.js";
import { openGpu } from "./gpu.js";
import { checkForward } from "./ops.js";
import { div, mod, pow } from "../../build/esm/ops/map.js";
import { softsign } from "../../build/esm/ops/activation.js";

/** `name`'s declaration in a file with `from` replaced, which must be there. */
function change(file, name, from, to) {
  const declaration = new RegExp(`fn ${name}\\([^]*?\\}(?=fn |const |alias |struct |var|@|//|\\n|$)`);
  const before = declaration.exec(shaders[file])?.[0];
  assert.ok(before !== undefined && from.test(before), `${name} is as the test knows it: ${before}`);
  shaders[file] = shaders[file].replace(before, () => before.replace(from, to));
}

const QUOTIENT = /(\([^()]*\)|[\w.]+)\/(\([^()]*\)|[\w.]+)/;
for (const [file, name] of [["steps", "op_div"], ["steps", "op_reciprocal"], ["math", "f32_tanh"], ["math", "f32_sigmoid"]])
  change(file, name, QUOTIENT, " quotient($1,$2)");
// The last product is of the polynomial and a power of two.
const POWER = /return (\w+)\*(?=(\w+)\((\w+)\)\*\2\(\w+-\3\);\})/g;
assert.is(shaders.math.match(POWER)?.length, 1, "the power's last product");
shaders.math = shaders.math.replace(POWER, "return bitcast<f32>(bitcast<u32>($1)+1u)*");
shaders.steps += `
fn quotient(a:f32,b:f32)->f32{let r=1./b;let bits=bitcast<u32>(r);
return a*bitcast<f32>(select(bits,bits&0x80000000u,(bits&0x7f800000u)==0u));}
`;

const gpu = await openGpu();

const OPS = ["div", "pow", "mod", "reciprocal", "tanh", "sigmoid", "softsign"];
for (const c of (await allCases()).map.filter(({ op }) => OPS.includes(op))) test(`${c.op}: ${c.name}`, () => checkForward(gpu, c));

const LARGEST = 3.4028234663852886e38;
const pairs = (list) => [values(list.map(([a]) => a)), values(list.map(([, b]) => b))];
const MORE = {
  "div by large numbers": {
    fn: div,
    inputs: pairs([[1e38, 2e38], [-3e38, 2e38], [LARGEST, LARGEST], [Infinity, -2e38], [1e30, 3e38], [5, -Infinity], [0, 3e38]]),
  },
  "mod by large numbers": { fn: mod, inputs: pairs([[1e38, 2e38], [-1e38, 2e38], [3e38, 2e38], [LARGEST, LARGEST]]), scale: 1e38 },
  "pow next to overflow": { fn: pow, inputs: pairs([[LARGEST, 1], [-LARGEST, 1], [LARGEST, 0.5], [1.5e19, 2], [-6.9e12, 3], [2, 127.5]]) },
  "pow of large exponents": { fn: pow, inputs: [f([997], 0.9, 1.1), f([997], -500, 500)], tolerance: 4 * 2 ** -23 },
  "softsign of large numbers": { fn: softsign, inputs: [values([1e38, -1e38, 2e38, LARGEST, -LARGEST, 3, 0])] },
};
for (const [name, c] of Object.entries(MORE)) test(name, () => checkForward(gpu, c));

test.after(() => gpu.close());
test.run();

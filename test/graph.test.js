/** Constants in graphs: equal ones are shared, different ones never; those of any shape stay immediates. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile } from "../build/esm/compile.js";
import { attrsKey, currentGraph } from "../build/esm/graph.js";
import { add, div, mul, where, greater } from "../build/esm/ops/map.js";
import { broadcastTo, pad, reshape } from "../build/esm/ops/move.js";
import { tensor } from "../build/esm/tensor.js";

test("constants that JSON cannot tell apart stay apart", async () => {
  const fn = compile((x) => [NaN, Infinity, -Infinity].map((value) => where(greater(x, 0), x, value)).concat(div(1, mul(x, 0)), div(1, mul(x, -0))));
  const results = await fn(tensor([-1]));
  assert.equal(await Promise.all(results.map((t) => t.item())), [NaN, Infinity, -Infinity, -Infinity, Infinity]);
  const keys = [NaN, Infinity, -Infinity, 0, -0, null].map((value) => attrsKey({ list: [value] }));
  assert.is(new Set(keys).size, keys.length);
  assert.is(attrsKey({ a: 1, b: ["x"] }), attrsKey({ a: 1, b: ["x"] }));
});

test("ops outside of a graph keep such attributes apart, too", async () => {
  for (const value of [Infinity, -Infinity]) assert.equal(await pad(tensor([1]), [[1, 0]], value).array(), [value, 1]);
});

test("a constant that is reshaped or broadcast is no work at run time", async () => {
  const fn = compile((x) => mul(x, add(broadcastTo(reshape(currentGraph().constant(2, "f32", [1]), [1, 1]), [2, 3]), currentGraph().constant(1, "f32", [3]))));
  const x = tensor([[1, 2, 3], [4, 5, 6]]);
  assert.is((await fn.print(x)).match(/ = \w+\(/g).length, 1);
  assert.equal(await (await fn(x)).array(), [[3, 6, 9], [12, 15, 18]]);
});

test.run();

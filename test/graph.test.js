/** Tests of tracing: sharing of equal nodes, captures, constants, scopes, assignment rules, gradients of graphs, trees. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { apply } from "../build/esm/apply.js";
import { compile } from "../build/esm/compile.js";
import { grad, gradients, valueAndGrad } from "../build/esm/grad.js";
import { Graph, asTensor, assign, attrsKey, currentGraph, scope, symbolOf, trace } from "../build/esm/graph.js";
import { add, addOp, div, greater, mul, square, sub, where } from "../build/esm/ops/map.js";
import { matmul } from "../build/esm/ops/matmul.js";
import { broadcastTo, pad, reshape, stopGradient } from "../build/esm/ops/move.js";
import { sum } from "../build/esm/ops/reduce.js";
import { tensor, zeros } from "../build/esm/tensor.js";
import { flatten, mapTree } from "../build/esm/tree.js";
import { evaluate } from "./plan/random-graph.js";

const f32 = (...shape) => ({ shape, dtype: "f32" });

/** Traces `fn(graph)`; `{ graph, value }`. */
function traced(fn) {
  const graph = new Graph();
  return { graph, value: trace(graph, () => fn(graph)) };
}

test("equal nodes are one node; other attributes, operands or signs of zero are not equal", () => {
  traced((graph) => {
    const x = graph.input(f32(3));
    const y = graph.input(f32(3));
    assert.is(add(x, y), add(x, y));
    assert.is.not(add(x, y), add(y, x));
    assert.is.not(sum(x), sum(y));
    assert.is(graph.constant(0, "f32"), graph.constant(0, "f32"));
    assert.is.not(graph.constant(0, "f32"), graph.constant(-0, "f32"));
    assert.is.not(graph.constant(0, "f32"), graph.constant(0, "i32"));
    assert.is.not(graph.constant(0, "f32"), graph.constant(0, "f32", [1]));
  });
});

test("constants that JSON cannot tell apart stay apart", async () => {
  const fn = compile((x) =>
    [NaN, Infinity, -Infinity].map((value) => where(greater(x, 0), x, value)).concat(div(1, mul(x, 0)), div(1, mul(x, -0))),
  );
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
  const fn = compile((x) =>
    mul(x, add(broadcastTo(reshape(currentGraph().constant(2, "f32", [1]), [1, 1]), [2, 3]), currentGraph().constant(1, "f32", [3]))),
  );
  const x = tensor([[1, 2, 3], [4, 5, 6]]);
  assert.is((await fn.print(x)).match(/ = \w+\(/g).length, 1);
  assert.equal(await (await fn(x)).array(), [[3, 6, 9], [12, 15, 18]]);
});

test("a captured tensor has one stand-in", () => {
  const w = zeros([2]);
  const { graph } = traced((g) => {
    assert.is(symbolOf(g, w), symbolOf(g, w));
    add(w, w);
  });
  assert.equal([...graph.captures.keys()], [w]);
});

test("numbers take the other operand's dtype; known ones are folded", () => {
  traced((graph) => {
    const n = graph.input({ shape: [2], dtype: "i32" });
    assert.is(add(n, 1).dtype, "i32");
    const x = graph.input(f32(2));
    assert.is(add(x, 0), x);
    assert.is(mul(x, 1), x);
    assert.is(div(x, 1), x);
    assert.is(sub(x, 0), x);
    const folded = add(mul(2, 3), 1);
    assert.is(folded.node.attrs.value, 7);
    assert.is(asTensor(5, "u32").dtype, "u32");
  });
});

test("folding a neutral number keeps shape and dtype", () => {
  traced((graph) => {
    const s = graph.input(f32());
    assert.equal(add(s, graph.constant(0, "f32", [3])).shape, [3]);
    assert.equal(mul(graph.constant(1, "f32", [3]), s).shape, [3]);
  });
});

test("scopes name nodes and errors", () => {
  const { graph } = traced((g) => {
    const x = g.input(f32(2));
    scope("model", () => scope("dense", () => add(x, x)));
    assert.throws(
      () => scope("dense_2", () => matmul(g.input(f32(2, 3)), g.input(f32(2, 3)))),
      (e) => e.name === "ShapeError" && e.message.startsWith('layer "dense_2": matmul: inner dimensions differ'),
    );
  });
  assert.is(graph.nodes.find((n) => n.op === addOp).source, "model/dense");
  assert.is(
    scope("outside", () => 7),
    7,
  );
});

test("tracing ends also when the function throws, and nests", () => {
  const outer = new Graph();
  assert.throws(
    () =>
      trace(outer, () => {
        throw new Error("inside");
      }),
    /inside/,
  );
  assert.is(currentGraph(), null);
  trace(outer, () => {
    const inner = new Graph();
    trace(inner, () => assert.is(currentGraph(), inner));
    assert.is(currentGraph(), outer);
  });
});

test("symbols of another or an ended trace are refused", () => {
  const { value: leaked } = traced((g) => g.input(f32(2)));
  assert.throws(
    () => traced(() => add(leaked, 1)),
    (e) => e.name === "LockstepError" && /belongs to another traced function/.test(e.message),
  );
  assert.throws(
    () => add(leaked, tensor([1, 2])),
    (e) => e.name === "LockstepError" && /has ended/.test(e.message),
  );
  assert.throws(() => traced(() => apply(addOp, [leaked, leaked])), /belongs to another/);
});

test("assign: targets, shapes, dtypes, once only", () => {
  const w = zeros([2]);
  assert.throws(() => assign(w, w), /inside compile/);
  traced((g) => {
    const x = g.input(f32(2));
    assert.throws(() => assign(x, x), /computed here/);
    assert.throws(
      () => assign(w, g.input(f32(3))),
      (e) => e.name === "ShapeError" && /expected f32\[2\], got f32\[3\]/.test(e.message),
    );
    assert.throws(() => assign(w, g.input({ shape: [2], dtype: "i32" })), /expected f32\[2\], got i32\[2\]/);
    assign(w, x);
    assert.throws(() => assign(w, x), /assigned twice/);
  });
});

test("gradients add up over uses, and stop where told", () => {
  const { graph, value } = traced((g) => {
    const x = g.input(f32(3));
    const y = g.input(f32(3));
    const loss = sum(add(mul(x, y), mul(square(x), stopGradient(x))));
    return gradients(loss, [x, y, g.input(f32(3))]);
  });
  const known = evaluate(
    graph,
    [[1, 2, 3], [4, 5, 6], [0, 0, 0]].map((v) => Float64Array.from(v)),
    [],
  );
  assert.equal([...known.get(value[0])], [4 + 2, 5 + 8, 6 + 18], "y + 2 x stop(x)");
  assert.equal([...known.get(value[1])], [1, 2, 3]);
  assert.equal([...known.get(value[2])], [0, 0, 0], "the loss does not depend on it");
});

test("gradients of gradients", () => {
  const { graph, value } = traced((g) => {
    const x = g.input(f32(3));
    const [first] = gradients(sum(mul(square(x), x)), [x]);
    return gradients(sum(first), [x])[0];
  });
  assert.equal([...evaluate(graph, [Float64Array.of(1, 2, -3)], []).get(value)], [6, 12, -18]);
});

test("the gradient of the loss for itself is 1", () => {
  const { graph, value } = traced((g) => {
    const x = g.input(f32());
    return gradients(x, [x])[0];
  });
  assert.equal([...evaluate(graph, [Float64Array.of(5)], []).get(value)], [1]);
});

test("gradients: errors", () => {
  assert.throws(() => gradients(tensor(1), []), /inside compile/);
  assert.throws(() => valueAndGrad(() => tensor(1), [])(), /inside compile/);
  traced((g) => {
    const x = g.input(f32(2));
    assert.throws(
      () => gradients(x, [x]),
      (e) => e.name === "ShapeError" && /scalar f32 loss, got f32\[2\]/.test(e.message),
    );
    assert.throws(() => gradients(g.input({ shape: [], dtype: "i32" }), [x]), /scalar f32 loss/);
    assert.throws(() => valueAndGrad(() => 5, [x])(), /must return a scalar tensor/);
  });
});

test("valueAndGrad and grad keep the structure of the parameters", () => {
  const params = { a: tensor([1, 2]), list: [tensor([3, 4])] };
  const { graph, value } = traced(() => {
    const { value: loss, grads } = valueAndGrad(() => sum(mul(params.a, params.list[0])), params)();
    const again = grad(() => sum(mul(params.a, params.list[0])), params)();
    return { loss, grads, again };
  });
  const known = evaluate(
    graph,
    [],
    [...graph.captures.keys()].map((t) => Float64Array.from(t.host)),
  );
  assert.equal([...known.get(value.grads.a)], [3, 4]);
  assert.equal([...known.get(value.grads.list[0])], [1, 2]);
  assert.equal([...known.get(value.again.a)], [3, 4]);
  assert.equal([...known.get(value.loss)], [11]);
});

test("trees", () => {
  const tree = { b: tensor(1), a: [tensor(2), { c: tensor(3) }] };
  const paths = [];
  const copy = mapTree(tree, (t, path) => {
    paths.push(path);
    return t;
  });
  assert.equal(paths, ["b", "a.0", "a.1.c"]);
  assert.is(copy.a[1].c, tree.a[1].c);
  assert.is(flatten(tree).length, 3);
  assert.is(
    mapTree(tree.b, (t) => t),
    tree.b,
  );
  assert.throws(
    () => flatten({ x: { y: 5 } }),
    (e) => e.name === "ArgumentError" && /got 5 at "x.y"/.test(e.message),
  );
  assert.throws(() => flatten(null), /got null/);
});

test.run();

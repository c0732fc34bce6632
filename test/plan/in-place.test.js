/**
 * @file Tests of values that are computed in the bytes of what they are assigned to: how many copies of a whole tensor plans have, and that
 * runs give what they give where nothing is assigned.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile } from "../../build/esm/compile.js";
import { assign, Graph, trace } from "../../build/esm/graph.js";
import { mul, tanh } from "../../build/esm/ops/map.js";
import { matmul } from "../../build/esm/ops/matmul.js";
import { concat, reshape, slice } from "../../build/esm/ops/move.js";
import { sum } from "../../build/esm/ops/reduce.js";
import { scatterUpdate } from "../../build/esm/ops/scatter.js";
import { softmax } from "../../build/esm/ops/softmax.js";
import { buildPlan } from "../../build/esm/plan/build.js";
import { showPlan } from "../../build/esm/plan/plan.js";
import { tensor } from "../../build/esm/tensor.js";
import { assertClose, reference, wasms } from "../ops/harness.js";

const SIZE = 6;
const INNER = 4;
const random = (n, seed) => Float32Array.from({ length: n }, (_, i) => Math.sin(1 + i * 1.7 + seed));
const caches = () => [0, 1].map((seed) => tensor(random(SIZE * INNER, seed), [SIZE, INNER]));
const rows = tensor(random(2 * INNER, 5), [2, INNER]);
const others = tensor(random(2 * INNER, 6), [2, INNER]);
const index = tensor(Int32Array.of(4, 1));
const equal = tensor(Int32Array.of(3, 3));
const attend = (keys, values) => matmul(softmax(matmul(rows, keys, { transposeB: true })), values);

/** `fn(a, b)`: results, and what becomes of two caches. `copies`: whole tensors that are copied. */
const CASES = [
  {
    name: "rows of a cache, which is read afterwards",
    copies: 0,
    fn(a, b) {
      const next = [scatterUpdate(a, index, rows), scatterUpdate(b, equal, rows)];
      return { results: [attend(...next)], next };
    },
  },
  {
    name: "several updates of one cache, read in between and before",
    copies: 0,
    fn(a) {
      const before = sum(a);
      const once = scatterUpdate(a, index, rows);
      const between = attend(once, once);
      const twice = scatterUpdate(once, equal, between);
      return { results: [before, between, attend(twice, twice)], next: [scatterUpdate(twice, index, others)] };
    },
  },
  {
    name: "in other shapes",
    copies: 0,
    fn(a) {
      const next = scatterUpdate(reshape(a, [SIZE / 2, 2 * INNER]), tensor(Int32Array.of(1)), reshape(rows, [1, 2 * INNER]));
      return { results: [sum(next)], next: [reshape(next, [SIZE, INNER])] };
    },
  },
  {
    name: "a cache that decays in the same run",
    copies: 0,
    fn: (a) => ({ results: [], next: [scatterUpdate(mul(a, 0.5), index, rows)] }),
  },
  {
    name: "rows of what is computed here",
    copies: 0,
    fn: (a) => ({ results: [sum(scatterUpdate(matmul(a, rows, { transposeB: true }), index, tensor(random(4, 1), [2, 2])))], next: [] }),
  },
  {
    name: "the old value is read after the update",
    copies: 2,
    fn(a) {
      const next = scatterUpdate(a, index, rows);
      return { results: [attend(next, next), attend(next, a)], next: [next] };
    },
  },
  {
    name: "the old value is read after the second update: that has a place of its own",
    copies: 2,
    fn(a) {
      const once = scatterUpdate(a, index, rows);
      const twice = scatterUpdate(once, equal, rows);
      return { results: [attend(twice, once)], next: [twice] };
    },
  },
  {
    name: "updated by its own rows",
    copies: 2,
    fn: (a) => ({ results: [], next: [scatterUpdate(a, tensor(Int32Array.of(5, 4, 3, 2, 1, 0)), a)] }),
  },
  {
    name: "updated by a part of itself",
    copies: 0,
    fn: (a) => ({ results: [], next: [scatterUpdate(a, index, slice(a, [0, 0], [2, INNER]))] }),
  },
  {
    name: "the rows of one, written to another",
    copies: 1,
    fn: (a, b) => ({ results: [sum(a)], next: [a, scatterUpdate(a, index, rows)] }),
  },
  {
    name: "two caches that change places",
    copies: 3,
    fn: (a, b) => ({ results: [], next: [scatterUpdate(b, index, rows), scatterUpdate(a, index, rows)] }),
  },
  {
    name: "the value is a result too",
    copies: 2,
    fn(a) {
      const next = scatterUpdate(a, index, rows);
      return { results: [next], next: [next] };
    },
  },
  {
    name: "what was between is a result",
    copies: 2,
    fn(a) {
      const once = scatterUpdate(a, index, rows);
      return { results: [once], next: [scatterUpdate(once, equal, others)] };
    },
  },
  {
    name: "what was between goes to the other",
    copies: 2,
    fn(a) {
      const once = scatterUpdate(a, index, rows);
      return { results: [], next: [scatterUpdate(once, equal, others), once] };
    },
  },
  {
    name: "joined parts, one of them old",
    copies: 0,
    fn: (a) => ({ results: [], next: [concat([slice(a, [2, 0], [SIZE - 2, INNER]), tanh(rows)], 0)] }),
  },
  {
    name: "joined parts of what is new",
    copies: 0,
    fn: (a) => ({ results: [sum(a)], next: [concat([tanh(rows), rows, others], 0)] }),
  },
];

/** The plan of assigning to `a` and `b`. */
function planOf(fn, limits) {
  const graph = new Graph();
  const [a, b] = caches();
  const results = trace(graph, () => {
    const { results, next } = fn(graph.capture(a), graph.capture(b));
    next.forEach((value, k) => graph.assign([a, b][k], value.node ? value : graph.capture(value)));
    return results;
  });
  return buildPlan(graph, results, limits);
}

const copiesOf = (plan) => plan.calls.filter((c) => c.attrs.body?.steps.length === 0).length;

for (const backend of [reference, ...wasms]) {
  for (const { name, copies, fn } of CASES) {
    test(`${backend.name}: ${name}`, async () => {
      const plan = planOf(fn, backend.limits);
      assert.is(copiesOf(plan), copies, showPlan(plan));

      const [a, b] = caches();
      const assigning = compile(
        () => {
          const { results, next } = fn(a, b);
          next.forEach((value, k) => assign([a, b][k], value));
          return results;
        },
        { backend },
      );
      const [c, d] = caches();
      const pure = compile(() => fn(c, d), { backend });
      for (let run = 0; run < 3; run++) {
        // What is assigned is rounded to f32 on the way from one function to the other, which the reference's is not.
        const same = (got, want, what) => assertClose(got, want, "f32", { tolerance: backend === reference ? 1e-5 : 0, what });
        const [got, { results, next }] = [await assigning(), await pure()];
        for (const [k, y] of results.entries()) same(await got[k].data(), await y.data(), `run ${run}, result ${k}`);
        for (const [k, y] of next.entries()) {
          same(await [a, b][k].data(), await y.data(), `run ${run}, assigned ${k}`);
          [c, d][k].set(await y.data());
        }
      }
      assigning.close();
      pure.close();
    });
  }
}

test.run();

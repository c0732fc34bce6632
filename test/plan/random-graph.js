/**
 * @file Random graphs for tests of planning: elementwise ops, reductions, moves, products and their gradients over small
 * random shapes, with captures that are assigned. And an oracle that knows nothing of plans: it evaluates node by node.
 */
import { gradients } from "../../build/esm/grad.js";
import { Graph, trace } from "../../build/esm/graph.js";
import { gather } from "../../build/esm/ops/gather.js";
import * as m from "../../build/esm/ops/map.js";
import { matmul } from "../../build/esm/ops/matmul.js";
import * as v from "../../build/esm/ops/move.js";
import { argMax, max, min, sum } from "../../build/esm/ops/reduce.js";
import { scatterUpdate } from "../../build/esm/ops/scatter.js";
import { logSoftmax, softmax } from "../../build/esm/ops/softmax.js";
import { base } from "../../build/esm/plan/simplify.js";
import { broadcastStrides, sizeOf } from "../../build/esm/shape.js";
import { Tensor } from "../../build/esm/tensor.js";
import { KERNELS } from "../reference/index.js";
import { randomSource } from "../ops/harness.js";

/** Values of every tensor of `graph`, given those of its inputs and captures, one op at a time. */
export function evaluate(graph, inputs, captures) {
  const known = new Map();
  graph.inputs.forEach((t, k) => known.set(t, inputs[k]));
  [...graph.captures.values()].forEach((t, k) => known.set(t, captures[k]));
  const valueOf = (t) => (t === null ? null : known.get(t));
  for (const node of graph.nodes) {
    const { op, outputs } = node;
    if (op.lower === "leaf") continue;
    if (op.lower === "alias") {
      known.set(outputs[0], valueOf(node.inputs[0]));
      continue;
    }
    for (const t of outputs) known.set(t, new Float64Array(t.size).fill(NaN));
    if (op.lower === "map") {
      const { shape, dtype } = outputs[0];
      const n = node.inputs.length;
      const body = {
        space: shape,
        strides: node.inputs.map((t) => broadcastStrides(t.shape, shape)),
        steps: [{ op: op.name, args: node.inputs.map((_, k) => k), dtype }],
        results: [n],
      };
      KERNELS.map({ body }, node.inputs.map(valueOf), [known.get(outputs[0])], { inputs: node.inputs });
      continue;
    }
    const calls = typeof op.lower === "function" ? op.lower(node) : [{ kernel: op.lower, inputs: node.inputs, outputs, attrs: node.attrs }];
    for (const call of calls) KERNELS[call.kernel.name](call.attrs, call.inputs.map(valueOf), call.outputs.map(valueOf), call);
  }
  return known;
}

const pick = (random, list) => list[Math.floor(random() * list.length)];

/** A shape that has as many elements as `shape`. */
function reshaped(random, shape) {
  const n = sizeOf(shape);
  const options = [[n], [1, n], [n, 1], [...shape, 1], [1, ...shape], shape.filter((d) => d !== 1)];
  for (const d of [2, 3, 4]) if (n % d === 0) options.push([d, n / d], [n / d, d]);
  return pick(
    random,
    options.filter((s) => s.length <= 4),
  );
}

/** One random step from what is there. `bound` keeps numbers small, so that f32 and float64 stay close. */
const STEPS = [
  ["unary", ({ random, x }) => pick(random, [m.tanh, m.sigmoid, m.neg, m.relu, m.sin, m.abs, m.erf])(x)],
  ["square", ({ x }) => m.mul(m.square(x), 0.25)],
  ["number", ({ random, x }) => pick(random, [m.add, m.sub, m.mul, m.maximum, m.minimum])(x, pick(random, [0, 0.5, 1, -1, 2]))],
  ["number first", ({ random, x }) => pick(random, [m.add, m.sub, m.mul])(pick(random, [0, 0.5, 1, 2]), x)],
  ["binary", ({ random, x, mate }) => pick(random, [m.add, m.sub, m.mul, m.maximum, m.minimum])(x, mate(x))],
  ["binary", ({ random, x, mate }) => pick(random, [m.add, m.sub, m.mul])(mate(x), x)],
  ["divide", ({ x, mate }) => m.div(x, m.add(m.square(mate(x)), 1))],
  [
    "where",
    ({ x, mate }) =>
      m.where(
        m.equal(v.iota(x.shape.length ? x.shape : [1]), 1),
        x.rank ? x : v.reshape(x, [1]),
        m.neg(x.rank ? mate(x) : v.reshape(x, [1])),
      ),
  ],
  ["sum", ({ random, x }) => (x.rank ? m.mul(sum(x, { axis: Math.floor(random() * x.rank), keepDims: random() < 0.5 }), 0.25) : x)],
  ["mean of all", ({ x }) => m.mul(sum(x), 1 / Math.max(1, x.size))],
  [
    "max",
    ({ random, x }) =>
      x.rank && !x.shape.includes(0) ? pick(random, [max, min])(x, { axis: Math.floor(random() * x.rank), keepDims: random() < 0.5 }) : x,
  ],
  ["argmax of integers", ({ x }) => (x.rank && x.size > 0 ? m.mul(m.cast(argMax(m.mod(v.iota(x.shape), 3)), "f32"), 0.1) : x)],
  ["reshape", ({ random, x }) => v.reshape(x, reshaped(random, x.shape))],
  ["reshape and meet", ({ random, x }) => m.add(v.reshape(m.tanh(x), reshaped(random, x.shape)), 0.25)],
  ["meet under leading ones", ({ x }) => (x.rank < 4 ? m.mul(m.sin(v.reshape(x, [1, ...x.shape])), x) : x)],
  ["transpose", ({ x }) => v.transpose(x)],
  ["stop", ({ x }) => v.stopGradient(x)],
  ["broadcast", ({ x }) => (x.rank < 4 && x.size < 60 ? v.broadcastTo(x, [2, ...x.shape]) : x)],
  [
    "slice",
    ({ random, x }) =>
      v.slice(
        x,
        x.shape.map((d) => (d > 1 && random() < 0.5 ? 1 : 0)),
        x.shape.map(() => -1),
      ),
  ],
  ["flip", ({ random, x }) => (x.rank ? v.flip(x, Math.floor(random() * x.rank)) : x)],
  [
    "pad",
    ({ x }) =>
      x.rank && x.size < 60
        ? v.pad(
            x,
            x.shape.map((_, d) => [d % 2, 1]),
          )
        : x,
  ],
  ["concat", ({ x, mate }) => (x.rank && x.size < 60 ? v.concat([x, v.broadcastTo(mate(x), x.shape), x], 0) : x)],
  ["gather", ({ x }) => (x.rank && x.shape[0] > 0 ? gather(x, m.mod(v.iota([3]), x.shape[0]), 0) : x)],
  [
    "product",
    ({ x }) => {
      const k = x.rank ? x.shape[x.rank - 1] : 1;
      const rows = v.reshape(x, [x.size / Math.max(1, k), k]);
      return k > 0 ? m.mul(matmul(rows, rows, { transposeB: true }), 1 / k) : x;
    },
  ],
  [
    "product with bias",
    ({ x }) => {
      const k = x.rank ? x.shape[x.rank - 1] : 1;
      if (k === 0) return x;
      const rows = v.reshape(x, [x.size / k, k]);
      return matmul(rows, m.mul(matmul(rows, rows, { transposeA: true }), 1 / Math.max(1, rows.shape[0])), {
        bias: m.mul(sum(rows, { axis: 0 }), 0.125),
        activation: "tanh",
      });
    },
  ],
  ["softmax", ({ random, x }) => (x.rank && x.shape.at(-1) > 0 ? pick(random, [softmax, (t) => m.mul(logSoftmax(t), 0.25)])(x) : x)],
];

/** `x` with some rows replaced, the last of equal ones by another, one outside. */
const someRows = (x, by, random) => {
  const index = m.sub(m.mul(v.iota([3]), random() < 0.5 ? 1 : 0), random() < 0.5 ? 1 : 0);
  return scatterUpdate(x, index, v.broadcastTo(m.mul(sum(by), 1 / Math.max(1, by.size)), [3, ...x.shape.slice(1)]));
};

const SHAPES = [[], [1], [5], [4], [1, 4], [3, 4], [4, 3], [3, 1], [2, 3, 4], [1, 1, 5], [2, 1, 4], [4, 4], [7], [12], [0, 3], [1, 12]];
/** Above a tile of the kernel, now and then. */
const LARGE = [[521], [2, 263], [23, 29]];

/**
 * A graph with inputs, captures, results and assignments: `{ graph, results, inputs, captures }`, the last two being
 * elements. Assigned values are shaped to their targets; among them are swaps, leaves, shared values and results.
 * `most` ops are taken from the list of steps, or fewer.
 */
export function randomGraph(seed, most = 18) {
  const random = randomSource(seed + 1);
  for (let k = 0; k < 8; k++) random();
  const graph = new Graph();
  const elements = (shape) => Float64Array.from({ length: sizeOf(shape) }, () => Math.fround(random() * 2 - 1));
  const shapes = random() < 0.15 ? [...LARGE, [], [29]] : SHAPES;
  const common = pick(random, shapes);
  const someShape = () => (random() < 0.5 ? common : pick(random, shapes));
  const targets = Array.from({ length: 1 + Math.floor(random() * 4) }, () => new Tensor(someShape(), "f32", null, 0, null));
  const inputs = [];
  const results = trace(graph, () => {
    const pool = Array.from({ length: 1 + Math.floor(random() * 3) }, () => {
      const shape = someShape();
      inputs.push(elements(shape));
      return graph.input({ shape, dtype: "f32" });
    });
    for (const t of targets) pool.push(graph.capture(t));
    // Bytes, read in order, broadcast, under another shape, and by rows.
    if (seed % 4 === 0) {
      const shape = someShape();
      inputs.push(Uint8Array.from({ length: sizeOf(shape) }, () => random() * 256));
      const x = graph.input({ shape, dtype: "i32", storage: "u8" });
      const rows = shape[0] > 0 ? gather(x, m.mod(v.iota([3]), shape[0]), 0) : v.reshape(x, reshaped(random, shape));
      pool.push(...[x, rows].map((t) => m.mul(m.cast(t, "f32"), 1 / 256)));
    }
    const mate = (x) => {
      const fits = pool.filter((t) => t.shape.every((d, k) => t.rank <= x.rank && (d === 1 || d === x.shape[x.rank - t.rank + k])));
      return fits.length ? pick(random, fits) : x;
    };
    const steps = 2 + Math.floor(random() * most);
    /** Captures that lose some rows, once or again. */
    const updated = new Map();
    for (let k = 0; k < steps; k++) {
      const x = random() < 0.6 ? pool[pool.length - 1 - Math.floor(random() * Math.min(3, pool.length))] : pick(random, pool);
      const y = pick(random, STEPS)[1]({ random, x, mate });
      if (y.size > 1200) continue;
      // Products of products would leave the range in which f32 is a fair comparison.
      pool.push(random() < 0.5 ? m.tanh(y) : m.minimum(m.maximum(y, -2), 2));
      if (random() < 0.3) {
        const target = pick(random, targets);
        if (target.rank > 0) {
          updated.set(target, someRows(updated.get(target) ?? graph.capture(target), pool.at(-1), random));
          if (random() < 0.7) pool.push(updated.get(target));
        }
      }
      if (random() < 0.3) pool.push(y);
    }
    const differentiated = random() < 0.35;
    const shaped = (x, shape) =>
      x.size === sizeOf(shape) ? v.reshape(x, shape) : v.broadcastTo(m.mul(sum(x), 1 / Math.max(1, x.size)), shape);
    if (differentiated) {
      const loss = m.mul(sum(m.tanh(pool[pool.length - 1])), 1 / Math.max(1, pool[pool.length - 1].size));
      const wanted = targets.map((t) => graph.capture(t));
      const grads = gradients(loss, wanted);
      targets.forEach((t, k) => graph.assign(t, m.sub(wanted[k], m.mul(grads[k], 0.1))));
      return [loss, ...(random() < 0.5 ? [grads[0]] : [])];
    }
    const swapped = random() < 0.3 ? targets.filter((t, k) => targets.findIndex((o) => o.size === t.size) === k) : [];
    targets.forEach((t, k) => {
      const self = graph.capture(t);
      const other = pick(random, targets);
      if (random() < 0.15) return;
      if (updated.has(t) && random() < 0.7) return graph.assign(t, updated.get(t));
      const value = swapped.length === 0 && random() < 0.7 ? pick(random, pool) : graph.capture(other);
      const kind = random();
      const same = shaped(value, t.shape);
      if (kind < 0.3) graph.assign(t, same);
      else if (kind < 0.7) graph.assign(t, m.tanh(m.add(self, same)));
      else graph.assign(t, m.mul(m.sub(same, pool[0].size === t.size ? v.reshape(pool[0], t.shape) : self), 0.5));
    });
    const out = Array.from({ length: 1 + Math.floor(random() * 4) }, () => pick(random, pool));
    if (random() < 0.3) out.push(out[0]);
    if (random() < 0.3) out.push(v.reshape(out[0], [out[0].size]));
    if (random() < 0.2) out.push(graph.assigns.size ? [...graph.assigns.values()][0] : out[0]);
    return out;
  });
  const captures = [...graph.captures.keys()].map((t) => elements(t.shape));
  return { graph, results, inputs, captures };
}

/** What a run gives by the oracle: the results, and the captures afterwards. */
export function expected({ graph, results, inputs, captures }) {
  const known = evaluate(graph, inputs, captures);
  return {
    results: results.map((t) => known.get(t) ?? known.get(base(t))),
    captures: [...graph.captures].map(([tensor], k) => (graph.assigns.has(tensor) ? known.get(graph.assigns.get(tensor)) : captures[k])),
  };
}

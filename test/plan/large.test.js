/**
 * Tests of planning at size: work that grows with the graph and not faster (counted, not timed), chains and models deeper than the stack,
 * and that what bounds the search of fusion loses nothing: the same calls as a fusion that searches without end.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { graphOf, KINDS } from "../../bench/graphs.js";
import { compile } from "../../build/esm/compile.js";
import { gradients } from "../../build/esm/grad.js";
import { constantOp } from "../../build/esm/graph.js";
import { dense, sequential } from "../../build/esm/index.js";
import { add, mul } from "../../build/esm/ops/map.js";
import { matmul } from "../../build/esm/ops/matmul.js";
import { concat, flip, reshape } from "../../build/esm/ops/move.js";
import { sum } from "../../build/esm/ops/reduce.js";
import { buildPlan } from "../../build/esm/plan/build.js";
import { fuse, Fuser } from "../../build/esm/plan/fuse.js";
import { assignSlots, packOffsets } from "../../build/esm/plan/memory.js";
import { Runs } from "../../build/esm/plan/runs.js";
import { base, liveNodes } from "../../build/esm/plan/simplify.js";
import { sameShape } from "../../build/esm/shape.js";
import { tensor } from "../../build/esm/tensor.js";
import { encode, link } from "../../build/esm/wasm/commands.js";
import { randomSource, reference, wasms } from "../ops/harness.js";
import { MODELS } from "./models.js";
import { expected, randomGraph } from "./random-graph.js";

const { limits } = wasms[0];
const sized = (name, nodes) => graphOf(name, Math.max(2, Math.round(nodes / KINDS[name].perSize)));

/** Calls of methods of `classes` while `fn` runs. */
function counted(classes, fn) {
  let calls = 0;
  const undo = classes.flatMap((c) =>
    Object.getOwnPropertyNames(c.prototype)
      .filter((name) => name !== "constructor")
      .map((name) => {
        const method = c.prototype[name];
        c.prototype[name] = function (...args) {
          calls++;
          return method.apply(this, args);
        };
        return () => (c.prototype[name] = method);
      }),
  );
  try {
    fn();
  } finally {
    for (const u of undo) u();
  }
  return calls;
}

for (const name of Object.keys(KINDS)) {
  test(`${name}: eight times the nodes are eight times the work, and as many calls`, () => {
    const [small, large] = [1500, 12000].map((nodes) => {
      const { graph, results } = sized(name, nodes);
      const roots = [...results, ...graph.assigns.values()];
      const nodesOf = liveNodes(graph, roots);
      let plan;
      const fusing = counted([Fuser], () => fuse(nodesOf, roots, limits));
      const placing = counted([Runs], () => {
        plan = buildPlan(graph, results, limits);
        link(
          encode(plan),
          plan.bindings.length,
          plan.slots.map(() => 65536),
          0,
        );
      });
      return { nodes: graph.nodes.length, fusing, placing, calls: plan.calls.length };
    });
    const growth = large.nodes / small.nodes;
    assert.ok(large.fusing <= 1.1 * growth * small.fusing, `fusing: ${small.fusing} steps, then ${large.fusing}`);
    assert.ok(large.fusing <= 40 * large.nodes, `fusing: ${large.fusing} steps for ${large.nodes} nodes`);
    // A tree over the calls: some more levels.
    assert.ok(large.placing <= 2.5 * growth * small.placing + 100, `placing: ${small.placing} steps, then ${large.placing}`);
    assert.ok(Math.abs(large.calls / small.calls / growth - 1) < 0.1, `${small.calls} calls, then ${large.calls}`);
  });
}

/**
 * Ranges as those of a network's training: what comes early is read last, among much that is short. They count how often they are looked
 * at.
 */
function countingRanges(n) {
  const counts = { looks: 0 };
  const look = (value) => {
    counts.looks++;
    return value;
  };
  const ranges = Array.from({ length: n }, (_, i) => {
    const [bytes, first, last] = [64 * (1 + ((i * 7919) % 13)), i, i % 3 === 0 && i < n / 2 ? n - i : Math.min(n, i + 1 + (i % 4))];
    return {
      get bytes() {
        return look(bytes);
      },
      get first() {
        return look(first);
      },
      get last() {
        return look(last);
      },
    };
  });
  return { ranges, counts };
}

for (const [name, pack] of Object.entries({ packOffsets, assignSlots })) {
  test(`${name}: looks at ranges as often as sorting does`, () => {
    for (const n of [1000, 8000]) {
      const { ranges, counts } = countingRanges(n);
      pack(ranges, 64);
      assert.ok(counts.looks <= 8 * n * Math.log2(n), `${counts.looks} looks at ${n} ranges`);
    }
  });
}

test("packOffsets and assignSlots place as the rules that they stand for, read literally", () => {
  const together = (a, b) => a.first <= b.last && b.first <= a.last;
  for (let seed = 0; seed < 200; seed++) {
    const random = randomSource(seed + 11);
    const calls = 1 + Math.floor(random() * 50);
    const ranges = Array.from({ length: Math.floor(random() * 80) }, () => {
      const first = Math.floor(random() * calls);
      return { bytes: 4 * (1 + Math.floor(random() ** 3 * 300)), first, last: Math.min(calls - 1, first + Math.floor(random() ** 2 * 20)) };
    });
    // Largest first, each at the lowest multiple of the alignment where it meets nothing that lives with it.
    const offsets = new Map();
    for (const r of [...ranges].sort((a, b) => b.bytes - a.bytes)) {
      const others = [...offsets].filter(([o]) => together(o, r));
      let at = 0;
      while (others.some(([o, from]) => from < at + r.bytes && at < from + o.bytes)) at += 64;
      offsets.set(r, at);
    }
    assert.equal(
      packOffsets(ranges, 64).places.map((p) => p.offset),
      ranges.map((r) => offsets.get(r)),
      `seed ${seed}`,
    );

    const slots = [];
    const slotOf = new Map();
    for (const r of [...ranges].sort((a, b) => a.first - b.first || b.bytes - a.bytes)) {
      const free = slots
        .map((s, i) => ({ ...s, i }))
        .filter((s) => s.until < r.first && s.bytes >= r.bytes)
        .sort((a, b) => a.bytes - b.bytes || a.i - b.i);
      const i = free[0]?.i ?? slots.push({ bytes: r.bytes, until: 0 }) - 1;
      slots[i].until = r.last;
      slotOf.set(r, i);
    }
    const assigned = assignSlots(ranges, 64);
    assert.equal(
      assigned.slots,
      slots.map((s) => s.bytes),
    );
    assert.equal(
      assigned.places.map((p) => p.index),
      ranges.map((r) => slotOf.get(r)),
      `seed ${seed}`,
    );
  }
});

test("link: barriers where the rule, read literally, has them", () => {
  for (let seed = 0; seed < 300; seed++) {
    const random = randomSource(seed + 5);
    const below = (n) => Math.floor(random() * n);
    const commands = Array.from({ length: 1 + below(60) }, () => ({
      opcode: 1,
      pieces: random() < 0.4 ? 1 : random() < 0.05 ? 0 : 3,
      words: Array.from({ length: below(4) }, () =>
        random() < 0.2
          ? below(99)
          : {
              place: { space: ["slot", "binding", "scratch"][below(3)], index: below(2), offset: 4 * below(40) },
              bytes: 4 * below(12),
              access: ["read", "write", "update"][below(3)],
            },
      ),
    }));
    let open = [];
    let barriers = 0;
    for (const { pieces, words } of commands) {
      const spans = words
        .filter((w) => typeof w !== "number" && w.bytes > 0)
        .map((w) => ({
          space: `${w.place.space}${w.place.index}`,
          from: w.place.offset,
          to: w.place.offset + w.bytes,
          writes: w.access !== "read",
          single: pieces === 1,
        }));
      if (
        pieces === 0 ||
        spans.some((a) =>
          open.some((b) => (a.writes || b.writes) && !(a.single && b.single) && a.space === b.space && a.from < b.to && b.from < a.to),
        )
      ) {
        open = [];
        barriers++;
      }
      open.push(...spans);
    }
    assert.is(link({ commands, prologue: 0 }, 2, [0, 4096], 8192).barriers, barriers, `seed ${seed}`);
  }
});

/**
 * Fusion with a search that never gives up and counts operands anew for every merge: for each map, the nodes whose results it writes, and
 * its nodes.
 */
function fusedWithoutBounds(nodes, roots) {
  const isRoot = new Set(roots.map(base));
  const unitOf = new Map(nodes.map((n) => [n, [n]]));
  const readers = new Map(nodes.map((n) => [n, []]));
  for (const n of nodes) for (const t of n.inputs) if (t !== null) readers.get(base(t).node)?.push(n);
  const isMap = (n) => n.op.lower === "map";
  const operandsOf = (members) => {
    const inside = new Set(members);
    const inputs = new Set();
    const constants = new Set();
    for (const n of members) {
      for (const t of n.inputs) {
        const source = base(t).node;
        if (source.op === constantOp) constants.add(source);
        else if (!inside.has(source)) inputs.add(`${source.id}.${base(t).index}:${t.shape}`);
      }
    }
    const outputs = members.filter((n) => isRoot.has(n.outputs[0]) || readers.get(n).some((c) => !inside.has(c)));
    return { inputs: inputs.size, steps: members.length + constants.size, outputs };
  };
  const reaches = (from, to) => {
    const seen = new Set([from]);
    for (const u of seen) {
      for (const n of u) {
        for (const c of readers.get(n)) {
          const next = unitOf.get(c);
          if (next !== to) seen.add(next);
          else if (u !== from) return true;
        }
      }
    }
    return false;
  };
  for (const n of nodes.filter(isMap)) {
    for (const t of n.inputs) {
      const source = base(t).node;
      const [a, b] = [unitOf.get(source), unitOf.get(n)];
      if (!isMap(source) || t.node.op.lower !== "map" || a === b || !sameShape(source.outputs[0].shape, n.outputs[0].shape)) continue;
      const merged = [...a, ...b].sort((x, y) => x.id - y.id);
      const { inputs, outputs, steps } = operandsOf(merged);
      if (inputs + outputs.length > limits.maxOperands || steps > limits.maxSteps || reaches(a, b) || reaches(b, a)) continue;
      for (const m of merged) unitOf.set(m, merged);
    }
  }
  return [...new Set(unitOf.values())]
    .filter((u) => isMap(u[0]))
    .map((u) =>
      operandsOf(u)
        .outputs.map((n) => n.id)
        .join(),
    )
    .sort();
}

/** For each map, alone or inside of a reduction, what it writes. */
function fused(nodes, roots) {
  const fuser = new Fuser(nodes, roots, limits);
  for (const n of nodes.filter((m) => m.op.lower === "map"))
    for (const t of n.inputs) if (base(t).node.op.lower === "map" && t.node.op.lower === "map") fuser.tryMerge(base(t).node, n);
  fuser.finish();
  const units = new Set(nodes.map((n) => fuser.unit(n)).filter((u) => u.space !== null));
  return [...units]
    .map((u) =>
      fuser
        .operands(u)
        .outputs.map((t) => t.node.id)
        .join(),
    )
    .sort();
}

test("standard models, and random graphs, are fused as if the search had no bounds", () => {
  const graphs = [
    ...Object.entries(MODELS).map(([name, make]) => [name, make()]),
    ...Object.keys(KINDS).map((name) => [name, sized(name, 1500)]),
    ...Array.from({ length: 150 }, (_, seed) => [`graph ${seed}`, randomGraph(seed)]),
    ...Array.from({ length: 30 }, (_, seed) => [`large graph ${seed}`, randomGraph(seed, 150)]),
  ];
  for (const [name, { graph, results }] of graphs) {
    const roots = [...results, ...graph.assigns.values()];
    const nodes = liveNodes(graph, roots);
    assert.equal(fused(nodes, roots), fusedWithoutBounds(nodes, roots), name);
  }
});

/** The results of `fn(...inputs)` on WebAssembly, once. */
const run = async (fn, ...args) => {
  const f = compile(fn, { backend: wasms[0] });
  const result = await f(...args);
  f.close();
  return Array.isArray(result) ? Promise.all(result.map((t) => t.array())) : result.array();
};

test("where the search gives up two maps take the place of one, with the same values", async () => {
  // What is doubled is read by 400 others, and meets the end of 400 products that have nothing to do with it.
  const fn = (x, w) => {
    const y = mul(x, 2);
    const others = concat(
      Array.from({ length: 400 }, () => 0).reduce((all) => [...all, flip(all.at(-1), 1)], [flip(y, 0)]),
      0,
    );
    let z = w;
    for (let i = 0; i < 400; i++) z = matmul(z, w);
    return [sum(others), add(y, z)];
  };
  const got = await run(fn, tensor([[1, 2], [3, 4]]), tensor([[0, 1], [1, 0]]));
  assert.equal(got, [401 * 20, [[2, 5], [7, 8]]]);
});

test("a chain of 50,000 elementwise ops: planned without a deep stack, and right", async () => {
  const ones = (x) => {
    let y = x;
    for (let i = 0; i < 50000; i++) y = add(y, 1);
    return y;
  };
  assert.equal(await run(ones, tensor([0, 5, -50000])), [50000, 50005, 0]);
});

test("the gradient of a chain of 10,000", async () => {
  const w = tensor([1, 1]);
  const slope = (x) => {
    let y = x;
    for (let i = 0; i < 10000; i++) y = mul(y, w);
    return gradients(sum(y), [w])[0];
  };
  assert.equal(await run(slope, tensor([3, -2])), [30000, -20000]);
});

test("20,001 calls one after another, and as many reshapes, each read", async () => {
  const turned = (x) => {
    let y = x;
    for (let i = 0; i < 20001; i++) y = flip(y, 0);
    return y;
  };
  assert.equal(await run(turned, tensor([1, 2, 3])), [3, 2, 1]);
  const shaped = (x) => {
    let y = x;
    let total = sum(x);
    for (let i = 0; i < 20001; i++) {
      y = reshape(y, i % 2 ? [4] : [2, 2]);
      if (i % 100 === 0) total = add(total, sum(y));
    }
    return [y, total];
  };
  assert.equal(await run(shaped, tensor([1, 2, 3, 4])), [[[1, 2], [3, 4]], 10 + 201 * 10]);
});

test("a model of 2,000 layers predicts and trains", async () => {
  const deep = sequential(
    Array.from({ length: 2000 }, () => dense(1, { kernelInitializer: "ones", useBias: false })),
    { inputShape: [1] },
  );
  await deep.compile({ loss: "mse", optimizer: "sgd", backend: wasms[0] });
  assert.equal(await (await deep.predict(tensor([[3], [-2]]))).array(), [[3], [-2]]);
  // The loss is 0, and so is every gradient.
  const { history } = await deep.fit(tensor([[3], [-2]]), tensor([[3], [-2]]), { epochs: 2, verbose: 0 });
  assert.equal(history.loss, [0, 0]);
});

test("large random graphs give what evaluation node by node does", async () => {
  for (let seed = 0; seed < 40; seed++) {
    const made = randomGraph(seed, 120);
    const plan = buildPlan(made.graph, made.results, reference.limits);
    const program = await reference.compile(plan);
    const buffers = plan.bindings.map(({ bytes }) => reference.alloc(bytes));
    [...made.inputs, ...made.captures].forEach((x, k) => reference.write(buffers[k], 0, x));
    reference.run(program, buffers);
    const want = expected(made);
    const first = plan.bindings.length - made.results.length;
    want.results.forEach((x, k) => {
      const got = reference.values(buffers[first + k]);
      x.forEach((v, i) =>
        assert.ok(Math.abs(got[i] - v) <= 1e-9 * Math.max(1, Math.abs(v)), `graph ${seed}, result ${k}: ${got[i]} for ${v}`),
      );
    });
    program.close();
    for (const b of buffers) reference.free(b);
  }
});

test.run();

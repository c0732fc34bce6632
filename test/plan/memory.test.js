/** Tests of memory planning: ranges that live together never share bytes, results are aligned and tight, peaks of small models. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { buildPlan } from "../../build/esm/plan/build.js";
import { assignSlots, packOffsets } from "../../build/esm/plan/memory.js";
import { showPlan, slotBytes } from "../../build/esm/plan/plan.js";
import { randomSource, reference, wasms } from "../ops/harness.js";
import { MODELS } from "./models.js";
import { randomGraph } from "./random-graph.js";

const together = (a, b) => a.first <= b.last && b.first <= a.last;

function randomRanges(seed) {
  const random = randomSource(seed + 3);
  const calls = 1 + Math.floor(random() * 40);
  return Array.from({ length: Math.floor(random() * 60) }, () => {
    const first = Math.floor(random() * calls);
    return { bytes: 4 * (1 + Math.floor(random() ** 3 * 500)), first, last: Math.min(calls - 1, first + Math.floor(random() ** 2 * 12)) };
  });
}

/** The most bytes that are alive at one time: no plan can need less. */
function peak(ranges) {
  return ranges.reduce(
    (most, { first }) =>
      Math.max(
        most,
        ranges.filter((r) => r.first <= first && first <= r.last).reduce((sum, r) => sum + r.bytes, 0),
      ),
    0,
  );
}

for (const alignment of [4, 64]) {
  test(`packOffsets: no two that live together overlap, alignment ${alignment}`, () => {
    for (let seed = 0; seed < 300; seed++) {
      const ranges = randomRanges(seed);
      const {
        slots: [total = 0],
        places,
      } = packOffsets(ranges, alignment);
      const offsets = places.map((p) => p.offset);
      ranges.forEach((a, i) => {
        assert.is(offsets[i] % alignment, 0);
        assert.ok(offsets[i] + a.bytes <= total);
        for (let j = 0; j < i; j++) {
          const b = ranges[j];
          if (together(a, b))
            assert.ok(offsets[i] + a.bytes <= offsets[j] || offsets[j] + b.bytes <= offsets[i], `seed ${seed}: ${i} and ${j}`);
        }
      });
      assert.ok(total >= peak(ranges));
    }
  });
}

test("packOffsets: within a third of the least possible on average, and exactly it for a chain", () => {
  let [got, least] = [0, 0];
  for (let seed = 0; seed < 300; seed++) {
    const ranges = randomRanges(seed);
    got += packOffsets(ranges, 4).slots[0] ?? 0;
    least += peak(ranges);
  }
  assert.ok(got <= least * 1.33, `${got} for ${least}`);
  const chain = Array.from({ length: 20 }, (_, i) => ({ bytes: 256, first: i, last: i + 1 }));
  assert.equal(packOffsets(chain, 64).slots, [512]);
  assert.equal(packOffsets([], 64), { slots: [], places: [] });
});

test("assignSlots: no slot holds two that live together, and every slot is large enough", () => {
  for (let seed = 0; seed < 300; seed++) {
    const ranges = randomRanges(seed);
    const { slots, places } = assignSlots(ranges);
    const slotOf = places.map((p) => p.index);
    ranges.forEach((a, i) => {
      assert.ok(slots[slotOf[i]] >= a.bytes);
      for (let j = 0; j < i; j++) if (slotOf[i] === slotOf[j]) assert.not.ok(together(a, ranges[j]), `seed ${seed}: ${i} and ${j}`);
    });
  }
});

test("assignSlots: slots are used again", () => {
  const { slots } = assignSlots(Array.from({ length: 20 }, (_, i) => ({ bytes: 256, first: i, last: i + 1 })));
  assert.equal(slots, [256, 256]);
});

/**
 * Follows a plan element by element: each byte of a slot holds the value that some call gave it. Every read must find
 * the value that the reader's producer wrote, which is wrong as soon as two values that live together share a byte.
 */
function checkLifetimes(plan, name) {
  const holder = new Map();
  plan.calls.forEach((call, i) => {
    const key = (o, at) => `${o.place.space}${o.place.index}:${o.place.offset + at}`;
    const bytes = (o) => 4 * o.shape.reduce((a, d) => a * d, 1);
    for (const o of call.inputs) {
      if (o?.place.space !== "slot" || bytes(o) === 0) continue;
      const owners = new Set();
      for (let at = 0; at < bytes(o); at += 4) owners.add(holder.get(key(o, at)));
      assert.ok(owners.size === 1 && !owners.has(undefined), `${name}: call ${i} (${call.kernel}) reads bytes of ${[...owners]}`);
    }
    call.outputs.forEach((o, k) => {
      if (o?.place.space !== "slot") return;
      assert.ok(o.place.offset + bytes(o) <= plan.slots[o.place.index], `${name}: call ${i} stays in its slot`);
      const id = call.attrs.partial ? holder.get(key(o, 0)) : `call ${i} output ${k}`;
      for (let at = 0; at < bytes(o); at += 4) holder.set(key(o, at), id);
    });
  });
}

test("random graphs: every call finds in its slots what was computed for it", () => {
  for (let seed = 0; seed < 150; seed++) {
    const { graph, results } = randomGraph(seed);
    for (const { limits } of [wasms[0], reference]) checkLifetimes(buildPlan(graph, results, limits), `graph ${seed}`);
  }
});

test("elementwise results take over the bytes of an operand that dies there", () => {
  const { graph, results } = MODELS.mlp();
  const plan = buildPlan(graph, results, wasms[0].limits);
  const inPlace = plan.calls.filter(
    (c) =>
      c.kernel === "map" &&
      c.outputs.some((o) =>
        c.inputs.some((x) => x.place.space === "slot" && x.place.offset === o.place.offset && o.place.space === "slot"),
      ),
  );
  assert.ok(inPlace.length > 0, showPlan(plan));
});

/** Bytes of temporaries, measured when the planner was written: a larger number is a regression, a smaller one a new bound. */
const PEAKS = { mlp: 1356, convolutional: 7680, lstm: 5396, classifier: 84 };
for (const [name, most] of Object.entries(PEAKS)) {
  test(`peak of ${name} is at most ${most} bytes`, () => {
    const { graph, results } = MODELS[name]();
    const bytes = slotBytes(buildPlan(graph, results, wasms[0].limits));
    assert.ok(bytes <= most, `${bytes} bytes`);
  });
}

test.run();

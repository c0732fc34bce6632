/** @file Layers that read a sequence a few steps at a time. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile } from "../../build/esm/compile.js";
import { LockstepError } from "../../build/esm/errors.js";
import * as nn from "../../build/esm/nn/index.js";
import { withDecoding } from "../../build/esm/nn/decoding.js";
import { masked } from "../../build/esm/nn/masks.js";
import { mul } from "../../build/esm/ops/map.js";
import { concat, slice } from "../../build/esm/ops/move.js";
import { tensor } from "../../build/esm/tensor.js";
import { errorOf } from "../model/helpers.js";
import { BACKENDS, fill, made, near, run, turned, values } from "./attending.js";

test.after(() => Object.values(BACKENDS).forEach((b) => b.close()));

/** A cache of keys and values as tensors that grow: what is read goes in, what is new is noted. */
function caching(capacity, start, kept) {
  const next = [];
  let call = 0;
  return {
    next,
    capacity,
    positions: (time) =>
      tensor(
        Int32Array.from({ length: time }, (_, i) => start + i),
        [time],
      ),
    append: (k, v) => {
      const before = kept[call++];
      const all = before === undefined ? { k, v } : { k: concat([before.k, k], 1), v: concat([before.v, v], 1) };
      next.push(all);
      return { ...all, offset: start };
    },
  };
}

test("decoding: steps read one after another, with keys and values kept, give what all at once give", async () => {
  const time = 6;
  const token = nn.embedding(9, 8);
  const place = nn.positionEmbedding(time);
  const sine = nn.sinePositionEncoding();
  const blocks = [
    nn.transformerDecoder(16, 2, { normalizeFirst: true }),
    nn.groupedQueryAttention(4, 4, 2, { useCausalMask: true, rotary: { maxWavelength: 100 }, slidingWindow: 3 }),
    nn.attention({ useCausalMask: true }),
  ];
  const forward = (ids) => {
    const x = token.call(ids);
    const sum = nn.merge.add().call(x, place.call(x), sine.call(x), nn.rotaryEmbedding().call(x));
    return token.attend(blocks.reduce((y, block) => block.call(y), sum));
  };
  const ids = tensor([[1, 5, 2, 8, 3, 7], [4, 4, 0, 1, 2, 6]], undefined, "i32");
  await run(forward, [ids]);
  blocks.forEach((b, i) => fill(b, 20 * i + 1));
  const all = tensor(await run(forward, [ids]), [2, time, 9]);
  let kept = [];
  for (const [from, to] of [[0, 3], [3, 4], [4, 6]]) {
    const step = compile((part, before) => {
      const cache = caching(time, from, before);
      return { y: withDecoding(cache, () => forward(part)), next: cache.next };
    });
    const part = await compile((t) => slice(t, [0, from], [2, to - from]))(ids);
    const { y, next } = await step(part, kept);
    kept = next;
    assert.is(kept.length, 3);
    near(
      await y.data(),
      await (await compile((t) => slice(t, [0, from, 0], [2, to - from, 9]))(all)).data(),
      1e-5,
      `steps ${from} to ${to}`,
    );
  }
});

test("decoding: positions of each sequence, and what cannot be decoded is refused", async () => {
  const x = values(1, 2, 3, 8);
  const places = [[5, 6, 7], [0, 1, 2]];
  const cache = { capacity: 10, positions: () => tensor(places, undefined, "i32"), append: (k, v) => ({ k, v, offset: 0 }) };
  const turn = nn.rotaryEmbedding();
  const rows = await x.array();
  near(
    await run((t) => withDecoding(cache, () => turn.call(t)), [x]),
    rows.flatMap((steps, b) => steps.flatMap((row, i) => turned(row, places[b][i], {}))),
    1e-6,
    "positions",
  );
  const learned = await made(nn.positionEmbedding(10), x);
  const table = await learned.weights[0].tensor.array();
  near(
    await run((t) => withDecoding(cache, () => learned.call(t)), [x]),
    places.flat().flatMap((p) => table[p]),
    0,
    "learned",
  );
  const short = await made(nn.positionEmbedding(6), x);
  const refused = async (fn, pattern) => {
    const error = await errorOf(() => run((t) => withDecoding(cache, () => fn(t)), [x]));
    assert.instance(error, LockstepError);
    assert.match(error.message, pattern);
  };
  await refused((t) => short.call(t), /it has vectors for 6 positions, got 10/);
  await refused((t) => nn.multiHeadAttention(2, 4).call(t), /layer "multiHeadAttention": it attends to later steps.*useCausalMask: true/);
  await refused((t) => nn.attention({ useCausalMask: true, scoreMode: "concat" }).call(t), /scoreMode: "concat"/);
  const mask = tensor([[1, 1, 1], [1, 1, 0]]);
  await refused(
    (t) => nn.multiHeadAttention(2, 4, { useCausalMask: true }).call(masked(mul(t, 1.5), mask)),
    /steps with a mask cannot be generated/,
  );
});

test.run();

/** Several tokens in one run: the same text however many, also behind stops and ends in the middle of a run, and nothing per token. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open } from "../../build/esm/init.js";
import { generate, generator } from "../../build/esm/model/generate.js";
import { sequential } from "../../build/esm/model/model.js";
import * as nn from "../../build/esm/nn/index.js";
import { Random } from "../../build/esm/random.js";
import { referenceBackend } from "../reference/index.js";
import { errorOf } from "./helpers.js";
import { all, around, counting, fill, MODELS, refused, table, VOCABULARY } from "./text.js";

const { dense, groupedQueryAttention, layerStack, tokenAndPositionEmbedding, transformerDecoder } = nn;
const backend = await open("wasm", { reproducible: true });
const background = await open("wasm", { reproducible: true, background: true, threads: 2 });
test.after(() => [backend, background].forEach((b) => b.close()));

const stacked = () =>
  sequential([tokenAndPositionEmbedding(VOCABULARY, 96, 8), layerStack(transformerDecoder(16, 2), 3), dense(VOCABULARY)], {
    inputShape: [null],
  });
const GROUPED = "grouped queries, turned, in a window";
const made = (make, on) => {
  const m = make();
  m.build([[null]]);
  fill(m);
  m.moveTo(on);
  return m;
};

/**
 * What is said in a conversation of four sequences: prompts, stops, loops that are left, forks, all by numbers of `seed`. The same for any
 * number of tokens a run that `perRun` gives.
 */
async function conversation(m, seed, perRun) {
  const random = new Random(seed);
  const below = (n) => Math.floor(random.uniform(1)[0] * n);
  const said = [];
  let session = await generator(m, { capacity: 90, batch: 2 });
  for (let turn = 0; turn < 7; turn++) {
    const prompts = [0, 1].map(() => Array.from({ length: below(4) + (turn === 0 ? 1 : 0) }, () => below(VOCABULARY)));
    const o = {
      maxTokens: 1 + below(9),
      seed: below(100),
      temperature: 0.5 + random.uniform(1)[0],
      repetitionPenalty: turn % 2 ? 1 : 3,
      stop: [below(VOCABULARY), [below(VOCABULARY), below(VOCABULARY)]],
    };
    const leave = below(3) === 0 ? below(o.maxTokens) : -1;
    const text = [];
    for await (const row of session.generate(prompts, { ...o, tokensPerRun: perRun(turn) }))
      if (text.push(row) > leave && leave >= 0) break;
    said.push(text, [...session.lengths]);
    if (below(3) === 0) {
      const fork = await session.fork();
      session.close();
      session = fork;
    }
    if (below(3) === 0) await session.prefill([below(VOCABULARY), below(VOCABULARY)]);
  }
  session.close();
  return said;
}

for (const [name, make] of Object.entries({ [GROUPED]: MODELS[GROUPED], "a stack of layers": stacked })) {
  test(`${name}: the same text for any number of tokens a run, on any backend`, async () => {
    const reference = referenceBackend();
    const prompts = [[1], Array.from({ length: 20 }, (_, i) => (i * 7) % VOCABULARY), [5, 5, 5]];
    const o = { maxTokens: 15, temperature: 2, seed: 3, topK: 9, topP: 0.95, repetitionPenalty: 1.2, stop: [4, [1, 2]] };
    const m = made(make, backend);
    const want = await all(generate(m, prompts, { ...o, tokensPerRun: 1 }));
    assert.equal(await all(generate(m, prompts, o)), want, "default");
    for (const on of [backend, background, reference])
      for (const tokensPerRun of [2, 3, 7, 15, 40])
        assert.equal(await all(generate(made(make, on), prompts, { ...o, tokensPerRun })), want, `${on.name}, ${tokensPerRun} a run`);
    reference.close();
  });

  test(`${name}: conversations go on as with one token a run`, async () => {
    for (let seed = 0; seed < 6; seed++) {
      const want = await conversation(made(make, backend), seed, () => 1);
      assert.ok(want.flat(3).length > 20);
      for (const on of [backend, background])
        for (const perRun of [() => 3, () => 8, (turn) => 1 + ((turn * 3) % 5)])
          assert.equal(await conversation(made(make, on), seed, perRun), want, `seed ${seed}`);
    }
  });
}

test("a run that goes on behind a stop leaves nothing: what is forgotten is neither attended to nor seen", async () => {
  // 0 1 2 3 0 ... where nothing is repeated; a penalty forbids what was seen, and 5 is the next best.
  const next = table([0, 1, 2, 3].map((t) => [0, 1, 2, 3].map((n) => (n === (t + 1) % 4 ? 4 : 1))));
  for (const tokensPerRun of [1, 2, 3, 4, 8]) {
    const session = await generator(next, { capacity: 32 });
    const text = (prompt, more) => all(session.generate(prompt, { temperature: 0, maxTokens: 3, tokensPerRun, ...more }));
    assert.equal(await text([0], { stop: [1] }), [1]);
    assert.equal(session.lengths, [2]);
    // 2 and 3 were drawn behind the stop in the same run.
    assert.equal(await text([], { repetitionPenalty: 100 }), [2, 3, 0], `${tokensPerRun} a run`);
    session.close();
  }
});

test("a run that goes on behind the capacity keeps other sequences as they are", async () => {
  const prompts = [Array.from({ length: 14 }, (_, i) => (3 * i + 1) % VOCABULARY), [2], [3, 4]];
  for (const on of [backend, background]) {
    const m = made(MODELS["multi-head attention with learned positions"], on);
    const text = async (seed, tokensPerRun) => {
      const session = await generator(m, { capacity: 16, batch: 3 });
      const o = { seed, tokensPerRun, temperature: 2 };
      const rows = [];
      // What reads the third token has no room for it; the loop is left when that may be under way.
      for await (const row of session.generate(prompts, { ...o, maxTokens: 3 })) if (rows.push(row) === 2) break;
      rows.push(...(await all(session.generate([[], [], []], o))));
      assert.equal(session.lengths, [17, 4, 5]);
      await refused(() => session.prefill([[1], [], []]), "ArgumentError", /are more than the capacity of 16/);
      session.close();
      return rows;
    };
    for (let seed = 0; seed < 20; seed++) {
      const want = await text(seed, 1);
      assert.equal(await text(seed, 2), want, `seed ${seed}`);
    }
  }
});

test("from token 2 to token 4,000 nothing is compiled, allocated or written: eight tokens are one run and one read", async () => {
  for (const options of [{}, { background: true, threads: 2 }]) {
    // One of its own, to which nothing goes back that other tests have left.
    const on = await open("wasm", { reproducible: true, ...options });
    const m = made(() => around([groupedQueryAttention(2, 2, 1, { useCausalMask: true, rotary: {} })]), on);
    const session = await generator(m, { capacity: 4096 });
    let [n, seen] = [0, null];
    const o = { maxTokens: 4000, topP: 0.9, topK: 10, repetitionPenalty: 1.1, tokensPerRun: 8 };
    for await (const t of session.generate([1, 2, 3], o)) {
      assert.ok(t >= 0 && t < VOCABULARY);
      if (++n === 2) seen = counting(m.backend);
    }
    assert.is(n, 4000);
    // Where the backend computes by itself the second run was under way when the first token came.
    const ahead = on.limits.asynchronous ? 1 : 0;
    assert.equal(seen.counts, { alloc: 0, free: 0, compile: 0, write: 0, read: 499, run: 499 - ahead });
    seen.stop();
    session.close();
    on.close();
  }
});

test("where the backend computes by itself the next run is enqueued before a run is read", async () => {
  const m = made(MODELS[GROUPED], background);
  const session = await generator(m, { capacity: 64 });
  await session.prefill([1, 2]);
  const order = [];
  for (const name of ["run", "read"]) {
    const method = background[name];
    background[name] = (...args) => {
      order.push(name);
      return method.apply(background, args);
    };
  }
  const text = session.generate([], { maxTokens: 12, tokensPerRun: 4 });
  for (let i = 0; i < 5; i++) await text.next();
  assert.equal(order, ["run", "read", "run", "read", "run"]);
  for (let i = 0; i < 8; i++) await text.next();
  assert.equal(order, ["run", "read", "run", "read", "run", "read"], "no run that nobody wants");
  for (const name of ["run", "read"]) delete background[name];
  session.close();
});

test("logits that are not finite are an error at the token that they would give, wherever it is in a run", async () => {
  const broken = table([[0, 9, 0, 0], [0, 0, 9, 0], [NaN, 0, 0, 0], [0, 0, 0, 9]]);
  for (const tokensPerRun of [1, 2, 3, 8]) {
    const given = [];
    const error = await errorOf(async () => {
      for await (const rows of generate(broken, [[3], [0]], { temperature: 0, maxTokens: 8, tokensPerRun })) given.push(rows);
    });
    assert.equal(given, [[3, 1], [3, 2]]);
    assert.is(error.name, "NonFiniteError");
    assert.match(error.message, /sequence 1 became NaN or infinite behind token 2/);
  }
});

test("memory goes back, a loop that is left keeps what it has given, and a signal ends it between two tokens of a run", async () => {
  for (const on of [backend, background]) {
    const m = made(MODELS[GROUPED], on);
    const o = { maxTokens: 10, tokensPerRun: 4, seed: 1 };
    const want = await all(generate(m, [1], o));
    const { counts, stop } = counting(on);
    for await (const t of generate(m, [1], o)) if (t >= 0) break;
    assert.is(counts.alloc, counts.free);
    stop();
    const session = await generator(m, { capacity: 64 });
    const control = new AbortController();
    const given = [];
    const error = await errorOf(async () => {
      for await (const t of session.generate([1], { ...o, signal: control.signal }))
        if (given.push(t) === 6) control.abort(new Error("enough"));
    });
    assert.is(error.message, "enough");
    assert.equal(given, want.slice(0, 6));
    assert.equal(session.lengths, [7]);
    session.close();
  }
});

test("numbers of tokens that cannot be are refused", async () => {
  const m = made(MODELS[GROUPED], backend);
  for (const tokensPerRun of [0, 1.5, "2"])
    await refused(() => all(generate(m, [1], { tokensPerRun })), "ArgumentError", /generate: tokensPerRun must be an integer >= 1/);
});

test.run();

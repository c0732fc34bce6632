/** Generation: caches against the whole forward pass, sampling against its definition, sessions, and that a token costs one run. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { assign } from "../../build/esm/graph.js";
import { open } from "../../build/esm/init.js";
import { Decoder } from "../../build/esm/model/decoder.js";
import { generate, generator } from "../../build/esm/model/generate.js";
import { sequential } from "../../build/esm/model/model.js";
import { Session } from "../../build/esm/model/session.js";
import * as nn from "../../build/esm/nn/index.js";
import { reshape } from "../../build/esm/ops/move.js";
import { zeros } from "../../build/esm/tensor.js";
import { sparseCategoricalCrossentropy } from "../../build/esm/train/losses.js";
import { adam } from "../../build/esm/train/optimizers.js";
import { referenceBackend } from "../reference/index.js";
import { errorOf } from "./helpers.js";
import { all, argMax, around, counting, fill, MODELS, refused, table, VOCABULARY, whole } from "./text.js";

const { embedding, groupedQueryAttention } = nn;
const backend = await open("wasm", { reproducible: true });
test.after(() => backend.close());

for (const [name, make] of Object.entries(MODELS)) {
  test(`${name}: every token and its logits are those of the whole forward pass`, async () => {
    // What a step computes is seen by an assignment that is traced with it.
    const seen = zeros([1, VOCABULARY]);
    const m = fill(make({ probe: (y) => y.shape[1] === 1 && assign(seen, reshape(y, [1, VOCABULARY])) }));
    const plain = make();
    await plain.predict([[1]]);
    plain.setWeights(m.weights.map((w) => w.tensor.host));
    const prompt = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3];
    const tokens = [...prompt];
    const logits = [];
    for await (const t of generate(m, prompt, { maxTokens: 30, temperature: 6, seed: 1 })) {
      tokens.push(t);
      logits.push(Array.from(await seen.data()));
    }
    assert.is(tokens.length, prompt.length + 30);
    const want = (await whole(plain, tokens)).slice(prompt.length - 1, -1);
    want.forEach((row, i) => {
      row.forEach((v, k) => assert.ok(Math.abs(v - logits[i][k]) < 1e-5, `token ${i}, logit ${k}: ${logits[i][k]}, expected ${v}`));
    });
    assert.ok(new Set(tokens.slice(prompt.length)).size > 4, "the text says something");
    // The likeliest token each time: its own text, of which each is the likeliest of the whole pass.
    const likeliest = [...prompt, ...(await all(generate(m, prompt, { maxTokens: 30, temperature: 0 })))];
    const rows = (await whole(plain, likeliest)).slice(prompt.length - 1, -1);
    assert.equal(likeliest.slice(prompt.length), rows.map(argMax));
  });

  test(`${name}: several sequences of other lengths, in the same run, on the float64 reference too`, async () => {
    const prompts = [
      [1],
      [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 1, 2, 3, 4, 5, 6, 7, 8],
      [5, 5, 5],
      Array.from({ length: 40 }, (_, i) => (i * 7) % 13),
    ];
    const m = fill(make());
    const texts = (rows) => prompts.map((_, b) => rows.map((row) => row[b]));
    const together = texts(await all(generate(m, prompts, { maxTokens: 12, temperature: 0 })));
    for (const [b, prompt] of prompts.entries())
      assert.equal(await all(generate(m, prompt, { maxTokens: 12, temperature: 0 })), together[b], `sequence ${b} alone`);
    const reference = referenceBackend();
    const again = make();
    await again.predict([[1]]);
    again.setWeights(m.weights.map((w) => w.tensor.host));
    again.moveTo(reference);
    assert.equal(texts(await all(generate(again, prompts, { maxTokens: 12, temperature: 0 }))), together);
    reference.close();
  });
}

test("prompts are read in chunks, after which all is as if they had been read at once", async () => {
  const m = fill(MODELS["grouped queries, turned, in a window"]());
  const prompt = Array.from({ length: 1300 }, (_, i) => (i * i + 3 * i) % VOCABULARY);
  const want = argMax((await whole(m, prompt)).at(-1));
  assert.equal(await all(generate(m, prompt, { maxTokens: 1, temperature: 0 })), [want]);
  const session = await generator(m, { capacity: 1400 });
  for (let at = 0, n = 1; at < prompt.length; at += n, n = (n * 3 + 1) % 211) await session.prefill(prompt.slice(at, at + n));
  assert.equal(session.lengths, [1300]);
  assert.equal(await all(session.generate([], { maxTokens: 1, temperature: 0 })), [want]);
});

const LOGITS = [2, 1, 0.5, 0, -0.5, -1, -3, 1.5];
const constant = table(LOGITS.map(() => LOGITS));
const shares = (logits) => {
  const e = logits.map(Math.exp);
  const sum = e.reduce((a, b) => a + b);
  return e.map((v) => v / sum);
};

const DRAWS = 4000;
/** How often each token comes, and that it comes about as often as it should. */
async function checkShares(options, kept, logits = LOGITS) {
  const counts = LOGITS.map(() => 0);
  for await (const t of generate(constant, [0], { maxTokens: DRAWS, seed: 5, ...options })) counts[t]++;
  const want = shares(logits.map((v, i) => (kept.includes(i) ? v : -Infinity)));
  counts.forEach((n, i) => {
    const spread = 4 * Math.sqrt(DRAWS * want[i] * (1 - want[i]));
    assert.ok(Math.abs(n - DRAWS * want[i]) <= spread, `${JSON.stringify(options)}: token ${i} came ${n} times of ${DRAWS * want[i]}`);
  });
}

test("tokens are drawn as often as temperature, top-k, top-p and min-p say", async () => {
  const everything = LOGITS.map((_, i) => i);
  await checkShares({}, everything);
  await checkShares(
    { temperature: 2 },
    everything,
    LOGITS.map((v) => v / 2),
  );
  await checkShares({ topK: 3 }, [0, 1, 7]);
  await checkShares({ topK: 1 }, [0]);
  await checkShares({ topK: 100 }, everything);
  // Shares 0.42, 0.26, 0.16, 0.09 ...: three are needed for 0.7, two for 0.6.
  await checkShares({ topP: 0.7 }, [0, 7, 1]);
  await checkShares({ topP: 0.6 }, [0, 7]);
  await checkShares({ topP: 1 }, everything);
  // Of the two likeliest the first has 0.62.
  await checkShares({ topK: 2, topP: 0.6 }, [0]);
  await checkShares({ minP: 0.2 }, [0, 1, 2, 7]);
  await checkShares({ minP: 1 }, [0]);
  await checkShares(
    { minP: 0.2, topK: 3, temperature: 0.5 },
    [0, 7],
    LOGITS.map((v) => v * 2),
  );
});

test("temperature 0 takes the likeliest, the first of equals", async () => {
  const m = table([[0, 1, 1], [2, 2, 0], [0, 0, 0]]);
  assert.equal(await all(generate(m, [0], { maxTokens: 4, temperature: 0 })), [1, 0, 1, 0]);
  assert.equal(await all(generate(m, [2], { maxTokens: 2, temperature: 0 })), [0, 1]);
});

test("temperatures next to nothing take the likeliest, and one beyond all numbers any", async () => {
  const m = table([[0, 1e5, -1e5], [7e4, 0, 0], [0, 0, 0]]);
  for (const temperature of [1e-30, 1e-37, 1e-40, 1e-300])
    assert.equal(await all(generate(m, [0], { maxTokens: 5, temperature })), [1, 0, 1, 0, 1], `${temperature}`);
  const counts = [0, 0, 0];
  for await (const t of generate(m, [0], { maxTokens: 300, temperature: 1e39 })) counts[t]++;
  assert.ok(
    counts.every((n) => n > 60),
    `${counts}`,
  );
});

test("repetition penalty divides positive logits of tokens seen, prompts included, and multiplies negative ones", async () => {
  const text = async (logits, prompt, repetitionPenalty, n) =>
    all(generate(table(logits.map(() => logits)), prompt, { maxTokens: n, temperature: 0, repetitionPenalty }));
  // 4, then 3 (4 / 2 = 2 < 3), then 2.5, then 4 / 2 = 2 again.
  assert.equal(await text([4, 3, 2.5, -1], [3], 2, 4), [0, 1, 2, 0]);
  assert.equal(await text([4, 3, 2.5, -1], [0], 2, 4), [1, 2, 0, 0]);
  // -1 becomes -2, behind -1.5.
  assert.equal(await text([-1, -1.5, -4], [2], 2, 3), [0, 1, 0]);
  assert.equal(await text([4, 3, 2.5, -1], [3], 1, 3), [0, 0, 0]);
});

test("the same seed gives the same text, another one another; options change it, and other numbers compile nothing", async () => {
  const m = fill(MODELS["grouped queries, turned, in a window"](), 0.3);
  const text = (o) => all(generate(m, [1, 2, 3], { maxTokens: 20, ...o }));
  const first = await text({ seed: 7 });
  // Programs that draw from all tokens do not look for the likeliest: the first text with such an option has one of its own.
  await text({ seed: 7, topK: 3 });
  const compiled = counting(m.backend);
  assert.equal(await text({ seed: 7 }), first);
  assert.not.equal(await text({ seed: 8 }), first);
  for (const o of [{ temperature: 0.3 }, { topK: 2 }, { topP: 0.5 }, { minP: 0.9 }, { repetitionPenalty: 50 }])
    assert.not.equal(await text({ seed: 7, ...o }), first, JSON.stringify(o));
  // What keeps all tokens draws the same.
  assert.equal(await text({ seed: 7, topK: 10_000 }), first);
  assert.is(compiled.counts.compile, 0);
  compiled.stop();
  // Of several sequences the first is as it is alone.
  const rows = await all(generate(m, [[1, 2, 3], [4]], { maxTokens: 20, seed: 7 }));
  assert.equal(
    rows.map((row) => row[0]),
    first,
  );
});

test("from token 2 to token 4,000 nothing is compiled, allocated or written: a token is one run and the read of its number", async () => {
  const m = fill(around([groupedQueryAttention(2, 2, 1, { useCausalMask: true, rotary: {} })]), 0.3);
  const session = await generator(m, { capacity: 4096 });
  let [n, seen] = [0, null];
  for await (const t of session.generate([1, 2, 3], { maxTokens: 4000, topP: 0.9, topK: 10, repetitionPenalty: 1.1 })) {
    assert.ok(t >= 0 && t < VOCABULARY);
    if (++n === 2) seen = counting(m.backend);
  }
  assert.is(n, 4000);
  assert.equal(seen.counts, { alloc: 0, free: 0, compile: 0, write: 0, read: 3998, run: 3998 });
  seen.stop();
  assert.equal(session.lengths, [4003]);
  session.close();
});

test("stops: a token, or several in a row; sequences that are complete stay so", async () => {
  const next = table([[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]]);
  const text = (prompt, stop, o) => all(generate(next, prompt, { temperature: 0, maxTokens: 9, stop, ...o }));
  assert.equal(await text([0], [3]), [1, 2, 3]);
  assert.equal(await text([0], [[3, 0], [0, 1, 2, 3]]), [1, 2, 3, 0]);
  assert.equal(await text([0], [[0, 1, 2, 3]]), [1, 2, 3, 0, 1, 2, 3]);
  assert.equal(await text([0], []), [1, 2, 3, 0, 1, 2, 3, 0, 1]);
  assert.equal(await text([[0], [2], [1]], [3]), [[1, 3, 2], [2, null, 3], [3, null, null]]);
  // A sequence of tokens does not count where it began in the prompt, nor in what an earlier call gave.
  assert.equal(await text([2, 3], [[3, 0]], { maxTokens: 5 }), [0, 1, 2, 3, 0]);
  const session = await generator(next, { capacity: 20 });
  const more = (prompt, stop) => all(session.generate(prompt, { temperature: 0, maxTokens: 5, stop }));
  assert.equal(await more([0], [3]), [1, 2, 3]);
  assert.equal(await more([], [[3, 0]]), [0, 1, 2, 3, 0]);
  assert.equal(await text([3], [0], { maxTokens: 1 }), [0]);
});

test("a beginning is read once: forks go on from it, sessions from what they have given", async () => {
  const m = fill(MODELS["multi-head attention with learned positions"]());
  const o = { maxTokens: 6, seed: 3 };
  const beginning = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
  const session = await generator(m, { capacity: 90 });
  await session.prefill(beginning);
  assert.equal(session.lengths, [10]);
  const forks = [await session.fork(), await session.fork()];
  const texts = [];
  for (const [i, fork] of forks.entries()) texts.push(await all(fork.generate([11, i], o)));
  assert.equal(texts[0], await all(generate(m, [...beginning, 11, 0], o)));
  assert.equal(texts[1], await all(generate(m, [...beginning, 11, 1], o)));
  // Two at a time, step by step.
  const [a, b] = [forks[0].generate([5], o), forks[1].generate([5], o)];
  const turns = [[], []];
  for (let i = 0; i < 6; i++) for (const [k, it] of [a, b].entries()) turns[k].push((await it.next()).value);
  for (const it of [a, b]) await it.return();
  assert.equal(turns[0], await all(generate(m, [...beginning, 11, 0, ...texts[0], 5], o)));
  assert.equal(turns[1], await all(generate(m, [...beginning, 11, 1, ...texts[1], 5], o)));
  // A loop that is left keeps what it has given.
  const begun = [];
  for await (const t of session.generate([12], o)) if (begun.push(t) === 2) break;
  assert.equal(session.lengths, [13]);
  assert.equal(
    await all(session.generate([], { ...o, temperature: 0 })),
    await all(generate(m, [...beginning, 12, ...begun], { ...o, temperature: 0 })),
  );
  session.reset();
  assert.equal(session.lengths, [0]);
  assert.equal(
    await all(session.generate([...beginning, 11, 0], { ...o, repetitionPenalty: 2 })),
    await all(generate(m, [...beginning, 11, 0], { ...o, repetitionPenalty: 2 })),
  );
  for (const s of [session, ...forks]) s.close();
});

test("one beginning for all sequences of a batch", async () => {
  const m = fill(MODELS["grouped queries, turned, in a window"]());
  const session = await generator(m, { capacity: 60, batch: 3 });
  await session.prefill([1, 2, 3, 4]);
  const ends = [[5], [6, 7, 8], []];
  const rows = await all(session.generate(ends, { maxTokens: 7, temperature: 0 }));
  for (const [b, end] of ends.entries())
    assert.equal(
      rows.map((row) => row[b]),
      await all(generate(m, [1, 2, 3, 4, ...end], { maxTokens: 7, temperature: 0 })),
    );
});

test("softmax at the end of a model is seen through", async () => {
  const e = embedding(3, 3);
  const m = sequential([e, nn.softmax()], { inputShape: [null] });
  e.weights[0].tensor.set(Float32Array.from([0, 9, 0, 0, 0, 9, 9, 0, 0]));
  assert.equal(
    await all(generate(m, [0], { maxTokens: 30, seed: 1 })),
    Array.from({ length: 30 }, (_, i) => (i + 1) % 3),
  );
});

test("keys and values as f16: logits are close to those of f32, in chunks and token by token, and caches half as large", async () => {
  const reference = referenceBackend();
  const tokens = Array.from({ length: 40 }, (_, i) => (i * i + 3 * i) % VOCABULARY);
  for (const [name, make] of Object.entries(MODELS)) {
    const texts = [];
    for (const on of [backend, reference]) {
      const m = make();
      m.build([[null]]);
      fill(m);
      m.moveTo(on);
      const logits = (cache, first) => new Session(new Decoder(m, on, 1, 64, VOCABULARY, cache)).logits(tokens, first, new Map());
      const [exact, ...rounded] = [await logits("f32", 30), await logits("f16", 30), await logits("f16", 37)];
      for (const list of rounded) {
        const apart = list.map((v, i) => Math.abs(v - exact[i])).reduce((a, b) => Math.max(a, b));
        assert.ok(apart > 1e-6 && apart < 2e-2, `${name}, ${on.name}: ${apart}`);
      }
      const { alloc } = on;
      const sizes = [];
      on.alloc = (bytes) => {
        sizes.push(bytes);
        return alloc.call(on, bytes);
      };
      texts.push(await all(generate(m, tokens, { maxTokens: 20, temperature: 0, cache: "f16" })));
      await all(generate(m, tokens, { maxTokens: 20, temperature: 0 }));
      delete on.alloc;
      // Of each call that attends keys and values, with room for 64 tokens.
      const caches = (bytes) => sizes.filter((n) => n === bytes).length;
      const words = 64 * 4 * [8, 4].find((n) => caches(64 * 4 * n) > 0);
      assert.ok(caches(words) >= 2 && caches(words / 2) >= 2, `${name}: ${sizes}`);
    }
    assert.equal(texts[0], texts[1]);
  }
  const m = fill(MODELS["grouped queries, turned, in a window"]());
  // A session has what it was made with, and so have its forks.
  const session = await generator(m, { capacity: 64, cache: "f16" });
  await session.prefill(tokens);
  const fork = await session.fork();
  const o = { maxTokens: 20, temperature: 0 };
  const [text] = [await all(session.generate([], { ...o, cache: "f16" })), session.close()];
  assert.equal(await all(generate(m, tokens, { ...o, cache: "f16" })), text);
  assert.equal(await all(fork.generate([], o)), text);
  await refused(
    () => all(fork.generate([1], { cache: "f32" })),
    "ArgumentError",
    /keeps keys and values as f16; make it with generator\(model/,
  );
  await refused(
    () => generator(m, { capacity: 9, cache: "f8" }),
    "ArgumentError",
    /^generator: cache must be one of "f32", "f16", got "f8"/,
  );
  await refused(() => all(generate(m, [1], { cache: 16 })), "ArgumentError", /^generate: cache must be one of "f32", "f16", got 16/);
  fork.close();
  reference.close();
});

test("keys and values beyond f16 are no numbers, and their logits are refused; heads of odd sizes keep f32", async () => {
  const attention = nn.multiHeadAttention(1, 4, { useCausalMask: true, useBias: false });
  const m = around([attention]);
  m.build([[null]]);
  fill(m);
  attention.weights.find(({ name }) => name === "valueKernel").tensor.set(new Float32Array(32).fill(1e6));
  const o = { maxTokens: 8, temperature: 0 };
  assert.is((await all(generate(m, [1, 2, 3, 4], o))).length, 8);
  await refused(() => all(generate(m, [1, 2, 3, 4], { ...o, cache: "f16" })), "NonFiniteError", /NaN or infinite behind token/);
  const odd = fill(around([groupedQueryAttention(6, 2, 1, { useCausalMask: true })]));
  assert.equal(await all(generate(odd, [1, 2], { ...o, cache: "f16" })), await all(generate(odd, [1, 2], o)));
});

test("memory goes back when the loop ends, is left, or fails, and a signal ends it", async () => {
  const m = fill(MODELS["grouped queries, turned, in a window"]());
  const o = { maxTokens: 5 };
  await all(generate(m, [1], o));
  const { counts, stop } = counting(m.backend);
  const balanced = (what) => assert.is(counts.alloc, counts.free, what);
  await all(generate(m, [1], o));
  assert.ok(counts.alloc > 0);
  balanced("at the end");
  for await (const t of generate(m, [1], o)) if (t >= 0) break;
  balanced("left");
  const control = new AbortController();
  const error = await errorOf(async () => {
    for await (const t of generate(m, [1], { ...o, signal: control.signal })) if (t >= 0) control.abort(new Error("enough"));
  });
  assert.is(error.message, "enough");
  balanced("aborted");
  const before = counts.run;
  assert.is((await errorOf(() => all(generate(m, [1], { signal: AbortSignal.abort(new Error("early")) })))).message, "early");
  assert.is(counts.run, before);
  stop();
});

test("weights that training has changed are read by the next token", async () => {
  const m = table([[0, 1, 0], [0, 1, 0], [0, 1, 0]]);
  const session = await generator(m, { capacity: 10 });
  assert.equal(await all(session.generate([0], { maxTokens: 2, temperature: 0 })), [1, 1]);
  m.setWeights([[[0, 0, 1], [0, 0, 1], [0, 0, 1]]]);
  assert.equal(await all(session.generate([], { maxTokens: 2, temperature: 0 })), [2, 2]);
});

test("a first text while the model is being trained is that of weights at some time", async () => {
  const m = around([nn.multiHeadAttention(2, 4, { useCausalMask: true })]);
  await m.compile({ loss: sparseCategoricalCrossentropy({ fromLogits: true }), optimizer: adam({ learningRate: 0.05 }), backend });
  const steps = Array.from({ length: 32 }, (_, row) => Array.from({ length: 8 }, (_, i) => (row + i) % VOCABULARY));
  const written = [];
  // The callback does not wait for it.
  const write = { onEpochEnd: () => void written.push(all(generate(m, [1], { maxTokens: 4 }))) };
  const next = steps.map((row) => row.map((t) => (t + 1) % VOCABULARY));
  await m.fit(steps, next, { epochs: 60, batchSize: 4, verbose: 0, callbacks: [write] });
  assert.ok((await Promise.all(written)).length === 60);
  assert.equal(await all(generate(m, [1], { maxTokens: 4, temperature: 0 })), [2, 3, 4, 5]);
});

test.run();

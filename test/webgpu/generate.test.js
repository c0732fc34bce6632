/** Generation on WebGPU: the text that the CPU writes, several sequences, forks, stops, and what four tokens of one run cost. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open } from "../../build/esm/init.js";
import { generate, generator } from "../../build/esm/model/generate.js";
import { model, sequential } from "../../build/esm/model/model.js";
import { dense, embedding, groupedQueryAttention, layerNorm } from "../../build/esm/nn/index.js";
import { add } from "../../build/esm/ops/map.js";
import { Random } from "../../build/esm/random.js";
import { openGpu } from "./gpu.js";

const VOCABULARY = 13;
const [cpu, gpu] = [await open("wasm"), await openGpu()];
test.after(() => [cpu, gpu].forEach((b) => b.close()));

function made(backend) {
  const [tokens, norm, head] = [embedding(VOCABULARY, 8), layerNorm(), dense(VOCABULARY)];
  const attending = [4, 40].map((window) => groupedQueryAttention(4, 4, 2, { useCausalMask: true, rotary: {}, slidingWindow: window }));
  const m = model((x) => head.call(attending.reduce((y, a) => add(y, a.call(norm.call(y))), tokens.call(x))), { inputShape: [null] });
  m.weights.forEach(({ tensor: t }, i) => t.set(new Random(11 + i).normal(t.size).map((v) => v * 0.6)));
  m.moveTo(backend);
  return m;
}
const all = async (iterator) => {
  const out = [];
  for await (const t of iterator) out.push(t);
  return out;
};

test("the text of several prompts is that of the CPU", async () => {
  const prompts = [[1], Array.from({ length: 30 }, (_, i) => (i * 7) % VOCABULARY), [5, 5, 5]];
  // Draws far apart: scores differ in their last bits between the two.
  for (const o of [
    { temperature: 0 },
    { temperature: 0, cache: "f16" },
    { temperature: 3, seed: 3, topK: 6, topP: 0.9, repetitionPenalty: 1.2 },
  ]) {
    const [want, got] = await Promise.all([cpu, gpu].map((b) => all(generate(made(b), prompts, { maxTokens: 20, ...o }))));
    assert.equal(got, want);
    for (const tokensPerRun of o.cache ? [] : [1, 7])
      assert.equal(await all(generate(made(gpu), prompts, { maxTokens: 20, ...o, tokensPerRun })), want);
    if (o.temperature > 0) assert.ok(new Set(want.flat()).size > 4, `${want}`);
  }
});

test("forks go on by themselves; a run of tokens compiles, allocates and writes nothing", async () => {
  const m = made(gpu);
  const session = await generator(m, { capacity: 100 });
  await session.prefill([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  const fork = await session.fork();
  const counts = { alloc: 0, free: 0, compile: 0, write: 0, read: 0, run: 0 };
  let n = 0;
  const tokens = [];
  for await (const t of session.generate([10], { maxTokens: 40, seed: 2 })) {
    tokens.push(t);
    if (++n !== 2) continue;
    for (const name of Object.keys(counts)) {
      const method = gpu[name];
      gpu[name] = (...args) => {
        counts[name]++;
        return method.apply(gpu, args);
      };
    }
  }
  // The second run was under way when the first token came.
  assert.equal(counts, { alloc: 0, free: 0, compile: 0, write: 0, read: 8, run: 8 });
  for (const name of Object.keys(counts)) delete gpu[name];
  assert.equal(await all(fork.generate([10], { maxTokens: 40, seed: 2 })), tokens);
  for (const s of [session, fork]) s.close();
});

test("the next run's tokens are on their way while those of one are given, and a loop that is left leaves nothing", async () => {
  const m = made(gpu);
  const [prompt, o] = [[1, 2, 3], { maxTokens: 24, seed: 2 }];
  const want = await all(generate(m, prompt, { ...o, tokensPerRun: 1 }));
  assert.equal(await all(generate(m, prompt, o)), want);
  const counts = { alloc: 0, free: 0, run: 0, open: 0 };
  for (const name of ["alloc", "free", "run", "read"]) {
    const method = gpu[name];
    gpu[name] = (...args) => {
      const result = method.apply(gpu, args);
      if (name !== "read") counts[name]++;
      else {
        counts.open++;
        const end = () => counts.open--;
        result.then(end, end);
      }
      return result;
    };
  }
  const tokens = [];
  for await (const t of generate(m, prompt, o)) {
    // Of the second run: the third was enqueued before.
    if (tokens.push(t) === 5) assert.is(counts.open, 1);
    if (tokens.length === 6) break;
  }
  assert.equal(tokens, want.slice(0, 6));
  const { run } = counts;
  await gpu.sync();
  while (counts.open > 0) await new Promise((done) => setTimeout(done));
  assert.is(counts.alloc, counts.free);
  assert.is(counts.run, run, "nothing is enqueued behind the end");
  for (const name of ["alloc", "free", "run", "read"]) delete gpu[name];
});

test("behind a stop in the middle of a run texts go on as with one token a run", async () => {
  const m = made(gpu);
  const text = async (tokensPerRun) => {
    const session = await generator(m, { capacity: 60 });
    const o = { tokensPerRun, temperature: 2, repetitionPenalty: 2, maxTokens: 9 };
    const said = [];
    for (const [seed, prompt] of [[1, 2, 3], [], [4], [5, 6]].entries())
      said.push(await all(session.generate(prompt, { ...o, seed, stop: seed === 0 ? [0, 1, 2, 3, 4, 5] : [6, 7, 8] })), session.lengths[0]);
    session.close();
    return said;
  };
  const want = await text(1);
  assert.ok(
    want.some((part) => part.length < 9 && part.length % 4 !== 0),
    "a stop in the middle of a run",
  );
  for (const n of [3, 4]) assert.equal(await text(n), want);
});

test("with temporaries of f16 logits are f32 all the same, for any number of tokens a run", async () => {
  const half = await openGpu({ storage: "f16" });
  const [words, best] = [2048, 1234];
  const m = sequential([embedding(words, 1), dense(words)], { inputShape: [null] });
  m.build([[null]]);
  // All alike in f16.
  const logits = Float32Array.from({ length: words }, (_, i) => (i === best ? 10.001 : 10));
  [new Float32Array(words).fill(1), logits, new Float32Array(words)].forEach((values, i) => m.weights[i].tensor.set(values));
  m.moveTo(half);
  for (const tokensPerRun of [1, 4])
    assert.equal(await all(generate(m, [1, 2, 3], { maxTokens: 4, temperature: 0, tokensPerRun })), [best, best, best, best]);
  half.close();
});

test.run();

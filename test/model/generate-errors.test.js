/** What cannot be generated: models, prompts and options, each with an error that says why and what to do. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open } from "../../build/esm/init.js";
import { generate, generator } from "../../build/esm/model/generate.js";
import { model, sequential } from "../../build/esm/model/model.js";
import * as nn from "../../build/esm/nn/index.js";
import { mean } from "../../build/esm/ops/composite.js";
import { add, mul } from "../../build/esm/ops/map.js";
import { checkpoint, scan } from "../../build/esm/ops/scan.js";
import { all, argMax, fill, MODELS, refused, table, VOCABULARY, whole } from "./text.js";

const { dense, embedding, layerNorm, multiHeadAttention } = nn;
const backend = await open("wasm", { reproducible: true });
test.after(() => backend.close());

test("layers that take several steps together are refused by name", async () => {
  const of =
    (...layers) =>
    () =>
      all(generate(sequential([embedding(5, 4), ...layers], { inputShape: [null] }), [1]));
  await refused(
    of(nn.lstm(4, { returnSequences: true, name: "memory" })),
    "LockstepError",
    /layer "memory" is lstm, which takes several steps/,
  );
  await refused(of(nn.conv1d(4, 3, { padding: "causal", name: "near" })), "LockstepError", /layer "near" is conv1d/);
  await refused(of(nn.bidirectional(nn.gru(2, { returnSequences: true }))), "LockstepError", /layer "bidirectional" is bidirectional/);
  await refused(
    () => all(generate(sequential([embedding(5, 4), layerNorm({ axis: [1, 2], name: "both" })], { inputShape: [6] }), [1])),
    "LockstepError",
    /layer "both" works along axis \[1,2\]/,
  );
  await refused(of(nn.softmax({ axis: 1 })), "LockstepError", /layer "softmax" works along axis 1/);
  await refused(
    of(multiHeadAttention(2, 2, { name: "all" })),
    "LockstepError",
    /layer "all": it attends to later steps.*useCausalMask: true/,
  );
  await refused(
    () =>
      all(
        generate(
          sequential([embedding(5, 4, { maskZero: true }), multiHeadAttention(2, 2, { useCausalMask: true })], { inputShape: [null] }),
          [1],
        ),
      ),
    "LockstepError",
    /steps with a mask cannot be generated/,
  );
  const inner = sequential([nn.simpleRnn(4, { returnSequences: true, name: "inside" })], { inputShape: [null, 4], name: "nested" });
  await refused(of(inner), "LockstepError", /layer "inside" is simpleRnn/);
});

test("functions that take several steps together are found out, in a model's function and in a list of layers", async () => {
  const [e, d] = [embedding(5, 4), dense(5)];
  const together = (x) => add(x, mean(x, { axis: 1, keepDims: true }));
  const apart = (x) => mul(x, 2);
  const of = (fn) => [model((x) => d.call(fn(e.call(x))), { inputShape: [null] }), sequential([e, fn, d], { inputShape: [null] })];
  for (const m of of(together))
    await refused(() => all(generate(fill(m), [1])), "LockstepError", /gives other logits when it reads tokens a few/);
  await refused(() => all(generate(of(together)[1], [1])), "LockstepError", /or one of the layers "together", takes several steps/);
  for (const m of of(apart)) assert.is((await all(generate(m, [1], { maxTokens: 3 }))).length, 3);
});

test("models of other shapes, prompts and options that cannot be, and texts that are too long are refused", async () => {
  const m = MODELS["multi-head attention with learned positions"]();
  const text = (prompt, o) => () => all(generate(m, prompt, o));
  await refused(
    () => all(generate(sequential([dense(2)], { inputShape: [4] }), [1])),
    "ShapeError",
    /expected a model from tokens \[batch, time\]/,
  );
  await refused(() => all(generate({}, [1])), "ArgumentError", /expected a model that sequential\(\)/);
  await refused(text([13]), "DataError", /tokens are integers from 0 to 12, got 13 at place 0/);
  await refused(text([1, 0.5]), "DataError", /got 0.5 at place 1/);
  await refused(text([]), "ArgumentError", /sequence 0 has no token yet/);
  await refused(text("abc"), "ArgumentError", /expected a list of tokens/);
  await refused(text([[1], []]), "ArgumentError", /sequence 1 has no token yet/);
  await refused(text([1, 2], { maxTokens: 96 }), "ArgumentError", /2 tokens and 96 to be generated are more than the 96 positions/);
  assert.is((await all(generate(m, [1, 2], { maxTokens: 95 }))).length, 95);
  assert.is((await all(generate(m, [1, 2]))).length, 95);
  for (const [o, message] of [
    [{ temperature: -1 }, /temperature must be a number >= 0/],
    [{ topK: 0 }, /topK must be an integer >= 1/],
    [{ topP: 0 }, /topP must be a number in \(0, 1\]/],
    [{ minP: 2 }, /minP must be a number in \[0, 1\]/],
    [{ repetitionPenalty: 0 }, /repetitionPenalty must be a number >= 0.000001, got 0/],
    [{ repetitionPenalty: 1e-40 }, /repetitionPenalty must be a number >= 0.000001, got 1e-40/],
    [{ maxTokens: 0 }, /maxTokens must be an integer >= 1/],
    [{ stop: [[]] }, /stop must be a list/],
    [{ stop: [2, 13] }, /generate: stop must have tokens of the vocabulary, integers from 0 to 12, got 13/],
    [{ stop: [[1, 2], [3, -1]] }, /integers from 0 to 12, got -1/],
    [{ top_k: 3 }, /unknown option "top_k"; did you mean "topK"/],
  ])
    await refused(text([1], o), "ArgumentError", message);
  const session = await generator(m, { capacity: 20, batch: 2 });
  await refused(() => all(session.generate([1])), "ArgumentError", /give 2 prompts/);
  await refused(() => session.prefill([[1], [2], [3]]), "ArgumentError", /expected prompts for 2 sequences, got 3/);
  await refused(
    () => session.prefill(new Array(21).fill(1)),
    "ArgumentError",
    /21 tokens are more than the capacity of 20; make the generator/,
  );
  const going = session.generate([[1], [2]], { maxTokens: 3 });
  await going.next();
  await refused(() => session.prefill([1]), "LockstepError", /the session is reading or generating/);
  await going.return();
  await refused(
    () => all(session.generate([[1], [2]], { maxTokens: 19 })),
    "ArgumentError",
    /3 tokens and 19 to be generated.*capacity: 21,/,
  );
  session.close();
  await refused(() => session.prefill([1]), "LockstepError", /the session is closed/);
  await refused(
    () => generator(m, { capacity: 97 }),
    "ArgumentError",
    /generator: a capacity of 97 is more than the 96 positions of model "model"; give at most capacity: 96/,
  );
  await refused(
    text(new Array(97).fill(1)),
    "ArgumentError",
    /generate: a prompt of 97 tokens is longer than the 96 positions of model "model"; give the end of it, as prompt.slice\(-48\)/,
  );
  assert.is((await all(generate(m, new Array(96).fill(1)))).length, 1);
  await refused(() => generator(m, {}), "ArgumentError", /capacity must be an integer/);
  const broken = table([[0, NaN], [NaN, NaN]]);
  await refused(
    () => all(generate(broken, [1], { temperature: 0 })),
    "NonFiniteError",
    /logits of sequence 0 became NaN or infinite behind token 0/,
  );
});

/** A model with attention in what `repeat` makes of it. */
const repeating = (repeat) => {
  const [e, places, attention, head] = [embedding(VOCABULARY, 8), nn.positionEmbedding(40), multiHeadAttention(2, 4), dense(VOCABULARY)];
  const attend = (x) => add(x, attention.call(x, null, null, { useCausalMask: true }));
  return fill(
    model(
      (x) => {
        const y = e.call(x);
        return head.call(repeat(attend, add(y, places.call(y))));
      },
      { inputShape: [null] },
    ),
  );
};

test("attention in a loop of several steps is refused, and in a checkpoint it is not", async () => {
  await refused(
    () =>
      all(
        generate(
          repeating((attend, x) => scan((y) => [attend(y), null], x, null, { length: 3 })[0]),
          [1],
        ),
      ),
    "LockstepError",
    /layer "multiHeadAttention": it is called in a scan of 3 steps.*layerStack\(layer, count\)/,
  );
  const m = repeating((attend, x) => checkpoint((y) => attend(checkpoint(attend)(y)))(x));
  for (const tokensPerRun of [1, 3]) {
    const tokens = [1, 2, 3];
    for await (const t of generate(m, [...tokens], { maxTokens: 8, temperature: 0, tokensPerRun })) tokens.push(t);
    assert.equal(tokens.slice(3), (await whole(m, tokens)).slice(2, -1).map(argMax));
  }
});

test("a model that was disposed writes no more, nor do its sessions", async () => {
  const m = fill(MODELS["grouped queries, turned, in a window"]());
  const session = await generator(m, { capacity: 20 });
  const going = (await session.fork()).generate([1], { maxTokens: 9 });
  await going.next();
  m.dispose();
  const message = /: model "model" was disposed; load or build it again/;
  await refused(() => going.next(), "LockstepError", message);
  await refused(() => all(session.generate([1])), "LockstepError", message);
  await refused(() => session.prefill([1]), "LockstepError", message);
  await refused(() => all(generate(m, [1])), "LockstepError", message);
  await refused(() => generator(m, { capacity: 9 }), "LockstepError", message);
  session.close();
});

test.run();

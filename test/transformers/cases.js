/**
 * @file Checkpoints with what a float64 reference of Hugging Face's architectures gives for them: the same checks for every backend.
 */
import * as assert from "uvu/assert";
import { tensor } from "../../build/esm/index.js";
import { loadPretrained } from "../../build/esm/transformers/index.js";
import { json, modelPath } from "../models/index.js";

/** @throws unless `got` has the numbers of `expected`, nested lists, within `atol`. */
export function near(got, expected, atol, what) {
  const want = expected.flat(Infinity);
  assert.is(got.length, want.length, `${what}: number of elements`);
  const worst = want.reduce((most, v, i) => (Math.abs(got[i] - v) <= most ? most : Math.abs(got[i] - v)), 0);
  assert.ok(worst <= atol, `${what}: off by ${worst}, at most ${atol} is allowed`);
}

async function checkText(lm, { input_ids: ids, logits, atol }) {
  const y = await lm.logits(ids);
  assert.equal(y.shape, [ids.length, logits[0].length]);
  near(await y.data(), logits, atol, "logits");
}

async function checkEncoder(bert, golden) {
  const { input_ids: inputIds, token_type_ids: tokenTypeIds, attention_mask: attentionMask } = golden;
  const { lastHiddenState, poolerOutput } = await bert.encode({ inputIds, tokenTypeIds, attentionMask });
  const counted = (rows) => attentionMask.flatMap((mask, b) => mask.flatMap((one, t) => (one ? [rows[b][t]] : [])));
  near(counted(await lastHiddenState.array()).flat(), counted(golden.last_hidden_state), golden.atol, "lastHiddenState");
  near(await poolerOutput.data(), golden.pooler_output, golden.atol, "poolerOutput");
}

async function checkImage(vit, { pixel_values: pixels, pixel_values_shape: shape, logits, atol }) {
  near(await (await vit.logits(tensor(Float32Array.from(pixels), shape))).data(), logits, atol, "logits");
}

/** Folders of checkpoints that are there, each with its check. */
export const checkpoints = ["llama", "llama-rope-scaled", "qwen2-bf16-sharded", "qwen3", "gpt2", "bert", "vit"].flatMap((name) => {
  const folder = modelPath(`hf/${name}`);
  const check = { bert: checkEncoder, vit: checkImage }[name] ?? checkText;
  return folder === null ? [] : [{ name, folder, check: (model) => check(model, json(`${folder}/golden.json`)) }];
});

/** Mean negative log likelihood of each id behind those before it. */
export async function meanNll(lm, ids) {
  const y = await lm.logits(ids);
  const [, vocabulary] = y.shape;
  const data = await y.data();
  let sum = 0;
  for (let t = 0; t + 1 < ids.length; t++) {
    const row = data.subarray(t * vocabulary, (t + 1) * vocabulary);
    const most = row.reduce((a, b) => Math.max(a, b));
    sum += Math.log(row.reduce((a, v) => a + Math.exp(v - most), 0)) + most - row[ids[t + 1]];
  }
  return sum / (ids.length - 1);
}

/** The trained Llama: null where it is not there. */
export const stories = modelPath("llama/stories260K");

/** Tokenization, logits, greedy text of at most `most` tokens, and likelihood of the trained Llama on `backend`. */
export async function checkStories(backend, most = Infinity) {
  const golden = json(`${stories}/golden.json`);
  const lm = await loadPretrained(stories, { backend });
  for (const { prompt, prompt_ids: promptIds, greedy_ids: greedyIds, text, first_logits: logits } of golden.cases) {
    assert.equal(lm.tokenizer.encode(prompt), promptIds);
    const y = await (await lm.logits(promptIds)).data();
    near(y.slice(-logits.length), [logits], 1e-4, "logits");
    const [ids, texts] = [[], [prompt]];
    const maxTokens = Math.min(most, greedyIds.length);
    for await (const token of lm.generate(prompt, { maxTokens })) {
      ids.push(token.id);
      texts.push(token.text);
    }
    assert.equal(ids, greedyIds.slice(0, maxTokens));
    assert.ok(maxTokens < greedyIds.length ? text.startsWith(texts.join("")) : text === texts.join(""), texts.join(""));
  }
  const nll = await meanNll(lm, golden.nll.ids);
  assert.ok(Math.abs(nll - golden.nll.mean_nll) < 1e-4, `${nll}, expected ${golden.nll.mean_nll}`);
  lm.dispose();
}

/** GGUF files of the trained Llama that are there with their reference. */
export const ggufs = ["f16", "q8_0", "q4_0"].flatMap((type) => {
  const [file, golden] = ["gguf", "json"].map((end) => modelPath(`gguf/stories260K-${type}.${end}`));
  return file === null || golden === null ? [] : [{ type, file, golden }];
});

/** @throws unless each row points where that of the reference does, and is largest at the same place. */
function agree(got, expected) {
  const width = expected[0].length;
  expected.forEach((want, t) => {
    const row = got.subarray(t * width, (t + 1) * width);
    const dot = (a, b) => a.reduce((sum, v, i) => sum + v * b[i], 0);
    const cosine = dot(want, row) / Math.sqrt(dot(want, want) * dot([...row], row));
    assert.ok(cosine >= 0.9995, `token ${t}: cosine ${cosine}`);
    assert.is(row.indexOf(Math.max(...row)), want.indexOf(Math.max(...want)), `token ${t}: the largest logit`);
  });
}

/** Logits over the weights, as f32 and as the file has them, and the tokenizer of the metadata. */
export async function checkGguf({ file, golden: path }, backend) {
  const golden = json(path);
  for (const weights of ["f32", "stored"]) {
    const lm = await loadPretrained(file, { backend, weights });
    const logits = await (await lm.logits(golden.input_ids)).data();
    if (weights === "f32") near(logits, golden.logits, 2e-4, "logits");
    else agree(logits, golden.logits);
    const nll = await meanNll(lm, golden.input_ids);
    assert.ok(Math.abs(nll - golden.mean_nll) < (weights === "f32" ? 1e-4 : 0.01), `${weights}: ${nll}, expected ${golden.mean_nll}`);
    assert.equal(lm.tokenizer.encode(golden.prompt), golden.prompt_ids);
    lm.dispose();
  }
}

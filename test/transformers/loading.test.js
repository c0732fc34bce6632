/** How checkpoints are read: over the network, in pieces, with progress, a signal, a cache and what errors say before weights are read. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ArgumentError, BackendError, FileError, open } from "../../build/esm/index.js";
import { openSafetensors, readSafetensors, writeSafetensors } from "../../build/esm/safetensors/index.js";
import { loadPretrained } from "../../build/esm/transformers/index.js";
import { json, modelPath } from "../models/index.js";
import { near } from "./cases.js";

const backend = await open("wasm");
test.after(() => backend.close());

const rejected = async (action, type, ...parts) => {
  const error = await action().then(
    () => null,
    (e) => e,
  );
  assert.instance(error, type, String(error?.stack));
  for (const part of parts) assert.ok(error.message.includes(part), `"${error.message}" lacks "${part}"`);
};

const qwen2 = modelPath("hf/qwen2-bf16-sharded");
const gpt2 = modelPath("hf/gpt2");
const golden = json(`${qwen2}/golden.json`);
const check = async (lm) => near(await (await lm.logits(golden.input_ids)).data(), golden.logits, golden.atol, "logits");

/** Serves a folder while `work` runs; `requests` are noted. */
async function served(folder, { ranges = true } = {}, work) {
  const requests = [];
  const server = createServer((request, response) => {
    const name = decodeURIComponent(request.url.slice(1));
    requests.push({ name, range: request.headers.range });
    const path = join(folder, name);
    if (!existsSync(path)) return response.writeHead(404).end("no");
    const bytes = readFileSync(path);
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    const etag = `"${bytes.length}"`;
    if (!ranges || from === undefined) return response.writeHead(200, { etag, "content-length": bytes.length }).end(bytes);
    const part = bytes.subarray(Number(from), Number(to) + 1);
    response.writeHead(206, { etag, "content-range": `bytes ${from}-${Number(from) + part.length - 1}/${bytes.length}` }).end(part);
  });
  await new Promise((done) => server.listen(0, done));
  let closed = null;
  const stop = () => (closed ??= new Promise((done) => (server.closeAllConnections(), server.close(done))));
  try {
    return await work(`http://localhost:${server.address().port}`, requests, stop);
  } finally {
    await stop();
  }
}

test("over the network, with ranges and without, with a slash and without", async () => {
  for (const ranges of [true, false])
    await served(qwen2, { ranges }, async (base) => {
      await check(await loadPretrained(base));
      await check(await loadPretrained(new URL(`${base}/`)));
    });
});

test("a server without ranges: answers are read as they come, one at a time, each file again at most once", async () => {
  await served(qwen2, { ranges: false }, async (base, requests) => {
    await check(await loadPretrained(base));
    const counts = Object.fromEntries(requests.map(({ name }) => [name, requests.filter((r) => r.name === name).length]));
    for (const [name, count] of Object.entries(counts)) assert.ok(count <= 2, `${name}: ${count} requests`);
    const folder = mkdtempSync(join(tmpdir(), "lockstep-cache-"));
    try {
      for (let i = 0; i < 2; i++) await check(await loadPretrained(base, { cache: folder }));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

test("a GGUF file at an address: with ranges the parts that are needed, without as it comes", async () => {
  const [folder, name] = [dirname(modelPath("gguf/stories260K-q4_0.gguf")), "stories260K-q4_0.gguf"];
  for (const ranges of [true, false])
    await served(folder, { ranges }, async (base, requests) => {
      const lm = await loadPretrained(`${base}/${name}`, { task: "text-generation" });
      let text = "";
      for await (const t of lm.generate("Once upon a time", { maxTokens: 8 })) text += t.text;
      assert.is(text, ", there was a little girl");
      if (!ranges) assert.ok(requests.length <= 2, `${requests.length} requests`);
      else assert.ok(requests.every(({ range }) => range !== undefined));
    });
});

test("a signal ends what is under way over the network, with its reason", async () => {
  for (const ranges of [true, false])
    await served(qwen2, { ranges }, async (base) => {
      const reason = new Error("enough");
      const controller = new AbortController();
      const onProgress = () => controller.abort(reason);
      await loadPretrained(base, { signal: controller.signal, onProgress }).then(assert.unreachable, (e) => assert.is(e, reason));
      const other = new AbortController();
      setTimeout(() => other.abort(reason), 5);
      await loadPretrained(base, { signal: other.signal }).then(assert.unreachable, (e) => assert.is(e, reason));
    });
});

test("progress is told of every tensor, up to all bytes", async () => {
  const told = [];
  await loadPretrained(qwen2, { onProgress: (p) => told.push(p) });
  const { total } = told[0];
  const bytes = [1, 2, 3].map(async (i) => {
    const file = await openSafetensors(`${qwen2}/model-0000${i}-of-00003.safetensors`);
    return [...file.tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  });
  assert.is(
    total,
    (await Promise.all(bytes)).reduce((a, b) => a + b),
  );
  assert.ok(told.every((p, i) => p.total === total && p.loaded > (told[i - 1]?.loaded ?? 0)));
  assert.is(told.at(-1).loaded, total);
  assert.ok(new Set(told.map((p) => p.tensor)).size >= 38);
});

test("a signal ends loading with its reason, before and on the way, and what was read is freed", async () => {
  const reason = new Error("enough");
  await loadPretrained(qwen2, { signal: AbortSignal.abort(reason) }).then(assert.unreachable, (e) => assert.is(e, reason));
  const own = await open("wasm");
  const before = own.memory().bytes;
  for (const at of [1, 10]) {
    const controller = new AbortController();
    let n = 0;
    const onProgress = () => ++n === at && controller.abort(reason);
    await loadPretrained(qwen2, { signal: controller.signal, onProgress, backend: own }).then(assert.unreachable, (e) =>
      assert.is(e, reason),
    );
  }
  assert.equal(own.memory().bytes, before);
  own.close();
});

test("files are read in pieces that are a small part of them", async () => {
  const sizes = [];
  const bytes = readFileSync(`${gpt2}/model.safetensors`);
  const read = (begin, end) => (sizes.push(end - begin), new Uint8Array(bytes.subarray(begin, end)));
  await loadPretrained({
    "config.json": `${gpt2}/config.json`,
    "model.safetensors": { name: "model.safetensors", size: bytes.length, read },
  });
  // First comes the header, with as much as most of them have.
  assert.is(sizes[0], 2 ** 16);
  assert.ok(
    sizes.slice(1).every((n) => n <= 2 ** 14),
    `${Math.max(...sizes.slice(1))} bytes at once`,
  );
});

test("a cache: the second time nothing but beginnings is asked for, without a server it is what was there, changes are seen", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-cache-"));
  try {
    await served(qwen2, {}, async (base, requests, stop) => {
      await check(await loadPretrained(base, { cache: folder }));
      const first = requests.length;
      await check(await loadPretrained(base, { cache: folder }));
      assert.ok(requests.slice(first).every(({ range }) => range === "bytes=0-65535"));
      await stop();
      await check(await loadPretrained(base, { cache: folder }));
      await rejected(() => loadPretrained(base), FileError, "cannot read");
    });
    assert.ok(readdirSync(folder).length >= 6);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("weights that do not fit are refused with the numbers, before they are read", async () => {
  const small = await open("wasm", { maxBytes: 4 * 2 ** 20, threads: 1 });
  const config = { ...json(`${gpt2}/config.json`), vocab_size: 40000 };
  const { tensors } = await readSafetensors(`${gpt2}/model.safetensors`);
  tensors.set("wte.weight", { dtype: "F32", shape: [40000, 32], data: new Float32Array(40000 * 32) });
  const file = await writeSafetensors(Object.fromEntries([...tensors].map(([name, { shape, data }]) => [name, { shape, data }])));
  const files = { "config.json": new TextEncoder().encode(JSON.stringify(config)), "model.safetensors": file };
  await rejected(() => loadPretrained(files, { backend: small }), BackendError, "5120000 bytes", "4194304");
  small.close();
});

/** Files of a folder with another configuration and other tensors. */
async function changed(folder, fields, change = () => {}) {
  const { tensors } = await readSafetensors(`${folder}/model.safetensors`);
  change(tensors);
  return {
    "config.json": new TextEncoder().encode(JSON.stringify({ ...json(`${folder}/config.json`), ...fields })),
    "model.safetensors": await writeSafetensors(Object.fromEntries([...tensors].map(([name, { shape, data }]) => [name, { shape, data }]))),
  };
}

const llama = modelPath("hf/llama-rope-scaled");
const bert = modelPath("hf/bert");

const REFUSED = [
  ["another architecture", llama, { model_type: "mamba" }, "model_type", "mamba", "llama"],
  ["another class", llama, { architectures: ["LlamaForSequenceClassification"] }, "architectures"],
  ["weights in another program's few bits", llama, { quantization_config: { quant_method: "gptq" } }, "quantization_config"],
  ["another rope type", llama, { rope_scaling: { rope_type: "ntk", factor: 4 } }, "rope_type", '"ntk"'],
  ["another rope type, old form", llama, { rope_scaling: { type: "su", factor: 4 } }, "type", '"su"'],
  ["another rope type, new form", llama, { rope_parameters: { rope_theta: 1e4, rope_type: "proportional" } }, "proportional"],
  ["another activation", llama, { hidden_act: "quick_gelu" }, "hidden_act", "quick_gelu"],
  ["a size that is none", llama, { hidden_size: "32" }, "hidden_size", "32"],
  ["heads that are no groups", llama, { num_key_value_heads: 3 }, "num_key_value_heads"],
  ["another activation of GPT-2", gpt2, { activation_function: "mish" }, "activation_function", "mish"],
  ["another scaling of GPT-2's scores", gpt2, { scale_attn_by_inverse_layer_idx: true }, "scale_attn_by_inverse_layer_idx"],
  ["relative positions", bert, { position_embedding_type: "relative_key" }, "position_embedding_type"],
  ["another vocabulary", gpt2, { vocab_size: 98 }, "wte.weight", "[99, 32]", "[98, 32]"],
  ["more layers than there are", gpt2, { n_layer: 3 }, "transformer.h.2."],
  ["fewer layers than there are", gpt2, { n_layer: 1 }, "h.1."],
];
for (const [what, folder, fields, ...parts] of REFUSED)
  test(`refused by name, before weights are read: ${what}`, async () => {
    let read = 0;
    const files = await changed(folder, fields);
    await rejected(() => loadPretrained(files, { onProgress: () => read++ }), FileError, ...parts);
    assert.is(read, 0);
  });

test("tensors that are missing, unknown or of another dtype are named", async () => {
  await rejected(
    async () => loadPretrained(await changed(gpt2, {}, (t) => t.delete("h.0.ln_1.bias"))),
    FileError,
    "transformer.h.0.ln_1.bias",
  );
  const extra = (t) => t.set("h.0.adapter.weight", t.get("ln_f.bias"));
  await rejected(async () => loadPretrained(await changed(gpt2, {}, extra)), FileError, "h.0.adapter.weight", "no use");
  const ints = (t) => t.set("ln_f.bias", { shape: [32], data: new Int32Array(32) });
  await rejected(async () => loadPretrained(await changed(gpt2, {}, ints)), FileError, "ln_f.bias", "I32");
});

test("what older files have besides is passed over: prefixes, masks, tied heads, gamma and beta, heads of pretraining", async () => {
  const other = json(`${gpt2}/golden.json`);
  const lm = await loadPretrained(
    await changed(gpt2, {}, (t) => {
      for (const [name, value] of [...t]) (t.delete(name), t.set(`transformer.${name}`, value));
      t.set("transformer.h.0.attn.bias", { shape: [1, 1, 4, 4], data: new Float32Array(16) });
      t.set("lm_head.weight", t.get("transformer.wte.weight"));
    }),
  );
  near(await (await lm.logits(other.input_ids)).data(), other.logits, other.atol, "logits");
  const encoder = await loadPretrained(
    await changed(bert, {}, (t) => {
      for (const [name, value] of [...t]) {
        t.delete(name);
        const plain = name.replace(/^bert\./, "");
        if (plain.startsWith("pooler")) continue;
        t.set(plain.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"), value);
      }
      t.set("cls.predictions.bias", { shape: [100], data: new Float32Array(100) });
      t.set("embeddings.position_ids", { shape: [1, 48], data: new Int32Array(48) });
    }),
  );
  const { input_ids: inputIds, attention_mask: attentionMask, token_type_ids: tokenTypeIds, ...want } = json(`${bert}/golden.json`);
  const { lastHiddenState, poolerOutput } = await encoder.encode({ inputIds, attentionMask, tokenTypeIds });
  assert.is(poolerOutput, null);
  near((await lastHiddenState.array())[0].flat(), want.last_hidden_state[0], want.atol, "lastHiddenState");
});

test("an index that leaves its folder, names nothing, or what is not there", async () => {
  const files = (map) => ({
    "config.json": readFileSync(`${qwen2}/config.json`),
    "model-00001-of-00003.safetensors": readFileSync(`${qwen2}/model-00001-of-00003.safetensors`),
    "model.safetensors.index.json": new TextEncoder().encode(JSON.stringify({ weight_map: map })),
  });
  await rejected(() => loadPretrained(files({ a: "../model.safetensors" })), FileError, "../model.safetensors");
  await rejected(() => loadPretrained(files({})), FileError, "weight_map");
  await rejected(() => loadPretrained(files({ a: "model-00002-of-00003.safetensors" })), FileError, "model-00002-of-00003");
  await rejected(() => loadPretrained(files({ a: "model-00001-of-00003.safetensors" })), FileError, '"a"');
});

test("a list of files that is no array, such as a FileList of a picked folder, with what lies in folders of it", async () => {
  const names = ["config.json", "model.safetensors"];
  const own = names.map((name) => {
    const file = new File([readFileSync(`${gpt2}/${name}`)], name);
    Object.defineProperty(file, "webkitRelativePath", { value: `my-gpt2/${name}` });
    return file;
  });
  const list = { length: own.length, item: (i) => own[i], ...own, [Symbol.iterator]: () => own[Symbol.iterator]() };
  const { input_ids, logits, atol } = json(`${gpt2}/golden.json`);
  for (const source of [list, own]) near(await (await (await loadPretrained(source)).logits(input_ids)).data(), logits, atol, "logits");
});

test("a truncated file says how many bytes its header promises, and how many there are", async () => {
  const bytes = readFileSync(`${gpt2}/model.safetensors`);
  const data = bytes.length - 8 - Number(bytes.readBigUInt64LE(0));
  const files = { "config.json": `${gpt2}/config.json`, "model.safetensors": new Uint8Array(bytes.subarray(0, bytes.length - 1000)) };
  await rejected(() => loadPretrained(files), FileError, `promises ${data} bytes`, `there are ${data - 1000}`, "truncated");
});

test("the name of a model of the Hub is no folder: the error has its address", async () => {
  await rejected(() => loadPretrained("Owner/Some-Model.v1"), FileError, "https://huggingface.co/Owner/Some-Model.v1/resolve/main");
});

test("models that are loaded at the same time are those that are loaded alone", async () => {
  const logits = async (lm) => (await lm.logits([1, 5, 9, 2])).data();
  for (const weights of ["q8", "q4", "f32"]) {
    const load = (folder) => loadPretrained(folder, { weights });
    const alone = [await logits(await load(gpt2)), await logits(await load(qwen2))];
    assert.equal(await Promise.all([gpt2, qwen2].map(async (folder) => logits(await load(folder)))), alone);
  }
});

test("what is no model", async () => {
  await rejected(() => loadPretrained("/nowhere"), FileError, "config.json");
  await rejected(() => loadPretrained({}), FileError, "config.json");
  await rejected(() => loadPretrained(null), ArgumentError, "folder");
  await rejected(() => loadPretrained(gpt2, { weights: "q3" }), ArgumentError, "weights");
  await rejected(() => loadPretrained(gpt2, { dtype: "q4" }), ArgumentError, "dtype");
  await rejected(() => loadPretrained(`${gpt2}/config.json`), FileError, "folder");
  await rejected(() => loadPretrained({ "config.json": new Uint8Array(3) }), FileError, "config.json");
  await rejected(() => loadPretrained({ "config.json": readFileSync(`${gpt2}/config.json`) }), FileError, "model.safetensors");
});

test.run();

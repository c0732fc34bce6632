/** How checkpoints come over the network: in a few requests that may break off, are answered shorter than asked, or change on the way. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ArgumentError, FileError, open } from "../../build/esm/index.js";
import { loadPretrained } from "../../build/esm/transformers/index.js";
import { json, modelPath } from "../models/index.js";
import { near } from "./cases.js";

const backend = await open("wasm", { threads: 1 });
test.after(() => backend.close());

/** A Llama of 24 MB, more than is asked for at once. */
const config = {
  model_type: "llama",
  hidden_size: 128,
  intermediate_size: 256,
  num_hidden_layers: 12,
  num_attention_heads: 4,
  vocab_size: 32000,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  tie_word_embeddings: true,
};
const { hidden_size: dim, intermediate_size: hidden } = config;
const shapes = [
  ["model.embed_tokens.weight", [config.vocab_size, dim]],
  ...Array.from({ length: config.num_hidden_layers }, (_, i) =>
    Object.entries({
      input_layernorm: [dim],
      "self_attn.q_proj": [dim, dim],
      "self_attn.k_proj": [dim, dim],
      "self_attn.v_proj": [dim, dim],
      "self_attn.o_proj": [dim, dim],
      post_attention_layernorm: [dim],
      "mlp.gate_proj": [hidden, dim],
      "mlp.up_proj": [hidden, dim],
      "mlp.down_proj": [dim, hidden],
    }).map(([name, shape]) => [`model.layers.${i}.${name}.weight`, shape]),
  ).flat(),
  ["model.norm.weight", [dim]],
];

/** The file with its tensors in an order; each has the same elements in any. */
function fileOf(order) {
  const header = {};
  const parts = [];
  let end = 0;
  for (const [name, shape] of order) {
    const data = new Float32Array(shape.reduce((a, b) => a * b));
    let seed = [...name].reduce((a, c) => (Math.imul(a, 31) + c.charCodeAt(0)) >>> 0, 7);
    for (let i = 0; i < data.length; i++) {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      data[i] = shape.length === 1 ? 1 : ((seed >>> 8) / 2 ** 23 - 1) / 8;
    }
    header[name] = { dtype: "F32", shape, data_offsets: [end, (end += data.byteLength)] };
    parts.push(Buffer.from(data.buffer));
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, ...parts]);
}

const model = fileOf(shapes);
const files = { "config.json": Buffer.from(JSON.stringify(config)), "model.safetensors": model };
const ids = [1, 500, 31999, 7, 20000];
const logitsOf = async (lm) => (await lm.logits(ids)).data();
const expected = await logitsOf(await loadPretrained(files, { backend }));

/**
 * Serves files while `work` runs. `change` is given an answer about weights, and may change it: its number, its bytes, its status, the
 * headers, and `breakAt`, after so many bytes of which the connection breaks.
 */
async function served(given, change, work) {
  const requests = [];
  const server = createServer((request, response) => {
    const name = request.url.slice(1);
    const bytes = given[name];
    requests.push({ name, range: request.headers.range, headers: request.headers });
    if (bytes === undefined) return response.writeHead(404).end();
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    const answer = {
      number: requests.filter((r) => r.name === name).length,
      status: from === undefined ? 200 : 206,
      from: Number(from ?? 0),
      end: Math.min(bytes.length, Number(to ?? bytes.length - 1) + 1),
      headers: { etag: `"${bytes.length}"` },
      breakAt: null,
    };
    if (name === "model.safetensors") change?.(answer, request);
    const { status, headers, breakAt } = answer;
    const [begin, end] = status === 206 ? [answer.from, answer.end] : status === 200 ? [0, bytes.length] : [0, 0];
    response.writeHead(status, {
      ...headers,
      "content-length": end - begin,
      ...(status === 206 && { "content-range": answer.range ?? `bytes ${begin}-${end - 1}/${bytes.length}` }),
    });
    if (breakAt === null) return response.end(bytes.subarray(begin, end));
    response.write(bytes.subarray(begin, begin + breakAt), () => setTimeout(() => response.destroy(), 5));
  });
  await new Promise((done) => server.listen(0, done));
  try {
    return await work(`http://localhost:${server.address().port}`, requests);
  } finally {
    await new Promise((done) => (server.closeAllConnections(), server.close(done)));
  }
}

const weightsAt = (requests) => requests.filter(({ name }) => name === "model.safetensors").map(({ range }) => /(\d+)-(\d+)/.exec(range));

/** What `action` rejects with; the backend that it is given then holds what it held before. */
async function refused(action, type, ...parts) {
  const own = await open("wasm", { threads: 1 });
  const before = own.memory().bytes;
  const error = await action(own).then(
    () => null,
    (e) => e,
  );
  assert.instance(error, type, String(error?.stack));
  for (const part of parts) assert.ok(error.message.includes(part), `"${error.message}" lacks "${part}"`);
  assert.is(own.memory().bytes, before);
  own.close();
}

test("neighbouring tensors come with one request: a few for all, each byte behind the first ones once, in order", async () => {
  await served(files, null, async (base, requests) => {
    assert.equal(await logitsOf(await loadPretrained(base, { backend })), expected);
    const ranges = weightsAt(requests).map(([, from, to]) => [Number(from), Number(to) + 1]);
    assert.ok(ranges.length <= 10, `${ranges.length} requests for ${shapes.length} tensors`);
    assert.ok(ranges.every(([from, to]) => to - from <= 2 ** 24));
    for (let i = 1; i < ranges.length; i++) assert.is(ranges[i][0], ranges[i - 1][1]);
    assert.is(ranges.at(-1)[1], model.length);
  });
});

test("the order of tensors in the file makes no difference", async () => {
  const turned = { ...files, "model.safetensors": fileOf([...shapes].reverse()) };
  await served(turned, null, async (base, requests) => {
    assert.equal(await logitsOf(await loadPretrained(base, { backend })), expected);
    assert.ok(weightsAt(requests).length <= 10);
  });
});

test("a connection that breaks is followed by another from where it broke, unless nothing came", async () => {
  let broken = 0;
  const now = (answer) => {
    if (answer.number % 2 === 0 && answer.end - answer.from > 2 ** 17) ((answer.breakAt = 100_000), broken++);
  };
  await served(files, now, async (base) => assert.equal(await logitsOf(await loadPretrained(base, { backend })), expected));
  assert.ok(broken > 1);
  const always = (answer) => answer.number > 2 && (answer.breakAt = 0);
  await served(files, always, (base) => refused((own) => loadPretrained(base, { backend: own }), FileError, "model.safetensors"));
});

test("answers that are shorter than asked, and whole files in the place of parts", async () => {
  const short = (answer) => (answer.end = Math.min(answer.end, answer.from + 2 ** 20));
  await served(files, short, async (base) => assert.equal(await logitsOf(await loadPretrained(base, { backend })), expected));
  const whole = (answer) => answer.number > 2 && (answer.status = 200);
  await served(files, whole, async (base) => assert.equal(await logitsOf(await loadPretrained(base, { backend })), expected));
});

test("an error in the place of a piece, another file and another place are errors, and what was read is freed", async () => {
  const changes = [
    [(a) => a.number > 3 && (a.status = 503), "503"],
    [(a) => a.number > 3 && (a.headers = { etag: '"other"' }), "changed"],
    [(a) => a.number > 3 && (a.from += 64), "asked for bytes from"],
    [(a) => (a.from += 64), "asked for bytes 0 to"],
    // What no answer can be would be asked for without an end.
    [(a) => a.number > 3 && (a.range = `bytes ${a.from}-${a.from - 1}/${model.length}`), "changed"],
    [(a) => a.number > 3 && (a.range = `bytes ${a.from}-${model.length}/${model.length}`), "changed"],
    [(a) => a.number > 3 && (a.range = `bytes 0-9/${model.length}`), "asked for bytes from"],
  ];
  for (const [change, part] of changes)
    await served(files, change, (base) => refused((own) => loadPretrained(base, { backend: own }), FileError, "model.safetensors", part));
});

test("a signal ends loading in the middle of a piece and of one that is on its way", async () => {
  for (const at of [2, 20, 60])
    await served(files, null, async (base) => {
      const own = await open("wasm", { threads: 1 });
      const before = own.memory().bytes;
      const reason = new Error("enough");
      const controller = new AbortController();
      let n = 0;
      const onProgress = () => ++n === at && controller.abort(reason);
      await loadPretrained(base, { backend: own, signal: controller.signal, onProgress }).then(assert.unreachable, (e) =>
        assert.is(e, reason),
      );
      assert.is(own.memory().bytes, before);
      own.close();
    });
});

test("headers are sent with each request; authorization does not follow to another origin", async () => {
  const headers = { authorization: "Bearer secret", "x-own": "1" };
  await served(files, null, (elsewhere, there) => {
    const redirect = (answer) => {
      answer.status = 302;
      answer.headers = { location: `${elsewhere}/model.safetensors` };
    };
    return served(files, redirect, async (base, here) => {
      assert.equal(await logitsOf(await loadPretrained(base, { backend, headers })), expected);
      assert.ok(here.length > 3 && here.every((r) => r.headers.authorization === "Bearer secret" && r.headers["x-own"] === "1"));
      assert.ok(there.length > 3 && there.every((r) => r.headers.authorization === undefined));
    });
  });
  await refused(() => loadPretrained("http://localhost:1", { backend, headers: { authorization: 1 } }), ArgumentError, "authorization");
  await refused(() => loadPretrained("http://localhost:1", { backend, headers: "Bearer" }), ArgumentError, "headers");
});

test("a cache of a server that gives neither ETag nor date: another size or another beginning is another file", async () => {
  const gpt2 = modelPath("hf/gpt2");
  const small = Object.fromEntries(["config.json", "model.safetensors"].map((name) => [name, readFileSync(`${gpt2}/${name}`)]));
  const golden = json(`${gpt2}/golden.json`);
  const folder = mkdtempSync(join(tmpdir(), "lockstep-cache-"));
  const load = (base) => loadPretrained(base, { backend, cache: folder });
  try {
    await served(
      small,
      (answer) => (answer.headers = {}),
      async (base, requests) => {
        for (let i = 0; i < 2; i++)
          near(await (await (await load(base)).logits(golden.input_ids)).data(), golden.logits, golden.atol, "logits");
        const ranges = weightsAt(requests).map(([range]) => range);
        assert.is(ranges.at(-1), "0-65535");
        const before = ranges.length;
        const other = Buffer.from(small["model.safetensors"]);
        other.writeFloatLE(0.5, 8 + Number(other.readBigUInt64LE(0)));
        small["model.safetensors"] = other;
        await load(base);
        assert.ok(weightsAt(requests).length > before + 1);
      },
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("memory grows once, by what the weights take", async () => {
  for (const weights of ["f32", "q8", "q4"]) {
    const own = await open("wasm", { threads: 1 });
    const before = own.memory();
    await loadPretrained(files, { backend: own, weights });
    const { linear, bytes } = own.memory();
    const stored = bytes - before.bytes;
    assert.ok(linear - before.linear <= 1.02 * stored + 2 ** 16, `${weights}: ${linear - before.linear} for ${stored}`);
    own.close();
  }
});

test.run();

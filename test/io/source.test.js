/** What models and weights are read from: paths, addresses served over HTTP, and what the web hands files out as. */
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ArgumentError, FileError } from "../../build/esm/errors.js";
import { loadModel as loadInference, loadWeights } from "../../build/esm/model/load.js";
import { loadModel } from "../../build/esm/model/resume.js";
import { sequential } from "../../build/esm/model/model.js";
import { dense } from "../../build/esm/nn/index.js";
import { openSafetensors, readSafetensors } from "../../build/esm/safetensors/index.js";

const net = () => sequential([dense(3, { activation: "tanh" }), dense(2)], { inputShape: [4], seed: 3 });
const bytes = await net().toBytes();
const folder = mkdtempSync(join(tmpdir(), "lockstep-source-"));
const path = join(folder, "a model.safetensors");
writeFileSync(path, bytes);

const ANSWERS = {
  "/model.safetensors": (response) => response.writeHead(200, { "content-type": "application/octet-stream" }).end(bytes),
  "/typeless": (response) => response.end(bytes),
  "/packed": (response) => response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(bytes)),
  "/moved": (response) => response.writeHead(302, { location: "/model.safetensors" }).end(),
  "/page": (response) =>
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end("<!doctype html><title>Sign in</title>"),
  "/text": (response) => response.writeHead(200, { "content-type": "text/plain" }).end("version https://git-lfs.github.com/spec/v1"),
  "/error": (response) => response.writeHead(503, "Busy").end(bytes),
  "/cut": (response) => {
    response.writeHead(200, { "content-length": bytes.length });
    response.write(bytes.subarray(0, 100), () => response.destroy());
  },
  "/short": (response) => response.end(bytes.subarray(0, bytes.length - 1)),
};
const server = createServer((request, response) =>
  (ANSWERS[request.url] ?? ((r) => r.writeHead(404).end("<html>nothing</html>")))(response),
);
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const origin = `http://127.0.0.1:${server.address().port}`;

test.after(() => {
  server.close();
  server.closeAllConnections();
  rmSync(folder, { recursive: true });
});

const weightsOf = async (model) => (await model.getWeights()).map((w) => [...w.host]);
const expected = await weightsOf(net());

async function reads(source) {
  assert.equal(await weightsOf(await loadModel(source())), expected);
  assert.equal(await weightsOf(await loadInference(source())), expected);
  const other = sequential([dense(3), dense(2)], { inputShape: [4], seed: 8 });
  await loadWeights(other, source());
  assert.equal(await weightsOf(other), expected);
  assert.is((await readSafetensors(source())).tensors.size, 4);
  assert.is((await readSafetensors(source(), { names: ["dense/bias"] })).tensors.size, 1);
  const file = await openSafetensors(source());
  assert.equal([...(await file.read("dense_1/kernel")).data], expected[2]);
}

const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
shared.set(bytes);
const shifted = new Uint8Array(bytes.length + 3).subarray(3);
shifted.set(bytes);
const SOURCES = {
  "a path": () => path,
  "a file: URL": () => pathToFileURL(path),
  "a file: URL as text": () => String(pathToFileURL(path)),
  "an http: address": () => `${origin}/model.safetensors`,
  "an http: URL": () => new URL(`${origin}/typeless`),
  "an address in capitals": () => `${origin}/model.safetensors`.replace("http", "HTTP"),
  "an address that leads on": () => `${origin}/moved`,
  "a packed answer": () => `${origin}/packed`,
  "a data: address": () => `data:application/octet-stream;base64,${Buffer.from(bytes).toString("base64")}`,
  "a blob: address": () => URL.createObjectURL(new Blob([bytes])),
  "a Response": () => new Response(bytes),
  "a promise of a Response": () => fetch(`${origin}/model.safetensors`),
  "a Blob": () => new Blob([bytes.subarray(0, 50), bytes.subarray(50)]),
  "a File": () => new File([bytes], "model.safetensors"),
  "an ArrayBuffer": () => bytes.slice().buffer,
  "a promise of an ArrayBuffer": async () => bytes.slice().buffer,
  "a SharedArrayBuffer": () => shared.buffer,
  "shared bytes": () => shared,
  "a Buffer": () => Buffer.from(bytes),
  "bytes within others": () => shifted,
  "a DataView": () => new DataView(shifted.buffer, 3),
  words: () => new Int32Array(bytes.length % 4 === 0 ? bytes.slice().buffer : 0),
  "a stream": () => new Blob([bytes]).stream(),
  "a stream of Node": () => createReadStream(path, { highWaterMark: 100 }),
  "a stream of many parts": () => Readable.toWeb(createReadStream(path, { highWaterMark: 7 })),
  "an async generator": async function* () {
    yield bytes.subarray(0, 9);
    yield bytes.subarray(9);
  },
};
for (const [what, source] of Object.entries(SOURCES)) test(`read from ${what}`, () => reads(source));

async function refused(source, ...parts) {
  for (const load of [
    loadModel,
    loadInference,
    readSafetensors,
    openSafetensors,
    (s) => loadWeights(net(), s),
    (s) => readSafetensors(s, { names: [] }),
  ]) {
    const error = await load(source()).then(
      () => null,
      (e) => e,
    );
    assert.instance(error, FileError, `${error?.stack}`);
    for (const part of parts) assert.ok(error.message.includes(part), `"${error.message}" lacks "${part}"`);
  }
}

test("an answer that is no file says which address gave what", async () => {
  await refused(() => `${origin}/none`, `cannot read "${origin}/none"`, "HTTP status 404 Not Found");
  await refused(() => new URL(`${origin}/error`), `cannot read "${origin}/error"`, "503 Busy");
  await refused(() => `${origin}/page`, `cannot read "${origin}/page"`, "an HTML page");
  await refused(() => `${origin}/text`, `${origin}/text`, 'not safetensors: it begins with "version "');
  await refused(() => fetch(`${origin}/none`), `cannot read "${origin}/none"`, "404");
  await refused(() => fetch(`${origin}/page`), "an HTML page");
  await refused(() => new Response("", { status: 500, statusText: "Oh" }), "status 500 Oh");
});

test("an answer that breaks off, and a server that is not there", async () => {
  await refused(() => `${origin}/cut`, `cannot read "${origin}/cut"`);
  await refused(() => `${origin}/short`, `${origin}/short`);
  await refused(() => "http://127.0.0.1:1/model", 'cannot read "http://127.0.0.1:1/model"', "fetch failed: ");
  await refused(() => "http://", "http://");
  await refused(() => "data:,hello there you", "data:", "not safetensors");
  await refused(() => `data:application/octet-stream;base64,${"A".repeat(1e6)}`, "data:");
  await refused(() => "blob:nodedata:none", "blob:nodedata:none");
  const error = await loadModel(`data:application/octet-stream;base64,${"A".repeat(1e6)}`).catch((e) => e);
  assert.ok(error.message.length < 400, "an address that holds the file is cut short");
});

test("a response or stream that was read already, and one that fails", async () => {
  const response = new Response(bytes);
  await response.arrayBuffer();
  await refused(() => response, "cannot read");
  const failing = () => new ReadableStream({ pull: (controller) => controller.error(new Error("the line is dead")) });
  await refused(failing, "the line is dead");
  const stream = new Blob([bytes]).stream();
  const reader = stream.getReader();
  await refused(() => stream, "the stream is locked", "release its reader");
  await reader.read();
  reader.releaseLock();
  await refused(() => stream, "cannot read");
  await refused(async function* () {
    yield new Uint8Array(3);
    throw new Error("no more");
  }, "no more");
  await refused(() => new File([bytes.subarray(0, 99)], "half.safetensors"), "half.safetensors", "truncated");
});

test("an address of a kind that nothing here reads is no path", async () => {
  for (const address of ["ftp://host/x", new URL("s3://bucket/x")]) {
    await refused(() => address, `cannot read "${address}"`, "http:", "file:", `got ${String(address).split("/")[0]}`);
  }
  for (const name of ["C://nowhere", "no:where"]) await refused(() => name, "no such file");
});

test("what is no source says what would be", async () => {
  for (const [source, what] of [
    [undefined, "Undefined"],
    [null, "Null"],
    [{}, "Object"],
    [7, "Number"],
    [true, "Boolean"],
    [["a"], "Array"],
    [() => 1, "Function"],
  ]) {
    for (const load of [loadModel, loadInference, readSafetensors, openSafetensors]) {
      const error = await load(source).then(
        () => null,
        (e) => e,
      );
      assert.instance(error, ArgumentError);
      assert.match(error.message, new RegExp(`: expected a path, an address, bytes, a Blob, a Response or a stream, got ${what}$`));
    }
  }
  assert.is(await loadModel(Promise.reject(new RangeError("mine"))).catch((e) => e.message), "mine");
});

test("on a page, where there are no files, addresses may be relative", async () => {
  const { getBuiltinModule } = process;
  const { fetch: own } = globalThis;
  try {
    process.getBuiltinModule = undefined;
    assert.match(
      (await loadModel("models/a.safetensors").catch((e) => e)).message,
      /cannot read "models\/a.safetensors": this runtime has no file system; pass bytes/,
    );
    const asked = [];
    globalThis.location = { href: `${origin}/` };
    globalThis.fetch = (address) => {
      asked.push(address);
      return own(`${origin}/model.safetensors`);
    };
    assert.equal(await weightsOf(await loadInference("models/a.safetensors")), expected);
    assert.equal(asked, ["models/a.safetensors"]);
  } finally {
    Object.assign(process, { getBuiltinModule });
    globalThis.fetch = own;
    delete globalThis.location;
  }
});

test.run();

/** @file The kernels by every way there is: embedded, by address, as a response, as bytes and as a module. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ArgumentError, BackendError, compile, FileError, matmul, open, tensor } from "lockstep";
import { open as openInference } from "lockstep/inference";

const url = (name) => new URL(`../../build/${name}.wasm`, import.meta.url);
const bytes = readFileSync(url("plain"));
const RELAXED = WebAssembly.validate(readFileSync(url("relaxed")));
const wasm = { "content-type": "application/wasm" };

const ones = tensor(
  Float32Array.from({ length: 200 * 200 }, (_, i) => (i % 7) - 3),
  [200, 200],
);
/** Opens with `options`, computes, closes. */
async function used(options) {
  const backend = await open("wasm", options);
  try {
    const product = compile((a) => matmul(a, a), { backend });
    await product(ones);
    await backend.warm();
    const result = await (await product(ones)).data();
    product.close();
    return { simd: backend.simd, threads: backend.activeThreads, result };
  } finally {
    backend.close();
  }
}

const expected = await used({ reproducible: true, threads: 1 });

/** A server of the kernels, and what it was asked for. */
async function served(use) {
  const server = createServer((request, response) => {
    if (request.url === "/plain.wasm") response.writeHead(200, wasm).end(bytes);
    else if (request.url === "/untyped") response.writeHead(200).end(bytes);
    else if (request.url === "/page") response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html>");
    else response.writeHead(404).end();
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  try {
    return await use(`http://127.0.0.1:${server.address().port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const ways = {
  "a URL of a file": () => url("plain"),
  "a path": () => fileURLToPath(url("plain")),
  "an address of a file as text": () => url("plain").href,
  bytes: () => new Uint8Array(bytes),
  "bytes in the middle of a buffer": () => {
    const all = new Uint8Array(bytes.length + 20);
    all.set(bytes, 12);
    return all.subarray(12, 12 + bytes.length);
  },
  "an ArrayBuffer": () => new Uint8Array(bytes).buffer,
  "a response": () => new Response(bytes, { headers: wasm }),
  "a response without a type": () => new Response(bytes),
  "a promise of a response": () => Promise.resolve(new Response(bytes, { headers: wasm })),
};
for (const [name, make] of Object.entries(ways)) {
  test(`kernels: ${name}, on one thread and on two`, async () => {
    const one = await used({ module: make(), threads: 1 });
    assert.is(one.simd, "plain");
    assert.equal(one.result, expected.result);
    const two = await used({ module: make(), threads: 2 });
    assert.is(two.threads, 2);
    assert.equal(two.result, expected.result);
  });
}

test("kernels: a compiled module, which runs on one thread", async () => {
  const one = await used({ module: new WebAssembly.Module(bytes), threads: 2 });
  assert.is(one.threads, 1);
  assert.equal(one.result, expected.result);
});

test("kernels: the address of a server, streamed where it says what it sends", () =>
  served(async (origin) => {
    const streaming = WebAssembly.compileStreaming;
    let streams = 0;
    WebAssembly.compileStreaming = (source) => {
      streams++;
      return streaming(source);
    };
    try {
      assert.equal((await used({ module: `${origin}/plain.wasm`, threads: 1 })).result, expected.result);
      assert.is(streams, 1);
      assert.equal((await used({ module: new URL(`${origin}/plain.wasm`), threads: 2 })).result, expected.result);
      assert.equal((await used({ module: `${origin}/untyped`, threads: 1 })).result, expected.result);
      assert.equal((await used({ module: fetch(`${origin}/plain.wasm`), threads: 1 })).result, expected.result);
      assert.is(streams, 2);
    } finally {
      WebAssembly.compileStreaming = streaming;
    }
  }));

async function refused(options, type, message) {
  try {
    (await open("wasm", { threads: 1, ...options })).close();
  } catch (error) {
    assert.instance(error, type, error.stack);
    assert.match(error.message, message);
    return;
  }
  assert.unreachable(`accepted ${Object.keys(options)}`);
}

test("kernels: what is not there, or no kernels, is refused with what to do", () =>
  served(async (origin) => {
    await refused({ module: `${origin}/missing` }, BackendError, /HTTP status 404 for http/);
    await refused(
      { module: `${origin}/page` },
      BackendError,
      /cannot compile the kernels: .*lockstep\/plain\.wasm.*'wasm-unsafe-eval' in script-src/s,
    );
    await refused({ module: "http://127.0.0.1:1/plain.wasm" }, BackendError, /cannot fetch the kernels from http:\/\/127\.0\.0\.1:1/);
    await refused({ module: "/no/such/file.wasm" }, FileError, /no\/such\/file/);
    await refused({ module: new Response("", { status: 500 }) }, BackendError, /HTTP status 500/);
    await refused({ module: new Uint8Array(3) }, BackendError, /cannot compile the kernels/);
    await refused({ module: 7 }, ArgumentError, /expected a URL, a Response, bytes or a WebAssembly\.Module, got number/);
    await refused({ module: null }, ArgumentError, /got null/);
  }));

test("kernels: a module of someone else, or of another version", async () => {
  await refused(
    { module: new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)) },
    BackendError,
    /not Lockstep's kernels: it exports nothing/,
  );
  const other = Buffer.from(bytes);
  const at = other.lastIndexOf("lockstep") + 8;
  other.write("00000000", at);
  await refused(
    { module: other },
    BackendError,
    /another version of Lockstep: expected build [0-9a-f]{8}, got 00000000; use lockstep\/plain\.wasm/,
  );
});

test("kernels: without their files, or beside those of another version, the embedded ones", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-"));
  const other = Buffer.from(bytes);
  other.write("00000000", other.lastIndexOf("lockstep") + 8);
  const besides = { none: null, "of another version": other, damaged: bytes.subarray(0, 1000), own: bytes };
  try {
    for (const [name, file] of Object.entries(besides)) {
      const copy = join(folder, name);
      mkdirSync(join(copy, "build"), { recursive: true });
      for (const f of ["package.json", "build/index.js", "build/base.js", ...(file === bytes ? [] : ["build/plain.js"])])
        cpSync(fileURLToPath(new URL(`../../${f}`, import.meta.url)), join(copy, f));
      if (file !== null) writeFileSync(join(copy, "build/plain.wasm"), file);
      const { open: openCopy } = await import(pathToFileURL(join(copy, "build/index.js")).href);
      const backend = await openCopy("wasm", { reproducible: true });
      assert.is(backend.simd, "plain", name);
      backend.close();
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("without the file that starts workers one thread does all, and says why", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-"));
  const { warn } = console;
  const warnings = [];
  console.warn = (text) => warnings.push(text);
  try {
    mkdirSync(join(folder, "build"));
    for (const f of ["package.json", "build/index.js", "build/base.js", "build/plain.wasm", "build/relaxed.wasm"])
      cpSync(fileURLToPath(new URL(`../../${f}`, import.meta.url)), join(folder, f));
    const copy = await import(pathToFileURL(join(folder, "build/index.js")).href);
    const backend = await copy.open("wasm", { threads: 2 });
    await backend.warm();
    await backend.warm();
    assert.is(backend.activeThreads, 1);
    assert.match(backend.threadsProblem, /pool\.js/);
    assert.is(warnings.length, 1);
    assert.match(warnings[0], /one thread does all: what starts workers could not be loaded: .*pool\.js/);
    const product = copy.compile((a) => copy.matmul(a, a), { backend });
    assert.equal((await product(copy.tensor([[1, 2], [3, 4]]))).shape, [2, 2]);
    backend.close();
  } finally {
    console.warn = warn;
    rmSync(folder, { recursive: true });
  }
});

test("kernels: relaxed SIMD is not taken for reproducible results", async () => {
  // The name is what tells: where there is no relaxed SIMD its build does not compile.
  const named = Buffer.from(bytes);
  const renamed = Buffer.concat([
    named.subarray(0, named.lastIndexOf("lockstep") - 2),
    Buffer.from([named[named.lastIndexOf("lockstep") - 2] + 2]),
    named.subarray(named.lastIndexOf("lockstep") - 1, named.lastIndexOf("plain")),
    Buffer.from("relaxed"),
  ]);
  await refused({ module: renamed, reproducible: true }, ArgumentError, /reproducible: true needs the plain kernels/);
  if (RELAXED) assert.is((await used({ module: url("relaxed"), threads: 2 })).simd, "relaxed");
  else await refused({ module: url("relaxed") }, BackendError, /without relaxed SIMD use lockstep\/plain\.wasm/);
});

test("kernels: the files serve lockstep/inference too", async () => {
  const backend = await openInference("wasm", { module: url("plain") });
  assert.is(backend.simd, "plain");
  backend.close();
});

test.run();

import { readFileSync } from "node:fs";
import { inflateRawSync } from "node:zlib";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile } from "../build/esm/compile.js";
import { open } from "../build/esm/init.js";
import { add, exp, log, tanh } from "../build/esm/ops/map.js";
import { softmax } from "../build/esm/ops/softmax.js";
import { tensor } from "../build/esm/tensor.js";

const file = (name) => readFileSync(new URL(`../build/${name}`, import.meta.url));
const bytes = (name) => file(`${name}.wasm`);
/** A module that the package holds as text. */
const unpacked = (name) => inflateRawSync(Buffer.from(/"(.*)"/.exec(file(`${name}.js`).toString())[1], "base64"));

test("open: relaxed SIMD exactly where the engine validates the relaxed build", async () => {
  assert.is((await open("wasm")).simd, WebAssembly.validate(bytes("relaxed")) ? "relaxed" : "plain");
  assert.is((await open("wasm", { reproducible: true })).simd, "plain");
});

/** Contents of a binary's sections by number. */
function sectionsOf(binary) {
  const sections = new Map();
  let at = 8;
  const leb = () => {
    let n = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = binary[at++];
      n |= (byte & 127) << shift;
      if (byte < 128) return n;
    }
  };
  while (at < binary.length) {
    const id = binary[at++];
    const size = leb();
    sections.set(id, { at, end: at + size, leb: (from) => ((at = from), [leb(), at]) });
    at = sections.get(id).end;
  }
  return sections;
}

/** The data segments of a binary. */
function segmentsOf(binary) {
  const section = sectionsOf(binary).get(11);
  if (section === undefined) return [];
  const { at, leb } = section;
  let [count, p] = leb(at);
  return Array.from({ length: count }, () => {
    // Active, in memory 0, at an i32.const.
    assert.equal([...binary.subarray(p, p + 2)], [0, 0x41], "a segment is written on instantiation");
    const [address, end] = leb(p + 2);
    assert.is(binary[end], 0x0b);
    const [size, from] = leb(end + 1);
    p = from + size;
    return { address, bytes: binary.subarray(from, p) };
  });
}

test("kernels: static data is constants, which every instance on a shared memory writes anew: below what is allocated", async () => {
  assert.ok(segmentsOf(bytes("plain")).length > 0);
  for (const build of ["plain", "relaxed", "inference-plain", "inference-relaxed"]) {
    for (const binary of [unpacked(build), ...(build.startsWith("inference") ? [] : [bytes(build)])]) {
      for (const { address, bytes: b } of segmentsOf(binary)) {
        assert.ok(address >= 64 && address + b.length <= 1024, `${build}: ${b.length} bytes at ${address}`);
      }
    }
    // Parts read what the core wrote: where assembly/constants.ts says that it begins.
    assert.is(segmentsOf(unpacked(build))[0].address, 64);
    for (const part of ["conv", "recurrent", "norm"]) assert.equal(segmentsOf(unpacked(`${build}-${part}`)), [], part);
  }
  const instantiate = WebAssembly.instantiate;
  let memory;
  WebAssembly.instantiate = (module, imports) => ((memory = imports.env.memory), instantiate(module, imports));
  const backend = await open("wasm", { reproducible: true, threads: 1 });
  WebAssembly.instantiate = instantiate;
  const buffer = backend.alloc(64);
  assert.ok(buffer.address >= 1024);
  const x = tensor(Float32Array.of(1, 2, 3));
  const fn = compile((x) => exp(add(softmax(x), tanh(log(x)))), { backend });
  const y = await (await fn(x)).data();
  assert.ok(y.every((v) => v > 1));
  for (const { address, bytes: b } of segmentsOf(bytes("plain")))
    assert.equal([...new Uint8Array(memory.buffer, address, b.length)], [...b]);
  backend.close();
});

test("kernels: the whole module imports its memory alone", async () => {
  const module = await WebAssembly.compile(bytes("plain"));
  assert.equal(
    WebAssembly.Module.imports(module).map((i) => i.name),
    ["memory"],
  );
  assert.ok(WebAssembly.Module.exports(module).some((e) => e.name === "run"));
});

test.run();

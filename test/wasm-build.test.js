import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open } from "../build/esm/init.js";

const bytes = (name) => readFileSync(new URL(`../build/${name}.wasm`, import.meta.url));

test("open: relaxed SIMD exactly where the engine validates the relaxed build", async () => {
  assert.is((await open("wasm")).simd, WebAssembly.validate(bytes("relaxed")) ? "relaxed" : "plain");
  assert.is((await open("wasm", { reproducible: true })).simd, "plain");
});

test("kernels: no static data, which every instance on a shared memory would rewrite", () => {
  for (const name of ["plain", "relaxed"]) {
    const binary = bytes(name);
    const sections = [];
    // id, size (LEB128), contents
    for (let at = 8; at < binary.length; ) {
      sections.push(binary[at++]);
      let size = 0;
      for (let shift = 0; ; shift += 7) {
        const byte = binary[at++];
        size |= (byte & 127) << shift;
        if (byte < 128) break;
      }
      at += size;
    }
    assert.ok(sections.includes(10), "no code section");
    assert.not(sections.includes(11), "a data section");
  }
});

test("kernels: one export, one import", async () => {
  const module = await WebAssembly.compile(bytes("plain"));
  assert.equal(WebAssembly.Module.imports(module).map((i) => i.name), ["memory"]);
  assert.ok(WebAssembly.Module.exports(module).some((e) => e.name === "run"));
});

test.run();

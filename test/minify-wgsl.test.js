/** @file What the build leaves of the GPU kernels. That it compiles and computes the same is what test/webgpu shows. */
import { readdirSync, readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { minifyWgsl } from "../scripts/minify-wgsl.js";

test("minify: comments and space go", () => {
  assert.is(
    minifyWgsl("// a comment\nfn f(x: f32) -> f32 {\n  return /* b\n c */ x * 0.5 + vec4<f32>( x ).x; // d\n}\n"),
    "fn f(x:f32)->f32{return x*0.5+vec4f(x).x;}",
  );
});

test("minify: what would become another token stays apart, and names stay apart from what is before them", () => {
  assert.is(minifyWgsl("return a - -b & & c;"), "return a- -b& &c;");
  assert.is(minifyWgsl("const SIZES: array<u32, 2> = array<u32, 2>(1u, 2u);"), "const SIZES:array<u32,2> =array<u32,2>(1u,2u);");
  assert.is(
    minifyWgsl("@group(0) @binding(1) var<storage, read_write> kept: array<u32>;"),
    "@group(0)@binding(1)var<storage,read_write> kept:array<u32>;",
  );
  assert.is(
    minifyWgsl("@compute @workgroup_size(64)\nfn main() { if (a < b) { return 1 .x; } else if (!b) { } }"),
    "@compute@workgroup_size(64)fn main(){if(a<b){return 1 .x;}else if(!b){}}",
  );
});

test("minify: bodies that are put in go, the lines that say where stay; hooks go", () => {
  assert.is(
    minifyWgsl("// hooks\nfn activate(x: f32) -> f32 {\n  return x;\n}\n// end hooks\nfn main() { activate(1.0); }"),
    "fn main(){activate(1.0);}",
  );
  assert.is(
    minifyWgsl("const N: u32 = 1;\n// body\nfn element(i: u32) {}\n// end body\nfn main() { element(N); }"),
    "const N:u32=1;\n// body\n// end body\nfn main(){element(N);}",
  );
});

test("minify: every kernel keeps its tokens", () => {
  const tokens = (text) =>
    text
      .replace(/\/\/.*|\/\*[^]*?\*\//g, " ")
      .replace(/\b(vec\d|mat\dx\d)<([fiu])32>/g, "$1$2")
      .match(/[\w.]+|[^\s\w]/g);
  const files = readdirSync(new URL("../kernels/", import.meta.url), { recursive: true }).filter((file) => file.endsWith(".wgsl"));
  assert.ok(files.some((file) => /[\\/]/.test(file)) && files.some((file) => !/[\\/]/.test(file)), "of the core and of parts");
  for (const file of files) {
    const text = readFileSync(new URL(`../kernels/${file}`, import.meta.url), "utf8")
      .replace(/^\/\/ hooks$[^]*^\/\/ end hooks$/m, "")
      .replace(/^\/\/ body$[^]*^\/\/ end body$/m, "");
    const small = minifyWgsl(text);
    assert.equal(tokens(small), tokens(text), file);
    assert.not.match(small, /\s\s|\/\/|\/\*/, file);
  }
});

test.run();

/** @file The minifier of the GPU kernels: what it shortens and what it must leave. That its output compiles and computes the same is what test/webgpu shows. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { minifyWgsl, minifyWithConstants } from "../scripts/minify-wgsl.js";

const one = (text, users = "") => minifyWgsl({ "a.wgsl": text }, users)["a.wgsl"];
/** Inside of a function that is kept by name. */
const inside = (statements) => one(`fn kept(long: f32) -> f32 {\n${statements}\n}`, "kept").slice("fn kept(a:f32)->f32{".length, -1);

test("minify: comments, space, aliases and zeros go", () => {
  assert.is(inside("  // a comment\n  return /* b */ long * 0.5 + 1.0 - 10.0;"), "return a*.5+1.-10.;");
  assert.is(inside("return 0.0;"), "return 0.;");
  assert.is(inside("let w = vec4<f32>(long + long * long + long); return mat4x4<f32>(w, w, w, w)[0].x;"), "let b=vec4f(a+a*a+a);return mat4x4f(b,b,b,b)[0].x;");
});

test("minify: floats become the shortest decimal of the same f32", () => {
  assert.is(inside("return long * 0.693145751953125 + 1.428606765330187e-6 - 4.837512969970703e-4 * 16777216.0;"), "return a*.69314575+1.4286068e-6-.0004837513*16777216.;");
  assert.is(inside("return 65504.0 + 2.5 + 100000.0;"), "return 65504.+2.5+1e5;");
  for (const literal of ["0.001383643364533782", "-9.38598077482311e-6", "5.9604644775390625e-8", "1.0507009873554805"]) {
    const short = inside(`return ${literal};`).slice("return".length, -1);
    assert.is(Math.fround(Number(short)), Math.fround(Number(literal)));
    assert.ok(short.length < literal.length);
  }
});

test("minify: unsigned numbers lose their u where the other operand has a type", () => {
  assert.is(inside("let x = 4u * i % 3u; var y = 1u + 2u; y += 1u; y = 1u; if (y >= 2u && x != 0xffu) { return 0u; }"), "let b=4*i%3;var a=1u+2u;a+=1;a=1u;if(a>=2&&b!=0xff){return 0u;}");
});

test("minify: constants that the program gives go, if they are u32 or bool", () => {
  assert.is(one("const SIZE: u32 = 1;\nconst WIDE: bool = false;\nconst SHIFT: i32 = 1;\nconst TWICE: u32 = 2 * SIZE;\nconst STEP_0: u32 = 1;\nconst PAIR: vec2<u32> = vec2(1, 1);", "{ SIZE: n, WIDE: true, SHIFT: 2, [`STEP_${i}`]: 3, PAIR: [1, 2] } TWICE"), "const SHIFT:i32=1;const TWICE:u32=2*SIZE;const STEP_0:u32=1;");
});

test("minify: with a program that can be changed constants have short names, those made with a template none", () => {
  const { files, constants } = minifyWithConstants({ a: "const TOTAL: u32 = 1;\nconst STEP_0: u32 = 1;\nconst SHARE: f32 = 1.0;\nfn kept() -> f32 { return SHARE * f32(TOTAL + STEP_0); }" }, "{ TOTAL: n, SHARE: x, [`STEP_${i}`]: 3 } kept");
  assert.equal([...constants.keys()], ["TOTAL", "SHARE"]);
  assert.is(files.a, `const STEP_0:u32=1;const ${constants.get("SHARE")}:f32=1.;fn kept()->f32{return ${constants.get("SHARE")}*f32(${constants.get("TOTAL")}+STEP_0);}`);
  assert.match([...constants.values()].join(), /^[A-Z],[A-Z]$/);
});

test("minify: tokens that would become another one stay apart", () => {
  assert.is(inside("return long - -long;"), "return a- -a;");
  assert.is(inside("return .5 + long;"), "return .5+a;");
  assert.is(one("const SIZES: array<u32, 2> = array<u32, 2>(1u, 2u);", "SIZES"), "const SIZES:array<u32,2> =array<u32,2>(1u,2u);");
  assert.is(one("@group(0) @binding(1) var<storage, read_write> kept: array<u32>;", "kept"), "@group(0)@binding(1)var<storage,read_write> kept:array<u32>;");
});

test("minify: a variable is told from what has its name outside of its block", () => {
  const text = "const width: u32 = 1u;\nfn kept(n: u32) -> u32 { var sum = width; { let width = width + n; sum += width; } for (var width = 0u; width < n; width++) { sum += width; } return sum + width; }";
  const outer = /const (\w+):/.exec(one(text, "kept"))[1];
  const [, first, inner] = /var \w+=(\w+);\{let (\w+)=/.exec(one(text, "kept"));
  assert.is(first, outer);
  assert.is.not(inner, outer);
  const body = one(text, "kept");
  assert.match(body, new RegExp(`let ${inner}=${outer}\\+`));
  assert.match(body, new RegExp(`for\\(var ${inner}=0u;${inner}<`));
  assert.match(body, new RegExp(`\\+${outer};\\}$`));
});

test("minify: members, attributes, builtins and entry points keep their names", () => {
  const text = "struct Pair { left: f32, right: f32 }\n@compute @workgroup_size(64) fn entry(@builtin(workgroup_id) group: vec3<u32>) { let left = Pair(1.0, 2.0); let right = left.right + min(left.left, f32(group.x)); _ = right; }";
  assert.is(one(text), "struct A{left:f32,right:f32}@compute@workgroup_size(64)fn entry(@builtin(workgroup_id)b:vec3u){let a=A(1.,2.);let c=a.right+min(a.left,f32(b.x));_=c;}");
});

test("minify: names that the program speaks of, or makes with a template, are kept, also across files", () => {
  const files = { "a.wgsl": "fn op_add(x: f32) -> f32 { return helper(x); }\nfn helper(x: f32) -> f32 { return x; }", "b.wgsl": "const SIZE_0: u32 = 1;\nfn main() -> f32 { return helper(1.0); }" };
  const { "a.wgsl": a, "b.wgsl": b } = minifyWgsl(files, "const names = [`op_${name}`, `SIZE_${d}`, \"main\"]; // helper");
  assert.match(a, /^fn op_add\(/);
  assert.match(b, /^const SIZE_0:u32=1;fn main\(\)/);
  const [, helper] = /return (\w+)\(/.exec(a);
  assert.is.not(helper, "helper");
  assert.ok(b.includes(`return ${helper}(1.)`));
});

test("minify: bodies that are put in go, their place stays; hooks go", () => {
  assert.is(one("// hooks\nfn activate(x: f32) -> f32 {\n  return x;\n}\n// end hooks\nfn main() { activate(1.0); }", "activate main"), "fn main(){activate(1.);}");
  assert.is(one("const N: u32 = 1;\n// body\nfn element(i: u32) {}\n// end body\nfn main() { element(N); }", "N element main"), "const N:u32=1;\n// body\n// end body\nfn main(){element(N);}");
});

const read = (folder, ending) => readdirSync(folder, { recursive: true }).filter((f) => f.endsWith(ending)).sort().map((f) => [f, readFileSync(join(folder, f), "utf8")]);
const DECLARATION = /(?:^|[;}\n])\s*(?:@\w+(?:\([^)]*\))?\s*)*(?:fn|const|struct|alias|var(?:<[^>]*>)?)\s+(\w+)/g;
/** Names declared at module scope. */
function declared(text) {
  let depth = 0;
  const outside = [...text.replace(/^\/\/ (body|hooks)$[^]*?^\/\/ end \1$/gm, "").replace(/\/\/.*$/gm, "")].map((ch) => {
    if (ch === "}") depth--;
    const shown = depth === 0 ? ch : "";
    if (ch === "{") depth++;
    return shown;
  }).join("");
  return [...outside.matchAll(DECLARATION)].map((m) => m[1]);
}

test("minify: every kernel keeps its declarations, one name for one", () => {
  const files = Object.fromEntries(read("kernels", ".wgsl"));
  const users = read("src/webgpu", ".ts").map(([, text]) => text).join("\n");
  const given = (name) => new RegExp(`(?<!\\w)${name}:`).test(users);
  const small = minifyWgsl(files, users);
  const names = new Map();
  let renamed = 0;
  for (const [file, text] of Object.entries(files)) {
    const before = declared(text).filter((name) => !(given(name) && new RegExp(`^const ${name}: (u32|bool|vec2<u32>) = (\\w+|vec2\\(\\d, \\d\\));$`, "m").test(text)));
    const after = declared(small[file]);
    assert.ok(before.length > 0 || /^const/m.test(text), file);
    assert.is(after.length, before.length, file);
    before.forEach((name, i) => {
      assert.is(names.get(name) ?? after[i], after[i], `${file}: ${name}`);
      names.set(name, after[i]);
      if (name !== after[i]) renamed++;
    });
  }
  assert.is(new Set(names.values()).size, names.size);
  assert.ok(renamed > 100);
  assert.equal(minifyWgsl(files, users), small);
});

test("minify: names that a program makes with something behind a value are kept", () => {
  const { a } = minifyWgsl({ a: "fn tree_dots(x: u32) -> u32 { return x; }\nfn helper(x: u32) -> u32 { return tree_dots(x); }\n@compute @workgroup_size(1) fn main() { helper(1u); }" }, "const name = `${join}_dots`; // main");
  assert.match(a, /fn tree_dots\(/);
  assert.not.match(a, /helper/);
});

test.run();

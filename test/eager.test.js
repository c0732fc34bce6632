/** @file What the build does for engines that parse functions before they are called: which functions get parentheses, which arrow functions become others, and that nothing else changes. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { eager } from "../scripts/eager.js";
import { decodeMappings, edited, encodeMappings } from "../scripts/transform.js";

const FIRST = "const z=[()=>0];";
const FIRST_MARKED = "const z=[(()=>0)];";

/** Long enough to be worth a mark. */
const LONG = "/*" + "x".repeat(220) + "*/";

/** `code` with `~` for a long comment, marked, where the functions of the texts `of`, and one in front of it, are those that run. */
function marked(code, ...of) {
  const text = `${FIRST}${code}`.replaceAll("~", LONG);
  const ran = new Set(["()=>0", ...of].map((part) => part.replaceAll("~", LONG)).map((part) => `${text.indexOf(part)}:${text.indexOf(part) + part.length}`));
  const { code: made } = eager(text, ran, { mappings: [] });
  assert.ok(made.startsWith(FIRST_MARKED));
  return made.slice(FIRST_MARKED.length).replaceAll(LONG, "~");
}

test("eager: what runs stands in parentheses, at module level and inside of others", () => {
  const inner = "c=>{~}";
  const outer = `function a(b){return b.map(${inner})}`;
  assert.is(marked(`${outer}function d(){~}`, outer, inner), "var a=(function(b){return b.map((c=>{~}))});function d(){~}");
  assert.is(marked("async function a(b){~}", "async function a(b){~}"), "var a=(async function(b){~});");
  assert.is(marked("function*a(b){~}", "function*a(b){~}"), "var a=(function*(b){~});");
  assert.is(marked("const a={b:c=>{~},d(){~}}", "c=>{~}", "d(){~}"), "const a={b:(c=>{~}),d(){~}}");
  assert.is(marked("const a=(b=>{~})(1)", "b=>{~}"), "const a=(b=>{~})(1)");
  assert.is(marked("const a=()=>1;function b(){}", "()=>1", "function b(){}"), "const a=(()=>1);function b(){}");
});

test("eager: arrow functions of a module that do not run become functions and methods", () => {
  assert.is(marked("const a=b=>b~+1;"), "const a=function(b){return b~+1};");
  assert.is(marked("const a=(b,c=()=>1)=>{~};"), "const a=function(b,c=()=>1){~};");
  assert.is(marked("const a=async b=>{~};"), "const a=async function (b){~};");
  assert.is(marked("const a={b:c=>({c~}),d:async()=>{~},[1]:e=>{~}};"), "const a={b(c){return ({c~})},async d(){~},[1]:function(e){~}};");
  assert.is(marked("const a=b=>c=>b+c~+1;"), "const a=function(b){return c=>b+c~+1};");
  assert.is(marked("class a{b=()=>{this~}}"), "class a{b=()=>{this~}}");
  assert.is(marked("function a(){return b=>{~}}"), "function a(){return b=>{~}}");
});

test("eager: what has been marked computes what it did", () => {
  const code = "const a=(b,c=2)=>{~return b*c},d={e:f=>({g:f~+1})};function h(i){~return[i].map(j=>a(j)~+d.e(j).g)}";
  const value = (text) => new Function(`${text.replaceAll("~", "")};return h(3).concat(a(1,5),d.e.name,a.length)`)();
  const text = marked(code, "function h(i){~return[i].map(j=>a(j)~+d.e(j).g)}");
  assert.equal(value(text), value(code));
  assert.equal(value(text), [10, 5, "e", 1]);
});

test("eager: a module in which nothing ran is an error: what the engine tells would not fit", () => {
  assert.throws(() => eager("const a=()=>1", new Set(["0:3"]), { mappings: [] }), /no function of the module/);
});

test("eager: maps follow what moves", () => {
  const mappings = [[[0, 0, 0, 0], [9, 0, 0, 9, 1], [12, 0, 1, 2], [30, 0, 0, 4]], [], [[3, 1, 700, 65]]];
  assert.equal(decodeMappings(encodeMappings(mappings)), mappings);
  const { code, map } = edited("abc=>def", [{ at: 5, old: "d", put: "" }, { at: 3, old: "=>", put: "{return " }], { mappings: [[[0, 0, 0, 0], [5, 0, 0, 5], [6, 0, 0, 6]]] });
  assert.is(code, "abc{return ef");
  assert.equal(map.mappings, [[[0, 0, 0, 0], [11, 0, 0, 5], [11, 0, 0, 6]]]);
});

test.run();

/** @file What the build does to modules for bundlers of applications. What these then drop is shown in test/bundlers. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { forBundlers } from "../scripts/transform.js";

const made = (code) => forBundlers(code).code;

test("transform: calls that run when a module is imported are marked, others not", () => {
  assert.is(made("export const a = f(new B());"), "export const a = /*#__PURE__*/f(/*#__PURE__*/new B());");
  assert.is(made("const a = { b: f(), c: () => f() };"), "const a = { b: /*#__PURE__*/f(), c: () => f() };");
  assert.is(made("class A { static b = f(); c = f(); d() { f(); } }"), "class A { static b = /*#__PURE__*/f(); c = f(); d() { f(); } }");
  assert.is(made("f();\nfunction g() { f(); }"), "f();\nfunction g() { f(); }");
});

test("transform: a spread at module level is an error, since bundlers keep it", () => {
  assert.throws(() => made("const a = { ...b };"), /a spread at module level.*\.\.\.b/);
  assert.is(made("const a = () => ({ ...b });"), "const a = () => ({ ...b });");
});

test("transform: computed names of imports stand with their comments", () => {
  assert.is(
    made("const a = () => import(__rewriteRelativeImportExtension(/* webpackIgnore: true */ b));"),
    "const a = () => import((/* webpackIgnore: true */ b));",
  );
});

test.run();

/** @file The conformance cases and the op table on WebGPU in Chromium: the same test files, imported by a page. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { withPage } from "../../scripts/chromium.js";

/** Imports a test file in a page and waits for uvu's summary: { total, passed, output }. */
function runInPage(file) {
  return withPage((page) => new Promise((done, fail) => {
    let output = "";
    page.on("pageerror", fail);
    page.on("crash", () => fail(new Error("the page crashed")));
    page.on("console", (message) => {
      output += `${message.text()}\n`;
      const [, total] = /Total:\s+(\d+)/.exec(output) ?? [];
      const [, passed] = /Passed:\s+(\d+)/.exec(output) ?? [];
      if (passed !== undefined) done({ total: Number(total), passed: Number(passed), output });
    });
    page.evaluate((path) => import(path), file).catch(fail);
  }));
}

for (const [file, least] of [["conformance", 145], ["ops", 2500], ["tiles", 16], ["half", 26]]) {
  test(`${file} in Chromium`, async () => {
    const { total, passed, output } = await runInPage(`/test/webgpu/${file}.test.js`);
    assert.is(passed, total, output);
    assert.ok(total >= least, `${total} tests`);
  });
}

test.run();

/**
 * @file Samples of the conformance cases and of the op table on WebGPU in Chromium: the same test files, imported by pages of one browser.
 * LOCKSTEP_WHOLE=1: all cases, tiles and f16 storage.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { withPage } from "../../scripts/chromium.js";
import { CONFORMANCE, OPS_OF_LIBRARY, WHOLE } from "./elsewhere.js";

/** Imports a test file in a new page like `first` and waits for uvu's summary: { total, passed, output }. */
async function runInPage(first, file) {
  const page = await first.context().browser().newPage();
  await page.goto(first.url());
  const summary = await new Promise((done, fail) => {
    let output = "";
    page.on("pageerror", fail);
    page.on("crash", () => fail(new Error("the page crashed")));
    page.on("console", (message) => {
      output += `${message.text()}\n`;
      const [, total] = /Total:\s+(\d+)/.exec(output) ?? [];
      const [, passed] = /Passed:\s+(\d+)/.exec(output) ?? [];
      if (passed !== undefined) done({ total: Number(total), passed: Number(passed), output });
    });
    page.evaluate((path) => import(path), `/test/webgpu/${file}`).catch(fail);
  });
  await page.close();
  return summary;
}

const FILES = [CONFORMANCE, OPS_OF_LIBRARY, ...(WHOLE ? [["tiles.test.js", 16], ["half.test.js", 26]] : [])];

/** By file: the summary, or why there is none. */
const ran = new Map();
test.before(() =>
  withPage(async (page) => {
    for (const [file] of FILES) ran.set(file, await runInPage(page, file).catch((error) => error));
  }),
);

for (const [file, least] of FILES) {
  test(`${file} in Chromium`, () => {
    const summary = ran.get(file);
    if (summary instanceof Error) throw summary;
    const { total, passed, output } = summary;
    assert.is(passed, total, output);
    assert.ok(total >= least, `${total} tests`);
  });
}

test.run();

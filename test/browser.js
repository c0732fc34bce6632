/**
 * @file One Chromium for all tests of a file, started by the first that asks for it. Each test gets a context of its own, which nothing
 * outlives.
 */
import { createServer } from "node:http";
import { withBrowser } from "../scripts/chromium.js";

let started = null;
let ended = null;
let release = null;

/** The browser, or, after one that crashed, another. */
async function browser() {
  if (started !== null && !(await started).isConnected()) await closeBrowser();
  started ??= new Promise((ready, fail) => {
    ended = withBrowser((instance) => {
      ready(instance);
      return new Promise((done) => (release = done));
    });
    ended.catch(fail);
  });
  return started;
}

/** For `test.after`: the process ends only when the browser has. */
export async function closeBrowser() {
  release?.();
  // Why it did not start, the tests have said.
  await ended?.catch(() => {});
  started = ended = release = null;
}

/** Hands a new context, as a browser just started would have it, and its browser to `use`. `options`: those of playwright's newContext. */
export async function withContext(use, options = {}) {
  const instance = await browser();
  const context = await instance.newContext(options);
  try {
    return await use(context, instance);
  } finally {
    await context.close();
  }
}

/** Serves on loopback what `handle(request, response)` answers, and hands a context, the address and the browser to `use`. */
export async function withSiteContext(handle, use, options = {}) {
  const server = createServer(handle);
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  try {
    return await withContext((context, instance) => use(context, `http://127.0.0.1:${server.address().port}/`, instance), options);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}
